//! Bundles about files: whether one proves that somebody whom the caller trusts signed these bytes. What sigstore's
//! conformance suite asks of a client.

use portreeve_policies::image::Digest;
use sigstore_types::{Bundle, Sha256Hash};
use sigstore_verify::{Policy, PublicKeyVerificationPolicy, VerificationPolicy};

use crate::identity::{Identity, Signer};
use crate::key::TrustedKey;
use crate::prove;
use crate::root::TrustRoot;
use crate::signature::{MAX_BUNDLE, has_few_proofs};
use crate::strict_json;

/// What was signed.
#[derive(Clone, Copy, Debug)]
pub enum Artifact<'bytes> {
    /// All of its bytes.
    Bytes(&'bytes [u8]),
    /// Its digest; enough for everything but Ed25519.
    Digest(&'bytes Digest),
}

/// Whose word counts.
#[derive(Debug)]
pub enum Signatory {
    /// Who holds this key. A log entry is needed.
    Key(TrustedKey),
    /// Whom a certificate of the trust root names so.
    Identity(Identity),
}

/// Why a bundle proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotProved {
    /// It is none.
    #[error("it is no sigstore bundle: {0}")]
    NoBundle(String),
    /// It does not hold.
    #[error("{0}")]
    Refused(String),
}

/// Who signed an artifact, by a bundle and a trust root: certificate and certificate transparency, log entry and time are
/// all needed; for a key the log entry.
pub fn verify(bundle: &[u8], artifact: Artifact<'_>, by: &Signatory, root: &TrustRoot) -> Result<String, NotProved> {
    let bundle = read(bundle)?;
    prove::is_consistent(&bundle, root).map_err(NotProved::Refused)?;
    match by {
        Signatory::Key(key) => {
            let policy = PublicKeyVerificationPolicy::new(key.spki().clone());
            verified(&bundle, artifact, &policy, root).map(|_| format!("key {}", key.fingerprint()))
        }
        Signatory::Identity(identity) => {
            let result = verified(&bundle, artifact, &VerificationPolicy::any_identity(), root)?;
            let certificate = result.certificate().filter(|_| result.certificate_verified());
            let certificate =
                certificate.ok_or_else(|| NotProved::Refused("its certificate was not verified".to_owned()))?;
            let signer = Signer::of(certificate).map_err(NotProved::Refused)?;
            match identity.differs_from(&signer, certificate) {
                Some(why) => Err(NotProved::Refused(why)),
                None => Ok(signer.to_string()),
            }
        }
    }
}

fn read(bytes: &[u8]) -> Result<Bundle, NotProved> {
    if bytes.len() > MAX_BUNDLE {
        return Err(NotProved::NoBundle("it is larger than 16 MiB".to_owned()));
    }
    strict_json::parse(bytes).map_err(|error| NotProved::NoBundle(error.to_string()))?;
    let bundle = Bundle::from_json(&String::from_utf8_lossy(bytes));
    let bundle = bundle.map_err(|error| NotProved::NoBundle(error.to_string()))?;
    has_few_proofs(&bundle).map_err(NotProved::Refused)?;
    Ok(bundle)
}

fn verified(
    bundle: &Bundle,
    artifact: Artifact<'_>,
    policy: &dyn Policy,
    root: &TrustRoot,
) -> Result<sigstore_verify::VerificationResult, NotProved> {
    let verified = match artifact {
        Artifact::Bytes(bytes) => root.verifier().verify(bytes, bundle, policy),
        Artifact::Digest(digest) => {
            let digest = Sha256Hash::from_hex(digest.hex()).map_err(|error| NotProved::Refused(error.to_string()))?;
            root.verifier().verify(digest, bundle, policy)
        }
    };
    let result = verified.map_err(|error| NotProved::Refused(prove::reason(&error)))?;
    prove::is_logged_in_time(bundle, root, result.verified_timestamps()).map_err(NotProved::Refused)?;
    Ok(result)
}
