//! A daemon that keeps a platform and dies at each of its writes in turn, on both stores.

use portreeve_tests::api_proxy::{ApiProxy, Kill, Match, Run, after_each_write};
use portreeve_tests::daemon::Daemon;
use portreeve_tests::postgres::Postgres;
use portreeve_tests::process::{START, until};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::ends::{THEIRS, end_state, forget_lease, manifests, nothing};
use crate::kept::configuration;
use crate::site::{Site, config};

const FIRST: [(&str, &str); 3] = [("a", "1"), ("b", "1"), THEIRS];
const LAST: [(&str, &str); 3] = [("a", "2"), ("c", "1"), THEIRS];

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_at_any_write_leaves_the_same_end() {
    dies_at_each_write(|config| Daemon::configured(config, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_at_any_write_leaves_the_same_end_with_a_store_on_postgresql() {
    let server = Postgres::start().await;
    dies_at_each_write(|config| Daemon::on_postgres(&server, config)).await;
}

/// The second state: one object changed, one new, one no longer declared.
fn change(site: &Site) {
    site.write("app/a.yaml", &config("a", "2"));
    site.write("app/c.yaml", &config("c", "1"));
    site.remove("app/b.yaml");
}

async fn is_at(site: &Site, wanted: &[(&str, &str)]) -> bool {
    let wanted: Vec<_> = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    end_state(site).await == (wanted, true)
}

/// One daemon and one store, through all crashes.
async fn dies_at_each_write(daemon: impl Fn(&Value) -> Daemon) {
    let site = &Site::new("dies").await;
    let proxy = &ApiProxy::start(site.plane).await;
    proxy.note_only(Match::path("/configmaps"));
    let mut configuration = configuration(site);
    configuration["cluster"] = serde_json::json!({"kubeconfig": proxy.kubeconfig()});
    let daemon = &Mutex::new(daemon(&configuration));
    let until_killed_or_at = |wanted: &'static [(&str, &str)]| async move {
        let probe = || async { (proxy.has_killed() || is_at(site, wanted).await).then_some(()) };
        until(START, probe).await.expect("the state comes, or the daemon is killed");
    };
    let run = |n, when: Kill| async move {
        nothing(site).await;
        forget_lease(site).await;
        let mut daemon = daemon.lock().await;
        let id = daemon.launch().id();
        proxy.kill_at(n, id, when);
        until_killed_or_at(&FIRST).await;
        if !proxy.has_killed() {
            change(site);
            until_killed_or_at(&LAST).await;
        }
        if proxy.has_killed() {
            daemon.process().ended(START).await;
            return Run::Killed;
        }
        daemon.kill();
        Run::Finished
    };
    let again = |n| async move {
        manifests(site, &LAST[..2]);
        forget_lease(site).await;
        let mut daemon = daemon.lock().await;
        daemon.start().await;
        let kept = until(START, || async { is_at(site, &LAST).await.then_some(()) }).await;
        assert!(kept.is_some(), "write {n}: {:?}", end_state(site).await);
        let none = |found: &[Value]| found.is_empty().then_some(());
        daemon.wait_for_metric("portreeve_platform_components{state=healthy}", 1.0).await;
        for code in ["PR-5001", "PR-5003", "PR-5005"] {
            daemon.wait_for(&format!("code={code}"), "no finding is left", none).await;
        }
        daemon.kill();
    };
    let points = after_each_write(proxy, run, again).await;
    assert!(
        points.len() >= 20,
        "the inventory five times, four objects and a deletion, before and after the answer, not {}",
        points.len()
    );
}
