//! From a decoded policy and the bytes of its files to rules that can judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use portreeve_reports::source::{Place, Problems};

use super::spec::{
    AttestationSpec, AuthoritiesSpec, AuthoritySpec, BasisSpec, Bytes, KeySpec, KeylessSpec, RootSource, RuleSpec,
    TrustSpec,
};
use super::{Basis, FileBytes, ImagePolicySpec, InvalidAuthorities, Rule};
use crate::attestation::AttestationRule;
use crate::authority::{Authorities, Authority, Demand, KeyTrust, KeylessTrust, Trust};
use crate::key::TrustedKey;
use crate::root::TrustRoot;

/// The rules that could be built; what could not be is among the problems.
pub(super) fn rules(spec: &ImagePolicySpec, files: &FileBytes, problems: &mut Problems) -> Vec<Rule> {
    let mut builder = Builder { files, roots: BTreeMap::new(), problems };
    builder.read_roots(spec);
    spec.rules.iter().filter_map(|rule| builder.rule(spec, rule)).collect()
}

fn attestations(spec: &RuleSpec, authorities: &Authorities) -> Vec<AttestationRule> {
    let is_named =
        |spec: &AttestationSpec, name: &String| spec.authorities.as_ref().is_none_or(|names| names.contains(name));
    let built = spec.attestations.iter().map(|spec| {
        let listed = authorities.list().iter().enumerate();
        let named = listed.filter(|(_, authority)| is_named(spec, &authority.name)).map(|(index, _)| index);
        AttestationRule {
            name: spec.name.clone(),
            predicate_type: spec.predicate_type.clone(),
            authorities: named.collect(),
            max_age: spec.max_age,
            condition: spec.condition.clone(),
        }
    });
    built.collect()
}

struct Builder<'policy> {
    files: &'policy FileBytes,
    roots: BTreeMap<&'policy str, Arc<TrustRoot>>,
    problems: &'policy mut Problems,
}

impl<'policy> Builder<'policy> {
    fn read_roots(&mut self, spec: &'policy ImagePolicySpec) {
        for root in &spec.trust_roots {
            let what = match &root.source {
                RootSource::Bytes(Bytes::File(file)) => format!("trust root file '{file}'"),
                RootSource::Bytes(Bytes::Data(_)) | RootSource::Embedded(_) => format!("trust root '{}'", root.name),
            };
            let built = match &root.source {
                RootSource::Embedded(embedded) => Some(TrustRoot::embedded(*embedded)),
                RootSource::Bytes(bytes) => self.bytes(root.place, &what, bytes).map(TrustRoot::from_json),
            };
            match built {
                Some(Ok(built)) => _ = self.roots.insert(&root.name, Arc::new(built)),
                Some(Err(error)) => self.problems.push(root.place, format!("{what}: {error}")),
                None => {}
            }
        }
    }

    /// What a policy names or holds; a problem where a file cannot be read.
    fn bytes(&mut self, place: Place, what: &str, bytes: &'policy Bytes) -> Option<&'policy [u8]> {
        let file = match bytes {
            Bytes::Data(data) => return Some(data.as_bytes()),
            Bytes::File(file) => file,
        };
        match self.files.get(file) {
            Some(Ok(bytes)) => return Some(bytes),
            Some(Err(reason)) => self.problems.push(place, format!("{what}: {reason}")),
            None => self.problems.push(place, format!("{what} could not be read")),
        }
        None
    }

    fn rule(&mut self, policy: &'policy ImagePolicySpec, spec: &'policy RuleSpec) -> Option<Rule> {
        let basis = match spec.basis.as_ref()? {
            BasisSpec::Allow(allow) => Basis::Allow(allow.clone()),
            BasisSpec::Deny { reason } => Basis::Deny { reason: reason.clone() },
            BasisSpec::Authorities(list) => Basis::Authorities(self.authorities(list, &spec.name)?),
        };
        let attestations = match &basis {
            Basis::Authorities(authorities) => attestations(spec, authorities),
            Basis::Allow(_) | Basis::Deny { .. } => Vec::new(),
        };
        Some(Rule {
            name: spec.name.clone(),
            images: spec.images.clone(),
            namespaces: spec.namespaces.clone(),
            mode: spec.mode.unwrap_or(policy.mode),
            basis,
            attestations,
        })
    }

    fn authorities(&mut self, spec: &'policy AuthoritiesSpec, rule: &str) -> Option<Authorities> {
        let list: Vec<_> = spec.list.iter().filter_map(|spec| self.authority(spec)).collect();
        let is_complete = list.len() == spec.written;
        let built = Authorities::new(spec.threshold?, list);
        // Where one is missing, there are at most as many as are written.
        let distinct = if is_complete { built.distinct() } else { spec.written };
        if built.threshold() > distinct && distinct > 0 {
            let error = InvalidAuthorities::Threshold { threshold: built.threshold(), distinct };
            self.problems.push(spec.place, format!("rule '{rule}': {error}"));
        }
        Some(built)
    }

    fn authority(&mut self, spec: &'policy AuthoritySpec) -> Option<Authority> {
        let trust = match &spec.trust {
            TrustSpec::Key(key) => Trust::Key(self.key(&spec.name, key)?),
            TrustSpec::Keyless(keyless) => Trust::Keyless(self.keyless(keyless)?),
        };
        Some(Authority { name: spec.name.clone(), required: spec.required, trust })
    }

    fn key(&mut self, name: &str, spec: &'policy KeySpec) -> Option<KeyTrust> {
        let what = match &spec.source {
            Bytes::File(file) => format!("key file '{file}'"),
            Bytes::Data(_) if name.is_empty() => "the key".to_owned(),
            Bytes::Data(_) => format!("key '{name}'"),
        };
        let bytes = self.bytes(spec.place, &what, &spec.source)?;
        let key = TrustedKey::from_pem(bytes);
        let key = key.map_err(|error| self.problems.push(spec.place, format!("{what}: {error}"))).ok()?;
        let root = match &spec.trust_root {
            Some(name) => Some(self.root(name)?),
            None => None,
        };
        if let Some(root) = &root
            && !root.has().transparency_log
            && spec.log == Demand::Required
        {
            let root = spec.trust_root.as_deref().unwrap_or_default();
            let message = format!("{what}: 'log: required', and trust root '{root}' names no transparency log");
            self.problems.push(spec.place, message);
        }
        let KeySpec { not_before, not_after, log, .. } = *spec;
        Some(KeyTrust { key: key.into(), not_before, not_after, log, root })
    }

    fn keyless(&mut self, spec: &'policy KeylessSpec) -> Option<KeylessTrust> {
        let root = self.root(&spec.trust_root)?;
        if let Some(lacks) = root.lacks(spec.log, spec.sct) {
            let message = format!("trust root '{}' {lacks}, and this authority needs one", spec.trust_root);
            self.problems.push(spec.place, message);
            return None;
        }
        Some(KeylessTrust { identity: spec.identity.clone(), root, log: spec.log, sct: spec.sct })
    }

    /// A trust root by its name. Why it is not there has been said where it stands.
    fn root(&self, name: &str) -> Option<Arc<TrustRoot>> {
        self.roots.get(name).cloned()
    }
}
