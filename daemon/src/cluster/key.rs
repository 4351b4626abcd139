//! The key of an object in the index: what the API server tells objects apart by, without the version.

use std::fmt;
use std::sync::Arc;

use portreeve_policies::object::{Object, Unreadable};

/// Group, kind, namespace and name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// The key of an object.
    pub fn of(object: &Object) -> Self {
        Self {
            group: object.group().into(),
            kind: Arc::clone(&object.kind),
            namespace: Arc::clone(&object.namespace),
            name: Arc::clone(&object.name),
        }
    }

    /// The key of an object of which only the identity could be read.
    pub fn of_unreadable(unreadable: &Unreadable) -> Option<Self> {
        let identity = unreadable.identity.as_ref()?;
        Some(Self {
            group: identity.group().into(),
            kind: identity.kind.as_str().into(),
            namespace: identity.namespace.as_str().into(),
            name: identity.name.as_str().into(),
        })
    }

    /// The key of the object's controlling owner, which is always in the same namespace.
    pub fn of_controller(object: &Object) -> Option<Self> {
        let owner = object.controller.as_ref()?;
        Some(Self {
            group: owner.group.as_str().into(),
            kind: owner.kind.as_str().into(),
            namespace: Arc::clone(&object.namespace),
            name: owner.name.as_str().into(),
        })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}
