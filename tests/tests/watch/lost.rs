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

#[tokio::test]
async fn a_kind_that_alone_is_not_answered_at_the_start_keeps_no_other_from_being_judged() {
    let site = Site::shared().await;
    let proxy = ApiProxy::start(site.plane).await;
    let namespace = site.plane.namespace("alone").await;
    let create = async |object: &Value| site.plane.api().create(object).await.or_fail("an object");
    create(&pod(&namespace, "unseen", "example.org/app:1")).await;
    let template = pod(&namespace, "seen", "example.org/app:1")["spec"].clone();
    let labels = json!({"app": "seen"});
    create(&json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "seen", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": template}}}))
    .await;
    proxy.fault(Match::path("/api/v1/pods"), Fault::Answer(500), None);
    proxy.fault(Match::path("/apis/apps/v1/deployments"), Fault::Hang, None);
    // This one's list is not streamed, whatever is asked: it is had in pages.
    proxy.fault(Match::path("/apis/apps/v1/statefulsets").query("sendInitialEvents"), Fault::Hang, None);
    let config = json!({"cluster": {"kubeconfig": proxy.kubeconfig()}, "posture": {"frameworks": ["nsa"]}});
    let mut daemon = Daemon::configured(&config, &[]);
    daemon.start().await;

    let unreachable = |wanted: &'static [&str]| {
        move |found: &[Value]| {
            let are: Vec<_> = found.iter().filter(|it| it["cause"] == "unreachable").collect();
            let is_told = |kind: &&str| are.iter().any(|it| it["subject"]["kind"] == *kind);
            (are.len() == wanted.len() && wanted.iter().all(is_told)).then_some(())
        }
    };
    daemon.wait_for("code=PR-0006", "what is not answered is told", unreachable(&["Deployment", "Pod"])).await;
    let open = format!("code=C-0057&namespace={namespace}");
    daemon.wait_for(&open, "what is answered is judged", |found| one(found, "seen").cloned()).await;
    assert!(one(&daemon.findings(&open).await, "unseen").is_none());

    proxy.heal();
    proxy.cut();
    daemon.wait_for(&open, "what was not answered", |found| one(found, "unseen").cloned()).await;
    daemon.wait_for("code=PR-0006", "nothing is unreachable any more", unreachable(&[])).await;
}
