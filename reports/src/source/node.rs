//! The value tree that every file, API object and AdmissionReview becomes.

use std::sync::Arc;

/// A place in a file; line 0 means that the value did not come from a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// 1-based line.
    pub line: u32,
    /// 1-based column.
    pub column: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and its place. Cloning shares lists, maps and strings.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

/// The values of JSON; YAML's other types are read as the strings they were written as.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, or a key without a value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number within 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(Arc<str>),
    /// A sequence.
    List(Arc<Vec<Node>>),
    /// A mapping with string keys.
    Map(Arc<Map>),
}

/// A mapping in the order it was written; keys are unique.
#[derive(Clone, Debug, Default)]
pub struct Map {
    entries: Vec<Entry>,
    /// Positions in the order of their keys, for maps with more than [`Map::SCANNED`] entries.
    sorted: Box<[u32]>,
}

/// A key with its place, and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// Where the key stands.
    pub key_place: Place,
    /// The value.
    pub node: Node,
}

impl Map {
    /// Maps up to this size are searched entry by entry; larger ones, which input may make as large as it likes, by
    /// their sorted positions.
    const SCANNED: usize = 16;

    /// A map of these entries, or the first entry whose key stands twice.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, Entry> {
        // A tree is built once and kept: what the list grew beyond its end would be kept too.
        entries.shrink_to_fit();
        let sorted = sorted_positions(&entries);
        let duplicate = if entries.len() > Self::SCANNED {
            let same = |pair: &[u32]| entries[pair[0] as usize].key == entries[pair[1] as usize].key;
            sorted.windows(2).filter(|pair| same(pair)).map(|pair| pair[1] as usize).min()
        } else {
            (1..entries.len()).find(|&index| entries[..index].iter().any(|entry| entry.key == entries[index].key))
        };
        match duplicate.and_then(|index| entries.get(index)) {
            Some(entry) => Err(entry.clone()),
            None => Ok(Self { entries, sorted }),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        if self.sorted.is_empty() {
            return self.entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.node);
        }
        let found = self.sorted.binary_search_by(|&position| (*self.entries[position as usize].key).cmp(key)).ok()?;
        Some(&self.entries[self.sorted[found] as usize].node)
    }

    /// Entries in the order they were written.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Empty for maps that are scanned. Equal keys keep the order of the map.
fn sorted_positions(entries: &[Entry]) -> Box<[u32]> {
    if entries.len() <= Map::SCANNED {
        return Box::default();
    }
    let mut sorted: Vec<u32> = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
    sorted.sort_by(|&left, &right| entries[left as usize].key.cmp(&entries[right as usize].key));
    sorted.into_boxed_slice()
}

impl Node {
    /// `null` without a place.
    pub fn null() -> Self {
        Self { value: Value::Null, place: Place::default() }
    }

    /// A string without a place.
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Self { value: Value::String(text.into()), place: Place::default() }
    }

    /// The node below this one, by map keys; `None` where a key is absent or something on the way is not a map.
    pub fn at<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        keys.into_iter().try_fold(self, |node, key| node.get(key))
    }

    /// The value of a key of a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// A whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The map.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// `a string`, `a list`, … for messages.
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a decimal number",
            // What sops writes for a value of any type.
            Value::String(text) if text.starts_with("ENC[AES256_GCM,") => "an encrypted value",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The tree as JSON. A number that JSON has no word for becomes `null`.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Int(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::String(text) => text.as_ref().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(map) => serde_json::Value::Object(
                map.iter().map(|entry| (entry.key.to_string(), entry.node.to_json())).collect(),
            ),
        }
    }
}

/// Equality of values; places do not count.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            (Value::Int(left), Value::Int(right)) => left == right,
            (Value::Float(left), Value::Float(right)) => left == right,
            (Value::String(left), Value::String(right)) => left == right,
            (Value::List(left), Value::List(right)) => left == right,
            (Value::Map(left), Value::Map(right)) => {
                left.len() == right.len() && left.iter().all(|entry| right.get(&entry.key) == Some(&entry.node))
            }
            _ => false,
        }
    }
}
