//! The demo's images through the real client and verifier: each has the outcome its name promises.

use std::collections::BTreeMap;
use std::time::Duration;

use portreeve_policies::facts::ImageFact;
use portreeve_trust::evidence::Lookup;
use portreeve_trust::policy::{Given, ImagePolicy};
use portreeve_trust::verify::judge;
use tokio::task::JoinSet;

use super::*;
use crate::demo::registry::{Layout, listen, serve};
use crate::registry::{Deadline, HostOptions, RegistryClient, RegistryOptions};

async fn client_of_demo(directory: &Path, server: &mut JoinSet<()>) -> (RegistryClient, DemoImages) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = listen(0).await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let images = build_layout(directory, &host).unwrap();
    let layout = Layout::read(directory).unwrap();
    server.spawn(async move { serve(layout, listener, std::future::pending()).await.unwrap() });
    let hosts = vec![HostOptions { host, plain_http: true, ..HostOptions::default() }];
    (RegistryClient::new(RegistryOptions { hosts, ..RegistryOptions::default() }).unwrap(), images)
}

fn word(fact: &ImageFact) -> &'static str {
    match fact {
        ImageFact::Verified { .. } => "verified",
        ImageFact::Unsigned => "unsigned",
        ImageFact::Untrusted(_) => "untrusted",
        ImageFact::Mismatch(_) | ImageFact::Unattested(_) => "mismatch",
        ImageFact::NotAsked(_) => "not asked",
        ImageFact::Unknown(..) => "unknown",
    }
}

#[tokio::test]
async fn each_demo_image_has_the_outcome_of_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = JoinSet::new();
    let (client, images) = client_of_demo(directory.path(), &mut server).await;
    let keys = BTreeMap::from([("demo.pub".to_owned(), images.public_key_pem.clone().into_bytes())]);
    let policy = ImagePolicy::given(Given { keys, ..Given::default() }, 1).unwrap();
    let mut outcomes = Vec::new();
    for image in &images.references {
        let deadline = Deadline::after(Duration::from_secs(20));
        let Lookup::Found(resolved) = client.resolve(image, deadline).await else { panic!("{image} is not there") };
        let evidence = client.evidence(image, &resolved.digest, deadline).await;
        let image = image.pinned(resolved.digest);
        let fact = judge(&policy, &image, None, Some(&evidence), Timestamp::now()).fact();
        outcomes.push((image.repository.path.to_string(), word(&fact)));
    }
    let expected = [
        ("demo/signed-v2", "verified"),
        ("demo/signed-v3", "verified"),
        ("demo/unsigned", "unsigned"),
        ("demo/stranger", "untrusted"),
        ("demo/tampered", "untrusted"),
    ];
    assert_eq!(outcomes, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
}

#[tokio::test]
async fn the_registry_listens_on_loopback_only() {
    let directory = tempfile::tempdir().unwrap();
    build_layout(directory.path(), "127.0.0.1:5000").unwrap();
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = serve(Layout::read(directory.path()).unwrap(), listener, std::future::pending()).await;
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
