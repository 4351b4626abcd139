//! Secrets whose values lie in clear in a file, by the names of their keys alone.

use portreeve_reports::source::{Map, Node, Place};

use super::cipher::looks_sealed;
use super::creation::CreationRule;

/// A Secret of which values are not encrypted.
pub struct ClearSecret {
    /// How findings name it.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// The keys of those values: `stringData`, `password`.
    keys: Vec<(&'static str, String)>,
}

impl ClearSecret {
    /// What lies in clear in a manifest of a v1 Secret; `None` when nothing does. The values stay where they are.
    pub fn of(name: String, manifest: &Node) -> Option<Self> {
        let mut keys = Vec::new();
        for field in ["data", "stringData"] {
            let values = manifest.get(field).and_then(Node::as_map).into_iter().flat_map(Map::iter);
            let clear = values.filter(|entry| {
                let said = entry.node.as_str().is_some_and(|text| !text.is_empty() && !looks_sealed(text));
                // No text, and still something that somebody wrote: `pin: 1234`.
                said || (entry.node.as_str().is_none() && !entry.node.is_null())
            });
            keys.extend(clear.map(|entry| (field, entry.key.to_string())));
        }
        (!keys.is_empty()).then_some(Self { name, place: manifest.place, keys })
    }

    /// Whether a rule says to encrypt one of those values.
    pub(super) fn should_be_sealed(&self, rule: &CreationRule) -> bool {
        self.keys.iter().any(|(field, key)| rule.selection().encrypts([*field, key]))
    }
}
