//! Writing to the API server: server-side apply, deletion and inventories, each with the proof that we lead.
//!
//! Every request is bound in time and every refusal is told apart, so that callers decide by what happened and not by
//! texts. Nothing here decides what to write: that is `platform`.

mod failure;
mod kinds;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request};
use portreeve_policies::object::Object;
use serde_json::{Value, json};

use crate::cluster::key::ObjectKey;
use crate::runtime::leader::{self, Leading};
pub use failure::{ApiFailure, FieldConflict};
use kinds::Kinds;
pub use kinds::Served;

/// Field manager of everything that is written.
pub const MANAGER: &str = "portreeve";
/// Namespace of what Portreeve keeps for itself.
pub const NAMESPACE: &str = "portreeve-system";

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(15);
/// Objects of one page of a list.
const PAGE: usize = 500;
/// Most objects that one list is followed to.
const MAX_LISTED: usize = 20_000;

/// Where an object is: its version beside its identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// `apps/v1`.
    pub api_version: Arc<str>,
    /// Group, kind, namespace and name.
    pub key: ObjectKey,
}

impl Address {
    /// Where an object of a file is.
    pub fn of(object: &Object) -> Self {
        Self { api_version: Arc::clone(&object.api_version), key: ObjectKey::of(object) }
    }
}

/// Whether other managers' claims are overruled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// A conflict is an error that names the owner.
    No,
    /// The object is ours, or is taken over.
    Yes,
}

/// What became of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Gone,
    /// It is being deleted: finalizers or its content hold it.
    Ending,
}

/// The door to the API server for what writes. Clones share connection, discovery and count of writes.
#[derive(Clone)]
pub struct Applier {
    client: kube::Client,
    kinds: Arc<Kinds>,
    writes: Arc<AtomicU64>,
}

impl Applier {
    /// A door; nothing is sent yet.
    pub fn new(client: kube::Client) -> Self {
        Self { client, kinds: Arc::default(), writes: Arc::default() }
    }

    /// The connection, for the lease.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Requests that could have changed something, dry runs left out.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How the server serves a kind; `UnknownKind` when it does not.
    pub async fn served(&self, address: &Address) -> Result<Served, ApiFailure> {
        self.kinds.find(self, &address.api_version, &address.key.kind).await
    }

    /// Forgets what the server serves: resource definitions were added.
    pub fn forget_kinds(&self) {
        self.kinds.forget();
    }

    /// The object; `None` when it, its namespace or its kind is not there.
    pub async fn get(&self, address: &Address) -> Result<Option<Value>, ApiFailure> {
        let path = match self.path(address).await {
            Ok(path) => path,
            Err(ApiFailure::UnknownKind(_)) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        match self.send(Method::GET, &path, None).await {
            Ok(object) => Ok(Some(object)),
            Err(ApiFailure::NotFound(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Every object of a kind and namespace with a label. Items say their kind.
    pub async fn list(&self, address: &Address, selector: &str) -> Result<Vec<Value>, ApiFailure> {
        let served = self.served(address).await?;
        let collection = kinds::collection(&address.api_version, &served, &address.key.namespace);
        let mut found = Vec::new();
        let mut next = String::new();
        loop {
            let path = format!("{collection}?{}", list_query(selector, &next));
            let mut page = self.send(Method::GET, &path, None).await?;
            let items = page.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
            found.extend(items.unwrap_or_default().into_iter().map(|mut item| {
                item["apiVersion"] = json!(&*address.api_version);
                item["kind"] = json!(&*address.key.kind);
                item
            }));
            next = page.pointer("/metadata/continue").and_then(Value::as_str).unwrap_or_default().to_owned();
            if next.is_empty() {
                return Ok(found);
            }
            if found.len() > MAX_LISTED {
                let what = format!("more than {MAX_LISTED} {} have our label", served.plural);
                return Err(ApiFailure::TooLarge(what));
            }
        }
    }

    /// What applying would make of the object. Nothing is written.
    pub async fn dry_run(&self, address: &Address, object: &Value, force: Force) -> Result<Value, ApiFailure> {
        self.patch(address, object, &format!("{}&dryRun=All", apply_query(force))).await
    }

    /// Server-side apply. Nothing but the time fences it: the answer must come while the lease is surely ours.
    pub async fn apply(
        &self,
        leading: &Leading,
        address: &Address,
        object: &Value,
        force: Force,
    ) -> Result<Value, ApiFailure> {
        self.writing(leading)?;
        let query = apply_query(force);
        let applied = self.patch(address, object, &query);
        tokio::time::timeout(leader::REQUEST, applied).await.unwrap_or(Err(ApiFailure::TimedOut(leader::REQUEST)))
    }

    async fn patch(&self, address: &Address, object: &Value, query: &str) -> Result<Value, ApiFailure> {
        let served = self.served(address).await?;
        let path = kinds::path(&address.api_version, &served, &address.key);
        let mut object = object.clone();
        if !served.is_namespaced
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("namespace");
        }
        let body = ("application/apply-patch+yaml", object);
        self.send(Method::PATCH, &format!("{path}?{query}"), Some(body)).await
    }

    /// Replaces the record of who owns which fields, unless the object has changed since it was read.
    pub async fn take_over(
        &self,
        leading: &Leading,
        address: &Address,
        live: &Value,
        managed_fields: &Value,
    ) -> Result<Value, ApiFailure> {
        self.writing(leading)?;
        let path = self.path(address).await?;
        let patch = json!({"metadata": {
            "managedFields": managed_fields, "resourceVersion": live.pointer("/metadata/resourceVersion")}});
        self.send(
            Method::PATCH,
            &format!("{path}?fieldManager={MANAGER}"),
            Some(("application/merge-patch+json", patch)),
        )
        .await
    }

    /// Deletes exactly the object that was looked at: another UID or a later version is `Changed`.
    pub async fn delete(&self, leading: &Leading, address: &Address, live: &Value) -> Result<Deletion, ApiFailure> {
        self.writing(leading)?;
        let path = self.path(address).await?;
        let preconditions = json!({
            "uid": live.pointer("/metadata/uid"), "resourceVersion": live.pointer("/metadata/resourceVersion")});
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
            "propagationPolicy": "Background", "preconditions": preconditions});
        match self.send(Method::DELETE, &path, Some(("application/json", options))).await {
            Ok(_) => {}
            Err(ApiFailure::NotFound(_)) => return Ok(Deletion::Gone),
            Err(failure) => return Err(failure),
        }
        let uid = live.pointer("/metadata/uid");
        match self.get(address).await? {
            Some(still) if still.pointer("/metadata/uid") == uid => Ok(Deletion::Ending),
            _ => Ok(Deletion::Gone),
        }
    }

    /// Makes sure that our own namespace is there. Needs no proof of leading: the lease itself is in it.
    pub async fn make_own_namespace(&self) -> Result<(), ApiFailure> {
        let key =
            ObjectKey { group: "".into(), kind: "Namespace".into(), namespace: "".into(), name: NAMESPACE.into() };
        let address = Address { api_version: "v1".into(), key };
        if self.get(&address).await?.is_some() {
            return Ok(());
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let body = Some(("application/json", object));
        match self.send(Method::POST, &format!("/api/v1/namespaces?fieldManager={MANAGER}"), body).await {
            Ok(_) | Err(ApiFailure::AlreadyExists(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Creates an object; `AlreadyExists` when there is one.
    pub async fn create(&self, leading: &Leading, address: &Address, object: &Value) -> Result<Value, ApiFailure> {
        self.writing(leading)?;
        let served = self.served(address).await?;
        let collection = kinds::collection(&address.api_version, &served, &address.key.namespace);
        let body = Some(("application/json", object.clone()));
        self.send(Method::POST, &format!("{collection}?fieldManager={MANAGER}"), body).await
    }

    /// Replaces an object; its `resourceVersion` must be the one that was read, else `Changed`.
    pub async fn replace(&self, leading: &Leading, address: &Address, object: &Value) -> Result<Value, ApiFailure> {
        self.writing(leading)?;
        let path = self.path(address).await?;
        let body = Some(("application/json", object.clone()));
        self.send(Method::PUT, &format!("{path}?fieldManager={MANAGER}"), body).await
    }

    fn writing(&self, leading: &Leading) -> Result<(), ApiFailure> {
        leading.check()?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn path(&self, address: &Address) -> Result<String, ApiFailure> {
        let served = self.served(address).await?;
        Ok(kinds::path(&address.api_version, &served, &address.key))
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, Value)>) -> Result<Value, ApiFailure> {
        let (kind, bytes) = match body {
            Some((kind, body)) => (kind, body.to_string().into_bytes()),
            None => ("application/json", Vec::new()),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::ACCEPT, "application/json")
            .body(bytes)
            .map_err(|error| ApiFailure::Unreachable(error.to_string()))?;
        match tokio::time::timeout(REQUEST, self.client.request::<Value>(request)).await {
            Ok(answered) => answered.map_err(ApiFailure::from),
            Err(_) => Err(ApiFailure::TimedOut(REQUEST)),
        }
    }
}

fn list_query(selector: &str, next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("labelSelector", selector).append_pair("limit", &PAGE.to_string());
    if !next.is_empty() {
        query.append_pair("continue", next);
    }
    query.finish()
}

fn apply_query(force: Force) -> String {
    format!("fieldManager={MANAGER}&force={}&fieldValidation=Strict", force == Force::Yes)
}
