//! The last step: what was cleared and planned is written, wave by wave, and what is no longer declared is deleted.
//!
//! The inventory lists an object before it is applied, has its UID after, and forgets it when it is gone. A crash
//! between any two writes leaves an inventory that lists at least what is there.

use std::time::Duration;

use portreeve_api::platform::Component;
use serde_json::Value;
use tokio::time::Instant;

use super::claims::Claims;
use super::fields;
use super::health::{Health, health};
use super::inventory::{self, Inventory, Policy};
use super::plan::{Action, ClearedPlan, ComponentPlan, Leftover, Planned};
use super::prune::{Fate, Whose, fate};
use super::waves::Wave;
use crate::cluster::apply::{Address, ApiFailure, Applier, Deletion, Force};
use crate::cluster::key::ObjectKey;
use crate::runtime::leader::Leading;

/// How often a deletion is tried again because the object changed meanwhile.
const DELETE_TRIES: usize = 3;
/// Pauses between looks at what is not healthy yet: from, to.
const LOOKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// How long applying waits for the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For definitions to be established, and for workloads before webhooks that they serve.
    pub waves: Duration,
    /// For everything to be healthy at the end.
    pub health: Duration,
}

/// Writes one component.
pub struct Deployer<'a> {
    /// The way to the API server.
    pub applier: &'a Applier,
    /// The proof that we lead.
    pub leading: &'a Leading,
    /// Whose the objects are.
    pub whose: Whose<'a>,
    /// How long it waits.
    pub patience: Patience,
}

/// What applying came to.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Objects that were written.
    pub written: Vec<ObjectKey>,
    /// Objects that were deleted and are gone.
    pub deleted: Vec<ObjectKey>,
    /// Objects that stay and are nobody's from now on.
    pub retained: Vec<ObjectKey>,
    /// Objects that were listed and are not ours.
    pub left_alone: Vec<(ObjectKey, &'static str)>,
    /// Objects that other components have now.
    pub handed_over: Vec<ObjectKey>,
    /// Objects whose deletion has begun.
    pub ending: Vec<ObjectKey>,
    /// What the server did not take.
    pub failures: Vec<(ObjectKey, ApiFailure)>,
    /// Whether a wave waits for an earlier one.
    pub is_waiting: bool,
    /// Whether the inventory is gone: the component has nothing in the cluster any more.
    pub is_gone: bool,
    /// Why nothing more could be done; what is told here was done before.
    pub cut: Option<ApiFailure>,
}

/// What is not healthy, and why.
pub type Unhealthy = Vec<(ObjectKey, Health)>;

impl Applied {
    /// Whether everything that was asked for is done.
    pub fn is_done(&self) -> bool {
        self.failures.is_empty() && self.cut.is_none() && !self.is_waiting && self.ending.is_empty()
    }
}

impl Deployer<'_> {
    /// Applies a component that has passed the gate; what was done, and what is not healthy then.
    pub async fn apply(&self, plan: &ClearedPlan, inventory: &mut Inventory) -> (Applied, Unhealthy) {
        let mut applied = Applied::default();
        match self.applied(plan.plan(), inventory, &mut applied).await {
            Ok(unhealthy) => (applied, unhealthy),
            Err(cut) => (Applied { cut: Some(cut), ..applied }, Vec::new()),
        }
    }

    async fn applied(
        &self,
        plan: &ComponentPlan,
        inventory: &mut Inventory,
        applied: &mut Applied,
    ) -> Result<Unhealthy, ApiFailure> {
        // What is as declared already is listed too: the inventory may have been lost, or have it in another namespace.
        let mut intent = inventory.with_intent(plan.objects.iter().map(|planned| &planned.wanted.address));
        intent.policy = Some(Policy::of(&plan.component));
        self.store_if_new(inventory, intent).await?;
        let mut noted = inventory.clone();
        let outcome = self.waves(plan, &mut noted, applied).await;
        // What was applied is noted whatever stopped the rest.
        self.store_if_new(inventory, noted).await?;
        outcome?;
        if applied.failures.is_empty() && !applied.is_waiting {
            self.delete(&plan.leftovers, (plan.component.prune, plan.component.retain), inventory, applied).await?;
        }
        let declared: Vec<&Address> = plan.objects.iter().map(|planned| &planned.wanted.address).collect();
        self.unhealthy(&declared, self.patience.health).await
    }

    /// Deletes what a component has in the cluster, in reverse, and then its inventory.
    pub async fn remove(&self, plan: &ComponentPlan, inventory: &mut Inventory) -> Applied {
        let mut applied = Applied::default();
        let cut = self.removed(plan, inventory, &mut applied).await.err();
        Applied { is_gone: inventory.version.is_none(), cut, ..applied }
    }

    async fn removed(
        &self,
        plan: &ComponentPlan,
        inventory: &mut Inventory,
        applied: &mut Applied,
    ) -> Result<(), ApiFailure> {
        self.delete(&plan.leftovers, (plan.component.prune, plan.component.retain), inventory, applied).await?;
        if inventory.entries().len() == 0 && inventory.version.is_some() {
            let address = self.inventory();
            let live = self.applier.get(&address).await.map_err(|failure| failure.at(&address.key))?;
            if let Some(live) = live {
                self.applier.delete(self.leading, &address, &live).await?;
            }
            inventory.version = None;
        }
        Ok(())
    }

    /// Stores whether the component (or, of the name [`inventory::WHOLE`], the platform) is suspended.
    pub async fn suspend(&self, inventory: &mut Inventory, is_suspended: bool) -> Result<(), ApiFailure> {
        let mut next = inventory.clone();
        next.is_suspended = is_suspended;
        self.store_if_new(inventory, next).await
    }

    /// Stores what the component says about its end: whatever keeps it from being applied, the file may lose it next.
    pub async fn remember(&self, inventory: &mut Inventory, component: &Component) -> Result<(), ApiFailure> {
        let mut next = inventory.clone();
        next.policy = Some(Policy::of(component));
        self.store_if_new(inventory, next).await
    }

    /// Where the component's inventory is.
    fn inventory(&self) -> Address {
        inventory::address(self.applier.own_namespace(), (self.whose.platform, self.whose.component))
    }

    async fn store_if_new(&self, inventory: &mut Inventory, next: Inventory) -> Result<(), ApiFailure> {
        if next.says_the_same(inventory) {
            return Ok(());
        }
        let address = self.inventory();
        let object = next.to_object(self.applier.own_namespace(), (self.whose.platform, self.whose.component));
        let stored = match next.version {
            Some(_) => self.applier.replace(self.leading, &address, &object).await?,
            None => {
                self.applier.make_own_namespace().await?;
                self.applier.create(self.leading, &address, &object).await?
            }
        };
        let version = stored.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned);
        *inventory = next;
        inventory.version = version;
        Ok(())
    }

    async fn waves(
        &self,
        plan: &ComponentPlan,
        inventory: &mut Inventory,
        applied: &mut Applied,
    ) -> Result<(), ApiFailure> {
        for wave in Wave::ALL {
            let batch: Vec<&Planned> = plan.objects.iter().filter(|planned| planned.wanted.wave == wave).collect();
            let writes = batch.iter().any(|planned| planned.action.writes());
            if wave == Wave::Webhooks && writes && self.waits_for(plan, Wave::Workloads).await? {
                applied.is_waiting = true;
                return Ok(());
            }
            for planned in &batch {
                self.leading.next_step()?;
                self.object(planned, inventory, applied).await?;
            }
            if !applied.failures.is_empty() {
                return Ok(());
            }
            if wave == Wave::Definitions && writes {
                let waits = self.waits_for(plan, Wave::Definitions).await?;
                self.applier.forget_kinds();
                if waits || !self.is_served(plan).await? {
                    applied.is_waiting = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// One object; its UID and digest are noted. A refusal is told and ends the component after its wave.
    async fn object(
        &self,
        planned: &Planned,
        inventory: &mut Inventory,
        applied: &mut Applied,
    ) -> Result<(), ApiFailure> {
        let key = &planned.wanted.address.key;
        let written = match (&planned.action, &planned.live) {
            (Action::Unchanged, Some(live)) => {
                note(inventory, planned, live);
                return Ok(());
            }
            (Action::Create { .. }, _) => self.write(planned, Force::No).await,
            (Action::Update | Action::Move(_), _) => self.write(planned, Force::Yes).await,
            (Action::Adopt, Some(live)) => self.adopt(planned, live).await,
            _ => return Ok(()),
        };
        match written {
            Ok(object) => {
                note(inventory, planned, &object);
                applied.written.push(key.clone());
            }
            Err(over @ (ApiFailure::Lost(_) | ApiFailure::OutOfTime)) => return Err(over),
            Err(failure) => applied.failures.push((key.clone(), failure)),
        }
        Ok(())
    }

    async fn write(&self, planned: &Planned, force: Force) -> Result<Value, ApiFailure> {
        self.applier.apply(self.leading, &planned.wanted.address, &planned.body, force).await
    }

    /// What people's tools own of what is declared becomes ours first: else a field that leaves the manifest later would
    /// stay for ever. What is not declared stays as it is, and theirs: applying removes nothing that no plan has shown.
    async fn adopt(&self, planned: &Planned, live: &Value) -> Result<Value, ApiFailure> {
        let after = self.applier.dry_run(&planned.wanted.address, &planned.body, Force::Yes).await?;
        if let Some(managed) = fields::taken_over(live, &after) {
            self.applier.take_over(self.leading, &planned.wanted.address, live, &managed).await?;
        }
        self.write(planned, Force::Yes).await
    }

    async fn waits_for(&self, plan: &ComponentPlan, wave: Wave) -> Result<bool, ApiFailure> {
        let of_wave = plan.objects.iter().filter(|planned| planned.wanted.wave == wave);
        let addresses: Vec<&Address> = of_wave.map(|planned| &planned.wanted.address).collect();
        Ok(!self.unhealthy(&addresses, self.patience.waves).await?.is_empty())
    }

    /// Waits until the kinds that definitions bring are served: that comes a moment after they are established.
    async fn is_served(&self, plan: &ComponentPlan) -> Result<bool, ApiFailure> {
        let end = Instant::now() + self.patience.waves;
        let is_new = |planned: &&Planned| matches!(planned.action, Action::Create { checked: false });
        for planned in plan.objects.iter().filter(is_new) {
            while let Err(failure) = self.applier.served(&planned.wanted.address).await {
                match failure {
                    ApiFailure::UnknownKind(_) if Instant::now() + LOOKS.0 > end => return Ok(false),
                    ApiFailure::UnknownKind(_) => {}
                    other => return Err(other),
                }
                tokio::time::sleep(LOOKS.0).await;
                self.applier.forget_kinds();
            }
        }
        Ok(true)
    }

    /// What is not healthy after at most `most`.
    async fn unhealthy(&self, addresses: &[&Address], most: Duration) -> Result<Unhealthy, ApiFailure> {
        let (end, mut pause) = (Instant::now() + most, LOOKS.0);
        let mut left: Vec<&Address> = addresses.to_vec();
        loop {
            let mut unhealthy = Vec::new();
            let mut next = Vec::new();
            for address in left {
                let mut key = address.key.clone();
                let found = match self.applier.get(address).await {
                    Ok(Some(live)) => {
                        key = address.seen(&live);
                        health(&live)
                    }
                    Ok(None) => Health::Progressing("it is not there".to_owned()),
                    // Waiting was all there was to do.
                    Err(ApiFailure::OutOfTime) => Health::Progressing("it was not looked at in time".to_owned()),
                    Err(failure) => return Err(failure),
                };
                if found != Health::Healthy {
                    unhealthy.push((key, found));
                    next.push(address);
                }
            }
            let is_over = Instant::now() + pause > end;
            if unhealthy.is_empty() || is_over || unhealthy.iter().all(|(_, found)| is_final(found)) {
                return Ok(unhealthy);
            }
            left = next;
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LOOKS.1),
                () = self.leading.lost().cancelled() => return Ok(unhealthy),
            }
        }
    }

    async fn delete(
        &self,
        leftovers: &[Leftover],
        rules: (bool, bool),
        inventory: &mut Inventory,
        applied: &mut Applied,
    ) -> Result<(), ApiFailure> {
        let mut next = inventory.clone();
        let mut outcome = Ok(());
        for leftover in leftovers {
            // What a definition defines goes with it: custom objects are let go first.
            let is_definition = Wave::of(&leftover.entry.address.key) == Wave::Definitions;
            let holds = applied.ending.iter().any(|key| Wave::of(key) == Wave::Custom);
            if is_definition && holds && matches!(leftover.fate, Fate::Delete(_)) {
                applied.is_waiting = true;
                continue;
            }
            outcome = match self.leading.next_step() {
                Ok(()) => self.leftover(leftover, rules, &mut next, applied).await,
                Err(lost) => Err(lost.into()),
            };
            if outcome.is_err() {
                break;
            }
        }
        // What is gone is forgotten whatever stopped the rest.
        self.store_if_new(inventory, next).await?;
        outcome
    }

    async fn leftover(
        &self,
        leftover: &Leftover,
        rules: (bool, bool),
        inventory: &mut Inventory,
        applied: &mut Applied,
    ) -> Result<(), ApiFailure> {
        let (entry, key) = (&leftover.entry, leftover.entry.address.key.clone());
        let mut now = leftover.fate.clone();
        for _ in 0..DELETE_TRIES {
            let Fate::Delete(live) = &now else { break };
            match self.applier.delete(self.leading, &entry.address, live).await {
                Ok(Deletion::Gone) => {
                    applied.deleted.push(key.clone());
                    inventory.remove(&key);
                    return Ok(());
                }
                Ok(Deletion::Ending) => now = Fate::Ending,
                Err(ApiFailure::Changed(_)) => {
                    let live = self.applier.get(&entry.address).await;
                    let live = live.map_err(|failure| failure.at(&entry.address.key))?;
                    // Nobody claimed it when it was planned; what was taken since has lost our label.
                    now = fate(self.whose, entry, live.as_ref(), &Claims::default(), rules);
                }
                Err(over @ (ApiFailure::Lost(_) | ApiFailure::OutOfTime)) => return Err(over),
                Err(failure) => {
                    applied.failures.push((key, failure));
                    return Ok(());
                }
            }
        }
        match now {
            Fate::Gone => inventory.remove(&key),
            Fate::Retain => {
                inventory.remove(&key);
                applied.retained.push(key);
            }
            Fate::NotOurs(why) => {
                inventory.remove(&key);
                applied.left_alone.push((key, why));
            }
            Fate::Ending => applied.ending.push(key),
            Fate::Delete(_) => {
                applied.failures.push((key, ApiFailure::Changed("it changed at each try to delete it".to_owned())));
            }
            Fate::HandedOver(_) => {
                inventory.remove(&key);
                applied.handed_over.push(key);
            }
            Fate::Kept | Fate::Awaited(_) | Fate::Undecided(_) => {}
            Fate::NotServed(why) => applied.failures.push((key, why)),
        }
        Ok(())
    }
}

fn note(inventory: &mut Inventory, planned: &Planned, live: &Value) {
    if let Some(uid) = live.pointer("/metadata/uid").and_then(Value::as_str) {
        inventory.applied(&planned.wanted.address.key, uid, &planned.wanted.noted);
    }
}

/// Waiting does not change it.
fn is_final(found: &Health) -> bool {
    matches!(found, Health::Failed(_) | Health::Unknown(_))
}
