//! The client as the rest of the daemon sees it: one question at a time for each image, answers kept by kind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use portreeve_policies::image::{Digest, ImageReference, Repository};
use portreeve_reports::Cause;
use portreeve_trust::evidence::{ImageEvidence, Lookup, ReferrerContent};
use serde::{Deserialize, Serialize};

use super::auth::Access;
use super::discover::{Gathering, check_announced_digest, check_digest, parse};
use super::endpoint::Endpoints;
use super::failure::{Deadline, Failure, Outcome, lookup};
use super::options::{EVIDENCE_BYTES, MANIFEST_BYTES, RegistryError, RegistryOptions};
use super::requests::{Requests, Target};
use super::shelf::{EvidenceShelf, Shelved};
use super::statistics::Statistics;
use super::transcript::{InvalidTranscript, Recording, Told, Transcript};
use super::transport::{Answer, Budget, Cap, DOCKER_CONTENT_DIGEST, Request, Transport};
use super::wire::{ANY_MANIFEST, SelfDescription};

/// Bytes of evidence kept in all.
const KEPT_EVIDENCE: u64 = 64 << 20;
/// Longest media type (RFC 6838, section 4.2: two names of 127 characters).
const MEDIA_TYPE_BYTES: usize = 255;
/// References whose digest is kept.
const KEPT_REFERENCES: u64 = 20_000;
/// How long a failure is answered again without a request. A question that ran out of its own time is not kept at all:
/// the next one may have more.
const FAILURE_LIFETIME: Duration = Duration::from_secs(2);

/// What an image reference stands for. The digest is that of bytes this client has hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResolvedManifest {
    /// Digest of the manifest or index.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A registry client. Clones share connections, limits, tokens and answers.
#[derive(Clone)]
pub struct RegistryClient {
    pub(super) inner: Arc<Inner>,
    shelf: Option<Arc<dyn EvidenceShelf>>,
    transcript: Option<Transcript>,
}

pub(super) struct Inner {
    pub(super) requests: Requests,
    resolutions: Cache<ImageReference, Arc<Lookup<ResolvedManifest>>>,
    /// What each tag last stood for: when a HEAD says that it still does, its bytes need not be read again.
    tags: Cache<ImageReference, ResolvedManifest>,
    evidence: Cache<Sought, Kept>,
    /// See [`RegistryOptions::evidence_lifetime`].
    lifetime: Duration,
}

/// What evidence is sought.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Sought {
    pub(super) repository: Repository,
    pub(super) digest: Digest,
    /// Whether the tag of attestations is asked, too. Referrers hold both.
    pub(super) attestations: bool,
}

/// Evidence in the cache.
#[derive(Clone)]
struct Kept {
    evidence: Arc<ImageEvidence>,
    /// How old it was when it came: somebody else may have gathered it.
    age: Duration,
}

impl RegistryClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When a host is no host or is there twice, its certificates are not PEM, or no TLS provider is installed.
    pub fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(RegistryError::NoTlsProvider);
        }
        let transport = Transport { endpoints: Endpoints::new(&options)?, offline: options.offline };
        let inner = Inner {
            requests: Requests::new(transport),
            resolutions: Cache::builder()
                .max_capacity(KEPT_REFERENCES)
                .expire_after(ResolutionExpiry { tag: options.tag_lifetime, digest: options.evidence_lifetime })
                .build(),
            tags: Cache::new(KEPT_REFERENCES),
            evidence: Cache::builder()
                .max_capacity(KEPT_EVIDENCE)
                .weigher(|_, kept: &Kept| weight(&kept.evidence))
                .expire_after(EvidenceExpiry { signed: options.evidence_lifetime, unsigned: options.unsigned_lifetime })
                .build(),
            lifetime: options.evidence_lifetime,
        };
        Ok(Self { inner: Arc::new(inner), shelf: None, transcript: None })
    }

    /// The same client, which shares evidence with other processes.
    pub fn sharing(self, shelf: Option<Arc<dyn EvidenceShelf>>) -> Self {
        Self { shelf, ..self }
    }

    /// The same client, with all that it is told from now on in a recording.
    pub fn recording(self) -> (Self, Recording) {
        let recording = Recording::default();
        (Self { transcript: Some(Transcript::Writing(recording.clone())), ..self }, recording)
    }

    /// The same client, which asks no registry: what it is not told by these bytes of a recording is unknown.
    pub fn replaying(self, bytes: &[u8]) -> Result<Self, InvalidTranscript> {
        let told = Arc::new(Told::read(bytes)?);
        Ok(Self { transcript: Some(Transcript::Reading(told)), ..self })
    }

    /// The references that are told of by the recording that is replayed.
    pub fn replayed_references(&self) -> Vec<String> {
        match &self.transcript {
            Some(Transcript::Reading(told)) => told.references().map(str::to_owned).collect(),
            Some(Transcript::Writing(_)) | None => Vec::new(),
        }
    }

    /// What a reference stands for. A digest in it is asked for and checked, and its tag is then not asked.
    pub async fn resolve(&self, image: &ImageReference, deadline: Deadline) -> Lookup<ResolvedManifest> {
        let Some(transcript) = &self.transcript else { return self.resolve_anew(image, deadline).await };
        if let Some(told) = transcript.manifest(image) {
            return told;
        }
        let resolved = self.resolve_anew(image, deadline).await;
        transcript.note_manifest(image, &resolved);
        resolved
    }

    async fn resolve_anew(&self, image: &ImageReference, deadline: Deadline) -> Lookup<ResolvedManifest> {
        loop {
            let mut is_own = false;
            let resolution = self.inner.resolutions.get_with_by_ref(image, async {
                is_own = true;
                Arc::new(lookup(self.inner.resolve(image, deadline).await))
            });
            let Some(answer) = deadline.with_grace().bound(Box::pin(resolution)).await else {
                return timed_out(&image.repository);
            };
            if is_own || !matches!(*answer, Lookup::Indeterminate(Cause::TimedOut, _)) || deadline.has_passed() {
                return answer.as_ref().clone();
            }
        }
    }

    /// The signatures of a digest. It is never an error: what could not be had is `Indeterminate` at its place.
    pub async fn evidence(&self, image: &ImageReference, digest: &Digest, deadline: Deadline) -> Arc<ImageEvidence> {
        let (repository, digest) = (image.repository.clone(), digest.clone());
        self.sought(Sought { repository, digest, attestations: false }, deadline).await
    }

    /// The same with its attestations, wherever they are stored.
    pub async fn evidence_with_attestations(
        &self,
        image: &ImageReference,
        digest: &Digest,
        deadline: Deadline,
    ) -> Arc<ImageEvidence> {
        let (repository, digest) = (image.repository.clone(), digest.clone());
        self.sought(Sought { repository, digest, attestations: true }, deadline).await
    }

    async fn sought(&self, key: Sought, deadline: Deadline) -> Arc<ImageEvidence> {
        let Some(transcript) = &self.transcript else { return self.gathered(key, deadline).await };
        if let Some(told) = transcript.evidence(&key) {
            return Arc::new(told);
        }
        let evidence = self.gathered(key, deadline).await;
        transcript.note_evidence(&evidence);
        evidence
    }

    async fn gathered(&self, key: Sought, deadline: Deadline) -> Arc<ImageEvidence> {
        let counters = &self.inner.requests.counters;
        loop {
            let mut is_own = false;
            let gathering = self.inner.evidence.get_with_by_ref(&key, async {
                is_own = true;
                self.shelved_or_gathered(&key, deadline).await
            });
            let Some(Kept { evidence, .. }) = deadline.with_grace().bound(Box::pin(gathering)).await else {
                return Arc::new(nothing_known(&key, (Cause::TimedOut, &late(&key.repository))));
            };
            // Somebody else's deadline is not ours.
            if is_own || Completeness::of(&evidence) != Completeness::OutOfTime || deadline.has_passed() {
                if !is_own {
                    counters.count_shared();
                }
                return evidence;
            }
        }
    }

    async fn shelved_or_gathered(&self, sought: &Sought, deadline: Deadline) -> Kept {
        let counters = &self.inner.requests.counters;
        if let Some(kept) = self.shelved(sought, deadline).await {
            counters.count_shared();
            return kept;
        }
        counters.count_gathered();
        let evidence = Arc::new(self.inner.gather(sought, deadline).await);
        // That there is no signature, or no answer, each process hears from the registry itself.
        if let Some(shelf) = self.shelf.as_ref().filter(|_| Completeness::of(&evidence) == Completeness::Signed) {
            shelf.put(&evidence);
        }
        Kept { evidence, age: Duration::ZERO }
    }

    /// What another process has gathered, where it is whole and not too old.
    async fn shelved(&self, sought: &Sought, deadline: Deadline) -> Option<Kept> {
        let shelf = self.shelf.as_ref()?;
        let Shelved { evidence, age } = deadline.bound(shelf.take(&sought.repository, &sought.digest)).await??;
        let is_enough = evidence.tag_attestations.is_some() || !sought.attestations;
        let is_whole = Completeness::of(&evidence) == Completeness::Signed;
        (is_enough && is_whole && age < self.inner.lifetime).then(|| Kept { evidence: Arc::new(evidence), age })
    }

    /// A reading of the counters.
    pub fn statistics(&self) -> Statistics {
        self.inner.requests.counters.read()
    }
}

impl Inner {
    async fn resolve(&self, image: &ImageReference, deadline: Deadline) -> Outcome<ResolvedManifest> {
        let target = self.requests.target(&image.repository, Access::Pull)?;
        if let Some(digest) = &image.digest {
            return self.manifest(&target, digest.as_str(), Some(digest), deadline).await;
        }
        if let Some(known) = self.tags.get(image).await
            && self.still_stands(&target, image, &known, deadline).await?
        {
            return Ok(Some(known));
        }
        let found = self.manifest(&target, image.tag_or_latest(), None, deadline).await?;
        match &found {
            Some(resolved) => self.tags.insert(image.clone(), resolved.clone()).await,
            None => self.tags.invalidate(image).await,
        }
        Ok(found)
    }

    /// Whether the registry says that the tag is what it was. HEAD, because registries count pulls by GET; one that
    /// cannot answer HEAD is asked by GET then.
    async fn still_stands(
        &self,
        target: &Target,
        image: &ImageReference,
        known: &ResolvedManifest,
        deadline: Deadline,
    ) -> Result<bool, Failure> {
        let request = Request::head(target.url(&format!("manifests/{}", image.tag_or_latest())), ANY_MANIFEST);
        match self.requests.send(target, &request, deadline).await {
            Ok(Some(answer)) => Ok(answer.header(DOCKER_CONTENT_DIGEST) == Some(known.digest.as_str())),
            Ok(None) => Ok(false),
            Err(failure) if failure.cause == Cause::Unreadable => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn manifest(
        &self,
        target: &Target,
        reference: &str,
        expected: Option<&Digest>,
        deadline: Deadline,
    ) -> Outcome<ResolvedManifest> {
        let url = target.url(&format!("manifests/{reference}"));
        let request = Request::get(url, ANY_MANIFEST, Cap::of(MANIFEST_BYTES));
        let Some(answer) = self.requests.send(target, &request, deadline).await? else { return Ok(None) };
        if let Some(expected) = expected {
            check_digest(&request, &answer.body, expected)?;
        }
        let digest = check_announced_digest(&request, &answer)?;
        let media_type = media_type(&request, &answer)?;
        Ok(Some(ResolvedManifest { digest, media_type, size: answer.body.len() as u64 }))
    }

    /// After a write everything is read anew.
    pub(super) fn forget_answers(&self) {
        self.resolutions.invalidate_all();
        self.evidence.invalidate_all();
    }

    async fn gather(&self, sought: &Sought, deadline: Deadline) -> ImageEvidence {
        let target = match self.requests.target(&sought.repository, Access::Pull) {
            Ok(target) => target,
            Err(failure) => return nothing_known(sought, (failure.cause, &failure.message)),
        };
        let permit = deadline.bound(target.endpoint.gatherings.acquire()).await;
        if !matches!(permit, Some(Ok(_))) {
            return nothing_known(sought, (Cause::TimedOut, &late(&sought.repository)));
        }
        let budget = Budget::new(EVIDENCE_BYTES);
        Gathering { requests: &self.requests, target: &target, sought, budget: &budget, deadline }.evidence().await
    }
}

/// The header's media type, which must be the document's own when it states one (CVE-2021-41190).
fn media_type(request: &Request<'_>, answer: &Answer) -> Result<String, Failure> {
    let stated = parse::<SelfDescription>(request, &answer.body)?.media_type;
    if stated.as_ref().is_some_and(|stated| stated.len() > MEDIA_TYPE_BYTES) {
        return Err(request.fail(Cause::TooLarge, "its media type is longer than any is"));
    }
    let header = answer.header(http::header::CONTENT_TYPE).and_then(|value| value.split(';').next()).map(str::trim);
    match (header.filter(|header| header.starts_with("application/vnd.")), stated) {
        (Some(header), Some(stated)) if header != stated => {
            Err(request.fail(Cause::Unreadable, "its content type is not the media type it states itself"))
        }
        (_, Some(stated)) => Ok(stated),
        (Some(header), None) => Ok(header.to_owned()),
        (None, None) => Err(request.fail(Cause::Unreadable, "the manifest has no media type")),
    }
}

fn timed_out<T>(repository: &Repository) -> Lookup<T> {
    Lookup::Indeterminate(Cause::TimedOut, late(repository))
}

fn late(repository: &Repository) -> String {
    format!("{repository}: no complete answer before the deadline")
}

fn nothing_known(sought: &Sought, (cause, why): (Cause, &str)) -> ImageEvidence {
    ImageEvidence {
        repository: sought.repository.to_string(),
        digest: sought.digest.clone(),
        tag_signatures: Lookup::Indeterminate(cause, why.to_owned()),
        tag_attestations: sought.attestations.then(|| Lookup::Indeterminate(cause, why.to_owned())),
        referrers: Lookup::Indeterminate(cause, why.to_owned()),
    }
}

/// How much of the evidence is there; decides how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Completeness {
    /// All was read, and there is something.
    Signed,
    /// All was read, and there is nothing.
    Unsigned,
    /// Something could not be read.
    Failed,
    /// The question's deadline came first.
    OutOfTime,
}

impl Completeness {
    fn of(evidence: &ImageEvidence) -> Self {
        let worst = causes(evidence).map(|cause| match cause {
            Cause::TimedOut => Self::OutOfTime,
            _ => Self::Failed,
        });
        worst.max().unwrap_or_else(|| if has_signatures(evidence) { Self::Signed } else { Self::Unsigned })
    }
}

/// Every cause anywhere in the evidence.
fn causes(evidence: &ImageEvidence) -> impl Iterator<Item = Cause> {
    fn cause<T>(lookup: &Lookup<T>) -> Option<Cause> {
        match lookup {
            Lookup::Indeterminate(cause, _) => Some(*cause),
            _ => None,
        }
    }
    let tags = || std::iter::once(&evidence.tag_signatures).chain(&evidence.tag_attestations);
    let layers = tags().flat_map(found).filter_map(|layer| cause(&layer.payload));
    let contents = found(&evidence.referrers).iter().filter_map(|referrer| match &referrer.content {
        ReferrerContent::Indeterminate(cause, _) => Some(*cause),
        _ => None,
    });
    let whole = tags().filter_map(cause).chain(cause(&evidence.referrers));
    whole.chain(layers).chain(contents)
}

fn found<T>(lookup: &Lookup<Vec<T>>) -> &[T] {
    match lookup {
        Lookup::Found(entries) => entries,
        _ => &[],
    }
}

fn has_signatures(evidence: &ImageEvidence) -> bool {
    let is_bundle = |content: &ReferrerContent| matches!(content, ReferrerContent::Bundle(_));
    let mut tags = std::iter::once(&evidence.tag_signatures).chain(&evidence.tag_attestations);
    tags.any(|tag| !found(tag).is_empty())
        || found(&evidence.referrers).iter().any(|referrer| is_bundle(&referrer.content))
}

/// Bytes of an entry in the cache, roughly: contents, annotations and a base for the structures around them.
fn weight(evidence: &ImageEvidence) -> u32 {
    let tags = std::iter::once(&evidence.tag_signatures).chain(&evidence.tag_attestations);
    let layers = tags.flat_map(found).map(|layer| {
        let payload = if let Lookup::Found(bytes) = &layer.payload { bytes.len() } else { 0 };
        payload
            + layer.media_type.len()
            + layer.annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
            + 256
    });
    let referrers = found(&evidence.referrers).iter().map(|referrer| {
        let content = match &referrer.content {
            ReferrerContent::Bundle(bytes) => bytes.len(),
            ReferrerContent::Other { media_type } => media_type.len(),
            ReferrerContent::Indeterminate(_, why) => why.len(),
        };
        256 + content + referrer.artifact_type.as_ref().map_or(0, String::len)
    });
    u32::try_from(1024 + layers.chain(referrers).sum::<usize>()).unwrap_or(u32::MAX)
}

struct EvidenceExpiry {
    signed: Duration,
    unsigned: Duration,
}

impl Expiry<Sought, Kept> for EvidenceExpiry {
    fn expire_after_create(&self, _: &Sought, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(match Completeness::of(&kept.evidence) {
            Completeness::Signed => self.signed.saturating_sub(kept.age),
            Completeness::Unsigned => self.unsigned,
            Completeness::Failed => FAILURE_LIFETIME,
            Completeness::OutOfTime => Duration::ZERO,
        })
    }
}

struct ResolutionExpiry {
    tag: Duration,
    digest: Duration,
}

impl Expiry<ImageReference, Arc<Lookup<ResolvedManifest>>> for ResolutionExpiry {
    fn expire_after_create(
        &self,
        image: &ImageReference,
        answer: &Arc<Lookup<ResolvedManifest>>,
        _: Instant,
    ) -> Option<Duration> {
        Some(match (answer.as_ref(), &image.digest) {
            (Lookup::Found(_), Some(_)) => self.digest,
            (Lookup::Found(_), None) => self.tag,
            (Lookup::Indeterminate(Cause::TimedOut, _), _) => Duration::ZERO,
            (Lookup::Absent | Lookup::Indeterminate(..), _) => FAILURE_LIFETIME.min(self.tag),
        })
    }
}
