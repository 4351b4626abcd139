//! Public keys that a policy trusts. The only place that asks the crypto library whether a signature is good.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use sigstore_crypto::{KeyAlgorithm, SigningScheme, VerificationKey, validate_raw_public_key};
use sigstore_types::{DerPublicKey, SignatureBytes};

/// Largest key file read, in bytes.
const MAX_PEM: usize = 64 << 10;

/// A public key and the signature schemes that may be used with it. Its identity is its SubjectPublicKeyInfo.
pub struct TrustedKey {
    spki: DerPublicKey,
    schemes: Vec<VerificationKey>,
}

/// Why bytes are not one public key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// More bytes than any key has.
    #[error("it is larger than 64 KiB; no public key is")]
    TooLarge,
    /// Not PEM, or empty.
    #[error("it holds no PEM block; a public key reads '-----BEGIN PUBLIC KEY-----' …")]
    Empty,
    /// Somebody is about to publish a secret.
    #[error("it holds a private key; name the file of the public key (cosign public-key --key FILE prints it)")]
    Private,
    /// Several keys need several authorities, so that each has a name.
    #[error("it holds {0} PEM blocks; write one authority and one file for each key")]
    Several(usize),
    /// Another kind of PEM block.
    #[error("it holds a '{0}' block; 'PUBLIC KEY' (SubjectPublicKeyInfo) is needed")]
    OtherBlock(String),
    /// Not a key, or of an algorithm that is not known.
    #[error("its key cannot be used; P-256, P-384, Ed25519 and RSA of 2048 to 8192 bits can")]
    Unusable(#[source] sigstore_crypto::Error),
}

impl TrustedKey {
    /// Reads exactly one PEM block `PUBLIC KEY`.
    pub fn from_pem(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > MAX_PEM {
            return Err(KeyError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::Empty)?;
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let blocks = pem::parse_many(text).map_err(|_| KeyError::Empty)?;
        match blocks.as_slice() {
            [] => Err(KeyError::Empty),
            [block] if block.tag() == "PUBLIC KEY" => Self::from_spki(DerPublicKey::from_bytes(block.contents())),
            [block] => Err(KeyError::OtherBlock(block.tag().chars().take(40).collect())),
            blocks => Err(KeyError::Several(blocks.len())),
        }
    }

    fn from_spki(spki: DerPublicKey) -> Result<Self, KeyError> {
        let algorithm = KeyAlgorithm::from_spki(&spki).map_err(KeyError::Unusable)?;
        let mut schemes = Vec::new();
        for scheme in schemes_of(algorithm) {
            let key = VerificationKey::from_spki_with_scheme(&spki, scheme).map_err(KeyError::Unusable)?;
            validate_raw_public_key(scheme, key.as_bytes()).map_err(KeyError::Unusable)?;
            schemes.push(key);
        }
        Ok(Self { spki, schemes })
    }

    /// Whether `signature` was made over `message` with this key, in one of its schemes.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        self.schemes.iter().any(|key| key.verify(message, signature).is_ok())
    }

    /// Base64 of the SHA-256 of the SubjectPublicKeyInfo: what cosign writes as the key hint of a bundle.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.spki)
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn spki(&self) -> &DerPublicKey {
        &self.spki
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustedKey").field(&self.fingerprint()).finish()
    }
}

/// See [`TrustedKey::fingerprint`].
pub(crate) fn fingerprint(spki: &DerPublicKey) -> String {
    STANDARD.encode(Sha256::digest(spki.as_bytes()))
}

/// The schemes cosign signs with. P-384 is hashed with SHA-384 by cosign 3 and with SHA-256 by cosign 2 and earlier;
/// an RSA key does not say which padding it is for. Ed25519 is over the message itself (cosign's Ed25519ph is not).
fn schemes_of(algorithm: KeyAlgorithm) -> Vec<SigningScheme> {
    match algorithm {
        KeyAlgorithm::EcdsaP384 => vec![SigningScheme::EcdsaP384Sha384, SigningScheme::EcdsaP384Sha256],
        KeyAlgorithm::Rsa => vec![SigningScheme::RsaPkcs1Sha256, SigningScheme::RsaPssSha256],
        other => vec![other.default_signing_scheme()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sigstore_crypto::KeyPair;

    fn pem() -> String {
        KeyPair::generate_ecdsa_p256().unwrap().public_key_der().unwrap().to_pem()
    }

    #[test]
    fn a_key_file_must_hold_exactly_one_public_key() {
        assert!(TrustedKey::from_pem(pem().as_bytes()).is_ok());
        let refused = |bytes: &[u8]| TrustedKey::from_pem(bytes).unwrap_err();
        assert!(matches!(refused(b""), KeyError::Empty));
        assert!(matches!(refused(b"\xff\xfe"), KeyError::Empty));
        assert!(matches!(refused(b"ssh-ed25519 AAAA"), KeyError::Empty));
        assert!(matches!(refused(b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"), KeyError::Unusable(_)));
        assert!(matches!(refused(format!("{}{}", pem(), pem()).as_bytes()), KeyError::Several(2)));
        assert!(matches!(refused(&vec![b'\n'; MAX_PEM + 1]), KeyError::TooLarge));
        let certificate = pem().replace("PUBLIC KEY", "CERTIFICATE");
        assert!(matches!(refused(certificate.as_bytes()), KeyError::OtherBlock(tag) if tag == "CERTIFICATE"));
        let private = pem().replace("PUBLIC KEY", "ENCRYPTED SIGSTORE PRIVATE KEY");
        assert!(matches!(refused(private.as_bytes()), KeyError::Private));
    }
}
