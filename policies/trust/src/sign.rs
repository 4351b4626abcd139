//! Signing images as cosign does, in both storages, so that cosign verifies what we sign.
//!
//! Randomness comes from the crypto library: ECDSA nonces and [`SigningKey::generate`] are the places where this crate
//! is not a function of its arguments.

mod encrypted;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve_policies::image::{Digest, ImageReference, InvalidDigest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sigstore_crypto::KeyPair;
use sigstore_types::{
    Bundle, DsseEnvelope, DsseSignature, KeyId, MediaType, PayloadBytes, PublicKeyIdentifier, SignatureContent,
    VerificationMaterial, VerificationMaterialContent,
};
use zeroize::Zeroizing;

use crate::key;
use crate::signature::{
    IN_TOTO, SIGN_PREDICATE, SIGNATURE_ANNOTATION, SIMPLE_SIGNING, SIMPLE_SIGNING_TYPE, STATEMENT_V1,
};

/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
/// Largest key file read, in bytes.
const MAX_PEM: usize = 64 << 10;

/// A private key. It is never shown, copied or serialized.
pub struct SigningKey(KeyPair);

/// Why a file is not a key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// More bytes than any key has.
    #[error("the key file is larger than 64 KiB; no key is")]
    TooLarge,
    /// Not exactly one PEM block.
    #[error("the key file must hold one PEM block, a private key")]
    NotPem,
    /// A PEM block of another kind.
    #[error(
        "the key file holds a '{0}' block; 'PRIVATE KEY' (PKCS#8) and cosign's 'ENCRYPTED SIGSTORE PRIVATE KEY' are \
         read (openssl pkcs8 -topk8 -nocrypt converts others)"
    )]
    OtherBlock(String),
    /// Encrypted, and no password given.
    #[error("the key is encrypted; give its password (COSIGN_PASSWORD)")]
    PasswordNeeded,
    /// Encrypted with another password.
    #[error("the password does not open the key")]
    WrongPassword,
    /// Encrypted in a way that cosign does not write.
    #[error("the encrypted key is not as cosign writes it: {0}")]
    Malformed(&'static str),
    /// Another algorithm, or not a key.
    #[error("the key cannot sign; ECDSA P-256 keys, which cosign makes, can")]
    Unusable(#[source] sigstore_crypto::Error),
}

/// Why signing failed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The crypto library refused.
    #[error("the signature could not be made")]
    Crypto(#[from] sigstore_crypto::Error),
    /// The bundle could not be written as JSON.
    #[error("the bundle could not be written")]
    Bundle(#[from] sigstore_types::Error),
    /// A manifest could not be written as JSON.
    #[error("the manifest could not be written")]
    Json(#[from] serde_json::Error),
    /// A digest of ours that is not one.
    #[error("a digest could not be written")]
    Digest(#[from] InvalidDigest),
}

impl SigningKey {
    /// Reads a PEM file: PKCS#8, or a key that cosign encrypted, with its password.
    pub fn from_pem(bytes: &[u8], password: Option<&[u8]>) -> Result<Self, SigningKeyError> {
        if bytes.len() > MAX_PEM {
            return Err(SigningKeyError::TooLarge);
        }
        let block = pem::parse(bytes).map_err(|_| SigningKeyError::NotPem)?;
        let tag = block.tag().to_owned();
        let contents = Zeroizing::new(block.into_contents());
        match tag.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&contents),
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let password = password.ok_or(SigningKeyError::PasswordNeeded)?;
                Self::from_pkcs8(&encrypted::open(&contents, password)?)
            }
            _ => Err(SigningKeyError::OtherBlock(tag.chars().take(40).collect())),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        KeyPair::from_pkcs8_der(der).map(Self).map_err(SigningKeyError::Unusable)
    }

    /// A new P-256 key, for demonstrations: it lives as long as the process.
    pub fn generate() -> Result<Self, SignError> {
        Ok(Self(KeyPair::generate_ecdsa_p256()?))
    }

    /// The public half, as a PEM block `PUBLIC KEY`.
    pub fn public_key_pem(&self) -> Result<String, SignError> {
        let pem = self.0.public_key_der()?.to_pem().replace("\r\n", "\n");
        Ok(if pem.ends_with('\n') { pem } else { format!("{pem}\n") })
    }
}

/// A descriptor of a blob or manifest (OCI image-spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of what is described.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Result<Self, SignError> {
        let (media_type, digest) = (media_type.to_owned(), digest_of(bytes)?);
        Ok(Self { media_type, digest, size: bytes.len() as u64, annotations: BTreeMap::new() })
    }
}

/// A cosign v2 signature: blobs to push, then the manifest under `tag`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedV2 {
    /// The signed payload, a blob.
    pub payload: Vec<u8>,
    /// The layer that carries the signature.
    pub layer: Descriptor,
    /// The image config, a blob.
    pub config: Vec<u8>,
    /// The manifest, of media type [`MANIFEST`].
    pub manifest: Vec<u8>,
    /// `sha256-<hex>.sig`.
    pub tag: String,
}

/// A cosign v3 signature: blobs to push, then the manifest by its digest. In a registry without referrers API the
/// manifest must also be listed in the index under [`fallback_tag`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedV3 {
    /// The sigstore bundle, a blob.
    pub bundle: Vec<u8>,
    /// `{}`, a blob.
    pub config: Vec<u8>,
    /// The manifest, of media type [`MANIFEST`].
    pub manifest: Vec<u8>,
    /// Descriptor of the manifest.
    pub descriptor: Descriptor,
    /// Its `artifactType`.
    pub artifact_type: &'static str,
}

/// The tag of cosign v2 signatures over a digest.
pub fn signature_tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// The tag of cosign v2 attestations about a digest.
pub fn attestation_tag(digest: &Digest) -> String {
    format!("sha256-{}.att", digest.hex())
}

/// The tag of the index of referrers where there is no referrers API (OCI distribution-spec, "Referrers Tag Schema").
pub fn fallback_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

/// Signs for the tag storage of cosign v2. `existing` are the layers of the manifest that is there already: its
/// signatures are kept.
pub fn sign_v2(
    key: &SigningKey,
    image: &ImageReference,
    digest: &Digest,
    existing: &[Descriptor],
) -> Result<SignedV2, SignError> {
    let payload = serde_json::to_vec(&json!({
        "critical": {
            "identity": {"docker-reference": image.repository.to_string()},
            "image": {"docker-manifest-digest": digest.as_str()},
            "type": SIMPLE_SIGNING_TYPE,
        },
        "optional": null,
    }))?;
    let signature = key.0.sign(&payload)?;
    let mut layer = Descriptor::of(SIMPLE_SIGNING, &payload)?;
    layer.annotations.insert(SIGNATURE_ANNOTATION.into(), signature.to_base64());
    let layers: Vec<&Descriptor> = existing.iter().chain([&layer]).collect();
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": Descriptor::of(CONFIG, &config)?, "layers": layers,
    }))?;
    Ok(SignedV2 { payload, layer, config, manifest, tag: signature_tag(digest) })
}

/// Signs for the referrers storage of cosign v3. `subject` describes the image's manifest or index; `now` is written
/// into the manifest and is no part of what is signed.
pub fn sign_v3(key: &SigningKey, subject: &Descriptor, now: Timestamp) -> Result<SignedV3, SignError> {
    let bundle = sign_bundle(key, &subject.digest)?;
    let config = b"{}".to_vec();
    let artifact_type = MediaType::Bundle0_3.as_str();
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": Descriptor::of(EMPTY_CONFIG, &config)?,
        "layers": [Descriptor::of(artifact_type, &bundle)?],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
        "annotations": {
            "org.opencontainers.image.created": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": SIGN_PREDICATE,
        },
    }))?;
    Ok(SignedV3 { descriptor: Descriptor::of(MANIFEST, &manifest)?, bundle, config, manifest, artifact_type })
}

fn sign_bundle(key: &SigningKey, digest: &Digest) -> Result<Vec<u8>, SignError> {
    let statement = serde_json::to_vec(&json!({
        "_type": STATEMENT_V1,
        "subject": [{"digest": {"sha256": digest.hex()}}],
        "predicateType": SIGN_PREDICATE,
        "predicate": {},
    }))?;
    bundle_of(key, statement)
}

fn bundle_of(key: &SigningKey, statement: Vec<u8>) -> Result<Vec<u8>, SignError> {
    let unsigned = sigstore_types::pae(IN_TOTO, &statement);
    let signature = DsseSignature::new(key.0.sign(&unsigned)?, KeyId::default());
    let envelope = DsseEnvelope::new(IN_TOTO, PayloadBytes::new(statement), signature);
    let hint = key::fingerprint(&key.0.public_key_der()?);
    let material = VerificationMaterialContent::PublicKey(PublicKeyIdentifier::new(hint));
    let content = SignatureContent::DsseEnvelope(envelope);
    let bundle = Bundle::new(MediaType::Bundle0_3, VerificationMaterial::new(material), content);
    Ok(bundle.to_json()?.into_bytes())
}

fn digest_of(bytes: &[u8]) -> Result<Digest, InvalidDigest> {
    Digest::parse(&portreeve_reports::digest::sha256(bytes))
}
