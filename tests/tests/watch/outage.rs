//! An API server that is away: at the start, and in the middle.

use portreeve_tests::OrFail as _;
use portreeve_tests::chart::{self, NAMESPACE};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::cosign::Cosign;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::START;
use portreeve_tests::registry::Registry;
use serde_json::Value;

use crate::site::{configured, one, pod, values};

const OPEN: &str = "code=C-0057";
const ALL: &str = "code=C-0057&state=all";

#[tokio::test]
async fn an_api_server_that_is_away_is_waited_for_and_what_happened_meanwhile_is_caught_up_with() {
    let (mut plane, registry) = tokio::join!(ControlPlane::start(), Registry::with_referrers());
    let objects = chart::rendered(&values(&registry, &Cosign::new(registry.docker_config())));
    plane.create_namespace(NAMESPACE).await;
    for object in chart::rights(&objects) {
        plane.api().create(object).await.unwrap();
    }
    let namespace = plane.namespace("outage").await;
    let create = async |plane: &ControlPlane, name: &str| {
        plane.api().create(&pod(&namespace, name, "example.org/app:1")).await.or_fail(name);
    };
    create(&plane, "first").await;
    let mut daemon = configured(&plane, &objects, "portreeve").await;
    plane.crash_api_server();
    away_at_the_start(&mut daemon).await;
    plane.restart_api_server().await;
    daemon.process().line("ready http://", START).await;
    daemon.wait_for_health("/readyz", 200).await;
    daemon.wait_for(OPEN, "what was there", |found| one(found, "first").cloned()).await;
    create(&plane, "second").await;
    daemon.wait_for(OPEN, "the second", |found| one(found, "second").cloned()).await;

    plane.crash_api_server();
    daemon.process().line("trying again", START).await;
    still_answers(&daemon).await;
    // Stopped, the daemon cannot see the deletion happen.
    daemon.process().signal("STOP");
    plane.restart_api_server().await;
    plane.api().delete(&format!("/api/v1/namespaces/{namespace}/pods/first")).await.unwrap();
    create(&plane, "third").await;
    daemon.process().signal("CONT");
    daemon.wait_for(OPEN, "the third", |found| one(found, "third").cloned()).await;
    let is_resolved =
        |found: &[Value]| one(found, "first").filter(|it| it["lifecycle"]["state"] == "resolved").cloned();
    daemon.wait_for(ALL, "the deleted one is resolved", is_resolved).await;
    let open = daemon.findings(OPEN).await;
    assert!(one(&open, "second").is_some(), "what stayed is still there");
    still_answers(&daemon).await;
    daemon.process().signal("TERM");
    assert!(daemon.process().ended(START).await.success(), "{}", daemon.log());
}

async fn away_at_the_start(daemon: &mut Daemon) {
    daemon.launch();
    daemon.wait_for_health("/healthz", 200).await;
    let waiting = daemon.wait_for_health("/readyz", 503).await;
    assert!(waiting.contains("waiting for the API server"), "{waiting}");
    daemon.process().line("asking again", START).await;
    assert!(!daemon.process().stdout().contains("ready"));
    daemon.wait_for_health("/healthz", 200).await;
}

async fn still_answers(daemon: &Daemon) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (code, text) = daemon.health(path).await.or_fail(path);
        assert_eq!(code, 200, "{path}: {text}");
    }
    assert!(one(&daemon.findings(OPEN).await, "second").is_some(), "what is known stays known");
    assert_eq!(daemon.page("/").await.or_fail("the page").0, 200);
}
