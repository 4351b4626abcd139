//! `attestations` of a rule.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portreeve_policies::engine::Condition;
use portreeve_reports::source::decode::{did_you_mean, duration};
use portreeve_reports::source::{Fields, Place};

use super::authorities::{AuthoritySpec, TrustSpec};
use crate::attestation::VARIABLES;

/// Names that cosign gives to types, for who writes one of them.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct AttestationSpec {
    pub(in crate::policy) place: Place,
    /// Empty when it is missing, which is a mistake.
    pub(in crate::policy) name: String,
    /// The same.
    pub(in crate::policy) predicate_type: String,
    /// Names of authorities of the rule; `None` for all of them.
    pub(in crate::policy) authorities: Option<Vec<String>>,
    pub(in crate::policy) max_age: Option<Duration>,
    pub(in crate::policy) condition: Option<Arc<Condition>>,
}

/// Decodes `attestations`; `authorities` are the rule's, `None` where it has none.
pub(super) fn decode(fields: &mut Fields<'_, '_>, authorities: Option<&[AuthoritySpec]>) -> Vec<AttestationSpec> {
    let Some(node) = fields.optional("attestations") else { return Vec::new() };
    if authorities.is_none() {
        let message =
            format!("'{}' needs 'authorities' beside it: somebody must have made them", fields.path_of("attestations"));
        fields.problem(node.place, message);
    }
    let list = fields.maps("attestations", |fields| decode_one(fields, authorities.unwrap_or_default()));
    let mut seen = BTreeSet::new();
    let named = list.iter().filter(|attestation| !attestation.name.is_empty());
    for attestation in named.filter(|attestation| !seen.insert(&attestation.name)) {
        fields.problem(attestation.place, format!("two attestations have the name '{}'", attestation.name));
    }
    list
}

fn decode_one(fields: &mut Fields<'_, '_>, known: &[AuthoritySpec]) -> Option<AttestationSpec> {
    let place = fields.place();
    let name = fields.required_str("name").map(str::to_owned);
    let predicate_type = fields.required_parsed("predicateType", predicate_type);
    let authorities = decode_authorities(fields, known);
    let max_age = fields.optional_parsed("maxAge", max_age);
    if max_age.is_some() {
        no_age_of_keys(fields, known, authorities.as_deref());
    }
    let condition = fields.optional_parsed("cel", |text| Condition::compile(text, VARIABLES).map(Arc::new));
    let (name, predicate_type) = (name.unwrap_or_default(), predicate_type.unwrap_or_default());
    Some(AttestationSpec { place, name, predicate_type, authorities, max_age, condition })
}

fn predicate_type(text: &str) -> Result<String, String> {
    if text.contains(':') {
        return Ok(text.to_owned());
    }
    let known = SHORT_NAMES.iter().find(|(short, _)| *short == text);
    let hint = known.map_or_else(String::new, |(_, uri)| format!("; write {uri}"));
    Err(format!("'{text}' is not a URI{hint}"))
}

fn max_age(text: &str) -> Result<Duration, String> {
    let age = duration(text).filter(|age| !age.is_zero());
    age.ok_or_else(|| format!("'{text}' is not a duration such as 90d or 12h"))
}

/// Whoever has a signature by a key can have it logged and timestamped anew, without the times it had: it is as young as
/// they like. A certificate lives for minutes.
fn no_age_of_keys(fields: &mut Fields<'_, '_>, known: &[AuthoritySpec], named: Option<&[String]>) {
    let is_named = |authority: &AuthoritySpec| named.is_none_or(|names| names.contains(&authority.name));
    let is_key = |authority: &&AuthoritySpec| matches!(authority.trust, TrustSpec::Key(_)) && is_named(authority);
    if let (Some(node), Some(key)) = (fields.optional("maxAge"), known.iter().find(is_key)) {
        let path = fields.path_of("maxAge");
        let message =
            format!("'{path}': the age of what '{}' signs proves nothing, it is a key; name identities", key.name);
        fields.problem(node.place, message);
    }
}

fn decode_authorities(fields: &mut Fields<'_, '_>, known: &[AuthoritySpec]) -> Option<Vec<String>> {
    let known: Vec<&str> = known.iter().map(|authority| authority.name.as_str()).collect();
    let path = fields.path_of("authorities");
    let node = fields.optional("authorities")?;
    let names = fields.optional_strings("authorities")?;
    if names.is_empty() {
        fields.problem(node.place, format!("'{path}' needs at least one name; leave it out for all of the rule's"));
    }
    for name in names.iter().filter(|name| !known.contains(name)) {
        let hint = did_you_mean(name, &known).map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
        fields.problem(node.place, format!("'{path}': the rule has no authority '{name}'{hint}"));
    }
    Some(names.into_iter().map(str::to_owned).collect())
}
