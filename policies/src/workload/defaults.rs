//! The API server's defaults for the fields that rules read (Kubernetes pkg/apis/core/v1/defaults.go), so that a file
//! and the object that the API server makes of it are judged alike.

use std::sync::Arc;

use portreeve_reports::source::node::{Entry, Map};
use portreeve_reports::source::{Node, Place, Value};

use super::{ContainerKind, PodTemplate};
use crate::image::ImageReference;

/// The pod spec with defaults filled in; they stand at the place of the container or list item that they belong to.
pub fn defaulted(template: &PodTemplate<'_>) -> Node {
    let mut spec = Draft::of(template.spec);
    let account = spec.text("serviceAccountName").or_else(|| spec.text("serviceAccount"));
    let account = account.unwrap_or_else(|| "default".into());
    spec.default("serviceAccountName", Value::String(account));
    spec.default("securityContext", Value::Map(Arc::default()));
    let uses_host_network = template.spec.get("hostNetwork").and_then(Node::as_bool) == Some(true);
    for kind in ContainerKind::ALL {
        spec.change_items(kind.list(), |container| default_container(container, uses_host_network));
    }
    spec.finish()
}

fn default_container(container: &Node, uses_host_network: bool) -> Node {
    let mut draft = Draft::of(container);
    let image = draft.text("image").unwrap_or_default();
    draft.default("imagePullPolicy", Value::String(pull_policy(&image).into()));
    draft.change_items("ports", |port| default_port(port, uses_host_network));
    if let Some(resources) = container.get("resources").filter(|node| node.as_map().is_some()) {
        draft.set("resources", default_resources(resources));
    }
    draft.finish()
}

/// The tag decides alone: a digest beside `latest` does not stop the kubelet from asking again.
fn pull_policy(image: &str) -> &'static str {
    let Ok(reference) = ImageReference::parse(image) else { return "IfNotPresent" };
    match (reference.tag.as_deref(), reference.digest) {
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn default_port(port: &Node, uses_host_network: bool) -> Node {
    let mut draft = Draft::of(port);
    draft.default("protocol", Value::String("TCP".into()));
    let container_port = port.get("containerPort").and_then(Node::as_int);
    if let Some(number) = container_port.filter(|_| uses_host_network) {
        if draft.get("hostPort").and_then(Node::as_int) == Some(0) {
            draft.remove("hostPort");
        }
        draft.default("hostPort", Value::Int(number));
    }
    draft.finish()
}

/// A resource with a limit and no request is requested up to its limit.
fn default_resources(resources: &Node) -> Node {
    let mut draft = Draft::of(resources);
    let Some(limits) = resources.get("limits").and_then(Node::as_map).filter(|limits| !limits.is_empty()) else {
        return resources.clone();
    };
    let requests = resources.get("requests").filter(|node| node.as_map().is_some());
    let mut requested = requests.map_or_else(|| Draft::empty(resources.place), Draft::of);
    requested.entries.retain(|entry| !entry.node.is_null());
    let is_requested = |key: &str| requests.and_then(|requests| requests.get(key)).is_some_and(|node| !node.is_null());
    let missing = limits.iter().filter(|limit| !limit.node.is_null() && !is_requested(&limit.key));
    requested.entries.extend(missing.map(|limit| {
        let node = Node { value: limit.node.value.clone(), place: resources.place };
        Entry { key: Arc::clone(&limit.key), key_place: resources.place, node }
    }));
    draft.set("requests", requested.finish());
    draft.finish()
}

/// A map that is being changed.
struct Draft {
    entries: Vec<Entry>,
    place: Place,
}

impl Draft {
    fn empty(place: Place) -> Self {
        Self { entries: Vec::new(), place }
    }

    fn of(node: &Node) -> Self {
        let entries = node.as_map().map(|map| map.iter().cloned().collect()).unwrap_or_default();
        Self { entries, place: node.place }
    }

    /// The value of a key; `null` counts as absent, as it does to the API server.
    fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.node).filter(|node| !node.is_null())
    }

    fn text(&self, key: &str) -> Option<Arc<str>> {
        match &self.get(key)?.value {
            Value::String(text) if !text.is_empty() => Some(Arc::clone(text)),
            _ => None,
        }
    }

    fn set(&mut self, key: &str, node: Node) {
        match self.entries.iter_mut().find(|entry| &*entry.key == key) {
            Some(entry) => entry.node = node,
            None => self.entries.push(Entry { key: key.into(), key_place: self.place, node }),
        }
    }

    /// Sets what is absent, `null` or empty text.
    fn default(&mut self, key: &str, value: Value) {
        if self.get(key).is_none_or(|node| node.as_str() == Some("")) {
            self.set(key, Node { value, place: self.place });
        }
    }

    fn remove(&mut self, key: &str) {
        self.entries.retain(|entry| &*entry.key != key);
    }

    /// Changes the maps of a list.
    fn change_items(&mut self, key: &str, change: impl Fn(&Node) -> Node) {
        let Some(list) = self.get(key).filter(|node| node.as_list().is_some()) else { return };
        let place = list.place;
        let items = list.as_list().unwrap_or_default().iter();
        let changed = items.map(|item| if item.as_map().is_some() { change(item) } else { item.clone() }).collect();
        self.set(key, Node { value: Value::List(Arc::new(changed)), place });
    }

    fn finish(self) -> Node {
        // Keys stay unique: `set` replaces what is there.
        Node { value: Value::Map(Arc::new(Map::new(self.entries).unwrap_or_default())), place: self.place }
    }
}
