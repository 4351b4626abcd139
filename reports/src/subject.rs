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

    /// The store's key for all findings about this subject: its parts joined by U+001F. Control characters in a part
    /// are escaped, so that a name in a hostile file cannot spell another subject's key (and databases that refuse
    /// NUL take every key).
    pub fn key(&self) -> SubjectKey {
        let parts: Vec<String> = self.identity_parts().into_iter().map(escape_controls).collect();
        SubjectKey(parts.join("\u{1f}"))
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

fn escape_controls(part: &str) -> String {
    part.chars().fold(String::with_capacity(part.len()), |mut text, character| {
        if character == '\\' || character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, owner: Option<&str>) -> Subject {
        let owner = owner.map(|name| Owner { group: "apps".into(), kind: "Deployment".into(), name: name.into() });
        let namespace = "jhub".to_owned();
        let api_version = "v1".to_owned();
        Subject::Object(ObjectRef {
            api_version,
            kind: "Pod".into(),
            namespace,
            name: name.into(),
            container: None,
            owner,
        })
    }

    #[test]
    fn pods_of_one_deployment_have_the_key_of_the_deployment() {
        let deployment = Subject::Object(ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: "jhub".into(),
            name: "hub".into(),
            ..ObjectRef::default()
        });
        assert_eq!(pod("hub-5d-x1", Some("hub")).key(), deployment.key());
        assert_eq!(pod("hub-5d-x2", Some("hub")).key(), deployment.key());
        assert_ne!(pod("hub", None).key(), deployment.key());
    }

    #[test]
    fn a_separator_inside_a_name_cannot_spell_another_key() {
        let credential = |class: &str, holder: &str, key: &str| Subject::Credential {
            class: class.into(),
            holder: holder.into(),
            key: key.into(),
        };
        assert_ne!(credential("a\u{1f}b", "c", "d").key(), credential("a", "b\u{1f}c", "d").key());
        assert_ne!(credential("a\\u{1f}b", "c", "d").key(), credential("a\u{1f}b", "c", "d").key());
        assert!(!credential("\0", "c", "d").key().0.contains('\0'));
    }

    #[test]
    fn tag_and_digest_are_not_part_of_an_images_identity() {
        let image = |reference: &str, digest: Option<&str>| Subject::Image {
            repository: "quay.io/nebari/hub".into(),
            reference: reference.into(),
            digest: digest.map(str::to_owned),
        };
        assert_eq!(image("quay.io/nebari/hub:1", None).key(), image("quay.io/nebari/hub:2", Some("sha256:aa")).key());
    }
}
