//! Which step of the certificate's life is next: pure.

use jiff::Timestamp;

use super::pair::{Held, LIFETIME, Pair, sorted};

/// One write to the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing that could be served: make it.
    Make,
    /// Put the next one beside the current one.
    Stage,
    /// The next one becomes the current one.
    Promote,
    /// Forget the CA of the previous one.
    Retire,
    /// Nothing to write.
    Rest,
}

impl Step {
    /// The word for logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Make => "made",
            Self::Stage => "staged",
            Self::Promote => "promoted",
            Self::Retire => "retired",
            Self::Rest => "rested",
        }
    }
}

/// What has had its time, by a clock that cannot be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// All CAs of the Secret are known to the API server long enough.
    pub(super) is_known: bool,
    /// Every replica serves the current certificate.
    pub(super) is_served: bool,
}

/// The next step. `now` is the wall clock; it only starts rotations, and never hurries one.
pub(super) fn next(held: &Held, names: &[String], now: Timestamp, (is_asked, settled): (bool, Settled)) -> Step {
    let Some(current) = &held.current else { return Step::Make };
    match (&held.next, &held.previous) {
        (Some(_), _) => step_if(settled.is_known, Step::Promote),
        (None, Some(_)) => step_if(settled.is_served, Step::Retire),
        (None, None) => step_if(is_asked || is_due(current, names, now), Step::Stage),
    }
}

fn step_if(is_time: bool, step: Step) -> Step {
    if is_time { step } else { Step::Rest }
}

/// Due after two thirds of the lifetime, and for other names. One that lives longer than it should was made by a clock
/// that was ahead, or is looked at by one that is behind: it does in both cases.
fn is_due(pair: &Pair, names: &[String], now: Timestamp) -> bool {
    let left = pair.expires.duration_since(now);
    left < LIFETIME / 3 || pair.names != sorted(names.to_vec())
}

#[cfg(test)]
mod tests;
