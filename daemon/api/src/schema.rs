//! Structural OpenAPI schemas, as CustomResourceDefinitions have them, from a few words each.
//!
//! The decoders say what a document means; these say its shape, so that the API server refuses a mistyped field when
//! it is written. A test takes every property through the decoders: a field that one of both does not know fails it.

use serde_json::{Map, Value, json};

/// A field of an object: its name, its schema, and whether it must be there.
pub(crate) struct Field {
    name: &'static str,
    schema: Value,
    is_required: bool,
}

/// A field that must be there.
pub(crate) fn required(name: &'static str, schema: Value) -> Field {
    Field { name, schema, is_required: true }
}

/// A field that may be left out.
pub(crate) fn optional(name: &'static str, schema: Value) -> Field {
    Field { name, schema, is_required: false }
}

/// A map with these fields and no others.
pub(crate) fn object<const N: usize>(about: &str, fields: [Field; N]) -> Value {
    let needed: Vec<&str> = fields.iter().filter(|field| field.is_required).map(|field| field.name).collect();
    let mut schema = json!({"description": about, "type": "object"});
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    let properties: Map<String, Value> =
        fields.into_iter().map(|field| (field.name.to_owned(), field.schema)).collect();
    schema["properties"] = properties.into();
    schema
}

/// A text with at least one character that is no blank.
pub(crate) fn text(about: &str) -> Value {
    matching(about, r"\S")
}

/// A text of a form.
pub(crate) fn matching(about: &str, pattern: &str) -> Value {
    json!({"description": about, "type": "string", "pattern": pattern})
}

/// One of a few words.
pub(crate) fn one_of(about: &str, words: &[&str]) -> Value {
    json!({"description": about, "type": "string", "enum": words})
}

/// A day.
pub(crate) fn day(about: &str) -> Value {
    json!({"description": about, "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})
}

/// Yes or no.
pub(crate) fn boolean(about: &str) -> Value {
    json!({"description": about, "type": "boolean"})
}

/// A whole number from `least` on.
pub(crate) fn integer(about: &str, least: i64) -> Value {
    json!({"description": about, "type": "integer", "format": "int64", "minimum": least})
}

/// A list of at least one item.
pub(crate) fn list(about: &str, items: Value) -> Value {
    json!({"description": about, "type": "array", "minItems": 1, "items": items})
}

/// A list of one item to so many.
pub(crate) fn short_list(about: &str, most: usize, items: Value) -> Value {
    let mut schema = list(about, items);
    schema["maxItems"] = json!(most);
    schema
}

/// A map from any name to texts.
pub(crate) fn texts_by_name(about: &str) -> Value {
    json!({"description": about, "type": "object", "additionalProperties": {"type": "string"}})
}
