use super::*;

fn seat() -> (Seat, LeadershipWatch) {
    Seat::new()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn whoever_waits_is_given_the_term_when_it_begins() {
    let (seat, mut watch) = seat();
    assert!(watch.now().is_none());
    let tenure = seat.begin(Epoch::new(3), soon());
    let leading = watch.leading().await;
    assert_eq!((leading.epoch(), leading.check()), (Epoch::new(3), Ok(())));
    drop(tenure);
    assert_eq!(leading.check(), Err(LeadershipLost::Released));
    assert!(leading.lost().is_cancelled() && watch.now().is_none());
}

#[tokio::test]
async fn a_term_that_ran_out_is_over_although_nobody_said_so_and_no_renewal_brings_it_back() {
    let (seat, mut watch) = seat();
    let tenure = seat.begin(Epoch::new(1), Instant::now() + Duration::from_millis(1));
    let leading = tenure.leading().unwrap();
    tokio::time::sleep_until(tenure.deadline()).await;
    assert_eq!(tenure.renewed(Instant::now()), Err(LeadershipLost::Expired));
    assert_eq!(leading.check(), Err(LeadershipLost::Expired));
    assert!(leading.lost().is_cancelled() && watch.now().is_none());
}

#[tokio::test]
async fn who_is_asked_to_yield_finishes_its_step_and_begins_none() {
    let (seat, mut watch) = seat();
    let mut tenure = seat.begin(Epoch::new(1), soon());
    let leading = watch.leading().await;
    tenure.ask_back(LeadershipLost::Yielded { to: "laptop".to_owned() });
    assert_eq!(leading.check(), Ok(()));
    assert_eq!(leading.next_step(), Err(LeadershipLost::Yielded { to: "laptop".to_owned() }));
    assert_eq!(leading.over().await.to_string(), "the lease is handed over to laptop");
    assert!(watch.now().is_none());
    assert!(!tenure.is_given_back());
    drop(leading);
    assert!(tenure.is_given_back());
}

#[tokio::test]
async fn that_the_lease_is_answered_again_is_heard_once_however_short_the_silence_was() {
    use futures::FutureExt as _;
    let (seat, mut watch) = seat();
    seat.answered(true);
    assert!(watch.answered_again().now_or_never().is_none(), "it was never silent");
    seat.answered(false);
    assert!(watch.answered_again().now_or_never().is_none());
    seat.answered(true);
    assert!(watch.answered_again().now_or_never().is_some());
    assert!(watch.answered_again().now_or_never().is_none(), "it is known");
}
