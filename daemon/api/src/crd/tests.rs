use portreeve_reports::code::KnownCodes;
use portreeve_reports::exceptions::ExceptionSpec;
use portreeve_reports::source::{Fields, Limits, Node, Problems, yaml};
use portreeve_trust::policy::ImagePolicySpec;
use serde_json::Map;

use super::*;

/// What a decoder says of a spec.
fn said(kind: &str, spec: &Value) -> Vec<String> {
    let mut problems = Problems::new("test");
    let node = Node::from_json(spec);
    match kind {
        "ImagePolicy" => {
            Fields::of(&node, "spec", &mut problems).and_then(|fields| fields.finish_with(ImagePolicySpec::decode));
        }
        "Platform" => {
            let document =
                json!({"apiVersion": crate::API_VERSION, "kind": kind, "metadata": {"name": "p"}, "spec": spec});
            problems =
                crate::document(None, &Node::from_json(&document), &KnownCodes::default()).err().unwrap_or(problems);
        }
        _ => drop(ExceptionSpec::decode(&node, &KnownCodes::default(), &mut problems)),
    }
    problems.list().iter().map(|problem| problem.message.clone()).collect()
}

/// A document that has every property of a schema, each with a value of its type.
fn everything(schema: &Value) -> Value {
    match schema["type"].as_str().unwrap() {
        "object" => match schema["properties"].as_object() {
            Some(fields) => fields.iter().map(|(key, schema)| (key.clone(), everything(schema))).collect(),
            None => Value::Object(Map::new()),
        },
        "array" => json!([everything(&schema["items"])]),
        "boolean" => true.into(),
        "integer" => 1.into(),
        _ => schema["enum"][0].as_str().unwrap_or("2027-01-31").into(),
    }
}

/// The same with one more field in every object.
fn with_typos(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Map<_, _> = fields.into_iter().map(|(key, value)| (key, with_typos(value))).collect();
            fields.insert("typo".to_owned(), 1.into());
            fields.into()
        }
        Value::Array(items) => items.into_iter().map(with_typos).collect(),
        other => other,
    }
}

fn specs() -> impl Iterator<Item = (&'static str, Value)> {
    DEFINITIONS.iter().map(|of| (of.kind, (of.spec)()))
}

/// The document without the fields of these names, at any depth: decoders look into only one of two that exclude each
/// other.
fn without(value: &Value, names: &[&str]) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(key, _)| !names.contains(&key.as_str()));
            kept.map(|(key, value)| (key.clone(), without(value, names))).collect()
        }
        Value::Array(items) => items.iter().map(|item| without(item, names)).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_field_of_a_schema_is_known_to_the_decoder() {
    for (kind, schema) in specs() {
        for left_out in [&["static"][..], &["authorities", "deny"], &["authorities", "allow", "owner", "expires"]] {
            let messages = said(kind, &without(&everything(&schema), left_out));
            let unknown: Vec<_> = messages.iter().filter(|message| message.contains("unknown key")).collect();
            assert_eq!(unknown, [""; 0], "{kind} without {left_out:?}");
        }
    }
}

#[test]
fn a_field_that_the_schema_does_not_have_is_refused_by_the_decoder() {
    for (kind, schema) in specs() {
        let messages = said(kind, &with_typos(without(&everything(&schema), &["static"])));
        let places: &[&str] = match kind {
            "Platform" if !crate::KINDS.contains(&kind) => &[],
            "Platform" => &["", "defaults.", "gate.", "components[0].", "components[0].ignore[0]."],
            "ImagePolicy" => &["", "rules[0].", "rules[0].authorities.", "rules[0].authorities.list[0].key."],
            _ => &["", "subjects."],
        };
        for place in places {
            let message = format!("unknown key 'spec.{place}typo'");
            assert!(messages.iter().any(|said| said.starts_with(&message)), "{kind} {place}: {messages:?}");
        }
    }
}

#[test]
fn every_field_of_the_schema_is_described_and_every_object_is_closed() {
    fn check(path: &str, schema: &Value) {
        let about = schema["description"].as_str().unwrap_or_default();
        assert!(about.ends_with('.'), "{path}: {about:?}");
        let is_open = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
        assert_eq!(is_open, path.ends_with(".values"), "{path}");
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            check(&format!("{path}.{key}"), schema);
        }
        if schema["type"] == "array" {
            check(&format!("{path}[]"), &schema["items"]);
        }
    }
    specs().for_each(|(kind, schema)| check(kind, &schema));
    check("status", &kinds::status());
}

#[test]
fn the_yaml_of_a_definition_reads_as_the_definition() {
    for definition in definitions() {
        let text = yaml_text(&definition);
        let read = yaml::read(text.as_bytes(), &Limits::default());
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref().unwrap().to_json(), definition, "{text}");
    }
}

fn yaml_text(definition: &Value) -> String {
    super::yaml(definition)
}

#[test]
fn the_kinds_that_are_defined_are_those_that_are_read() {
    let mut defined: Vec<_> = DEFINITIONS.iter().map(|of| of.kind).collect();
    let mut read = [&crate::KINDS[..], &["Platform"]].concat();
    defined.sort_unstable();
    read.sort_unstable();
    read.dedup();
    assert_eq!(defined, read);
}

#[test]
fn the_api_server_takes_no_more_components_than_the_decoder() {
    let spec = kinds::platform();
    let most = json!(crate::platform::MAX_COMPONENTS);
    let components = &spec["properties"]["components"];
    assert_eq!(components["maxItems"], most);
    assert_eq!(components["minItems"], 0, "and no fewer: a file may have none");
    assert_eq!(components["items"]["properties"]["dependsOn"]["maxItems"], most);
}
