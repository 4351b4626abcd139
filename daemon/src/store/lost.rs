//! What was lost while the store could not be written, as a finding of the cluster (PR-0005).
//!
//! The recorder opens it after the first write that succeeds again; a posture scan that began later and was stored
//! whole resolves it, because it has found again what still holds.

use jiff::Timestamp;
use portreeve_reports::code::FINDINGS_LOST;
use portreeve_reports::{Finding, FindingBuilder, Location, Subject, Verdict};

/// The store of a cluster.
pub fn subject(cluster: &str) -> Subject {
    Subject::Component { platform: cluster.to_owned(), component: "portreeve store".to_owned() }
}

/// `records` were lost and cannot be had again.
pub(super) fn finding(cluster: &str, records: u64, at: Timestamp) -> Option<Finding> {
    let words = if records == 1 { "record was" } else { "records were" };
    let message = format!("{records} {words} lost while the store could not be written");
    draft(cluster, Verdict::Fail)
        .message(message)
        .evidence("lost records", records.to_string())
        .evidence("written again", at.to_string())
        .build()
        .ok()
}

/// Nothing is missing any more.
pub fn found_again(cluster: &str) -> Option<Finding> {
    draft(cluster, Verdict::Pass).message("everything was judged and stored again".to_owned()).build().ok()
}

fn draft(cluster: &str, verdict: Verdict) -> FindingBuilder {
    let location = Location { object_path: "store".to_owned(), ..Location::default() };
    FindingBuilder::new(FINDINGS_LOST.code(), FINDINGS_LOST.severity, verdict)
        .subject(subject(cluster))
        .location(location)
}
