//! Writes under way, so that a process that stops neither begins one nor gives the lease back beside one.

use std::sync::Arc;

use tokio::sync::watch;

use super::ApiFailure;
use crate::runtime::leader::LeadershipLost;

/// Counts writes; clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    begun: u64,
    under_way: u64,
}

impl Writing {
    /// A write begins; it is under way until the guard is dropped.
    pub(super) fn begin(&self) -> Result<UnderWay, ApiFailure> {
        let has_begun = self.0.send_if_modified(|state| {
            if !state.is_closed {
                (state.begun, state.under_way) = (state.begun + 1, state.under_way + 1);
            }
            !state.is_closed
        });
        if has_begun { Ok(UnderWay(self.clone())) } else { Err(LeadershipLost::Released.into()) }
    }

    /// From now on no write begins.
    pub(super) fn close(&self) {
        self.0.send_modify(|state| state.is_closed = true);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().is_closed
    }

    /// How many have begun.
    pub(super) fn begun(&self) -> u64 {
        self.0.borrow().begun
    }

    /// Waits until none is under way.
    pub(super) async fn quiet(&self) {
        // The sender lives as long as this.
        drop(self.0.subscribe().wait_for(|state| state.under_way == 0).await);
    }
}

/// One write under way.
#[derive(Debug)]
pub(super) struct UnderWay(Writing);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.under_way -= 1);
    }
}
