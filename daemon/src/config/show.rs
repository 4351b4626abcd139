//! The configuration in force as lines: each value, and where it comes from.

use portreeve_reports::source::{Node, Value};
use serde_json::Value as Json;

use super::LoadedConfig;
use super::schema::schema;

/// Sections that switch something on: where they are absent, their defaults are not in force.
const SWITCHES: [&str; 2] = ["admission", "platform"];

/// A line for each value that is set; with `origin` where it comes from, and the defaults that are in force.
/// No value is secret: an address of a store with a password is not valid.
pub fn lines(loaded: &LoadedConfig, origin: bool) -> Vec<String> {
    let mut lines = Vec::new();
    flatten(&loaded.tree, "", &mut |path, node| {
        let value = node.to_json();
        lines.push(if origin {
            format!("{path}: {value}  # {}", origin_of(node, loaded))
        } else {
            format!("{path}: {value}")
        });
    });
    if origin {
        defaults(&schema(), Some(&loaded.tree), "", &mut lines);
    }
    lines
}

fn flatten(node: &Node, path: &str, say: &mut impl FnMut(&str, &Node)) {
    match &node.value {
        Value::Map(map) => map.iter().for_each(|entry| flatten(&entry.node, &below(path, &entry.key), say)),
        Value::List(items) if items.iter().any(|item| item.as_map().is_some()) => {
            for (index, item) in items.iter().enumerate() {
                flatten(item, &format!("{path}[{index}]"), say);
            }
        }
        _ => say(path, node),
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn origin_of(node: &Node, loaded: &LoadedConfig) -> String {
    let variable = loaded.variables.get(node.place.column as usize).filter(|_| node.place.line == 0);
    match (variable, &loaded.file) {
        (Some(variable), _) => variable.clone(),
        (None, Some(file)) => format!("{}:{}", file.display(), node.place),
        (None, None) => "environment".to_owned(),
    }
}

/// The defaults of what is not set, in the order of the schema.
fn defaults(schema: &Json, node: Option<&Node>, path: &str, lines: &mut Vec<String>) {
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
    for (key, schema) in properties {
        let path = below(path, key);
        let value = node.and_then(Node::as_map).and_then(|map| map.get(key)).filter(|node| !node.is_null());
        match (value, schema.get("default")) {
            (None, Some(default)) => lines.push(format!("{path}: {default}  # default")),
            (None, None) if SWITCHES.contains(&path.as_str()) => {}
            (None | Some(Node { value: Value::Map(_), .. }), None) => defaults(schema, value, &path, lines),
            (Some(Node { value: Value::List(items), .. }), _) => {
                let schema = schema.get("items").unwrap_or(&Json::Null);
                for (index, item) in items.iter().enumerate() {
                    defaults(schema, Some(item), &format!("{path}[{index}]"), lines);
                }
            }
            _ => {}
        }
    }
}
