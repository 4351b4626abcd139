//! Finds the evidence about an image digest: the `.sig` tag of cosign v2, and the referrers of cosign v3 by the
//! referrers API or the fallback tag. Both places are always asked, in parallel; where attestations are sought, so is the
//! `.att` tag.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::join_all;
use portreeve_policies::image::Digest;
use portreeve_reports::Cause;
use portreeve_trust::evidence::{ImageEvidence, Lookup, Referrer, ReferrerContent, SignatureLayer};
use portreeve_trust::sign::{attestation_tag, fallback_tag, signature_tag};
use serde::de::DeserializeOwned;
use url::Url;

use super::client::Sought;
use super::endpoint::root_cause;
use super::failure::{Deadline, Failure, Outcome, lookup};
use super::options::{BUNDLE_BYTES, EVIDENCE_ENTRIES, MANIFEST_BYTES, PAYLOAD_BYTES, REFERRER_PAGES};
use super::requests::{Requests, Target};
use super::transport::{Answer, Budget, Cap, DOCKER_CONTENT_DIGEST, Request};
use super::wire::{self, ANY, ANY_MANIFEST, Descriptor, Index, Manifest, OCI_INDEX, ReferrerDocument};

/// Layers of this type, whatever the version, hold a sigstore bundle.
const BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// One gathering: what is sought, and the bytes that may still be kept.
pub(super) struct Gathering<'a> {
    pub(super) requests: &'a Requests,
    pub(super) target: &'a Target,
    pub(super) sought: &'a Sought,
    pub(super) budget: &'a Budget,
    pub(super) deadline: Deadline,
}

impl Gathering<'_> {
    pub(super) async fn evidence(&self) -> ImageEvidence {
        let Sought { repository, digest, attestations } = self.sought;
        let (signature_tag, attestation_tag) = (signature_tag(digest), attestation_tag(digest));
        let tag_attestations = async {
            match attestations {
                true => Some(lookup(self.tag_layers(&attestation_tag, BUNDLE_BYTES).await)),
                false => None,
            }
        };
        let (tag_signatures, tag_attestations, referrers) = futures::join!(
            Box::pin(self.tag_layers(&signature_tag, PAYLOAD_BYTES)),
            Box::pin(tag_attestations),
            Box::pin(self.referrers())
        );
        ImageEvidence {
            repository: repository.to_string(),
            digest: digest.clone(),
            tag_signatures: lookup(tag_signatures),
            tag_attestations,
            referrers: lookup(referrers),
        }
    }

    /// The layers behind a tag, each with its payload of at most so many bytes.
    async fn tag_layers(&self, tag: &str, most: usize) -> Outcome<Vec<SignatureLayer>> {
        let request = self.manifest_request(tag);
        let Some(answer) = self.send(&request).await? else { return Ok(None) };
        check_announced_digest(&request, &answer)?;
        let manifest: Manifest = parse(&request, &answer.body)?;
        check_count(&request, manifest.layers.len(), "signatures")?;
        let payloads = self.payloads(&manifest.layers, most).await;
        let layers = manifest.layers.into_iter().map(|layer| SignatureLayer {
            payload: payloads.get(&layer.digest).cloned().unwrap_or(Lookup::Absent),
            media_type: layer.media_type,
            annotations: layer.annotations,
        });
        Ok(Some(layers.collect()))
    }

    /// Several signers of one payload share one blob, which is read once.
    async fn payloads(&self, layers: &[Descriptor], most: usize) -> BTreeMap<Digest, Lookup<Vec<u8>>> {
        let digests: std::collections::BTreeSet<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
        let reads = digests.into_iter().map(|digest| async move {
            let payload = self.blob(digest, most).await.map(|found| found.map(Vec::from));
            (digest.clone(), lookup(payload))
        });
        join_all(reads).await.into_iter().collect()
    }

    async fn referrers(&self) -> Outcome<Vec<Referrer>> {
        let listed = match self.referrers_by_api().await? {
            Some(listed) => listed,
            None => match self.referrers_by_tag().await? {
                Some(listed) => listed,
                None => return Ok(None),
            },
        };
        Ok(Some(join_all(listed.into_iter().map(|descriptor| self.referrer(descriptor))).await))
    }

    /// All pages. No filter is sent: registries differ in the artifact type they report.
    async fn referrers_by_api(&self) -> Outcome<Vec<Descriptor>> {
        let mut listed = Vec::new();
        let mut url = self.target.url(&format!("referrers/{}", self.sought.digest));
        for page in 0..REFERRER_PAGES {
            let request = Request::get(url, OCI_INDEX, self.cap(MANIFEST_BYTES));
            let Some(answer) = self.send(&request).await? else {
                return if page == 0 { Ok(None) } else { Err(missing_page(&request)) };
            };
            listed.extend(parse::<Index>(&request, &answer.body)?.manifests);
            check_count(&request, listed.len(), "referrers")?;
            match next_page(&request, &answer)? {
                Some(next) => url = next,
                None => return Ok(Some(listed)),
            }
        }
        Err(Failure::too_large(format!(
            "the referrers of {} have more than {REFERRER_PAGES} pages",
            self.sought.digest
        )))
    }

    async fn referrers_by_tag(&self) -> Outcome<Vec<Descriptor>> {
        let request = self.manifest_request(&fallback_tag(&self.sought.digest));
        let Some(answer) = self.send(&request).await? else { return Ok(None) };
        check_announced_digest(&request, &answer)?;
        let index: Index = parse(&request, &answer.body)?;
        check_count(&request, index.manifests.len(), "referrers")?;
        Ok(Some(index.manifests))
    }

    async fn referrer(&self, listed: Descriptor) -> Referrer {
        let (artifact_type, content) = match self.content(&listed).await {
            Ok((artifact_type, content)) => (artifact_type, content),
            Err(failure) => (None, ReferrerContent::Indeterminate(failure.cause, failure.message)),
        };
        Referrer { digest: listed.digest, artifact_type: listed.artifact_type.or(artifact_type), content }
    }

    /// The artifact type of the referrer's own manifest, and its bundle when it has one layer of that kind.
    async fn content(&self, listed: &Descriptor) -> Result<(Option<String>, ReferrerContent), Failure> {
        let request = self.manifest_request(listed.digest.as_str());
        let Some(answer) = self.send(&request).await? else { return Err(listed_but_missing(&listed.digest)) };
        check_digest(&request, &answer.body, &listed.digest)?;
        let document: ReferrerDocument = parse(&request, &answer.body)?;
        let content = match document.layers.as_slice() {
            [layer] if layer.media_type.starts_with(BUNDLE_PREFIX) => {
                match self.blob(&layer.digest, BUNDLE_BYTES).await? {
                    Some(bytes) => ReferrerContent::Bundle(bytes.into()),
                    None => return Err(listed_but_missing(&layer.digest)),
                }
            }
            layers => ReferrerContent::Other { media_type: kind_of(layers, &document, listed) },
        };
        Ok((document.artifact_type, content))
    }

    async fn blob(&self, digest: &Digest, cap: usize) -> Outcome<Bytes> {
        let request = Request::get(self.target.url(&format!("blobs/{digest}")), ANY, self.cap(cap));
        let Some(answer) = self.send(&request).await? else { return Ok(None) };
        check_digest(&request, &answer.body, digest)?;
        Ok(Some(answer.body))
    }

    fn manifest_request(&self, reference: &str) -> Request<'_> {
        Request::get(self.target.url(&format!("manifests/{reference}")), ANY_MANIFEST, self.cap(MANIFEST_BYTES))
    }

    fn cap(&self, bytes: usize) -> Cap<'_> {
        Cap { bytes, shared: Some(self.budget) }
    }

    async fn send(&self, request: &Request<'_>) -> Outcome<Answer> {
        self.requests.send(self.target, request, self.deadline).await
    }
}

fn kind_of(layers: &[Descriptor], document: &ReferrerDocument, listed: &Descriptor) -> String {
    let layer = layers.first().map(|layer| layer.media_type.as_str());
    let kinds = [layer, document.artifact_type.as_deref(), document.media_type.as_deref()];
    kinds.into_iter().flatten().next().unwrap_or(&listed.media_type).to_owned()
}

fn listed_but_missing(digest: &Digest) -> Failure {
    Failure::unreadable(format!("{digest} is listed, and the registry does not have it"))
}

fn missing_page(request: &Request<'_>) -> Failure {
    request.fail(Cause::Unreadable, "the next page of the referrers is not there")
}

/// A page on another origin is refused: it would be somebody else's word about this image.
fn next_page(request: &Request<'_>, answer: &Answer) -> Outcome<Url> {
    match wire::next_page(answer) {
        None => Ok(None),
        Some(Ok(next)) if next.origin() == request.url.origin() => Ok(Some(next)),
        Some(_) => Err(request.fail(Cause::Unreadable, "its next page is not on the same registry")),
    }
}

fn check_count(request: &Request<'_>, count: usize, what: &str) -> Result<(), Failure> {
    if count <= EVIDENCE_ENTRIES {
        return Ok(());
    }
    Err(request.fail(Cause::TooLarge, format_args!("{count} {what}; at most {EVIDENCE_ENTRIES} are read")))
}

/// Bytes that were asked for by digest must have it.
pub(super) fn check_digest(request: &Request<'_>, bytes: &[u8], expected: &Digest) -> Result<(), Failure> {
    let actual = wire::digest_of(bytes);
    if actual == *expected {
        return Ok(());
    }
    Err(request.fail(Cause::Unreadable, format_args!("the bytes have the digest {actual}, not the one asked for")))
}

/// The digest of the bytes behind a tag, which must be the announced one when the registry announces one.
pub(super) fn check_announced_digest(request: &Request<'_>, answer: &Answer) -> Result<Digest, Failure> {
    let actual = wire::digest_of(&answer.body);
    match answer.header(DOCKER_CONTENT_DIGEST) {
        Some(announced) if announced != actual.as_str() && announced.starts_with("sha256:") => {
            Err(request
                .fail(Cause::Unreadable, format_args!("the bytes have the digest {actual}, not the announced one")))
        }
        _ => Ok(actual),
    }
}

pub(super) fn parse<T: DeserializeOwned>(request: &Request<'_>, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| request.fail(Cause::Unreadable, format_args!("not the expected JSON: {}", root_cause(&error))))
}
