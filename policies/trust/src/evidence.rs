//! Everything a registry said about an image, as plain data: what verification works on, and what is shared or kept.
//!
//! As JSON it is what `verify --evidence` writes and the store keeps; bytes are base64. It proves nothing by itself:
//! each process verifies it anew.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portreeve_policies::image::Digest;
use portreeve_reports::Cause;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The three outcomes of asking a registry. `Absent` is proven absence (404), never a guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lookup<T> {
    /// The registry has it.
    Found(T),
    /// The registry says that it does not exist.
    Absent,
    /// Nobody knows: refused, limited, unreachable, too large, unreadable.
    Indeterminate(Cause, String),
}

/// The evidence about one image digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageEvidence {
    /// `host/path`.
    pub repository: String,
    /// The digest all of it is about.
    pub digest: Digest,
    /// Layers of the manifest behind the `sha256-<hex>.sig` tag (cosign v2 storage).
    pub tag_signatures: Lookup<Vec<SignatureLayer>>,
    /// Layers of the manifest behind the `sha256-<hex>.att` tag (cosign v2 storage); `None` when nobody asked, because no
    /// rule wants attestations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_attestations: Option<Lookup<Vec<SignatureLayer>>>,
    /// What the referrers API lists, or the `sha256-<hex>` fallback tag where there is no such API (cosign v3 storage).
    pub referrers: Lookup<Vec<Referrer>>,
}

/// A layer of a cosign v2 manifest of signatures or attestations: the signed payload (simple signing) or the envelope
/// (DSSE), and the annotations about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureLayer {
    /// Layer media type, as the manifest states it.
    pub media_type: String,
    /// The exact signed bytes, whose digest was checked; base64 when serialized.
    #[serde(with = "base64_lookup")]
    pub payload: Lookup<Vec<u8>>,
    /// Layer annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One referrer of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Referrer {
    /// Digest of the referrer's manifest.
    pub digest: Digest,
    /// `artifactType` as listed; registries differ in it, so it decides nothing.
    pub artifact_type: Option<String>,
    /// The bundle blob, when the referrer's manifest has one layer of a sigstore bundle type.
    pub content: ReferrerContent,
}

/// What a referrer turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferrerContent {
    /// A sigstore bundle (bytes whose digest was checked).
    Bundle(#[serde(with = "base64_bytes")] Vec<u8>),
    /// Something else, such as an SBOM: counted, not used.
    Other {
        /// Layer media type or artifact type.
        media_type: String,
    },
    /// It could not be read.
    Indeterminate(Cause, String),
}

/// Bytes that are base64 in JSON.
struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        base64_bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        base64_bytes::deserialize(deserializer).map(Self)
    }
}

mod base64_bytes {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

mod base64_lookup {
    use super::*;

    pub(super) fn serialize<S: Serializer>(lookup: &Lookup<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match lookup {
            Lookup::Found(bytes) => Lookup::Found(Base64(bytes.clone())),
            Lookup::Absent => Lookup::Absent,
            Lookup::Indeterminate(cause, text) => Lookup::Indeterminate(*cause, text.clone()),
        }
        .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Lookup<Vec<u8>>, D::Error> {
        Ok(match Lookup::<Base64>::deserialize(deserializer)? {
            Lookup::Found(Base64(bytes)) => Lookup::Found(bytes),
            Lookup::Absent => Lookup::Absent,
            Lookup::Indeterminate(cause, text) => Lookup::Indeterminate(cause, text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_survives_json_with_its_bytes_in_base64() {
        let layer = |payload| SignatureLayer {
            media_type: "application/vnd.dev.cosign.simplesigning.v1+json".into(),
            payload,
            annotations: BTreeMap::from([("a".into(), "b".into())]),
        };
        let digest = Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let referrer = |content| Referrer { digest: digest.clone(), artifact_type: None, content };
        let evidence = ImageEvidence {
            repository: "quay.io/n/h".into(),
            digest: digest.clone(),
            tag_signatures: Lookup::Found(vec![
                layer(Lookup::Found(vec![0, 255])),
                layer(Lookup::Absent),
                layer(Lookup::Indeterminate(Cause::TimedOut, "late".into())),
            ]),
            tag_attestations: Some(Lookup::Found(vec![layer(Lookup::Found(vec![1]))])),
            referrers: Lookup::Found(vec![
                referrer(ReferrerContent::Bundle(b"{}".to_vec())),
                referrer(ReferrerContent::Other { media_type: "text/spdx+json".into() }),
                referrer(ReferrerContent::Indeterminate(Cause::Forbidden, "403".into())),
            ]),
        };
        let json = serde_json::to_string(&evidence).unwrap();
        assert!(json.contains(r#""payload":{"found":"AP8="}"#) && json.contains(r#"{"bundle":"e30="}"#), "{json}");
        assert_eq!(serde_json::from_str::<ImageEvidence>(&json).unwrap(), evidence);
    }

    #[test]
    fn evidence_with_a_field_that_nobody_knows_is_refused() {
        let json = r#"{"repository":"a","digest":"sha256:x","verified":true}"#;
        assert!(serde_json::from_str::<ImageEvidence>(json).is_err());
    }
}
