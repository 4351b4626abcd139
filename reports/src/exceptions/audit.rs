//! What is unused, expired or invalid among the exceptions, as findings.

use jiff::Timestamp;

use super::{Exception, Exceptions, InvalidException, Origin, Scope, Usage};
use crate::code::{CodeEntry, EXPIRED_EXCEPTION, INVALID_EXCEPTION, UNUSED_EXCEPTION};
use crate::finding::{Finding, FindingBuilder, Location};
use crate::severity::Effect;
use crate::subject::{ObjectRef, Subject};
use crate::verdict::Verdict;

impl Exceptions {
    /// Findings about the exceptions themselves, given what a whole run used. For each exception: PR-0003 (expired)
    /// and PR-0002 (unused; not applicable to an expired one), passing where all is well so that stored findings
    /// resolve; for each invalid one a failing PR-0004. They are never excepted.
    ///
    /// Unused and expired ones have effect `warn`: the failures that they no longer cover count by themselves.
    pub fn audit(&self, usage: &Usage, now: Timestamp) -> Vec<Finding> {
        let mut findings = Vec::with_capacity(2 * self.exceptions.len() + self.invalid.len());
        for (index, exception) in self.exceptions.iter().enumerate() {
            let in_force = exception.spec.is_in_force(now);
            findings.push(expiry(exception, in_force));
            findings.push(use_of(exception, in_force, usage.is_used(index)));
        }
        for (index, invalid) in self.invalid.iter().enumerate() {
            findings.push(invalid.refused(index));
        }
        findings
    }
}

impl InvalidException {
    /// PR-0004 failed; `index` tells those apart that have no name.
    pub fn refused(&self, index: usize) -> Finding {
        self.finding(index, Verdict::Fail)
    }

    /// PR-0004 passed: what was wrong no longer is, so that the stored failure resolves.
    pub fn withdrawn(&self) -> Finding {
        self.finding(0, Verdict::Pass)
    }

    fn finding(&self, index: usize, verdict: Verdict) -> Finding {
        let identity = self.identity.as_ref().map(|(scope, name)| (scope, name.as_str()));
        let item = identity.map_or_else(|| format!("invalid {index}"), |(scope, name)| item(scope, name));
        FindingBuilder::new(INVALID_EXCEPTION.code(), INVALID_EXCEPTION.severity, verdict)
            .item(item)
            .message(self.message.clone())
            .decided(subject(&self.origin, identity), location(&self.origin))
    }
}

fn expiry(exception: &Exception, in_force: bool) -> Finding {
    let verdict = if in_force { Verdict::Pass } else { Verdict::Fail };
    let word = if in_force { "is in force until" } else { "expired on" };
    let message = format!("{} {word} {}", title(exception), exception.spec.expires);
    about(exception, EXPIRED_EXCEPTION, verdict, message)
}

fn use_of(exception: &Exception, in_force: bool, used: bool) -> Finding {
    let (verdict, said) = match (in_force, used) {
        (false, _) => (Verdict::NotApplicable, "has expired and can except nothing"),
        (true, true) => (Verdict::Pass, "excepts failures"),
        (true, false) => (Verdict::Fail, "excepts no failure"),
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
