//! Writes to a registry, for `portreeve image sign`: blobs, manifests, and referrers with their fallback tag where the
//! registry has no referrers API.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderName, Method};
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::Cause;
use portreeve_trust::sign::{fallback_tag, signature_tag};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::auth::Access;
use super::client::{Inner, RegistryClient};
use super::discover::{check_announced_digest, parse};
use super::failure::{Deadline, Failure};
use super::options::{EVIDENCE_ENTRIES, MANIFEST_BYTES};
use super::requests::Target;
use super::transport::{Answer, Cap, Content, Payload, Request};
use super::wire::{ANY, ANY_MANIFEST, Descriptor, Index, OCI_INDEX, OCI_MANIFEST, digest_of};

/// Sent by a registry that has taken note of a manifest's subject (OCI distribution-spec, "Pushing Manifests with
/// Subject").
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// What a manifest that refers to another says about itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    subject: Subject,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

#[derive(Deserialize)]
struct SignatureManifest {
    layers: Vec<portreeve_trust::sign::Descriptor>,
}

impl RegistryClient {
    /// Uploads a blob unless it is there, and returns its digest.
    ///
    /// # Errors
    /// When the registry refuses, limits, fails, or the deadline passes.
    pub async fn put_blob(
        &self,
        image: &ImageReference,
        bytes: Vec<u8>,
        deadline: Deadline,
    ) -> Result<Digest, Failure> {
        Push::new(&self.inner, image, deadline)?.blob(bytes.into()).await
    }

    /// Stores a manifest under the tag of `place` (or, without one, under its digest only), and returns its digest.
    ///
    /// # Errors
    /// As [`Self::put_blob`].
    pub async fn put_manifest(
        &self,
        place: &ImageReference,
        media_type: &str,
        bytes: Vec<u8>,
        deadline: Deadline,
    ) -> Result<Digest, Failure> {
        let digest = digest_of(&bytes);
        let content = Content { media_type: media_type.to_owned(), bytes: bytes.into() };
        let push = Push::new(&self.inner, place, deadline)?;
        push.manifest(place.tag.as_deref().unwrap_or(digest.as_str()), content).await?;
        Ok(digest)
    }

    /// The layers behind the `.sig` tag of a digest, which a new signature is added to; none when there is no such tag.
    ///
    /// # Errors
    /// As [`Self::put_blob`]; also when what is there is no such manifest: then it must not be overwritten.
    pub async fn signature_layers(
        &self,
        image: &ImageReference,
        digest: &Digest,
        deadline: Deadline,
    ) -> Result<Vec<portreeve_trust::sign::Descriptor>, Failure> {
        let push = Push::new(&self.inner, image, deadline)?;
        match push.read::<SignatureManifest>(&format!("manifests/{}", signature_tag(digest))).await? {
            Some(manifest) => Ok(manifest.layers),
            None => Ok(Vec::new()),
        }
    }

    /// Stores a manifest that has a `subject` under its digest, which is returned. When the registry does not list it
    /// by itself, it is added to the index behind the subject's `sha256-<hex>` tag; two writers at the same moment can
    /// lose one entry there, because registries have no conditional writes.
    ///
    /// # Errors
    /// As [`Self::put_blob`]; also when the manifest has no subject, or the index behind the tag cannot be read or is
    /// full.
    pub async fn push_referrer(
        &self,
        image: &ImageReference,
        manifest: Vec<u8>,
        deadline: Deadline,
    ) -> Result<Digest, Failure> {
        let referring: Referring = serde_json::from_slice(&manifest)
            .map_err(|error| Failure::unreadable(format!("the manifest to push refers to nothing: {error}")))?;
        let descriptor = Descriptor {
            media_type: OCI_MANIFEST.to_owned(),
            digest: digest_of(&manifest),
            size: manifest.len() as u64,
            artifact_type: referring.artifact_type,
            annotations: referring.annotations,
        };
        let (digest, subject) = (descriptor.digest.clone(), referring.subject.digest);
        let push = Push::new(&self.inner, image, deadline)?;
        let content = Content { media_type: OCI_MANIFEST.to_owned(), bytes: manifest.into() };
        let stored = push.manifest(digest.as_str(), content).await?;
        if !stored.headers.contains_key(OCI_SUBJECT) && !push.is_listed(&subject, &digest).await? {
            push.add_to_fallback_index(&subject, descriptor).await?;
        }
        Ok(digest)
    }
}

struct Push<'a> {
    inner: &'a Inner,
    target: Target,
    deadline: Deadline,
}

impl<'a> Push<'a> {
    fn new(inner: &'a Inner, image: &ImageReference, deadline: Deadline) -> Result<Self, Failure> {
        Ok(Self { inner, target: inner.requests.target(&image.repository, Access::Push)?, deadline })
    }

    async fn blob(&self, bytes: Bytes) -> Result<Digest, Failure> {
        let digest = digest_of(&bytes);
        let known = Request::head(self.target.url(&format!("blobs/{digest}")), ANY);
        if self.inner.requests.send(&self.target, &known, self.deadline).await?.is_some() {
            return Ok(digest);
        }
        let mut url = self.upload_url().await?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let content = Content { media_type: "application/octet-stream".to_owned(), bytes };
        self.write(Method::PUT, url, Payload::Content(content)).await?;
        Ok(digest)
    }

    /// The upload must stay on the registry: bytes and authorization go nowhere else.
    async fn upload_url(&self) -> Result<Url, Failure> {
        let url = self.target.url("blobs/uploads/");
        let answer = self.write(Method::POST, url.clone(), Payload::None).await?;
        let location = answer.header(LOCATION).and_then(|location| url.join(location).ok());
        match location {
            Some(location) if location.origin() == url.origin() => Ok(location),
            _ => Err(Failure::unreadable(format!(
                "{}: the upload location is not on the same registry",
                self.target.endpoint.host
            ))),
        }
    }

    async fn manifest(&self, reference: &str, content: Content) -> Result<Answer, Failure> {
        let url = self.target.url(&format!("manifests/{reference}"));
        let stored = self.write(Method::PUT, url, Payload::Content(content)).await;
        self.inner.forget_answers();
        stored
    }

    async fn write(&self, method: Method, url: Url, payload: Payload) -> Result<Answer, Failure> {
        let request = Request { method, url, accept: ANY, payload, cap: Cap::of(MANIFEST_BYTES) };
        match self.inner.requests.send(&self.target, &request, self.deadline).await? {
            Some(answer) => Ok(answer),
            None => {
                Err(request.fail(Cause::Unreadable, "answered 404; the registry has no such repository to write to"))
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, rest: &str) -> Result<Option<T>, Failure> {
        let request = Request::get(self.target.url(rest), ANY_MANIFEST, Cap::of(MANIFEST_BYTES));
        match self.inner.requests.send(&self.target, &request, self.deadline).await? {
            Some(answer) => {
                check_announced_digest(&request, &answer)?;
                parse(&request, &answer.body).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Whether the referrers API exists and lists the new manifest; some registries have the API and do not say so.
    async fn is_listed(&self, subject: &Digest, referrer: &Digest) -> Result<bool, Failure> {
        let index: Option<Index> = self.read(&format!("referrers/{subject}")).await?;
        Ok(index.is_some_and(|index| index.manifests.iter().any(|listed| listed.digest == *referrer)))
    }

    async fn add_to_fallback_index(&self, subject: &Digest, descriptor: Descriptor) -> Result<(), Failure> {
        let tag = fallback_tag(subject);
        let existing: Option<Index> = self.read(&format!("manifests/{tag}")).await?;
        let mut manifests = existing.map(|index| index.manifests).unwrap_or_default();
        if manifests.iter().any(|listed| listed.digest == descriptor.digest) {
            return Ok(());
        }
        if manifests.len() >= EVIDENCE_ENTRIES {
            return Err(Failure::too_large(format!("the index {tag} already lists {EVIDENCE_ENTRIES} referrers")));
        }
        manifests.push(descriptor);
        let index = Index { schema_version: 2, media_type: Some(OCI_INDEX.to_owned()), manifests };
        let bytes = serde_json::to_vec(&index).map_err(|error| Failure::unreadable(error.to_string()))?;
        self.manifest(&tag, Content { media_type: OCI_INDEX.to_owned(), bytes: bytes.into() }).await?;
        Ok(())
    }
}
