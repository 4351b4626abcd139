//! Whose turn it is to write findings: that of the one process that has the store, or of the leader of those that
//! share it.

use portreeve_reports::SubjectKey;
use tokio_util::sync::CancellationToken;

use crate::runtime::leader::{LeadershipLost, LeadershipWatch};
use crate::store::{RecorderHandle, Store, StoreError};

/// Why a process that shares its store stops writing findings. It ends: what it knows of them is of its own term, and
/// another replica serves meanwhile.
#[derive(Debug, thiserror::Error)]
pub(super) enum TurnOver {
    /// The term is over.
    #[error("another replica writes the findings from now on")]
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
        self.store.fence(leading.epoch()).await?;
        let stored = self.store.subjects().await?;
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
}
