//! What became of a component, as findings PR-5xxx. Every question that was decided is answered, so that what is
//! mended is resolved. Pure.

use std::collections::BTreeSet;

use portreeve_api::platform::{self as codes, Drift};
use portreeve_reports::{Cause, CodeEntry, Finding, FindingBuilder, Location, Subject, SubjectKey, Verdict};

use super::former::Former;
use super::health::Health;
use super::keep::{Outcome, State, Stop};
use super::plan::{DriftClass, Drifted};
use super::prune::Fate;
use crate::cluster::apply::ApiFailure;

/// Most objects that one finding names.
const MAX_TOLD: usize = 20;

/// The subject of a component's findings.
pub fn subject(platform: &str, component: &str) -> Subject {
    Subject::Component { platform: platform.to_owned(), component: component.to_owned() }
}

/// Subjects that are components, and not among those that are known: of a former name, file or configuration.
pub fn forgotten(stored: Vec<SubjectKey>, known: &BTreeSet<SubjectKey>) -> Vec<SubjectKey> {
    let is_component = |subject: &SubjectKey| subject.0.split('\u{1f}').next() == Some("component");
    stored.into_iter().filter(|subject| is_component(subject) && !known.contains(subject)).collect()
}

/// An answer: what is wrong, with what was seen.
type Answer = (Verdict, Option<Cause>, String, Vec<(String, String)>);

/// The findings about a component. `is_late` says that its time to become healthy is over.
pub fn findings(platform: &str, outcome: &Outcome, place: &Location, is_late: bool) -> Vec<Finding> {
    let asked: [(&CodeEntry, Option<Answer>); 10] = [
        (&codes::PLATFORM_INVALID, invalid(outcome)),
        (&codes::GATE_FAILED, gate(outcome)),
        (&codes::NOT_APPLIED, not_applied(outcome)),
        (&codes::FOREIGN_OWNER, foreign(outcome)),
        (&codes::DRIFT, drift(outcome)),
        (&codes::STALLED, stalled(outcome)),
        (&codes::UNHEALTHY, unhealthy(outcome, is_late)),
        (&codes::SUSPENDED, suspended(outcome)),
        (&codes::PRUNE_STOPPED, prune(outcome)),
        (&codes::WAITING, waiting(outcome)),
    ];
    let subject = subject(platform, &outcome.component.name);
    let answered = asked.into_iter().filter_map(|(entry, answer)| Some((entry, answer?)));
    answered.filter_map(|(entry, answer)| finding(entry, answer, subject.clone(), place)).collect()
}

/// The findings about a platform as a whole: that it cannot be used at all, or that it can be; and, where the cluster
/// was looked at, platforms that it may have been before. `file` is that of it, where it is one.
pub fn whole(platform: &str, file: Option<&str>, problem: Option<String>, former: Option<&[Former]>) -> Vec<Finding> {
    let invalid = match problem {
        Some(message) => fail(message, Vec::new()),
        None => pass(),
    };
    let former = former.map(|former| match former {
        [] => pass(),
        [first, ..] => {
            let told = former.iter().flat_map(|former| &former.inventories);
            let evidence = told.map(|name| ("inventory".to_owned(), name.clone())).collect();
            fail(format!("{first}{}", more(former.len())), evidence)
        }
    });
    let place = file.map_or_else(Location::default, |file| Location {
        file: Some(file.into()),
        line: Some(1),
        column: Some(1),
        ..Location::default()
    });
    let asked = [(&codes::PLATFORM_INVALID, Some(invalid)), (&codes::FORMER_PLATFORM, former)];
    let answered = asked.into_iter().filter_map(|(entry, answer)| Some((entry, answer?)));
    answered.filter_map(|(entry, answer)| finding(entry, answer, subject(platform, ""), &place)).collect()
}

fn finding(
    entry: &CodeEntry,
    (verdict, cause, message, evidence): Answer,
    subject: Subject,
    place: &Location,
) -> Option<Finding> {
    let mut builder = FindingBuilder::new(entry.code(), entry.severity, verdict)
        .subject(subject)
        .location(place.clone())
        .message(if message.is_empty() { entry.title.to_owned() } else { message });
    if let Some(cause) = cause {
        builder = builder.cause(cause);
    }
    for (name, value) in evidence.into_iter().take(MAX_TOLD) {
        builder = builder.evidence(name, value);
    }
    builder.build().ok()
}

fn pass() -> Answer {
    (Verdict::Pass, None, String::new(), Vec::new())
}

fn fail(message: String, evidence: Vec<(String, String)>) -> Answer {
    (Verdict::Fail, None, message, evidence)
}

fn name(outcome: &Outcome) -> &str {
    &outcome.component.name
}

/// Whether the API server could not be asked: nothing was decided then, and nothing is resolved.
fn is_unasked(outcome: &Outcome) -> bool {
    matches!(outcome.stop, Some(Stop::Api(_)))
}

fn invalid(outcome: &Outcome) -> Option<Answer> {
    match &outcome.stop {
        Some(Stop::Invalid(mistakes)) => {
            let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
            let evidence = mistakes.iter().map(|mistake| ("mistake".to_owned(), mistake.to_string())).collect();
            Some(fail(format!("{} is not applied: {first}{}", name(outcome), more(mistakes.len())), evidence))
        }
        Some(Stop::Damaged(damaged)) => Some(fail(format!("{} is not applied: {damaged}", name(outcome)), Vec::new())),
        _ => (!is_unasked(outcome)).then(pass),
    }
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

fn gate(outcome: &Outcome) -> Option<Answer> {
    match &outcome.stop {
        Some(Stop::KeptBack(kept)) => {
            let told = |finding: &Finding| {
                (finding.code.to_string(), format!("{}: {}", finding.subject.display(), finding.message))
            };
            let message = format!("{} is not applied, the version that runs stays: {}", name(outcome), kept.why);
            Some(fail(message, kept.findings.iter().map(told).collect()))
        }
        _ => outcome.verdicts.as_ref().map(|_| pass()),
    }
}

fn not_applied(outcome: &Outcome) -> Option<Answer> {
    match &outcome.stop {
        Some(Stop::Refused(refused)) => {
            let (key, failure) = refused.first()?;
            let evidence = refused.iter().map(|(key, failure)| (key.to_string(), failure.to_string())).collect();
            let message = format!("{}: {key}: {failure}{}", name(outcome), more(refused.len()));
            Some(fail(message, evidence))
        }
        // The end of a term is no failure of a component: who leads next says what becomes of it.
        Some(Stop::Api(ApiFailure::Lost(_))) => None,
        Some(Stop::Api(failure)) => {
            let message = format!("{}: {failure}", name(outcome));
            Some((Verdict::Unknown, Some(failure.cause()), message, Vec::new()))
        }
        Some(_) => None,
        // Nothing is to be applied now, and that is told by a code of its own.
        None if matches!(outcome.state, State::Suspended | State::Waiting) => {
            Some((Verdict::NotApplicable, None, String::new(), Vec::new()))
        }
        None => outcome.applied.as_ref().map(|_| pass()),
    }
}

fn foreign(outcome: &Outcome) -> Option<Answer> {
    let of_class = |drifted: &&Drifted| drifted.class == DriftClass::ForeignOwner;
    let drifted: Vec<&Drifted> = outcome.drift.iter().filter(of_class).collect();
    let evidence: Vec<_> = drifted.iter().map(|drifted| (drifted.object.clone(), drifted.why.clone())).collect();
    match (&outcome.stop, drifted.first()) {
        (Some(Stop::Foreign(objects)), _) => {
            let (key, why) = objects.first()?;
            Some(fail(format!("{} is not applied: {key}: {why}{}", name(outcome), more(objects.len())), evidence))
        }
        (_, Some(first)) => {
            let message = format!("{}: {}: {}{}", name(outcome), first.object, first.why, more(drifted.len()));
            Some(fail(message, evidence))
        }
        (_, None) => outcome.plan.as_ref().map(|_| pass()),
    }
}

fn drift(outcome: &Outcome) -> Option<Answer> {
    if outcome.component.drift == Drift::Off {
        return Some(pass());
    }
    let drifted: Vec<&Drifted> =
        outcome.drift.iter().filter(|drifted| drifted.class != DriftClass::ForeignOwner).collect();
    let Some(first) = drifted.first() else { return outcome.plan.as_ref().map(|_| pass()) };
    let told = |drifted: &&Drifted| (drifted.object.clone(), format!("{}: {}", drifted.class.as_str(), drifted.why));
    let is_corrected = outcome.applied.as_ref().is_some_and(|applied| {
        drifted.iter().all(|drifted| applied.written.iter().any(|key| key.to_string() == drifted.object))
    });
    let message = format!(
        "{}: {} is {} ({}){}{}",
        name(outcome),
        first.object,
        first.class.as_str(),
        first.why,
        more(drifted.len()),
        if is_corrected { "; corrected" } else { "" }
    );
    Some(fail(message, drifted.iter().map(told).collect()))
}

fn stalled(outcome: &Outcome) -> Option<Answer> {
    let Some(first) = outcome.stalled.first() else { return outcome.plan.as_ref().map(|_| pass()) };
    let message =
        format!("{}: {first} changes as often as it is corrected{}", name(outcome), more(outcome.stalled.len()));
    let evidence = outcome.stalled.iter().map(|key| ("object".to_owned(), key.to_string())).collect();
    Some(fail(message, evidence))
}

fn unhealthy(outcome: &Outcome, is_late: bool) -> Option<Answer> {
    outcome.applied.as_ref()?;
    if outcome.unhealthy.is_empty() {
        return (outcome.state == State::Healthy).then(pass);
    }
    let words = |health: &Health| match health {
        Health::Healthy => String::new(),
        Health::Progressing(why) | Health::Failed(why) | Health::Unknown(why) => why.clone(),
    };
    let is_failed = |health: &Health| match health {
        Health::Failed(_) => true,
        Health::Progressing(_) => is_late,
        _ => false,
    };
    let evidence: Vec<_> = outcome.unhealthy.iter().map(|(key, health)| (key.to_string(), words(health))).collect();
    let told = |(key, health): &(crate::cluster::key::ObjectKey, Health)| {
        format!("{}: {key}: {}", name(outcome), words(health))
    };
    if let Some(failed) = outcome.unhealthy.iter().find(|(_, health)| is_failed(health)) {
        return Some(fail(told(failed), evidence));
    }
    // A custom object without conditions says nothing: that is not healthy, and not a failure.
    let unknown = outcome.unhealthy.iter().find(|(_, health)| matches!(health, Health::Unknown(_)))?;
    Some((Verdict::Unknown, Some(Cause::NotVisible), told(unknown), evidence))
}

/// By what the inventories say: a suspended component may be stopped by something else too.
fn suspended(outcome: &Outcome) -> Option<Answer> {
    if is_unasked(outcome) {
        return None;
    }
    let is_suspended = outcome.is_suspended?;
    Some(if is_suspended { fail(format!("{} is suspended", name(outcome)), Vec::new()) } else { pass() })
}

fn prune(outcome: &Outcome) -> Option<Answer> {
    if let Some(Stop::TooMuch(why)) = &outcome.stop {
        let message = format!(
            "{}: {why}; 'portreeve platform apply --confirm-prune' deletes them, or put back what was taken out",
            name(outcome)
        );
        return Some(fail(message, Vec::new()));
    }
    let plan = outcome.plan.as_ref()?;
    let undecided = plan.leftovers.iter().filter_map(|leftover| match &leftover.fate {
        Fate::Undecided(other) => Some((leftover.entry.address.key.to_string(), other)),
        _ => None,
    });
    let undecided: Vec<(String, &String)> = undecided.collect();
    let Some((first, other)) = undecided.first() else { return Some(pass()) };
    let message = format!(
        "{}: {first} is not deleted: the component {other} cannot be read, and may declare it{}",
        name(outcome),
        more(undecided.len())
    );
    Some(fail(message, undecided.into_iter().map(|(key, other)| (key, other.clone())).collect()))
}

fn waiting(outcome: &Outcome) -> Option<Answer> {
    if outcome.state != State::Waiting {
        return (!is_unasked(outcome)).then(pass);
    }
    let until = if outcome.is_removed { "gone" } else { "applied and healthy" };
    let others = outcome.waits_for.join(", ");
    Some(fail(format!("{} waits until {others} is {until}", name(outcome)), Vec::new()))
}

#[cfg(test)]
mod tests;
