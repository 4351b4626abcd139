//! One look at the whole platform, and one component at a time from its manifests to its state. One bad component
//! never stops the others.

mod outcome;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portreeve_api::platform::{Component, Drift, last_first};
use portreeve_policies::world::World;
use portreeve_reports::report::Report;

use super::build::{Built, Part, Validated, Wanted};
use super::claims::Claims;
use super::clear::{self, Cleared, GateRules, KeptBack};
use super::deploy::{Applied, Deployer, Patience};
use super::former::Former;
use super::inventories::{Inventories, inventories};
use super::inventory::{DamagedInventory, Inventory, Policy, WHOLE};
use super::plan::{AppliedSecrets, ComponentPlan, Leftover, Planner, Promised, drifted};
use super::prune::{Fate, Sweep, Whose};
use crate::cluster::apply::{ApiFailure, Applier};
use crate::cluster::key::ObjectKey;
use crate::runtime::leader::Leading;
pub use outcome::{Outcome, State, Stop};
use outcome::{finished, looked_at, stop};

/// How long evidence about images may be waited for.
const EVIDENCE: Duration = Duration::from_secs(20);

/// What is left of a command's time for looking once more.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How far a component is taken.
#[derive(Clone, Copy, Debug)]
pub enum Aim<'a> {
    /// To its plan.
    Plan {
        /// Whether more may be deleted than the file allows, if it were applied.
        confirm_prune: bool,
    },
    /// To the cluster, drift included: somebody asked for it.
    Apply {
        /// Proof that we lead.
        leading: &'a Leading,
        /// Whether more may be deleted than the file allows.
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
        /// What this process applied of the component's Secrets.
        secrets: &'a AppliedSecrets,
    },
}

impl<'a> Aim<'a> {
    fn confirms_prune(self) -> bool {
        matches!(self, Self::Plan { confirm_prune: true } | Self::Apply { confirm_prune: true, .. })
    }

    fn leading(self) -> Option<&'a Leading> {
        match self {
            Self::Plan { .. } => None,
            Self::Apply { leading, .. } | Self::Keep { leading, .. } => Some(leading),
        }
    }
}

/// How far a run has come: what others wait for.
#[derive(Clone, Debug, Default)]
pub struct Run {
    ready: BTreeSet<String>,
    standing: Vec<Component>,
}

impl Run {
    /// A component of the file was looked at.
    pub fn applied(&mut self, outcome: &Outcome) {
        if outcome.is_ready() {
            self.ready.insert(outcome.component.name.clone());
        }
    }

    /// A component that is not in the file any more was looked at.
    pub fn removed(&mut self, outcome: &Outcome) {
        if !outcome.is_gone() {
            self.standing.push(outcome.component.clone());
        }
    }

    fn missing(&self, component: &Component) -> Vec<String> {
        component.depends_on.iter().filter(|name| !self.ready.contains(*name)).cloned().collect()
    }

    /// What must go before a component goes.
    fn dependents(&self, name: &str) -> Vec<String> {
        let dependents = self.standing.iter().filter(|other| other.depends_on.iter().any(|needed| needed == name));
        dependents.map(|other| other.name.clone()).collect()
    }
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
    claims: Claims,
    sweep: Sweep,
    /// The inventories by component; [`WHOLE`] is the platform's own.
    pub inventories: Inventories,
    /// Other platforms that have components of this one: it may have had their names.
    pub former: Vec<Former>,
}

impl<'a> Look<'a> {
    /// Reads manifests and inventories.
    pub async fn take(
        applier: &'a Applier,
        validated: &'a Validated,
        gate: &'a GateRules,
        parts: Vec<Part>,
    ) -> Result<Self, ApiFailure> {
        let (inventories, others) = inventories(applier, &validated.name).await?;
        let world = clear::world(&parts);
        let promised = Promised::of(parts.iter().filter_map(|part| part.built.as_ref().ok()));
        let claims = Claims::of(&parts, &inventories);
        let former = Former::of(&others, &validated.spec.components);
        let sweep = Sweep::default();
        let mut look = Self { applier, validated, gate, parts, world, promised, claims, sweep, inventories, former };
        look.sweep = look.sweep().await;
        Ok(look)
    }

    /// What one run would delete, asked before it begins.
    async fn sweep(&self) -> Sweep {
        let has_any = |known: &Inventory| known.entries().len() > 0;
        let known = self.inventories.values().flatten().filter(|known| has_any(known)).count();
        let mut sweep = Sweep { known, ..Sweep::default() };
        for part in &self.parts {
            let Ok(built) = &part.built else { continue };
            let declared = built.objects.iter().map(|wanted| &wanted.address.key).collect();
            sweep.deletions += self.deletions(&part.component, &declared).await;
        }
        for component in self.removed() {
            let deletions = self.deletions(&component, &BTreeSet::new()).await;
            sweep.deletions += deletions;
            sweep.removed += usize::from(deletions > 0);
        }
        sweep
    }

    async fn deletions(&self, component: &Component, declared: &BTreeSet<&ObjectKey>) -> usize {
        let Some(Ok(inventory)) = self.inventories.get(&component.name) else { return 0 };
        if !component.prune || self.is_suspended(&component.name) {
            return 0;
        }
        match self.planner(&component.name).leftovers(component, inventory, declared).await {
            Ok(leftovers) => leftovers.iter().filter(|leftover| matches!(leftover.fate, Fate::Delete(_))).count(),
            // What cannot be asked now may be deleted a moment later.
            Err(_) => inventory.left_over(declared).len(),
        }
    }

    fn planner<'b>(&'b self, component: &'b str) -> Planner<'b> {
        let whose = self.whose(component);
        Planner { applier: self.applier, whose, promised: &self.promised, claims: &self.claims }
    }

    fn deployer<'b>(&'b self, component: &'b str, leading: &'b Leading, patience: Patience) -> Deployer<'b> {
        Deployer { applier: self.applier, leading, whose: self.whose(component), patience }
    }

    /// The platform's name.
    pub fn platform(&self) -> &str {
        &self.validated.name
    }

    /// How many requests of this process could have changed something.
    pub fn writes(&self) -> u64 {
        self.applier.writes()
    }

    /// Whether the manifests of a component, as they are now, were applied; true of what is not in the file any more.
    pub fn is_applied(&self, component: &Component) -> bool {
        let Some(part) = self.parts.iter().find(|part| part.component.name == component.name) else { return true };
        let (Ok(built), Some(Ok(known))) = (&part.built, self.inventories.get(&component.name)) else { return false };
        let is_noted = |wanted: &Wanted| known.get(&wanted.address.key).is_some_and(|entry| wanted.is_noted(entry));
        built.objects.iter().all(|wanted| is_noted(wanted))
    }

    /// Whose a component's objects are.
    pub fn whose<'b>(&'b self, component: &'b str) -> Whose<'b> {
        Whose { platform: &self.validated.name, component }
    }

    /// Whether the platform or the component is suspended. Where that cannot be read, nothing may be done either.
    pub fn is_suspended(&self, component: &str) -> bool {
        suspended(&self.inventories, component).unwrap_or(true)
    }

    /// The inventory of a component. That of the whole platform must be readable too: it says what is suspended.
    fn inventory(&self, component: &str) -> Result<Option<Inventory>, DamagedInventory> {
        if let Some(Err(damaged)) = self.inventories.get(WHOLE) {
            return Err(damaged.clone());
        }
        self.inventories.get(component).cloned().transpose()
    }

    /// Components that have an inventory and are not in the file any more, in the order they are taken down. Of what
    /// they were only their inventories are left.
    pub fn removed(&self) -> Vec<Component> {
        let is_declared = |name: &str| self.parts.iter().any(|part| part.component.name == name);
        let removed = self.inventories.iter().filter(|(name, _)| *name != WHOLE && !is_declared(name));
        last_first(removed.map(|(name, known)| removed_component(name, known.as_ref().ok())).collect())
    }

    /// Every component that has something in the cluster, in the order they are taken down.
    pub fn standing(&self) -> Vec<Component> {
        let declared = self.parts.iter().map(|part| part.component.clone());
        let all = declared.chain(self.removed()).filter(|component| self.inventories.contains_key(&component.name));
        last_first(all.collect())
    }

    fn outcome(&self, component: &Component) -> Outcome {
        let is_suspended = suspended(&self.inventories, &component.name);
        Outcome { is_suspended, ..Outcome::new(component, State::Pending) }
    }

    /// Takes a component as far as the aim says.
    pub async fn component(&self, part: &Part, run: &Run, aim: Aim<'_>) -> Outcome {
        let outcome = self.outcome(&part.component);
        let mut inventory = self.inventory(&part.component.name);
        if let (Ok(Some(known)), Some(leading)) = (&mut inventory, aim.leading())
            && let Err(failure) = self.remember(&part.component, known, leading).await
        {
            return outcome.stopped(Stop::Api(failure));
        }
        let built = match &part.built {
            Ok(built) => built.clone(),
            Err(mistakes) => return outcome.stopped(Stop::Invalid(mistakes.clone())),
        };
        let inventory = match inventory {
            Ok(inventory) => inventory.unwrap_or_default(),
            Err(damaged) => return outcome.stopped(Stop::Damaged(damaged)),
        };
        let (cleared, verdicts) = self.judged(built).await;
        let outcome = Outcome { verdicts: Some(verdicts), ..outcome };
        match cleared {
            Ok(cleared) => self.cleared(outcome, (&cleared, inventory), run, aim).await,
            Err(kept_back) => {
                // What would change is shown all the same.
                let planner = self.planner(&part.component.name);
                let plan = planner.plan(&kept_back.built, &inventory).await.ok().map(Arc::new);
                Outcome { plan, ..outcome.stopped(Stop::KeptBack(Box::new(kept_back))) }
            }
        }
    }

    /// How long health may be waited for: a last look is to fit into the time that is left.
    fn waiting(&self) -> Duration {
        let left = self.applier.left();
        left.saturating_sub(LAST_LOOK.min(left / 4))
    }

    async fn judged(&self, built: Built) -> (Result<Cleared, KeptBack>, Report) {
        let options = clear::options(Timestamp::now(), EVIDENCE.min(self.applier.left()));
        let verdicts = self.gate.judge(built, &self.world, &options).await;
        (verdicts.cleared, verdicts.report)
    }

    /// Whatever keeps a component from being applied, a suspension too, what it says about its end counts from now on.
    async fn remember(
        &self,
        component: &Component,
        inventory: &mut Inventory,
        leading: &Leading,
    ) -> Result<(), ApiFailure> {
        if inventory.version.is_none() {
            return Ok(());
        }
        self.deployer(&component.name, leading, KEEPING).remember(inventory, component).await
    }

    async fn cleared(
        &self,
        outcome: Outcome,
        (cleared, mut inventory): (&Cleared, Inventory),
        run: &Run,
        aim: Aim<'_>,
    ) -> Outcome {
        let component = &outcome.component.clone();
        let mut plan = match self.planner(&component.name).cleared(cleared, &inventory).await {
            Ok(plan) => plan,
            Err(failure) => return outcome.stopped(Stop::Api(failure)),
        };
        if let Aim::Keep { secrets, .. } = aim {
            plan.recall(secrets);
        }
        let drift = if component.drift == Drift::Off { Vec::new() } else { drifted(plan.plan()) };
        let mut outcome = Outcome { drift, ..outcome };
        if let Aim::Keep { stalled, .. } = aim {
            outcome.stalled = plan.hold(component.drift, stalled);
        }
        outcome.waits_for = run.missing(component);
        outcome.plan = Some(plan.shared());
        if let Some(stop) = stop(plan.plan(), component, aim, self.sweep.too_much(self.validated.spec.max_prune)) {
            return outcome.stopped(stop);
        }
        if self.is_suspended(&component.name) {
            return Outcome { state: State::Suspended, ..outcome };
        }
        let (leading, patience) = match aim {
            Aim::Plan { .. } if plan.plan().is_quiet() => return looked_at(outcome),
            Aim::Plan { .. } => return outcome,
            _ if !outcome.waits_for.is_empty() => return Outcome { state: State::Waiting, ..outcome },
            Aim::Apply { leading, wait, .. } => {
                let most = component.health_timeout.min(wait).min(self.waiting());
                (leading, Patience { waves: most, health: most })
            }
            Aim::Keep { leading, .. } => (leading, KEEPING),
        };
        let (applied, unhealthy) = self.deployer(&component.name, leading, patience).apply(&plan, &mut inventory).await;
        finished(outcome, applied, unhealthy)
    }

    /// Takes down a component that is not in the file any more, after those that depended on it.
    pub async fn remove(&self, component: &Component, run: &Run, aim: Aim<'_>) -> Outcome {
        let name = &component.name;
        let outcome = Outcome { is_removed: true, ..self.outcome(component) };
        let mut inventory = match self.inventory(name) {
            Ok(inventory) => inventory.unwrap_or_default(),
            Err(damaged) => return outcome.stopped(Stop::Damaged(damaged)),
        };
        let plan = match self.planner(name).removal(component, &inventory).await {
            Ok(plan) => Arc::new(plan),
            Err(failure) => return outcome.stopped(Stop::Api(failure)),
        };
        let drift = drifted(&plan);
        let outcome = Outcome { plan: Some(Arc::clone(&plan)), drift, waits_for: run.dependents(name), ..outcome };
        if let Some(stop) = stop(&plan, component, aim, self.sweep.too_much(self.validated.spec.max_prune)) {
            return outcome.stopped(stop);
        }
        if self.is_suspended(name) {
            return Outcome { state: State::Suspended, ..outcome };
        }
        let Some(leading) = aim.leading() else { return outcome };
        if !outcome.waits_for.is_empty() {
            return Outcome { state: State::Waiting, ..outcome };
        }
        finished(outcome, self.deployer(name, leading, KEEPING).remove(&plan, &mut inventory).await, Vec::new())
    }

    /// Forgets what components that were looked at earlier have given to later ones of the same run. The daemon's next
    /// round would do it too.
    pub async fn hand_over(&self, outcomes: &mut [Outcome], leading: &Leading) -> Result<(), ApiFailure> {
        let is_awaited = |leftover: &Leftover| matches!(leftover.fate, Fate::Awaited(_));
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.stop.is_none()) {
            let (Some(plan), Some(applied)) = (&outcome.plan, &mut outcome.applied) else { continue };
            let awaited: Vec<&Leftover> = plan.leftovers.iter().filter(|leftover| is_awaited(leftover)).collect();
            if awaited.is_empty() {
                continue;
            }
            let component = &outcome.component;
            let (now, _) = inventories(self.applier, &self.validated.name).await?;
            let Some(Ok(mut inventory)) = now.get(&component.name).cloned() else { continue };
            let (objects, leftovers) = (Vec::new(), Vec::new());
            let mut taken =
                ComponentPlan { component: component.clone(), objects, leftovers, extra: plan.extra.clone() };
            for Leftover { entry, .. } in awaited {
                let fate = self.planner(&component.name).fate(entry, (component.prune, component.retain)).await?;
                if matches!(fate, Fate::HandedOver(_)) {
                    taken.leftovers.push(Leftover { entry: entry.clone(), fate });
                }
            }
            let done = self.deployer(&component.name, leading, KEEPING).remove(&taken, &mut inventory).await;
            applied.handed_over.extend(done.handed_over);
            done.cut.map_or(Ok(()), Err)?;
        }
        Ok(())
    }
}

/// The daemon looks again soon, and waits for nothing but what follows at once.
const KEEPING: Patience = Patience { waves: Duration::from_secs(2), health: Duration::ZERO };

/// Whether the platform or a component is suspended; `None` where that cannot be read.
fn suspended(inventories: &Inventories, component: &str) -> Option<bool> {
    let known = [WHOLE, component].into_iter().filter_map(|name| inventories.get(name));
    let known = known.map(|known| known.as_ref().ok().map(|inventory| inventory.is_suspended));
    Some(known.collect::<Option<Vec<bool>>>()?.contains(&true))
}

/// What stands for a component that is not in the file any more: what its inventory remembers of it. One that does not
/// say whether it may be pruned keeps what it has.
pub(super) fn removed_component(name: &str, inventory: Option<&Inventory>) -> Component {
    let unknown = Policy { prune: false, retain: true, max_prune: 0, depends_on: Vec::new() };
    let policy = inventory.and_then(|inventory| inventory.policy.clone()).unwrap_or(unknown);
    Component {
        name: name.to_owned(),
        namespace: String::new(),
        depends_on: policy.depends_on,
        folder: String::new(),
        drift: Drift::Warn,
        prune: policy.prune,
        retain: policy.retain,
        adopt: false,
        max_prune: policy.max_prune,
        health_timeout: Duration::ZERO,
        ignore: Vec::new(),
        place: portreeve_reports::source::Place::default(),
    }
}

/// One round of taking a component down: whatever its `prune` says, and with all that it has.
pub async fn take_down(
    deployer: &Deployer<'_>,
    component: &Component,
    inventory: &mut Inventory,
) -> Result<Applied, ApiFailure> {
    // What one component hands to another goes with it.
    let (promised, claims) = (Promised::default(), Claims::default());
    let planner = Planner { applier: deployer.applier, whose: deployer.whose, promised: &promised, claims: &claims };
    let doomed = Component { prune: true, ..component.clone() };
    let plan = planner.removal(&doomed, inventory).await?;
    Ok(deployer.remove(&plan, inventory).await)
}

#[cfg(test)]
mod tests;
