//! The index: every object of the cluster by key, grouped by the subject that its findings are about, and the world
//! that rules ask. Pure: events in, changes out; [`super::writer`] is the only one that changes it.
//!
//! * A Pod belongs to the subject of its topmost known owner. An object that its owner's template covers is not
//!   judged again; its images still run, so it stays in the index.
//! * A bad object is data: it has a key and a finding, keeps what was known of it, and its delete is honoured.
//! * A subject without members is proven to be deleted; a kind that could not be listed proves nothing.

mod anchors;
mod listings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portreeve_policies::object::{Object, Unreadable};
use portreeve_policies::world::{RelatedKind, World};
use portreeve_reports::{Cause, Finding, ObjectRef, Subject, SubjectKey};
use portreeve_secrets::credentials::{self, Credential, Values};

use crate::cluster::covered;
use crate::cluster::feed::Change;
use crate::cluster::key::ObjectKey;
use crate::cluster::kinds::{KINDS, WatchedKind};
use crate::cluster::problem;
use crate::judge::secrets::EncryptedFile;

use anchors::Anchor;
use listings::Listing;

/// How far owners are followed. Kubernetes' own chains have three links (CronJob, Job, Pod).
const MAX_OWNERS: usize = 8;

/// An object that was read, or that could not be.
#[derive(Clone, Debug)]
pub enum Item {
    /// It was read. Of a Secret there is no data any more, only what credentials were in it.
    Good(Box<Object>, Vec<Credential>),
    /// It could not be read, but its identity could.
    Bad(ObjectKey, Box<Unreadable>),
}

impl Item {
    /// An object that was read. Here the data of a Secret end: nothing behind this line has a value.
    pub fn good(mut object: Object, values: Values) -> Self {
        let holder = object.reference(object.controller.clone());
        let credentials = credentials::inspect(&holder, &object.root, object.origin.file.as_ref(), values);
        if object.group().is_empty() && &*object.kind == "Secret" {
            object.root = credentials::redacted(&object.root);
        }
        Self::Good(Box::new(object), credentials)
    }

    /// The key of the object.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Good(object, _) => ObjectKey::of(object),
            Self::Bad(key, _) => key.clone(),
        }
    }
}

/// The credentials of an object.
#[derive(Clone, Debug)]
pub struct HeldCredentials {
    /// Those that were seen.
    pub credentials: Arc<[Credential]>,
    /// Whether all of the object was looked into, so that what is not among them is proven not to be there.
    pub is_whole: bool,
}

/// What to judge of a subject, and what is known without judging.
#[derive(Clone, Debug, Default)]
pub struct SubjectState {
    /// The objects to judge together.
    pub objects: Vec<Object>,
    /// What could not be read (`unknown`), or that everything was (`pass`).
    pub findings: Vec<Finding>,
    /// The file that the subject is, where sops encrypted it.
    pub encrypted: Option<Arc<EncryptedFile>>,
}

#[derive(Debug)]
struct Held {
    /// The last version that could be read.
    object: Option<Arc<Object>>,
    /// What credentials were in that version.
    credentials: Arc<[Credential]>,
    /// Why the present version could not be.
    problem: Option<Unreadable>,
    subject: SubjectKey,
}

/// See the module.
#[derive(Debug)]
pub struct Index {
    objects: HashMap<ObjectKey, Held>,
    members: HashMap<SubjectKey, BTreeSet<ObjectKey>>,
    anchors: BTreeMap<SubjectKey, Anchor>,
    owned: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    namespaces: HashMap<Arc<str>, BTreeSet<ObjectKey>>,
    listings: BTreeMap<&'static str, Listing>,
    /// Kinds of whose objects no value is read.
    hidden_values: BTreeSet<&'static str>,
    /// Files of which something could not be read: any object may be in them.
    unread: BTreeSet<SubjectKey>,
    world: World,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An index that knows nothing: what rules ask about related objects is unknown until their kind is listed.
    pub fn new() -> Self {
        Self {
            objects: HashMap::new(),
            members: HashMap::new(),
            anchors: BTreeMap::new(),
            owned: HashMap::new(),
            namespaces: HashMap::new(),
            listings: KINDS.iter().map(|kind| (kind.plural, Listing::Waiting)).collect(),
            hidden_values: BTreeSet::new(),
            unread: BTreeSet::new(),
            world: World::empty(Cause::Unreachable),
        }
    }

    /// What else is known: a cheap copy.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The object of that key, as it was last read.
    pub fn object(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)?.object.as_ref()
    }

    /// The credentials of that object, as it was last read; `None` for one that is not there.
    pub fn credentials(&self, key: &ObjectKey) -> Option<HeldCredentials> {
        let held = self.objects.get(key)?;
        let kind = WatchedKind::find(&key.group, &key.kind).map(|kind| kind.plural);
        let are_hidden = kind.is_some_and(|plural| self.hidden_values.contains(plural));
        let is_whole = held.problem.is_none() && !are_hidden && !held.credentials.iter().any(Credential::is_stand_in);
        Some(HeldCredentials { credentials: Arc::clone(&held.credentials), is_whole })
    }

    /// The credentials of all objects.
    pub fn all_credentials(&self) -> Vec<Credential> {
        self.objects.values().flat_map(|held| held.credentials.iter().cloned()).collect()
    }

    /// The object as a subject.
    pub fn reference(&self, object: &Object) -> ObjectRef {
        object.reference(self.world.top_owner(object))
    }

    /// All subjects and all objects.
    pub fn everything(&self) -> Change {
        let subjects = self.members.keys().chain(self.anchors.keys()).cloned().collect();
        Change { subjects, objects: self.objects.keys().cloned().collect() }
    }

    /// What to judge of a subject; `None` when nothing of it exists.
    pub fn subject(&self, subject: &SubjectKey) -> Option<SubjectState> {
        let anchor = self.anchors.get(subject);
        let members = self.members.get(subject);
        if anchor.is_none() && members.is_none() {
            return None;
        }
        let mut state = SubjectState::default();
        let held = members.into_iter().flatten().filter_map(|key| self.objects.get(key));
        held.for_each(|held| self.add_member(held, &mut state));
        if let Some(anchor) = anchor {
            state.findings.extend(anchor.findings());
            state.encrypted.clone_from(&anchor.encrypted);
        }
        Some(state)
    }

    fn add_member(&self, held: &Held, state: &mut SubjectState) {
        match (&held.problem, &held.object) {
            (Some(problem), object) => {
                let known = object.as_ref().map(|object| self.reference(object));
                let identity = known.or_else(|| problem.identity.as_deref().cloned());
                state.findings.push(Unreadable { identity: identity.map(Box::new), ..problem.clone() }.finding());
            }
            (None, Some(object)) => {
                state.findings.extend(problem::readable(Subject::Object(self.reference(object))));
                if !self.is_covered(object) {
                    state.objects.push(Object::clone(object));
                }
            }
            (None, None) => {}
        }
    }

    /// Whether the object is what its owner's template says, and so judged with its owner.
    pub fn is_covered(&self, object: &Object) -> bool {
        covered::is_covered(object, &self.world)
    }

    /// Whether a subject of the store is proven not to exist: nothing of it is here, and all that could be was listed.
    /// While a file cannot be read it may be in there: which file it was in last time is not known. Images are not answered here: they exist by being used.
    pub fn is_proven_absent(&self, subject: &SubjectKey) -> bool {
        let mut parts = subject.0.split('\u{1f}');
        let listed = match (parts.next(), parts.next(), parts.next()) {
            (Some("object"), Some(group), Some(kind)) => self.is_listed(WatchedKind::find(group, kind)),
            (Some("file"), ..) => self.is_listed(None),
            _ => false,
        };
        listed && self.unread.is_empty() && !self.is_known(subject)
    }

    /// Whether something of the subject exists: an object, a file, a kind.
    pub fn is_known(&self, subject: &SubjectKey) -> bool {
        self.members.contains_key(subject) || self.anchors.contains_key(subject)
    }

    /// An object is there, new or changed.
    pub fn apply(&mut self, item: Item) -> Change {
        let mut change = Change::default();
        match item {
            Item::Good(object, credentials) => self.apply_good(*object, credentials, &mut change),
            Item::Bad(key, problem) => self.apply_bad(key, *problem, &mut change),
        }
        change
    }

    fn apply_good(&mut self, object: Object, credentials: Vec<Credential>, change: &mut Change) {
        let key = ObjectKey::of(&object);
        let before = self.objects.get(&key);
        if before.is_some_and(|held| is_same(held, &object, &credentials)) {
            return;
        }
        self.forget_object(&key);
        self.world.insert(&object);
        if let Some(owner) = ObjectKey::of_controller(&object) {
            self.owned.entry(owner).or_default().insert(key.clone());
        }
        let object = Some(Arc::new(object));
        self.hold(&key, |held| {
            held.object = object;
            held.credentials = credentials.into();
            held.problem = None;
        });
        self.changed(&key, change);
    }

    fn apply_bad(&mut self, key: ObjectKey, problem: Unreadable, change: &mut Change) {
        let is_same = self.objects.get(&key).is_some_and(|held| held.problem.as_ref() == Some(&problem));
        if !is_same {
            self.hold(&key, |held| held.problem = Some(problem));
            self.changed(&key, change);
        }
    }

    fn hold(&mut self, key: &ObjectKey, set: impl FnOnce(&mut Held)) {
        let held = self.objects.entry(key.clone()).or_insert_with(|| Held {
            object: None,
            credentials: Arc::default(),
            problem: None,
            subject: SubjectKey(String::new()),
        });
        set(held);
        self.namespaces.entry(Arc::clone(&key.namespace)).or_default().insert(key.clone());
    }

    /// An object is gone.
    pub fn delete(&mut self, key: &ObjectKey) -> Change {
        let mut change = Change::default();
        self.forget_object(key);
        if let Some(held) = self.objects.remove(key) {
            self.leave(&held.subject, key);
            if let Some(keys) = self.namespaces.get_mut(&key.namespace) {
                keys.remove(key);
                if keys.is_empty() {
                    self.namespaces.remove(&key.namespace);
                }
            }
            change.subjects.insert(held.subject);
            self.changed(key, &mut change);
        }
        change
    }

    /// All objects of a kind, after a list: what is not among them is gone.
    pub fn reset(&mut self, kind: &'static WatchedKind, items: Vec<Item>) -> Change {
        let listed: BTreeSet<ObjectKey> = items.iter().map(Item::key).collect();
        let is_gone = |key: &&ObjectKey| *key.group == *kind.group && *key.kind == *kind.kind && !listed.contains(*key);
        let gone: Vec<ObjectKey> = self.objects.keys().filter(is_gone).cloned().collect();
        let mut change = Change::default();
        gone.iter().for_each(|key| change.merge(self.delete(key)));
        items.into_iter().for_each(|item| change.merge(self.apply(item)));
        change.merge(self.listed(kind));
        change
    }

    /// Takes the last readable version out of the world and out of its owner's list.
    fn forget_object(&mut self, key: &ObjectKey) {
        let Some(object) = self.objects.get_mut(key).and_then(|held| held.object.take()) else { return };
        self.world.remove(&object);
        let Some(owner) = ObjectKey::of_controller(&object) else { return };
        if let Some(owned) = self.owned.get_mut(&owner) {
            owned.remove(key);
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
        }
    }

    /// An object came, changed or went: its subject, what it owns, and what asks about it are looked at again.
    fn changed(&mut self, key: &ObjectKey, change: &mut Change) {
        change.objects.insert(key.clone());
        for affected in self.with_owned(key) {
            self.regroup(&affected, change);
        }
        for neighbour in self.neighbours(key) {
            change.subjects.extend(self.objects.get(&neighbour).map(|held| held.subject.clone()));
        }
    }

    /// The object and everything below it. Owner references are written by tenants: they may form a ring, so that
    /// depth is bounded and no key is visited twice.
    fn with_owned(&self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let mut all = BTreeSet::from([key.clone()]);
        let mut level = vec![key.clone()];
        for _ in 0..MAX_OWNERS {
            let below: Vec<ObjectKey> = level.iter().filter_map(|key| self.owned.get(key)).flatten().cloned().collect();
            level = below.into_iter().filter(|key| all.insert(key.clone())).collect();
        }
        all
    }

    /// Moves an object to the subject it belongs to now, and marks both.
    fn regroup(&mut self, key: &ObjectKey, change: &mut Change) {
        let Some(held) = self.objects.get(key) else { return };
        let identity = match (&held.object, &held.problem) {
            (Some(object), _) => self.reference(object),
            (None, Some(Unreadable { identity: Some(identity), .. })) => identity.as_ref().clone(),
            (None, _) => ObjectRef::default(),
        };
        let (before, now) = (held.subject.clone(), Subject::Object(identity).key());
        if before != now {
            self.leave(&before, key);
            if !before.0.is_empty() {
                change.subjects.insert(before);
            }
            self.members.entry(now.clone()).or_default().insert(key.clone());
            if let Some(held) = self.objects.get_mut(key) {
                held.subject = now.clone();
            }
        }
        change.subjects.insert(now);
    }

    fn leave(&mut self, subject: &SubjectKey, key: &ObjectKey) {
        if let Some(members) = self.members.get_mut(subject) {
            members.remove(key);
            if members.is_empty() {
                self.members.remove(subject);
            }
        }
    }

    /// The objects whose rules ask about this one: all of its namespace. Owners are asked about by what they own,
    /// which is looked at anyway.
    fn neighbours(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        let related = WatchedKind::find(&key.group, &key.kind).and_then(|kind| kind.related);
        let namespace = match related {
            Some(RelatedKind::ServiceAccount | RelatedKind::NetworkPolicy) => &key.namespace,
            Some(RelatedKind::Namespace) => &key.name,
            Some(RelatedKind::Workload) | None => return Vec::new(),
        };
        self.namespaces.get(namespace).into_iter().flatten().cloned().collect()
    }
}

/// Whether nothing that is judged is other. Places in files are part of findings.
fn is_same(held: &Held, object: &Object, credentials: &[Credential]) -> bool {
    let before = held.object.as_ref().filter(|_| held.problem.is_none() && *held.credentials == *credentials);
    before.is_some_and(|before| {
        before.root == object.root && before.origin == object.origin && object.origin.file.is_none()
    })
}

#[cfg(test)]
mod tests;
