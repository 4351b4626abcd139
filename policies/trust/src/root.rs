//! Trust roots: whose certificates, logs and timestamps count. A `trusted_root.json` of sigstore
//! (protobuf-specs, `sigstore_trustroot.proto`), from a file or embedded; nothing here asks the network for one.

use std::fmt;

use sha2::{Digest as _, Sha256};
use sigstore_types::TimeRange;
use sigstore_types::bundle::LogId;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::{SigstoreInstance, TrustedRoot};

use crate::authority::Demand;
use crate::strict_json;

/// Largest `trusted_root.json` read, in bytes; the public one has 8 KiB.
pub const MAX_TRUSTED_ROOT: usize = 1 << 20;

/// Certificate authorities, certificate transparency logs, transparency logs and timestamp authorities of one sigstore
/// instance, checked and ready to verify with.
pub struct TrustRoot {
    verifier: Verifier,
    logs: Vec<(LogId, Option<TimeRange>)>,
    digest: Vec<u8>,
    has: Has,
}

/// What a trust root has at least one of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Has {
    pub(crate) certificate_authority: bool,
    pub(crate) certificate_log: bool,
    pub(crate) transparency_log: bool,
    pub(crate) timestamp_authority: bool,
}

/// Why bytes are no trust root.
#[derive(Debug, thiserror::Error)]
pub enum TrustRootError {
    /// More than any trust root has.
    #[error("it is larger than 1 MiB; no trusted_root.json is")]
    TooLarge,
    /// Not one JSON document.
    #[error("it is {0}")]
    Json(String),
    /// JSON of another shape.
    #[error("it is no trusted_root.json: {0}")]
    Shape(#[source] sigstore_verify::trust_root::Error),
    /// A key, certificate or time in it that cannot be used.
    #[error("its trust material cannot be used: {0}")]
    Material(#[source] sigstore_verify::Error),
    /// Nothing to trust.
    #[error("it holds no certificate authority, log or timestamp authority")]
    Empty,
}

/// Trust roots that are part of the program, as they were when its libraries were released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddedRoot {
    /// The public-good instance of sigstore.
    Sigstore,
    /// The staging instance of sigstore.
    SigstoreStaging,
    /// GitHub's instance, for attestations of private repositories.
    GitHub,
}

impl EmbeddedRoot {
    /// All words for [`EmbeddedRoot::parse`].
    pub const WORDS: [&'static str; 3] = ["sigstore", "sigstore-staging", "github"];

    /// The word in files.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "sigstore" => Ok(Self::Sigstore),
            "sigstore-staging" => Ok(Self::SigstoreStaging),
            "github" => Ok(Self::GitHub),
            _ => Err(format!("'{text}' is not one of {}", Self::WORDS.join(", "))),
        }
    }

    fn json(self) -> &'static str {
        let instance = match self {
            Self::Sigstore => SigstoreInstance::PublicGood,
            Self::SigstoreStaging => SigstoreInstance::Staging,
            Self::GitHub => SigstoreInstance::GitHub,
        };
        instance.embedded_trusted_root_json()
    }
}

impl TrustRoot {
    /// Reads a `trusted_root.json`. Every key and certificate in it must be usable: one that is not would be a log or an
    /// authority that silently counts for nothing.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TrustRootError> {
        if bytes.len() > MAX_TRUSTED_ROOT {
            return Err(TrustRootError::TooLarge);
        }
        strict_json::parse(bytes).map_err(|error| TrustRootError::Json(error.to_string()))?;
        let text = String::from_utf8_lossy(bytes);
        let root = TrustedRoot::from_json(&text).map_err(TrustRootError::Shape)?;
        let has = Has {
            certificate_authority: !root.certificate_authorities.is_empty(),
            certificate_log: !root.ctlogs.is_empty(),
            transparency_log: !root.tlogs.is_empty(),
            timestamp_authority: !root.timestamp_authorities.is_empty(),
        };
        if !(has.certificate_authority || has.certificate_log || has.transparency_log || has.timestamp_authority) {
            return Err(TrustRootError::Empty);
        }
        let verifier = Verifier::new(&root).map_err(TrustRootError::Material)?;
        let logs = root.tlogs.into_iter().map(|log| (log.log_id, log.public_key.valid_for)).collect();
        Ok(Self { verifier, logs, digest: Sha256::digest(bytes).to_vec(), has })
    }

    /// The trust root that is part of the program.
    pub fn embedded(root: EmbeddedRoot) -> Result<Self, TrustRootError> {
        Self::from_json(root.json().as_bytes())
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// When the key of a transparency log counts; `None` for a log that is not one of its own.
    pub(crate) fn times_of_log(&self, log: &LogId) -> Option<Option<TimeRange>> {
        self.logs.iter().find(|(own, _)| own == log).map(|(_, times)| *times)
    }

    pub(crate) fn has(&self) -> Has {
        self.has
    }

    /// What it has not and signatures by identities need, where log entries and certificate transparency are asked for.
    pub(crate) fn lacks(&self, log: Demand, sct: Demand) -> Option<&'static str> {
        let is_asked = |demand: Demand| demand == Demand::Required;
        match self.has {
            Has { certificate_authority: false, .. } => Some("names no certificate authority"),
            Has { transparency_log: false, .. } if is_asked(log) => Some("names no transparency log"),
            Has { certificate_log: false, .. } if is_asked(sct) => Some("names no certificate transparency log"),
            Has { .. } => None,
        }
    }

    /// SHA-256 of its bytes: roots of equal bytes are one.
    pub(crate) fn digest(&self) -> &[u8] {
        &self.digest
    }
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoot").field("has", &self.has).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_root_can_be_verified_with() {
        for word in EmbeddedRoot::WORDS {
            let root = TrustRoot::embedded(EmbeddedRoot::parse(word).unwrap()).unwrap();
            assert!(root.has().certificate_authority, "{word}");
            assert_eq!(root.has().certificate_log, word != "github", "{word}");
        }
        assert!(EmbeddedRoot::parse("public").is_err());
    }

    #[test]
    fn bytes_that_are_no_trust_root_are_refused_with_what_is_wrong() {
        let refused = |bytes: &[u8]| TrustRoot::from_json(bytes).unwrap_err();
        assert!(matches!(refused(b""), TrustRootError::Json(_)));
        assert!(matches!(refused(b"\xff"), TrustRootError::Json(_)));
        assert!(matches!(refused(br#"{"mediaType":"a","mediaType":"b"}"#), TrustRootError::Json(_)));
        assert!(matches!(refused(b"[]"), TrustRootError::Shape(_)));
        let media_type = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
        let empty = format!(r#"{{"mediaType":"{media_type}"}}"#);
        assert!(matches!(refused(empty.as_bytes()), TrustRootError::Empty), "{:?}", refused(empty.as_bytes()));
        assert!(matches!(refused(&vec![b' '; MAX_TRUSTED_ROOT + 1]), TrustRootError::TooLarge));
        let damaged = EmbeddedRoot::Sigstore.json().replace("MFkwEwYHKoZIzj0C", "MFkwEwYHKoZIzj0D");
        assert!(matches!(refused(damaged.as_bytes()), TrustRootError::Material(_) | TrustRootError::Shape(_)));
    }
}
