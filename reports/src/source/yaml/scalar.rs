//! What a scalar means to Kubernetes' YAML reader (`sigs.k8s.io/yaml`, its goyaml.v2 resolution).

use crate::source::Value;

/// The value of a plain scalar: `yes`, `on` and `y` are booleans, `0644` and `0o644` are 420, `1_000` is 1000;
/// timestamps stay text; whole numbers beyond 64 bits become floating-point numbers.
pub(super) fn plain(text: &str) -> Value {
    let known = match text.as_bytes().first() {
        None => Some(Value::Null),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => word(text),
        Some(b'.') => special_float(text).or_else(|| float(text)),
        Some(b'+' | b'-') => special_float(text).or_else(|| number(text)),
        Some(b'0'..=b'9') => number(text),
        Some(_) => None,
    };
    known.unwrap_or_else(|| Value::String(text.into()))
}

/// The value of a scalar with a core tag (`str`, `int`, …); `None` when the text is not of that type.
pub(super) fn tagged(tag: &str, text: &str) -> Option<Value> {
    if tag == "str" {
        return Some(Value::String(text.into()));
    }
    match (tag, plain(text)) {
        #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
        ("float", Value::Int(number)) => Some(Value::Float(number as f64)),
        ("float" | "int", value @ Value::Float(_)) if tag == "float" || is_whole(text) => Some(value),
        ("int", value @ Value::Int(_)) | ("bool", value @ Value::Bool(_)) | ("null", value @ Value::Null) => {
            Some(value)
        }
        _ => None,
    }
}

/// The text of a key that is not a string, as JSON writes it; `None` for `null`, lists and maps.
pub(super) fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) if number.is_nan() => Some(".nan".to_owned()),
        Value::Float(number) if number.is_infinite() => Some(if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned()),
        Value::Float(number) => Some(number.to_string()),
        Value::String(text) => Some(text.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn word(text: &str) -> Option<Value> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(Value::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Value::Bool(false))
        }
        "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        _ => None,
    }
}

fn special_float(text: &str) -> Option<Value> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(Value::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(Value::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => Some(Value::Float(f64::NEG_INFINITY)),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    // Dates, addresses and versions begin with digits too and end here without a copy.
    if text.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-' | b'_'))) {
        return None;
    }
    let plain = if text.contains('_') { &text.replace('_', "") } else { text };
    integer(plain).or_else(|| float(plain))
}

#[expect(clippy::cast_precision_loss, reason = "JSON numbers beyond 64 bits are floating-point numbers")]
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => (&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let signed = if negative { -magnitude } else { magnitude };
    Some(i64::try_from(signed).map_or(Value::Float(signed as f64), Value::Int))
}

/// `1.5`, `.5`, `1.`, `1e3`; nothing else that a float parser takes (`inf`, `nan`, `infinity`).
fn float(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let holds = all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent));
    let number: f64 = if holds { text.parse().ok()? } else { return None };
    // A number too large for a double is an error to Go's parser, and so text.
    number.is_finite().then_some(Value::Float(number))
}

fn is_whole(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}
