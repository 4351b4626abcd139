//! `authorities` of a rule: keys, identities, and how many of them must vouch.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use portreeve_reports::source::decode::did_you_mean;
use portreeve_reports::source::{Fields, Node, Place};

use super::{Bytes, DayEdge, instant, not_supported};
use crate::authority::Demand;
use crate::identity::{Claim, Identity, TextMatch};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct AuthoritiesSpec {
    pub(in crate::policy) place: Place,
    /// `None` after a mistake.
    pub(in crate::policy) threshold: Option<usize>,
    pub(in crate::policy) list: Vec<AuthoritySpec>,
    /// How many are written, those with mistakes included.
    pub(in crate::policy) written: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct AuthoritySpec {
    pub(in crate::policy) place: Place,
    /// Empty when it is missing, which is a mistake.
    pub(in crate::policy) name: String,
    pub(in crate::policy) required: bool,
    pub(in crate::policy) trust: TrustSpec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum TrustSpec {
    Key(KeySpec),
    Keyless(KeylessSpec),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct KeySpec {
    pub(in crate::policy) place: Place,
    pub(in crate::policy) source: Bytes,
    pub(in crate::policy) not_before: Option<Timestamp>,
    pub(in crate::policy) not_after: Option<Timestamp>,
    pub(in crate::policy) log: Demand,
    pub(in crate::policy) trust_root: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct KeylessSpec {
    pub(in crate::policy) place: Place,
    pub(in crate::policy) identity: Identity,
    pub(in crate::policy) trust_root: String,
    pub(in crate::policy) log: Demand,
    pub(in crate::policy) sct: Demand,
}

/// Decodes `authorities`; `roots` are the names of the policy's trust roots.
pub(super) fn decode(fields: &mut Fields<'_, '_>, roots: &[&str]) -> Option<AuthoritiesSpec> {
    let place = fields.place();
    let threshold = fields.optional_int("threshold").unwrap_or(1);
    let threshold = usize::try_from(threshold).ok().filter(|threshold| *threshold > 0);
    if threshold.is_none() {
        let message = format!("'{}' must be 1 or more", fields.path_of("threshold"));
        fields.problem(place, message);
    }
    fields.required("list");
    let before = fields.problems().list().len();
    let list = fields.maps("list", |fields| decode_authority(fields, roots));
    if list.is_empty() && fields.problems().list().len() == before {
        let message = format!("'{}' needs at least one authority", fields.path_of("list"));
        fields.problem(place, message);
    }
    let written = fields.optional("list").and_then(Node::as_list).map_or(0, <[Node]>::len);
    let mut seen = BTreeSet::new();
    let named = list.iter().filter(|authority| !authority.name.is_empty());
    for authority in named.filter(|authority| !seen.insert(&authority.name)) {
        fields.problem(authority.place, format!("two authorities have the name '{}'", authority.name));
    }
    Some(AuthoritiesSpec { place, threshold, list, written })
}

fn decode_authority(fields: &mut Fields<'_, '_>, roots: &[&str]) -> Option<AuthoritySpec> {
    let others = ["certificate", "notary", "github"];
    not_supported(fields, &others);
    let place = fields.place();
    let name = fields.required_str("name").map(str::to_owned);
    let required = fields.optional_bool("required").unwrap_or(false);
    let (has_key, has_keyless) = (fields.optional("key").is_some(), fields.optional("keyless").is_some());
    match (has_key, has_keyless) {
        (true, true) => fields.problem(place, "an authority has either 'key' or 'keyless', not both"),
        // An authority of another kind has been refused already: that it has no key is not a second mistake.
        (false, false) if others.iter().all(|other| fields.optional(other).is_none()) => {
            fields.problem(place, format!("'{}' needs 'key' or 'keyless'", fields.path()));
        }
        (_, _) => {}
    }
    let key = fields.optional_map("key", |fields| decode_key(fields, roots)).map(TrustSpec::Key);
    let keyless = fields.optional_map("keyless", |fields| decode_keyless(fields, roots)).map(TrustSpec::Keyless);
    Some(AuthoritySpec { place, name: name.unwrap_or_default(), required, trust: key.or(keyless)? })
}

fn decode_key(fields: &mut Fields<'_, '_>, roots: &[&str]) -> Option<KeySpec> {
    let place = fields.place();
    let source = decode_key_source(fields);
    let log = fields.optional_parsed("log", Demand::parse).unwrap_or(Demand::Optional);
    let trust_root = decode_trust_root(fields, roots);
    if log == Demand::Required && fields.optional("trustRoot").is_none() {
        let message =
            format!("'{}' is missing: 'log: required' needs a log to check against", fields.path_of("trustRoot"));
        fields.problem(place, message);
    }
    let not_before = fields.optional_parsed("notBefore", |text| instant(text, DayEdge::Start));
    let not_after = fields.optional_parsed("notAfter", |text| instant(text, DayEdge::End));
    if let (Some(before), Some(after)) = (not_before, not_after)
        && before > after
    {
        fields.problem(place, "'notAfter' is before 'notBefore'; the key would never be trusted");
    }
    Some(KeySpec { place, source: source?, not_before, not_after, log, trust_root })
}

fn decode_key_source(fields: &mut Fields<'_, '_>) -> Option<Bytes> {
    let (has_file, has_data) = (fields.optional("file").is_some(), fields.optional("data").is_some());
    if has_file && has_data {
        let place = fields.place();
        fields.problem(place, "a key has either 'file' or 'data', not both");
    }
    if has_data && !has_file {
        return fields.required_str("data").map(|data| Bytes::Data(data.to_owned()));
    }
    fields.required_str("file").map(|file| Bytes::File(file.to_owned()))
}

fn decode_keyless(fields: &mut Fields<'_, '_>, roots: &[&str]) -> Option<KeylessSpec> {
    let place = fields.place();
    let issuer = decode_match(fields, "issuer", "issuerRegexp");
    let subject = decode_match(fields, "subject", "subjectRegexp");
    let claims = decode_claims(fields);
    let log = fields.optional_parsed("log", Demand::parse).unwrap_or(Demand::Required);
    let sct = fields.optional_parsed("sct", Demand::parse).unwrap_or(Demand::Required);
    fields.required("trustRoot");
    let trust_root = decode_trust_root(fields, roots);
    let identity = Identity { issuer: issuer?, subject: subject?, claims };
    Some(KeylessSpec { place, identity, trust_root: trust_root?, log, sct })
}

/// The name of a trust root that the policy has.
fn decode_trust_root(fields: &mut Fields<'_, '_>, roots: &[&str]) -> Option<String> {
    fields.optional_parsed("trustRoot", |name| {
        if roots.contains(&name) {
            return Ok(name.to_owned());
        }
        let hint = did_you_mean(name, roots).map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
        Err(format!("'trustRoots' has no '{name}'{hint}"))
    })
}

/// A text as such or as an expression: one of the two keys, not both.
fn decode_match(fields: &mut Fields<'_, '_>, exact: &'static str, pattern: &'static str) -> Option<TextMatch> {
    let place = fields.place();
    match (fields.optional(exact).is_some(), fields.optional(pattern).is_some()) {
        (true, true) => fields.problem(place, format!("an identity has either '{exact}' or '{pattern}', not both")),
        (false, false) => {
            let message = format!("'{}' is missing; or '{pattern}'", fields.path_of(exact));
            fields.problem(place, message);
        }
        (true, false) | (false, true) => {}
    }
    let text = fields.optional_parsed(exact, TextMatch::exact);
    let expression = fields.optional_parsed(pattern, TextMatch::pattern);
    text.or(expression)
}

fn decode_claims(fields: &mut Fields<'_, '_>) -> BTreeMap<Claim, String> {
    let path = fields.path_of("claims");
    let Some(node) = fields.optional("claims") else { return BTreeMap::new() };
    let Some(map) = node.as_map() else {
        fields.problem(node.place, format!("'{path}' must be a map, not {}", node.kind_name()));
        return BTreeMap::new();
    };
    let mut claims = BTreeMap::new();
    let names: Vec<&str> = Claim::names().collect();
    for entry in map.iter() {
        match (Claim::parse(&entry.key), entry.node.as_str().filter(|text| !text.is_empty())) {
            (Some(claim), Some(value)) => _ = claims.insert(claim, value.to_owned()),
            (None, _) => {
                let hint = did_you_mean(&entry.key, &names);
                let hint = hint.map_or_else(
                    || format!("; known: {}", names.join(", ")),
                    |near| format!(" (did you mean '{near}'?)"),
                );
                fields.problem(entry.key_place, format!("'{path}': no certificate has a claim '{}'{hint}", entry.key));
            }
            (Some(_), None) => {
                let message = format!("'{path}.{}' must be a string that is not empty", entry.key);
                fields.problem(entry.node.place, message);
            }
        }
    }
    claims
}
