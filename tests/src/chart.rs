//! The chart as helm renders it.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::documents;
use crate::parts::Part;
use crate::process::{run, scratch};
use crate::{OrFail, repository};

/// The namespace of the release.
pub const NAMESPACE: &str = "portreeve-system";

/// `helm template` with these values.
pub fn helm(values: &Value) -> Command {
    let file = scratch("values").join("values.json");
    std::fs::write(&file, values.to_string()).or_fail("a values file");
    let mut helm = Command::new(Part::path("helm"));
    helm.env("HOME", scratch("helm")).current_dir(repository());
    helm.args(["template", "portreeve", "charts/portreeve", "--namespace", NAMESPACE, "--values"]).arg(file);
    helm
}

/// The objects of the chart.
pub fn rendered(values: &Value) -> Vec<Value> {
    documents(&run(&mut helm(values)))
}

/// The one object of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().or_fail(kind);
    assert!(found.next().is_none(), "one {kind}");
    object
}

/// The ServiceAccount of the daemon and its rights.
pub fn rights(objects: &[Value]) -> [&Value; 5] {
    ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"].map(|kind| of_kind(objects, kind))
}

/// The webhook configurations, calling a daemon on loopback instead of the Service.
pub fn webhooks(objects: &[Value], url: &str, ca_pem: &str) -> [Value; 2] {
    ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"].map(|kind| {
        let mut configuration = of_kind(objects, kind).clone();
        for entry in configuration["webhooks"].as_array_mut().or_fail("a configuration has webhooks") {
            let path = entry["clientConfig"]["service"]["path"].as_str().or_fail("the path of a webhook").to_owned();
            entry["clientConfig"] = json!({"url": format!("{url}{path}"), "caBundle": STANDARD.encode(ca_pem)});
        }
        configuration
    })
}

/// The files of the daemon's configuration, and the document `portreeve.yaml` among them.
pub fn configuration(objects: &[Value]) -> (Value, Vec<(String, String)>) {
    let data = of_kind(objects, "ConfigMap")["data"].as_object().or_fail("the data of the ConfigMap");
    let text = |value: &Value| value.as_str().or_fail("data are texts").to_owned();
    let files: Vec<_> = data.iter().map(|(name, content)| (name.clone(), text(content))).collect();
    let (config, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| name == "portreeve.yaml");
    let (_, config) = config.into_iter().next().or_fail("portreeve.yaml");
    (documents(&config).remove(0), others)
}
