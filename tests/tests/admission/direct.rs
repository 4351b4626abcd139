//! The webhook as a server: what the API server would never send, versions, and many requests at a time.

use std::time::{Duration, Instant};

use portreeve_tests::OrFail as _;
use portreeve_tests::api::http_client;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{START, free_port, until};
use portreeve_tests::stage::certify;
use reqwest::{Certificate, Client};
use serde_json::{Value, json};

use crate::world::{World, pod, shared};

/// Longer than twice the pause between two readings of the registry's counters.
const SETTLED: Duration = Duration::from_millis(1_500);
const BURST: usize = 50;

fn client(world: &World) -> Client {
    let ca = Certificate::from_pem(world.authority.pem().as_bytes()).or_fail("the CA of the webhook");
    http_client().tls_certs_only([ca]).build().or_fail("an HTTP client")
}

async fn post(client: &Client, url: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let response = client.post(url).header("Content-Type", "application/json").body(body).send().await;
    let response = response.or_fail("an answer of the webhook");
    (response.status().as_u16(), response.text().await.or_fail("a whole answer"))
}

fn review(version: &str, object: &Value) -> Value {
    json!({"apiVersion": format!("admission.k8s.io/{version}"), "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "namespace": "enforce-direct",
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "name": "direct", "object": object, "dryRun": true,
        "userInfo": {"username": "someone", "groups": ["system:authenticated"]}}})
}

#[tokio::test]
async fn a_body_that_is_no_review_is_refused_and_never_allowed() {
    let world = shared().await;
    let client = client(&world);
    let whole = review("v1", &pod("enforce-direct", "direct", &world.pinned)).to_string();
    let without_uid = whole.replace("705ab4f5-6393-11e8-b7cc-42010a800002", "");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = whole.replacen("\"request\":", "\"request\":{},\"request\":", 1);
    let bodies: [Vec<u8>; 11] = [
        Vec::new(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\xff\xfe{}".to_vec(),
        whole.as_bytes()[..whole.len() / 2].to_vec(),
        br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#.to_vec(),
        whole.replace("admission.k8s.io/v1", "admission.k8s.io/v2").into_bytes(),
        without_uid.into_bytes(),
        deep.into_bytes(),
        twice.into_bytes(),
    ];
    for path in ["/validate", "/mutate"] {
        let url = format!("{}{path}", world.webhook);
        for body in &bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let (code, answer) = post(&client, &url, body.clone()).await;
            assert_eq!(code, 400, "{path} {shown}: {answer}");
            assert!(!answer.contains("allowed"), "{path} {shown}: {answer}");
        }
        let (code, answer) = post(&client, &url, vec![b' '; 9 << 20]).await;
        assert_eq!(code, 413, "{answer}");
        assert!(!answer.contains("allowed"), "{answer}");
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_denied_in_an_enforce_namespace() {
    let world = shared().await;
    let client = client(&world);
    let with_spec = |spec: Value| {
        let mut object = pod("enforce-direct", "direct", &world.pinned);
        object["spec"] = spec;
        object
    };
    let objects = [
        Value::Null,
        json!("text"),
        json!({}),
        json!({"apiVersion": "v1", "kind": "Pod"}),
        with_spec(json!(5)),
        with_spec(json!({"containers": {}})),
        with_spec(json!({"containers": [7]})),
        with_spec(json!({"containers": [{"name": "main", "image": ["a"]}]})),
        with_spec(json!({"containers": [{"name": "main", "image": "Not An Image"}]})),
    ];
    for object in objects {
        let url = format!("{}/validate", world.webhook);
        let (code, answer) = post(&client, &url, review("v1", &object).to_string()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((code, &answer["response"]["allowed"]), (200, &json!(false)), "{object}: {answer}");
    }
}

/// T01: where `/mutate` could not pin the tag, what is pulled later need not be what was verified now.
#[tokio::test]
async fn a_verified_tag_that_was_not_pinned_is_denied_in_an_enforce_namespace() {
    let world = shared().await;
    let client = client(&world);
    let image = world.signed("shop/floating:1");
    let url = format!("{}/validate", world.webhook);
    let ask = async |namespace: &str| {
        let mut body = review("v1", &pod(namespace, "direct", &image));
        body["request"]["namespace"] = namespace.into();
        let (_, answer) = post(&client, &url, body.to_string()).await;
        serde_json::from_str::<Value>(&answer).unwrap()["response"].clone()
    };
    let denied = ask("enforce-direct").await;
    let message = denied["status"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(&format!("PR-1003 {image} is verified, and would run by its tag")), "{denied}");
    assert_eq!(ask("lab").await["allowed"], true);
}

#[tokio::test]
async fn a_review_is_answered_in_its_own_version_with_its_own_uid() {
    let world = shared().await;
    let client = client(&world);
    for version in ["v1", "v1beta1"] {
        for path in ["/validate", "/mutate"] {
            let body = review(version, &pod("enforce-direct", "direct", &world.pinned)).to_string();
            let (code, answer) = post(&client, &format!("{}{path}", world.webhook), body).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(code, 200);
            assert_eq!(answer["apiVersion"], format!("admission.k8s.io/{version}"));
            let response = &answer["response"];
            assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
            assert_eq!(response["allowed"], true, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_burst_for_one_digest_asks_the_registry_once() {
    let world = shared().await;
    let client = client(&world);
    let (daemon, webhook) = daemon_of_its_own(&world).await;
    let images = ["shop/alone:1", "shop/burst:1"].map(|name| world.signed(name));
    let url = format!("{webhook}/validate");
    let ask = |image: &str| {
        let body = review("v1", &pod("enforce-direct", "direct", image)).to_string();
        let (client, url) = (client.clone(), url.clone());
        async move {
            let (_, answer) = post(&client, &url, body).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["response"]["allowed"], true, "{answer}");
        }
    };
    let by_digest = |image: &str| {
        let digest = portreeve_tests::process::run(world.registry.crane().args(["digest", image]));
        format!("{image}@{}", digest.trim())
    };
    ask(&by_digest(&images[0])).await;
    let alone = settled_requests(&daemon, 1.0).await;
    let mut burst = tokio::task::JoinSet::new();
    let image = by_digest(&images[1]);
    for _ in 0..BURST {
        burst.spawn(ask(&image));
    }
    burst.join_all().await;
    assert_eq!(settled_requests(&daemon, 2.0 * alone).await, 2.0 * alone);
}

/// A daemon on the same policy that watches an empty folder: all it asks of a registry is for its webhook.
async fn daemon_of_its_own(world: &World) -> (Daemon, String) {
    let port = free_port();
    let mut config = world.config.clone();
    config["admission"]["listen"] = format!("127.0.0.1:{port}").into();
    config["cluster"] = json!({"folder": "manifests", "name": "burst"});
    let mut daemon = Daemon::configured(&config, &world.files);
    std::fs::create_dir(daemon.folder().join("manifests")).or_fail("a folder of manifests");
    certify(&daemon, &world.authority.loopback());
    daemon.start().await;
    (daemon, format!("https://127.0.0.1:{port}"))
}

/// All requests to registries, once there are at least so many and no more are counted for a while.
async fn settled_requests(daemon: &Daemon, least: f64) -> f64 {
    let seen = std::sync::Mutex::new((0.0, Instant::now()));
    let settled = until(START, || async {
        let now = daemon.metric("portreeve_registry_requests_total").await;
        let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if seen.0 != now {
            *seen = (now, Instant::now());
        }
        (now >= least && seen.1.elapsed() > SETTLED).then_some(now)
    });
    settled.await.or_fail("the requests are counted")
}
