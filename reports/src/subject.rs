//! What a finding is about, and its identity across doors.

use serde::{Deserialize, Serialize};

/// The controlling owner of an object, when it has one: a Pod of a Deployment is identified by the Deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
}

/// A Kubernetes object, or one container of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `apps/v1`, `v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`, or `metadata.generateName` with a trailing `*` when the API server has yet to choose it.
    pub name: String,
    /// The container the finding is about.
    pub container: Option<String>,
    /// Topmost controlling owner that is known.
    pub owner: Option<Owner>,
}

impl ObjectRef {
    /// API group: empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The identity (group, kind, name) that survives pod names and API versions: the owner's where there is one.
    pub fn identity(&self) -> (&str, &str, &str) {
        match &self.owner {
            Some(owner) => (&owner.group, &owner.kind, &owner.name),
            None => (self.group(), &self.kind, &self.name),
        }
    }

    /// `namespace/Kind/name`, with the container in brackets.
    pub fn display(&self) -> String {
        let mut text = String::new();
        if !self.namespace.is_empty() {
            text.push_str(&self.namespace);
            text.push('/');
        }
        text.push_str(&self.kind);
        text.push('/');
        text.push_str(&self.name);
        if let Some(container) = &self.container {
            text.push_str(&format!(" [{container}]"));
        }
        text
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A Kubernetes object or a container of one.
    Object(ObjectRef),
    /// A container image.
    Image {
        /// Host and repository, without tag and digest: the identity.
        repository: String,
        /// The reference as written.
        reference: String,
        /// The digest that was judged, where known.
        digest: Option<String>,
    },
    /// A file, by its path relative to the repository (or as given).
    File {
        /// Path with forward slashes.
        path: String,
    },
    /// A credential.
    Credential {
        /// `service-account-token`, `tls-certificate`, …
        class: String,
        /// Object that holds it.
        holder: String,
        /// Key inside the holder.
        key: String,
    },
    /// A component of a platform.
    Component {
        /// Platform name.
        platform: String,
        /// Component name.
        component: String,
    },
}

/// The identity of a subject without its container: what a store resolves findings by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectKey(pub String);

impl Subject {
    /// `object`, `image`, `file`, `credential` or `component`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Object(_) => "object",
            Self::Image { .. } => "image",
            Self::File { .. } => "file",
            Self::Credential { .. } => "credential",
            Self::Component { .. } => "component",
        }
    }

    /// The parts of the identity, in a fixed order. The container is not part of it.
    pub(crate) fn identity_parts(&self) -> Vec<&str> {
        match self {
            Self::Object(object) => {
                let (group, kind, name) = object.identity();
                vec!["object", group, kind, &object.namespace, name]
            }
            Self::Image { repository, .. } => vec!["image", repository],
            Self::File { path } => vec!["file", path],
            Self::Credential { class, holder, key } => vec!["credential", class, holder, key],
            Self::Component { platform, component } => vec!["component", platform, component],
        }
    }

    /// The store's key for all findings about this subject: its parts joined by U+001F, which no Kubernetes name and
    /// no image reference contains.
    pub fn key(&self) -> SubjectKey {
        SubjectKey(self.identity_parts().join("\u{1f}"))
    }

    /// The container, for a finding about one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Object(object) => object.container.as_deref(),
            _ => None,
        }
    }

    /// Namespace of an object; `None` for cluster-scoped objects and all other subjects.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Object(object) if !object.namespace.is_empty() => Some(&object.namespace),
            _ => None,
        }
    }

    /// One line for people.
    pub fn display(&self) -> String {
        match self {
            Self::Object(object) => object.display(),
            Self::Image { reference, .. } => reference.clone(),
            Self::File { path } => path.clone(),
            Self::Credential { class, holder, key } => format!("{class} {holder} [{key}]"),
            Self::Component { platform, component } => format!("{platform}/{component}"),
        }
    }
}
