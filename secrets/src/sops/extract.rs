//! Parts of a plaintext, by sops's paths: `["database"]["users"][0]`.

use super::document::Plain;
use super::error::{Error, Kind};
use super::secret::SecretBytes;
use super::tree::{Value, find, values};
use super::yaml;

/// A way into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// What a path leads to.
pub enum Extracted {
    /// A text, as it is.
    Text(SecretBytes),
    /// Anything else, as YAML.
    Yaml(SecretBytes),
}

impl KeyPath {
    /// Reads `["key"][0]['other']`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::new(Kind::Path, "a path reads [\"key\"][0]: each step in brackets, keys in quotes");
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            rest = rest.strip_prefix('[').ok_or_else(wrong)?;
            let step;
            (step, rest) = match rest.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let inside = rest.get(1..).ok_or_else(wrong)?;
                    let (key, rest) = inside.split_once(&format!("{quote}]")).ok_or_else(wrong)?;
                    (Step::Key(key.to_owned()), rest)
                }
                _ => {
                    let (number, rest) = rest.split_once(']').ok_or_else(wrong)?;
                    (Step::Index(number.parse().map_err(|_| wrong())?), rest)
                }
            };
            steps.push(step);
        }
        Ok(Self(steps))
    }
}

impl Plain {
    /// What a path leads to in the first document.
    pub fn extract(&self, path: &KeyPath) -> Result<Extracted, Error> {
        let top = Value::Map(self.branches.first().cloned().unwrap_or_default());
        let mut value = &top;
        for step in &path.0 {
            value = go(value, step)?;
        }
        match value {
            Value::Text(bytes) => Ok(Extracted::Text(bytes.clone())),
            Value::Map(members) => yaml::emit(std::slice::from_ref(members)).map(Extracted::Yaml),
            Value::List(items) => yaml::emit_list(items).map(Extracted::Yaml),
            leaf => yaml::emit_leaf(leaf).map(Extracted::Yaml),
        }
    }
}

fn go<'tree>(value: &'tree Value, step: &Step) -> Result<&'tree Value, Error> {
    let missing = |message: String| Error::new(Kind::PathNotFound, message);
    match (value, step) {
        (Value::Map(members), Step::Key(key)) => find(members, key)
            .ok_or_else(|| missing(format!("there is no key '{}'", portreeve_reports::source::shown(key)))),
        (Value::List(items), Step::Index(index)) => {
            values(items).nth(*index).ok_or_else(|| missing(format!("there is no item {index}: the list is shorter")))
        }
        (other, Step::Key(key)) => {
            let key = portreeve_reports::source::shown(key);
            Err(missing(format!("there is no key '{key}' in {}", other.kind_name())))
        }
        (other, Step::Index(index)) => Err(missing(format!("there is no item {index} in {}", other.kind_name()))),
    }
}
