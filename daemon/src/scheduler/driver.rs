//! Waits for cron times and triggers what is due.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::scheduler::plan::{Cron, Timetable};

/// How long the driver sleeps at most: a clock that is set forward is seen within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Starts a rescan. A trigger that fires while its rescan runs is kept, and more of them are merged into that one:
/// rescans of a kind never overlap and never pile up.
#[derive(Clone, Debug, Default)]
pub struct Trigger(Arc<Notify>);

impl Trigger {
    /// Asks for a rescan.
    pub fn fire(&self) {
        self.0.notify_one();
    }

    /// Waits until a rescan is asked for. One waiter at a time.
    pub async fn fired(&self) {
        self.0.notified().await;
    }
}

/// Fires each trigger at its times until the shutdown. `clock` is the wall clock.
pub async fn run(schedules: Vec<(Cron, Trigger)>, clock: impl Fn() -> Timestamp + Send, shutdown: CancellationToken) {
    let mut table = Timetable::new(schedules, clock());
    loop {
        let now = clock();
        table.take_due(now).iter().for_each(Trigger::fire);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause(now, table.next())) => {}
        }
    }
}

/// How long to sleep until `next`.
fn pause(now: Timestamp, next: Option<Timestamp>) -> Duration {
    let until = next.map_or(LONGEST_SLEEP, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
    until.min(LONGEST_SLEEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_time_that_has_come_fires_once_and_the_driver_ends_with_the_shutdown() {
        let trigger = Trigger::default();
        let times = std::sync::Mutex::new(["2026-03-01T00:59:59Z", "2026-03-01T01:00:00Z"].into_iter());
        let clock = move || {
            let next = times.lock().unwrap().next();
            next.unwrap_or("2026-03-01T01:00:01Z").parse().unwrap()
        };
        let shutdown = CancellationToken::new();
        let driver = run(vec![("0 * * * *".parse().unwrap(), trigger.clone())], clock, shutdown.clone());
        let ((), ()) = tokio::join!(driver, async {
            trigger.fired().await;
            shutdown.cancel();
        });
    }

    #[tokio::test]
    async fn triggers_that_fire_during_a_rescan_are_merged() {
        let trigger = Trigger::default();
        (0..3).for_each(|_| trigger.fire());
        trigger.fired().await;
        let again = tokio::time::timeout(Duration::from_millis(5), trigger.fired()).await;
        assert!(again.is_err(), "three merged triggers fired twice");
    }

    #[test]
    fn the_driver_wakes_at_the_next_time_or_earlier() {
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        assert_eq!(pause(now, None), LONGEST_SLEEP);
        assert_eq!(pause(now, Some("2026-03-01T00:00:07Z".parse().unwrap())), Duration::from_secs(7));
        assert_eq!(pause(now, Some("2026-02-28T00:00:07Z".parse().unwrap())), Duration::ZERO);
    }
}
