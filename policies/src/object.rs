//! Kubernetes objects as subjects.

mod builtin;
mod read;
mod scope;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use portreeve_reports::code::UNREADABLE_INPUT;
use portreeve_reports::source::{Node, Place};
use portreeve_reports::{Cause, Finding, FindingBuilder, Location, ObjectRef, Owner, Subject, Verdict};

pub use read::{Read, ReadOptions, read_objects};

/// Where an object was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Path of the file; `None` for objects of an API server.
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

/// A document or an object that cannot be judged, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Path of the file, where there is one.
    pub file: Option<Arc<str>>,
    /// Where reading stopped.
    pub place: Place,
    /// `unreadable` or `too-large`.
    pub cause: Cause,
    /// What is wrong and what to do.
    pub message: String,
    /// Position of the document (or List item) in the input, from 0: the stable part of a finding without identity.
    pub index: usize,
    /// The object, where its identity could still be read.
    pub identity: Option<Box<ObjectRef>>,
    /// The field that is wrong; empty for the whole document.
    pub object_path: String,
}

impl Unreadable {
    /// A whole file that could not be read.
    pub fn of_file(file: &str, cause: Cause, message: impl Into<String>) -> Self {
        Self {
            file: Some(file.into()),
            place: Place { line: 1, column: 1 },
            cause,
            message: message.into(),
            index: 0,
            identity: None,
            object_path: String::new(),
        }
    }

    /// The finding: PR-0001, `unknown` with the cause.
    pub fn finding(&self) -> Finding {
        let path = self.file.as_deref().unwrap_or("-");
        let (subject, item) = match &self.identity {
            Some(object) => (Subject::Object(object.as_ref().clone()), String::new()),
            None => (Subject::File { path: path.to_owned() }, format!("document {}", self.index)),
        };
        let built = FindingBuilder::new(UNREADABLE_INPUT.code(), UNREADABLE_INPUT.severity, Verdict::Unknown)
            .cause(self.cause)
            .subject(subject)
            .location(location(self.file.as_ref(), self.object_path.clone(), self.place))
            .item(item)
            .message(self.message.clone())
            .build();
        #[expect(clippy::expect_used, reason = "subject, place and cause are set above")]
        built.expect("a finding with subject, place and cause builds")
    }
}

impl Object {
    /// Reads the identity of a tree and checks the types of all fields that rules read, so that a rule that finds a
    /// field absent can trust that it is. `default_namespace` is given to namespaced objects without one; an API
    /// server's objects need none (`""`).
    pub fn from_node(root: Node, origin: Origin, default_namespace: &str) -> Result<Self, Unreadable> {
        let object = read::identify(&root, &origin, default_namespace)?;
        match shape::problem(&object) {
            Some(problem) => Err(Unreadable {
                file: origin.file,
                place: problem.place,
                cause: Cause::Unreadable,
                message: format!("'{}' {}", problem.path, problem.what),
                index: 0,
                identity: Some(Box::new(object.reference(object.controller.clone()))),
                object_path: problem.path,
            }),
            None => Ok(object),
        }
    }

    /// API group: empty for the core group.
    pub fn group(&self) -> &str {
        group_of(&self.api_version)
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

    /// A place in this object.
    pub fn location(&self, object_path: impl Into<String>, place: Place) -> Location {
        location(self.origin.file.as_ref(), object_path.into(), place)
    }
}

/// The group of an `apiVersion`: empty for the core group.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn location(file: Option<&Arc<str>>, object_path: String, place: Place) -> Location {
    let known = place.line > 0;
    Location {
        object_path,
        object: None,
        file: file.cloned(),
        line: known.then_some(place.line),
        column: known.then_some(place.column),
    }
}
