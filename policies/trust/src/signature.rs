//! The two ways cosign stores a signature, each taken apart into the bytes that were signed, the signature over them,
//! and the digest that they speak of. Nothing here decides; it only says what is there, or why it is none.

mod legacy;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portreeve_policies::image::Digest;
use portreeve_reports::Cause;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sigstore_types::{
    Bundle, DigestBytes, DsseEnvelope, HashAlgorithm, MessageDigest, MessageSignature, SignatureBytes, SignatureContent,
};

use crate::evidence::{Lookup, SignatureLayer};
use crate::strict_json;

/// Media type of a cosign v2 signature layer.
pub(crate) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of the signature over a v2 layer.
pub(crate) const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// `critical.type` of a v2 payload.
pub(crate) const SIMPLE_SIGNING_TYPE: &str = "cosign container image signature";
/// Payload type of in-toto statements in DSSE envelopes.
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Media type of a cosign v2 attestation layer.
const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// `_type` of an in-toto statement.
pub(crate) const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// The same of older attestations.
const STATEMENT_V0_1: &str = "https://in-toto.io/Statement/v0.1";
/// The only predicate that is a signature. cosign takes any attestation for one; a provenance statement by the right
/// key does not say "this may run".
pub(crate) const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Largest signed payload, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;
/// Largest bundle, in bytes.
pub(crate) const MAX_BUNDLE: usize = 16 << 20;

/// A signature, taken apart.
#[derive(Debug)]
pub(crate) struct Signature {
    /// What it says of the image.
    pub(crate) kind: Kind,
    /// The bytes that were signed.
    pub(crate) message: Vec<u8>,
    /// The signature over them.
    pub(crate) signature: SignatureBytes,
    /// What they claim; believed only when the signature holds.
    pub(crate) claim: Claim,
    /// The signature with all that came with it: certificate, log entry, timestamp. Why there is none, where that could
    /// not be read.
    pub(crate) bundle: Result<Bundle, String>,
    /// What came with it.
    pub(crate) with: With,
}

/// What a signature says of an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// That it may run.
    Signature,
    /// What a statement says, and no word for or against running it.
    Attestation {
        /// The type of its predicate.
        predicate_type: String,
        /// Where the statement begins in the message.
        statement: usize,
    },
}

impl Signature {
    /// The in-toto statement of an attestation.
    pub(crate) fn statement(&self) -> Option<(&str, &[u8])> {
        match &self.kind {
            Kind::Signature => None,
            Kind::Attestation { predicate_type, statement } => Some((predicate_type, self.message.get(*statement..)?)),
        }
    }
}

/// What comes with a signature, whether it can be read or not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct With {
    /// A certificate, as keyless signatures have it.
    pub(crate) certificate: bool,
    /// An entry of a transparency log.
    pub(crate) log: bool,
    /// A timestamp.
    pub(crate) timestamp: bool,
}

/// Whether the signed bytes speak of the image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// They name its digest.
    ThisImage,
    /// They name other digests.
    OtherImage(String),
}

/// Why something stored as a signature is none that can be checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is something else, such as an attestation, and no word for or against the image.
    NotASignature(String),
    /// A signature in a form that is not read.
    Unsupported(String),
    /// Its bytes are not what they should be. The bytes are known to be the registry's, so asking again is no use.
    Malformed(String),
    /// Its bytes could not be had.
    Unreadable(Cause, String),
}

/// Takes a layer of a cosign v2 signature apart (cosign specs/SIGNATURE_SPEC.md).
pub(crate) fn of_layer(layer: &SignatureLayer, image: &Digest) -> Result<Signature, Flaw> {
    let payload = payload_of(layer, SIMPLE_SIGNING, MAX_PAYLOAD)?;
    let signature = legacy::annotation(&layer.annotations, SIGNATURE_ANNOTATION)
        .and_then(|text| STANDARD.decode(text).ok())
        .map(SignatureBytes::new)
        .ok_or_else(|| Flaw::Malformed(format!("annotation {SIGNATURE_ANNOTATION} is missing or not base64")))?;
    let digest = MessageDigest::new(HashAlgorithm::Sha2256, DigestBytes::new(Sha256::digest(payload).to_vec()));
    let content = MessageSignature::new(signature.clone()).with_message_digest(digest);
    Ok(Signature {
        kind: Kind::Signature,
        claim: claim_of_payload(payload, image)?,
        message: payload.to_vec(),
        signature,
        bundle: legacy::bundle(&layer.annotations, SignatureContent::MessageSignature(content)),
        with: With::of_annotations(&layer.annotations),
    })
}

/// Takes a layer of a cosign v2 attestation apart (cosign specs/ATTESTATION_SPEC.md). Its annotations say of which type
/// it is, too; nobody signed them, and they are not read.
pub(crate) fn of_attestation_layer(layer: &SignatureLayer, image: &Digest) -> Result<Signature, Flaw> {
    let envelope = payload_of(layer, DSSE_ENVELOPE, MAX_BUNDLE)?;
    let malformed = |error: &dyn std::fmt::Display| Flaw::Malformed(format!("not a DSSE envelope: {error}"));
    let envelope = strict_json::parse(envelope).map_err(|error| malformed(&error))?;
    let envelope: DsseEnvelope = serde_json::from_value(envelope).map_err(|error| malformed(&error))?;
    let bundle = legacy::bundle(&layer.annotations, SignatureContent::DsseEnvelope(envelope.clone()));
    of_envelope(&envelope, image, bundle, With::of_annotations(&layer.annotations))
}

fn payload_of<'layer>(layer: &'layer SignatureLayer, media_type: &str, most: usize) -> Result<&'layer [u8], Flaw> {
    if layer.media_type != media_type {
        return Err(Flaw::Unsupported(format!("layer of type '{}'", clipped(&layer.media_type))));
    }
    match &layer.payload {
        Lookup::Found(payload) if payload.len() > most => {
            Err(Flaw::Unreadable(Cause::TooLarge, format!("the payload is larger than {} MiB", most >> 20)))
        }
        Lookup::Found(payload) => Ok(payload),
        Lookup::Absent => Err(Flaw::Unreadable(Cause::Unreadable, "the registry lacks the payload".into())),
        Lookup::Indeterminate(cause, why) => Err(Flaw::Unreadable(*cause, why.clone())),
    }
}

fn claim_of_payload(payload: &[u8], image: &Digest) -> Result<Claim, Flaw> {
    let payload = strict_json::parse(payload).map_err(|error| Flaw::Malformed(format!("the payload is {error}")))?;
    let missing = |what: &str| Flaw::Malformed(format!("the payload has no single {what}"));
    let critical = strict_json::get(&payload, "critical").ok_or_else(|| missing("'critical'"))?;
    let kind = strict_json::get(critical, "type").and_then(Value::as_str).ok_or_else(|| missing("'critical.type'"))?;
    if kind != SIMPLE_SIGNING_TYPE {
        return Err(Flaw::Unsupported(format!("payload of type '{}'", clipped(kind))));
    }
    let digest = strict_json::get(critical, "image")
        .and_then(|image| strict_json::get(image, "docker-manifest-digest"))
        .and_then(Value::as_str)
        .ok_or_else(|| missing("'critical.image.docker-manifest-digest'"))?;
    Ok(if digest == image.as_str() { Claim::ThisImage } else { Claim::OtherImage(clipped(digest)) })
}

/// Takes a sigstore bundle apart (cosign specs/BUNDLE_SPEC.md).
pub(crate) fn of_bundle(bytes: &[u8], image: &Digest) -> Result<Signature, Flaw> {
    if bytes.len() > MAX_BUNDLE {
        return Err(Flaw::Unreadable(Cause::TooLarge, "the bundle is larger than 16 MiB".into()));
    }
    let malformed = |error: &dyn std::fmt::Display| Flaw::Malformed(format!("not a sigstore bundle: {error}"));
    strict_json::parse(bytes).map_err(|error| malformed(&error))?;
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
    let bundle = Bundle::from_json(text).map_err(|error| {
        let said = error.to_string();
        if said.contains(UNKNOWN_ENTRY) { Flaw::Unsupported(clipped(&said)) } else { malformed(&error) }
    })?;
    has_few_proofs(&bundle).map_err(|why| Flaw::Unreadable(Cause::TooLarge, why))?;
    match &bundle.content {
        SignatureContent::DsseEnvelope(envelope) => {
            let (envelope, with) = (envelope.clone(), With::of(&bundle));
            of_envelope(&envelope, image, Ok(bundle), with)
        }
        SignatureContent::MessageSignature(_) => Err(Flaw::Unsupported("bundle with a message signature".into())),
        _ => Err(Flaw::Unsupported("bundle with content of an unknown kind".into())),
    }
}

/// Most log entries, and most timestamps, of a bundle: each costs a verification.
const MAX_PROOFS: usize = 8;

/// Whether a bundle has no more to be verified than anybody needs.
pub(crate) fn has_few_proofs(bundle: &Bundle) -> Result<(), String> {
    let material = &bundle.verification_material;
    let (entries, timestamps) =
        (material.tlog_entries.len(), material.timestamp_verification_data.rfc3161_timestamps.len());
    if entries.max(timestamps) <= MAX_PROOFS {
        return Ok(());
    }
    Err(format!("it has {entries} log entries and {timestamps} timestamps; at most {MAX_PROOFS} of each are read"))
}

/// How the library begins what it says of a log entry of a kind that it does not know.
const UNKNOWN_ENTRY: &str = "unsupported Rekor entry format";

impl With {
    pub(crate) fn of(bundle: &Bundle) -> Self {
        let material = &bundle.verification_material;
        Self {
            certificate: bundle.signing_certificate().is_some(),
            log: !material.tlog_entries.is_empty(),
            timestamp: !material.timestamp_verification_data.rfc3161_timestamps.is_empty(),
        }
    }

    fn of_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let present = |name| legacy::annotation(annotations, name).is_some();
        Self {
            certificate: present(legacy::CERTIFICATE),
            log: present(legacy::LOG),
            timestamp: present(legacy::TIMESTAMP),
        }
    }
}

fn of_envelope(
    envelope: &DsseEnvelope,
    image: &Digest,
    bundle: Result<Bundle, String>,
    with: With,
) -> Result<Signature, Flaw> {
    if envelope.payload_type != IN_TOTO {
        return Err(Flaw::NotASignature(format!("envelope of type '{}'", clipped(&envelope.payload_type))));
    }
    let payload = envelope.payload.as_bytes();
    let head: StatementHead = serde_json::from_slice(payload)
        .map_err(|error| Flaw::Malformed(format!("the statement is no JSON of its kind: {error}")))?;
    let message = envelope.pae();
    let kind = if head.predicate_type == SIGN_PREDICATE {
        if payload.len() > MAX_PAYLOAD {
            return Err(Flaw::Unreadable(Cause::TooLarge, "the statement is larger than 1 MiB".into()));
        }
        Kind::Signature
    } else {
        let statement = message.len() - payload.len();
        Kind::Attestation { predicate_type: head.predicate_type.clone(), statement }
    };
    if head.statement_type != STATEMENT_V1 && (kind == Kind::Signature || head.statement_type != STATEMENT_V0_1) {
        return Err(Flaw::Unsupported(format!("statement of type '{}'", clipped(&head.statement_type))));
    }
    let (claim, signature) = (head.claim(image), envelope.signature.sig.clone());
    Ok(Signature { kind, message, signature, claim, bundle, with })
}

/// What of a statement is read before anybody is known to have signed it: not its predicate. A key that is there twice is
/// refused.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatementHead {
    #[serde(rename = "_type")]
    statement_type: String,
    predicate_type: String,
    subject: Vec<StatementSubject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatementSubject {
    digest: SubjectDigest,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubjectDigest {
    sha256: Option<String>,
}

impl StatementHead {
    fn claim(&self, image: &Digest) -> Claim {
        let mut digests = self.subject.iter().filter_map(|subject| subject.digest.sha256.as_deref());
        if digests.clone().any(|digest| digest == image.hex()) {
            return Claim::ThisImage;
        }
        Claim::OtherImage(digests.next().map_or_else(|| "none".to_owned(), |hex| format!("sha256:{}", clipped(hex))))
    }
}

/// Text of strangers in messages: short, and without control characters.
pub(crate) fn clipped(text: &str) -> String {
    let visible = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(100).map(visible).collect()
}
