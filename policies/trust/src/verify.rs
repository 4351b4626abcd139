//! The judgement of an image: the rule that counts, every place where a signature may be, and what was found there.
//!
//! A judgement is [`ImageFact::Verified`] only by a [`VerifiedImage`], which is minted in one function, after the
//! checks, and cannot be deserialized. Everything else is a reason why not. What could not be read is never "unsigned",
//! and what was read and is no good is never "could not be read".

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, ImageReference, Repository};
use portreeve_reports::{Cause, Effect};

use crate::evidence::{ImageEvidence, Lookup, ReferrerContent};
use crate::policy::{Basis, ImagePolicy, KeyAuthorities, KeyAuthority, NoMatch, Rule, Selection, StaticAllow};
use crate::signature::{self, Claim, Flaw, Signature, clipped};

/// Most signatures looked at in one place.
pub const MAX_SIGNATURES: usize = 100;

/// An image digest that the authorities of a policy vouch for. Who holds one may admit the image.
///
/// There is no way to make one from stored bytes: what is stored is evidence, and each process verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedImage {
    digest: Digest,
    repository: Repository,
    authorities: Vec<String>,
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

    /// The fact for rules: the only place where [`ImageFact::Verified`] is made.
    fn fact(&self) -> ImageFact {
        ImageFact::Verified { digest: self.digest.clone(), authorities: self.authorities.clone() }
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
    /// What came with it and was not checked.
    pub notes: Vec<&'static str>,
}

/// Where a signature may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignaturePlace {
    /// The `sha256-<hex>.sig` tag as a whole.
    Tag,
    /// The layer of that index behind the tag.
    TagLayer(usize),
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
/// Rules that go by keys need `evidence`; static rules do not, so the network need not be asked for them (see
/// [`needs_evidence`]). `now` is the time that keys and static rules must be valid at. A panic in the libraries below
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
        effect,
        verdict: judged.verdict,
        accounted: judged.accounted,
    }
}

/// Whether the rule that counts for an image goes by signatures, so that a registry must be asked.
pub fn needs_evidence(policy: &ImagePolicy, repository: &Repository, namespace: Option<&str>) -> bool {
    match policy.rule_for(repository, namespace) {
        Selection::Rule(rule) => matches!(rule.basis(), Basis::Keys(_)),
        Selection::NoMatch(_) => false,
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
        (Basis::Keys(_), Some(_), None) => Judged::of(unknown(Cause::Unreachable, "no registry was asked")),
        (Basis::Keys(_), Some(digest), Some(evidence)) if evidence.digest != *digest => {
            Judged::of(unknown(Cause::Unreadable, format!("the evidence is about another image, {}", evidence.digest)))
        }
        (Basis::Keys(authorities), Some(digest), Some(evidence)) => {
            let (accounted, vouching) = Checker { authorities, digest, now }.look_everywhere(evidence);
            let verdict = weigh(authorities, &accounted, &vouching).map(|grounds| vouch(image, digest, grounds));
            Judged { verdict, accounted }
        }
    }
}

/// Why an image is verified: made only where the checks have passed.
struct Grounds(Vec<String>);

/// Mints the token: the only place that makes a [`VerifiedImage`].
fn vouch(image: &ImageReference, digest: &Digest, grounds: Grounds) -> VerifiedImage {
    VerifiedImage { digest: digest.clone(), repository: image.repository.clone(), authorities: grounds.0 }
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
    Ok(Grounds(vec![format!("{owner}, by digest until {}: {reason}", expires.strftime("%Y-%m-%d"))]))
}

/// What all places together come to.
fn weigh(
    authorities: &KeyAuthorities,
    accounted: &[Accounted],
    vouching: &BTreeSet<usize>,
) -> Result<Grounds, ImageFact> {
    let named = |indices: &mut dyn Iterator<Item = usize>| -> Vec<String> {
        indices.filter_map(|index| authorities.list().get(index)).map(|authority| authority.name.clone()).collect()
    };
    if authorities.are_met_by(vouching) {
        return Ok(Grounds(named(&mut vouching.iter().copied())));
    }
    let mut unread = accounted.iter().filter_map(|entry| match &entry.outcome {
        Outcome::Unreadable(cause, why) => Some((*cause, format!("{}: {why}", entry.place))),
        _ => None,
    });
    if let Some((cause, first)) = unread.next() {
        let others = unread.map(|(_, why)| why);
        return Err(unknown(cause, std::iter::once(first).chain(others).collect::<Vec<_>>().join("; ")));
    }
    let mut reasons: Vec<String> = accounted.iter().filter_map(Accounted::objection).collect();
    if !vouching.is_empty() {
        reasons.insert(0, shortfall(authorities, vouching));
    }
    Err(if reasons.is_empty() { ImageFact::Unsigned } else { ImageFact::Untrusted(reasons) })
}

fn shortfall(authorities: &KeyAuthorities, vouching: &BTreeSet<usize>) -> String {
    let name = |(_, authority): (usize, &KeyAuthority)| authority.name.clone();
    let listed = || authorities.list().iter().enumerate();
    let signed: Vec<String> = listed().filter(|(index, _)| vouching.contains(index)).map(name).collect();
    let missing = listed().filter(|(index, authority)| authority.required && !vouching.contains(index)).map(name);
    let missing: Vec<String> = missing.collect();
    let required = if missing.is_empty() { String::new() } else { format!("; {} must sign", quoted(&missing)) };
    format!("signed by {}, of {} keys needed{required}", quoted(&signed), authorities.threshold())
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
            Outcome::Absent | Outcome::Verified(_) | Outcome::NotASignature(_) | Outcome::Unreadable(..) => None,
        }
    }
}

/// Looks for signatures by the authorities of one rule over one digest.
struct Checker<'judgement> {
    authorities: &'judgement KeyAuthorities,
    digest: &'judgement Digest,
    now: Timestamp,
}

impl Checker<'_> {
    /// Accounts for both places where cosign stores signatures, always both, and says which authorities vouch.
    fn look_everywhere(&self, evidence: &ImageEvidence) -> (Vec<Accounted>, BTreeSet<usize>) {
        let mut vouching = BTreeSet::new();
        let mut accounted = self.look(&evidence.tag_signatures, SignaturePlace::Tag, |index, layer| {
            let found = signature::of_layer(layer, self.digest);
            self.account(SignaturePlace::TagLayer(index), found, &mut vouching)
        });
        accounted.extend(self.look(&evidence.referrers, SignaturePlace::Referrers, |_, referrer| {
            let found = match &referrer.content {
                ReferrerContent::Bundle(bytes) => signature::of_bundle(bytes, self.digest),
                ReferrerContent::Other { media_type } => Err(Flaw::NotASignature(clipped(media_type))),
                ReferrerContent::Indeterminate(cause, why) => Err(Flaw::Unreadable(*cause, why.clone())),
            };
            self.account(SignaturePlace::Referrer(referrer.digest.clone()), found, &mut vouching)
        }));
        (accounted, vouching)
    }

    /// Accounts for each item of one place, up to [`MAX_SIGNATURES`]; what is beyond is unknown.
    fn look<T>(
        &self,
        lookup: &Lookup<Vec<T>>,
        place: SignaturePlace,
        mut each: impl FnMut(usize, &T) -> Accounted,
    ) -> Vec<Accounted> {
        let items = match lookup {
            Lookup::Found(items) => items,
            Lookup::Absent => return vec![Accounted::of(place, Outcome::Absent)],
            Lookup::Indeterminate(cause, why) => {
                return vec![Accounted::of(place, Outcome::Unreadable(*cause, why.clone()))];
            }
        };
        let mut accounted: Vec<_> =
            items.iter().take(MAX_SIGNATURES).enumerate().map(|(index, item)| each(index, item)).collect();
        if items.len() > MAX_SIGNATURES {
            let why = format!("{} entries; the first {MAX_SIGNATURES} were checked", items.len());
            accounted.push(Accounted::of(place, Outcome::Unreadable(Cause::TooLarge, why)));
        } else if items.is_empty() {
            accounted.push(Accounted::of(place, Outcome::Absent));
        }
        accounted
    }

    fn account(
        &self,
        place: SignaturePlace,
        found: Result<Signature, Flaw>,
        vouching: &mut BTreeSet<usize>,
    ) -> Accounted {
        let signature = match found {
            Ok(signature) => signature,
            Err(Flaw::NotASignature(what)) => return Accounted::of(place, Outcome::NotASignature(what)),
            Err(Flaw::Unsupported(what)) => return Accounted::of(place, Outcome::Unsupported(what)),
            Err(Flaw::Malformed(why)) => return Accounted::of(place, Outcome::Refused(clipped_reason(&why))),
            Err(Flaw::Unreadable(cause, why)) => {
                return Accounted::of(place, Outcome::Unreadable(cause, clipped_reason(&why)));
            }
        };
        let outcome = match self.signers(&signature) {
            Ok(signers) => {
                vouching.extend(signers.iter().map(|(index, _)| *index));
                Outcome::Verified(signers.into_iter().map(|(_, authority)| authority.name.clone()).collect())
            }
            Err(why) => Outcome::Refused(why),
        };
        Accounted { place, outcome, notes: signature.notes }
    }

    /// The authorities that made this signature over this image, or why it counts for nothing.
    fn signers(&self, signature: &Signature) -> Result<Vec<(usize, &KeyAuthority)>, String> {
        let signed = |(_, authority): &(usize, &KeyAuthority)| {
            authority.key.has_signed(&signature.message, &signature.signature)
        };
        let (valid, out_of_time): (Vec<_>, Vec<_>) = (self.authorities.list().iter().enumerate())
            .filter(signed)
            .partition(|(_, authority)| authority.is_valid_at(self.now));
        if let (Some((_, first)), Claim::OtherImage(digest)) = (valid.first(), &signature.claim) {
            return Err(format!("signed by '{}' for another image, {digest}", first.name));
        }
        match (valid.is_empty(), out_of_time.first()) {
            (false, _) => Ok(valid),
            (true, Some((_, authority))) => Err(format!("signed by '{}', {}", authority.name, authority.validity())),
            (true, None) if signature.has_certificate => {
                Err("signed with a certificate; this rule trusts keys".to_owned())
            }
            (true, None) => Err("not signed by any key of the rule".to_owned()),
        }
    }
}

impl KeyAuthority {
    /// A signature without a trusted time counts as made now: there is no other time that a forger could not choose.
    fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before.is_none_or(|start| now >= start) && self.not_after.is_none_or(|end| now <= end)
    }

    fn validity(&self) -> String {
        let day = |time: Option<Timestamp>| time.map_or_else(|| "…".to_owned(), |time| time.to_string());
        format!("whose key is trusted from {} to {} only", day(self.not_before), day(self.not_after))
    }
}

/// Reasons may quote strangers; [`clipped`] is for short names, this for sentences.
fn clipped_reason(why: &str) -> String {
    why.chars().take(300).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests;
