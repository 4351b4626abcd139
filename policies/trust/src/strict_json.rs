//! JSON as signatures need it: one document, no duplicate keys, bounded depth. Readers that disagree about a duplicate
//! key disagree about what was signed.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting of maps and lists read; signed payloads and bundles need seven.
const MAX_DEPTH: usize = 64;
/// Most values read: a tree takes many times the bytes of its text. Bundles have a hundred, trust roots a thousand; what
/// is large in them is text.
const MAX_VALUES: usize = 20_000;

/// Bytes that are not one strict JSON document.
#[derive(Debug, thiserror::Error)]
#[error("not strict JSON: {0}")]
pub(crate) struct NotStrictJson(serde_json::Error);

/// Reads one document; refuses duplicate keys, trailing data, nesting deeper than 64 and more than 20,000 values.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, NotStrictJson> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let left = Cell::new(MAX_VALUES);
    let value = Strict { depth: MAX_DEPTH, left: &left }.deserialize(&mut deserializer).map_err(NotStrictJson)?;
    deserializer.end().map_err(NotStrictJson)?;
    Ok(value)
}

/// The value of a key, whatever its case ("Docker-manifest-digest" is in use); `None` when it is there twice.
pub(crate) fn get<'value>(value: &'value Value, key: &str) -> Option<&'value Value> {
    let mut named = value.as_object()?.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
    let (_, found) = named.next()?;
    named.next().is_none().then_some(found)
}

struct Strict<'left> {
    depth: usize,
    left: &'left Cell<usize>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("more values than are read"))?;
        self.left.set(left);
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth, left: self.left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.deeper()?)?;
            if entries.contains_key(&key) {
                return Err(A::Error::custom("a key stands twice"));
            }
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_document_without_duplicate_keys_is_read() {
        let text = br#"{"a":[1,-2,1.5,"x",null,true,{"b":{}}]}"#;
        assert_eq!(parse(text).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn t07_duplicate_keys_trailing_data_and_depth_are_refused() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#, "{} {}", "{}x", "", "{", "[1,]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text} was accepted");
        }
        assert!(parse(format!("{}{}", "[".repeat(65), "]".repeat(65)).as_bytes()).is_err());
        assert!(parse(format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
        assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn values_beyond_the_most_are_refused_before_they_are_kept() {
        // Each step asks for one more, the one that finds the end of the list included.
        let list = |values: usize| parse(format!("[{}0]", "0,".repeat(values - 1)).as_bytes());
        assert!(list(MAX_VALUES - 1).is_ok());
        assert!(list(MAX_VALUES).unwrap_err().to_string().contains("more values than are read"));
        assert!(list(8 << 20).is_err());
    }

    #[test]
    fn keys_are_found_in_any_case_and_only_when_they_are_one() {
        let value = parse(br#"{"Docker-Manifest-Digest":1,"a":1,"A":2}"#).unwrap();
        assert_eq!(get(&value, "docker-manifest-digest"), Some(&Value::from(1)));
        assert_eq!(get(&value, "a"), None);
    }
}
