//! A finding: one judged question about one subject.

use std::sync::Arc;

use crate::code::Code;
use crate::fingerprint::Fingerprint;
use crate::severity::{Confidence, Effect, Severity};
use crate::subject::Subject;
use crate::verdict::{Cause, Verdict};

/// Where a finding points: an object path, and the file place it was read from where there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// `spec.template.spec.containers[0].securityContext.privileged`; empty for the whole subject.
    pub object_path: String,
    /// Related object that the path is on, as `namespace/Kind/name`; `None` for the subject itself.
    pub object: Option<String>,
    /// Path of the file, relative to the repository or as given.
    pub file: Option<Arc<str>>,
    /// 1-based line.
    pub line: Option<u32>,
    /// 1-based column.
    pub column: Option<u32>,
}

/// A named piece of what was seen. Values never hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Evidence {
    /// `allowPrivilegeEscalation`, `digest`, `signer`.
    pub name: String,
    /// What was seen.
    pub value: String,
}

/// A change that fixes a failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Object path.
    pub path: String,
    /// Value to set there.
    pub value: serde_json::Value,
}

/// How a failure is fixed by a machine or by hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fix {
    /// Values to set.
    pub patches: Vec<Patch>,
    /// Object paths to delete.
    pub delete: Vec<String>,
    /// Commands to run.
    pub commands: Vec<String>,
}

/// One judged question about one subject. Made by [`FindingBuilder`] only.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// `builtin`, `custom`, `vap`, `gatekeeper`, `kyverno` or `rego`.
    pub source: &'static str,
    /// The question.
    pub code: Code,
    /// The part of the question, for codes that ask several.
    pub check: Arc<str>,
    /// What a failure does to the whole.
    pub effect: Effect,
    /// How bad a failure is.
    pub severity: Severity,
    /// How sure a failure is.
    pub confidence: Confidence,
    /// The answer.
    pub verdict: Verdict,
    /// Why the answer is unknown.
    pub cause: Option<Cause>,
    /// Stable identity.
    pub fingerprint: Fingerprint,
    /// What was judged.
    pub subject: Subject,
    /// Where; never empty.
    pub locations: Vec<Location>,
    /// One sentence.
    pub message: String,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// How to fix a failure.
    pub fix: Fix,
    /// Framework ids that ask this question.
    pub frameworks: Vec<Arc<str>>,
    /// Team that owns the subject, from its labels or an exception.
    pub owner: Option<String>,
    /// Other subjects that the verdict depended on.
    pub related: Vec<Subject>,
}

/// Why a finding could not be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BuildError {
    /// A finding must be about something.
    #[error("finding {0} has no subject")]
    NoSubject(Code),
    /// A finding must point somewhere.
    #[error("finding {0} has no place")]
    NoLocation(Code),
    /// `unknown` needs a cause, and nothing else has one.
    #[error("finding {0} has a verdict that does not go with its cause")]
    CauseMismatch(Code),
}

/// Builds a [`Finding`]; refuses one without a subject and a place.
#[derive(Clone, Debug)]
pub struct FindingBuilder {
    finding: FindingDraft,
    item: String,
}

#[derive(Clone, Debug)]
struct FindingDraft {
    source: &'static str,
    code: Code,
    check: Arc<str>,
    effect: Effect,
    severity: Severity,
    confidence: Confidence,
    verdict: Verdict,
    cause: Option<Cause>,
    subject: Option<Subject>,
    locations: Vec<Location>,
    message: String,
    evidence: Vec<Evidence>,
    fix: Fix,
    frameworks: Vec<Arc<str>>,
    owner: Option<String>,
    related: Vec<Subject>,
}

impl FindingBuilder {
    /// Starts a `builtin` finding with full confidence and effect `block`.
    pub fn new(code: Code, severity: Severity, verdict: Verdict) -> Self {
        let finding = FindingDraft {
            source: "builtin",
            code,
            check: "".into(),
            effect: Effect::default(),
            severity,
            confidence: Confidence::High,
            verdict,
            cause: None,
            subject: None,
            locations: Vec::new(),
            message: String::new(),
            evidence: Vec::new(),
            fix: Fix::default(),
            frameworks: Vec::new(),
            owner: None,
            related: Vec::new(),
        };
        Self { finding, item: String::new() }
    }

    /// Sets where the rule comes from.
    pub fn source(mut self, source: &'static str) -> Self {
        self.finding.source = source;
        self
    }

    /// Names the part of the question.
    pub fn check(mut self, check: impl Into<Arc<str>>) -> Self {
        self.finding.check = check.into();
        self
    }

    /// Sets the effect.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.finding.effect = effect;
        self
    }

    /// Sets the confidence.
    pub fn confidence(mut self, confidence: Confidence) -> Self {
        self.finding.confidence = confidence;
        self
    }

    /// Says why an `unknown` is unknown.
    pub fn cause(mut self, cause: Cause) -> Self {
        self.finding.cause = Some(cause);
        self
    }

    /// Sets what was judged.
    pub fn subject(mut self, subject: Subject) -> Self {
        self.finding.subject = Some(subject);
        self
    }

    /// Adds a place.
    pub fn location(mut self, location: Location) -> Self {
        self.finding.locations.push(location);
        self
    }

    /// Sets the stable key of the item inside the subject.
    pub fn item(mut self, item: impl Into<String>) -> Self {
        self.item = item.into();
        self
    }

    /// Sets the sentence.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.finding.message = message.into();
        self
    }

    /// Adds what was seen.
    pub fn evidence(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.finding.evidence.push(Evidence { name: name.into(), value: value.into() });
        self
    }

    /// Sets the fix.
    pub fn fix(mut self, fix: Fix) -> Self {
        self.finding.fix = fix;
        self
    }

    /// Sets the frameworks.
    pub fn frameworks(mut self, frameworks: Vec<Arc<str>>) -> Self {
        self.finding.frameworks = frameworks;
        self
    }

    /// Sets the owning team.
    pub fn owner(mut self, owner: Option<String>) -> Self {
        self.finding.owner = owner;
        self
    }

    /// Adds a related subject.
    pub fn related(mut self, subject: Subject) -> Self {
        self.finding.related.push(subject);
        self
    }

    /// The finding, with its fingerprint.
    pub fn build(self) -> Result<Finding, BuildError> {
        let draft = self.finding;
        let Some(subject) = draft.subject else { return Err(BuildError::NoSubject(draft.code)) };
        if draft.locations.is_empty() {
            return Err(BuildError::NoLocation(draft.code));
        }
        if (draft.verdict == Verdict::Unknown) != draft.cause.is_some() {
            return Err(BuildError::CauseMismatch(draft.code));
        }
        Ok(Finding {
            fingerprint: Fingerprint::of(draft.source, draft.code.as_str(), &draft.check, &subject, &self.item),
            source: draft.source,
            code: draft.code,
            check: draft.check,
            effect: draft.effect,
            severity: draft.severity,
            confidence: draft.confidence,
            verdict: draft.verdict,
            cause: draft.cause,
            subject,
            locations: draft.locations,
            message: draft.message,
            evidence: draft.evidence,
            fix: draft.fix,
            frameworks: draft.frameworks,
            owner: draft.owner,
            related: draft.related,
        })
    }
}
