//! An object of the API server, whatever is in it.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use portreeve_policies::object::{Object, Origin, Unreadable};
use portreeve_reports::source::{Node, Place};
use portreeve_reports::{Cause, ObjectRef};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::cluster::index::Item;
use crate::cluster::key::ObjectKey;
use crate::cluster::kinds::WatchedKind;

/// Any JSON value. Decoding never fails, so that one bad object neither breaks a list nor loses its own delete.
#[derive(Clone, Debug)]
pub(super) struct RawObject {
    /// What the watcher needs; only the plain strings of the real metadata.
    metadata: ObjectMeta,
    body: Value,
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut body = Value::deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = body.get_mut("metadata") {
            // Half of a typical object, and nobody judges it.
            metadata.remove("managedFields");
        }
        let text = |name: &str| body.pointer("/metadata").and_then(|meta| meta.get(name)?.as_str()).map(str::to_owned);
        let metadata = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            resource_version: text("resourceVersion"),
            uid: text("uid"),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, body })
    }
}

impl RawObject {
    /// The key, from the two strings that every object of an API server has.
    pub(super) fn key(&self, kind: &WatchedKind) -> ObjectKey {
        ObjectKey {
            group: kind.group.into(),
            kind: kind.kind.into(),
            namespace: self.metadata.namespace.as_deref().unwrap_or_default().into(),
            name: self.metadata.name.as_deref().unwrap_or_default().into(),
        }
    }

    /// The version; empty when it has none.
    pub(super) fn version(&self) -> String {
        self.metadata.resource_version.clone().unwrap_or_default()
    }

    /// The object, or why it cannot be read. Items of lists state no kind: it is the one that was asked for.
    pub(super) fn into_item(mut self, kind: &WatchedKind) -> Item {
        let key = self.key(kind);
        if let Value::Object(fields) = &mut self.body {
            fields.insert("apiVersion".to_owned(), kind.api_version().into());
            fields.insert("kind".to_owned(), kind.kind.into());
        }
        let read = Object::from_node(Node::from_json(&self.body), Origin::default(), "");
        match read {
            Ok(object) if ObjectKey::of(&object) == key => Item::good(object, kind.values),
            Ok(_) => Item::Bad(key, Box::new(bad(kind, &self.metadata, "its identity is not the one it is listed by"))),
            Err(unreadable) => {
                let identity = unreadable.identity.clone().or_else(|| Some(Box::new(identity(kind, &self.metadata))));
                Item::Bad(key, Box::new(Unreadable { identity, ..unreadable }))
            }
        }
    }
}

fn identity(kind: &WatchedKind, metadata: &ObjectMeta) -> ObjectRef {
    ObjectRef {
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        ..ObjectRef::default()
    }
}

fn bad(kind: &WatchedKind, metadata: &ObjectMeta, message: &str) -> Unreadable {
    Unreadable {
        file: None,
        place: Place::default(),
        cause: Cause::Unreadable,
        message: message.to_owned(),
        index: 0,
        identity: Some(Box::new(identity(kind, metadata))),
        object_path: String::new(),
    }
}

impl Resource for RawObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
