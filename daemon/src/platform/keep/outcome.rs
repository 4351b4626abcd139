//! What became of a component, and why. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use portreeve_api::platform::Component;
use portreeve_reports::report::Report;

use super::Aim;
use crate::cluster::apply::ApiFailure;
use crate::cluster::key::ObjectKey;
use crate::platform::build::Mistake;
use crate::platform::clear::KeptBack;
use crate::platform::deploy::{Applied, Unhealthy};
use crate::platform::health::{Health, health};
use crate::platform::inventory::DamagedInventory;
use crate::platform::plan::{Action, ComponentPlan, DriftClass, Drifted, Planned, foreign};
use crate::platform::prune::TooMuch;
pub use crate::runtime::metrics::ComponentState as State;

/// What stopped a component.
#[derive(Clone, Debug)]
pub enum Stop {
    /// Its manifests.
    Invalid(Vec<Mistake>),
    /// Its inventory.
    Damaged(DamagedInventory),
    /// The gate.
    KeptBack(Box<KeptBack>),
    /// Objects that are somebody else's, with why they are left alone.
    Foreign(Vec<(ObjectKey, String)>),
    /// What the server refuses, by object.
    Refused(Vec<(ObjectKey, ApiFailure)>),
    /// The server could not be asked.
    Api(ApiFailure),
    /// More would be deleted than may be.
    TooMuch(TooMuch),
}

/// What became of a component.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The component.
    pub component: Component,
    /// Where it is.
    pub state: State,
    /// What stopped it.
    pub stop: Option<Stop>,
    /// What was found to do.
    pub plan: Option<Arc<ComponentPlan>>,
    /// What the gate judged.
    pub verdicts: Option<Report>,
    /// What was done.
    pub applied: Option<Applied>,
    /// What was not as declared before.
    pub drift: Vec<Drifted>,
    /// Objects whose corrections do not last.
    pub stalled: Vec<ObjectKey>,
    /// What is not healthy: as it was after applying, or as a plan to which nothing is to be done has seen it.
    pub unhealthy: Unhealthy,
    /// What is waited for.
    pub waits_for: Vec<String>,
    /// Whether it is not in the platform any more, and goes.
    pub is_removed: bool,
    /// Whether it or the platform is suspended; `None` where that is not known.
    pub is_suspended: Option<bool>,
}

impl Outcome {
    pub(super) fn new(component: &Component, state: State) -> Self {
        Self {
            component: component.clone(),
            state,
            stop: None,
            plan: None,
            verdicts: None,
            applied: None,
            drift: Vec::new(),
            stalled: Vec::new(),
            unhealthy: Vec::new(),
            waits_for: Vec::new(),
            is_removed: false,
            is_suspended: None,
        }
    }

    /// The API server could not be asked about any component.
    pub fn not_looked_at(component: &Component, failure: ApiFailure) -> Self {
        Self::new(component, State::Failed).stopped(Stop::Api(failure))
    }

    /// Whether what depends on the component may be applied: it is applied and healthy. Drift that its mode leaves as it
    /// is, or that comes back, is no reason to wait.
    pub fn is_ready(&self) -> bool {
        match &self.applied {
            Some(applied) => self.stop.is_none() && applied.is_done() && self.unhealthy.is_empty(),
            None => self.state == State::Healthy,
        }
    }

    /// Whether it was stopped by an API server that did not answer.
    pub fn is_unanswered(&self) -> bool {
        match &self.stop {
            Some(Stop::Api(failure)) => failure.is_unanswered(),
            Some(Stop::Refused(refused)) => refused.iter().any(|(_, failure)| failure.is_unanswered()),
            _ => false,
        }
    }

    /// Whether nothing of the component is left in the cluster.
    pub fn is_gone(&self) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.is_gone)
    }

    pub(super) fn stopped(self, stop: Stop) -> Self {
        let state = match &stop {
            Stop::Invalid(_) => State::Invalid,
            Stop::KeptBack(_) => State::KeptBack,
            Stop::Api(ApiFailure::Lost(_)) => State::Pending,
            _ => State::Failed,
        };
        Self { state, stop: Some(stop), ..self }
    }
}

/// Why a plan is not carried out.
pub(super) fn stop(plan: &ComponentPlan, component: &Component, aim: Aim<'_>, of_run: Option<TooMuch>) -> Option<Stop> {
    let refused: Vec<(ObjectKey, ApiFailure)> = plan
        .objects
        .iter()
        .filter_map(|planned| match &planned.action {
            Action::Refused(failure) => Some((planned.wanted.address.key.clone(), failure.clone())),
            _ => None,
        })
        .collect();
    if !refused.is_empty() {
        return Some(Stop::Refused(refused));
    }
    let why = |planned: &Planned| Some((planned.shown(), foreign(planned)?));
    let foreign: Vec<(ObjectKey, String)> = plan.objects.iter().filter_map(why).collect();
    if !foreign.is_empty() {
        return Some(Stop::Foreign(foreign));
    }
    let (deletions, limit) = (plan.deletions(), component.max_prune);
    if deletions == 0 || aim.confirms_prune() {
        return None;
    }
    if deletions > limit {
        return Some(Stop::TooMuch(TooMuch::OfComponent { deletions, limit }));
    }
    of_run.map(Stop::TooMuch)
}

/// What a plan knows of a component to which nothing is to be done: the health of what it has looked at.
pub(super) fn looked_at(outcome: Outcome) -> Outcome {
    let objects = outcome.plan.iter().flat_map(|plan| &plan.objects);
    let of = |planned: &Planned| planned.live.as_ref().map(|live| (planned.shown(), health(live)));
    let unhealthy: Vec<_> = objects.filter_map(of).filter(|(_, health)| *health != Health::Healthy).collect();
    Outcome { state: state_of(&unhealthy), unhealthy, ..outcome }
}

fn state_of(unhealthy: &[(ObjectKey, Health)]) -> State {
    match unhealthy {
        [] => State::Healthy,
        some if some.iter().all(|(_, health)| matches!(health, Health::Progressing(_))) => State::Progressing,
        _ => State::Unhealthy,
    }
}

/// What applying or taking down came to.
pub(super) fn finished(outcome: Outcome, applied: Applied, unhealthy: Unhealthy) -> Outcome {
    let is_left = |class| matches!(class, DriftClass::Missing | DriftClass::Modified);
    let written: BTreeSet<String> = applied.written.iter().map(ToString::to_string).collect();
    let is_drifted = outcome.drift.iter().any(|drifted| is_left(drifted.class) && !written.contains(&drifted.object));
    let state = if applied.cut.is_some() || !applied.failures.is_empty() {
        State::Failed
    } else if !applied.is_done() {
        State::Progressing
    } else if is_drifted || !outcome.stalled.is_empty() {
        State::Drifted
    } else {
        state_of(&unhealthy)
    };
    let refused = (!applied.failures.is_empty()).then(|| Stop::Refused(applied.failures.clone()));
    let stop = refused.or_else(|| applied.cut.clone().map(Stop::Api));
    let done = Outcome { state, applied: Some(applied), unhealthy, ..outcome };
    match stop {
        Some(stop) => done.stopped(stop),
        None => done,
    }
}
