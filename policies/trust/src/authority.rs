//! Those whose word counts: keys and identities, and how many of them must vouch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::identity::Identity;
use crate::key::TrustedKey;
use crate::prove::{Certified, Proofs, Refusal};
use crate::root::TrustRoot;
use crate::signature::{Claim, With};

/// Authorities, and how many of them must have signed.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    threshold: usize,
    list: Vec<Authority>,
}

/// Somebody by a name that findings use.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    pub(crate) name: String,
    pub(crate) required: bool,
    pub(crate) trust: Trust,
}

/// What a signature must be made with.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    Key(KeyTrust),
    Keyless(KeylessTrust),
}

/// Whether something must be there. What is there and can be checked is checked either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Required,
    Optional,
}

impl Demand {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err(format!("'{text}' is not one of required, optional")),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }
}

/// A public key, and when it counts.
#[derive(Clone, Debug)]
pub(crate) struct KeyTrust {
    pub(crate) key: Arc<TrustedKey>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) log: Demand,
    /// What log entries and timestamps are checked against.
    pub(crate) root: Option<Arc<TrustRoot>>,
}

/// An identity, and who may certify it.
#[derive(Clone, Debug)]
pub(crate) struct KeylessTrust {
    pub(crate) identity: Identity,
    pub(crate) root: Arc<TrustRoot>,
    pub(crate) log: Demand,
    pub(crate) sct: Demand,
}

/// An authority's word for an image.
#[derive(Debug)]
pub(crate) struct Word {
    /// Who signed; the same signer counts once, whatever authorities name it.
    pub(crate) signer: SignerId,
    /// What was checked of that which came with the signature.
    pub(crate) checked: With,
    /// The trusted times at which the signature was there; none where nothing trusted says so.
    pub(crate) times: Vec<Timestamp>,
}

/// A signer, as nobody else is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SignerId {
    /// SubjectPublicKeyInfo, DER.
    Key(Vec<u8>),
    /// The identity in a certificate.
    Certified(crate::identity::Signer),
}

/// The authorities that vouch, by index, each with whose signatures it goes by.
pub(crate) type Vouching = BTreeMap<usize, BTreeSet<SignerId>>;

impl Authorities {
    pub(crate) fn new(threshold: usize, list: Vec<Authority>) -> Self {
        Self { threshold, list }
    }

    pub(crate) fn list(&self) -> &[Authority] {
        &self.list
    }

    pub(crate) fn threshold(&self) -> usize {
        self.threshold
    }

    /// How many can vouch at most: a key or identity that is listed twice is one.
    pub(crate) fn distinct(&self) -> usize {
        let mut distinct: Vec<&Trust> = Vec::new();
        for Authority { trust, .. } in &self.list {
            if !distinct.iter().any(|known| known.is_same_as(trust)) {
                distinct.push(trust);
            }
        }
        distinct.len()
    }

    /// Whether those who vouch are enough: each required one, and [`Self::threshold`] of them by as many signers.
    pub(crate) fn are_met_by(&self, vouching: &Vouching) -> bool {
        let required = |(index, authority): (usize, &Authority)| !authority.required || vouching.contains_key(&index);
        let signers = most_pairs(vouching);
        // A policy is never built with a threshold of 0; if it were, nobody's word would still be too little.
        self.list.iter().enumerate().all(required) && signers > 0 && signers >= self.threshold
    }
}

impl Trust {
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(one), Self::Key(other)) => one.key.spki() == other.key.spki(),
            (Self::Keyless(one), Self::Keyless(other)) => {
                one.identity == other.identity && one.root.digest() == other.root.digest()
            }
            (Self::Key(_), Self::Keyless(_)) | (Self::Keyless(_), Self::Key(_)) => false,
        }
    }

    /// Whether a signature over an image is of this authority, at `now` where it has no trusted time of its own.
    pub(crate) fn word(&self, proofs: &mut Proofs<'_>, now: Timestamp) -> Result<Word, Refusal> {
        match self {
            Self::Key(trust) => trust.word(proofs, now),
            Self::Keyless(trust) => trust.word(proofs),
        }
    }
}

impl KeyTrust {
    fn word(&self, proofs: &mut Proofs<'_>, now: Timestamp) -> Result<Word, Refusal> {
        let signature = proofs.signature();
        if !self.key.has_signed(&signature.message, &signature.signature) {
            return Err(if signature.with.certificate { Refusal::OtherKind } else { Refusal::NotSigned });
        }
        if let Claim::OtherImage(digest) = &signature.claim {
            return Err(Refusal::OtherImage(digest.clone()));
        }
        let (times, checked) = proofs.of_key(self)?;
        // A signature without a trusted time counts as made now: there is no other that a forger could not choose.
        let is_in_time =
            if times.is_empty() { self.is_valid_at(now) } else { times.iter().all(|at| self.is_valid_at(*at)) };
        if !is_in_time {
            return Err(Refusal::OutOfTime(self.validity()));
        }
        Ok(Word { signer: SignerId::Key(self.key.spki().as_bytes().to_vec()), checked, times })
    }

    fn is_valid_at(&self, time: Timestamp) -> bool {
        self.not_before.is_none_or(|start| time >= start) && self.not_after.is_none_or(|end| time <= end)
    }

    fn validity(&self) -> String {
        let day = |time: Option<Timestamp>| time.map_or_else(|| "…".to_owned(), |time| time.to_string());
        format!("whose key is trusted from {} to {} only", day(self.not_before), day(self.not_after))
    }
}

impl KeylessTrust {
    fn word(&self, proofs: &mut Proofs<'_>) -> Result<Word, Refusal> {
        let signature = proofs.signature();
        if !signature.with.certificate {
            return Err(Refusal::OtherKind);
        }
        if let Claim::OtherImage(digest) = &signature.claim {
            return Err(Refusal::OtherImage(digest.clone()));
        }
        let certified = proofs.of_certificate(self)?;
        match self.identity.differs_from(&certified.signer, &certified.certificate) {
            Some(why) => Err(Refusal::Stranger(why)),
            None => {
                let Certified { signer, checked, times, .. } = certified;
                Ok(Word { signer: SignerId::Certified(signer), checked, times })
            }
        }
    }
}

/// The most authorities that can each be given a signer of their own (Kuhn's algorithm): one signer whom two authorities
/// name is one word, and so is one authority that names two signers.
pub(crate) fn most_pairs(vouching: &Vouching) -> usize {
    let mut taken: BTreeMap<&SignerId, usize> = BTreeMap::new();
    vouching.keys().filter(|authority| give(**authority, vouching, &mut taken, &mut BTreeSet::new())).count()
}

fn give<'vouching>(
    authority: usize,
    vouching: &'vouching Vouching,
    taken: &mut BTreeMap<&'vouching SignerId, usize>,
    tried: &mut BTreeSet<&'vouching SignerId>,
) -> bool {
    let signers = vouching.get(&authority).into_iter().flatten();
    for signer in signers {
        if !tried.insert(signer) {
            continue;
        }
        let is_free = match taken.get(signer).copied() {
            Some(holder) => give(holder, vouching, taken, tried),
            None => true,
        };
        if is_free {
            taken.insert(signer, authority);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Signer;

    fn vouching(of: &[(usize, &[&str])]) -> Vouching {
        let signer = |name: &&str| SignerId::Certified(Signer { subject: (*name).into(), issuer: "i".into() });
        of.iter().map(|(authority, names)| (*authority, names.iter().map(signer).collect())).collect()
    }

    #[test]
    fn one_signer_whom_several_authorities_name_is_one_word() {
        let pairs = |of: &[(usize, &[&str])]| most_pairs(&vouching(of));
        assert_eq!(pairs(&[]), 0);
        assert_eq!(pairs(&[(0, &["a"]), (1, &["a"]), (2, &["a"])]), 1);
        assert_eq!(pairs(&[(0, &["a", "b", "c"])]), 1);
        assert_eq!(pairs(&[(0, &["a", "b"]), (1, &["a"])]), 2);
        assert_eq!(pairs(&[(0, &["a", "b", "c"]), (1, &["a"]), (2, &["a"])]), 2);
        assert_eq!(pairs(&[(0, &["a", "b"]), (1, &["a", "c"]), (2, &["a"])]), 3);
    }
}
