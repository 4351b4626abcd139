//! Handing judgements to the store, and remembering what it did not take.

use std::collections::BTreeSet;

use jiff::Timestamp;
use portreeve_reports::{Finding, SubjectKey};

use crate::judge::tally::Tally;
use crate::store::{Ack, NotRecorded, Record, RecorderHandle, SubjectFindings};

/// Whether a subject of the store is an image.
pub(super) fn is_image(subject: &SubjectKey) -> bool {
    subject.0.split('\u{1f}').next() == Some("image")
}

/// Whether a subject of the store is a custom resource that is a rule, or a kind of those.
pub(super) fn is_rule(subject: &SubjectKey) -> bool {
    subject.0.split('\u{1f}').nth(1) == Some(portreeve_api::GROUP)
}

/// Records of one round, on their way to the store.
pub(super) struct Round<'a> {
    recorder: &'a RecorderHandle,
    tally: &'a Tally,
    at: Timestamp,
    acks: Vec<(SubjectKey, Ack)>,
}

impl<'a> Round<'a> {
    /// A round whose subjects were looked at at `at`: before they were read, so that a later event wins.
    pub(super) fn new(recorder: &'a RecorderHandle, tally: &'a Tally, at: Timestamp) -> Self {
        Self { recorder, tally, at, acks: Vec::new() }
    }

    /// The subject was judged.
    pub(super) async fn judged(&mut self, subject: SubjectKey, findings: Vec<Finding>) {
        self.judged_beside(subject, findings, Vec::new()).await;
    }

    /// The subject was judged; what else is not asked of it (any more) resolves, and counts as no answer.
    pub(super) async fn judged_beside(&mut self, subject: SubjectKey, findings: Vec<Finding>, unasked: Vec<Finding>) {
        self.tally.judged(&subject, &findings);
        let findings = findings.into_iter().chain(unasked).collect();
        let batch = SubjectFindings { subject: subject.clone(), findings, at: self.at };
        self.send(subject, Record::Findings(batch)).await;
    }

    /// The subject is proven to be gone.
    pub(super) async fn deleted(&mut self, subject: SubjectKey) {
        self.tally.deleted(&subject);
        self.send(subject.clone(), Record::Deleted { subject, at: self.at }).await;
    }

    async fn send(&mut self, subject: SubjectKey, record: Record) {
        let ack = self.recorder.send_when_room(record).await;
        self.acks.push((subject, ack));
    }

    /// Waits for the commits; the subjects that were not stored.
    pub(super) async fn finish(self) -> BTreeSet<SubjectKey> {
        let mut failed = BTreeSet::new();
        let mut reason: Option<NotRecorded> = None;
        for (subject, ack) in self.acks {
            if let Err(error) = ack.committed().await {
                failed.insert(subject);
                reason = Some(error);
            }
        }
        if let Some(error) = reason {
            tracing::debug!(subjects = failed.len(), %error, "findings were not stored; judging again later");
        }
        failed
    }
}
