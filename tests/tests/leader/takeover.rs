//! Who follows whom, and when.

use std::time::{Duration, Instant};

use portreeve_tests::OrFail as _;
use portreeve_tests::process::{START, until};

use crate::site::{PATIENCE, Site, holder, term};

/// What the lease promises, and what a busy machine may add.
const PROMISED: Duration = Duration::from_secs(15);
const BUSY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn another_daemon_leads_within_15_s_of_a_kill_and_the_next_at_once_after_a_drain() {
    let site = Site::new().await;
    let (mut first, _first_proxy) = site.daemon().await;
    let before = site.leads(&first).await;
    let (mut second, _second_proxy) = site.daemon().await;
    site.follows(&second).await;
    let killed = Instant::now();
    first.kill();
    let after = site.leads(&second).await;
    let took = killed.elapsed();
    println!("taken over {took:.1?} after kill -9");
    assert!(took < PROMISED + BUSY, "{took:?}");
    assert_ne!(holder(&before), holder(&after));
    assert_eq!(term(&after), term(&before) + 1);

    first.start().await;
    site.follows(&first).await;
    let drained = Instant::now();
    second.process().signal("TERM");
    assert!(second.process().ended(START).await.success(), "{}", second.log());
    let last = site.leads(&first).await;
    println!("taken over {:.1?} after SIGTERM", drained.elapsed());
    assert_eq!(term(&last), term(&after) + 1);
}

#[tokio::test]
async fn a_holder_that_was_stopped_and_wakes_up_does_not_write() {
    let site = Site::new().await;
    let (mut sleeper, proxy) = site.daemon().await;
    let asleep_since = site.leads(&sleeper).await;
    let (second, _second_proxy) = site.daemon().await;
    sleeper.process().signal("STOP");
    let awake = site.leads(&second).await;
    assert!(term(&awake) > term(&asleep_since));
    proxy.forget();
    sleeper.process().signal("CONT");
    sleeper.process().line("does not lead any more", PATIENCE).await;
    site.follows(&sleeper).await;
    assert_eq!(proxy.writes(), [], "nothing was written by a term that is over");
    assert_eq!(holder(&site.lease().await), holder(&awake));
    second.health("/readyz").await.or_fail("the leader lives");
}

#[tokio::test]
async fn a_lease_of_a_dead_process_is_taken_whatever_time_stands_in_it() {
    let site = Site::new().await;
    let lease = serde_json::json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "portreeve", "namespace": site.namespace},
        "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 1_000_000, "leaseTransitions": 41,
            "renewTime": "2999-01-01T00:00:00.000000Z", "acquireTime": "2999-01-01T00:00:00.000000Z"}});
    site.plane.api().create(&lease).await.unwrap();
    let started = Instant::now();
    let (daemon, _proxy) = site.daemon().await;
    let taken = site.leads(&daemon).await;
    assert!(started.elapsed() > Duration::from_secs(9), "a living holder would have had its time");
    assert_eq!(term(&taken), 42);
}

#[tokio::test]
async fn a_lease_that_is_deleted_or_edited_ends_the_term_and_the_next_is_later() {
    let site = Site::new().await;
    let (mut daemon, _proxy) = site.daemon().await;
    let first = site.leads(&daemon).await;
    site.plane.api().delete(&site.path()).await.unwrap();
    daemon.process().line("the lease was deleted by somebody else", PATIENCE).await;
    let second = until(PATIENCE, || async { site.plane.api().get(&site.path()).await.ok() }).await;
    assert!(term(&second.or_fail("a new lease")) > term(&first), "terms do not begin anew");
    let second = site.leads(&daemon).await;
    let edit = serde_json::json!({"spec": {"leaseTransitions": 0}});
    site.plane.api().merge(&site.path(), &edit).await.unwrap();
    daemon.process().line("the lease was edited by somebody else", PATIENCE).await;
    let third = site.leads(&daemon).await;
    assert!(term(&third) > term(&second), "{third}");
    let edit = serde_json::json!({"spec": {"holderIdentity": "somebody"}});
    site.plane.api().merge(&site.path(), &edit).await.unwrap();
    daemon.process().line("the lease is held by somebody", PATIENCE).await;
    site.follows(&daemon).await;
    assert_eq!(holder(&site.leads(&daemon).await).map(|name| name == "somebody"), Some(false));
}
