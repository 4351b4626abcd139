//! The one writer of the index, and what readers see of it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use portreeve_policies::object::Object;
use portreeve_policies::world::World;
use portreeve_reports::{Cause, Finding, ObjectRef, SubjectKey};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::feed::{Change, Feed};
use crate::cluster::index::{HeldCredentials, Index, Item, SubjectState};
use crate::cluster::key::ObjectKey;
use crate::cluster::kinds::{KINDS, WatchedKind};
use crate::judge::secrets::EncryptedFile;
use crate::runtime::readiness::Permit;

/// Events that wait between the watches and the writer.
const QUEUE: usize = 1_024;
/// The most events folded in before readers see them.
const BATCH: usize = 256;

/// What happened in the cluster.
#[derive(Debug)]
pub enum Event {
    /// An object is there, new or changed.
    Applied(Item),
    /// An object is gone.
    Deleted(ObjectKey),
    /// All objects of a kind.
    Listed(&'static WatchedKind, Vec<Item>),
    /// A kind cannot be listed: the cause, and what the API server said.
    NotListed(&'static WatchedKind, Cause, String),
    /// A kind that was known cannot be followed any more: what happened, in the client's words.
    Away(&'static WatchedKind, String),
    /// A file was read; the findings are about what of it could not be. One that sops encrypted is judged as such.
    FileRead(Arc<str>, Vec<Finding>, Option<Arc<EncryptedFile>>),
    /// A file is gone.
    FileGone(Arc<str>),
    /// Every file of the folder was read once: all kinds are listed.
    FolderRead,
}

/// What rules may ask, as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The world.
    pub world: World,
    /// Whether every kind was listed once, or is known not to be listable.
    pub is_synced: bool,
    /// Number of kinds that were listed and cannot be followed since: the API server is away.
    pub stale: usize,
}

/// An object of the index.
#[derive(Clone, Debug)]
pub struct ObjectState {
    /// The object.
    pub object: Arc<Object>,
    /// The object as a subject, with its topmost known owner.
    pub reference: ObjectRef,
    /// Whether its owner is judged in its place.
    pub is_covered: bool,
}

/// The credentials of an object; `None` when it is not there.
pub type Held = Option<HeldCredentials>;

/// The readers' side of the index. Clones share it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    index: Arc<RwLock<Index>>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
}

/// The task that folds events into the index. There is one.
#[derive(Debug)]
pub struct Writer {
    index: Arc<RwLock<Index>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    events: mpsc::Receiver<Event>,
    feeds: Vec<Feed>,
    permit: Option<Permit>,
}

/// An index: its writer, what feeds it, and what reads it. `feeds` get every change; `permit` is released at the
/// first sync.
pub fn index(feeds: Vec<Feed>, permit: Permit) -> (Writer, mpsc::Sender<Event>, ClusterView) {
    let (sender, events) = mpsc::channel(QUEUE);
    let index = Arc::new(RwLock::new(Index::new()));
    let world = read(&index).world();
    let (snapshot, receiver) = watch::channel(Arc::new(Snapshot { world, ..Snapshot::default() }));
    let view = ClusterView { index: Arc::clone(&index), snapshot: receiver };
    (Writer { index, snapshot, events, feeds, permit: Some(permit) }, sender, view)
}

impl Writer {
    /// Folds events until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                received = self.events.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        // The watches end at the shutdown only; their supervisor names one that does not.
                        return shutdown.cancelled().await;
                    }
                }
            }
            self.fold(batch.drain(..));
        }
    }

    fn fold(&mut self, events: impl Iterator<Item = Event>) {
        let mut change = Change::default();
        let (world, is_synced, stale) = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            events.for_each(|event| change.merge(fold(&mut index, event)));
            (index.world(), index.is_synced(), index.stale())
        };
        // Synced once is synced: while the API server is away, the index goes on to answer.
        let is_synced = is_synced || self.snapshot.borrow().is_synced;
        self.snapshot.send_replace(Arc::new(Snapshot { world, is_synced, stale }));
        self.feeds.iter().for_each(|feed| feed.push(change.clone()));
        if is_synced {
            self.permit.take().into_iter().for_each(Permit::release);
        }
    }
}

fn fold(index: &mut Index, event: Event) -> Change {
    match event {
        Event::Applied(item) => index.apply(item),
        Event::Deleted(key) => index.delete(&key),
        Event::Listed(kind, items) => index.reset(kind, items),
        Event::NotListed(kind, cause, why) => index.hide(kind, cause, &why),
        Event::Away(kind, why) => index.outdate(kind, &why),
        Event::FileRead(path, problems, encrypted) => index.file_read(&path, problems, encrypted),
        Event::FileGone(path) => index.file_gone(&path),
        Event::FolderRead => {
            let mut change = Change::default();
            KINDS.iter().for_each(|kind| change.merge(index.listed(kind)));
            change
        }
    }
}

fn read(index: &RwLock<Index>) -> RwLockReadGuard<'_, Index> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}

impl ClusterView {
    /// The world now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Waits for the first sync; `false` when the writer ended before it.
    pub async fn synced(&self) -> bool {
        self.snapshot.clone().wait_for(|snapshot| snapshot.is_synced).await.is_ok()
    }

    /// What to judge of each subject, and the world of the same moment; `None` for one that is proven to be gone.
    pub fn subjects(&self, keys: Vec<SubjectKey>) -> (World, Vec<(SubjectKey, Option<SubjectState>)>) {
        let index = read(&self.index);
        let states = keys.into_iter().map(|key| {
            let state = index.subject(&key);
            (key, state)
        });
        (index.world(), states.collect())
    }

    /// An object as it was last read.
    pub fn object(&self, key: &ObjectKey) -> Option<ObjectState> {
        let index = read(&self.index);
        let object = Arc::clone(index.object(key)?);
        Some(ObjectState { reference: index.reference(&object), is_covered: index.is_covered(&object), object })
    }

    /// The world, and the credentials of objects; `None` for objects that are not there.
    pub fn credentials(&self, keys: Vec<ObjectKey>) -> (World, Vec<(ObjectKey, Held)>) {
        let index = read(&self.index);
        let held = keys.into_iter().map(|key| {
            let credentials = index.credentials(&key);
            (key, credentials)
        });
        (index.world(), held.collect())
    }

    /// See [`Index::credentials`].
    pub fn held_credentials(&self, key: &ObjectKey) -> Held {
        read(&self.index).credentials(key)
    }

    /// See [`Index::is_kind_listed`].
    pub fn is_kind_listed(&self, group: &str, kind: &str) -> bool {
        read(&self.index).is_kind_listed(group, kind)
    }

    /// See [`Index::are_credentials_read`].
    pub fn are_credentials_read(&self) -> bool {
        read(&self.index).are_credentials_read()
    }

    /// All subjects and objects, for a rescan.
    pub fn everything(&self) -> Change {
        read(&self.index).everything()
    }

    /// Whether something of the subject exists.
    pub fn is_known(&self, subject: &SubjectKey) -> bool {
        read(&self.index).is_known(subject)
    }

    /// See [`Index::is_proven_absent`].
    pub fn is_proven_absent(&self, subject: &SubjectKey) -> bool {
        read(&self.index).is_proven_absent(subject)
    }

    /// See [`Index::is_complete`].
    pub fn is_complete(&self) -> bool {
        read(&self.index).is_complete()
    }

    /// Number of objects.
    pub fn objects(&self) -> usize {
        read(&self.index).len()
    }
}
