//! Writes to a registry, for `portreeve image sign`: blobs, manifests, and referrers with their fallback tag where the
//! registry has no referrers API.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderName, Method};
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::Cause;
use portreeve_trust::sign::fallback_tag;
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

/// A manifest with a `subject`, and what the index of its subject says about it.
#[derive(Clone, Debug)]
pub struct ReferrerManifest {
    /// The exact manifest, of type `application/vnd.oci.image.manifest.v1+json`.
    pub bytes: Vec<u8>,
    /// Its artifact type.
    pub artifact_type: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
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

    /// Stores a manifest (its media type and bytes) under a tag, or without one under its digest, which is returned.
    ///
    /// # Errors
    /// As [`Self::put_blob`].
    pub async fn put_manifest(
        &self,
        image: &ImageReference,
        tag: Option<&str>,
        (media_type, bytes): (&str, Vec<u8>),
        deadline: Deadline,
    ) -> Result<Digest, Failure> {
        let digest = digest_of(&bytes);
        let content = Content { media_type: media_type.to_owned(), bytes: bytes.into() };
        let push = Push::new(&self.inner, image, deadline)?;
        push.manifest(tag.unwrap_or(digest.as_str()), content).await?;
        Ok(digest)
    }

    /// Stores a referrer of `subject` under its digest, which is returned. When the registry does not list it by
    /// itself, it is added to the index behind the `sha256-<hex>` tag; two writers at the same moment can lose one
    /// entry there, because registries have no conditional writes.
    ///
    /// # Errors
    /// As [`Self::put_blob`]; also when the index behind the tag cannot be read or is full.
    pub async fn push_referrer(
        &self,
        image: &ImageReference,
        subject: &Digest,
        referrer: ReferrerManifest,
        deadline: Deadline,
    ) -> Result<Digest, Failure> {
        let descriptor = Descriptor {
            media_type: OCI_MANIFEST.to_owned(),
            digest: digest_of(&referrer.bytes),
            size: referrer.bytes.len() as u64,
            artifact_type: Some(referrer.artifact_type),
            annotations: referrer.annotations,
        };
        let digest = descriptor.digest.clone();
        let push = Push::new(&self.inner, image, deadline)?;
        let content = Content { media_type: OCI_MANIFEST.to_owned(), bytes: referrer.bytes.into() };
        let stored = push.manifest(digest.as_str(), content).await?;
        if !stored.headers.contains_key(OCI_SUBJECT) && !push.is_listed(subject, &digest).await? {
            push.add_to_fallback_index(subject, descriptor).await?;
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
        let request = Request { method, url, accept: ANY, payload, cap: Cap::of(MANIFEST_BYTES), is_streamed: false };
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
