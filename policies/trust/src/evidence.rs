//! Everything a registry said about an image, as plain data: what verification works on, and what is shared or kept.

use portreeve_policies::image::Digest;
use portreeve_reports::Cause;
use serde::{Deserialize, Serialize};

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
pub struct ImageEvidence {
    /// `host/path`.
    pub repository: String,
    /// The digest all of it is about.
    pub digest: Digest,
    /// Layers of the manifest behind the `sha256-<hex>.sig` tag (cosign v2 storage).
    pub tag_signatures: Lookup<Vec<SignatureLayer>>,
    /// What the referrers API lists, or the `sha256-<hex>` fallback tag where there is no such API (cosign v3 storage).
    pub referrers: Lookup<Vec<Referrer>>,
}

/// A layer of a cosign v2 signature manifest: the signed payload and the annotations about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureLayer {
    /// Layer media type, as the manifest states it.
    pub media_type: String,
    /// The exact signed bytes, whose digest was checked; base64 when serialized.
    pub payload: Lookup<Vec<u8>>,
    /// Layer annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// One referrer of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    Bundle(Vec<u8>),
    /// Something else, such as an SBOM: counted, not used.
    Other {
        /// Layer media type or artifact type.
        media_type: String,
    },
    /// It could not be read.
    Indeterminate(Cause, String),
}
