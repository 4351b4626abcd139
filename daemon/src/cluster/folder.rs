//! A folder of manifests that stands in for a cluster.
//!
//! Every change on disk ends in one walk of the folder: files whose size, time or identity changed, or that the
//! watcher named, are read again. So a lost or merged notification costs time, never truth, and an editor that writes
//! a new file over the old one is seen as a change of the old one. What cannot be read (a file, a folder, the whole)
//! deletes nothing.

mod claims;
pub mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use portreeve_policies::object::ReadOptions;
use portreeve_reports::Cause;
use portreeve_reports::source::Limits;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::cluster::writer::Event;
use crate::judge::content::{Content, is_own};
use crate::runtime::supervisor::blocking;
use claims::Claims;
use walk::{Signature, Walk};

/// How long changes are gathered before the folder is walked: an editor's save is several notifications.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How often a folder that cannot be watched is tried again, and walked meanwhile.
const RETRY: Duration = Duration::from_secs(5);
/// Named paths that are remembered; beyond that the signatures decide.
const MAX_NAMED: usize = 10_000;

/// Which folder, and how its manifests are read.
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// The folder.
    pub path: PathBuf,
    /// How the folder is called in findings: relative to the repository, with forward slashes, as `check` would.
    pub shown: String,
    /// Files that the configuration names, by their own paths: they are no manifests.
    pub own: Vec<PathBuf>,
    /// Namespace of objects that state none.
    pub default_namespace: String,
    /// Caps on one file.
    pub limits: Limits,
}

impl FolderOptions {
    /// A folder with the usual caps, shown as it is written.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let shown = path.to_string_lossy().replace('\\', "/");
        let shown = shown.trim_start_matches("./").trim_end_matches('/').to_owned();
        Self { path, shown, own: Vec::new(), default_namespace: "default".to_owned(), limits: Limits::default() }
    }
}

/// What the watcher has named since the last walk.
#[derive(Debug, Default)]
struct Named {
    paths: Mutex<BTreeSet<PathBuf>>,
    changed: Notify,
}

impl Named {
    fn notified(&self, event: notify::Result<notify::Event>) {
        // Our own reading is an access; to walk after it would never end.
        if event.as_ref().is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        // An error, or an overflow of the queue, names no path: the walk finds what changed.
        paths.extend(event.map(|event| event.paths).unwrap_or_default());
        if paths.len() > MAX_NAMED {
            paths.clear();
        }
        self.changed.notify_one();
    }

    fn take(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.paths.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads the folder, tells the index, and goes on as files change, until the shutdown.
pub async fn run(options: FolderOptions, events: mpsc::Sender<Event>, shutdown: CancellationToken) {
    let named = Arc::new(Named::default());
    let mut watcher = watch(&options.path, &named);
    let mut state = State::new(options);
    let mut is_first = true;
    loop {
        let paths = named.take();
        let (after, found) = blocking(move || state.walked(&paths)).await;
        state = after;
        for event in found.into_iter().chain(std::mem::take(&mut is_first).then_some(Event::FolderRead)) {
            if events.send(event).await.is_err() {
                return shutdown.cancelled().await;
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = named.changed.notified() => tokio::time::sleep(DEBOUNCE).await,
            () = tokio::time::sleep(RETRY), if watcher.is_none() || !state.is_whole => {
                watcher = watch(&state.options.path, &named);
            }
        }
    }
}

fn watch(path: &Path, named: &Arc<Named>) -> Option<RecommendedWatcher> {
    let named = Arc::clone(named);
    let watcher = notify::recommended_watcher(move |event| named.notified(event));
    let watched = watcher.and_then(|mut watcher| watcher.watch(path, RecursiveMode::Recursive).map(|()| watcher));
    watched.inspect_err(|error| tracing::warn!(folder = %path.display(), %error, "the folder cannot be watched")).ok()
}

/// What the last walk found.
#[derive(Debug)]
struct State {
    options: FolderOptions,
    seen: BTreeMap<PathBuf, Signature>,
    claims: Claims,
    is_whole: bool,
    problems: BTreeSet<String>,
}

impl State {
    fn new(options: FolderOptions) -> Self {
        Self { options, seen: BTreeMap::new(), claims: Claims::default(), is_whole: true, problems: BTreeSet::new() }
    }

    /// Walks the folder and reads what is new, other, or named.
    fn walked(mut self, named: &BTreeSet<PathBuf>) -> (Self, Vec<Event>) {
        let walk = walk::walk(&self.options.path, std::slice::from_ref(&self.options.path));
        self.is_whole = walk.problems.is_empty();
        let problems = self.problems(&walk);
        // A file that became a link is first no longer there and then not followed.
        let mut events = self.solved(&problems);
        let gone: Vec<PathBuf> = self.seen.keys().filter(|file| walk.proves_absent(file)).cloned().collect();
        for file in gone {
            self.seen.remove(&file);
            events.extend(self.claims.file_gone(&self.name(&file)));
        }
        events.extend(problems.iter().map(|(name, (cause, why))| claims::unreadable(name, *cause, why)));
        self.problems = problems.into_keys().collect();
        for (file, signature) in walk.files {
            if self.seen.get(&file) != Some(&signature) || named.contains(&file) {
                events.extend(self.read(&file));
                self.seen.insert(file, signature);
            }
        }
        (self, events)
    }

    /// Folders that could not be read, and what is not followed.
    fn problems(&self, walk: &Walk) -> BTreeMap<String, (Cause, String)> {
        let folders = walk.problems.iter().map(|(folder, cause, why)| (folder, *cause, why.clone()));
        let links = walk.not_followed.iter().map(|link| (link, Cause::Unreadable, walk::NOT_FOLLOWED.to_owned()));
        folders.chain(links).map(|(path, cause, why)| (self.name(path), (cause, why))).collect()
    }

    /// What was a problem and is none now.
    fn solved(&self, now: &BTreeMap<String, (Cause, String)>) -> Vec<Event> {
        let solved = self.problems.iter().filter(|name| !now.contains_key(*name));
        solved.map(|name| Event::FileGone(name.as_str().into())).collect()
    }

    fn read(&mut self, file: &Path) -> Vec<Event> {
        let name = self.name(file);
        let options =
            ReadOptions { limits: self.options.limits, default_namespace: self.options.default_namespace.clone() };
        match walk::bytes(file, options.limits.bytes) {
            Ok(bytes) if is_own(file, &self.options.own, &bytes, &options.limits) => {
                self.claims.file_read(&name, Content::default())
            }
            Ok(bytes) => self.claims.file_read(&name, Content::read(&name, Some(file), &bytes, &options)),
            Err((cause, why)) => vec![claims::unreadable(&name, cause, &why)],
        }
    }

    /// The name of a path in findings.
    fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.options.path).unwrap_or(path).to_string_lossy().replace('\\', "/");
        match (self.options.shown.as_str(), below.as_str()) {
            ("" | ".", below) => below.to_owned(),
            (shown, "") => shown.to_owned(),
            (shown, below) => format!("{shown}/{below}"),
        }
    }
}

#[cfg(test)]
mod tests;
