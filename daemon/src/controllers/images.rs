//! The images in use, by repository: what objects declare, and what kubelets say runs.
//!
//! An image's identity is its repository, so all uses of a repository are judged together, whenever one of them comes,
//! changes or goes, and when the rescan is due. A repository that nobody uses any more is proven to be gone.

mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use portreeve_reports::SubjectKey;
use tokio_util::sync::CancellationToken;

use crate::cluster::feed::{Change, Feed};
use crate::cluster::writer::ClusterView;
use crate::controllers::record::Round;
use crate::judge::{Judge, JudgeOptions};
use crate::registry::Deadline;
use crate::scheduler::driver::Trigger;
use crate::scheduler::plan::Queue;
use crate::store::RecorderHandle;
use usage::{RepositoryName, Usage};

/// How long changes of one repository are gathered: the pods of a rollout come one after the other.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// Repositories that are judged at the same time.
const ROUND: usize = 16;
/// What a registry may take for one repository.
const PATIENCE: Duration = Duration::from_secs(30);
/// When what was not stored is judged again.
const RETRY: Duration = Duration::from_secs(5);

/// What the controller works with.
#[derive(Clone)]
pub struct Images {
    /// The rules, and the way to evidence.
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

/// What the controller knows and has to do.
struct Work {
    usage: Usage,
    queue: Queue<RepositoryName>,
    failed: BTreeSet<RepositoryName>,
    /// Image subjects of the store that are not in use, while not all kinds could be listed.
    unproven: BTreeSet<SubjectKey>,
}

impl Images {
    /// Judges until the shutdown. `stored` are the subjects with open findings as of the start.
    pub async fn run(self, stored: Vec<SubjectKey>, shutdown: CancellationToken) {
        let is_synced = tokio::select! {
            is_synced = self.cluster.synced() => is_synced,
            () = shutdown.cancelled() => false,
        };
        if !is_synced {
            return shutdown.cancelled().await;
        }
        let mut work = Work::new(stored);
        self.changed(&mut work, self.cluster.everything());
        self.resolve_unused(&mut work).await;
        loop {
            let pause = work.pause(Instant::now());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                change = self.feed.take() => self.changed(&mut work, change),
                () = self.rescan.fired() => {
                    self.resolve_unused(&mut work).await;
                    work.push_all();
                }
                () = tokio::time::sleep(pause) => tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.round(&mut work) => {}
                },
            }
        }
    }

    /// Looks at the objects that came, changed or went.
    fn changed(&self, work: &mut Work, change: Change) {
        let now = Instant::now();
        for key in change.objects {
            let uses = self.cluster.object(&key).map(|object| usage::uses_of(&object)).unwrap_or_default();
            for repository in work.usage.set(key, uses) {
                work.queue.push(repository, now);
            }
        }
    }

    /// Image subjects of an earlier run that nobody uses are gone, once every kind was listed.
    async fn resolve_unused(&self, work: &mut Work) {
        work.unproven.retain(|subject| !work.usage.is_used(subject));
        if !self.cluster.is_complete() {
            return;
        }
        let mut round = Round::new(&self.recorder, Timestamp::now());
        for subject in std::mem::take(&mut work.unproven) {
            round.deleted(subject).await;
        }
        work.unproven = round.finish().await;
    }

    async fn round(&self, work: &mut Work) {
        if work.queue.is_empty() {
            let now = Instant::now();
            std::mem::take(&mut work.failed).into_iter().for_each(|repository| work.queue.push(repository, now));
        }
        let repositories = work.queue.take_due(Instant::now(), ROUND);
        let usage = &work.usage;
        let judged = futures::stream::iter(repositories).map(|repository| self.judge(usage, repository));
        let failed: Vec<Option<RepositoryName>> = judged.buffer_unordered(ROUND).collect().await;
        work.failed.extend(failed.into_iter().flatten());
    }

    /// Judges one repository and records the outcome; comes back when it was not stored.
    async fn judge(&self, usage: &Usage, repository: RepositoryName) -> Option<RepositoryName> {
        let at = Timestamp::now();
        let uses = usage.uses(&repository);
        let mut round = Round::new(&self.recorder, at);
        if uses.is_empty() {
            round.deleted(repository.subject()).await;
        } else {
            let options = JudgeOptions { now: at, deadline: Deadline::after(PATIENCE) };
            let judged = self.judge.images(&uses, &options).await;
            round.judged(repository.subject(), judged.findings).await;
        }
        let failed = round.finish().await;
        (!failed.is_empty()).then_some(repository)
    }
}

impl Work {
    fn new(stored: Vec<SubjectKey>) -> Self {
        let unproven = stored.into_iter().filter(usage::is_image).collect();
        Self { usage: Usage::default(), queue: Queue::new(DEBOUNCE), failed: BTreeSet::new(), unproven }
    }

    fn push_all(&mut self) {
        let now = Instant::now();
        self.usage.repositories().for_each(|repository| self.queue.push(repository.clone(), now));
    }

    fn pause(&self, now: Instant) -> Duration {
        self.queue.next_due().map_or(RETRY, |due| due.saturating_duration_since(now))
    }
}
