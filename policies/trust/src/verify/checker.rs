//! Every place where a signature may be, gone through and accounted for.

use std::collections::BTreeSet;

use portreeve_policies::facts::ImageFact;
use portreeve_reports::Cause;

use super::{Accounted, Outcome, Question, SignaturePlace, unread};
use crate::attestation::{AttestationRule, Attested};
use crate::authority::{SignerId, Vouching, Word};
use crate::evidence::{ImageEvidence, Lookup, ReferrerContent};
use crate::prove::{Proofs, Refusal};
use crate::signature::{self, Flaw, Signature, With, clipped};

/// Most signatures looked at in one place.
pub const MAX_SIGNATURES: usize = 100;

/// All that was found of one image.
pub(super) struct Found {
    pub(super) accounted: Vec<Accounted>,
    pub(super) vouching: Vouching,
    /// Of the attestations that the rule demands, by index, those that are there.
    attests: BTreeSet<usize>,
}

impl Found {
    /// The names of the attestations that are demanded, when all of them are there.
    pub(super) fn attested(&self, demanded: &[AttestationRule]) -> Result<Vec<String>, ImageFact> {
        let listed = || demanded.iter().enumerate();
        let missing: Vec<_> =
            listed().filter(|(index, _)| !self.attests.contains(index)).map(|(_, rule)| rule).collect();
        if missing.is_empty() {
            return Ok(listed().map(|(_, rule)| rule.name.clone()).collect());
        }
        let places = self.accounted.iter().filter(|entry| entry.place.may_hold_attestations());
        if let Some(unread) = unread(places) {
            return Err(unread);
        }
        let reasons = self.accounted.iter().filter_map(|entry| match &entry.outcome {
            Outcome::AttestsNothing(why) => Some(format!("{}: {why}", entry.place)),
            Outcome::Unsupported(what) if entry.place.is_of_attestations() => {
                Some(format!("{}: not supported: {what}", entry.place))
            }
            Outcome::Refused(why) if entry.place.is_of_attestations() => Some(format!("{}: {why}", entry.place)),
            _ => None,
        });
        let missing = missing.iter().map(|rule| format!("no '{}' ({})", rule.name, rule.predicate_type));
        Err(ImageFact::Unattested(reasons.chain(missing).collect()))
    }
}

/// Accounts for every place where cosign stores signatures, always each, and for those of attestations where the rule
/// demands any; says which authorities vouch, and what is attested.
pub(super) fn look_everywhere(question: &Question<'_>, evidence: &ImageEvidence) -> Found {
    let mut found = Found { accounted: Vec::new(), vouching: Vouching::new(), attests: BTreeSet::new() };
    let checker = Checker { question };
    let digest = question.digest;
    let mut accounted = look(&evidence.tag_signatures, SignaturePlace::Tag, |index, layer| {
        checker.account(SignaturePlace::TagLayer(index), signature::of_layer(layer, digest), &mut found)
    });
    accounted.extend(look(&evidence.referrers, SignaturePlace::Referrers, |_, referrer| {
        let taken = match &referrer.content {
            ReferrerContent::Bundle(bytes) => signature::of_bundle(bytes, digest),
            ReferrerContent::Other { media_type } => Err(Flaw::NotASignature(clipped(media_type))),
            ReferrerContent::Indeterminate(cause, why) => Err(Flaw::Unreadable(*cause, why.clone())),
        };
        checker.account(SignaturePlace::Referrer(referrer.digest.clone()), taken, &mut found)
    }));
    if !question.rule.attestations().is_empty() {
        let unasked = Lookup::Indeterminate(Cause::Unreachable, "no registry was asked for attestations".into());
        let layers = evidence.tag_attestations.as_ref().unwrap_or(&unasked);
        accounted.extend(look(layers, SignaturePlace::AttestationTag, |index, layer| {
            let taken = signature::of_attestation_layer(layer, digest);
            checker.account(SignaturePlace::AttestationTagLayer(index), taken, &mut found)
        }));
    }
    found.accounted = accounted;
    found
}

/// Accounts for each item of one place, up to [`MAX_SIGNATURES`]; what is beyond is unknown.
fn look<T>(
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

/// Looks for signatures and attestations by the authorities of one rule over one digest.
struct Checker<'judgement> {
    question: &'judgement Question<'judgement>,
}

impl Checker<'_> {
    fn account(&self, place: SignaturePlace, taken: Result<Signature, Flaw>, found: &mut Found) -> Accounted {
        let signature = match taken {
            Ok(signature) => signature,
            Err(Flaw::NotASignature(what)) => return Accounted::of(place, Outcome::NotASignature(what)),
            Err(Flaw::Unsupported(what)) => return Accounted::of(place, Outcome::Unsupported(what)),
            Err(Flaw::Malformed(why)) => return Accounted::of(place, Outcome::Refused(clipped_reason(&why))),
            Err(Flaw::Unreadable(cause, why)) => {
                return Accounted::of(place, Outcome::Unreadable(cause, clipped_reason(&why)));
            }
        };
        if let Some((predicate_type, statement)) = signature.statement() {
            return self.account_for_attestation(place, (predicate_type, statement), &signature, found);
        }
        if place.is_of_attestations() {
            return Accounted::of(place, Outcome::NotASignature("a signature, in the place of attestations".into()));
        }
        match self.words(&signature) {
            Ok(words) => {
                let names = words.iter().map(|(index, _)| self.name(*index)).collect();
                let notes = notes(&signature, &words);
                for (index, word) in words {
                    found.vouching.entry(index).or_default().insert(word.signer);
                }
                Accounted { place, outcome: Outcome::Verified(names), notes }
            }
            Err(why) => Accounted::of(place, Outcome::Refused(why)),
        }
    }

    /// An attestation of a type that nobody demands is left alone; no signature of it is looked at.
    fn account_for_attestation(
        &self,
        place: SignaturePlace,
        (predicate_type, statement): (&str, &[u8]),
        signature: &Signature,
        found: &mut Found,
    ) -> Accounted {
        let demanded = self.question.rule.attestations().iter().enumerate();
        let demanded: Vec<_> = demanded.filter(|(_, rule)| rule.predicate_type == predicate_type).collect();
        if demanded.is_empty() {
            let what = format!("attestation of type '{}'", clipped(predicate_type));
            return Accounted::of(place, Outcome::NotASignature(what));
        }
        let words = match self.words(signature) {
            Ok(words) => words,
            Err(why) => return Accounted::of(place, Outcome::AttestsNothing(why)),
        };
        let attested = Attested { predicate_type, statement, words: &words };
        let (mut names, mut reasons) = (Vec::new(), Vec::new());
        for (index, rule) in demanded {
            match rule.is_met_by(&attested, (self.question.image, self.question.now)) {
                Ok(()) => {
                    found.attests.insert(index);
                    names.push(rule.name.clone());
                }
                Err(why) => reasons.push(format!("'{}': {}", rule.name, clipped_reason(&why))),
            }
        }
        let mut notes = notes(signature, &words);
        let outcome = if names.is_empty() {
            Outcome::AttestsNothing(reasons.join("; "))
        } else {
            notes.extend(reasons.into_iter().map(|reason| format!("not {reason}")));
            Outcome::Attests(names)
        };
        Accounted { place, outcome, notes }
    }

    fn name(&self, index: usize) -> String {
        self.question.authorities.list().get(index).map_or_else(String::new, |authority| authority.name.clone())
    }

    /// The authorities whose word this signature is, or why it is nobody's.
    fn words(&self, signature: &Signature) -> Result<Vec<(usize, Word)>, String> {
        let mut proofs = Proofs::new(signature, self.question.digest);
        let mut words = Vec::new();
        let mut refusals = Vec::new();
        for (index, authority) in self.question.authorities.list().iter().enumerate() {
            match authority.trust.word(&mut proofs, self.question.now) {
                Ok(word) => words.push((index, word)),
                Err(refusal) => refusals.push((refusal, index)),
            }
        }
        if words.is_empty() { Err(self.nearest(signature, refusals)) } else { Ok(words) }
    }

    /// What came nearest to a word: of those that came as near, each reason once, with whose it is.
    fn nearest(&self, signature: &Signature, refusals: Vec<(Refusal, usize)>) -> String {
        let rank = |refusal: &Refusal| std::mem::discriminant(refusal);
        let Some(nearest) = refusals.iter().map(|(refusal, _)| refusal).max().cloned() else {
            return "the rule trusts nobody".to_owned();
        };
        let as_near: BTreeSet<_> =
            refusals.into_iter().filter(|(refusal, _)| rank(refusal) == rank(&nearest)).collect();
        let first = as_near.first().map_or_else(String::new, |(_, index)| self.name(*index));
        match nearest {
            Refusal::OtherKind if signature.with.certificate => {
                "signed with a certificate; this rule trusts keys".to_owned()
            }
            Refusal::OtherKind => "signed with a key; this rule trusts certificates".to_owned(),
            Refusal::NotSigned => "not signed by any key of the rule".to_owned(),
            Refusal::OutOfTime(validity) => format!("signed by '{first}', {validity}"),
            Refusal::OtherImage(digest) if signature.with.certificate => {
                format!("signed for another image, {}", clipped(&digest))
            }
            Refusal::OtherImage(digest) => format!("signed by '{first}' for another image, {}", clipped(&digest)),
            Refusal::Stranger(_) | Refusal::Invalid(_) => {
                let reasons: BTreeSet<_> = as_near.iter().filter_map(|(refusal, _)| refusal.reason()).collect();
                clipped_reason(&reasons.into_iter().collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl Refusal {
    fn reason(&self) -> Option<&str> {
        match self {
            Self::Stranger(why) | Self::Invalid(why) => Some(why),
            Self::OtherKind | Self::NotSigned | Self::OutOfTime(_) | Self::OtherImage(_) => None,
        }
    }
}

/// Who signed where that is not the authority itself, what was checked, and what is there and was not.
fn notes(signature: &Signature, words: &[(usize, Word)]) -> Vec<String> {
    let by = words.iter().filter_map(|(_, word)| match &word.signer {
        SignerId::Certified(signer) => Some(signer.to_string()),
        SignerId::Key(_) => None,
    });
    let mut notes: Vec<String> =
        by.collect::<BTreeSet<_>>().into_iter().map(|by| format!("by {}", clipped_reason(&by))).collect();
    let is_checked = |of: fn(&With) -> bool| words.iter().any(|(_, word)| of(&word.checked));
    let parts = [
        ("log entry", signature.with.log, is_checked(|with| with.log)),
        ("timestamp", signature.with.timestamp, is_checked(|with| with.timestamp)),
    ];
    for (what, is_there, is_checked) in parts {
        if is_checked {
            notes.push(format!("{what} checked"));
        } else if is_there {
            notes.push(format!("a {what} is present and was not checked: no trust root of the rule can"));
        }
    }
    notes
}

/// Reasons may quote strangers; [`clipped`] is for short names, this for sentences.
fn clipped_reason(why: &str) -> String {
    why.chars().take(300).map(|character| if character.is_control() { ' ' } else { character }).collect()
}
