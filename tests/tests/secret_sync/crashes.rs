//! Two daemons, and one that dies after each of its writes.

use portreeve_tests::api_proxy::{Kill, Match, Run, after_each_write};
use portreeve_tests::daemon::Daemon;
use portreeve_tests::postgres::Postgres;
use portreeve_tests::process::{START, until};
use serde_json::{Value, json};

use crate::site::{Site, synced};

#[tokio::test]
async fn a_follower_writes_nothing() {
    let site = Site::new("two").await;
    site.map("hub.yaml", "password: one\n");
    let leader = site.keeping(json!([site.item("hub.yaml", "hub")])).await;
    site.until_data("hub", json!({"password": "one"})).await;
    synced(&leader, 1.0).await;
    let follower = site.keeping(json!([site.item("hub.yaml", "hub")])).await;
    site.change("hub", json!({"password": "two"})).await;
    site.until_data("hub", json!({"password": "one"})).await;
    leader.wait_for_metric("portreeve_secrets_writes_total", 2.0).await;
    assert_eq!(follower.metric("portreeve_secrets_writes_total").await, 0.0);
    assert_eq!(site.proxy.writes().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_leaves_the_same_end() {
    crash_after_each_write(|config| Daemon::configured(config, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_leaves_the_same_end_with_a_store_on_postgresql() {
    let server = Postgres::start().await;
    crash_after_each_write(|config| Daemon::on_postgres(&server, config)).await;
}

async fn crash_after_each_write(daemon: impl Fn(&Value) -> Daemon) {
    let site = &Site::new("crash").await;
    let daemon = &daemon;
    site.map("one.yaml", "password: one\n");
    site.map("two.yaml", "password: two\n");
    let config = &site.config(json!([site.item("one.yaml", "one"), site.item("two.yaml", "two")]), json!({}));
    let (one, two) = (&json!({"password": "one"}), &json!({"password": "two"}));
    let is_kept = async || {
        let live: (Option<Value>, Option<Value>) = (site.data("one").await, site.data("two").await);
        live == (Some(one.clone()), Some(two.clone()))
    };
    let is_kept = &is_kept;
    let until_kept =
        || async move { until(START, || async { (site.proxy.has_killed() || is_kept().await).then_some(()) }).await };
    let until_kept = &until_kept;
    let run = |n, when: Kill| async move {
        for name in ["one", "two"] {
            let _gone = site.api().delete(&site.path(name)).await;
        }
        site.forget_lease().await;
        let mut daemon = daemon(config);
        let id = daemon.launch().id();
        site.proxy.kill_at(n, id, when);
        until_kept().await.expect("both are made, or the daemon is killed");
        if !site.proxy.has_killed() {
            // A key too many: it is made ours, and goes with the next write.
            site.change("one", json!({"password": "by hand", "more": "by hand"})).await;
            until_kept().await.expect("it is corrected, or the daemon is killed");
        }
        if site.proxy.has_killed() {
            daemon.process().ended(START).await;
            return Run::Killed;
        }
        Run::Finished
    };
    let again = |n| async move {
        site.forget_lease().await;
        let mut daemon = daemon(config);
        daemon.launch();
        let kept = until(START, || async { is_kept().await.then_some(()) }).await;
        assert!(kept.is_some(), "write {n}: {:?} {:?}", site.data("one").await, site.data("two").await);
    };
    site.proxy.note_only(Match::path("/secrets/"));
    let points = after_each_write(&site.proxy, run, again).await;
    assert!(points.len() >= 8, "two made, one made ours and corrected, before and after the answer: {}", points.len());
}
