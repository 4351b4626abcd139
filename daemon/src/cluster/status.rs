//! The status of custom resources: one condition by server-side apply, so that conditions of others stay.

use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::kinds::WatchedKind;
use crate::cluster::watches::resource;

/// The field manager of all that we write.
pub const FIELD_MANAGER: &str = "portreeve";
/// How long one write may take.
const REQUEST: Duration = Duration::from_secs(3);

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

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// The API server refused it.
    #[error("the API server refused it with {code}: {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// There was no answer.
    #[error("the API server did not answer: {0}")]
    Unreachable(String),
}

/// Writes the condition of one object.
pub async fn write(
    client: &Client,
    kind: &WatchedKind,
    (namespace, name): (&str, &str),
    (condition, since): (&Condition, &str),
) -> Result<(), NotWritten> {
    let resource = resource(kind);
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let body = body(kind, name, condition, since);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    match tokio::time::timeout(REQUEST, api.patch_status(name, &parameters, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) => {
            Err(NotWritten::Refused { code: status.code, message: status.message.clone() })
        }
        Ok(Err(error)) => Err(NotWritten::Unreachable(error.to_string())),
        Err(_) => Err(NotWritten::Unreachable(format!("within {} s", REQUEST.as_secs()))),
    }
}

fn body(kind: &WatchedKind, name: &str, condition: &Condition, since: &str) -> Value {
    let Condition { type_, is_true, observed_generation, reason, message } = condition;
    let mut written = json!({
        "type": type_, "status": if *is_true { "True" } else { "False" }, "lastTransitionTime": since,
        "reason": reason, "message": message,
    });
    if let Some(generation) = observed_generation {
        written["observedGeneration"] = (*generation).into();
    }
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name},
        "status": {"conditions": [written]}})
}
