//! What is unused, expired or invalid among the exceptions, as findings.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Exception, Exceptions, InvalidException, Origin, Scope, Usage};
use crate::code::{Code, CodeEntry, EXPIRED_EXCEPTION, INVALID_EXCEPTION, UNUSED_EXCEPTION};
use crate::finding::{Finding, FindingBuilder, Location};
use crate::severity::Effect;
use crate::subject::{ObjectRef, Subject, SubjectKey};
use crate::verdict::Verdict;

/// Invalid exceptions of one file whose mistakes are told one by one.
const MAX_SHOWN: usize = 20;

impl Exceptions {
    /// Findings about the exceptions themselves, given what a whole run used. For each exception: PR-0003 (expired)
    /// and PR-0002 (unused; not applicable to an expired one); for each file, or object of the cluster, PR-0004
    /// (invalid). They pass where all is well, so that stored findings resolve, and are never excepted.
    ///
    /// Unused and expired ones have effect `warn`: the failures that they no longer cover count by themselves. Whether
    /// one is used can be said only when all its questions were asked, and decided: `asks` says of which code the first is so.
    pub fn audit(&self, usage: &Usage, now: Timestamp, asks: &dyn Fn(&Code) -> bool) -> Vec<Finding> {
        let mut findings = Vec::with_capacity(2 * self.exceptions.len() + self.invalid.len());
        for (index, exception) in self.exceptions.iter().enumerate() {
            let in_force = exception.spec.is_in_force(now);
            findings.push(expiry(exception, in_force));
            let is_asked = exception.spec.codes.iter().all(asks) && !usage.is_undecided(index);
            findings.push(use_of(exception, in_force, (usage.is_used(index), is_asked)));
        }
        findings.extend(self.validity());
        findings
    }

    /// One finding a file: what is invalid has often no name that could be followed from one reading to the next.
    fn validity(&self) -> Vec<Finding> {
        let mut about: BTreeMap<SubjectKey, (Subject, &Origin, Vec<&InvalidException>)> = BTreeMap::new();
        for exception in &self.exceptions {
            let subject = subject(&exception.origin, Some((&exception.scope, &exception.name)));
            about.entry(subject.key()).or_insert((subject, &exception.origin, Vec::new()));
        }
        for invalid in &self.invalid {
            let subject = invalid.subject();
            about.entry(subject.key()).or_insert((subject, &invalid.origin, Vec::new())).2.push(invalid);
        }
        about.into_values().map(|(subject, origin, invalid)| valid_or_not(subject, origin, &invalid)).collect()
    }
}

impl InvalidException {
    /// PR-0004 failed.
    pub fn refused(&self) -> Finding {
        valid_or_not(self.subject(), &self.origin, &[self])
    }

    /// PR-0004 passed: what was wrong no longer is, so that the stored failure resolves.
    pub fn withdrawn(&self) -> Finding {
        valid_or_not(self.subject(), &self.origin, &[])
    }

    fn subject(&self) -> Subject {
        subject(&self.origin, self.identity.as_ref().map(|(scope, name)| (scope, name.as_str())))
    }
}

fn expiry(exception: &Exception, in_force: bool) -> Finding {
    let verdict = if in_force { Verdict::Pass } else { Verdict::Fail };
    let word = if in_force { "is in force until" } else { "expired on" };
    let message = format!("{} {word} {}", title(exception), exception.spec.expires);
    about(exception, EXPIRED_EXCEPTION, verdict, message)
}

fn use_of(exception: &Exception, in_force: bool, (is_used, is_asked): (bool, bool)) -> Finding {
    let (verdict, said) = match (in_force, is_used, is_asked) {
        (false, _, _) => (Verdict::NotApplicable, "has expired and can except nothing"),
        (true, true, _) => (Verdict::Pass, "excepts failures"),
        (true, false, true) => (Verdict::Fail, "excepts no failure"),
        (true, false, false) => (Verdict::NotApplicable, "is about questions that were not all asked, or not decided"),
    };
    let message = format!("{} {said}", title(exception));
    about(exception, UNUSED_EXCEPTION, verdict, message)
}

fn title(exception: &Exception) -> String {
    format!("{} {}", exception.scope.kind(), exception.name)
}

fn about(exception: &Exception, entry: CodeEntry, verdict: Verdict, message: String) -> Finding {
    let spec = &exception.spec;
    FindingBuilder::new(entry.code(), entry.severity, verdict)
        .effect(Effect::Warn)
        .message(message)
        .item(item(&exception.scope, &exception.name))
        .owner(Some(spec.owner.clone()))
        .evidence("owner", &spec.owner)
        .evidence("reason", &spec.reason)
        .evidence("expires", spec.expires.to_string())
        .decided(subject(&exception.origin, Some((&exception.scope, &exception.name))), location(&exception.origin))
}

fn valid_or_not(subject: Subject, origin: &Origin, invalid: &[&InvalidException]) -> Finding {
    let build = |verdict, message, origin| {
        FindingBuilder::new(INVALID_EXCEPTION.code(), INVALID_EXCEPTION.severity, verdict)
            .message(message)
            .decided(subject, location(origin))
    };
    let Some(first) = invalid.first() else {
        return build(Verdict::Pass, "the exceptions here are valid".to_owned(), origin);
    };
    // A message is one line: a line break in it would be told as what hides text.
    let lines = invalid.iter().take(MAX_SHOWN).flat_map(|invalid| invalid.message.lines());
    let mut message: Vec<String> = lines.map(str::to_owned).collect();
    let more = invalid.len().saturating_sub(MAX_SHOWN);
    message.extend((more > 0).then(|| format!("and {more} more")));
    build(Verdict::Fail, message.join("; "), &first.origin)
}

/// The file that an exception stands in, or the object that it is.
fn subject(origin: &Origin, identity: Option<(&Scope, &str)>) -> Subject {
    if let Some(file) = &origin.file {
        return Subject::File { path: file.to_string() };
    }
    let (scope, name) = identity.unwrap_or((&Scope::Cluster, ""));
    let namespace = match scope {
        Scope::Namespace(namespace) => namespace.clone(),
        Scope::Cluster => String::new(),
    };
    let api_version = "portreeve.dev/v1alpha1".to_owned();
    let kind = scope.kind().to_owned();
    Subject::Object(ObjectRef { api_version, kind, namespace, name: name.to_owned(), ..ObjectRef::default() })
}

fn location(origin: &Origin) -> Location {
    let known = |number: u32| (number > 0).then_some(number);
    let Origin { file, place } = origin;
    Location { file: file.clone(), line: known(place.line), column: known(place.column), ..Location::default() }
}

fn item(scope: &Scope, name: &str) -> String {
    match scope {
        Scope::Namespace(namespace) => format!("Exception/{namespace}/{name}"),
        Scope::Cluster => format!("ClusterException/{name}"),
    }
}
