//! Watches that end and cannot be had again for a while.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{ApiProxy, Fault, Match};
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{START, until};
use serde_json::{Value, json};

use crate::site::{Site, one, pod};

const RESTARTS: &str = "portreeve_watch_restarts_total";

#[tokio::test]
async fn what_happens_while_all_watches_are_lost_is_caught_up_with() {
    let site = Site::shared().await;
    let proxy = ApiProxy::start(site.plane).await;
    let namespace = site.plane.namespace("lost").await;
    let create = async |name: &str| {
        site.plane.api().create(&pod(&namespace, name, "example.org/app:1")).await.or_fail(name);
    };
    let config = json!({"cluster": {"kubeconfig": proxy.kubeconfig()}, "posture": {"frameworks": ["nsa"]}});
    let mut daemon = Daemon::configured(&config, &[]);
    create("first").await;
    create("stays").await;
    daemon.start().await;
    let open = format!("code=C-0057&namespace={namespace}");
    let names = |wanted: &'static [&str]| {
        move |found: &[Value]| {
            (found.len() == wanted.len() && wanted.iter().all(|name| one(found, name).is_some())).then_some(())
        }
    };
    daemon.wait_for(&open, "what was there", names(&["first", "stays"])).await;

    for (refused, created, gone) in [(Fault::Drop, "second", "first"), (Fault::Answer(500), "third", "second")] {
        proxy.fault(Match::path("watch="), refused, None);
        let before = daemon.metric(RESTARTS).await;
        proxy.cut();
        let are_lost = || async { (daemon.metric(RESTARTS).await > before).then_some(()) };
        until(START, are_lost).await.or_fail("watches that begin again");
        create(created).await;
        site.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/pods/{gone}")).await.or_fail("a deletion");
        proxy.heal();
        let wanted: &[&str] = if created == "second" { &["second", "stays"] } else { &["third", "stays"] };
        daemon.wait_for(&open, "what came and went meanwhile", names(wanted)).await;
    }
    let stays = format!("{open}&state=all");
    let is_one = |found: &[Value]| one(found, "stays").cloned();
    let stayed = daemon.wait_for(&stays, "what stayed", is_one).await;
    assert_eq!(stayed["lifecycle"]["state"], "open", "it was never resolved: {stayed}");
}
