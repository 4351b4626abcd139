//! API servers that answer, and still do not say what is: watches that are refused while lists are not, and lists from
//! before what is known.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{ApiProxy, Fault, Match};
use portreeve_tests::daemon::Daemon;
use serde_json::{Value, json};

use crate::site::{Site, one, pod};

const CONNECTED: &str = "portreeve_watch_connected";
const PODS: &str = "/api/v1/pods?";

/// A daemon behind a proxy, without streamed lists, and a namespace.
async fn proxied(prefix: &str) -> (ApiProxy, Daemon, String) {
    let site = Site::shared().await;
    let proxy = ApiProxy::start(site.plane).await;
    proxy.fault(Match::path("sendInitialEvents"), Fault::Answer(422), None);
    let config = json!({"cluster": {"kubeconfig": proxy.kubeconfig()}, "posture": {"frameworks": ["nsa"]}});
    (proxy, Daemon::configured(&config, &[]), site.plane.namespace(prefix).await)
}

async fn create(namespace: &str, name: &str) {
    let site = Site::shared().await;
    site.plane.api().create(&pod(namespace, name, "example.org/app:1")).await.or_fail(name);
}

/// The finding that Pods are not followed.
fn pods_are_away(found: &[Value]) -> Option<Value> {
    found.iter().find(|it| it["subject"]["kind"] == "Pod" && it["cause"] == "unreachable").cloned()
}

async fn is_over(daemon: &Daemon) {
    let none = |found: &[Value]| pods_are_away(found).is_none().then_some(());
    daemon.wait_for("code=PR-0006", "Pods are followed again", none).await;
    daemon.wait_for_metric(CONNECTED, 1.0).await;
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_listed_anew_and_a_watch_that_stays_refused_is_told() {
    let (proxy, mut daemon, namespace) = proxied("refused").await;
    create(&namespace, "first").await;
    daemon.start().await;
    let open = format!("code=C-0057&namespace={namespace}");
    daemon.wait_for(&open, "what was there", |found| one(found, "first").cloned()).await;

    proxy.fault(Match::path(PODS).query("watch=true"), Fault::Answer(410), None);
    proxy.cut();
    create(&namespace, "second").await;
    daemon.wait_for(&open, "what a list says", |found| one(found, "second").cloned()).await;
    proxy.heal();

    proxy.fault(Match::path(PODS).query("watch=true"), Fault::Answer(500), None);
    proxy.cut();
    let told = daemon.wait_for("code=PR-0006", "a watch that is not had", pods_are_away).await;
    assert_eq!(told["verdict"], "unknown", "{told}");
    daemon.wait_for_metric(CONNECTED, 0.0).await;
    create(&namespace, "third").await;
    proxy.heal();
    daemon.wait_for(&open, "what came meanwhile", |found| one(found, "third").cloned()).await;
    is_over(&daemon).await;
}

#[tokio::test]
async fn a_list_from_before_what_is_known_neither_resolves_nor_reopens() {
    let (proxy, mut daemon, namespace) = proxied("behind").await;
    let site = Site::shared().await;
    // From now on there is one list of Pods.
    proxy.fault(Match::path(PODS).query("limit=500"), Fault::Stale, None);
    create(&namespace, "gone").await;
    daemon.start().await;
    let open = format!("code=C-0057&namespace={namespace}");
    daemon.wait_for(&open, "what was there", |found| one(found, "gone").cloned()).await;
    create(&namespace, "new").await;
    site.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/pods/gone")).await.or_fail("a deletion");
    let is_seen = |found: &[Value]| (one(found, "new").is_some() && one(found, "gone").is_none()).then_some(());
    daemon.wait_for(&open, "what has changed", is_seen).await;

    proxy.fault(Match::path(PODS).query("watch=true"), Fault::Answer(410), Some(1));
    proxy.cut();
    let told = daemon.wait_for("code=PR-0006", "lists of the past", pods_are_away).await;
    assert!(told["message"].as_str().is_some_and(|message| message.contains("it is behind")), "{told}");
    stayed(&daemon, &open).await;
    proxy.heal();
    is_over(&daemon).await;
    stayed(&daemon, &open).await;
}

/// The one was never resolved, the other never reopened.
async fn stayed(daemon: &Daemon, open: &str) {
    let all = daemon.findings(&format!("{open}&state=all")).await;
    for (name, state) in [("new", "open"), ("gone", "resolved")] {
        let finding = one(&all, name).or_fail(name);
        assert_eq!(finding["lifecycle"]["state"], state, "{finding}");
        assert_eq!(finding["lifecycle"]["reopened"], 0, "{finding}");
    }
}
