//! Posture of what is in the cluster: on every change, and all of it when the rescan is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portreeve_policies::object::Object;
use portreeve_reports::{Finding, SubjectKey};
use tokio_util::sync::CancellationToken;

use crate::cluster::feed::Feed;
use crate::cluster::index::SubjectState;
use crate::cluster::writer::ClusterView;
use crate::controllers::record::Round;
use crate::judge::{Judge, JudgeOptions};
use crate::registry::Deadline;
use crate::runtime::supervisor::blocking;
use crate::scheduler::driver::Trigger;
use crate::scheduler::plan::Queue;
use crate::store::RecorderHandle;

/// How long events of one subject are gathered.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// The most subjects of one round after events.
const ROUND: usize = 64;
/// The most subjects of one round of a rescan: an event waits behind at most one.
const RESCAN_ROUND: usize = 16;
/// When what was not stored is judged again.
const RETRY: Duration = Duration::from_secs(5);

/// What the controller works with.
#[derive(Clone)]
pub struct Workloads {
    /// The rules.
    pub judge: Arc<Judge>,
    /// The index.
    pub cluster: ClusterView,
    /// Its changes.
    pub feed: Feed,
    /// The store.
    pub recorder: RecorderHandle,
    /// Asks for a rescan.
    pub rescan: Trigger,
}

/// What is to be judged.
struct Waiting {
    /// After events.
    urgent: Queue<SubjectKey>,
    /// Of a rescan.
    rescan: Queue<SubjectKey>,
    /// Not stored.
    failed: BTreeSet<SubjectKey>,
    /// Subjects of the store that were neither seen nor proven to be gone.
    unproven: Vec<SubjectKey>,
}

impl Workloads {
    /// Judges until the shutdown. `stored` are the subjects with open findings as of the start: those that the first
    /// sync proves to be gone are resolved.
    pub async fn run(self, stored: Vec<SubjectKey>, shutdown: CancellationToken) {
        let is_synced = tokio::select! {
            is_synced = self.cluster.synced() => is_synced,
            () = shutdown.cancelled() => false,
        };
        if !is_synced {
            return shutdown.cancelled().await;
        }
        let mut waiting = Waiting::new(stored);
        self.plan_rescan(&mut waiting);
        loop {
            let pause = waiting.pause(Instant::now());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                change = self.feed.take() => waiting.changed(change.subjects, Instant::now()),
                () = self.rescan.fired() => self.plan_rescan(&mut waiting),
                () = tokio::time::sleep(pause) => self.round(&mut waiting).await,
            }
        }
    }

    fn plan_rescan(&self, waiting: &mut Waiting) {
        let now = Instant::now();
        for subject in self.cluster.everything().subjects {
            waiting.rescan.push(subject, now);
        }
        let (gone, unproven) = std::mem::take(&mut waiting.unproven)
            .into_iter()
            .partition(|subject| self.cluster.is_proven_absent(subject));
        waiting.unproven = unproven;
        // The index knows nothing of them, which the round takes for a proven deletion.
        Vec::into_iter(gone).for_each(|subject| waiting.rescan.push(subject, now));
    }

    async fn round(&self, waiting: &mut Waiting) {
        let subjects = waiting.take(Instant::now());
        if !subjects.is_empty() {
            waiting.failed.extend(self.judge(subjects).await);
        }
    }

    /// Judges the subjects and records the outcome; those that were not stored come back.
    async fn judge(&self, subjects: Vec<SubjectKey>) -> BTreeSet<SubjectKey> {
        let at = Timestamp::now();
        let (world, states) = self.cluster.subjects(subjects);
        let mut round = Round::new(&self.recorder, at);
        let mut objects: Vec<Object> = Vec::new();
        let mut batches: BTreeMap<SubjectKey, Vec<Finding>> = BTreeMap::new();
        for (subject, state) in states {
            match state {
                Some(SubjectState { objects: members, findings }) => {
                    objects.extend(members);
                    batches.insert(subject, findings);
                }
                None => round.deleted(subject).await,
            }
        }
        let judge = Arc::clone(&self.judge);
        // Posture waits for nothing; the deadline is for images.
        let options = JudgeOptions { now: at, deadline: Deadline::after(Duration::ZERO) };
        let judged = blocking(move || judge.posture(&objects, &world, &options)).await;
        for finding in judged.findings {
            batches.entry(finding.subject.key()).or_default().push(finding);
        }
        for (subject, findings) in batches {
            round.judged(subject, findings).await;
        }
        round.finish().await
    }
}

impl Waiting {
    fn new(unproven: Vec<SubjectKey>) -> Self {
        Self { urgent: Queue::new(DEBOUNCE), rescan: Queue::new(Duration::ZERO), failed: BTreeSet::new(), unproven }
    }

    fn changed(&mut self, subjects: BTreeSet<SubjectKey>, now: Instant) {
        subjects.into_iter().for_each(|subject| self.urgent.push(subject, now));
    }

    /// How long until there is something to do: events first, then a rescan, then what failed.
    fn pause(&self, now: Instant) -> Duration {
        let urgent = self.urgent.next_due().map(|due| due.saturating_duration_since(now));
        let rescan = (!self.rescan.is_empty()).then_some(Duration::ZERO);
        urgent.into_iter().chain(rescan).min().unwrap_or(RETRY)
    }

    /// The subjects of the next round.
    fn take(&mut self, now: Instant) -> Vec<SubjectKey> {
        let urgent = self.urgent.take_due(now, ROUND);
        if !urgent.is_empty() {
            return urgent;
        }
        if self.rescan.is_empty() {
            std::mem::take(&mut self.failed).into_iter().for_each(|subject| self.rescan.push(subject, now));
        }
        self.rescan.take_due(now, RESCAN_ROUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SubjectKey {
        SubjectKey(name.to_owned())
    }

    #[test]
    fn events_go_before_a_rescan_and_failures_after_it() {
        let start = Instant::now();
        let mut waiting = Waiting::new(Vec::new());
        (0..40).for_each(|number| waiting.rescan.push(key(&format!("rescan-{number}")), start));
        waiting.failed.insert(key("failed"));
        waiting.changed([key("event")].into(), start);
        assert_eq!(waiting.take(start).len(), RESCAN_ROUND);
        assert_eq!(waiting.take(start + DEBOUNCE), [key("event")]);
        assert_eq!(waiting.take(start + DEBOUNCE).len(), RESCAN_ROUND);
        assert_eq!(waiting.take(start + DEBOUNCE).len(), 8);
        assert_eq!(waiting.take(start + DEBOUNCE), [key("failed")]);
        assert!(waiting.take(start + DEBOUNCE).is_empty());
    }

    #[test]
    fn an_event_is_due_within_the_debounce_and_idleness_ends_by_the_retry() {
        let start = Instant::now();
        let mut waiting = Waiting::new(Vec::new());
        assert_eq!(waiting.pause(start), RETRY);
        waiting.changed([key("event")].into(), start);
        assert_eq!(waiting.pause(start), DEBOUNCE);
        waiting.rescan.push(key("rescan"), start);
        assert_eq!(waiting.pause(start), Duration::ZERO);
    }
}
