//! Findings about the watching itself: what could not be read, and that it can be read now.

use portreeve_reports::code::{CLUSTER_NOT_READ, UNREADABLE_INPUT};
use portreeve_reports::{Cause, CodeEntry, Finding, FindingBuilder, Location, ObjectRef, Subject, Verdict};

use crate::cluster::kinds::WatchedKind;

/// A kind as a subject: all its objects.
pub fn kind_subject(kind: &WatchedKind) -> Subject {
    Subject::Object(ObjectRef {
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        name: "*".to_owned(),
        ..ObjectRef::default()
    })
}

/// `unknown`: the kind's objects could not be listed.
pub fn kind_not_listed(kind: &WatchedKind, cause: Cause, why: &str) -> Option<Finding> {
    let message = format!("{} could not be listed and are not judged: {why}", kind.plural);
    built(draft(&CLUSTER_NOT_READ, Verdict::Unknown, kind_subject(kind)).cause(cause).message(message))
}

/// `unknown`: the kind was listed, and cannot be followed since.
pub fn kind_not_followed(kind: &WatchedKind, why: &str) -> Option<Finding> {
    let message =
        format!("{} are judged as they were: the API server cannot be asked what has changed: {why}", kind.plural);
    built(draft(&CLUSTER_NOT_READ, Verdict::Unknown, kind_subject(kind)).cause(Cause::Unreachable).message(message))
}

/// `pass`: the kind's objects are listed.
pub fn kind_listed(kind: &WatchedKind) -> Option<Finding> {
    built(draft(&CLUSTER_NOT_READ, Verdict::Pass, kind_subject(kind)).message(format!("{} are listed", kind.plural)))
}

/// `unknown`: the kind's objects are listed, and what is in them is not looked into.
pub(super) fn values_not_read(kind: &WatchedKind) -> Option<Finding> {
    let message = format!(
        "{} are listed without looking into their values (secrets.clusterRead: metadata); credentials that only a value \
         shows are not judged",
        kind.plural
    );
    built(draft(&CLUSTER_NOT_READ, Verdict::Unknown, kind_subject(kind)).cause(Cause::NotVisible).message(message))
}

/// `pass`: the subject was read. It resolves what an earlier reading could not.
pub(super) fn readable(subject: Subject) -> Option<Finding> {
    built(draft(&UNREADABLE_INPUT, Verdict::Pass, subject).message("it was read"))
}

fn draft(entry: &CodeEntry, verdict: Verdict, subject: Subject) -> FindingBuilder {
    let file = match &subject {
        Subject::File { path } => Some(path.as_str().into()),
        _ => None,
    };
    let location = Location { file, ..Location::default() };
    FindingBuilder::new(entry.code(), entry.severity, verdict).subject(subject).location(location)
}

/// The drafts above have a subject, a place and a cause where there must be one, so none is refused; one that was
/// would be logged, not lost in silence.
fn built(draft: FindingBuilder) -> Option<Finding> {
    draft.build().inspect_err(|error| tracing::error!(%error, "a finding about the watching was refused")).ok()
}
