//! JSON values as YAML in block style. Texts are plain where no reader can take them for something else, and quoted as
//! in JSON elsewhere.

use serde_json::Value;

/// Columns of one level.
const INDENT: usize = 2;

/// A value as a document.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

/// Writes a map or a list, each line of it indented.
fn write(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            pad(indent, text);
            entry(key, value, indent, text);
        }),
        Value::Array(items) => items.iter().for_each(|item| {
            pad(indent, text);
            self::item(item, indent, text);
        }),
        _ => line(&scalar(value), text),
    }
}

fn entry(key: &str, value: &Value, indent: usize, text: &mut String) {
    text.push_str(&scalar(&key.into()));
    text.push(':');
    if is_block(value) {
        text.push('\n');
        write(value, indent + INDENT, text);
    } else {
        text.push(' ');
        line(&scalar(value), text);
    }
}

/// The first entry of a map stands behind the dash.
fn item(value: &Value, indent: usize, text: &mut String) {
    text.push_str("- ");
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (number, (key, value)) in fields.iter().enumerate() {
                if number > 0 {
                    pad(indent + INDENT, text);
                }
                entry(key, value, indent + INDENT, text);
            }
        }
        _ => line(&scalar(value), text),
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn pad(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn line(content: &str, text: &mut String) {
    text.push_str(content);
    text.push('\n');
}

/// A list in a list and whatever else has no block here is written as JSON, which is YAML.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(word) if is_plain(word) => word.clone(),
        other => other.to_string(),
    }
}

/// Words and sentences of letters. Words that some reader takes for a boolean, a null or a number are quoted.
fn is_plain(word: &str) -> bool {
    let special = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let allowed = |character: char| character.is_ascii_alphanumeric() || " ./-_,;()".contains(character);
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.chars().all(allowed)
        && !word.ends_with(' ')
        && !special.contains(&word.to_ascii_lowercase().as_str())
}
