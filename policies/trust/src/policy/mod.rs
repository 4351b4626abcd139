//! Whose word counts for which image: the image policy, from what people write ([`ImagePolicySpec`]) to what is
//! judged by ([`ImagePolicy`]). A policy cannot be built with a key that is not there: nothing in it trusts by default.
//!
//! **Which rule counts.** Of all rules that match, the one whose pattern is most specific: an exact repository before
//! a pattern, then more components without wildcards, then no `**`, then more written characters; where image patterns
//! are equal, the more specific namespace pattern. Two rules that could both be the one are an error when the policy
//! is loaded. Where no namespace is known (`verify`, images given to `gate`), rules of all namespaces apply by their
//! image patterns: a rule for all namespaces wins over an equal one for some, then the first written; the judgement
//! says so.

mod build;
mod pattern;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use portreeve_policies::image::{Digest, Repository};
use portreeve_reports::Effect;
use portreeve_reports::source::{Place, Problem, Problems};
use sha2::{Digest as _, Sha256};

pub use pattern::{ImagePattern, InvalidPattern, NamespacePattern};
pub use spec::{ImagePolicySpec, MAX_PATTERNS};

use crate::key::{KeyError, TrustedKey};
use pattern::Specificity;
use spec::RuleSpec;

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
    digest: String,
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

/// The bytes of key files, or why they could not be read, by their names in a policy.
pub type KeyBytes = BTreeMap<String, Result<Vec<u8>, String>>;

impl ImagePolicy {
    /// Completes a decoded policy with its key files. `problems` are those found before: what is wrong with keys is told
    /// with them, and where there is any, there is no policy.
    pub fn build(spec: &ImagePolicySpec, keys: &KeyBytes, mut problems: Problems) -> Result<Self, Problems> {
        let rules = spec.rules.iter().filter_map(|rule| build::rule(rule, spec.mode, keys, &mut problems)).collect();
        if !spec.is_sound && problems.is_empty() {
            problems.push(Place::default(), "the policy has mistakes");
        }
        let policy = Self::new(spec.mode, spec.no_match, rules);
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
        Ok(Self::new(Mode::Enforce, NoMatch::Deny, vec![rule]))
    }

    /// The policy in whose place a document stands that cannot be read: it has no rules, and what no rule of another
    /// policy names is denied. To judge by the others alone would let in what the unreadable one may forbid.
    pub fn unreadable() -> Self {
        Self::new(Mode::Enforce, NoMatch::Deny, Vec::new())
    }

    /// The policies as one: all rules, of which the most specific counts as ever, and for images that no rule names
    /// the strictest answer. `None` without any. Ties across policies are for [`ImagePolicySpec::tie_with`] to find.
    pub fn together(policies: impl IntoIterator<Item = Self>) -> Option<Self> {
        policies.into_iter().reduce(|left, right| {
            let stricter = if right.strictness() > left.strictness() { &right } else { &left };
            let (mode, no_match) = (stricter.mode, stricter.no_match);
            Self::new(mode, no_match, left.rules.into_iter().chain(right.rules).collect())
        })
    }

    /// What happens at most to an image that no rule names.
    fn strictness(&self) -> Option<Effect> {
        match self.no_match {
            NoMatch::Deny => Some(self.mode.effect()),
            NoMatch::Warn => Some(Effect::Warn.min(self.mode.effect())),
            NoMatch::Allow => None,
        }
    }

    fn new(mode: Mode, no_match: NoMatch, rules: Vec<Rule>) -> Self {
        let mut canonical = Canonical::new();
        canonical.text(mode.as_str()).text(no_match.as_str()).number(rules.len());
        rules.iter().for_each(|rule| rule.write(&mut canonical));
        Self { mode, no_match, rules, digest: canonical.finish() }
    }

    /// `sha256:` and the digest of what the policy says, keys included: equal policies judge alike. Names the policy
    /// in reports and is part of the key of every cached verdict.
    pub fn digest(&self) -> &str {
        &self.digest
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

    fn write(&self, canonical: &mut Canonical) {
        canonical.text(&self.name).text(self.mode.as_str());
        canonical.number(self.images.len());
        self.images.iter().for_each(|pattern| _ = canonical.text(&pattern.to_string()));
        canonical.number(self.namespaces.len());
        self.namespaces.iter().for_each(|pattern| _ = canonical.text(&pattern.to_string()));
        match &self.basis {
            Basis::Keys(authorities) => authorities.write(canonical),
            Basis::Allow(allow) => allow.write(canonical),
            Basis::Deny { reason } => _ = canonical.text("deny").text(reason),
        }
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

    fn write(&self, canonical: &mut Canonical) {
        canonical.text("keys").number(self.threshold).number(self.list.len());
        for authority in &self.list {
            canonical.text(&authority.name).number(usize::from(authority.required)).bytes(authority.key.spki());
            canonical.time(authority.not_before).time(authority.not_after);
        }
    }
}

impl StaticAllow {
    fn write(&self, canonical: &mut Canonical) {
        canonical.text("allow").number(self.digests.len());
        self.digests.iter().for_each(|digest| _ = canonical.text(digest.as_str()));
        canonical.text(&self.owner).text(&self.reason).time(Some(self.expires));
    }
}

/// Pairs of rules that could both be the one that counts.
fn ties(rules: &[RuleSpec]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, later) in rules.iter().enumerate() {
        for earlier in &rules[..index] {
            if let Some(message) = tied(earlier, later) {
                problems.push(Problem { place: later.place, message });
            }
        }
    }
    problems
}

/// The words for a tie of two rules; `None` when they have none.
fn tied(earlier: &RuleSpec, later: &RuleSpec) -> Option<String> {
    let (left, right) = tie(earlier, later)?;
    let (one, other) = (&earlier.name, &later.name);
    Some(format!("rules '{one}' and '{other}' are equally specific and both can match: '{left}' and '{right}'"))
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

/// A hash over length-prefixed parts, so that no two different policies are written alike.
struct Canonical(Sha256);

impl Canonical {
    fn new() -> Self {
        let mut canonical = Self(Sha256::new());
        canonical.text("portreeve-image-policy-v1");
        canonical
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: usize) -> &mut Self {
        self.bytes(&(number as u64).to_be_bytes())
    }

    fn time(&mut self, time: Option<Timestamp>) -> &mut Self {
        self.text(&time.map_or_else(String::new, |time| time.to_string()))
    }

    fn finish(self) -> String {
        format!("sha256:{}", portreeve_reports::digest::hex(&self.0.finalize()))
    }
}
