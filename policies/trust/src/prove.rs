//! What comes with a signature, checked against a trust root: certificate, certificate transparency, log entry,
//! timestamp. The only place that asks the sigstore verifier.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve_policies::image::Digest;
use sigstore_crypto::CertificateInfo;
use sigstore_types::{Bundle, KindVersion, Sha256Hash, SignatureContent, TransparencyLogEntry};
use sigstore_verify::{Policy, PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult};

use crate::authority::{Demand, KeyTrust, KeylessTrust};
use crate::identity::Signer;
use crate::root::TrustRoot;
use crate::signature::{Signature, With};

/// Why a signature is no authority's word, in the order of how near it came: the nearest is what a reader needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    /// It is with a key where a certificate is needed, or the other way round.
    OtherKind,
    /// It is not by the key.
    NotSigned,
    /// Something about it does not hold.
    Invalid(String),
    /// It holds and is by somebody else.
    Stranger(String),
    /// It holds, and the key did not count at the time.
    OutOfTime(String),
    /// It speaks of another image.
    OtherImage(String),
}

impl Refusal {
    fn not_logged() -> Self {
        Self::Invalid("it has no entry of the transparency log, and the policy wants one".into())
    }
}

/// A certificate that holds, and what was checked to know it.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    pub(crate) signer: Signer,
    pub(crate) certificate: CertificateInfo,
    pub(crate) checked: With,
    pub(crate) times: Vec<Timestamp>,
}

/// Checks of one signature over one image; each is done once, however many authorities ask for it.
pub(crate) struct Proofs<'judgement> {
    signature: &'judgement Signature,
    image: &'judgement Digest,
    certificates: BTreeMap<(Vec<u8>, bool, bool), Result<Certified, Refusal>>,
}

impl<'judgement> Proofs<'judgement> {
    pub(crate) fn new(signature: &'judgement Signature, image: &'judgement Digest) -> Self {
        Self { signature, image, certificates: BTreeMap::new() }
    }

    pub(crate) fn signature(&self) -> &'judgement Signature {
        self.signature
    }

    /// The certificate, when it and all that comes with it hold.
    pub(crate) fn of_certificate(&mut self, trust: &KeylessTrust) -> Result<Certified, Refusal> {
        let question = (trust.root.digest().to_vec(), trust.log == Demand::Required, trust.sct == Demand::Required);
        if let Some(known) = self.certificates.get(&question) {
            return known.clone();
        }
        let answer = self.certify(trust);
        self.certificates.insert(question, answer.clone());
        answer
    }

    fn certify(&self, trust: &KeylessTrust) -> Result<Certified, Refusal> {
        let checkable = Checkable::of(self.signature, &trust.root)?;
        let mut policy = VerificationPolicy::any_identity();
        match (trust.log, checkable.with.log) {
            (Demand::Required, false) => return Err(Refusal::not_logged()),
            (Demand::Optional, false) => policy = policy.skip_tlog_unsafe(),
            (Demand::Required | Demand::Optional, true) => {}
        }
        if trust.sct == Demand::Optional && !trust.root.has().certificate_log {
            policy = policy.skip_sct();
        }
        let result = self.verify(&trust.root, &checkable.bundle, &policy)?;
        is_logged_in_time(&checkable.bundle, &trust.root, result.verified_timestamps()).map_err(Refusal::Invalid)?;
        let certificate = result.certificate().filter(|_| result.certificate_verified());
        let certificate = certificate.ok_or_else(|| Refusal::Invalid("its certificate was not verified".into()))?;
        Ok(Certified {
            signer: Signer::of(certificate).map_err(Refusal::Invalid)?,
            certificate: certificate.clone(),
            checked: With { certificate: true, log: result.tlog_verified(), timestamp: checkable.with.timestamp },
            times: result.verified_timestamps().to_vec(),
        })
    }

    /// The trusted times of a signature by a key, and what was checked.
    pub(crate) fn of_key(&self, trust: &KeyTrust) -> Result<(Vec<Timestamp>, With), Refusal> {
        let Some(root) = &trust.root else { return Ok((Vec::new(), With::default())) };
        if !self.signature.with.log && trust.log == Demand::Required {
            return Err(Refusal::not_logged());
        }
        let checkable = Checkable::of(self.signature, root)?;
        match checkable.with {
            With { log: false, .. } if trust.log == Demand::Required => return Err(Refusal::not_logged()),
            With { log: false, timestamp: false, .. } => return Ok((Vec::new(), With::default())),
            With { .. } => {}
        }
        let mut policy = PublicKeyVerificationPolicy::new(trust.key.spki().clone());
        if !checkable.with.log {
            policy = policy.skip_tlog_unsafe();
        }
        let result = self.verify(root, &checkable.bundle, &policy)?;
        is_logged_in_time(&checkable.bundle, root, result.verified_timestamps()).map_err(Refusal::Invalid)?;
        Ok((result.verified_timestamps().to_vec(), checkable.with))
    }

    fn verify(&self, root: &TrustRoot, bundle: &Bundle, policy: &dyn Policy) -> Result<VerificationResult, Refusal> {
        let verified = match &bundle.content {
            SignatureContent::MessageSignature(_) => {
                root.verifier().verify(self.signature.message.as_slice(), bundle, policy)
            }
            _ => {
                let image = Sha256Hash::from_hex(self.image.hex())
                    .map_err(|error| Refusal::Invalid(format!("the image's digest: {error}")))?;
                root.verifier().verify(image, bundle, policy)
            }
        };
        verified.map_err(|error| Refusal::Invalid(reason(&error)))
    }
}

/// A bundle, and what of it a trust root can check.
struct Checkable {
    bundle: Bundle,
    with: With,
}

impl Checkable {
    /// Leaves out what the root has no key for at all: it proves nothing then, and the verifier would refuse the whole
    /// for it. Where the policy wants it, its absence is what is told.
    fn of(signature: &Signature, root: &TrustRoot) -> Result<Self, Refusal> {
        let mut bundle = signature.bundle.clone().map_err(Refusal::Invalid)?;
        let material = &mut bundle.verification_material;
        if !root.has().transparency_log {
            material.tlog_entries.clear();
        }
        if !root.has().timestamp_authority {
            material.timestamp_verification_data.rfc3161_timestamps.clear();
        }
        is_consistent(&bundle, root).map_err(Refusal::Invalid)?;
        let with = With::of(&bundle);
        Ok(Self { bundle, with })
    }
}

/// Whether the entries of a bundle are what they say, as far as the verifier does not look.
pub(crate) fn is_consistent(bundle: &Bundle, root: &TrustRoot) -> Result<(), String> {
    let mut entries = bundle.verification_material.tlog_entries.iter();
    entries.find_map(|entry| contradiction(entry, root)).map_or(Ok(()), Err)
}

/// Whether the keys of the logs counted at the trusted times of a signature. The verifier asks that of logs that state
/// a time themselves; a v2 log does not, so that its key would count for ever.
pub(crate) fn is_logged_in_time(bundle: &Bundle, root: &TrustRoot, times: &[Timestamp]) -> Result<(), String> {
    for entry in &bundle.verification_material.tlog_entries {
        let Some(range) = root.times_of_log(&entry.log_id).flatten() else { continue };
        let is_dated = !times.is_empty() || range.end.is_none();
        if !is_dated || times.iter().any(|time| !range.contains(*time)) {
            return Err("its log entry is of a key that the log did not have at the time".to_owned());
        }
    }
    Ok(())
}

/// What an entry says of itself against what its log has signed. The verifier goes by the latter alone where a v2 log is
/// asked; what says otherwise beside it has been tampered with.
fn contradiction(entry: &TransparencyLogEntry, root: &TrustRoot) -> Option<String> {
    if root.times_of_log(&entry.log_id).is_none() {
        let log = entry.log_id.key_id.to_base64();
        return Some(format!("its log entry is of a log that the trust root does not name, {log}"));
    }
    let proof = entry.inclusion_proof.as_ref()?;
    let checkpoint = proof.checkpoint.checkpoint()?;
    // A v1 log counts its entries over several trees, of which the proof knows one.
    let is_v2 = entry.kind_version == KindVersion::HashedRekordV002;
    let is_elsewhere = is_v2 && proof.log_index != entry.log_index;
    if is_elsewhere || (proof.tree_size, &proof.root_hash) != (checkpoint.tree_size(), checkpoint.root_hash()) {
        return Some("its inclusion proof is for another place or tree than its entry and checkpoint".to_owned());
    }
    // A v1 log signs as `host`, of the origin `host - tree`.
    let is_own = |name: &str| {
        checkpoint.origin().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(" - "))
    };
    let is_signed = checkpoint.signatures().iter().any(|signature| is_own(&signature.name));
    (!is_signed).then(|| "its checkpoint is not signed in the name of its log".to_owned())
}

/// What the verifier says, in one line of bounded length.
pub(crate) fn reason(error: &sigstore_verify::Error) -> String {
    use sigstore_verify::{Error, TimestampError};
    match error {
        Error::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => {
            "nothing that the trust root knows says when it was made".to_owned()
        }
        Error::Bundle(_) => format!("its bundle lacks what the policy wants: {error}"),
        other => other.to_string(),
    }
}
