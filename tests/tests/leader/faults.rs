//! An API server that is away, slow, or refuses.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{Fault, Match};
use portreeve_tests::process::{START, until};

use crate::site::{PATIENCE, Site, holder, term};

fn leases() -> Match {
    Match::path("/leases")
}

#[tokio::test]
async fn a_holder_that_cannot_renew_stops_before_another_begins_and_the_process_goes_on() {
    let site = Site::new().await;
    let (mut stalled, proxy) = site.daemon().await;
    let before = site.leads(&stalled).await;
    let (second, _second_proxy) = site.daemon().await;
    // It takes requests and never answers.
    proxy.fault(leases(), Fault::Hang, None);
    site.follows(&stalled).await;
    let still = site.lease().await;
    assert_eq!(holder(&still), holder(&before), "it stopped by itself, before the lease was taken");
    stalled.process().line("could not be renewed within", START).await;
    let after = site.leads(&second).await;
    assert_eq!(term(&after), term(&before) + 1);
    let (code, _) = stalled.health("/readyz").await.or_fail("the follower still serves");
    assert_eq!(code, 200);
    proxy.heal();
    proxy.cut();
    drop(second);
    site.leads(&stalled).await;
}

#[tokio::test]
async fn an_answer_that_never_comes_and_a_storm_of_conflicts_do_not_cost_the_lease() {
    let site = Site::new().await;
    let (daemon, proxy) = site.daemon().await;
    let before = site.leads(&daemon).await;
    proxy.fault(leases().method("PUT"), Fault::SwallowAnswer, Some(1));
    proxy.fault(leases().method("PUT"), Fault::Answer(409), Some(5));
    let renewed = |text: &serde_json::Value| text["spec"]["renewTime"].as_str().map(str::to_owned);
    let is_renewed = || async {
        let now = site.lease().await;
        (renewed(&now) != renewed(&before) && proxy.writes().len() > 4).then_some(now)
    };
    let after = until(PATIENCE, is_renewed).await.or_fail("the lease is renewed");
    assert_eq!((holder(&after), term(&after)), (holder(&before), term(&before)), "the same term");
    assert!(!daemon.log().contains("does not lead any more"), "{}", daemon.log());
}

/// Requests about the lease that are refused: more than a term is renewed in.
const REFUSALS: u64 = 12;

#[tokio::test]
async fn without_the_right_to_the_lease_the_daemon_watches_and_says_what_it_needs() {
    let site = Site::new().await;
    let (daemon, proxy) = site.daemon().await;
    site.leads(&daemon).await;
    proxy.fault(leases(), Fault::Answer(403), Some(REFUSALS));
    site.follows(&daemon).await;
    let says = || async { daemon.log().contains("needs get, create and update of leases").then_some(()) };
    until(PATIENCE, says).await.or_fail("the missing right is named");
    assert_eq!(daemon.health("/readyz").await.map(|(code, _)| code), Some(200));
    site.leads(&daemon).await;
    let lines = daemon.log().matches("the lease cannot be had").count();
    assert!(lines < REFUSALS as usize / 2, "it is not said of each refusal: {}", daemon.log());
}
