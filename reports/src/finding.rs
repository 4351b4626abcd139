//! A finding: one judged question about one subject.

use std::sync::Arc;

use crate::code::Code;
use crate::fingerprint::Fingerprint;
use crate::severity::{Confidence, Effect, Severity};
use crate::subject::Subject;
use crate::verdict::{Cause, Verdict};

/// Whose rule a finding comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A control or check of ours.
    #[default]
    Builtin,
    /// A control that the user authored.
    Custom,
    /// A ValidatingAdmissionPolicy.
    Vap,
    /// A Gatekeeper constraint.
    Gatekeeper,
    /// A Kyverno policy.
    Kyverno,
    /// A Rego rule.
    Rego,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 6] = [Self::Builtin, Self::Custom, Self::Vap, Self::Gatekeeper, Self::Kyverno, Self::Rego];

    /// The word used in every format and in the fingerprint.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Custom => "custom",
            Self::Vap => "vap",
            Self::Gatekeeper => "gatekeeper",
            Self::Kyverno => "kyverno",
            Self::Rego => "rego",
        }
    }
}

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
    /// Whose rule asked.
    pub source: Source,
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
    source: Source,
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
    /// Starts a builtin finding with full confidence and effect `block`.
    pub fn new(code: Code, severity: Severity, verdict: Verdict) -> Self {
        let finding = FindingDraft {
            source: Source::default(),
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
    pub fn source(mut self, source: Source) -> Self {
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
        let draft = &self.finding;
        let Some(subject) = draft.subject.clone() else { return Err(BuildError::NoSubject(draft.code.clone())) };
        if draft.locations.is_empty() {
            return Err(BuildError::NoLocation(draft.code.clone()));
        }
        if (draft.verdict == Verdict::Unknown) != draft.cause.is_some() {
            return Err(BuildError::CauseMismatch(draft.code.clone()));
        }
        Ok(self.complete(subject))
    }

    /// The finding about this subject at this place, for decided verdicts of this crate: nothing is left to refuse.
    pub(crate) fn decided(self, subject: Subject, location: Location) -> Finding {
        self.location(location).complete(subject)
    }

    fn complete(self, subject: Subject) -> Finding {
        let mut draft = self.finding;
        // A large run keeps many thousands of findings, nearly all with one place and one piece of evidence.
        draft.locations.shrink_to_fit();
        draft.evidence.shrink_to_fit();
        draft.related.shrink_to_fit();
        let (source, code) = (draft.source, draft.code);
        Finding {
            fingerprint: Fingerprint::of(source.as_str(), code.as_str(), &draft.check, &subject, &self.item),
            source,
            code,
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(verdict: Verdict) -> FindingBuilder {
        let code = Code::parse("C-0016").unwrap();
        FindingBuilder::new(code, Severity::High, verdict)
    }

    fn file() -> Subject {
        Subject::File { path: "k8s/hub.yaml".to_owned() }
    }

    #[test]
    fn a_finding_without_a_subject_is_refused() {
        let refused = draft(Verdict::Fail).location(Location::default()).build();
        assert_eq!(refused.unwrap_err().to_string(), "finding C-0016 has no subject");
    }

    #[test]
    fn a_finding_without_a_place_is_refused() {
        let refused = draft(Verdict::Fail).subject(file()).build();
        assert_eq!(refused.unwrap_err().to_string(), "finding C-0016 has no place");
    }

    #[test]
    fn unknown_needs_a_cause_and_nothing_else_may_have_one() {
        for verdict in Verdict::ALL {
            let placed = draft(verdict).subject(file()).location(Location::default());
            let unknown = verdict == Verdict::Unknown;
            assert_eq!(placed.clone().build().is_ok(), !unknown, "{verdict} without a cause");
            assert_eq!(placed.cause(Cause::Manual).build().is_ok(), unknown, "{verdict} with a cause");
        }
    }

    #[test]
    fn place_wording_and_severity_do_not_change_the_fingerprint() {
        let first = draft(Verdict::Fail).subject(file()).location(Location::default()).message("one").build().unwrap();
        let elsewhere = Location { line: Some(9), object_path: "spec".to_owned(), ..Location::default() };
        let second = draft(Verdict::Pass).subject(file()).location(elsewhere).message("two").build().unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
    }
}
