//! Whose word counts for which image: the image policy, from what people write ([`ImagePolicySpec`]) to what is
//! judged by ([`ImagePolicy`]). A policy cannot be built with a key that is not there: nothing in it trusts by default.
//!
//! **Which rule counts.** Of all rules that match, the one whose pattern is most specific: an exact repository before
//! a pattern, then more components without wildcards, then no `**`, then more written characters; where image patterns
//! are equal, the more specific namespace pattern. Two rules that could both be the one are an error when the policy
//! is loaded. Where no namespace is known (`verify`, images given to `gate`), rules of all namespaces apply by their
//! image patterns: a rule for all namespaces wins over an equal one for some, then the first written; the judgement
//! says so.

mod pattern;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use portreeve_policies::image::{Digest, Repository};
use portreeve_reports::Effect;
use portreeve_reports::source::{Problem, Problems};

pub use pattern::{ImagePattern, InvalidPattern, NamespacePattern};
pub use spec::ImagePolicySpec;

use crate::key::{KeyError, TrustedKey};
use pattern::Specificity;
use spec::{AuthoritySpec, BasisSpec, KeySpec, RuleSpec};

/// What a failure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Recorded only.
    Audit,
    /// Recorded and said.
    Warn,
    /// Denied.
    Enforce,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "audit" => Ok(Self::Audit),
            "warn" => Ok(Self::Warn),
            "enforce" => Ok(Self::Enforce),
            _ => Err(format!("'{text}' is not one of audit, warn, enforce")),
        }
    }

    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }

    /// The effect of findings.
    pub fn effect(self) -> Effect {
        match self {
            Self::Audit => Effect::Audit,
            Self::Warn => Effect::Warn,
            Self::Enforce => Effect::Block,
        }
    }
}

/// What happens to an image that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// It fails.
    Deny,
    /// It fails, and that is only said.
    Warn,
    /// Nothing is asked of it.
    Allow,
}

impl NoMatch {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "deny" => Ok(Self::Deny),
            "warn" => Ok(Self::Warn),
            "allow" => Ok(Self::Allow),
            _ => Err(format!("'{text}' is not one of deny, warn, allow")),
        }
    }

    /// The word in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
            Self::Allow => "allow",
        }
    }
}

/// A policy that can judge: every authority has its key.
#[derive(Clone, Debug)]
pub struct ImagePolicy {
    mode: Mode,
    no_match: NoMatch,
    rules: Vec<Rule>,
}

/// A rule of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    name: String,
    images: Vec<ImagePattern>,
    namespaces: Vec<NamespacePattern>,
    mode: Mode,
    basis: Basis,
}

/// What a rule goes by.
#[derive(Clone, Debug)]
pub(crate) enum Basis {
    Keys(KeyAuthorities),
    Allow(StaticAllow),
    Deny { reason: String },
}

/// Keys, and how many of them must have signed.
#[derive(Clone, Debug)]
pub(crate) struct KeyAuthorities {
    threshold: usize,
    list: Vec<KeyAuthority>,
}

/// A named key.
#[derive(Clone, Debug)]
pub(crate) struct KeyAuthority {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) key: Arc<TrustedKey>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
}

/// Digests that somebody vouches for by hand, until a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticAllow {
    pub(crate) digests: BTreeSet<Digest>,
    pub(crate) owner: String,
    pub(crate) reason: String,
    pub(crate) expires: Timestamp,
}

/// The rule that counts for an image, or what to do without one.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'policy> {
    /// This rule.
    Rule(&'policy Rule),
    /// No rule names the image.
    NoMatch(NoMatch),
}

/// Why keys make no policy.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKeys {
    /// Nobody to trust.
    #[error("no key was given; an image cannot be verified without somebody to trust")]
    NoKey,
    /// A key that cannot be used.
    #[error("key '{name}' cannot be used")]
    Key {
        /// Its file.
        name: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// More signatures wanted than there are keys.
    #[error("a threshold of {threshold} cannot be met by {distinct} different key(s)")]
    Threshold {
        /// What was asked for.
        threshold: usize,
        /// How many different keys there are.
        distinct: usize,
    },
}

impl ImagePolicy {
    /// Completes a decoded policy with the bytes of its key files, by their names in it.
    pub fn build(spec: &ImagePolicySpec, keys: &BTreeMap<String, Vec<u8>>) -> Result<Self, Problems> {
        let mut problems = Problems::new(&spec.file);
        let rules = spec.rules.iter().filter_map(|rule| build_rule(rule, spec.mode, keys, &mut problems)).collect();
        let policy = Self { mode: spec.mode, no_match: spec.no_match, rules };
        problems.into_result(policy)
    }

    /// The policy of `verify --key`: every image, these keys (by file name), `threshold` of them.
    pub fn for_keys(keys: &BTreeMap<String, Vec<u8>>, threshold: usize) -> Result<Self, InvalidKeys> {
        if keys.is_empty() {
            return Err(InvalidKeys::NoKey);
        }
        let list = keys.iter().map(|(name, bytes)| {
            let key = TrustedKey::from_pem(bytes).map_err(|source| InvalidKeys::Key { name: name.clone(), source })?;
            Ok(KeyAuthority { name: name.clone(), required: false, key: key.into(), not_before: None, not_after: None })
        });
        let authorities = KeyAuthorities { threshold, list: list.collect::<Result<_, _>>()? };
        let distinct = authorities.distinct_keys();
        if threshold == 0 || threshold > distinct {
            return Err(InvalidKeys::Threshold { threshold, distinct });
        }
        let rule = Rule {
            name: "keys given".into(),
            images: vec![ImagePattern::everything()],
            namespaces: vec![NamespacePattern::everything()],
            mode: Mode::Enforce,
            basis: Basis::Keys(authorities),
        };
        Ok(Self { mode: Mode::Enforce, no_match: NoMatch::Deny, rules: vec![rule] })
    }

    /// The mode of rules that have none, and of images that no rule names.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The rule that counts for an image of a repository in a namespace; see the module's documentation.
    pub fn rule_for(&self, repository: &Repository, namespace: Option<&str>) -> Selection<'_> {
        let mut best: Option<(Rank, &Rule)> = None;
        for rule in &self.rules {
            if let Some(rank) = rule.rank(repository, namespace)
                && best.as_ref().is_none_or(|(highest, _)| rank > *highest)
            {
                best = Some((rank, rule));
            }
        }
        best.map_or(Selection::NoMatch(self.no_match), |(_, rule)| Selection::Rule(rule))
    }
}

/// Specificity of the image pattern, then of the namespace pattern (without a namespace: whether it is for all).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Specificity, Option<Specificity>, bool);

impl Rule {
    /// Its name in the policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a failure of this rule does.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The namespaces it is for, as written, when it is not for all of them.
    pub(crate) fn limited_to(&self) -> Option<String> {
        if self.namespaces.iter().any(NamespacePattern::is_everything) {
            return None;
        }
        Some(self.namespaces.iter().map(NamespacePattern::to_string).collect::<Vec<_>>().join(", "))
    }

    fn rank(&self, repository: &Repository, namespace: Option<&str>) -> Option<Rank> {
        let image = self.images.iter().filter(|pattern| pattern.matches(repository)).map(ImagePattern::specificity);
        let image = image.max()?;
        let Some(namespace) = namespace else {
            return Some(Rank(image, None, self.limited_to().is_none()));
        };
        let matching = self.namespaces.iter().filter(|pattern| pattern.matches(namespace));
        let narrowest = matching.map(NamespacePattern::specificity).max()?;
        Some(Rank(image, Some(narrowest), true))
    }
}

impl KeyAuthorities {
    pub(crate) fn list(&self) -> &[KeyAuthority] {
        &self.list
    }

    pub(crate) fn threshold(&self) -> usize {
        self.threshold
    }

    /// Different keys: one that is listed twice is one.
    fn distinct_keys(&self) -> usize {
        self.list.iter().map(|authority| authority.key.spki()).collect::<BTreeSet<_>>().len()
    }

    /// Whether the authorities at these indices of the list are enough.
    pub(crate) fn are_met_by(&self, vouching: &BTreeSet<usize>) -> bool {
        let authorities = || self.list.iter().enumerate();
        let keys: BTreeSet<_> = authorities()
            .filter(|(index, _)| vouching.contains(index))
            .map(|(_, authority)| authority.key.spki())
            .collect();
        let required = authorities().all(|(index, authority)| !authority.required || vouching.contains(&index));
        // A policy is never built with a threshold of 0; if it were, nobody's word would still be too little.
        required && !keys.is_empty() && keys.len() >= self.threshold
    }
}

fn build_rule(spec: &RuleSpec, mode: Mode, keys: &BTreeMap<String, Vec<u8>>, problems: &mut Problems) -> Option<Rule> {
    let basis = match &spec.basis {
        BasisSpec::Allow(allow) => Basis::Allow(allow.clone()),
        BasisSpec::Deny { reason } => Basis::Deny { reason: reason.clone() },
        BasisSpec::Authorities { place, threshold, list } => {
            let built: Vec<_> = list.iter().filter_map(|spec| build_authority(spec, keys, problems)).collect();
            let complete = built.len() == list.len();
            let authorities = KeyAuthorities { threshold: *threshold, list: built };
            let distinct = authorities.distinct_keys();
            if complete && *threshold > distinct {
                let error = InvalidKeys::Threshold { threshold: *threshold, distinct };
                problems.push(*place, format!("rule '{}': {error}", spec.name));
            }
            Basis::Keys(authorities)
        }
    };
    Some(Rule {
        name: spec.name.clone(),
        images: spec.images.clone(),
        namespaces: spec.namespaces.clone(),
        mode: spec.mode.unwrap_or(mode),
        basis,
    })
}

fn build_authority(
    spec: &AuthoritySpec,
    keys: &BTreeMap<String, Vec<u8>>,
    problems: &mut Problems,
) -> Option<KeyAuthority> {
    let KeySpec { place, file, not_before, not_after } = &spec.key;
    let Some(bytes) = keys.get(file) else {
        problems.push(*place, format!("key file '{file}' could not be read"));
        return None;
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
            problems.push(*place, format!("key file '{file}': {error}"));
            None
        }
    }
}

/// Pairs of rules that could both be the one that counts.
fn ties(rules: &[RuleSpec]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, later) in rules.iter().enumerate() {
        for earlier in &rules[..index] {
            if let Some((left, right)) = tie(earlier, later) {
                let (one, other) = (&earlier.name, &later.name);
                let message = format!(
                    "rules '{one}' and '{other}' are equally specific and both can match: '{left}' and '{right}'"
                );
                problems.push(Problem { place: later.place, message });
            }
        }
    }
    problems
}

fn tie<'rules>(one: &'rules RuleSpec, other: &'rules RuleSpec) -> Option<(&'rules ImagePattern, &'rules ImagePattern)> {
    let namespaces_tie = one.namespaces.iter().any(|left| {
        let equal = |right: &&NamespacePattern| left.specificity() == right.specificity() && left.overlaps(right);
        other.namespaces.iter().any(|right| equal(&right))
    });
    if !namespaces_tie {
        return None;
    }
    let pairs = one.images.iter().flat_map(|left| other.images.iter().map(move |right| (left, right)));
    pairs.into_iter().find(|(left, right)| left.specificity() == right.specificity() && left.overlaps(right))
}
