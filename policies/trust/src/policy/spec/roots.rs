//! `trustRoots` of a policy.

use std::collections::BTreeSet;

use portreeve_reports::source::{Fields, Place};

use super::{Bytes, not_supported};
use crate::root::EmbeddedRoot;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct TrustRootSpec {
    pub(in crate::policy) place: Place,
    pub(in crate::policy) name: String,
    pub(in crate::policy) source: RootSource,
}

/// Where a trust root is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum RootSource {
    /// Part of the program.
    Embedded(EmbeddedRoot),
    /// A `trusted_root.json`.
    Bytes(Bytes),
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Vec<TrustRootSpec> {
    let roots = fields.maps("trustRoots", decode_root);
    let mut seen = BTreeSet::new();
    for root in roots.iter().filter(|root| !seen.insert(&root.name)) {
        fields.problem(root.place, format!("two trust roots have the name '{}'", root.name));
    }
    roots
}

fn decode_root(fields: &mut Fields<'_, '_>) -> Option<TrustRootSpec> {
    let others = ["trustedRootConfigMap", "tuf"];
    not_supported(fields, &others);
    let place = fields.place();
    let name = fields.required_str("name").map(str::to_owned);
    let sources = ["embedded", "trustedRootFile", "trustedRootData"];
    let given = sources.iter().filter(|key| fields.optional(key).is_some()).count();
    let is_other = others.iter().any(|key| fields.optional(key).is_some());
    if given > 1 || (given == 0 && !is_other) {
        let message = format!("'{}' needs one of {}", fields.path(), sources.map(|key| format!("'{key}'")).join(", "));
        fields.problem(place, message);
    }
    let embedded = fields.optional_parsed("embedded", EmbeddedRoot::parse).map(RootSource::Embedded);
    let mut text = |key| fields.optional_parsed(key, not_empty);
    let file = text("trustedRootFile").map(|file| RootSource::Bytes(Bytes::File(file)));
    let data = text("trustedRootData").map(|data| RootSource::Bytes(Bytes::Data(data)));
    Some(TrustRootSpec { place, name: name?, source: embedded.or(file).or(data)? })
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it is empty") } else { Ok(text.to_owned()) }
}
