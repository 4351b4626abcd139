//! The status of custom resources: our conditions by server-side apply, so that those of others stay.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::kinds::WatchedKind;
use crate::cluster::request::{FIELD_MANAGER, Failed, within};
use crate::cluster::watches::resource;

/// A condition, as written or to be written; when it last changed is apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it is about.
    pub type_: &'static str,
    /// Whether it is so.
    pub is_true: bool,
    /// The generation that it is said of.
    pub observed_generation: Option<i64>,
    /// One word of a closed list.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Writes the conditions of one object, each with the time since when it is so; those of ours that are left out go.
pub async fn write(
    client: &Client,
    kind: &WatchedKind,
    (namespace, name): (&str, &str),
    conditions: &[(Condition, String)],
) -> Result<(), Failed> {
    let resource = resource(kind);
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let body = body(kind, name, conditions);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    within(api.patch_status(name, &parameters, &patch)).await.map(drop)
}

fn body(kind: &WatchedKind, name: &str, conditions: &[(Condition, String)]) -> Value {
    let conditions: Vec<Value> = conditions.iter().map(written).collect();
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name},
        "status": {"conditions": conditions}})
}

fn written((condition, since): &(Condition, String)) -> Value {
    let Condition { type_, is_true, observed_generation, reason, message } = condition;
    let mut written = json!({
        "type": type_, "status": if *is_true { "True" } else { "False" }, "lastTransitionTime": since,
        "reason": reason, "message": message,
    });
    if let Some(generation) = observed_generation {
        written["observedGeneration"] = (*generation).into();
    }
    written
}
