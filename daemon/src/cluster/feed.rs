//! What has changed since a reader last asked. The writer never waits for a reader, and a slow reader costs memory
//! only for what exists: changes of one subject are merged.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use portreeve_reports::SubjectKey;
use tokio::sync::Notify;

use crate::cluster::key::ObjectKey;

/// What must be looked at again. Whether a subject or an object still exists is for the index to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Subjects to judge; those that are no longer in the index are proven to be deleted.
    pub subjects: BTreeSet<SubjectKey>,
    /// Objects that are new, other, or gone: their images may be.
    pub objects: BTreeSet<ObjectKey>,
}

impl Change {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty() && self.objects.is_empty()
    }

    /// Adds a later change.
    pub fn merge(&mut self, later: Self) {
        self.subjects.extend(later.subjects);
        self.objects.extend(later.objects);
    }
}

/// The changes of one reader. Clones share them; there is one reader.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    change: Mutex<Change>,
    changed: Notify,
}

impl Feed {
    /// Adds a change and wakes the reader.
    pub fn push(&self, change: Change) {
        if change.is_empty() {
            return;
        }
        self.shared.change.lock().unwrap_or_else(PoisonError::into_inner).merge(change);
        self.shared.changed.notify_one();
    }

    /// Waits until there is a change, and takes all of it. Nothing is lost when the wait is cancelled.
    pub async fn take(&self) -> Change {
        loop {
            let change = std::mem::take(&mut *self.shared.change.lock().unwrap_or_else(PoisonError::into_inner));
            if !change.is_empty() {
                return change;
            }
            self.shared.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(subject: &str) -> Change {
        Change { subjects: [SubjectKey(subject.to_owned())].into(), ..Change::default() }
    }

    #[tokio::test]
    async fn repeats_are_merged_until_they_are_taken() {
        let feed = Feed::default();
        ["a", "b", "a"].into_iter().for_each(|subject| feed.push(change(subject)));
        assert_eq!(feed.take().await.subjects.len(), 2);
        let (taken, ()) = tokio::join!(feed.take(), async { feed.push(change("c")) });
        assert_eq!(taken, change("c"));
    }
}
