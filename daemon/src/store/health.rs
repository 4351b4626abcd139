//! Whether the store can be written, and how much was lost while it could not.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most things that are told apart; what is told again of others counts anew.
const MAX_KNOWN: usize = 100_000;

/// Counts records that could not be stored. Doors answer by verdict all the same.
#[derive(Debug, Default)]
pub struct LostCounter {
    pending: Mutex<Pending>,
    total: AtomicU64,
    keys: RandomState,
}

#[derive(Debug, Default)]
struct Pending {
    records: u64,
    /// What was counted of each thing that records are about.
    known: HashMap<u64, u64>,
}

impl LostCounter {
    /// Counts what a record weighs; gives what that adds. Doors say again of a thing (`about`) what was not stored, and what
    /// is lost again is no more than was lost.
    pub(super) fn add(&self, about: Option<&str>, records: u64) -> u64 {
        let mut pending = self.lock();
        let added = match about.map(|about| self.keys.hash_one(about)) {
            Some(key) if pending.known.len() < MAX_KNOWN || pending.known.contains_key(&key) => {
                let counted = pending.known.entry(key).or_default();
                let added = records.saturating_sub(*counted);
                *counted += added;
                added
            }
            _ => records,
        };
        pending.records += added;
        self.total.fetch_add(added, Ordering::Relaxed);
        added
    }

    /// What was lost since the last call: for the first successful write to report.
    pub(super) fn take(&self) -> u64 {
        std::mem::take(&mut *self.lock()).records
    }

    /// Lost and not yet reported by a successful write.
    pub fn pending(&self) -> u64 {
        self.lock().records
    }

    /// Lost since the process started.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of the store, for readiness, pages and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether the last write succeeded.
    pub is_writable: bool,
    /// Records lost since the last successful write.
    pub lost_pending: u64,
    /// Records lost since the process started.
    pub lost_total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_and_lost_again_counts_once() {
        let lost = LostCounter::default();
        assert_eq!([lost.add(Some("a"), 2), lost.add(Some("a"), 2), lost.add(Some("a"), 3)], [2, 0, 1]);
        assert_eq!([lost.add(Some("b"), 1), lost.add(None, 1), lost.add(None, 1)], [1, 1, 1]);
        assert_eq!((lost.take(), lost.pending(), lost.total()), (6, 0, 6));
        assert_eq!(lost.add(Some("a"), 2), 2, "another outage");
        for number in 0..MAX_KNOWN {
            lost.add(Some(&number.to_string()), 1);
        }
        assert_eq!(lost.lock().known.len(), MAX_KNOWN);
    }
}
