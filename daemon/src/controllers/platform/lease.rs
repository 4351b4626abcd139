//! The lease that the platform is kept under: waited for, and told where it cannot be had at all.

use std::time::Duration;

use jiff::Timestamp;
use portreeve_api::platform::NOT_APPLIED;
use portreeve_reports::{Finding, FindingBuilder, Location, Verdict};

use super::{Memory, PlatformController};
use crate::platform::findings;
use crate::runtime::leader::Leading;
use crate::store::{Record, SubjectFindings};

/// How long the lease is waited for before that is told and counted: a start has its order, and a command that asks for
/// the lease gives it back soon.
const PATIENCE: Duration = Duration::from_secs(5);
/// When what was not stored is told again.
const RETRY: Duration = Duration::from_secs(5);

impl PlatformController {
    /// Waits until this process leads. One that does not looks at no component, and counts none.
    pub(super) async fn leading(&self, memory: &mut Memory) -> Leading {
        let mut leading = std::pin::pin!(self.led());
        tokio::select! {
            leading = &mut leading => return leading,
            () = tokio::time::sleep(PATIENCE) => self.not_looked_at(None, memory),
        }
        leading.await
    }

    /// Waits until this process leads. Where the API server refuses the lease nobody keeps the platform, here or
    /// elsewhere, and that is a finding; while somebody else has it, they say what becomes of the platform.
    async fn led(&self) -> Leading {
        let (mut turn, mut refusals) = (self.leadership.clone(), self.leadership.clone());
        let mut refused = None;
        loop {
            tokio::select! {
                leading = turn.leading() => return leading,
                now = refusals.other_refusal(refused.as_deref()) => refused = now,
            }
            let Some(why) = refused.clone() else { continue };
            tokio::select! {
                leading = turn.leading() => return leading,
                _ = refusals.other_refusal(Some(&why)) => continue,
                () = tokio::time::sleep(PATIENCE) => {}
            }
            tracing::warn!(platform = self.declaration.shown(), "the platform is not kept: {why}");
            while !self.told_refusal(&why).await {
                tokio::select! {
                    leading = turn.leading() => return leading,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }

    /// Records why the platform is not kept. Of a store that is shared only the leader writes the findings.
    async fn told_refusal(&self, why: &str) -> bool {
        if self.store.is_shared() {
            return true;
        }
        let (shown, file) = (self.declaration.shown(), self.declaration.file());
        let findings = finding(&shown, file.as_deref(), Some(why)).into_iter().collect();
        let (subject, at) = (findings::subject(&shown, "").key(), Timestamp::now());
        let told = Record::Findings(SubjectFindings { subject, findings, at });
        self.recorder.send_when_room(told).await.committed().await.is_ok()
    }
}

/// Whether the platform can be kept at all; `why` not.
pub(super) fn finding(shown: &str, file: Option<&str>, why: Option<&str>) -> Option<Finding> {
    let (verdict, message) = match why {
        Some(why) => (Verdict::Fail, format!("nothing of the platform is applied or corrected: {why}")),
        None => (Verdict::Pass, NOT_APPLIED.title.to_owned()),
    };
    let place = file.map_or_else(Location::default, |file| Location {
        file: Some(file.into()),
        line: Some(1),
        column: Some(1),
        ..Location::default()
    });
    FindingBuilder::new(NOT_APPLIED.code(), NOT_APPLIED.severity, verdict)
        .subject(findings::subject(shown, ""))
        .location(place)
        .message(message)
        .build()
        .ok()
}
