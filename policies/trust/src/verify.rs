//! The judgement of an image: the rule that counts, every place where a signature may be, and what was found there.
//!
//! A judgement is [`ImageFact::Verified`] only by a [`VerifiedImage`], which is minted in one function, after the
//! checks, and cannot be deserialized. Everything else is a reason why not. What could not be read is never "unsigned",
//! and what was read and is no good is never "could not be read".

mod checker;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, ImageReference, Repository};
use portreeve_reports::{Cause, Effect};

use crate::authority::{Authorities, Authority, Vouching, most_pairs};
use crate::evidence::ImageEvidence;
use crate::policy::{Basis, ImagePolicy, NoMatch, Rule, Selection, StaticAllow};

pub use checker::MAX_SIGNATURES;

/// An image digest that the authorities of a policy vouch for. Who holds one may admit the image.
///
/// There is no way to make one from stored bytes: what is stored is evidence, and each process verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedImage {
    digest: Digest,
    repository: Repository,
    authorities: Vec<String>,
    attestations: Vec<String>,
}

impl VerifiedImage {
    /// The verified digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The repository whose rule was applied.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Names of the authorities that vouch.
    pub fn authorities(&self) -> &[String] {
        &self.authorities
    }

    /// Names of the attestations that the rule demands.
    pub fn attestations(&self) -> &[String] {
        &self.attestations
    }

    /// The fact for rules: the only place where [`ImageFact::Verified`] is made.
    fn fact(&self) -> ImageFact {
        ImageFact::Verified {
            digest: self.digest.clone(),
            authorities: self.authorities.clone(),
            attestations: self.attestations.clone(),
        }
    }
}

/// What was judged about an image, and on what grounds.
#[derive(Clone, Debug)]
pub struct ImageJudgement {
    verdict: Result<VerifiedImage, ImageFact>,
    /// What a failure does, by the mode of the rule (or of the policy, where no rule names the image).
    pub effect: Effect,
    /// Name of the rule that counted.
    pub rule: Option<String>,
    /// Whether that rule demands attestations.
    pub demands_attestations: bool,
    /// Every place looked at, with what was there.
    pub accounted: Vec<Accounted>,
    /// What else a reader must know: how the rule was chosen, what was not checked.
    pub notes: Vec<String>,
}

impl ImageJudgement {
    /// The token, when the image is verified.
    pub fn verified(&self) -> Option<&VerifiedImage> {
        self.verdict.as_ref().ok()
    }

    /// The outcome, for rules.
    pub fn fact(&self) -> ImageFact {
        self.verdict.as_ref().map_or_else(ImageFact::clone, VerifiedImage::fact)
    }

    /// Says why the image is unknown, where it is: the caller knows what it could not get. Other outcomes stay.
    pub fn unknown_because(mut self, cause: Cause, why: impl Into<String>) -> Self {
        if let Err(fact @ ImageFact::Unknown(..)) = &mut self.verdict {
            *fact = unknown(cause, why);
        }
        self
    }
}

/// A place where signatures may be, or one signature there, and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounted {
    /// Where.
    pub place: SignaturePlace,
    /// What was there.
    pub outcome: Outcome,
    /// What came with it, and whether it was checked.
    pub notes: Vec<String>,
}

/// Where a signature may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignaturePlace {
    /// The `sha256-<hex>.sig` tag as a whole.
    Tag,
    /// The layer of that index behind the tag.
    TagLayer(usize),
    /// The `sha256-<hex>.att` tag as a whole.
    AttestationTag,
    /// The layer of that index behind it.
    AttestationTagLayer(usize),
    /// The list of referrers as a whole.
    Referrers,
    /// The referrer of that digest.
    Referrer(Digest),
}

impl fmt::Display for SignaturePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag => f.write_str("signature tag"),
            Self::TagLayer(index) => write!(f, "signature tag, layer {index}"),
            Self::AttestationTag => f.write_str("attestation tag"),
            Self::AttestationTagLayer(index) => write!(f, "attestation tag, layer {index}"),
            Self::Referrers => f.write_str("referrers"),
            Self::Referrer(digest) => write!(f, "referrer {digest}"),
        }
    }
}

/// What a place came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The registry has nothing there.
    Absent,
    /// A good signature by these authorities of the rule.
    Verified(Vec<String>),
    /// An attestation that is what the rule demands under these names.
    Attests(Vec<String>),
    /// An attestation of a type that the rule demands, and why it is not what is demanded.
    AttestsNothing(String),
    /// A signature that is not good, or by nobody whom the rule trusts.
    Refused(String),
    /// A signature in a form that is not read; it counts as one that is not trusted, never as none.
    Unsupported(String),
    /// No signature: an SBOM, an attestation.
    NotASignature(String),
    /// Nobody knows.
    Unreadable(Cause, String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing there"),
            Self::Verified(authorities) => write!(f, "verified: signed by {}", quoted(authorities)),
            Self::Attests(names) => write!(f, "verified: attests {}", quoted(names)),
            Self::AttestsNothing(why) => write!(f, "not what is to be attested: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::NotASignature(what) => write!(f, "no signature: {what}"),
            Self::Unreadable(cause, why) => write!(f, "unknown ({cause}): {why}"),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// Judges an image, named with its digest, in a namespace (`None` where there is none: see [`crate::policy`]).
///
/// Rules that go by authorities need `evidence`; static rules do not, so the network need not be asked for them (see
/// [`needs()`]). `now` is the time that keys and static rules must be valid at. A panic in the libraries below
/// is an unknown, and so denies.
pub fn judge(
    policy: &ImagePolicy,
    image: &ImageReference,
    namespace: Option<&str>,
    evidence: Option<&ImageEvidence>,
    now: Timestamp,
) -> ImageJudgement {
    let selection = policy.rule_for(&image.repository, namespace);
    let verdict = catch_unwind(AssertUnwindSafe(|| match selection {
        Selection::Rule(rule) => judge_by_rule(rule, image, evidence, now),
        Selection::NoMatch(no_match) => Judged::of(without_rule(no_match, &image.repository)),
    }));
    let judged = verdict
        .unwrap_or_else(|_| Judged::of(unknown(Cause::Unreadable, "the verifier panicked; report this as a bug")));
    let (effect, rule) = match selection {
        Selection::Rule(rule) => (rule.mode().effect(), Some(rule)),
        Selection::NoMatch(NoMatch::Deny) => (policy.mode().effect(), None),
        Selection::NoMatch(NoMatch::Warn | NoMatch::Allow) => (policy.mode().effect().min(Effect::Warn), None),
    };
    ImageJudgement {
        notes: rule.and_then(|rule| namespace_note(rule, namespace)).into_iter().collect(),
        rule: rule.map(|rule| rule.name().to_owned()),
        demands_attestations: rule.is_some_and(|rule| !rule.attestations().is_empty()),
        effect,
        verdict: judged.verdict,
        accounted: judged.accounted,
    }
}

/// What a registry must be asked about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Nothing: no rule goes by what a registry has.
    Nothing,
    /// Its signatures.
    Signatures,
    /// Its signatures, and what is attested of it.
    Attestations,
}

/// What must be known of an image by the rule that counts for it.
pub fn needs(policy: &ImagePolicy, repository: &Repository, namespace: Option<&str>) -> Needs {
    match policy.rule_for(repository, namespace) {
        Selection::Rule(rule) if !matches!(rule.basis(), Basis::Authorities(_)) => Needs::Nothing,
        Selection::Rule(rule) if rule.attestations().is_empty() => Needs::Signatures,
        Selection::Rule(_) => Needs::Attestations,
        Selection::NoMatch(_) => Needs::Nothing,
    }
}

struct Judged {
    verdict: Result<VerifiedImage, ImageFact>,
    accounted: Vec<Accounted>,
}

impl Judged {
    fn of(fact: ImageFact) -> Self {
        Self { verdict: Err(fact), accounted: Vec::new() }
    }
}

fn unknown(cause: Cause, why: impl Into<String>) -> ImageFact {
    ImageFact::Unknown(cause, why.into())
}

fn without_rule(no_match: NoMatch, repository: &Repository) -> ImageFact {
    let said = format!("no rule of the image policy names {repository} (noMatch: {})", no_match.as_str());
    match no_match {
        NoMatch::Deny | NoMatch::Warn => ImageFact::Mismatch(said),
        NoMatch::Allow => ImageFact::NotAsked(said),
    }
}

fn namespace_note(rule: &Rule, namespace: Option<&str>) -> Option<String> {
    let namespaces = rule.limited_to().filter(|_| namespace.is_none())?;
    Some(format!("no namespace was given; the rule is for namespaces {namespaces} and was chosen by its images"))
}

fn judge_by_rule(rule: &Rule, image: &ImageReference, evidence: Option<&ImageEvidence>, now: Timestamp) -> Judged {
    match (rule.basis(), &image.digest, evidence) {
        (Basis::Deny { reason }, ..) => {
            Judged::of(ImageFact::Mismatch(format!("denied by rule '{}': {reason}", rule.name())))
        }
        (_, None, _) => Judged::of(unknown(Cause::Unreadable, "the image has no digest; a tag cannot be verified")),
        (Basis::Allow(allow), Some(digest), _) => Judged {
            verdict: allowed(allow, digest, now).map(|grounds| vouch(image, digest, grounds)),
            accounted: Vec::new(),
        },
        (Basis::Authorities(_), Some(_), None) => Judged::of(unknown(Cause::Unreachable, "no registry was asked")),
        (Basis::Authorities(_), Some(digest), Some(evidence)) if evidence.digest != *digest => {
            Judged::of(unknown(Cause::Unreadable, format!("the evidence is about another image, {}", evidence.digest)))
        }
        (Basis::Authorities(authorities), Some(digest), Some(evidence)) => {
            let question = Question { rule, authorities, image, digest, now };
            let found = checker::look_everywhere(&question, evidence);
            let verdict = weigh(authorities, &found.accounted, &found.vouching).and_then(|authorities| {
                let attestations = found.attested(rule.attestations())?;
                Ok(vouch(image, digest, Grounds { authorities, attestations }))
            });
            Judged { verdict, accounted: found.accounted }
        }
    }
}

/// What is asked of the evidence about one image.
struct Question<'judgement> {
    rule: &'judgement Rule,
    authorities: &'judgement Authorities,
    image: &'judgement ImageReference,
    digest: &'judgement Digest,
    now: Timestamp,
}

/// Why an image is verified: made only where the checks have passed.
struct Grounds {
    authorities: Vec<String>,
    attestations: Vec<String>,
}

/// Mints the token: the only place that makes a [`VerifiedImage`].
fn vouch(image: &ImageReference, digest: &Digest, grounds: Grounds) -> VerifiedImage {
    let Grounds { authorities, attestations } = grounds;
    VerifiedImage { digest: digest.clone(), repository: image.repository.clone(), authorities, attestations }
}

fn allowed(allow: &StaticAllow, digest: &Digest, now: Timestamp) -> Result<Grounds, ImageFact> {
    let StaticAllow { digests, owner, reason, expires } = allow;
    if !digests.contains(digest) {
        return Err(ImageFact::Mismatch(format!("digest {digest} is not one that {owner} allows")));
    }
    if now > *expires {
        return Err(ImageFact::Mismatch(format!(
            "the digest was allowed by {owner} until {}",
            expires.strftime("%Y-%m-%d")
        )));
    }
    let by_hand = format!("{owner}, by digest until {}: {reason}", expires.strftime("%Y-%m-%d"));
    Ok(Grounds { authorities: vec![by_hand], attestations: Vec::new() })
}

/// What all places together come to.
fn weigh(authorities: &Authorities, accounted: &[Accounted], vouching: &Vouching) -> Result<Vec<String>, ImageFact> {
    if authorities.are_met_by(vouching) {
        let named = vouching.keys().filter_map(|index| authorities.list().get(*index));
        return Ok(named.map(|authority| authority.name.clone()).collect());
    }
    // What is behind the tag of attestations is no signature, whatever it is.
    let places = accounted.iter().filter(|entry| !entry.place.is_of_attestations());
    if let Some(unread) = unread(places.clone()) {
        return Err(unread);
    }
    let mut reasons: Vec<String> = places.filter_map(Accounted::objection).collect();
    if !vouching.is_empty() {
        reasons.insert(0, shortfall(authorities, vouching));
    }
    Err(if reasons.is_empty() { ImageFact::Unsigned } else { ImageFact::Untrusted(reasons) })
}

/// That something could not be read, with the first cause and all reasons.
fn unread<'judgement>(places: impl Iterator<Item = &'judgement Accounted>) -> Option<ImageFact> {
    let unread = places.filter_map(|entry| match &entry.outcome {
        Outcome::Unreadable(cause, why) => Some((*cause, format!("{}: {why}", entry.place))),
        _ => None,
    });
    let (causes, reasons): (Vec<_>, Vec<_>) = unread.unzip();
    causes.first().map(|cause| unknown(*cause, reasons.join("; ")))
}

impl SignaturePlace {
    fn may_hold_attestations(&self) -> bool {
        !matches!(self, Self::Tag | Self::TagLayer(_))
    }

    fn is_of_attestations(&self) -> bool {
        matches!(self, Self::AttestationTag | Self::AttestationTagLayer(_))
    }
}

fn shortfall(authorities: &Authorities, vouching: &Vouching) -> String {
    let name = |(_, authority): (usize, &Authority)| authority.name.clone();
    let listed = || authorities.list().iter().enumerate();
    let signed: Vec<String> = listed().filter(|(index, _)| vouching.contains_key(index)).map(name).collect();
    let missing = listed().filter(|(index, authority)| authority.required && !vouching.contains_key(index)).map(name);
    let missing: Vec<String> = missing.collect();
    let required = if missing.is_empty() { String::new() } else { format!("; {} must sign", quoted(&missing)) };
    let signers = most_pairs(vouching);
    let same = if signers < signed.len() { format!(" ({signers} different)") } else { String::new() };
    format!("signed by {}{same}, of {} signers needed{required}", quoted(&signed), authorities.threshold())
}

impl Accounted {
    fn of(place: SignaturePlace, outcome: Outcome) -> Self {
        Self { place, outcome, notes: Vec::new() }
    }

    /// Why a signature that is here does not count; `None` when it does, or none is here.
    fn objection(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Refused(why) => Some(format!("{}: {why}", self.place)),
            Outcome::Unsupported(what) => Some(format!("{}: not supported: {what}", self.place)),
            Outcome::Absent
            | Outcome::Verified(_)
            | Outcome::Attests(_)
            | Outcome::AttestsNothing(_)
            | Outcome::NotASignature(_)
            | Outcome::Unreadable(..) => None,
        }
    }
}

#[cfg(test)]
mod tests;
