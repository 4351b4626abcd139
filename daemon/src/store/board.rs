//! What the last scans saw beside findings: coverage and images. Passes are not stored, so this comes from the doors.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// The numbers of the last scans, published by the composition root on a `watch` channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// Decided / (decided + unknown + error), the mean over the controls, 0 to 1; `None` before the first scan.
    pub coverage: Option<f64>,
    /// Images by their verdict.
    pub images: ImageCounts,
    /// Objects that are watched.
    pub objects: u64,
    /// Last success of each scanner.
    pub scans: BTreeMap<&'static str, Timestamp>,
}

/// Running images by what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageCounts {
    /// A trusted signature and the policy agree.
    pub verified: u64,
    /// No signature.
    pub unsigned: u64,
    /// A signature of nobody that is trusted.
    pub untrusted: u64,
    /// The policy or an attestation disagrees.
    pub mismatch: u64,
    /// Could not be checked.
    pub unknown: u64,
}

impl ImageCounts {
    /// All images.
    pub fn total(self) -> u64 {
        self.verified + self.unsigned + self.untrusted + self.mismatch + self.unknown
    }
}
