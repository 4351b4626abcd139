//! Codes: the closed list of questions that Portreeve asks.
//!
//! Posture codes come from the control files (`C-0016`), all others from the `CODES` list of the crate that owns
//! them. A question that Kubescape asks too carries Kubescape's id; others are `PR-` and four digits, the first of
//! which names the topic (0 input and policy problems, 1 image trust, 2 image contract, 3 secrets, 4 credentials,
//! 5 platform, 6 repository hygiene, 7 posture beyond Kubescape).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::severity::Severity;
use crate::source::decode::did_you_mean;

/// The checked name of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(Arc<str>);

/// A code that is neither `C-` nor `PR-` with four digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a code: codes read C-0016 or PR-1001")]
pub struct InvalidCode(String);

/// What a question is about: the first digit of a code of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Input, policies and exceptions themselves.
    Input,
    /// Whether images are vouched for.
    ImageTrust,
    /// What images hold.
    ImageContract,
    /// Secrets.
    Secrets,
    /// Credentials.
    Credentials,
    /// The platform.
    Platform,
    /// Repositories.
    Repository,
    /// Posture, Kubescape's questions among them.
    Posture,
}

impl Code {
    /// What the question is about.
    pub fn topic(&self) -> Topic {
        match self.0.strip_prefix("PR-").and_then(|digits| digits.bytes().next()) {
            Some(b'0') => Topic::Input,
            Some(b'1') => Topic::ImageTrust,
            Some(b'2') => Topic::ImageContract,
            Some(b'3') => Topic::Secrets,
            Some(b'4') => Topic::Credentials,
            Some(b'5') => Topic::Platform,
            Some(b'6') => Topic::Repository,
            _ => Topic::Posture,
        }
    }

    /// Checks the form of a code; whether it exists is for the registry of controls and `CODES` lists to say.
    pub fn parse(text: &str) -> Result<Self, InvalidCode> {
        let digits = text.strip_prefix("C-").or_else(|| text.strip_prefix("PR-"));
        match digits {
            Some(digits) if digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidCode(text.to_owned())),
        }
    }

    /// The code as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Code {
    type Error = InvalidCode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0.as_ref().to_owned()
    }
}

/// The codes that there are. Each room has its own list; whoever decodes what people write is given all of them.
#[derive(Clone, Debug, Default)]
pub struct KnownCodes(BTreeSet<Code>);

/// A code that nobody ever asks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no code '{code}'{hint}; `portreeve list codes` prints them")]
pub struct UnknownCode {
    /// The code as written.
    code: Code,
    /// A did-you-mean, or nothing.
    hint: String,
}

impl KnownCodes {
    /// Whether there is such a code; the nearest one is in the error.
    pub fn check(&self, code: &Code) -> Result<(), UnknownCode> {
        if self.0.contains(code) {
            return Ok(());
        }
        let known: Vec<&str> = self.0.iter().map(Code::as_str).collect();
        let near = did_you_mean(code.as_str(), &known);
        let hint = near.map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
        Err(UnknownCode { code: code.clone(), hint })
    }
}

impl FromIterator<Code> for KnownCodes {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        Self(codes.into_iter().collect())
    }
}

/// A code that is not a posture control: what `explain` prints and what a finding of it starts from.
#[derive(Clone, Copy, Debug)]
pub struct CodeEntry {
    /// `PR-` and four digits.
    pub code: &'static str,
    /// A few words, lower case.
    pub title: &'static str,
    /// Severity of a failure.
    pub severity: Severity,
    /// Why it matters.
    pub why: &'static str,
    /// How to fix it.
    pub fix: &'static str,
}

impl CodeEntry {
    /// The entry's code. The `CODES` lists are checked by a test of their crate.
    pub fn code(&self) -> Code {
        Code(self.code.into())
    }
}

/// Input, exception and policy problems, the codes of this crate.
pub const UNREADABLE_INPUT: CodeEntry = CodeEntry {
    code: "PR-0001",
    title: "input could not be read",
    severity: Severity::High,
    why: "A document that cannot be read is not judged; what it declares may still be applied by a more lenient reader.",
    fix: "Correct the document at the named line, or leave the file out of the paths given.",
};
/// An exception that excepted nothing.
pub const UNUSED_EXCEPTION: CodeEntry = CodeEntry {
    code: "PR-0002",
    title: "exception is not used",
    severity: Severity::Low,
    why: "An exception that no finding needs hides the next failure that it happens to match.",
    fix: "Delete the exception, or correct its codes or subjects.",
};
/// An exception past its expiry.
pub const EXPIRED_EXCEPTION: CodeEntry = CodeEntry {
    code: "PR-0003",
    title: "exception has expired",
    severity: Severity::Medium,
    why: "The accepted risk was accepted until a date that has passed; the failures count again.",
    fix: "Fix the failures, or have the exception approved again with a new expiry.",
};
/// An exception that could not be understood, and so excepts nothing.
pub const INVALID_EXCEPTION: CodeEntry = CodeEntry {
    code: "PR-0004",
    title: "exception is invalid",
    severity: Severity::Medium,
    why: "An exception with a mistake excepts nothing; its author believes otherwise.",
    fix: "Correct the exception at the named place: codes, subjects, owner, reason and expires are needed.",
};
/// A store that lost findings while it could not be written.
pub const FINDINGS_LOST: CodeEntry = CodeEntry {
    code: "PR-0005",
    title: "findings were lost",
    severity: Severity::High,
    why: "While the store could not be written, doors answered by verdict and the records of those answers were lost.",
    fix: "Give the store space and write permission; the next rescan finds again what still holds.",
};
/// The API server or a kind of objects could not be watched.
pub const CLUSTER_NOT_READ: CodeEntry = CodeEntry {
    code: "PR-0006",
    title: "a kind of objects could not be read",
    severity: Severity::Medium,
    why: "Objects that are not read are not judged; absence of findings about them means nothing.",
    fix: "Grant list and watch on the kind (the chart's ClusterRole does), or make the API server reachable.",
};
/// Break-glass was used.
pub const BREAK_GLASS: CodeEntry = CodeEntry {
    code: "PR-0007",
    title: "break-glass was used",
    severity: Severity::High,
    why: "A member of the break-glass group changed an object without the checks of the other doors.",
    fix: "Review the object's findings and confirm with the person who used it.",
};
/// A custom resource with an image policy that is not in force.
pub const INVALID_IMAGE_POLICY: CodeEntry = CodeEntry {
    code: "PR-0008",
    title: "image policy is not in force",
    severity: Severity::High,
    why: "An ImagePolicy of the cluster with a mistake cannot say whose word counts; images that no rule of another \
          policy names are denied in its place.",
    fix: "Correct the ImagePolicy as its condition Accepted says, or delete it.",
};

/// All codes of this crate.
pub const CODES: &[CodeEntry] = &[
    UNREADABLE_INPUT,
    UNUSED_EXCEPTION,
    EXPIRED_EXCEPTION,
    INVALID_EXCEPTION,
    FINDINGS_LOST,
    CLUSTER_NOT_READ,
    BREAK_GLASS,
    INVALID_IMAGE_POLICY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_list_of_this_crate_is_unique_parses_and_is_reviewed_when_it_changes() {
        let mut list: Vec<String> =
            CODES.iter().map(|entry| format!("{} {} {}", entry.code, entry.severity, entry.title)).collect();
        insta::assert_snapshot!(list.join("\n"), @r"
        PR-0001 high input could not be read
        PR-0002 low exception is not used
        PR-0003 medium exception has expired
        PR-0004 medium exception is invalid
        PR-0005 high findings were lost
        PR-0006 medium a kind of objects could not be read
        PR-0007 high break-glass was used
        PR-0008 high image policy is not in force
        ");
        list.dedup_by_key(|line| line[..7].to_owned());
        assert_eq!(list.len(), CODES.len());
        for entry in CODES {
            assert_eq!(Code::parse(entry.code).unwrap(), entry.code());
            assert!(!entry.why.is_empty() && !entry.fix.is_empty(), "{} is not explained", entry.code);
        }
    }

    #[test]
    fn the_first_digit_is_the_topic_and_kubescapes_questions_are_posture() {
        let topic = |text: &str| Code::parse(text).unwrap().topic();
        assert_eq!(
            (topic("PR-0001"), topic("PR-1003"), topic("PR-4000")),
            (Topic::Input, Topic::ImageTrust, Topic::Credentials)
        );
        assert_eq!(
            (topic("C-0016"), topic("C-1016"), topic("PR-7001")),
            (Topic::Posture, Topic::Posture, Topic::Posture)
        );
    }

    #[test]
    fn only_two_prefixes_with_four_digits_are_codes() {
        assert!(Code::parse("C-0016").is_ok() && Code::parse("PR-1001").is_ok());
        for word in ["", "C-", "C-16", "C-00016", "c-0016", "PR-10O1", "XX-0001", "C-0016 ", "C-٠٠١٦"] {
            let error = Code::parse(word).unwrap_err();
            assert!(error.to_string().contains("codes read C-0016 or PR-1001"), "{word}");
        }
    }
}
