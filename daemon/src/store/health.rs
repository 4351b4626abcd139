//! Whether the store can be written, and how much was lost while it could not.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts records that could not be stored. Doors answer by verdict all the same.
#[derive(Debug, Default)]
pub struct LostCounter {
    pending: AtomicU64,
    total: AtomicU64,
}

impl LostCounter {
    pub(super) fn add(&self, records: u64) {
        self.pending.fetch_add(records, Ordering::Relaxed);
        self.total.fetch_add(records, Ordering::Relaxed);
    }

    /// What was lost since the last call: for the first successful write to report.
    pub(super) fn take(&self) -> u64 {
        self.pending.swap(0, Ordering::Relaxed)
    }

    /// Lost and not yet reported by a successful write.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Lost since the process started.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
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
