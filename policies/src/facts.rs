//! What is known of an image, as rules see it.

use portreeve_reports::Cause;

use crate::image::Digest;

/// The outcome of image verification. `Verified` is made of a `VerifiedImage` by one function of `portreeve-trust`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFact {
    /// A policy's authorities vouch for this digest.
    Verified {
        /// The digest that was verified.
        digest: Digest,
        /// Names of the authorities that vouch.
        authorities: Vec<String>,
        /// Names of the attestations that the rule demands, all of which are there.
        attestations: Vec<String>,
    },
    /// No signature exists; every place was looked at and answered.
    Unsigned,
    /// Signatures exist and none is by a required authority; the reasons, one per signature seen.
    Untrusted(Vec<String>),
    /// Signed by whom it should be, and what must be attested of it is not: what is missing, and why what is there does
    /// not count.
    Unattested(Vec<String>),
    /// Against the policy (digest, denied by rule, no rule).
    Mismatch(String),
    /// No rule names the image, and the policy says that such images may run. Nothing was verified.
    NotAsked(String),
    /// Could not be told.
    Unknown(Cause, String),
}
