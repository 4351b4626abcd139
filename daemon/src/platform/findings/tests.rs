use portreeve_api::platform::Component;

use super::*;
use crate::cluster::apply::ApiFailure;
use crate::platform::build::Mistake;
use crate::platform::keep::removed_component;

fn outcome(state: State, stop: Option<Stop>) -> Outcome {
    let component = Component { namespace: "jhub".to_owned(), ..removed_component("hub", None) };
    let looked_at = Outcome::not_looked_at(&component, unreachable());
    Outcome { state, stop, is_suspended: Some(false), ..looked_at }
}

fn unreachable() -> ApiFailure {
    ApiFailure::Unreachable("the API server is away".to_owned())
}

fn invalid_manifests() -> Stop {
    Stop::Invalid(vec![Mistake { location: Location::default(), message: "it cannot be read".to_owned() }])
}

/// The verdict about a code; `None` when nothing was decided.
fn verdict(outcome: &Outcome, entry: &CodeEntry) -> Option<Verdict> {
    let found = findings("demo", outcome, &Location::default(), false);
    found.iter().find(|finding| finding.code == entry.code()).map(|finding| finding.verdict)
}

#[test]
fn a_look_that_could_not_ask_the_api_server_resolves_nothing() {
    let component = removed_component("hub", None);
    let unasked = Outcome::not_looked_at(&component, unreachable());
    let found = findings("demo", &unasked, &Location::default(), false);
    let said: Vec<(String, Verdict)> =
        found.iter().map(|finding| (finding.code.to_string(), finding.verdict)).collect();
    assert_eq!(said, [(codes::NOT_APPLIED.code().to_string(), Verdict::Unknown)]);
    let asked = outcome(State::Healthy, None);
    for entry in [&codes::PLATFORM_INVALID, &codes::SUSPENDED, &codes::WAITING] {
        assert_eq!(verdict(&asked, entry), Some(Verdict::Pass), "{}", entry.code);
    }
}

#[test]
fn a_suspended_component_is_suspended_whatever_else_stops_it() {
    let foreign = Stop::Foreign(Vec::new());
    for (state, stop) in
        [(State::Suspended, None), (State::Invalid, Some(invalid_manifests())), (State::Failed, Some(foreign))]
    {
        let suspended = Outcome { is_suspended: Some(true), ..outcome(state, stop) };
        assert_eq!(verdict(&suspended, &codes::SUSPENDED), Some(Verdict::Fail), "{state:?}");
    }
    let unknown = Outcome { is_suspended: None, ..outcome(State::Failed, None) };
    assert_eq!(verdict(&unknown, &codes::SUSPENDED), None, "its inventory cannot be read");
}

#[test]
fn what_failed_before_is_no_question_while_nothing_is_to_be_applied() {
    for state in [State::Suspended, State::Waiting] {
        assert_eq!(verdict(&outcome(state, None), &codes::NOT_APPLIED), Some(Verdict::NotApplicable), "{state:?}");
    }
    assert_eq!(verdict(&outcome(State::Pending, None), &codes::NOT_APPLIED), None, "nothing was tried yet");
}

#[test]
fn what_is_waited_for_is_health_or_for_a_component_that_goes_that_others_are_gone() {
    let message = |is_removed| {
        let waits_for = vec!["base".to_owned()];
        let waiting = Outcome { is_removed, waits_for, ..outcome(State::Waiting, None) };
        let found = findings("demo", &waiting, &Location::default(), false);
        let found = found.into_iter().find(|finding| finding.code == codes::WAITING.code());
        found.map(|finding| finding.message).unwrap_or_default()
    };
    assert_eq!(message(false), "hub waits until base is applied and healthy");
    assert_eq!(message(true), "hub waits until base is gone");
}

#[test]
fn the_end_of_a_term_is_no_failure_of_a_component() {
    let component = removed_component("hub", None);
    let lost = Outcome::not_looked_at(&component, crate::runtime::leader::LeadershipLost::Expired.into());
    assert_eq!(findings("demo", &lost, &Location::default(), true), []);
    assert_eq!(lost.state, State::Pending, "and is tried again at once by whoever leads");
}
