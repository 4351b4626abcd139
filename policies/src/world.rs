//! What else is known: service accounts, network policies, namespaces and owners, and what of them could not be seen.

mod covers;
mod selector;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use portreeve_reports::source::node::{Entry, Map};
use portreeve_reports::source::{Node, Value};
use portreeve_reports::{Cause, Owner};

use crate::object::Object;
use crate::workload::{pod_template, template_path};

pub use covers::covers;
pub use selector::selector_matches;

/// Owner references are followed this far: Pod, ReplicaSet, Deployment, and room for what controls those.
const OWNER_STEPS: usize = 8;

/// What is known of a related object.
#[derive(Clone, Debug, PartialEq)]
pub enum Known<T> {
    /// It is there.
    Found(T),
    /// It is not there; the place where it would be was looked at.
    Absent,
    /// It could not be looked for.
    Hidden(Cause),
}

/// The kinds of objects that a judgement may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelatedKind {
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `networking.k8s.io` NetworkPolicy.
    NetworkPolicy,
    /// `v1` Namespace: its labels.
    Namespace,
    /// Everything with a pod template but Pods.
    Workload,
}

impl RelatedKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::ServiceAccount, Self::NetworkPolicy, Self::Namespace, Self::Workload];

    /// What an object is to others; `None` for kinds that no judgement of another object depends on.
    pub fn of(object: &Object) -> Option<Self> {
        match (object.group(), &*object.kind) {
            ("", "ServiceAccount") => Some(Self::ServiceAccount),
            ("", "Namespace") => Some(Self::Namespace),
            ("", "Pod") => None,
            ("networking.k8s.io" | "extensions", "NetworkPolicy") => Some(Self::NetworkPolicy),
            (group, kind) => template_path(group, kind).map(|_| Self::Workload),
        }
    }
}

/// Related objects by namespace. Clones share what they hold; a change copies the namespace it is in and no other.
#[derive(Clone, Debug, Default)]
pub struct World {
    namespaces: Arc<HashMap<Arc<str>, Arc<Namespace>>>,
    hidden: [Option<Cause>; RelatedKind::ALL.len()],
}

#[derive(Clone, Debug, Default)]
struct Namespace {
    service_accounts: HashMap<Arc<str>, Node>,
    network_policies: BTreeMap<Arc<str>, Node>,
    labels: Option<Node>,
    /// By kind and name.
    workloads: HashMap<(Arc<str>, Arc<str>), Arc<Object>>,
}

impl Namespace {
    fn is_empty(&self) -> bool {
        self.service_accounts.is_empty()
            && self.network_policies.is_empty()
            && self.labels.is_none()
            && self.workloads.is_empty()
    }
}

impl World {
    /// The world of files: what they do not hold is absent, or hidden when they are declared to be a part of it.
    ///
    /// The `default` ServiceAccount that every namespace of a cluster has is absent too unless a file holds it;
    /// whether that means its defaults is for the rule to say.
    pub fn of_files(objects: &[Object], partial: bool) -> Self {
        let hidden = partial.then_some(Cause::PartialInput);
        let mut world = Self { hidden: [hidden; RelatedKind::ALL.len()], ..Self::default() };
        for object in objects {
            world.insert(object);
        }
        world
    }

    /// A world of which nothing could be seen.
    pub fn empty(hidden: Cause) -> Self {
        Self { hidden: [Some(hidden); RelatedKind::ALL.len()], ..Self::default() }
    }

    /// Declares that a kind could not be listed, or not in full.
    pub fn hide(&mut self, kind: RelatedKind, cause: Cause) {
        self.hidden[kind as usize] = Some(cause);
    }

    /// Declares that a kind is listed in full again.
    pub fn reveal(&mut self, kind: RelatedKind) {
        self.hidden[kind as usize] = None;
    }

    /// Adds or replaces an object; keeps what judgements of others need of it. Other kinds are ignored.
    pub fn insert(&mut self, object: &Object) {
        let Some(kind) = RelatedKind::of(object) else { return };
        let space = self.space_mut(object, kind);
        let name = Arc::clone(&object.name);
        match kind {
            RelatedKind::ServiceAccount => {
                space.service_accounts.insert(name, slim(&object.root, &["automountServiceAccountToken"]));
            }
            RelatedKind::NetworkPolicy => {
                space.network_policies.insert(name, slim(&object.root, &["spec"]));
            }
            RelatedKind::Namespace => {
                let labels = object.root.at(["metadata", "labels"]).filter(|node| node.as_map().is_some());
                space.labels = Some(labels.cloned().unwrap_or_else(empty_map));
            }
            RelatedKind::Workload => {
                let key = (Arc::clone(&object.kind), name);
                space.workloads.insert(key, Arc::new(slim_workload(object)));
            }
        }
    }

    /// Removes an object.
    pub fn remove(&mut self, object: &Object) {
        let Some(kind) = RelatedKind::of(object) else { return };
        let space = self.space_mut(object, kind);
        match kind {
            RelatedKind::ServiceAccount => drop(space.service_accounts.remove(&object.name)),
            RelatedKind::NetworkPolicy => drop(space.network_policies.remove(&object.name)),
            RelatedKind::Namespace => space.labels = None,
            RelatedKind::Workload => {
                let key = (Arc::clone(&object.kind), Arc::clone(&object.name));
                space.workloads.remove(&key);
            }
        }
        if space.is_empty() {
            Arc::make_mut(&mut self.namespaces).remove(home(object, kind));
        }
    }

    /// A service account: its metadata and `automountServiceAccountToken`.
    pub fn service_account(&self, namespace: &str, name: &str) -> Known<Node> {
        let found = self.namespaces.get(namespace).and_then(|space| space.service_accounts.get(name).cloned());
        self.known(RelatedKind::ServiceAccount, found)
    }

    /// All network policies of a namespace: metadata and spec; found and empty when there are none. Hidden unless all
    /// can be seen: one more could select any pod.
    pub fn network_policies(&self, namespace: &str) -> Known<Vec<Node>> {
        if let Some(cause) = self.hidden[RelatedKind::NetworkPolicy as usize] {
            return Known::Hidden(cause);
        }
        let space = self.namespaces.get(namespace);
        Known::Found(space.map(|space| space.network_policies.values().cloned().collect()).unwrap_or_default())
    }

    /// The labels of a namespace, as a map.
    pub fn namespace_labels(&self, namespace: &str) -> Known<Node> {
        let found = self.namespaces.get(namespace).and_then(|space| space.labels.clone());
        self.known(RelatedKind::Namespace, found)
    }

    /// The topmost controller that is known: a Pod's Deployment when its ReplicaSet can be seen, else the controller
    /// that the object itself names. `None` for an object that nothing controls.
    pub fn top_owner(&self, object: &Object) -> Option<Owner> {
        let mut owner = object.controller.clone()?;
        for _ in 0..OWNER_STEPS {
            match self.owner_object(&object.namespace, &owner).and_then(|next| next.controller.clone()) {
                Some(next) => owner = next,
                None => break,
            }
        }
        Some(owner)
    }

    /// Of a Pod: the workload whose template it came from and under whose name it is judged, the topmost one that
    /// is known.
    pub fn owner_template(&self, object: &Object) -> Known<Arc<Object>> {
        let Some(mut owner) = object.controller.clone() else { return Known::Absent };
        let mut found = None;
        for _ in 0..OWNER_STEPS {
            let Some(next) = self.owner_object(&object.namespace, &owner) else { break };
            let controller = next.controller.clone();
            found = Some(Arc::clone(next)).filter(|object| pod_template(object).is_some()).or(found);
            match controller {
                Some(controller) => owner = controller,
                None => break,
            }
        }
        self.known(RelatedKind::Workload, found)
    }

    fn owner_object(&self, namespace: &str, owner: &Owner) -> Option<&Arc<Object>> {
        template_path(&owner.group, &owner.kind)?;
        let key = (owner.kind.as_str().into(), owner.name.as_str().into());
        self.namespaces.get(namespace)?.workloads.get(&key)
    }

    fn known<T>(&self, kind: RelatedKind, found: Option<T>) -> Known<T> {
        match (found, self.hidden[kind as usize]) {
            (Some(found), _) => Known::Found(found),
            (None, Some(cause)) => Known::Hidden(cause),
            (None, None) => Known::Absent,
        }
    }

    fn space_mut(&mut self, object: &Object, kind: RelatedKind) -> &mut Namespace {
        let spaces = Arc::make_mut(&mut self.namespaces);
        Arc::make_mut(spaces.entry(Arc::clone(home(object, kind))).or_default())
    }
}

/// The namespace that an object says something about.
fn home(object: &Object, kind: RelatedKind) -> &Arc<str> {
    if kind == RelatedKind::Namespace { &object.name } else { &object.namespace }
}

/// Metadata without its history, and some fields.
fn slim(root: &Node, fields: &[&str]) -> Node {
    pick(root, |key| ["apiVersion", "kind"].contains(&key) || fields.contains(&key), Some(&slim_metadata(root)))
}

fn slim_metadata(root: &Node) -> Node {
    let metadata = root.get("metadata").cloned().unwrap_or_else(empty_map);
    let annotations = metadata
        .get("annotations")
        .filter(|node| node.as_map().is_some())
        .map(|annotations| pick(annotations, |key| key != "kubectl.kubernetes.io/last-applied-configuration", None));
    let mut slim = pick(&metadata, |key| !["managedFields", "annotations"].contains(&key), None);
    if let (Some(annotations), Some(map)) = (annotations, slim.as_map()) {
        let mut entries: Vec<_> = map.iter().cloned().collect();
        entries.push(entry("annotations", annotations));
        slim = Node { value: Value::Map(Arc::new(Map::new(entries).unwrap_or_default())), place: slim.place };
    }
    slim
}

/// The entries of a map whose keys are kept, and metadata.
fn pick(root: &Node, keep: impl Fn(&str) -> bool, metadata: Option<&Node>) -> Node {
    let kept = root.as_map().into_iter().flat_map(Map::iter).filter(|entry| keep(&entry.key)).cloned();
    let entries = kept.chain(metadata.map(|metadata| entry("metadata", metadata.clone()))).collect();
    Node { value: Value::Map(Arc::new(Map::new(entries).unwrap_or_default())), place: root.place }
}

fn entry(key: &str, node: Node) -> Entry {
    Entry { key: key.into(), key_place: node.place, node }
}

fn empty_map() -> Node {
    Node { value: Value::Map(Arc::default()), ..Node::null() }
}

/// A workload without status and history; one that a Deployment or CronJob controls without its template too, which
/// is its owner's, as old ReplicaSets are many.
fn slim_workload(object: &Object) -> Object {
    let is_link = object.controller.as_ref().is_some_and(|owner| {
        matches!(
            (owner.group.as_str(), owner.kind.as_str()),
            ("apps" | "extensions", "Deployment") | ("batch", "CronJob")
        )
    });
    let fields: &[&str] = if is_link { &[] } else { &["spec", "template"] };
    Object { root: slim(&object.root, fields), ..object.clone() }
}

/// A map with the list at a key replaced; the map itself when there is no list.
fn change_list(node: &Node, key: &str, change: impl Fn(&[Node]) -> Vec<Node>) -> Node {
    let (Some(map), Some(list)) = (node.as_map(), node.get(key)) else { return node.clone() };
    let Some(items) = list.as_list() else { return node.clone() };
    let changed = Node { value: Value::List(Arc::new(change(items))), place: list.place };
    let entries = map.iter().map(|entry| {
        let node = if &*entry.key == key { changed.clone() } else { entry.node.clone() };
        Entry { node, ..entry.clone() }
    });
    Node { value: Value::Map(Arc::new(Map::new(entries.collect()).unwrap_or_default())), place: node.place }
}

fn change_items(node: &Node, key: &str, change: impl Fn(&Node) -> Node) -> Node {
    change_list(node, key, |items| items.iter().map(&change).collect())
}
