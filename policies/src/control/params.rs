//! Parameters that people lay over the defaults of controls.

use std::sync::Arc;

use portreeve_reports::source::{Map, Node, Problems, Value, decode::did_you_mean};

use super::Control;
use super::read::document;

/// Names that Kubescape's `postureControlInputs` has and no control here asks for yet: accepted in such a file, so
/// that people's files carry over. Source: regolibrary, default-config-inputs.json.
const KUBESCAPE_ONLY: &[&str] = &[
    "trustedCosignPublicKeys",
    "publicRegistries",
    "sensitiveInterfaces",
    "max_critical_vulnerabilities",
    "max_high_vulnerabilities",
    "servicesNames",
    "untrustedRegistries",
    "cpu_request_max",
    "cpu_request_min",
    "cpu_limit_max",
    "cpu_limit_min",
    "wlKnownNames",
    "recommendedLabels",
    "k8sRecommendedLabels",
    "hardenedSandboxRuntimeClasses",
    "floatingImageTags",
    "listOfDangerousArtifacts",
];

/// Parameter values by name. A name means the same in every control that has it.
#[derive(Clone, Debug)]
pub struct Params {
    file: Arc<str>,
    kubescape: bool,
    values: Map,
}

impl Default for Params {
    fn default() -> Self {
        Self { file: "parameters".into(), kubescape: false, values: Map::default() }
    }
}

impl Params {
    /// Reads a parameter file: a map of names, or Kubescape's `postureControlInputs` (alone or below `settings`).
    /// Whether the names exist is for [`Params::check_names`] to say, which knows the controls.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, Problems> {
        let mut problems = Problems::new(file);
        let Some(node) = document(bytes, &mut problems) else { return Err(problems) };
        let inputs = node.get("postureControlInputs").or_else(|| node.at(["settings", "postureControlInputs"]));
        let values = inputs.unwrap_or(&node);
        match values.as_map() {
            Some(map) => Ok(Self { file: file.into(), kubescape: inputs.is_some(), values: map.clone() }),
            None => {
                problems.push(values.place, format!("parameters must be a map, not {}", values.kind_name()));
                Err(problems)
            }
        }
    }

    /// Parameters that are already a map; anything else is none.
    pub fn of(file: &str, node: &Node) -> Self {
        Self { file: file.into(), kubescape: false, values: node.as_map().cloned().unwrap_or_default() }
    }

    /// Problems for names that no control has and for values of another type than their default.
    pub(crate) fn check_names(&self, controls: &[Control]) -> Result<(), Problems> {
        let mut problems = Problems::new(self.file.as_ref());
        let known: Vec<(&str, &Node)> =
            controls.iter().flat_map(|control| control.params.iter().map(|(name, node)| (&**name, node))).collect();
        for entry in self.values.iter() {
            match known.iter().find(|(name, _)| **name == *entry.key) {
                Some((_, default)) if !fits(default, &entry.node) => problems.push(
                    entry.node.place,
                    format!("parameter '{}' must be {}", entry.key, wanted(default, &entry.node)),
                ),
                Some(_) => {}
                None if self.kubescape && KUBESCAPE_ONLY.contains(&&*entry.key) => {}
                None => problems.push(entry.key_place, unknown_name(&entry.key, &known)),
            }
        }
        problems.into_result(())
    }

    /// The value of a parameter: the one given, else the default.
    pub(crate) fn value(&self, name: &str, default: &Node) -> Node {
        match self.values.get(name) {
            Some(given) if default.as_list().is_none() => scalar(given, default),
            Some(given) => given.clone(),
            None => default.clone(),
        }
    }
}

fn unknown_name(name: &str, known: &[(&str, &Node)]) -> String {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    let hint = did_you_mean(name, &names).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    format!("no control has a parameter '{name}'{hint}")
}

/// Kubescape writes every value as a list of strings; a list of at most one item stands for a single value.
fn fits(default: &Node, given: &Node) -> bool {
    match (&default.value, &given.value) {
        (Value::List(_), Value::List(items)) => items.iter().all(|item| item.as_str().is_some()),
        (Value::List(_), _) => false,
        (_, Value::List(items)) => items.len() <= 1,
        (_, Value::Map(_)) => false,
        (Value::String(_), _) => true,
        (default, given) => std::mem::discriminant(default) == std::mem::discriminant(given),
    }
}

/// `an integer, not a string`.
fn wanted(default: &Node, given: &Node) -> String {
    let given_name = given.kind_name();
    match (default.as_list(), given.as_list().and_then(|items| items.iter().find(|item| item.as_str().is_none()))) {
        (Some(_), Some(odd)) => format!("a list of strings, not one with {}", odd.kind_name()),
        (Some(_), None) => format!("a list of strings, not {given_name}"),
        (None, _) => format!("{}, not {given_name}", default.kind_name()),
    }
}

fn scalar(given: &Node, default: &Node) -> Node {
    match given.as_list() {
        Some([single]) => single.clone(),
        Some(_) => default.clone(),
        None => given.clone(),
    }
}
