//! The store: findings with their life, decisions of admission, scans.
//!
//! * Acknowledged is committed: every write returns after SQLite has synced it, and survives kill -9.
//! * [`lifecycle`] decides what a judging does to the rows; nothing else opens or closes one.
//! * [`Recorder`] commits the records of many doors together, so that no door pays for its own sync.
//! * A store that cannot be written counts what is lost, and the first write after that says how much.

mod board;
mod body;
mod decisions;
mod error;
mod health;
mod lifecycle;
pub mod lost;
mod model;
mod open;
mod read;
mod recorder;
mod rows;
mod summary;
mod url;
mod write;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use portreeve_reports::SubjectKey;
use sqlx::sqlite::SqlitePool;
use tokio::sync::watch;

pub use board::{Board, ImageCounts};
pub use error::StoreError;
pub use health::{LostCounter, StoreHealth};
pub use model::{
    Changes, Counts, Decision, FindingQuery, NamespaceRow, Page, State, StoredFinding, SubjectFindings, Summary,
};
pub use recorder::{Ack, NotRecorded, Recorder, RecorderHandle, recorder};
pub use url::{InvalidStoreUrl, StoreUrl};
pub use write::{Pruned, Record, Retention};

use crate::runtime::metrics::StoreMetrics;

/// An open store of one cluster's findings. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    cluster: String,
    writer: SqlitePool,
    readers: SqlitePool,
    counts: watch::Sender<Counts>,
    lost: LostCounter,
    is_writable: AtomicBool,
    sequence: AtomicU64,
    metrics: StoreMetrics,
    /// Ends with the last clone of the store, or its closing.
    lock: File,
}

impl Store {
    /// Opens the store of `cluster`, making it where there is none. Refuses a folder that is not there, a second
    /// process, a damaged file, a database of something else and a newer schema.
    pub async fn open(url: &StoreUrl, cluster: &str) -> Result<Self, StoreError> {
        Self::open_with(url, cluster, StoreMetrics::default()).await
    }

    /// [`Store::open`] with the metrics that its writes count in.
    pub async fn open_with(url: &StoreUrl, cluster: &str, metrics: StoreMetrics) -> Result<Self, StoreError> {
        let opened = open::open(url).await?;
        let inner = Inner {
            path: url.path().to_owned(),
            cluster: cluster.to_owned(),
            writer: opened.writer,
            readers: opened.readers,
            counts: watch::Sender::new(Counts::default()),
            lost: LostCounter::default(),
            is_writable: AtomicBool::new(true),
            sequence: AtomicU64::new(0),
            metrics,
            lock: opened.lock,
        };
        let store = Self { inner: Arc::new(inner) };
        let counts = store.load_counts().await?;
        store.inner.counts.send_replace(counts);
        Ok(store)
    }

    /// The cluster whose findings this is.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// Open findings by severity and verdict, as of the last commit; changes with every visible change.
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.inner.counts.subscribe()
    }

    /// Whether it can be written, and what was lost.
    pub fn health(&self) -> StoreHealth {
        StoreHealth {
            is_writable: self.inner.is_writable.load(Ordering::Relaxed),
            lost_pending: self.inner.lost.pending(),
            lost_total: self.inner.lost.total(),
        }
    }

    /// Records one judging of one subject. Returns after the commit.
    pub async fn record(&self, batch: SubjectFindings) -> Result<Changes, StoreError> {
        self.record_many(vec![batch]).await
    }

    /// Records many judgings, in transactions of a bounded size. After an error the chunks before it are committed,
    /// the others are counted as lost.
    pub async fn record_many(&self, batches: Vec<SubjectFindings>) -> Result<Changes, StoreError> {
        self.write_all(batches.into_iter().map(Record::Findings).collect()).await
    }

    /// Resolves all findings of subjects that are proven to be gone. Returns after the commit.
    pub async fn deleted(&self, subjects: &[SubjectKey], at: Timestamp) -> Result<Changes, StoreError> {
        let record = |subject: &SubjectKey| Record::Deleted { subject: subject.clone(), at };
        self.write_all(subjects.iter().map(record).collect()).await
    }

    /// Records what admission answered. Returns after the commit.
    pub async fn record_decision(&self, decision: Decision) -> Result<(), StoreError> {
        self.write_all(vec![Record::Decision(decision)]).await.map(|_| ())
    }

    /// Waits for what is being written, moves the log into the database, and closes and unlocks it for every clone.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
        let failed = |source| StoreError::File { path: self.inner.path.clone(), source };
        self.inner.lock.unlock().map_err(failed)
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::of(&self.inner.path, source)
    }
}
