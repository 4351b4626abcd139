//! Whose word counts for which image: the image policy, from what people write ([`ImagePolicySpec`]) to what is
//! judged by ([`ImagePolicy`]). A policy cannot be built with a key or a trust root that is not there: nothing in it trusts by default.
//!
//! **Which rule counts.** Of all rules that match, the one whose pattern is most specific: an exact repository before
//! a pattern, then more components without wildcards, then no `**`, then more written characters; where image patterns
//! are equal, the more specific namespace pattern. Two rules that could both be the one are an error when the policy
//! is loaded. Where no namespace is known (`verify`, images given to `gate`), rules of all namespaces apply by their
//! image patterns: a rule for all namespaces wins over an equal one for some, then the first written; the judgement
//! says so.

mod build;
mod given;
mod pattern;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use portreeve_policies::image::{Digest, Repository};
use portreeve_reports::Effect;
use portreeve_reports::source::{Place, Problem, Problems};
use sha2::{Digest as _, Sha256};

pub use given::{Given, InvalidAuthorities};
pub use pattern::{ImagePattern, InvalidPattern, NamespacePattern};
pub use spec::{ImagePolicySpec, MAX_PATTERNS};

use crate::attestation::AttestationRule;
use crate::authority::{Authorities, Trust};
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

/// A policy that can judge: every authority has its key, or its trust root.
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
    attestations: Vec<AttestationRule>,
}

/// What a rule goes by.
#[derive(Clone, Debug)]
pub(crate) enum Basis {
    Authorities(Authorities),
    Allow(StaticAllow),
    Deny { reason: String },
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

/// The bytes of the files that a policy names (keys, trust roots), or why they could not be read, by their names in it.
pub type FileBytes = BTreeMap<String, Result<Vec<u8>, String>>;

impl ImagePolicy {
    /// Completes a decoded policy with its files. `problems` are those found before: what is wrong with the files is told
    /// with them, and where there is any, there is no policy.
    pub fn build(spec: &ImagePolicySpec, files: &FileBytes, mut problems: Problems) -> Result<Self, Problems> {
        let rules = build::rules(spec, files, &mut problems);
        if !spec.is_sound && problems.is_empty() {
            problems.push(Place::default(), "the policy has mistakes");
        }
        let policy = Self::new(spec.mode, spec.no_match, rules);
        problems.into_result(policy)
    }

    /// The policy in whose place a document stands that cannot be read: it has no rules, and what no rule of another
    /// policy names is denied. To judge by the others alone would let in what the unreadable one may forbid.
    pub fn unreadable() -> Self {
        Self::new(Mode::Enforce, NoMatch::Deny, Vec::new())
    }

    /// The policy in whose place one with mistakes stands: what its rules name is denied until it is mended, in their own
    /// modes, and so is what no rule of another names. Its rules may be the strictest of all.
    pub fn standing_in(spec: &ImagePolicySpec) -> Self {
        let named = spec.rules.iter().filter(|rule| !rule.images.is_empty());
        let rules = named.map(|rule| Rule {
            name: rule.name.clone(),
            images: rule.images.clone(),
            namespaces: match rule.namespaces.as_slice() {
                [] => vec![NamespacePattern::everything()],
                patterns => patterns.to_vec(),
            },
            mode: rule.mode.unwrap_or(spec.mode),
            basis: Basis::Deny { reason: "its image policy is not in force; see the policy's status".to_owned() },
            attestations: Vec::new(),
        });
        Self::new(Mode::Enforce, NoMatch::Deny, rules.collect())
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

    pub(crate) fn attestations(&self) -> &[AttestationRule] {
        &self.attestations
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
            Basis::Authorities(authorities) => authorities.write(canonical),
            Basis::Allow(allow) => allow.write(canonical),
            Basis::Deny { reason } => _ = canonical.text("deny").text(reason),
        }
        canonical.number(self.attestations.len());
        self.attestations.iter().for_each(|attestation| attestation.write(canonical));
    }
}

impl Authorities {
    fn write(&self, canonical: &mut Canonical) {
        canonical.text("authorities").number(self.threshold()).number(self.list().len());
        for authority in self.list() {
            canonical.text(&authority.name).number(usize::from(authority.required));
            authority.trust.write(canonical);
        }
    }
}

impl Trust {
    fn write(&self, canonical: &mut Canonical) {
        match self {
            Self::Key(trust) => {
                canonical.text("key").bytes(trust.key.spki().as_bytes()).time(trust.not_before).time(trust.not_after);
                let root = trust.root.as_ref().map(|root| root.digest()).unwrap_or_default();
                canonical.text(trust.log.as_str()).bytes(root);
            }
            Self::Keyless(trust) => {
                canonical.text("keyless");
                for text in [&trust.identity.issuer, &trust.identity.subject] {
                    let (kind, text) = text.written();
                    canonical.text(kind).text(text);
                }
                canonical.number(trust.identity.claims.len());
                for (claim, value) in &trust.identity.claims {
                    canonical.text(claim.name()).text(value);
                }
                canonical.text(trust.log.as_str()).text(trust.sct.as_str()).bytes(trust.root.digest());
            }
        }
    }
}

impl AttestationRule {
    fn write(&self, canonical: &mut Canonical) {
        canonical.text(&self.name).text(&self.predicate_type).number(self.authorities.len());
        self.authorities.iter().for_each(|index| _ = canonical.number(*index));
        canonical.text(&self.max_age.map_or_else(String::new, |age| age.as_millis().to_string()));
        canonical.text(self.condition.as_ref().map_or("", |condition| condition.text()));
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
        canonical.text("portreeve-image-policy-v2");
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
