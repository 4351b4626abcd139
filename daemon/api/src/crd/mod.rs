//! The CustomResourceDefinitions of the kinds, generated: what `portreeve crds` prints and the chart installs.

mod kinds;
mod text;

use serde_json::{Value, json};

use crate::{GROUP, VERSION};

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Namespaced,
    Cluster,
}

/// What a definition says besides the schema.
struct Definition {
    kind: &'static str,
    plural: &'static str,
    scope: Scope,
    about: &'static str,
    spec: fn() -> Value,
    /// Further columns of `kubectl get`: name and JSON path.
    columns: &'static [(&'static str, &'static str)],
    /// The condition that the next two columns show.
    condition: &'static str,
}

/// The condition that every kind has.
const ACCEPTED: &str = "Accepted";

const EXCEPTION_COLUMNS: &[(&str, &str)] = &[
    ("Owner", ".spec.owner"),
    ("Expires", ".spec.expires"),
    ("In-Force", r#".status.conditions[?(@.type=="InForce")].status"#),
];

/// In the order in which they are printed. An `ImagePolicy` is cluster-scoped: whoever may write it decides what runs
/// anywhere, and a rule names its namespaces itself.
const DEFINITIONS: [Definition; 4] = [
    Definition {
        kind: "ClusterException",
        plural: "clusterexceptions",
        scope: Scope::Cluster,
        about: "An accepted failure of subjects without a namespace: cluster-scoped objects, images, files.",
        spec: kinds::exception,
        columns: EXCEPTION_COLUMNS,
        condition: ACCEPTED,
    },
    Definition {
        kind: "Exception",
        plural: "exceptions",
        scope: Scope::Namespaced,
        about: "An accepted failure of objects of this namespace.",
        spec: kinds::exception,
        columns: EXCEPTION_COLUMNS,
        condition: ACCEPTED,
    },
    Definition {
        kind: "ImagePolicy",
        plural: "imagepolicies",
        scope: Scope::Cluster,
        about: "Whose word counts for which image.",
        spec: kinds::image_policy,
        columns: &[("Mode", ".spec.mode"), ("No-Match", ".spec.noMatch")],
        condition: ACCEPTED,
    },
    Definition {
        kind: "Platform",
        plural: "platforms",
        scope: Scope::Cluster,
        about: "The components of a platform, deployed and kept as declared.",
        spec: kinds::platform,
        columns: &[("Accepted", r#".status.conditions[?(@.type=="Accepted")].status"#)],
        condition: "Ready",
    },
];

/// Every definition, as the API server takes it.
pub fn definitions() -> Vec<Value> {
    DEFINITIONS.iter().map(definition).collect()
}

/// A definition as a YAML document.
pub fn yaml(definition: &Value) -> String {
    text::document(definition)
}

fn definition(of: &Definition) -> Value {
    let scope = if of.scope == Scope::Cluster { "Cluster" } else { "Namespaced" };
    let schema = json!({
        "description": of.about, "type": "object", "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "spec": (of.spec)(), "status": kinds::status(),
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{GROUP}", of.plural)},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": of.kind, "listKind": format!("{}List", of.kind), "plural": of.plural,
                "singular": of.kind.to_lowercase(), "categories": ["portreeve"],
            },
            "versions": [{
                "name": VERSION, "served": true, "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(of),
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

fn columns(of: &Definition) -> Vec<Value> {
    let condition = |field: &str| format!(r#".status.conditions[?(@.type=="{}")].{field}"#, of.condition);
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let own = of.columns.iter().map(|(name, path)| column(name, path));
    let said = [column(of.condition, &condition("status")), column("Reason", &condition("reason"))];
    let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    own.chain(said).chain([age]).collect()
}

#[cfg(test)]
mod tests;
