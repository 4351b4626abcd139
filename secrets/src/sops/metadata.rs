//! The `sops` block.

use super::error::{Error, Kind};
use super::keys::Stanza;
use super::limits;
use super::secret::SecretBytes;
use super::select::{Rule, Selection};
use super::stamp;
use super::tree::{Item, Member, Value, find, pairs, values};

/// The key of the block.
pub(crate) const KEY: &str = "sops";

/// Kinds of keys that this version cannot open or renew; their stanzas are kept as they are.
const FOREIGN: [&str; 6] = ["azure_kv", "gcp_kms", "hc_vault", "hckms", "kms", "pgp"];

/// The version that is written: the format is that of this version of sops.
const VERSION: &str = "3.13.3";

/// A block, read.
#[derive(Clone)]
pub(crate) struct Metadata {
    pub(crate) age: Vec<Stanza>,
    /// Keys of other kinds than age, by their name.
    pub(crate) foreign: Vec<(String, Value)>,
    pub(crate) last_modified: String,
    pub(crate) mac: String,
    pub(crate) selection: Selection,
}

fn wrong(message: impl std::fmt::Display) -> Error {
    Error::new(Kind::NotEncrypted, format!("the sops block: {message}"))
}

/// A field, by its name in any case.
fn field<'tree>(block: &'tree [Member], name: &str) -> Option<&'tree Value> {
    find(block, name).or_else(|| pairs(block).find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value)))
}

/// A field as text; sops reads numbers and booleans as text too.
fn text(block: &[Member], name: &str) -> Result<Option<String>, Error> {
    match field(block, name) {
        None | Some(Value::Null) => Ok(None),
        Some(value @ (Value::Text(_) | Value::Time(_))) => {
            let text = value.as_str().ok_or_else(|| wrong(format_args!("{name} is not text")))?;
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        }
        Some(Value::Bool(flag)) => Ok(Some(if *flag { "1" } else { "0" }.to_owned())),
        Some(Value::Int(number)) => Ok(Some(number.to_string())),
        Some(Value::Float(number)) => Ok(Some(stamp::plain_float(*number))),
        Some(value) => Err(wrong(format_args!("{name} is {}, not text", value.kind_name()))),
    }
}

fn flag(block: &[Member], name: &str) -> Result<bool, Error> {
    match field(block, name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::Int(number)) => Ok(*number != 0),
        Some(value) => match value.as_str() {
            Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            _ => Err(wrong(format_args!("{name} is not a boolean"))),
        },
    }
}

fn list<'tree>(block: &'tree [Member], name: &str) -> Result<Vec<&'tree Value>, Error> {
    match field(block, name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => Ok(values(items).collect()),
        Some(value) => Err(wrong(format_args!("{name} is {}, not a list", value.kind_name()))),
    }
}

impl Metadata {
    pub(crate) fn read(block: &[Member]) -> Result<Self, Error> {
        let keys = Self::key_source(block)?;
        let last_modified = text(block, "lastmodified")?.ok_or_else(|| wrong("lastmodified is missing"))?;
        let last_modified = stamp::rfc3339_seconds(&last_modified)
            .ok_or_else(|| wrong("lastmodified is not a time such as 2026-01-31T12:00:00Z"))?;
        text(block, "version")?.ok_or_else(|| wrong("version is missing"))?;
        let metadata = Self {
            age: list(keys, "age")?.into_iter().map(stanza).collect::<Result<_, _>>()?,
            foreign: foreign(keys)?,
            last_modified,
            mac: text(block, "mac")?.unwrap_or_default(),
            selection: Self::selection(block)?,
        };
        if metadata.age.is_empty() && metadata.foreign.is_empty() {
            return Err(wrong("there are no keys in it"));
        }
        if metadata.age.len() > limits::RECIPIENTS {
            let message = format!("the sops block: more than {} recipients", limits::RECIPIENTS);
            return Err(Error::new(Kind::TooLarge, message));
        }
        Ok(metadata)
    }

    /// Where the keys stand: at the top, or in the one key group.
    fn key_source(block: &[Member]) -> Result<&[Member], Error> {
        let at_top = ["age"]
            .iter()
            .chain(&FOREIGN)
            .try_fold(false, |any, kind| Ok::<_, Error>(any || !list(block, kind)?.is_empty()))?;
        let groups = list(block, "key_groups")?;
        match (at_top, groups.as_slice()) {
            (false, [Value::Map(group)]) => Ok(group),
            (true, _) | (false, []) => Ok(block),
            _ => Err(Error::new(
                Kind::NotYet,
                "the data key is split among key groups (Shamir), which this version does not read yet; use sops for \
                 this file",
            )),
        }
    }

    fn selection(block: &[Member]) -> Result<Selection, Error> {
        let mut rule = None;
        for key in Rule::KEYS {
            let Some(text) = text(block, key)? else { continue };
            if rule.is_some() {
                return Err(wrong("it has more than one of the encrypted_… and unencrypted_… rules"));
            }
            rule = Rule::of(key, &text);
        }
        Selection::new(rule, flag(block, "mac_only_encrypted")?)
    }

    /// The block as sops 3.13 writes it: every map sorted.
    pub(crate) fn write(&self) -> Value {
        let mut fields: Vec<(&str, Value)> = vec![
            ("lastmodified", Value::text(&self.last_modified)),
            ("mac", Value::text(&self.mac)),
            ("version", Value::text(VERSION)),
        ];
        let (rule, pattern) = self.selection.rule().parts();
        fields.push((rule, Value::text(pattern)));
        if self.selection.mac_only_encrypted {
            fields.push(("mac_only_encrypted", Value::Bool(true)));
        }
        if !self.age.is_empty() {
            fields.push(("age", Value::List(self.age.iter().map(|stanza| Item::Value(written(stanza))).collect())));
        }
        fields.extend(self.foreign.iter().map(|(kind, value)| (kind.as_str(), value.clone())));
        fields.sort_by_key(|(name, _)| *name);
        Value::Map(fields.into_iter().map(|(name, value)| Member::Pair(name.to_owned(), value)).collect())
    }
}

fn stanza(value: &Value) -> Result<Stanza, Error> {
    let Value::Map(fields) = value else { return Err(wrong("an entry of age is not a map")) };
    let sealed = text(fields, "enc")?.ok_or_else(|| wrong("an entry of age has no enc"))?;
    if sealed.len() > limits::STANZA {
        let message = format!("the sops block: an enc of {} bytes; at most {} are read", sealed.len(), limits::STANZA);
        return Err(Error::new(Kind::TooLarge, message));
    }
    Ok(Stanza { recipient: text(fields, "recipient")?.unwrap_or_default(), sealed })
}

fn written(stanza: &Stanza) -> Value {
    Value::Map(vec![
        Member::Pair("enc".to_owned(), Value::Text(SecretBytes::from(stanza.sealed.as_str()))),
        Member::Pair("recipient".to_owned(), Value::text(&stanza.recipient)),
    ])
}

/// Keys of other kinds, sorted within as sops sorts them.
fn foreign(keys: &[Member]) -> Result<Vec<(String, Value)>, Error> {
    let mut kept = Vec::new();
    for kind in FOREIGN {
        if !list(keys, kind)?.is_empty()
            && let Some(value) = field(keys, kind)
        {
            kept.push((kind.to_owned(), sorted(value)));
        }
    }
    Ok(kept)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(values(items).map(|item| Item::Value(sorted(item))).collect()),
        Value::Map(members) => {
            let mut fields: Vec<_> = pairs(members).map(|(key, value)| (key.to_owned(), sorted(value))).collect();
            fields.sort_by(|(one, _), (two, _)| one.cmp(two));
            Value::Map(fields.into_iter().map(|(key, value)| Member::Pair(key, value)).collect())
        }
        leaf => leaf.clone(),
    }
}
