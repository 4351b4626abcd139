//! The proof that this process may write to the cluster.

use tokio_util::sync::CancellationToken;

/// Held while this process leads. Every write to the cluster asks it first.
#[derive(Clone, Debug)]
pub struct Leading {
    lost: CancellationToken,
}

/// This process does not lead any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another process leads now; nothing more is written")]
pub struct LeadershipLost;

impl Leading {
    /// Leads until the token is cancelled.
    pub fn until(lost: CancellationToken) -> Self {
        Self { lost }
    }

    /// Whether writing is still allowed.
    pub fn check(&self) -> Result<(), LeadershipLost> {
        if self.lost.is_cancelled() { Err(LeadershipLost) } else { Ok(()) }
    }

    /// Cancelled when leading ends.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}
