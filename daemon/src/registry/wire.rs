//! The documents of a registry (OCI image-spec and distribution-spec), reduced to what is used. Unknown fields are
//! ignored; missing ones that carry meaning make the document unreadable, never empty.

use std::collections::BTreeMap;

use http::header::LINK;
use portreeve_policies::image::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

use super::transport::Answer;

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Every kind of manifest that is understood.
pub(super) const ANY_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";
pub(super) const ANY: &str = "*/*";

/// A descriptor of a layer or manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Descriptor {
    #[serde(rename = "mediaType")]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// An image manifest with its layers.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) layers: Vec<Descriptor>,
}

/// Anything that can refer to an image; an index has no layers.
#[derive(Debug, Deserialize)]
pub(super) struct ReferrerDocument {
    #[serde(rename = "mediaType", default)]
    pub(super) media_type: Option<String>,
    #[serde(rename = "artifactType", default)]
    pub(super) artifact_type: Option<String>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// An index; `manifests` is required, so that an error document is never an empty index.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    #[serde(rename = "schemaVersion")]
    pub(super) schema_version: u8,
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) manifests: Vec<Descriptor>,
}

/// What every manifest may say of its own kind.
#[derive(Debug, Deserialize)]
pub(super) struct SelfDescription {
    #[serde(rename = "mediaType", default)]
    pub(super) media_type: Option<String>,
}

/// The SHA-256 digest of bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}

/// The URL of the next page, when there is one (RFC 8288, `rel="next"`).
pub(super) fn next_page(answer: &Answer) -> Option<Result<Url, url::ParseError>> {
    let links = answer.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links.filter_map(next_target).map(|target| answer.url.join(target)).next()
}

fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split([';', ',']).any(|parameter| {
        let parameter = parameter.trim().to_ascii_lowercase();
        parameter == "rel=next" || parameter == "rel=\"next\""
    });
    is_next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_bytes() {
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(digest_of(b"{}").as_str(), empty);
    }

    #[test]
    fn only_a_next_link_leads_on() {
        assert_eq!(next_target(r#"</v2/a/referrers/x?last=1>; rel="next""#), Some("/v2/a/referrers/x?last=1"));
        assert_eq!(next_target("<x>; rel=next"), Some("x"));
        assert_eq!(next_target("<x>; rel=\"prev\""), None);
        assert_eq!(next_target("x; rel=next"), None);
    }

    #[test]
    fn an_error_document_is_not_an_empty_index() {
        let error = br#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        assert!(serde_json::from_slice::<Index>(error).is_err());
        assert!(serde_json::from_slice::<Manifest>(error).is_err());
    }
}
