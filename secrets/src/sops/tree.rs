//! The tree of a document: ordered, with comments, and secret.

use super::secret::SecretBytes;
use super::stamp;

/// A leaf or a collection. Texts are bytes: `!!binary` need not be UTF-8.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A timestamp in RFC 3339 with the fraction that it needs.
    Time(SecretBytes),
    Text(SecretBytes),
    List(Vec<Item>),
    Map(Vec<Member>),
}

/// A line that is not data, without its `#`.
#[derive(Clone, PartialEq)]
pub(crate) struct Comment {
    pub(crate) text: SecretBytes,
    /// It stands behind a value on the same line.
    pub(crate) inline: bool,
}

/// What a list holds.
#[derive(Clone, PartialEq)]
pub(crate) enum Item {
    Comment(Comment),
    Value(Value),
}

/// What a map holds. Keys are not secret.
#[derive(Clone, PartialEq)]
pub(crate) enum Member {
    Comment(Comment),
    Pair(String, Value),
}

/// A document's top map.
pub(crate) type Branch = Vec<Member>;

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// The text of a leaf that is text in UTF-8.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) | Self::Time(bytes) => std::str::from_utf8(bytes.expose()).ok(),
            _ => None,
        }
    }

    /// What the MAC covers of a leaf, and what is encrypted of it; `None` for what is neither.
    pub(crate) fn leaf_bytes(&self) -> Option<SecretBytes> {
        Some(match self {
            Self::Null | Self::List(_) | Self::Map(_) => return None,
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Int(number) => SecretBytes::new(number.to_string().into_bytes()),
            Self::Float(number) => SecretBytes::new(stamp::plain_float(*number).into_bytes()),
            Self::Time(bytes) | Self::Text(bytes) => bytes.clone(),
        })
    }

    /// The word for its type in a message.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Time(_) => "a timestamp",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// The value of a key, in a map.
pub(crate) fn find<'tree>(members: &'tree [Member], key: &str) -> Option<&'tree Value> {
    members.iter().find_map(|member| match member {
        Member::Pair(name, value) if name == key => Some(value),
        _ => None,
    })
}

/// The pairs of a map.
pub(crate) fn pairs(members: &[Member]) -> impl Iterator<Item = (&str, &Value)> {
    members.iter().filter_map(|member| match member {
        Member::Pair(name, value) => Some((name.as_str(), value)),
        Member::Comment(_) => None,
    })
}

/// The values of a list.
pub(crate) fn values(items: &[Item]) -> impl Iterator<Item = &Value> {
    items.iter().filter_map(|item| match item {
        Item::Value(value) => Some(value),
        Item::Comment(_) => None,
    })
}
