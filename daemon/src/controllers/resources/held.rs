//! The custom resources as the API server has them, and which of their kinds could be listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::Date;
use portreeve_reports::{Cause, Finding, SubjectKey};

use super::conditions::{Said, Statement, conditions_of};
use super::platforms::{About, Declared};
use crate::cluster::index::Item;
use crate::cluster::key::ObjectKey;
use crate::cluster::kinds::{RULE_KINDS, WatchedKind};
use crate::cluster::problem;
use crate::cluster::writer::Event;
use crate::judge::resources::{Account, Resource, ResourceId, Resources, RuleKind, subject};

/// Whether a kind's resources are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// Not yet.
    Waiting,
    /// All of them.
    Listed,
    /// They were listed, and the API server has been away since.
    Stale(String),
    /// They could not be listed; what was known before is kept.
    Hidden(Cause, String),
}

/// What only the status is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    about: About,
    said: Vec<Said>,
}

/// See the module.
pub(super) struct Held {
    resources: Arc<Resources>,
    seen: BTreeMap<ResourceId, Seen>,
    listings: BTreeMap<&'static str, Listing>,
    /// Kinds that were listed at least once.
    listed: BTreeSet<&'static str>,
}

impl Held {
    pub(super) fn new() -> Self {
        let listings = RULE_KINDS.iter().map(|kind| (kind.plural, Listing::Waiting)).collect();
        Self { resources: Arc::default(), seen: BTreeMap::new(), listings, listed: BTreeSet::new() }
    }

    /// Whether every kind was listed, or is known not to be listable.
    pub(super) fn is_heard(&self) -> bool {
        self.listings.values().all(|listing| *listing != Listing::Waiting)
    }

    /// Whether there may be image policies that were never seen: they may forbid what all others allow.
    pub(super) fn are_policies_hidden(&self) -> bool {
        !RULE_KINDS.iter().any(|kind| kind.kind == RuleKind::ImagePolicy.as_str() && self.listed.contains(kind.plural))
    }

    pub(super) fn resources(&self) -> Arc<Resources> {
        Arc::clone(&self.resources)
    }

    /// Folds events in; the resources that say something else than before.
    pub(super) fn fold(&mut self, events: impl Iterator<Item = Event>) -> BTreeSet<ResourceId> {
        let mut changed = BTreeSet::new();
        for event in events {
            match event {
                Event::Applied(item) => self.apply(item, &mut changed),
                Event::Deleted(key) => self.delete(&key, &mut changed),
                Event::Listed(kind, items) => {
                    self.reset(kind, items, &mut changed);
                    self.listed.insert(kind.plural);
                    drop(self.listings.insert(kind.plural, Listing::Listed));
                }
                Event::NotListed(kind, cause, why) => {
                    self.listings.insert(kind.plural, Listing::Hidden(cause, why));
                }
                Event::Away(kind, why) => {
                    self.listings.insert(kind.plural, Listing::Stale(why));
                }
                Event::FileRead(..) | Event::FileGone(..) | Event::FolderRead => {}
            }
        }
        changed
    }

    fn apply(&mut self, item: Item, changed: &mut BTreeSet<ResourceId>) {
        let Some(id) = id_of(&item.key()) else { return };
        let (resource, seen) = match &item {
            Item::Good(object, _) => {
                let metadata = object.root.get("metadata");
                let created = metadata.and_then(|it| it.get("creationTimestamp")?.as_str()).unwrap_or_default();
                let generation = metadata.and_then(|it| it.get("generation")?.as_int());
                let uid = metadata.and_then(|it| it.get("uid")?.as_str()).unwrap_or_default().to_owned();
                let resource = Resource::read(&id, created, Ok(&object.root));
                (resource, Seen { about: About { uid, generation }, said: conditions_of(&object.root) })
            }
            Item::Bad(_, problem) => (Resource::read(&id, "", Err(&problem.message)), Seen::default()),
        };
        self.seen.insert(id.clone(), seen);
        if self.resources.get(&id) != Some(&resource) {
            Arc::make_mut(&mut self.resources).insert(id.clone(), resource);
            changed.insert(id);
        }
    }

    fn delete(&mut self, key: &ObjectKey, changed: &mut BTreeSet<ResourceId>) {
        let Some(id) = id_of(key) else { return };
        self.seen.remove(&id);
        if Arc::make_mut(&mut self.resources).remove(&id).is_some() {
            changed.insert(id);
        }
    }

    fn reset(&mut self, kind: &WatchedKind, items: Vec<Item>, changed: &mut BTreeSet<ResourceId>) {
        let listed: BTreeSet<ObjectKey> = items.iter().map(Item::key).collect();
        let is_gone = |id: &&ResourceId| id.kind.as_str() == kind.kind && !listed.contains(&key_of(id));
        let gone: Vec<ObjectKey> = self.resources.keys().filter(is_gone).map(key_of).collect();
        gone.iter().for_each(|key| self.delete(key, changed));
        items.into_iter().for_each(|item| self.apply(item, changed));
    }

    /// What the platform of that name asks for.
    pub(super) fn declared(&self, name: &str, accounts: &BTreeMap<ResourceId, Account>) -> Declared {
        let id = ResourceId { kind: RuleKind::Platform, namespace: String::new(), name: name.to_owned() };
        if let (Some(resource), Some(account)) = (self.resources.get(&id), accounts.get(&id)) {
            let about = self.seen.get(&id).map(|seen| seen.about.clone()).unwrap_or_default();
            let spec = resource.platform().filter(|_| account.is_accepted());
            return match spec {
                Some(spec) => Declared::Spec { spec, about },
                None => Declared::Refused(format!("the Platform '{name}' cannot be used: {}", account.message)),
            };
        }
        let listing = RULE_KINDS.iter().find(|kind| kind.kind == RuleKind::Platform.as_str());
        match listing.and_then(|kind| self.listings.get(kind.plural)) {
            None | Some(Listing::Waiting) => Declared::Waiting,
            Some(Listing::Hidden(_, why)) => Declared::Nothing(format!("platforms could not be listed: {why}")),
            Some(Listing::Listed | Listing::Stale(_)) => {
                Declared::Nothing(format!("there is no Platform '{name}' in the cluster; what it had is left as it is"))
            }
        }
    }

    /// What is to be said, as of this day.
    pub(super) fn heard(&self, accounts: &BTreeMap<ResourceId, Account>, today: Date) -> Heard {
        let statement = |(id, seen): (&ResourceId, &Seen)| {
            let account = accounts.get(id)?;
            let about = (seen.about.clone(), seen.said.clone());
            Some((id.clone(), Statement::new((id.kind, account), about, today)))
        };
        Heard { statements: self.seen.iter().filter_map(statement).collect(), listings: self.listings.clone() }
    }
}

/// What is to be said about the resources and their kinds.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub(super) statements: BTreeMap<ResourceId, Statement>,
    pub(super) listings: BTreeMap<&'static str, Listing>,
}

impl Heard {
    /// Whether a kind is listed, as a finding.
    pub(super) fn finding_of_kind(&self, plural: &str) -> Option<Finding> {
        let kind = RULE_KINDS.iter().find(|kind| kind.plural == plural)?;
        match self.listings.get(plural)? {
            Listing::Waiting => None,
            Listing::Listed => problem::kind_listed(kind),
            Listing::Stale(why) => problem::kind_not_followed(kind, why),
            Listing::Hidden(cause, why) => problem::kind_not_listed(kind, *cause, why),
        }
    }

    /// Whether the subject is one of the resources, or a kind of them.
    pub(super) fn is_known(&self, key: &SubjectKey) -> bool {
        RULE_KINDS.iter().any(|kind| problem::kind_subject(kind).key() == *key)
            || self.statements.keys().any(|id| subject(id).key() == *key)
    }

    /// Whether a subject that is not known is proven not to exist: its kind was listed.
    pub(super) fn is_proven_absent(&self, key: &SubjectKey) -> bool {
        let kind = key.0.split('\u{1f}').nth(2).unwrap_or_default();
        let kind = RULE_KINDS.iter().find(|known| known.kind == kind);
        kind.is_some_and(|kind| self.listings.get(kind.plural) == Some(&Listing::Listed)) && !self.is_known(key)
    }
}

fn id_of(key: &ObjectKey) -> Option<ResourceId> {
    let kind = RuleKind::of(&key.kind)?;
    Some(ResourceId { kind, namespace: key.namespace.to_string(), name: key.name.to_string() })
}

fn key_of(id: &ResourceId) -> ObjectKey {
    ObjectKey {
        group: portreeve_api::GROUP.into(),
        kind: id.kind.as_str().into(),
        namespace: id.namespace.as_str().into(),
        name: id.name.as_str().into(),
    }
}
