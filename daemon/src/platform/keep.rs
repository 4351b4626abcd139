//! One look at the whole platform, and one component at a time from its manifests to its state. One bad component
//! never stops the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use portreeve_api::platform::{Component, Drift};
use portreeve_policies::world::World;
use portreeve_reports::report::Report;
use serde_json::Value;

use super::build::{Built, Mistake, Part, Validated};
use super::clear::{self, Cleared, GateRules, KeptBack};
use super::deploy::{Applied, Deployer, Patience};
use super::health::Health;
use super::inventory::{self, DamagedInventory, Inventory, WHOLE};
use super::plan::{Action, ComponentPlan, DriftClass, Drifted, Planner, Promised, drifted};
use super::prune::Whose;
use crate::cluster::apply::{ApiFailure, Applier};
use crate::cluster::key::ObjectKey;
use crate::runtime::leader::Leading;
pub use crate::runtime::metrics::ComponentState as State;

/// How long evidence about images may be waited for.
const EVIDENCE: Duration = Duration::from_secs(20);

/// What stopped a component.
#[derive(Clone, Debug)]
pub enum Stop {
    /// Its manifests.
    Invalid(Vec<Mistake>),
    /// Its inventory.
    Damaged(DamagedInventory),
    /// The gate.
    KeptBack(Box<KeptBack>),
    /// Objects that are somebody else's.
    Foreign(Vec<String>),
    /// What the server refuses, by object.
    Refused(Vec<(ObjectKey, ApiFailure)>),
    /// The server could not be asked.
    Api(ApiFailure),
    /// More objects would be deleted than may be.
    PruneLimit {
        /// How many would be.
        deletions: usize,
        /// How many may be.
        limit: usize,
    },
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
    pub plan: Option<ComponentPlan>,
    /// What the gate judged.
    pub verdicts: Option<Report>,
    /// What was done.
    pub applied: Option<Applied>,
    /// What was not as declared before.
    pub drift: Vec<Drifted>,
    /// Objects whose corrections do not last.
    pub stalled: Vec<ObjectKey>,
    /// What is waited for.
    pub waits_for: Vec<String>,
}

impl Outcome {
    fn new(component: &Component, state: State) -> Self {
        Self {
            component: component.clone(),
            state,
            stop: None,
            plan: None,
            verdicts: None,
            applied: None,
            drift: Vec::new(),
            stalled: Vec::new(),
            waits_for: Vec::new(),
        }
    }

    /// The API server could not be asked about any component.
    pub fn not_looked_at(component: &Component, failure: ApiFailure) -> Self {
        Self::new(component, State::Failed).stopped(Stop::Api(failure))
    }

    fn stopped(self, stop: Stop) -> Self {
        let state = match &stop {
            Stop::Invalid(_) => State::Invalid,
            Stop::KeptBack(_) => State::KeptBack,
            _ => State::Failed,
        };
        Self { state, stop: Some(stop), ..self }
    }
}

/// How far a component is taken.
#[derive(Clone, Copy, Debug)]
pub enum Aim<'a> {
    /// To its plan.
    Plan,
    /// To the cluster, drift included: somebody asked for it.
    Apply {
        /// Proof that we lead.
        leading: &'a Leading,
        /// Whether more objects may be deleted than the component allows.
        confirm_prune: bool,
        /// How long to wait for health at most; a component's own time may be shorter.
        wait: Duration,
    },
    /// To the cluster; drift as the component's mode says, and nothing is waited for.
    Keep {
        /// Proof that we lead.
        leading: &'a Leading,
        /// Objects that are not corrected any more.
        stalled: &'a BTreeSet<ObjectKey>,
    },
}

/// The platform, and what is known of it in the cluster.
pub struct Look<'a> {
    applier: &'a Applier,
    validated: &'a Validated,
    gate: &'a GateRules,
    /// The components, in the order they are applied in.
    pub parts: Vec<Part>,
    world: World,
    promised: Promised,
    /// The inventories by component; [`WHOLE`] is the platform's own.
    pub inventories: BTreeMap<String, Result<Inventory, DamagedInventory>>,
}

/// The inventories of a platform.
pub async fn inventories(
    applier: &Applier,
    platform: &str,
) -> Result<BTreeMap<String, Result<Inventory, DamagedInventory>>, ApiFailure> {
    let selector = format!("{}={platform},{}=true", inventory::PLATFORM_LABEL, inventory::INVENTORY_LABEL);
    let listed = applier.list(&inventory::address(applier.own_namespace(), (platform, WHOLE)), &selector).await?;
    let component = |object: &Value| inventory::component_of(object).unwrap_or(WHOLE).to_owned();
    Ok(listed.iter().map(|object| (component(object), Inventory::of_object(object))).collect())
}

impl<'a> Look<'a> {
    /// Reads manifests and inventories.
    pub async fn take(
        applier: &'a Applier,
        validated: &'a Validated,
        gate: &'a GateRules,
        parts: Vec<Part>,
    ) -> Result<Self, ApiFailure> {
        let inventories = inventories(applier, &validated.name).await?;
        let world = clear::world(&parts);
        let promised = Promised::of(parts.iter().filter_map(|part| part.built.as_ref().ok()));
        Ok(Self { applier, validated, gate, parts, world, promised, inventories })
    }

    /// Whose a component's objects are.
    pub fn whose<'b>(&'b self, component: &'b str) -> Whose<'b> {
        Whose { platform: &self.validated.name, component }
    }

    /// Whether the platform or the component is suspended. Where that cannot be read, nothing may be done either.
    pub fn is_suspended(&self, component: &str) -> bool {
        let mut known = [WHOLE, component].into_iter().filter_map(|name| self.inventories.get(name));
        known.any(|known| known.as_ref().map_or(true, |inventory| inventory.is_suspended))
    }

    /// The inventory of a component. That of the whole platform must be readable too: it says what is suspended.
    fn inventory(&self, component: &str) -> Result<Option<Inventory>, DamagedInventory> {
        if let Some(Err(damaged)) = self.inventories.get(WHOLE) {
            return Err(damaged.clone());
        }
        self.inventories.get(component).cloned().transpose()
    }

    /// Components that have an inventory and are not in the file any more.
    pub fn removed(&self) -> Vec<String> {
        let is_declared = |name: &&String| self.parts.iter().any(|part| part.component.name == **name);
        self.inventories.keys().filter(|name| *name != WHOLE && !is_declared(name)).cloned().collect()
    }

    /// Takes a component as far as the aim says. `healthy` are the components that are.
    pub async fn component(&self, part: &Part, healthy: &BTreeSet<String>, aim: Aim<'_>) -> Outcome {
        let outcome = Outcome::new(&part.component, State::Pending);
        let built = match &part.built {
            Ok(built) => built.clone(),
            Err(mistakes) => return outcome.stopped(Stop::Invalid(mistakes.clone())),
        };
        let inventory = match self.inventory(&part.component.name) {
            Ok(inventory) => inventory.unwrap_or_default(),
            Err(damaged) => return outcome.stopped(Stop::Damaged(damaged)),
        };
        let (cleared, verdicts) = self.judged(built).await;
        let outcome = Outcome { verdicts: Some(verdicts), ..outcome };
        match cleared {
            Ok(cleared) => self.cleared(outcome, (&cleared, inventory), healthy, aim).await,
            Err(kept_back) => {
                // What would change is shown all the same.
                let plan = self.plan(&kept_back.built, &inventory).await.ok();
                Outcome { plan, ..outcome.stopped(Stop::KeptBack(Box::new(kept_back))) }
            }
        }
    }

    async fn judged(&self, built: Built) -> (Result<Cleared, KeptBack>, Report) {
        let options = clear::options(Timestamp::now(), EVIDENCE);
        let verdicts = self.gate.judge(built, &self.world, &options).await;
        (verdicts.cleared, verdicts.report)
    }

    async fn plan(&self, built: &Built, inventory: &Inventory) -> Result<ComponentPlan, ApiFailure> {
        let whose = self.whose(&built.component.name);
        Planner { applier: self.applier, whose, promised: &self.promised }.plan(built, inventory).await
    }

    async fn cleared(
        &self,
        outcome: Outcome,
        (cleared, mut inventory): (&Cleared, Inventory),
        healthy: &BTreeSet<String>,
        aim: Aim<'_>,
    ) -> Outcome {
        let component = &outcome.component.clone();
        let mut plan = match self.plan(cleared.built(), &inventory).await {
            Ok(plan) => plan,
            Err(failure) => return outcome.stopped(Stop::Api(failure)),
        };
        let drift = if component.drift == Drift::Off { Vec::new() } else { drifted(&plan) };
        let mut outcome = Outcome { drift, ..outcome };
        if let Aim::Keep { stalled, .. } = aim {
            outcome.stalled = hold(&mut plan, component.drift, stalled);
        }
        outcome.waits_for = component.depends_on.iter().filter(|name| !healthy.contains(*name)).cloned().collect();
        outcome.plan = Some(plan.clone());
        if let Some(stop) = stop(&plan, component, aim) {
            return outcome.stopped(stop);
        }
        if self.is_suspended(&component.name) {
            return Outcome { state: State::Suspended, ..outcome };
        }
        let (leading, patience) = match aim {
            Aim::Plan => {
                let state = if plan.is_quiet() { State::Healthy } else { State::Pending };
                return Outcome { state, ..outcome };
            }
            _ if !outcome.waits_for.is_empty() => return Outcome { state: State::Waiting, ..outcome },
            Aim::Apply { leading, wait, .. } => {
                let most = component.health_timeout.min(wait);
                (leading, Patience { waves: most, health: most })
            }
            Aim::Keep { leading, .. } => (leading, KEEPING),
        };
        let deployer = Deployer { applier: self.applier, leading, whose: self.whose(&component.name), patience };
        match deployer.apply(cleared, &plan, &mut inventory).await {
            Ok(applied) => finished(outcome, applied),
            Err(failure) => outcome.stopped(Stop::Api(failure)),
        }
    }

    /// Takes down a component that is not in the file any more. Of what it was only its inventory is left.
    pub async fn remove(&self, name: &str, template: &Component, aim: Aim<'_>) -> Outcome {
        let outcome = Outcome::new(template, State::Pending);
        let mut inventory = match self.inventory(name) {
            Ok(Some(inventory)) => inventory,
            Err(damaged) => return outcome.stopped(Stop::Damaged(damaged)),
            Ok(None) => return Outcome { state: State::Healthy, ..outcome },
        };
        let whose = self.whose(name);
        let planner = Planner { applier: self.applier, whose, promised: &self.promised };
        let plan = match planner.removal(template, &inventory).await {
            Ok(plan) => plan,
            Err(failure) => return outcome.stopped(Stop::Api(failure)),
        };
        let outcome = Outcome { plan: Some(plan.clone()), ..outcome };
        if let Some(stop) = stop(&plan, template, aim) {
            return outcome.stopped(stop);
        }
        if self.is_suspended(name) {
            return Outcome { state: State::Suspended, ..outcome };
        }
        let (Aim::Apply { leading, .. } | Aim::Keep { leading, .. }) = aim else { return outcome };
        let deployer = Deployer { applier: self.applier, leading, whose, patience: KEEPING };
        match deployer.remove(&plan, &mut inventory).await {
            Ok(applied) => finished(outcome, applied),
            Err(failure) => outcome.stopped(Stop::Api(failure)),
        }
    }
}

/// The daemon looks again soon, and waits for nothing but what follows at once.
const KEEPING: Patience = Patience { waves: Duration::from_secs(2), health: Duration::ZERO };

/// What stands for a component that is not in the file any more.
pub fn removed_component(name: &str) -> Component {
    Component {
        name: name.to_owned(),
        namespace: String::new(),
        depends_on: Vec::new(),
        folder: String::new(),
        drift: Drift::Off,
        prune: true,
        retain: true,
        adopt: false,
        max_prune: portreeve_api::platform::MAX_PRUNE,
        health_timeout: Duration::ZERO,
        ignore: Vec::new(),
        place: portreeve_reports::source::Place::default(),
    }
}

/// Leaves drift as it is where the mode says so, and where corrections do not last; gives the latter.
fn hold(plan: &mut ComponentPlan, mode: Drift, stalled: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
    let mut held = Vec::new();
    for planned in plan.objects.iter_mut().filter(|planned| planned.was_applied && planned.action.writes()) {
        let key = &planned.wanted.address.key;
        if stalled.contains(key) {
            held.push(key.clone());
        }
        if mode != Drift::Correct || stalled.contains(key) {
            planned.action = Action::Unchanged;
        }
    }
    held
}

/// Why a plan is not carried out.
fn stop(plan: &ComponentPlan, component: &Component, aim: Aim<'_>) -> Option<Stop> {
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
    let foreign = plan.objects.iter().filter(|planned| matches!(planned.action, Action::Foreign));
    let foreign: Vec<String> = foreign.map(|planned| planned.wanted.address.key.to_string()).collect();
    if !foreign.is_empty() {
        return Some(Stop::Foreign(foreign));
    }
    let (deletions, limit) = (plan.deletions(), component.max_prune);
    let is_confirmed = matches!(aim, Aim::Apply { confirm_prune: true, .. });
    (deletions > limit && !is_confirmed).then_some(Stop::PruneLimit { deletions, limit })
}

fn finished(outcome: Outcome, applied: Applied) -> Outcome {
    let is_left = |class| matches!(class, DriftClass::Missing | DriftClass::Modified);
    let written: BTreeSet<String> = applied.written.iter().map(ToString::to_string).collect();
    let is_drifted = outcome.drift.iter().any(|drifted| is_left(drifted.class) && !written.contains(&drifted.object));
    let is_broken = applied.unhealthy.iter().any(|(_, health)| !matches!(health, Health::Progressing(_)));
    let state = if !applied.failures.is_empty() {
        State::Failed
    } else if !applied.is_done() {
        State::Progressing
    } else if is_drifted || !outcome.stalled.is_empty() {
        State::Drifted
    } else if is_broken {
        State::Unhealthy
    } else if !applied.unhealthy.is_empty() {
        State::Progressing
    } else {
        State::Healthy
    };
    let stop = (!applied.failures.is_empty()).then(|| Stop::Refused(applied.failures.clone()));
    Outcome { state, stop, applied: Some(applied), ..outcome }
}

/// One round of taking a component down: whatever its `prune` says, and with all that it has.
pub async fn take_down(
    deployer: &Deployer<'_>,
    component: &Component,
    inventory: &mut Inventory,
) -> Result<Applied, ApiFailure> {
    let promised = Promised::default();
    let planner = Planner { applier: deployer.applier, whose: deployer.whose, promised: &promised };
    let doomed = Component { prune: true, ..component.clone() };
    let plan = planner.removal(&doomed, inventory).await?;
    deployer.remove(&plan, inventory).await
}
