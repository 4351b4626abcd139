//! Why an answer is not known, and until when it may be waited for.

use std::time::Duration;

use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;
use tokio::time::Instant;

/// Why the answer of a registry is not known. The message names the request and what to do, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The cause a verdict built on this gets.
    pub cause: Cause,
    /// One line for people.
    pub message: String,
}

impl Failure {
    pub(super) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }

    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(Cause::Unreadable, message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(Cause::TooLarge, message)
    }
}

/// The three outcomes while they still travel with `?`: `Ok(None)` is proven absence.
pub(super) type Outcome<T> = Result<Option<T>, Failure>;

/// The same outcome as evidence.
pub(super) fn lookup<T>(outcome: Outcome<T>) -> Lookup<T> {
    match outcome {
        Ok(Some(value)) => Lookup::Found(value),
        Ok(None) => Lookup::Absent,
        Err(failure) => Lookup::Indeterminate(failure.cause, failure.message),
    }
}

/// The moment after which nobody waits for an answer any more.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now; at most a year.
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration.min(Duration::from_secs(365 * 24 * 3600)))
    }

    /// What is left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// A little later: for what waits on work that is bound by this deadline itself, so that the work gets to say what
    /// it has.
    pub(super) fn with_grace(self) -> Self {
        Self(self.0 + Duration::from_millis(50))
    }

    /// The future's output, or `None` when the deadline came first.
    pub(super) async fn bound<F: Future>(self, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(self.0, future).await.ok()
    }
}
