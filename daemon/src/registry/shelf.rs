//! Evidence that several processes share, so that one image is asked for once. What comes from it proves nothing: it
//! is verified like what a registry says.

use std::time::Duration;

use futures::future::BoxFuture;
use portreeve_policies::image::{Digest, Repository};
use portreeve_trust::evidence::ImageEvidence;

/// Evidence that another process has gathered.
#[derive(Debug)]
pub struct Shelved {
    /// What the registry said.
    pub evidence: ImageEvidence,
    /// How long ago.
    pub age: Duration,
}

/// Where processes leave evidence for each other.
pub trait EvidenceShelf: Send + Sync {
    /// Evidence about exactly this digest of this repository. Answers soon: an outage is `None`.
    fn take<'a>(&'a self, repository: &'a Repository, digest: &'a Digest) -> BoxFuture<'a, Option<Shelved>>;

    /// Leaves evidence there. Waits for nothing, and may be in vain.
    fn put(&self, evidence: &ImageEvidence);
}
