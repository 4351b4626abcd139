//! From a decoded policy and the bytes of its keys to rules that can judge.

use portreeve_reports::source::Problems;

use super::spec::{AuthoritiesSpec, AuthoritySpec, BasisSpec, KeySource, KeySpec, RuleSpec};
use super::{Basis, InvalidKeys, KeyAuthorities, KeyAuthority, KeyBytes, Mode, Rule};
use crate::key::TrustedKey;

/// A rule with its keys; `None` after a mistake, which is among the problems.
pub(super) fn rule(spec: &RuleSpec, mode: Mode, keys: &KeyBytes, problems: &mut Problems) -> Option<Rule> {
    let basis = match spec.basis.as_ref()? {
        BasisSpec::Allow(allow) => Basis::Allow(allow.clone()),
        BasisSpec::Deny { reason } => Basis::Deny { reason: reason.clone() },
        BasisSpec::Authorities(list) => Basis::Keys(authorities(list, (&spec.name, keys), problems)?),
    };
    Some(Rule {
        name: spec.name.clone(),
        images: spec.images.clone(),
        namespaces: spec.namespaces.clone(),
        mode: spec.mode.unwrap_or(mode),
        basis,
    })
}

fn authorities(
    spec: &AuthoritiesSpec,
    (rule, keys): (&str, &KeyBytes),
    problems: &mut Problems,
) -> Option<KeyAuthorities> {
    let list: Vec<_> = spec.list.iter().filter_map(|spec| authority(spec, keys, problems)).collect();
    let is_complete = list.len() == spec.written;
    let built = KeyAuthorities { threshold: spec.threshold?, list };
    // Where a key is missing, there are at most as many as are written.
    let distinct = if is_complete { built.distinct_keys() } else { spec.written };
    if built.threshold > distinct && distinct > 0 {
        let error = InvalidKeys::Threshold { threshold: built.threshold, distinct };
        problems.push(spec.place, format!("rule '{rule}': {error}"));
    }
    Some(built)
}

fn authority(spec: &AuthoritySpec, keys: &KeyBytes, problems: &mut Problems) -> Option<KeyAuthority> {
    let KeySpec { place, source, not_before, not_after } = &spec.key;
    let (what, bytes) = match source {
        KeySource::File(file) => (format!("key file '{file}'"), keys.get(file).map(Result::as_deref)),
        KeySource::Data(data) if spec.name.is_empty() => ("the key".to_owned(), Some(Ok(data.as_bytes()))),
        KeySource::Data(data) => (format!("key '{}'", spec.name), Some(Ok(data.as_bytes()))),
    };
    let bytes = match bytes {
        Some(Ok(bytes)) => bytes,
        Some(Err(reason)) => {
            problems.push(*place, format!("{what}: {reason}"));
            return None;
        }
        None => {
            problems.push(*place, format!("{what} could not be read"));
            return None;
        }
    };
    match TrustedKey::from_pem(bytes) {
        Ok(key) => Some(KeyAuthority {
            name: spec.name.clone(),
            required: spec.required,
            key: key.into(),
            not_before: *not_before,
            not_after: *not_after,
        }),
        Err(error) => {
            problems.push(*place, format!("{what}: {error}"));
            None
        }
    }
}
