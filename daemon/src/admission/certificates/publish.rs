//! The `caBundle` of our webhook configurations, and nothing else of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::LookError;
use crate::cluster::request::{FIELD_MANAGER, within};
use crate::runtime::leader::Leading;

/// The name of our webhook configurations.
const NAME: &str = "portreeve";

/// Makes the CAs known in every entry of both configurations. Entries and configurations that are not there are not
/// made: what is called, and when, is said by whoever installed them.
pub(super) async fn make_known(client: &Client, leading: &Leading, bundle: &str) -> Result<(), LookError> {
    let kinds = [
        ("MutatingWebhookConfiguration", ApiResource::erase::<MutatingWebhookConfiguration>(&())),
        ("ValidatingWebhookConfiguration", ApiResource::erase::<ValidatingWebhookConfiguration>(&())),
    ];
    let bundle = STANDARD.encode(bundle);
    for (kind, resource) in kinds {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let failed = |failed| LookError::Webhook { kind, failed };
        let Some(configuration) = within(api.get_opt(NAME)).await.map_err(failed)? else { continue };
        let Some(patch) = patch(&configuration, &bundle) else { continue };
        leading.next_step()?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        within(api.patch(NAME, &params, &Patch::Apply(&patch))).await.map_err(failed)?;
        tracing::info!(kind, "the webhook configuration has a new caBundle");
    }
    Ok(())
}

/// What we want of a configuration; `None` when it is so. The UID keeps it from being made anew when it was deleted,
/// and the version from undoing what was written since it was read.
fn patch(configuration: &DynamicObject, bundle: &str) -> Option<Value> {
    let entries = configuration.data["webhooks"].as_array()?;
    let is_known = |entry: &Value| entry["clientConfig"]["caBundle"] == bundle;
    if entries.iter().all(is_known) {
        return None;
    }
    let names = entries.iter().filter_map(|entry| entry["name"].as_str());
    let webhooks: Vec<_> = names.map(|name| json!({"name": name, "clientConfig": {"caBundle": bundle}})).collect();
    let types = configuration.types.as_ref();
    Some(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": types.map(|types| types.kind.as_str()),
        "metadata": {"name": NAME, "uid": configuration.metadata.uid,
            "resourceVersion": configuration.metadata.resource_version},
        "webhooks": webhooks,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_configuration_that_was_read_is_written() {
        let read = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": NAME, "uid": "u1", "resourceVersion": "7"},
            "webhooks": [{"name": "a", "clientConfig": {"caBundle": "old"}}]});
        let read: DynamicObject = serde_json::from_value(read).unwrap();
        let patch = patch(&read, "new").unwrap();
        assert_eq!(patch["metadata"], json!({"name": NAME, "uid": "u1", "resourceVersion": "7"}));
        assert_eq!(patch["webhooks"], json!([{"name": "a", "clientConfig": {"caBundle": "new"}}]));
        assert_eq!(super::patch(&read, "old"), None);
    }
}
