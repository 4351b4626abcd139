//! The six verdicts and the causes of an unknown one.

use serde::{Deserialize, Serialize};

/// What a rule decided about a subject. `Unknown` is never shown, scored or exited as `Pass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The rule applies and holds.
    Pass,
    /// The rule applies and does not hold.
    Fail,
    /// The rule does not apply to this subject.
    NotApplicable,
    /// The rule does not hold, and an exception with an owner, a reason and an expiry accepts that.
    Excepted,
    /// The rule could not be decided; the [`Cause`] says why.
    Unknown,
    /// Portreeve itself is broken here (a rule that does not evaluate, a bug).
    Error,
}

impl Verdict {
    /// All verdicts, in the order they are printed.
    pub const ALL: [Self; 6] =
        [Self::Fail, Self::Error, Self::Unknown, Self::Excepted, Self::Pass, Self::NotApplicable];

    /// The word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotApplicable => "not-applicable",
            Self::Excepted => "excepted",
            Self::Unknown => "unknown",
            Self::Error => "error",
        }
    }

    /// Position in the order of [`Verdict::ALL`], worst first: of two verdicts about one thing the smaller one counts.
    pub fn rank(self) -> u8 {
        match self {
            Self::Fail => 0,
            Self::Error => 1,
            Self::Unknown => 2,
            Self::Excepted => 3,
            Self::Pass => 4,
            Self::NotApplicable => 5,
        }
    }

    /// Whether the question was answered: only a decided verdict may resolve a stored finding.
    pub fn is_decided(self) -> bool {
        !matches!(self, Self::Unknown | Self::Error)
    }

    /// Whether a stored finding with this verdict stays open.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Pass | Self::NotApplicable)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a verdict is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The bytes were there and could not be read as what they should be.
    Unreadable,
    /// The other side did not answer, answered with a server error, or does not have what was asked for (404).
    Unreachable,
    /// The other side refused: 401 or 403.
    Forbidden,
    /// The other side asked to come back later: 429.
    RateLimited,
    /// The deadline passed first.
    TimedOut,
    /// A cap on size, count or depth was reached.
    TooLarge,
    /// Only a person can answer this.
    Manual,
    /// What the question asks about cannot be seen from here.
    NotVisible,
    /// The input was declared to be a part of the world (`--partial`).
    PartialInput,
    /// Portreeve has no rule for this question yet.
    NotImplemented,
}

impl Cause {
    /// All causes, for metrics and documentation.
    pub const ALL: [Self; 10] = [
        Self::Unreadable,
        Self::Unreachable,
        Self::Forbidden,
        Self::RateLimited,
        Self::TimedOut,
        Self::TooLarge,
        Self::Manual,
        Self::NotVisible,
        Self::PartialInput,
        Self::NotImplemented,
    ];

    /// Whether the answer could have been had. Other causes lower coverage but not the exit code.
    pub fn is_obtainable(self) -> bool {
        matches!(
            self,
            Self::Unreadable
                | Self::Unreachable
                | Self::Forbidden
                | Self::RateLimited
                | Self::TimedOut
                | Self::TooLarge
        )
    }

    /// The word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate-limited",
            Self::TimedOut => "timed-out",
            Self::TooLarge => "too-large",
            Self::Manual => "manual",
            Self::NotVisible => "not-visible",
            Self::PartialInput => "partial-input",
            Self::NotImplemented => "not-implemented",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_error_are_open_and_never_decided() {
        for verdict in [Verdict::Unknown, Verdict::Error] {
            assert!(verdict.is_open() && !verdict.is_decided());
        }
        assert!(Verdict::Excepted.is_open() && Verdict::Excepted.is_decided());
        assert!(!Verdict::Pass.is_open() && !Verdict::NotApplicable.is_open());
    }

    #[test]
    fn exactly_six_causes_could_have_been_had() {
        let obtainable: Vec<&str> =
            Cause::ALL.into_iter().filter(|cause| cause.is_obtainable()).map(Cause::as_str).collect();
        let expected = ["unreadable", "unreachable", "forbidden", "rate-limited", "timed-out", "too-large"];
        assert_eq!(obtainable, expected);
    }
}
