//! What a scalar means to go-yaml v3.

use base64::Engine as _;
use granit_parser::ScalarStyle;

use super::super::cipher::BASE64;
use super::super::secret::SecretBytes;
use super::super::stamp;
use super::super::tree::Value;

/// A scalar without a place in these types: an integer beyond 64 signed bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// sops cannot hold it either.
    TooBig,
    /// The text is not what its tag says.
    NotItsTag,
}

/// The value of a scalar by its tag's short name (`!!int`), or by its style and text.
pub(crate) fn value(text: &str, style: ScalarStyle, tag: Option<&str>) -> Result<Value, Misfit> {
    match tag {
        None if style == ScalarStyle::Plain => plain(text),
        None | Some("!!str") => Ok(Value::text(text)),
        Some("!!binary") => binary(text),
        Some(tag @ ("!!null" | "!!bool" | "!!int" | "!!float" | "!!timestamp")) => tagged(text, tag),
        // What go-yaml does not know it takes for text.
        Some(_) => Ok(Value::text(text)),
    }
}

fn binary(text: &str) -> Result<Value, Misfit> {
    let joined: String = text.chars().filter(|letter| !matches!(letter, '\n' | '\r')).collect();
    let bytes = BASE64.decode(joined.trim_end_matches(' ')).map_err(|_| Misfit::NotItsTag)?;
    Ok(Value::Text(SecretBytes::new(bytes)))
}

fn tagged(text: &str, tag: &str) -> Result<Value, Misfit> {
    match (tag, plain(text)?) {
        ("!!null", Value::Null) => Ok(Value::Null),
        ("!!bool", value @ Value::Bool(_))
        | ("!!int", value @ Value::Int(_))
        | ("!!float", value @ Value::Float(_))
        | ("!!timestamp", value @ Value::Time(_)) => Ok(value),
        #[expect(clippy::cast_precision_loss, reason = "the tag asks for it")]
        ("!!float", Value::Int(number)) => Ok(Value::Float(number as f64)),
        _ => Err(Misfit::NotItsTag),
    }
}

/// Whether a text without quotes would be read as something else than that text.
pub(crate) fn resolves_elsewhere(text: &str) -> bool {
    !matches!(plain(text), Ok(Value::Text(_)))
}

/// A plain scalar, by the first character as the reference does: most texts are told from the rest there.
fn plain(text: &str) -> Result<Value, Misfit> {
    let Some(first) = text.bytes().next() else { return Ok(Value::Null) };
    match first {
        b'0'..=b'9' | b'+' | b'-' => number(text),
        b'.' => Ok(dotted(text)),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => Ok(word(text)),
        _ => Ok(Value::text(text)),
    }
}

fn word(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => Value::text(text),
    }
}

fn dotted(text: &str) -> Value {
    match text {
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" => Value::Float(f64::INFINITY),
        _ => float(text).map_or_else(|| Value::text(text), Value::Float),
    }
}

fn number(text: &str) -> Result<Value, Misfit> {
    match text {
        "+.inf" | "+.Inf" | "+.INF" => return Ok(Value::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Ok(Value::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    if let Some(time) = stamp::yaml_time(text) {
        return Ok(Value::Time(SecretBytes::new(time.into_bytes())));
    }
    let digits: String = text.chars().filter(|letter| *letter != '_').collect();
    if let Some(number) = integer(&digits) {
        return i64::try_from(number).map(Value::Int).or_else(|_| beyond_signed(number, text));
    }
    Ok(float(&digits).map_or_else(|| Value::text(text), Value::Float))
}

/// What fits 64 bits unsigned is an integer that sops refuses to hold; beyond, a float.
fn beyond_signed(number: i128, text: &str) -> Result<Value, Misfit> {
    if u64::try_from(number).is_ok() && !text.starts_with('+') {
        return Err(Misfit::TooBig);
    }
    let digits: String = text.chars().filter(|letter| *letter != '_').collect();
    Ok(float(&digits).map_or_else(|| Value::text(text), Value::Float))
}

/// Integers with the prefixes of Go: `0x`, `0o`, `0b`, and `0` for octal.
fn integer(digits: &str) -> Option<i128> {
    let (negative, unsigned) = match digits.as_bytes().first()? {
        b'-' => (true, digits.get(1..)?),
        b'+' => (false, digits.get(1..)?),
        _ => (false, digits),
    };
    let prefix = unsigned.get(..2).map(str::to_ascii_lowercase);
    let (radix, rest) = match prefix.as_deref() {
        Some("0x") => (16, unsigned.get(2..)?),
        Some("0o") => (8, unsigned.get(2..)?),
        Some("0b") => (2, unsigned.get(2..)?),
        _ if unsigned.len() > 1 && unsigned.starts_with('0') => (8, unsigned.get(1..)?),
        _ => (10, unsigned),
    };
    // `from_str_radix` would take a second sign.
    if rest.is_empty() || rest.starts_with(['+', '-']) {
        return None;
    }
    let number = i128::from_str_radix(rest, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and finite.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
