//! When writes begin, by an API server that tells what reaches it.

use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::runtime::leader::{Epoch, LeadershipLost, Seat, Tenure};

/// Serves discovery of ConfigMaps, and patches once they are let go.
#[derive(Default)]
struct Server {
    /// Ended when discovery is asked for.
    tenure: Mutex<Option<Tenure>>,
    patched: Notify,
    answer: Notify,
}

async fn serve(State(server): State<Arc<Server>>, method: Method) -> axum::Json<Value> {
    if method == Method::PATCH {
        server.patched.notify_one();
        server.answer.notified().await;
        return axum::Json(json!({"metadata": {"uid": "u"}}));
    }
    let tenure = server.tenure.lock().unwrap().take();
    drop(tenure);
    axum::Json(json!({"resources": [{"name": "configmaps", "namespaced": true, "kind": "ConfigMap"}]}))
}

async fn applier(server: &Arc<Server>) -> Applier {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(serve)).with_state(Arc::clone(server));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let lease = LeaderConfig { namespace: "own".into(), lease: "own".into() };
    Applier::new(kube::Client::try_from(config).unwrap(), &lease)
}

fn address() -> Address {
    let key = ObjectKey { group: "".into(), kind: "ConfigMap".into(), namespace: "dev".into(), name: "a".into() };
    Address { api_version: "v1".into(), key }
}

fn tenure(seat: &Seat) -> Tenure {
    seat.begin(Epoch::new(1), Instant::now() + leader::RENEW_WITHIN)
}

#[tokio::test]
async fn a_term_that_ends_while_the_path_is_looked_up_sends_no_write() {
    let server = Arc::new(Server::default());
    let applier = applier(&server).await;
    let (seat, _watch) = Seat::new();
    let tenure = tenure(&seat);
    let leading = tenure.leading().unwrap();
    *server.tenure.lock().unwrap() = Some(tenure);
    let written = applier.apply(&leading, &address(), &json!({}), Force::No).await;
    assert_eq!(written, Err(ApiFailure::Lost(LeadershipLost::Released)));
    assert_eq!(applier.writes(), 0);
}

#[tokio::test]
async fn a_door_that_closes_lets_the_write_under_way_end_and_begins_no_other() {
    let server = Arc::new(Server::default());
    let applier = applier(&server).await;
    let (seat, _watch) = Seat::new();
    let tenure = tenure(&seat);
    let leading = tenure.leading().unwrap();
    let (address, object) = (address(), json!({}));
    let mut writing = std::pin::pin!(applier.apply(&leading, &address, &object, Force::No));
    tokio::select! {
        _ = &mut writing => unreachable!("nobody answers it"),
        () = server.patched.notified() => {}
    }
    applier.close();
    tokio::select! {
        biased;
        () = applier.quiet() => unreachable!("a write is under way"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(
        applier.apply(&leading, &address, &object, Force::No).await,
        Err(ApiFailure::Lost(LeadershipLost::Released))
    );
    server.answer.notify_one();
    let (written, ()) = tokio::join!(writing, applier.quiet());
    assert!(written.is_ok(), "{written:?}");
    assert_eq!(applier.writes(), 1);
}

#[test]
fn refusals_about_a_secret_leave_out_what_the_server_says() {
    let said = |words: Words| {
        let message = "failed to create typed patch object (dev/s): .data.pin: expected string, got &value{1234}";
        let status = kube::core::Status { message: message.to_owned(), code: 500, ..Default::default() };
        ApiFailure::of(kube::Error::Api(Box::new(status)), words)
    };
    assert!(matches!(said(Words::Told), ApiFailure::Invalid(words) if words.contains("1234")));
    let ApiFailure::Invalid(words) = said(Words::Withheld) else { unreachable!("it is a refusal") };
    assert!(!words.contains("1234") && words.contains("Secret"), "{words}");
}
