//! The images in use, by repository: what objects declare, and what kubelets say runs.
//!
//! An image's identity is its repository, so all uses of a repository are judged together, whenever one of them comes,
//! changes or goes, and when the rescan is due. A repository that nobody uses any more is proven to be gone.

mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use portreeve_policies::workload::ImageUse;
use portreeve_reports::SubjectKey;
use tokio_util::sync::CancellationToken;

use crate::cluster::feed::Change;
use crate::controllers::Means;
use crate::controllers::record::{Round, is_image};
use crate::judge::JudgeOptions;
use crate::judge::tally::image_outcome;
use crate::registry::Deadline;
use crate::runtime::metrics::{ImageResult, Scanner};
use crate::scheduler::plan::Queue;
use usage::{RepositoryName, Usage};

/// How long changes of one repository are gathered: the pods of a rollout come one after the other.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// Repositories that are judged at the same time: a registry that hangs holds up its own only.
const SLOTS: usize = 16;
/// What a registry may take for one repository.
const PATIENCE: Duration = Duration::from_secs(30);
/// When what was not stored is judged again.
const RETRY: Duration = Duration::from_secs(5);
/// How long nothing to do is slept through; events, rescans and answers end it.
const IDLE: Duration = Duration::from_secs(3_600);

/// Judges the images in use.
#[derive(Clone)]
pub struct Images(pub Means);

/// What the controller knows and has to do.
struct Work {
    usage: Usage,
    queue: Queue<RepositoryName>,
    /// Not stored.
    failed: Queue<RepositoryName>,
    /// Being judged, and whether their uses have changed since.
    running: BTreeMap<RepositoryName, bool>,
    /// What the scan that is under way has still to judge; `None` between two.
    scan: Option<BTreeSet<RepositoryName>>,
    /// Image subjects of the store that are not in use, while not all kinds could be listed.
    unproven: BTreeSet<SubjectKey>,
}

impl Images {
    /// Judges until the shutdown. `stored` are the subjects with open findings as of the start.
    pub async fn run(self, stored: Vec<SubjectKey>, shutdown: CancellationToken) {
        let is_synced = tokio::select! {
            is_synced = async {
                self.0.judge.settled().await;
                self.0.cluster.synced().await
            } => is_synced,
            () = shutdown.cancelled() => false,
        };
        if !is_synced {
            return shutdown.cancelled().await;
        }
        let mut work = Work::new(stored);
        self.changed(&mut work, self.0.cluster.everything());
        self.resolve_unused(&mut work).await;
        self.begin_scan(&mut work);
        let mut running = FuturesUnordered::new();
        loop {
            if work.scan_ended() {
                self.0.scans.ended(Scanner::Images).await;
            }
            for repository in work.start(Instant::now()) {
                let uses = work.usage.uses(&repository);
                running.push(self.judge(repository, uses));
            }
            let pause = work.pause(Instant::now());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some((repository, is_stored)) = running.next() => work.finished(repository, is_stored, Instant::now()),
                change = self.0.feed.take() => {
                    self.changed(&mut work, change);
                    self.resolve_unused(&mut work).await;
                }
                () = self.0.rescan.fired() => {
                    self.resolve_unused(&mut work).await;
                    self.begin_scan(&mut work);
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn begin_scan(&self, work: &mut Work) {
        self.0.scans.begin(Scanner::Images);
        work.push_all(Instant::now());
    }

    /// Looks at the objects that came, changed or went.
    fn changed(&self, work: &mut Work, change: Change) {
        let now = Instant::now();
        for key in change.objects {
            let uses = self.0.cluster.object(&key).map(|object| usage::uses_of(&object)).unwrap_or_default();
            for repository in work.usage.set(key, uses) {
                work.queue.push(repository, now);
            }
        }
    }

    /// Image subjects of an earlier run that nobody uses are gone, once every kind was listed.
    async fn resolve_unused(&self, work: &mut Work) {
        work.unproven.retain(|subject| !work.usage.is_used(subject));
        if work.unproven.is_empty() || !self.0.cluster.is_complete() {
            return;
        }
        let mut round = Round::new(&self.0.recorder, &self.0.tally, Timestamp::now());
        for subject in std::mem::take(&mut work.unproven) {
            round.deleted(subject).await;
        }
        work.unproven = round.finish().await;
    }

    /// Judges one repository and records the outcome; says whether it was stored.
    async fn judge(&self, repository: RepositoryName, uses: Vec<ImageUse>) -> (RepositoryName, bool) {
        let at = Timestamp::now();
        let started = Instant::now();
        let mut round = Round::new(&self.0.recorder, &self.0.tally, at);
        let mut usage = portreeve_reports::exceptions::Usage::default();
        let judge = self.0.judge.now();
        if uses.is_empty() {
            round.deleted(repository.subject()).await;
        } else if judge.has_image_policy() {
            let options = JudgeOptions { now: at, deadline: Deadline::after(PATIENCE) };
            let judged = judge.images(&uses, &options).await;
            let result = ImageResult::of(image_outcome(&judged.findings));
            self.0.scans.metrics().images.verified(result, started.elapsed());
            usage = judged.usage;
            round.judged(repository.subject(), judged.findings).await;
        }
        let is_stored = round.finish().await.is_empty();
        self.0.scans.judged(Scanner::Images, (judge.version(), &usage), is_stored).await;
        (repository, is_stored)
    }
}

impl Work {
    fn new(stored: Vec<SubjectKey>) -> Self {
        Self {
            usage: Usage::default(),
            queue: Queue::new(DEBOUNCE),
            failed: Queue::new(RETRY),
            running: BTreeMap::new(),
            scan: None,
            unproven: stored.into_iter().filter(is_image).collect(),
        }
    }

    fn push_all(&mut self, now: Instant) {
        let all: BTreeSet<RepositoryName> = self.usage.repositories().cloned().collect();
        all.iter().for_each(|repository| self.queue.push(repository.clone(), now));
        self.scan = Some(all);
    }

    /// Whether the last repository of a scan has been judged; says it once.
    fn scan_ended(&mut self) -> bool {
        self.scan.take_if(|left| left.is_empty()).is_some()
    }

    /// Takes what is due into free slots. A repository is judged once at a time, so that an older answer cannot
    /// overtake a newer one.
    fn start(&mut self, now: Instant) -> Vec<RepositoryName> {
        let mut started = Vec::new();
        while self.running.len() < SLOTS {
            let mut due = self.queue.take_due(now, 1);
            due.extend(if due.is_empty() { self.failed.take_due(now, 1) } else { Vec::new() });
            let Some(repository) = due.pop() else { break };
            match self.running.get_mut(&repository) {
                Some(is_changed) => *is_changed = true,
                None => {
                    self.running.insert(repository.clone(), false);
                    started.push(repository);
                }
            }
        }
        started
    }

    fn finished(&mut self, repository: RepositoryName, is_stored: bool, now: Instant) {
        let is_changed = self.running.remove(&repository).unwrap_or_default();
        if is_changed {
            return self.queue.push(repository, now);
        }
        if let Some(left) = &mut self.scan {
            left.remove(&repository);
        }
        if !is_stored {
            self.failed.push(repository, now);
        }
    }

    /// How long until there is something to start; with all slots taken, an answer comes first.
    fn pause(&self, now: Instant) -> Duration {
        let due = [&self.queue, &self.failed].into_iter().filter_map(Queue::next_due).min();
        let due = due.filter(|_| self.running.len() < SLOTS);
        due.map_or(IDLE, |due| due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(number: usize) -> RepositoryName {
        RepositoryName(format!("quay.io/a/{number}"))
    }

    #[test]
    fn a_repository_that_changes_while_it_is_judged_is_judged_again_after() {
        let start = Instant::now();
        let mut work = Work::new(Vec::new());
        work.queue.push(repository(1), start);
        assert_eq!(work.start(start + DEBOUNCE), [repository(1)]);
        work.queue.push(repository(1), start);
        assert!(work.start(start + DEBOUNCE).is_empty(), "it runs");
        work.finished(repository(1), true, start);
        assert_eq!(work.start(start + DEBOUNCE), [repository(1)]);
        work.finished(repository(1), true, start);
        assert_eq!(work.pause(start), IDLE);
    }

    #[test]
    fn what_was_not_stored_comes_back_later() {
        let start = Instant::now();
        let mut work = Work::new(Vec::new());
        work.finished(repository(1), false, start);
        assert_eq!(work.pause(start), RETRY);
        assert!(work.start(start).is_empty());
        assert_eq!(work.start(start + RETRY), [repository(1)]);
    }

    #[test]
    fn no_more_than_the_slots_run_at_a_time() {
        let start = Instant::now();
        let mut work = Work::new(Vec::new());
        (0..SLOTS + 5).for_each(|number| work.queue.push(repository(number), start));
        assert_eq!(work.start(start + DEBOUNCE).len(), SLOTS);
        assert_eq!(work.pause(start + DEBOUNCE), IDLE);
        work.finished(repository(0), true, start);
        assert_eq!(work.start(start + DEBOUNCE).len(), 1);
    }
}
