//! What applying a component would do: each object as the API server would make it (a dry run) beside what is there.
//! Nothing is written.

mod applied;
mod judge;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use portreeve_api::platform::{Component, Drift, Ignore};
use serde_json::{Value, json};

use super::build::{Built, Wanted};
use super::claims::Claims;
use super::clear::Cleared;
use super::diff::{self, Change};
use super::fields::{self, Owner};
use super::inventory::{Entry, Inventory};
use super::path::{self, Path};
use super::prune::{Fate, Whose, fate};
use super::secret::is_secret;
use super::waves::{goes_with, is_retained};
use crate::cluster::apply::{Address, ApiFailure, Applier, Force};
use crate::cluster::key::ObjectKey;
pub use applied::AppliedSecrets;
pub use judge::{DriftClass, Drifted, drifted, foreign};
use standing::Standing;

/// Requests under way at a time.
const PARALLEL: usize = 8;

/// What happens to one declared object.
#[derive(Clone, Debug)]
pub enum Action {
    /// It is not there. Unless `checked`, its namespace or definition is not there either, and comes first.
    Create {
        /// Whether the server has looked at it.
        checked: bool,
    },
    /// It is there and becomes other.
    Update,
    /// It exists and is taken over; what tools own of what is declared becomes ours.
    Adopt,
    /// It was the named component's of this platform, and becomes this one's.
    Move(String),
    /// It is as declared, as far as it is ours.
    Unchanged,
    /// It exists and is not ours; the named component of this platform keeps it.
    Foreign(Option<String>),
    /// The server does not take it.
    Refused(ApiFailure),
}

impl Action {
    /// The word for people and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update => "update",
            Self::Adopt => "adopt",
            Self::Move(_) => "move",
            Self::Unchanged => "unchanged",
            Self::Foreign(_) => "foreign",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether something is written.
    pub fn writes(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Update | Self::Adopt | Self::Move(_))
    }
}

/// A field that would change, and who owns it now.
#[derive(Clone, Debug)]
pub struct Told {
    /// The field.
    pub change: Change,
    /// Its managers.
    pub owners: Vec<Owner>,
}

/// The plan for one declared object.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What is asked for.
    pub wanted: Arc<Wanted>,
    /// What is sent: what is asked for, but for fields that are left to others.
    pub body: Value,
    /// What is there.
    pub live: Option<Value>,
    /// What happens.
    pub action: Action,
    /// What would change.
    pub changes: Vec<Told>,
    /// Fields that others insist on. They are left as they are.
    pub yields: Vec<Told>,
    /// Whether this very version was applied before: a difference is drift and no change of the manifest.
    pub was_applied: bool,
}

impl Planned {
    /// The object as people know it.
    pub fn shown(&self) -> ObjectKey {
        let address = &self.wanted.address;
        self.live.as_ref().map_or_else(|| address.key.clone(), |live| address.seen(live))
    }
}

/// The plan for an object that is no longer declared.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// What is known of it.
    pub entry: Entry,
    /// What becomes of it.
    pub fate: Fate,
}

/// The plan for a component.
#[derive(Clone, Debug)]
pub struct ComponentPlan {
    /// The component.
    pub component: Component,
    /// Declared objects, in the order they are applied.
    pub objects: Vec<Planned>,
    /// Objects that are no longer declared, in the order they are deleted.
    pub leftovers: Vec<Leftover>,
    /// Objects with our labels that are in neither: nobody declared them, and they are never deleted.
    pub extra: Vec<ObjectKey>,
}

impl ComponentPlan {
    /// How many objects would be deleted.
    pub fn deletions(&self) -> usize {
        self.leftovers.iter().filter(|leftover| matches!(leftover.fate, Fate::Delete(_))).count()
    }

    /// Whether applying it would write nothing.
    pub fn is_quiet(&self) -> bool {
        self.objects.iter().all(|planned| !planned.action.writes())
            && self.leftovers.iter().all(|leftover| leftover.fate.is_remembered())
    }
}

/// The plan of a component that has passed the gate: the only plan that is applied.
#[derive(Clone, Debug)]
pub struct ClearedPlan(Arc<ComponentPlan>);

impl ClearedPlan {
    /// The plan.
    pub fn plan(&self) -> &ComponentPlan {
        &self.0
    }

    /// The plan, for who tells of it: thousands of objects are not copied.
    pub fn shared(&self) -> Arc<ComponentPlan> {
        Arc::clone(&self.0)
    }

    /// Tells drift of Secrets from changes of their manifests by what this process applied.
    pub fn recall(&mut self, applied: &AppliedSecrets) {
        let plan = Arc::make_mut(&mut self.0);
        for planned in plan.objects.iter_mut().filter(|planned| matches!(planned.action, Action::Update)) {
            planned.was_applied = applied.has(&planned.wanted).unwrap_or(planned.was_applied);
        }
    }

    /// Leaves drift as it is where the mode says so, and where corrections do not last; gives the latter.
    pub fn hold(&mut self, mode: Drift, stalled: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        let mut held = Vec::new();
        let plan = Arc::make_mut(&mut self.0);
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
}

/// What earlier waves and components bring: a dry run that misses only these is no refusal.
#[derive(Clone, Debug, Default)]
pub struct Promised {
    namespaces: BTreeSet<String>,
    kinds: BTreeSet<(String, String)>,
}

impl Promised {
    /// What these components declare.
    pub fn of<'a>(built: impl IntoIterator<Item = &'a Built>) -> Self {
        let mut promised = Self::default();
        for wanted in built.into_iter().flat_map(|built| &built.objects) {
            let key = &wanted.address.key;
            let text = |pointer: &str| wanted.body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            match (&*key.group, &*key.kind) {
                ("", "Namespace") => {
                    promised.namespaces.insert(key.name.to_string());
                }
                ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                    promised.kinds.extend(text("/spec/group").zip(text("/spec/names/kind")));
                }
                _ => {}
            }
        }
        promised
    }

    fn excuses(&self, key: &ObjectKey, failure: &ApiFailure) -> bool {
        match failure {
            ApiFailure::NotFound(_) => self.namespaces.contains(&*key.namespace),
            ApiFailure::UnknownKind(_) => self.kinds.contains(&(key.group.to_string(), key.kind.to_string())),
            _ => false,
        }
    }
}

/// Plans one component.
pub struct Planner<'a> {
    /// The way to the API server.
    pub applier: &'a Applier,
    /// Whose the objects are.
    pub whose: Whose<'a>,
    /// What comes first.
    pub promised: &'a Promised,
    /// What the other components declare and have.
    pub claims: &'a Claims,
}

impl Planner<'_> {
    /// The plan. An error means that the cluster could not be looked at.
    pub async fn plan(&self, built: &Built, inventory: &Inventory) -> Result<ComponentPlan, ApiFailure> {
        let mut labelled = self.labelled(built, inventory).await?;
        let entry = |wanted: &Wanted| inventory.get(&wanted.address.key);
        let planning = built.objects.iter().map(|wanted| {
            let live = labelled.remove(&wanted.address.key);
            self.object(&built.component, wanted, entry(wanted), live).boxed()
        });
        let planning: Vec<_> = planning.collect();
        let objects = some_at_a_time(planning).await.into_iter().collect::<Result<_, _>>()?;
        // What is left is not declared.
        let extra = labelled.into_keys().filter(|key| inventory.get(key).is_none()).collect();
        let declared: BTreeSet<&ObjectKey> = built.objects.iter().map(|wanted| &wanted.address.key).collect();
        let leftovers = self.leftovers(&built.component, inventory, &declared).await?;
        Ok(ComponentPlan { component: built.component.clone(), objects, leftovers, extra })
    }

    /// The plan of a component that has passed the gate.
    pub async fn cleared(&self, cleared: &Cleared, inventory: &Inventory) -> Result<ClearedPlan, ApiFailure> {
        self.plan(cleared.built(), inventory).await.map(|plan| ClearedPlan(Arc::new(plan)))
    }

    /// What is to be deleted of a component of which nothing is declared any more.
    pub async fn removal(&self, component: &Component, inventory: &Inventory) -> Result<ComponentPlan, ApiFailure> {
        let leftovers = self.leftovers(component, inventory, &BTreeSet::new()).await?;
        Ok(ComponentPlan { component: component.clone(), objects: Vec::new(), leftovers, extra: Vec::new() })
    }

    /// Live objects with our labels, of the kinds that are declared or remembered: a few lists instead of a request
    /// for each object. A kind that may not be listed is asked object by object.
    async fn labelled(&self, built: &Built, inventory: &Inventory) -> Result<BTreeMap<ObjectKey, Value>, ApiFailure> {
        let mut places: BTreeMap<(ObjectKey, Arc<str>), Address> = BTreeMap::new();
        let wanted = built.objects.iter().map(|wanted| &wanted.address);
        for address in wanted.chain(inventory.entries().map(|entry| &entry.address)) {
            let place = ObjectKey { name: "".into(), ..address.key.clone() };
            places.entry((place, address.api_version.clone())).or_insert_with(|| address.clone());
        }
        let selector = self.whose.selector();
        let places: Vec<Address> = places.into_values().collect();
        let lists: Vec<_> = places.iter().map(|address| self.applier.list(address, &selector).boxed()).collect();
        let mut found = BTreeMap::new();
        for (listed, address) in some_at_a_time(lists).await.into_iter().zip(&places) {
            match listed {
                Ok(items) => found.extend(items.into_iter().map(|item| (key_of(address, &item), item))),
                Err(ApiFailure::Forbidden(_) | ApiFailure::NotFound(_) | ApiFailure::UnknownKind(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(found)
    }

    async fn object(
        &self,
        component: &Component,
        wanted: &Arc<Wanted>,
        entry: Option<&Entry>,
        listed: Option<Value>,
    ) -> Result<Planned, ApiFailure> {
        let live = match listed {
            Some(live) => Some(live),
            None => match self.applier.get(&wanted.address).await {
                Ok(live) => live,
                Err(failure) if failure.is_about_object() => return Ok(refused(wanted, None, failure)),
                Err(failure) => return Err(failure.at(&wanted.address.key)),
            },
        };
        let planned = match live {
            None => self.missing(wanted).await,
            Some(live) => self.existing(component, wanted, entry, live).await,
        };
        match planned {
            Ok(planned) => Ok(Planned { was_applied: judge::was_applied(&planned, entry), ..planned }),
            Err(failure) if failure.is_about_object() => Ok(refused(wanted, None, failure)),
            Err(failure) => Err(failure.at(&wanted.address.key)),
        }
    }

    async fn missing(&self, wanted: &Arc<Wanted>) -> Result<Planned, ApiFailure> {
        let checked = match self.applier.dry_run(&wanted.address, &wanted.body, Force::No).await {
            Ok(_) => true,
            Err(failure) if self.promised.excuses(&wanted.address.key, &failure) => false,
            Err(failure) => return Err(failure),
        };
        Ok(plain(wanted, None, Action::Create { checked }))
    }

    /// An object that is there. Where it is ours or becomes it, two dry runs at most: the second when fields are left to
    /// others.
    async fn existing(
        &self,
        component: &Component,
        wanted: &Arc<Wanted>,
        entry: Option<&Entry>,
        live: Value,
    ) -> Result<Planned, ApiFailure> {
        let key = &wanted.address.key;
        let standing = Standing::of((self.whose, component), key, entry, &live, self.claims);
        if let Standing::Foreign(keeper) = standing {
            return Ok(plain(wanted, Some(live), Action::Foreign(keeper)));
        }
        let mut body = wanted.body.clone();
        for pointer in ignored(&component.ignore, key) {
            let path = path::of_pointer(&pointer, &live);
            path::keep_live(&mut body, &live, &path);
        }
        // Somebody who deletes and makes it anew meanwhile gets a conflict and not our fields.
        body["metadata"]["uid"] = live.pointer("/metadata/uid").cloned().unwrap_or(Value::Null);
        let mut changes = self.changes(wanted, &live, &body).await?;
        // What a person's tool declares is taken over with the object.
        let adopts = standing == Standing::Adopted;
        let insists = |owner: &Owner| owner.insists() && !(adopts && owner.is_tool());
        let (mut yields, kept): (Vec<Told>, Vec<Told>) =
            changes.into_iter().partition(|told| told.owners.iter().any(insists));
        changes = kept;
        // A value that is shared with them is not ours to name.
        yields.iter_mut().for_each(|told| told.owners.retain(|owner| !owner.is_ours()));
        if !yields.is_empty() {
            let paths: Vec<&Path> = yields.iter().map(|told| &told.change.path).collect();
            paths.into_iter().for_each(|path| path::keep_live(&mut body, &live, path));
            changes = self.changes(wanted, &live, &body).await?;
        }
        let action = match standing {
            Standing::Adopted => Action::Adopt,
            Standing::From(other) => Action::Move(other),
            Standing::Foreign(keeper) => Action::Foreign(keeper),
            Standing::Ours if changes.is_empty() => Action::Unchanged,
            Standing::Ours => Action::Update,
        };
        Ok(Planned { body, changes, yields, ..plain(wanted, Some(live), action) })
    }

    async fn changes(&self, wanted: &Wanted, live: &Value, body: &Value) -> Result<Vec<Told>, ApiFailure> {
        let after = self.applier.dry_run(&wanted.address, body, Force::Yes).await?;
        let told = |change: Change| Told { owners: fields::owners_of(live, &change.path), change };
        Ok(diff::diff(live, &after).into_iter().map(told).collect())
    }

    /// What becomes of what a component has and does not declare.
    pub async fn leftovers(
        &self,
        component: &Component,
        inventory: &Inventory,
        declared: &BTreeSet<&ObjectKey>,
    ) -> Result<Vec<Leftover>, ApiFailure> {
        let mut entries = inventory.left_over(declared);
        entries.sort_by(|a, b| deletion_order(a).cmp(&deletion_order(b)));
        let rules = (component.prune, component.retain);
        let looks: Vec<_> = entries.iter().map(|entry| self.fate(entry, rules).boxed()).collect();
        let fates = some_at_a_time(looks).await;
        entries.into_iter().zip(fates).map(|(entry, fate)| Ok(Leftover { entry, fate: fate? })).collect()
    }

    /// What becomes of one object now.
    pub async fn fate(&self, entry: &Entry, rules: (bool, bool)) -> Result<Fate, ApiFailure> {
        let live = self.applier.get(&entry.address).await;
        let live = live.map_err(|failure| failure.at(&entry.address.key))?;
        if live.is_none() {
            match self.applier.is_gone(&entry.address).await {
                Ok(()) => {}
                Err(old @ ApiFailure::OldVersion(_)) => return Ok(Fate::NotServed(old)),
                Err(failure) => return Err(failure),
            }
        }
        Ok(fate(self.whose, entry, live.as_ref(), self.claims, rules))
    }
}

/// The answers in the order of the questions, [`PARALLEL`] of them under way.
async fn some_at_a_time<T>(questions: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    futures::stream::iter(questions).buffered(PARALLEL).collect().await
}

/// The reverse of applying: webhooks first, definitions last, so that custom objects go before what defines them.
fn deletion_order(entry: &Entry) -> (std::cmp::Reverse<super::waves::Wave>, bool, &ObjectKey) {
    let key = &entry.address.key;
    (std::cmp::Reverse(super::waves::Wave::of(key)), is_retained(key), key)
}

fn key_of(address: &Address, item: &Value) -> ObjectKey {
    let text = |key: &str| item.pointer("/metadata").and_then(|meta| meta.get(key)?.as_str()).unwrap_or_default();
    // A cluster-scoped custom object stands in its component's namespace until the server is asked.
    let namespace = if text("namespace").is_empty() { &*address.key.namespace } else { text("namespace") };
    ObjectKey { name: text("name").into(), namespace: namespace.into(), ..address.key.clone() }
}

fn ignored<'a>(rules: &'a [Ignore], key: &ObjectKey) -> impl Iterator<Item = String> + use<'a> {
    let matches = |rule: &&Ignore| rule.kind == *key.kind && rule.name.as_ref().is_none_or(|name| **name == *key.name);
    let rules: Vec<&Ignore> = rules.iter().filter(matches).collect();
    let is_secret = is_secret(key);
    // A Secret's texts are sent as its data.
    rules.into_iter().flat_map(|rule| &rule.paths).map(move |path| match path.strip_prefix("/stringData") {
        Some(rest) if is_secret && (rest.is_empty() || rest.starts_with('/')) => format!("/data{rest}"),
        _ => path.clone(),
    })
}

fn plain(wanted: &Arc<Wanted>, live: Option<Value>, action: Action) -> Planned {
    Planned {
        wanted: wanted.clone(),
        body: wanted.body.clone(),
        live,
        action,
        changes: Vec::new(),
        yields: Vec::new(),
        was_applied: false,
    }
}

fn refused(wanted: &Arc<Wanted>, live: Option<Value>, failure: ApiFailure) -> Planned {
    let failure = match failure {
        ApiFailure::Invalid(words) if words.contains("immutable") || words.contains("may not change") => {
            ApiFailure::Invalid(format!(
                "{words}; a field that cannot change means a new object: delete {} yourself, then apply",
                wanted.address.key
            ))
        }
        other => other,
    };
    plain(wanted, live, Action::Refused(failure))
}

/// The plan as JSON: what `--format json` prints.
pub fn to_json(plan: &ComponentPlan) -> Value {
    let told = |kind: &str, told: &Told| {
        json!({"path": told.change.path.to_string(),
            "before": diff::shown(kind, &told.change.path, told.change.before.as_ref()),
            "after": diff::shown(kind, &told.change.path, told.change.after.as_ref()),
            "owners": told.owners.iter().map(ToString::to_string).collect::<Vec<_>>()})
    };
    let object = |planned: &Planned| {
        let kind = &*planned.wanted.address.key.kind;
        json!({"object": planned.wanted.address.key.to_string(), "apiVersion": &*planned.wanted.address.api_version,
            "action": planned.action.as_str(),
            "from": match &planned.action { Action::Move(component) => Some(component), _ => None },
            "message": match &planned.action { Action::Refused(failure) => Some(failure.to_string()), _ => None },
            "changes": planned.changes.iter().map(|change| told(kind, change)).collect::<Vec<_>>(),
            "leftToOthers": planned.yields.iter().map(|change| told(kind, change)).collect::<Vec<_>>()})
    };
    let leftover = |leftover: &Leftover| {
        let key = &leftover.entry.address.key;
        let takes = matches!(leftover.fate, Fate::Delete(_)).then(|| goes_with(key)).flatten();
        json!({"object": key.to_string(), "action": judge::fate_word(&leftover.fate), "goesWithIt": takes})
    };
    json!({
        "objects": plan.objects.iter().map(object).collect::<Vec<_>>(),
        "leftovers": plan.leftovers.iter().map(leftover).collect::<Vec<_>>(),
        "extra": plan.extra.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
