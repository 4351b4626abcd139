//! Whose turn it is to write findings: that of the one process that has the store, or of the leader of those that
//! share it.

use std::time::Duration;

use portreeve_reports::SubjectKey;
use tokio_util::sync::CancellationToken;

use crate::runtime::leader::{Epoch, LeadershipLost, LeadershipWatch};
use crate::store::{RecorderHandle, Store, StoreError};

/// When a store that was away at the beginning of a term is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// Why a process that shares its store stops writing findings. It ends: what it knows of them is of its own term, and
/// the replica that takes the lease next writes them.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnOver {
    /// The term is over.
    #[error("this replica no longer writes the findings: whichever takes the lease next does")]
    Lost(#[from] LeadershipLost),
    /// The store has seen a later term, or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The turn of a process.
#[derive(Clone)]
pub(super) struct Turn {
    /// `None` when no other process has the store.
    leadership: Option<LeadershipWatch>,
    store: Store,
    recorder: RecorderHandle,
    shutdown: CancellationToken,
}

impl Turn {
    pub(super) fn new(
        (store, recorder): (Store, RecorderHandle),
        leadership: &LeadershipWatch,
        shutdown: CancellationToken,
    ) -> Self {
        let leadership = store.is_shared().then(|| leadership.clone());
        Self { leadership, store, recorder, shutdown }
    }

    /// Does the work when it is this process's turn, with the subjects that are stored by then.
    pub(super) async fn write<W: Future<Output = ()>>(
        mut self,
        work: impl FnOnce(RecorderHandle, Vec<SubjectKey>) -> W,
    ) -> Result<(), TurnOver> {
        let Some(leadership) = &mut self.leadership else {
            let stored = self.store.subjects().await?;
            work(self.recorder, stored).await;
            return Ok(());
        };
        let leading = tokio::select! {
            leading = leadership.leading() => leading,
            () = self.shutdown.cancelled() => return Ok(()),
        };
        let stored = tokio::select! {
            stored = self.begin(leading.epoch()) => stored?,
            lost = leading.over() => return Err(lost.into()),
            () = self.shutdown.cancelled() => return Ok(()),
        };
        let over = async {
            let lost = leading.over().await;
            // The work ends by itself, with what it still has to write.
            if self.shutdown.is_cancelled() { std::future::pending().await } else { lost }
        };
        tokio::select! {
            () = work(self.recorder.of_leader(leading.epoch()), stored) => Ok(()),
            lost = over => Err(lost.into()),
        }
    }

    /// Says to the store that the term has begun. A store that is away now is asked again: the other doors go on.
    async fn begin(&self, epoch: Epoch) -> Result<Vec<SubjectKey>, StoreError> {
        loop {
            let begun = async {
                self.store.fence(epoch).await?;
                self.store.subjects().await
            };
            match begun.await {
                Err(error) if !matches!(error, StoreError::Fenced) => {
                    tracing::warn!(%error, "the findings of this term wait for the store");
                    tokio::time::sleep(RETRY).await;
                }
                ended => return ended,
            }
        }
    }
}
