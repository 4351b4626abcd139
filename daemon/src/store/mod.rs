//! The store: findings with their life, decisions of admission, scans. SQLite for one process, PostgreSQL for several.
//!
//! * [`engine`] is the only place that knows both; every SQL text is the same for either.
//! * Acknowledged is committed: every write returns after the engine has synced it, and survives kill -9.
//! * Findings of a leader carry its epoch; those of an older one are refused ([`fence`]).
//! * Processes on one PostgreSQL store share the bytes of evidence ([`evidence`]), and each verifies them for itself.
//! * [`lifecycle`] decides what a judging does to the rows; nothing else opens or closes one.
//! * [`Recorder`] commits the records of many doors together, so that no door pays for its own sync.
//! * A store that cannot be written counts what is lost, and the first write after that says how much.

mod board;
mod body;
mod decisions;
mod engine;
mod error;
mod evidence;
mod fence;
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
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::sync::watch;

pub use board::{Board, ImageCounts};
pub use error::StoreError;
pub use evidence::{SharedEvidence, Shelf};
pub use health::{LostCounter, StoreHealth};
pub use model::{
    Changes, Counts, Decision, FindingQuery, NamespaceRow, Page, Resolution, State, StoredFinding, SubjectFindings,
    Summary,
};
pub use open::Found;
pub use recorder::{Ack, NotRecorded, Recorder, RecorderHandle, recorder};
pub use url::{InvalidStoreUrl, PostgresUrl, StoreUrl};
pub use write::{Pruned, Record, Retention};

use self::engine::Readers;
use self::writer::Writer;
use crate::runtime::metrics::StoreMetrics;

/// An open store of one cluster's findings. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// As errors name it.
    url: StoreUrl,
    cluster: String,
    writer: Writer,
    readers: Readers,
    counts: watch::Sender<Counts>,
    /// The last visible change that the counts know of.
    revision: AtomicI64,
    lost: LostCounter,
    is_writable: AtomicBool,
    sequence: AtomicU64,
    /// Tells the decisions of this process from those of others.
    process: u64,
    metrics: StoreMetrics,
    /// Ends with the last clone of the store, or its closing.
    lock: Option<File>,
}

impl Store {
    /// Opens the store of `cluster`, making it where there is none. Refuses a folder that is not there, a second
    /// process, a damaged file, a database of something else and a newer schema.
    pub async fn open(url: &StoreUrl, cluster: &str) -> Result<Self, StoreError> {
        Self::open_with(url, cluster, StoreMetrics::default()).await
    }

    /// [`Store::open`] with the metrics that its writes count in.
    pub async fn open_with(url: &StoreUrl, cluster: &str, metrics: StoreMetrics) -> Result<Self, StoreError> {
        let opened = Box::pin(open::open(url)).await?;
        let inner = Inner {
            url: url.clone(),
            cluster: cluster.to_owned(),
            writer: opened.writer,
            readers: opened.readers,
            counts: watch::Sender::new(Counts::default()),
            lost: LostCounter::default(),
            is_writable: AtomicBool::new(true),
            sequence: AtomicU64::new(0),
            revision: AtomicI64::new(0),
            process: RandomState::new().hash_one(std::process::id()),
            metrics,
            lock: opened.lock,
        };
        let store = Self { inner: Arc::new(inner) };
        Box::pin(store.make_fence()).await?;
        Box::pin(store.load_counts()).await.map_err(|source| store.failed(source))?;
        Ok(store)
    }

    /// What opening would find or refuse. Nothing is made, locked or migrated.
    pub async fn probe(url: &StoreUrl) -> Result<Found, StoreError> {
        Box::pin(open::probe(url)).await
    }

    /// The cluster whose findings this is.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// Whether other processes may have the store open.
    pub fn is_shared(&self) -> bool {
        matches!(self.inner.url, StoreUrl::Postgres(_))
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

    /// Waits for what is being written, moves the log into the database, and closes and unlocks it for every clone.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
        let Some(lock) = &self.inner.lock else { return Ok(()) };
        let file = || std::path::PathBuf::from(self.inner.url.to_string());
        lock.unlock().map_err(|source| StoreError::File { path: file(), source })
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::of(&self.inner.url.to_string(), source)
    }
}
