//! The seven steps: each acts, shows what was answered, and fails the demo when that is not what was promised.

pub(crate) mod cluster;
pub(crate) mod doors;
pub(crate) mod platform;
pub(crate) mod secrets;

use serde_json::Value;

/// A text of an object, or nothing.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
