//! Writing to the API server: server-side apply, deletion and inventories, each with the proof that we lead.
//!
//! Every request is bound in time and every refusal is told apart, so that callers decide by what happened and not by
//! texts. Nothing here decides what to write: that is `platform`.

mod failure;
mod kinds;
mod words;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use portreeve_policies::object::Object;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::key::ObjectKey;
use crate::cluster::request::FIELD_MANAGER;
use crate::config::valid::LeaderConfig;
use crate::runtime::leader::{self, Leading};
pub use failure::{ApiFailure, FieldConflict};
use kinds::Kinds;
pub use kinds::Served;
use words::Words;
use writing::Writing;

/// How long reading and dry runs may take. A write has [`leader::REQUEST`].
const REQUEST: Duration = Duration::from_secs(15);
/// The first pause before a server that asks for patience is asked again; each one after is twice as long.
const PATIENCE: Duration = Duration::from_millis(200);
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
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
    /// The key of the object as it was seen: a custom object that has no namespace stands in its component's until then.
    pub fn seen(&self, live: &Value) -> ObjectKey {
        let has_namespace = live.pointer("/metadata/namespace").is_some();
        let namespace = if has_namespace { Arc::clone(&self.key.namespace) } else { "".into() };
        ObjectKey { namespace, ..self.key.clone() }
    }

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
    own_namespace: Arc<str>,
    kinds: Arc<Kinds>,
    writing: Writing,
    until: Option<Instant>,
}

impl Applier {
    /// A door; nothing is sent yet. What Portreeve keeps for itself is where its lease is. The client is one that passes on
    /// every answer ([`connect_plainly`](crate::cluster::client::connect_plainly)).
    pub fn new(client: kube::Client, lease: &LeaderConfig) -> Self {
        let own_namespace = lease.namespace.as_str().into();
        Self { client, own_namespace, kinds: Arc::default(), writing: Writing::default(), until: None }
    }

    /// The same door for a command that has until then: no request is waited for longer, and no object written later.
    #[must_use]
    pub fn until(&self, end: Instant) -> Self {
        Self { until: Some(end), ..self.clone() }
    }

    /// How long may still be asked.
    pub fn left(&self) -> Duration {
        self.until.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    /// The connection, for the lease.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The namespace of what Portreeve keeps for itself.
    pub fn own_namespace(&self) -> &str {
        &self.own_namespace
    }

    /// Requests that could have changed something, dry runs left out.
    pub fn writes(&self) -> u64 {
        self.writing.begun()
    }

    /// From now on no write begins, here and in clones.
    pub fn close(&self) {
        self.writing.close();
    }

    /// Whether no write begins any more.
    pub fn is_closed(&self) -> bool {
        self.writing.is_closed()
    }

    /// Waits until no write is under way; each ends within [`leader::REQUEST`].
    pub async fn quiet(&self) {
        self.writing.quiet().await;
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
        match self.read(&path).await {
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
            let page = self.read(&path).await;
            let mut page = page.map_err(|failure| failure.at(kinds::listing(address, &served)))?;
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

    /// Whether what [`get`](Self::get) did not find is not there. `OldVersion` when its kind is served in other versions
    /// only: it may live on, and is not to be forgotten.
    pub async fn is_gone(&self, address: &Address) -> Result<(), ApiFailure> {
        // A long-lived process may have asked before the version went.
        self.kinds.forget_version(&address.api_version);
        match self.served(address).await {
            Ok(_) => return Ok(()),
            Err(ApiFailure::UnknownKind(_)) => {}
            Err(failure) => return Err(failure),
        }
        let key = &address.key;
        for version in kinds::versions(self, &key.group).await? {
            match self.kinds.find(self, &version, &key.kind).await {
                Ok(_) => return Err(ApiFailure::OldVersion(format!("{} {key}", address.api_version))),
                Err(ApiFailure::UnknownKind(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// What applying would make of the object. Nothing is written.
    pub async fn dry_run(&self, address: &Address, object: &Value, force: Force) -> Result<Value, ApiFailure> {
        let (path, body) = self.patch(address, object, &format!("{}&dryRun=All", apply_query(force))).await?;
        self.asked((Method::PATCH, &path), Some((APPLY, body)), words_about(address)).await
    }

    /// Server-side apply. Nothing but the time fences it: the answer must come while the lease is surely ours.
    pub async fn apply(
        &self,
        leading: &Leading,
        address: &Address,
        object: &Value,
        force: Force,
    ) -> Result<Value, ApiFailure> {
        self.has_time()?;
        let (path, body) = self.patch(address, object, &apply_query(force)).await?;
        self.write(leading, address, (Method::PATCH, &path), (APPLY, body)).await
    }

    /// Path and body of server-side apply.
    async fn patch(&self, address: &Address, object: &Value, query: &str) -> Result<(String, Value), ApiFailure> {
        let served = self.served(address).await?;
        let path = kinds::path(&address.api_version, &served, &address.key);
        let mut object = object.clone();
        if !served.is_namespaced
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("namespace");
        }
        Ok((format!("{path}?{query}"), object))
    }

    /// Replaces the record of who owns which fields, unless the object has changed since it was read.
    pub async fn take_over(
        &self,
        leading: &Leading,
        address: &Address,
        live: &Value,
        managed_fields: &Value,
    ) -> Result<Value, ApiFailure> {
        self.has_time()?;
        let path = format!("{}?fieldManager={FIELD_MANAGER}", self.path(address).await?);
        let patch = json!({"metadata": {
            "managedFields": managed_fields, "resourceVersion": live.pointer("/metadata/resourceVersion")}});
        self.write(leading, address, (Method::PATCH, &path), ("application/merge-patch+json", patch)).await
    }

    /// Deletes exactly the object that was looked at: another UID or a later version is `Changed`.
    pub async fn delete(&self, leading: &Leading, address: &Address, live: &Value) -> Result<Deletion, ApiFailure> {
        self.has_time()?;
        let path = self.path(address).await?;
        let preconditions = json!({
            "uid": live.pointer("/metadata/uid"), "resourceVersion": live.pointer("/metadata/resourceVersion")});
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
            "propagationPolicy": "Background", "preconditions": preconditions});
        match self.write(leading, address, (Method::DELETE, &path), (JSON, options)).await {
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
        let name = self.own_namespace();
        let key = ObjectKey { group: "".into(), kind: "Namespace".into(), namespace: "".into(), name: name.into() };
        let address = Address { api_version: "v1".into(), key };
        if self.get(&address).await?.is_some() {
            return Ok(());
        }
        let _under_way = self.writing.begin()?;
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let path = format!("/api/v1/namespaces?fieldManager={FIELD_MANAGER}");
        match self.sent((Method::POST, &path), Some((JSON, object)), (leader::REQUEST, Words::Told)).await {
            Ok(_) | Err(ApiFailure::AlreadyExists(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Creates an object; `AlreadyExists` when there is one.
    pub async fn create(&self, leading: &Leading, address: &Address, object: &Value) -> Result<Value, ApiFailure> {
        let served = self.served(address).await?;
        let collection = kinds::collection(&address.api_version, &served, &address.key.namespace);
        let path = format!("{collection}?fieldManager={FIELD_MANAGER}");
        self.write(leading, address, (Method::POST, &path), (JSON, object.clone())).await
    }

    /// Replaces an object; its `resourceVersion` must be the one that was read, else `Changed`.
    pub async fn replace(&self, leading: &Leading, address: &Address, object: &Value) -> Result<Value, ApiFailure> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", self.path(address).await?);
        self.write(leading, address, (Method::PUT, &path), (JSON, object.clone())).await
    }

    /// The one way to a change: whether we lead is asked when all else is known, and what is sent then is answered
    /// within the time that the lease is surely ours for.
    async fn write(
        &self,
        leading: &Leading,
        address: &Address,
        request: (Method, &str),
        body: (&str, Value),
    ) -> Result<Value, ApiFailure> {
        leading.check()?;
        let _under_way = self.writing.begin()?;
        self.sent(request, Some(body), (leader::REQUEST, words_about(address))).await
    }

    async fn path(&self, address: &Address) -> Result<String, ApiFailure> {
        let served = self.served(address).await?;
        Ok(kinds::path(&address.api_version, &served, &address.key))
    }

    /// Reads.
    async fn read(&self, path: &str) -> Result<Value, ApiFailure> {
        self.asked((Method::GET, path), None, Words::Told).await
    }

    /// What changes nothing, within the time that is left.
    async fn asked(
        &self,
        request: (Method, &str),
        body: Option<(&str, Value)>,
        words: Words,
    ) -> Result<Value, ApiFailure> {
        let left = self.left();
        match self.sent(request, body, (REQUEST.min(left), words)).await {
            Err(ApiFailure::TimedOut(_)) if left < REQUEST => Err(ApiFailure::OutOfTime),
            answered => answered,
        }
    }

    /// Whether another object may be written now. What is noted of those that were is not held up by this.
    fn has_time(&self) -> Result<(), ApiFailure> {
        if self.left().is_zero() { Err(ApiFailure::OutOfTime) } else { Ok(()) }
    }

    async fn sent(
        &self,
        (method, path): (Method, &str),
        body: Option<(&str, Value)>,
        (time, words): (Duration, Words),
    ) -> Result<Value, ApiFailure> {
        let (kind, bytes) = match body {
            Some((kind, body)) => (kind, body.to_string().into_bytes()),
            None => (JSON, Vec::new()),
        };
        let request = || {
            let request = Request::builder().method(method.clone()).uri(path);
            let request = request.header(http::header::CONTENT_TYPE, kind).header(http::header::ACCEPT, JSON);
            request.body(bytes.clone()).map_err(|error| ApiFailure::Unreachable(error.to_string()))
        };
        let end = Instant::now() + time;
        let (mut said, mut pause) = (ApiFailure::TimedOut(time), PATIENCE);
        loop {
            let error = match tokio::time::timeout_at(end, self.client.request::<Value>(request()?)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => return Err(said),
            };
            let wait = patience(&error).map(|asked| asked.max(pause));
            said = ApiFailure::of(error, words);
            match wait {
                Some(wait) if Instant::now() + wait < end => tokio::time::sleep(wait).await,
                _ => return Err(said),
            }
            pause *= 2;
        }
    }
}

/// How long a server that is busy, or is just now not whole, asks to wait; `None` when asking again would not help.
fn patience(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    matches!(status.code, 429 | 503 | 504).then(|| Duration::from_secs(asked.into()))
}

/// The words of a refusal may quote what was sent.
fn words_about(address: &Address) -> Words {
    let is_secret = address.key.group.is_empty() && &*address.key.kind == "Secret";
    if is_secret { Words::Withheld } else { Words::Told }
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
    format!("fieldManager={FIELD_MANAGER}&force={}&fieldValidation=Strict", force == Force::Yes)
}

#[cfg(test)]
mod tests;
