//! The recorder: many doors, one transaction. What waits in its bounded queue is committed together.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::model::{Changes, SubjectFindings};
use super::write::{Entry, Record, Retention};
use super::{Store, StoreError, lost};
use crate::runtime::leader::Epoch;

/// Records that may wait.
const QUEUE: usize = 4_096;
/// The most records of one transaction.
const GROUP: usize = 256;
/// About the most findings of one transaction: admission must not wait behind a whole rescan.
const GROUP_FINDINGS: usize = 2_000;
/// How often it is looked whether another process has written.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// How often what is too old is deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// Why a record was not stored. It is counted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotRecorded {
    /// The queue is full: the store is slower than the doors.
    #[error("the store's queue is full")]
    Full,
    /// The recorder has ended.
    #[error("the store's recorder has ended")]
    Ended,
    /// A newer leader writes the findings.
    #[error("{}", StoreError::Fenced)]
    Fenced,
    /// The transaction failed.
    #[error("{0}")]
    Failed(String),
}

impl NotRecorded {
    pub(super) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Fenced,
            error => Self::Failed(said(error)),
        }
    }
}

struct Waiting {
    entry: Entry,
    ack: oneshot::Sender<Result<Changes, NotRecorded>>,
}

/// The answer of the recorder: comes after the commit.
#[derive(Debug)]
pub struct Ack(Result<oneshot::Receiver<Result<Changes, NotRecorded>>, NotRecorded>);

impl Ack {
    /// Waits for the commit. Not waiting is allowed: the record is stored all the same.
    pub async fn committed(self) -> Result<Changes, NotRecorded> {
        self.0?.await.unwrap_or(Err(NotRecorded::Ended))
    }
}

/// Hands records to the recorder. Clones share its queue.
#[derive(Clone, Debug)]
pub struct RecorderHandle {
    queue: mpsc::Sender<Waiting>,
    store: Store,
    epoch: Option<Epoch>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.entry.record.fmt(f)
    }
}

impl RecorderHandle {
    /// A handle whose findings are those of the leader of this epoch: they are refused once there is a newer one.
    pub fn of_leader(&self, epoch: Epoch) -> Self {
        Self { epoch: Some(epoch), ..self.clone() }
    }

    /// Queues a record and returns at once, for doors that must not wait. A full queue loses it, counted.
    pub fn send(&self, record: Record) -> Ack {
        let (ack, committed) = oneshot::channel();
        match self.queue.try_send(self.waiting(record, ack)) {
            Ok(()) => Ack(Ok(committed)),
            Err(mpsc::error::TrySendError::Full(waiting)) => self.lost(&waiting, NotRecorded::Full),
            Err(mpsc::error::TrySendError::Closed(waiting)) => self.lost(&waiting, NotRecorded::Ended),
        }
    }

    /// Queues a record, waiting for room: for doors that can be slowed down (watch, schedule).
    pub async fn send_when_room(&self, record: Record) -> Ack {
        let (ack, committed) = oneshot::channel();
        match self.queue.send(self.waiting(record, ack)).await {
            Ok(()) => Ack(Ok(committed)),
            Err(mpsc::error::SendError(waiting)) => self.lost(&waiting, NotRecorded::Ended),
        }
    }

    fn waiting(&self, record: Record, ack: oneshot::Sender<Result<Changes, NotRecorded>>) -> Waiting {
        Waiting { entry: self.store.entry(record, self.epoch), ack }
    }

    fn lost(&self, waiting: &Waiting, why: NotRecorded) -> Ack {
        self.store.lose(&waiting.entry.record);
        Ack(Err(why))
    }
}

/// The task that commits. The supervisor runs it.
#[derive(Debug)]
pub struct Recorder {
    queue: mpsc::Receiver<Waiting>,
    store: Store,
    retention: Retention,
    /// Lost records that no finding tells of yet.
    untold: u64,
    /// Why records are not stored, until all of a group are.
    failing: Option<NotRecorded>,
}

/// A recorder of the store and the handle that fills it.
pub fn recorder(store: Store, retention: Retention) -> (Recorder, RecorderHandle) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let handle = RecorderHandle { queue: sender, store: store.clone(), epoch: None };
    (Recorder { queue, store, retention, untold: 0, failing: None }, handle)
}

impl Recorder {
    /// Commits until `shutdown`, then commits what waits and ends. Ends too when all handles are gone.
    pub async fn run(self, shutdown: CancellationToken) {
        let store = self.store.clone();
        tokio::select! {
            () = Box::pin(self.commit_groups(shutdown)) => {}
            () = Box::pin(follow(store)) => {}
        }
    }

    async fn commit_groups(mut self, shutdown: CancellationToken) {
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                _ = prune.tick() => self.prune().await,
                first = self.queue.recv() => match first {
                    Some(first) => self.commit_group(first).await,
                    None => return,
                },
            }
        }
    }

    async fn commit_group(&mut self, first: Waiting) {
        let mut size = first.entry.record.size();
        let mut group = vec![first];
        while group.len() < GROUP && size < GROUP_FINDINGS {
            let Ok(next) = self.queue.try_recv() else { break };
            size += next.entry.record.size();
            group.push(next);
        }
        let (entries, acks): (Vec<_>, Vec<_>) = group.into_iter().map(|waiting| (waiting.entry, waiting.ack)).unzip();
        let results = self.store.commit(&entries).await;
        self.untold += results.iter().flatten().map(|done| done.lost).sum::<u64>();
        if let Some(error) = self.news(&results) {
            // Once: those who have to tell it again do not say each time that they do.
            tracing::warn!(%error, "decisions or findings were not stored; findings are told again");
        }
        let is_written = results.iter().any(Result::is_ok);
        // A door that does not wait for its answer has dropped the receiver.
        acks.into_iter().zip(results).for_each(|(ack, result)| drop(ack.send(result)));
        if is_written {
            self.tell_lost().await;
        }
    }

    /// Why records are not stored, when that is not known yet.
    pub(super) fn news(&mut self, results: &[Result<Changes, NotRecorded>]) -> Option<NotRecorded> {
        let error = results.iter().find_map(|result| result.as_ref().err().cloned());
        let is_news = error != self.failing;
        self.failing.clone_from(&error);
        error.filter(|_| is_news)
    }

    /// The first write after an outage has said that records were lost: a finding of the cluster and the log tell it.
    async fn tell_lost(&mut self) {
        if self.untold == 0 {
            return;
        }
        let at = Timestamp::now();
        let findings = lost::finding(self.store.cluster(), self.untold, at).into_iter().collect();
        let batch = SubjectFindings { subject: lost::subject(self.store.cluster()).key(), findings, at };
        // Of the store and not of the leader: any process may say it.
        let entry = self.store.entry(Record::Findings(batch), None);
        match self.store.commit(&[entry]).await.into_iter().next() {
            Some(Err(error)) => tracing::warn!(%error, "that records were lost could not be recorded yet"),
            _ => {
                tracing::error!(
                    records = self.untold,
                    "the store is written again; records were lost before (PR-0005)"
                );
                self.untold = 0;
            }
        }
    }

    async fn prune(&self) {
        if let Err(error) = self.store.prune(Timestamp::now(), &self.retention).await {
            tracing::warn!(error = said(&error), "old records could not be deleted");
        }
    }
}

/// Keeps the counts at what other processes write. Where there are none it only waits.
async fn follow(store: Store) {
    if !store.is_shared() {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(FOLLOW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = store.follow().await {
            tracing::debug!(%error, "what other processes wrote could not be read");
        }
    }
}

/// The error and its cause in one line.
fn said(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
