//! JSON of machines (API objects, AdmissionReviews, registry answers) to trees; faster than the YAML reader and
//! without places, except for those of errors.

use std::sync::Arc;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::node::{Entry, Map};
use super::yaml::text_of;
use super::{Limits, Node, Place, SourceError, Value, shown};

/// The one JSON document of an input. Duplicate keys and anything behind the document are errors. Nesting ends at
/// [`Limits::depth`], and at 127 levels in any case.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Node, SourceError> {
    let text = text_of(bytes, limits)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut budget = Budget { nodes: limits.nodes, exceeded: None };
    let value = Seed { budget: &mut budget, depth: limits.depth }.deserialize(&mut deserializer);
    let read = value.and_then(|node| deserializer.end().map(|()| node));
    read.map_err(|error| explain(&error, budget.exceeded, limits))
}

impl Node {
    /// The tree of a JSON value, without places.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(number) => {
                number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int)
            }
            Json::String(text) => Value::String(text.as_str().into()),
            Json::Array(items) => Value::List(Arc::new(items.iter().map(Self::from_json).collect())),
            Json::Object(fields) => {
                let entries = fields.iter().map(|(key, value)| entry(key.as_str().into(), Self::from_json(value)));
                // The keys of a JSON value are unique already.
                Value::Map(Arc::new(Map::new(entries.collect()).unwrap_or_default()))
            }
        };
        placeless(value)
    }
}

#[derive(Clone, Copy)]
enum Exceeded {
    Nodes,
    Depth,
}

struct Budget {
    nodes: usize,
    exceeded: Option<Exceeded>,
}

/// Reads one value; `depth` counts down.
struct Seed<'budget> {
    budget: &'budget mut Budget,
    depth: usize,
}

impl Seed<'_> {
    fn below(&mut self) -> Seed<'_> {
        Seed { budget: self.budget, depth: self.depth - 1 }
    }

    fn check<E: Error>(&mut self, holds: bool, cap: Exceeded) -> Result<(), E> {
        if holds {
            return Ok(());
        }
        self.budget.exceeded = Some(cap);
        Err(E::custom("cap reached"))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(mut self, deserializer: D) -> Result<Node, D::Error> {
        self.check(self.budget.nodes > 0, Exceeded::Nodes)?;
        self.budget.nodes -= 1;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(placeless(Value::Null))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Node, E> {
        Ok(placeless(Value::Bool(truth)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(placeless(Value::Int(number)))
    }

    #[expect(clippy::cast_precision_loss, reason = "whole numbers beyond 64 bits are floating-point numbers")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(placeless(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(placeless(Value::Float(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(placeless(Value::String(text.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Node, A::Error> {
        self.check(self.depth > 0, Exceeded::Depth)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.below())? {
            list.push(item);
        }
        // As for maps: a tree is kept, and what the list grew beyond its end would be kept too.
        list.shrink_to_fit();
        Ok(placeless(Value::List(Arc::new(list))))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Node, A::Error> {
        self.check(self.depth > 0, Exceeded::Depth)?;
        let mut entries = Vec::new();
        while let Some(key) = fields.next_key::<String>()? {
            entries.push(entry(key.into(), fields.next_value_seed(self.below())?));
        }
        let map = Map::new(entries).map_err(|entry| {
            A::Error::custom(format!("key '{}' is written twice in this object; keep one", shown(&entry.key)))
        })?;
        Ok(placeless(Value::Map(Arc::new(map))))
    }
}

fn placeless(value: Value) -> Node {
    Node { value, place: Place::default() }
}

fn entry(key: Arc<str>, node: Node) -> Entry {
    Entry { key, key_place: Place::default(), node }
}

fn explain(error: &serde_json::Error, exceeded: Option<Exceeded>, limits: &Limits) -> SourceError {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let place = Place { line: number(error.line()), column: number(error.column()) };
    let said = error.to_string();
    match exceeded {
        Some(Exceeded::Nodes) => SourceError::too_large(place, format!("more than {} values", limits.nodes)),
        Some(Exceeded::Depth) => SourceError::too_large(place, format!("nested deeper than {} levels", limits.depth)),
        None if said.starts_with("recursion limit") => SourceError::too_large(place, "nested deeper than 127 levels"),
        None => {
            let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
            SourceError::unreadable(place, format!("not JSON: {what}"))
        }
    }
}

#[cfg(test)]
mod tests;
