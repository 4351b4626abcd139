//! Pod templates, their containers and their images, the same for all kinds that have them.

mod custom;
mod defaults;
mod images;
#[cfg(test)]
mod tests;

use portreeve_reports::source::Node;

use crate::object::Object;

pub(crate) use custom::{at_pattern, custom_kind};
pub use defaults::defaulted;
pub use images::{ImageUse, RunningImage, image_uses, running_images};

/// The pod that an object is, or makes.
#[derive(Clone, Copy, Debug)]
pub struct PodTemplate<'a> {
    /// The pod spec.
    pub spec: &'a Node,
    /// Metadata of the pods: labels and annotations.
    pub metadata: Option<&'a Node>,
    /// Path of the pod spec: `spec`, `spec.template.spec`, `spec.jobTemplate.spec.template.spec` or `template.spec`.
    pub path: &'static str,
}

const TEMPLATE: &str = "spec.template.spec";

/// Group, kind and path of the pod spec, whatever the version: removed ones are applied to old clusters still.
const WORKLOADS: &[(&str, &str, &str)] = &[
    ("", "Pod", "spec"),
    ("", "PodTemplate", "template.spec"),
    ("", "ReplicationController", TEMPLATE),
    ("apps", "DaemonSet", TEMPLATE),
    ("apps", "Deployment", TEMPLATE),
    ("apps", "ReplicaSet", TEMPLATE),
    ("apps", "StatefulSet", TEMPLATE),
    ("batch", "CronJob", "spec.jobTemplate.spec.template.spec"),
    ("batch", "Job", TEMPLATE),
    ("extensions", "DaemonSet", TEMPLATE),
    ("extensions", "Deployment", TEMPLATE),
    ("extensions", "Job", TEMPLATE),
    ("extensions", "ReplicaSet", TEMPLATE),
];

/// Where a kind keeps its pod spec; `None` for kinds that are not workloads of Kubernetes.
pub fn template_path(group: &str, kind: &str) -> Option<&'static str> {
    WORKLOADS.iter().find(|workload| (workload.0, workload.1) == (group, kind)).map(|workload| workload.2)
}

/// The pod template of a workload. `None` for all other kinds; an object of a workload kind without one is unreadable
/// and does not get here.
pub fn pod_template(object: &Object) -> Option<PodTemplate<'_>> {
    let path = template_path(object.group(), &object.kind)?;
    let keys: Vec<&str> = path.split('.').collect();
    let holder = object.root.at(keys[..keys.len() - 1].iter().copied())?;
    let spec = holder.get("spec").filter(|spec| spec.as_map().is_some())?;
    Some(PodTemplate { spec, metadata: holder.get("metadata").filter(|node| !node.is_null()), path })
}

/// Which list a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKind {
    /// `containers`.
    Container,
    /// `initContainers`.
    Init,
    /// `ephemeralContainers`.
    Ephemeral,
}

impl ContainerKind {
    /// All lists.
    pub const ALL: [Self; 3] = [Self::Container, Self::Init, Self::Ephemeral];

    /// The key of the list in a pod spec.
    pub fn list(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::Init => "initContainers",
            Self::Ephemeral => "ephemeralContainers",
        }
    }

    /// The key of the list in a pod status.
    pub fn status_list(self) -> &'static str {
        match self {
            Self::Container => "containerStatuses",
            Self::Init => "initContainerStatuses",
            Self::Ephemeral => "ephemeralContainerStatuses",
        }
    }
}

/// A container of a pod spec.
#[derive(Clone, Debug)]
pub struct Container<'a> {
    /// Which list it stands in.
    pub kind: ContainerKind,
    /// Position in its list.
    pub index: usize,
    /// Its name; empty when it has none (such objects are unreadable).
    pub name: &'a str,
    /// The container.
    pub node: &'a Node,
    /// `spec.template.spec.initContainers[0]`.
    pub path: String,
}

/// The containers of all three lists of a pod spec.
pub fn containers<'a>(spec: &'a Node, spec_path: &str) -> Vec<Container<'a>> {
    let mut found = Vec::new();
    for kind in ContainerKind::ALL {
        let items = spec.get(kind.list()).and_then(Node::as_list).unwrap_or_default();
        found.extend(items.iter().enumerate().map(|(index, node)| Container {
            kind,
            index,
            name: node.get("name").and_then(Node::as_str).unwrap_or_default(),
            node,
            path: format!("{spec_path}.{}[{index}]", kind.list()),
        }));
    }
    found
}
