//! What is special about a Secret: its values are sent under one name, and nothing that is kept elsewhere follows from
//! them. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::cluster::key::ObjectKey;

/// Maps whose values are, or may quote, what is secret.
const HIDDEN: [&str; 3] = ["/data", "/stringData", "/metadata/annotations"];

/// Whether an object is a Secret.
pub(super) fn is_secret(key: &ObjectKey) -> bool {
    key.group.is_empty() && &*key.kind == "Secret"
}

/// Texts of `stringData` as `data`, which is what the API server makes of them: else it would note them under a name
/// that nobody else's fields have, overrule owners of `data` unasked, and never remove them. What is no text stays, for
/// the server to refuse.
pub(super) fn texts_as_data(body: &mut Value) {
    let Some(body) = body.as_object_mut() else { return };
    let Some(Value::Object(texts)) = body.get("stringData").cloned() else { return };
    let Value::Object(data) = body.entry("data").or_insert_with(|| json!({})) else { return };
    let mut others = Map::new();
    for (key, value) in texts {
        match value.as_str() {
            Some(text) => data.insert(key, json!(STANDARD.encode(text))),
            None => others.insert(key, value),
        };
    }
    if others.is_empty() {
        body.shift_remove("stringData");
    } else {
        body.insert("stringData".to_owned(), Value::Object(others));
    }
}

/// The object without values: keys and everything else are there. Its digest can be shown to whoever may not read it.
pub(super) fn without_values(body: &Value) -> Value {
    let mut shape = body.clone();
    let hidden = HIDDEN.map(|pointer| shape.pointer_mut(pointer).map(Value::take));
    for (pointer, values) in HIDDEN.into_iter().zip(hidden) {
        let keys = values.as_ref().and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let keys: Map<String, Value> = keys.map(|key| (key.clone(), Value::Null)).collect();
        if let Some(place) = shape.pointer_mut(pointer) {
            *place = Value::Object(keys);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_data_and_what_is_none_stays_for_the_server_to_refuse() {
        let mut body =
            json!({"kind": "Secret", "data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new", "c": ""}});
        texts_as_data(&mut body);
        assert_eq!(body, json!({"kind": "Secret", "data": {"a": "bmV3", "b": "Yg==", "c": ""}}));
        let mut body = json!({"stringData": {"a": 1, "b": "b"}});
        texts_as_data(&mut body);
        assert_eq!(body, json!({"data": {"b": "Yg=="}, "stringData": {"a": 1}}));
        for odd in [json!({"data": 1, "stringData": {"a": "b"}}), json!({"stringData": "x"}), json!({"kind": "Secret"})]
        {
            let mut body = odd.clone();
            texts_as_data(&mut body);
            assert_eq!(body, odd);
        }
    }

    #[test]
    fn what_is_without_values_has_none() {
        let secret = |value: &str| {
            json!({"metadata": {"name": "s", "annotations": {"sum": value}}, "type": "Opaque",
                "data": {"k": value}, "stringData": {"t": value, "u": [value]}})
        };
        let shape = without_values(&secret("hunter2"));
        assert_eq!(shape, without_values(&secret("hunter3")));
        assert_eq!(shape["data"], json!({"k": null}));
        assert_eq!(shape["type"], "Opaque");
        assert_ne!(shape, without_values(&json!({"data": {"other": "hunter2"}})));
    }
}
