//! Kubernetes objects as subjects.

use std::sync::Arc;

use portreeve_reports::source::{Node, Place};
use portreeve_reports::{ObjectRef, Owner};

/// Where an object was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Path of the file; `None` for objects of an API server or an AdmissionReview.
    pub file: Option<Arc<str>>,
    /// First line of the object in the file.
    pub place: Place,
}

/// A Kubernetes object: its identity and its tree.
#[derive(Clone, Debug)]
pub struct Object {
    /// `apps/v1`.
    pub api_version: Arc<str>,
    /// `Deployment`.
    pub kind: Arc<str>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// `metadata.name`; `generateName` and `*` while there is no name.
    pub name: Arc<str>,
    /// `metadata.uid`, for objects of an API server.
    pub uid: Option<Arc<str>>,
    /// The controlling owner reference of `metadata.ownerReferences`, not yet followed upwards.
    pub controller: Option<Owner>,
    /// The whole object.
    pub root: Node,
    /// Where it was read from.
    pub origin: Origin,
}

impl Object {
    /// API group: empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The object as a finding's subject; `owner` is the topmost known owner (see `World::top_owner`).
    pub fn reference(&self, owner: Option<Owner>) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version.to_string(),
            kind: self.kind.to_string(),
            namespace: self.namespace.to_string(),
            name: self.name.to_string(),
            container: None,
            owner,
        }
    }
}
