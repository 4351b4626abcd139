//! Severity, confidence, the effect of a finding, and the threshold of a gate.

use serde::{Deserialize, Serialize};

/// How bad a failure is. Ordered: `Info < Low < Medium < High < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Hardening.
    Low,
    /// Should be fixed.
    Medium,
    /// Must be fixed soon.
    High,
    /// Must be fixed now.
    Critical,
}

impl Severity {
    /// All severities, worst first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How sure a failing rule is. An axis of its own beside [`Severity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A heuristic.
    Low,
    /// Right in most platforms.
    Medium,
    /// A fact read from the object.
    High,
}

impl Confidence {
    /// The word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The confidence of that name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|confidence| confidence.as_str() == word)
    }
}

/// What a failure does to the whole. The verdict stays `fail`; only `Block` counts in exits 10 to 15.
/// Ordered: `Audit < Warn < Block`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Recorded only.
    Audit,
    /// Recorded and said.
    Warn,
    /// Denies at admission and fails a gate.
    #[default]
    Block,
}

impl Effect {
    /// The word used in every format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

/// The `--fail-on` threshold of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailOn {
    /// Failures at or above this severity.
    At(Severity),
    /// No failure by severity alone.
    None,
}

impl Default for FailOn {
    fn default() -> Self {
        Self::At(Severity::Low)
    }
}

impl FailOn {
    /// `critical`, `high`, `medium`, `low` or `none`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "info" => None,
            _ => Severity::parse(word).map(Self::At),
        }
    }

    /// Whether a failure of this severity reaches the threshold.
    pub fn reached_by(self, severity: Severity) -> bool {
        match self {
            Self::At(threshold) => severity >= threshold,
            Self::None => false,
        }
    }
}

/// A word that is not a threshold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of critical, high, medium, low, none")]
pub struct InvalidFailOn(String);

impl std::str::FromStr for FailOn {
    type Err = InvalidFailOn;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::parse(word).ok_or_else(|| InvalidFailOn(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_severity_reads_back_from_its_word() {
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.as_str()), Some(severity));
        }
        assert_eq!(Severity::parse("High"), None);
    }

    #[test]
    fn the_default_threshold_is_low_and_lets_info_through() {
        let threshold = FailOn::default();
        assert!(threshold.reached_by(Severity::Low) && threshold.reached_by(Severity::Critical));
        assert!(!threshold.reached_by(Severity::Info));
        assert!(!FailOn::None.reached_by(Severity::Critical));
    }

    #[test]
    fn a_mistyped_threshold_is_an_error_that_names_the_words() {
        let error = "hihg".parse::<FailOn>().unwrap_err();
        assert_eq!(error.to_string(), "'hihg' is not one of critical, high, medium, low, none");
        assert!("info".parse::<FailOn>().is_err());
    }
}
