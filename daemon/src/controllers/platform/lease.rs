//! The lease that the platform is kept under: waited for, and told where it cannot be had at all.

use std::time::Duration;

use portreeve_api::platform::NOT_APPLIED;
use portreeve_reports::{Finding, FindingBuilder, Location, Verdict};

use super::{Ledger, Memory, PlatformController};
use crate::platform::findings;
use crate::runtime::leader::Leading;

/// How long the lease is waited for before that is told and counted: a start has its order, and a command that asks for
/// the lease gives it back soon.
const PATIENCE: Duration = Duration::from_secs(5);
/// When what was not stored is told again.
const RETRY: Duration = Duration::from_secs(5);

impl PlatformController {
    /// Waits until this process leads. One that does not looks at no component, and counts none.
    pub(super) async fn leading(&self, memory: &mut Memory) -> Leading {
        let mut turn = self.leadership.clone();
        tokio::select! {
            leading = turn.leading() => return leading,
            () = tokio::time::sleep(PATIENCE) => self.not_looked_at(None, memory),
        }
        self.led(&mut memory.books.ledger).await
    }

    /// Waits until this process leads. Where the API server refuses the lease nobody keeps the platform, here or
    /// elsewhere, and that is a finding until the lease is refused no more; while somebody else has it, they say what
    /// becomes of the platform.
    async fn led(&self, ledger: &mut Ledger) -> Leading {
        let (mut turn, mut refusals) = (self.leadership.clone(), self.leadership.clone());
        let (mut refused, mut told, mut pause) = (None, None, PATIENCE);
        loop {
            tokio::select! {
                leading = turn.leading() => return leading,
                now = refusals.other_refusal(refused.as_deref()) => {
                    pause = if now.is_some() { PATIENCE } else { Duration::ZERO };
                    refused = now;
                    continue;
                }
                () = ledger.rules_changed(), if refused.is_some() && told == refused => {}
                () = tokio::time::sleep(pause), if told != refused => {}
            }
            let is_told = tokio::select! {
                leading = turn.leading() => return leading,
                is_told = self.tell_refusal(ledger, refused.as_deref()) => is_told,
            };
            if is_told {
                told.clone_from(&refused);
            }
            pause = RETRY;
        }
    }

    /// Records why the platform is not kept, or that nothing keeps it from that. Of a store that is shared only the leader
    /// writes the findings.
    async fn tell_refusal(&self, ledger: &mut Ledger, why: Option<&str>) -> bool {
        let (shown, file) = (self.declaration.shown(), self.declaration.file());
        if self.store.is_shared() {
            if let Some(why) = why {
                tracing::warn!(platform = shown, "the platform is not kept: {why}");
            }
            ledger.pass_over();
            return true;
        }
        let Some(finding) = finding(&shown, file.as_deref(), why) else { return true };
        ledger.found_without_term(findings::subject(&shown, "").key(), finding).await
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
