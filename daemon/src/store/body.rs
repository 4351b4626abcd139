//! The text of a finding in the store: json-v1, bounded.

use portreeve_reports::Finding;
use portreeve_reports::formats::json::finding_value;
use serde_json::Value;

/// The longest body that is stored whole.
const MAX_BYTES: usize = 256 * 1024;
/// What is kept of the message of a longer one.
const MAX_MESSAGE: usize = 8 * 1024;

/// The json-v1 text of a finding. One that is too large loses its lists, and says so in `truncated`.
pub(super) fn body(finding: &Finding) -> String {
    let mut value = finding_value(finding);
    let text = value.to_string();
    if text.len() <= MAX_BYTES {
        return text;
    }
    if let Some(fields) = value.as_object_mut() {
        for list in ["evidence", "related", "frameworks"] {
            fields.insert(list.to_owned(), Value::Array(Vec::new()));
        }
        fields.remove("fix");
        fields.insert("locations".to_owned(), Value::Array(Vec::new()));
        fields.insert("message".to_owned(), Value::from(bounded(&finding.message, MAX_MESSAGE)));
        fields.insert("truncated".to_owned(), Value::Bool(true));
    }
    value.to_string()
}

/// At most `max` bytes of the text, cut at a character.
pub(super) fn bounded(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
