use serde_json::json;

use super::*;

fn pods() -> &'static WatchedKind {
    WatchedKind::find("", "Pod").unwrap()
}

fn raw(value: serde_json::Value) -> RawObject {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "namespace": "dev", "uid": "u", "resourceVersion": "8",
            "managedFields": [{"manager": "kubectl"}]},
        "spec": {"containers": [{"name": "app", "image": "quay.io/a/b:1"}]},
    })
}

#[test]
fn a_listed_object_gets_its_kind_and_loses_its_managed_fields() {
    let Item::Good(object, _) = raw(pod("web")).into_item(pods()) else { panic!("it is a good pod") };
    assert_eq!((&*object.api_version, &*object.kind, &*object.namespace), ("v1", "Pod", "dev"));
    assert!(object.root.at(["metadata", "managedFields"]).is_none());
}

#[test]
fn a_bad_object_is_data_with_the_key_of_its_delete() {
    for bad in [
        json!({"metadata": {"name": "web", "namespace": "dev"}, "spec": "none"}),
        json!({"metadata": {"name": "web", "namespace": "dev", "labels": 7}, "spec": {"containers": {}}}),
    ] {
        let key = raw(bad.clone()).key(pods());
        let Item::Bad(kept, unreadable) = raw(bad).into_item(pods()) else { panic!("it is a bad pod") };
        assert_eq!(kept, key);
        assert_eq!(unreadable.identity.unwrap().name, "web");
    }
    assert_eq!(raw(json!(7)).key(pods()).name, "".into());
}

/// An API server that answers the n-th request for pods with the n-th answer, and holds all later ones open.
async fn api_server(answers: Vec<(u16, String)>) -> (Client, impl Future<Output = ()>) {
    use axum::body::Body;
    use axum::response::Response;
    let answers = Arc::new(std::sync::Mutex::new(answers.into_iter()));
    let app =
        axum::Router::new().fallback(move || {
            let next = answers.lock().unwrap().next();
            async move {
                let (status, text) = next.unwrap_or((200, String::new()));
                let first = futures::stream::iter([Ok::<_, std::io::Error>(text.clone())]);
                // Watches stay open, lists end.
                let is_open = text.is_empty() || text.starts_with("{\"type\"");
                let rest = futures::stream::poll_fn(move |_| {
                    if is_open { std::task::Poll::Pending } else { std::task::Poll::Ready(None) }
                });
                Response::builder().status(status).body(Body::from_stream(first.chain(rest))).unwrap()
            }
        });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    // Without a provider there is no client, even for http.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = Client::try_from(kube::Config::new(url)).unwrap();
    (client, async move { axum::serve(listener, app).await.unwrap() })
}

fn refusal(code: u16, message: &str) -> (u16, String) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message,
        "reason": if code == 403 { "Forbidden" } else { "Invalid" }});
    (code, status.to_string())
}

fn watch_line(event: &str, object: &serde_json::Value) -> String {
    json!({"type": event, "object": object}).to_string() + "\n"
}

/// Watches pods of the server until `test` is done with the events; counts restarts.
async fn watched<F: AsyncFnOnce(&mut mpsc::Receiver<Event>)>(answers: Vec<(u16, String)>, test: F) -> usize {
    let (client, server) = api_server(answers).await;
    let (events, mut received) = mpsc::channel(16);
    let shutdown = CancellationToken::new();
    let restarts = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&restarts);
    let on_restart = OnRestart::new(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let watches = Watches { client, events, on_restart, shutdown: shutdown.clone() };
    let tested = async {
        test(&mut received).await;
        shutdown.cancel();
    };
    let both = async { tokio::join!(watches.run(pods()), tested) };
    tokio::select! {
        done = tokio::time::timeout(Duration::from_secs(20), both) => drop(done.expect("events come in time")),
        () = server => panic!("the server ended"),
    }
    restarts.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn a_refused_kind_is_hidden_and_listed_when_it_is_granted() {
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
        "items": [pod("good"), {"metadata": {"name": "bad", "namespace": "dev"}, "spec": 7}]});
    let deleted = json!({"metadata": {"name": "bad", "namespace": "dev", "resourceVersion": "8"}, "spec": 7});
    let answers = vec![
        refusal(403, "pods is forbidden"),
        refusal(422, "sendInitialEvents is forbidden"),
        (200, list.to_string()),
        (200, watch_line("DELETED", &deleted)),
    ];
    let restarts = watched(answers, async |events| {
        let hidden = events.recv().await.unwrap();
        assert!(matches!(&hidden, Event::NotListed(_, Cause::Forbidden, why) if why == "pods is forbidden"));
        let Event::Listed(_, items) = events.recv().await.unwrap() else { panic!("no list") };
        let kinds: Vec<bool> = items.iter().map(|item| matches!(item, Item::Good(..))).collect();
        assert_eq!(kinds, [true, false]);
        assert!(matches!(events.recv().await, Some(Event::Deleted(key)) if *key.name == *"bad"));
    })
    .await;
    assert_eq!(restarts, 2);
}

fn list(version: &str, names: &[&str], more: &str) -> (u16, String) {
    let items: Vec<_> = names.iter().map(|name| pod(name)).collect();
    let metadata = json!({"resourceVersion": version, "continue": more});
    (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}).to_string())
}

async fn next_list(events: &mut mpsc::Receiver<Event>) -> Vec<String> {
    match events.recv().await {
        Some(Event::Listed(_, items)) => items.iter().map(|item| item.key().name.to_string()).collect(),
        other => panic!("no list, but {other:?}"),
    }
}

#[tokio::test]
async fn a_list_is_handed_over_when_it_is_complete() {
    let answers = vec![
        refusal(422, "no streaming"),
        list("7", &["a"], "more"),
        refusal(500, "broken off"),
        list("7", &["b"], "more"),
        list("7", &["c"], ""),
    ];
    let restarts = watched(answers, async |events| assert_eq!(next_list(events).await, ["b", "c"])).await;
    assert_eq!(restarts, 2);
}

#[tokio::test]
async fn a_forgotten_version_is_listed_anew_and_a_list_of_the_past_is_none() {
    let answers = vec![
        refusal(422, "no streaming"),
        list("7", &["a"], ""),
        refusal(410, "too old resource version"),
        list("6", &[], ""),
        list("9", &["b"], ""),
        (200, watch_line("MODIFIED", &pod("b"))),
    ];
    let restarts = watched(answers, async |events| {
        assert_eq!(next_list(events).await, ["a"]);
        assert_eq!(next_list(events).await, ["b"], "the version after the one that is known");
        assert!(matches!(events.recv().await, Some(Event::Applied(item)) if *item.key().name == *"b"));
    })
    .await;
    assert_eq!(restarts, 3);
}

#[tokio::test]
async fn an_error_within_a_watch_is_no_event_that_is_passed_over() {
    let status = serde_json::from_str(&refusal(500, "etcd is away").1).unwrap();
    let answers = vec![
        refusal(422, "no streaming"),
        list("7", &["a"], ""),
        (200, watch_line("ERROR", &status)),
        list("9", &["b"], ""),
    ];
    watched(answers, async |events| {
        assert_eq!(next_list(events).await, ["a"]);
        assert_eq!(next_list(events).await, ["b"]);
    })
    .await;
}

#[tokio::test]
async fn a_streamed_list_is_complete_at_its_bookmark() {
    let end = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "9",
        "annotations": {"k8s.io/initial-events-end": "true"}}});
    let stream = watch_line("ADDED", &pod("a"))
        + &watch_line("ADDED", &pod("b"))
        + &watch_line("BOOKMARK", &end)
        + &watch_line("MODIFIED", &pod("a"));
    let restarts = watched(vec![(200, stream)], async |events| {
        assert!(matches!(events.recv().await, Some(Event::Listed(_, items)) if items.len() == 2));
        assert!(matches!(events.recv().await, Some(Event::Applied(item)) if *item.key().name == *"a"));
    })
    .await;
    assert_eq!(restarts, 0);
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_and_nothing_is_reported_as_gone() {
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []});
    let answers = vec![refusal(500, "etcd is away"), refusal(422, "no streaming"), (200, list.to_string())];
    let restarts = watched(answers, async |events| {
        assert!(matches!(events.recv().await, Some(Event::Listed(_, items)) if items.is_empty()));
    })
    .await;
    assert_eq!(restarts, 2);
}
