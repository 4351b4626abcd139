//! What registries said in one run: kept to be written to a file, or read from one in place of asking them. It proves
//! nothing: signatures in it are verified by whoever reads it, like those of a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::Cause;
use portreeve_trust::evidence::{ImageEvidence, Lookup};
use serde::{Deserialize, Serialize};

use super::client::{ResolvedManifest, Sought};

/// Largest transcript written and read, in bytes.
pub const MAX_TRANSCRIPT: u64 = 512 << 20;
/// What a transcript says it is; another version is refused.
const VERSION: &str = "evidence-v1";

/// A transcript that a client writes on, or reads.
#[derive(Clone)]
pub(super) enum Transcript {
    Writing(Recording),
    Reading(Arc<Told>),
}

/// What registries have said so far.
#[derive(Clone, Default)]
pub struct Recording(Arc<Mutex<Told>>);

/// All that was said.
#[derive(Debug, Default)]
pub(super) struct Told {
    manifests: BTreeMap<String, Lookup<ResolvedManifest>>,
    evidence: Vec<ImageEvidence>,
}

/// The same as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    schema_version: String,
    /// What each reference, as it was named, stood for.
    manifests: BTreeMap<String, Lookup<ResolvedManifest>>,
    evidence: Vec<ImageEvidence>,
}

/// Why bytes are no transcript.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTranscript {
    /// Not JSON of its shape.
    #[error("it is no evidence file: {0}")]
    Shape(#[source] serde_json::Error),
    /// Two answers to one question.
    #[error("it tells of {0} twice")]
    Twice(String),
    /// Of a version that is not known.
    #[error("its schemaVersion is '{0}'; '{VERSION}' can be read")]
    Version(String),
}

impl Recording {
    /// All that was said, as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let told = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let document = Document {
            schema_version: VERSION.to_owned(),
            manifests: told.manifests.clone(),
            evidence: told.evidence.clone(),
        };
        serde_json::to_vec_pretty(&document)
    }

    fn told(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Told {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, InvalidTranscript> {
        let Document { schema_version, manifests, evidence } =
            serde_json::from_slice(bytes).map_err(InvalidTranscript::Shape)?;
        if schema_version != VERSION {
            return Err(InvalidTranscript::Version(schema_version.chars().take(40).collect()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = evidence.iter().find(|evidence| !seen.insert(about(evidence))) {
            return Err(InvalidTranscript::Twice(twice.digest.to_string()));
        }
        Ok(Self { manifests, evidence })
    }

    /// The references that it tells of.
    pub(super) fn references(&self) -> impl Iterator<Item = &str> {
        self.manifests.keys().map(String::as_str)
    }
}

impl Transcript {
    /// What a reference stands for, where a transcript is read.
    pub(super) fn manifest(&self, image: &ImageReference) -> Option<Lookup<ResolvedManifest>> {
        let Self::Reading(told) = self else { return None };
        Some(match told.manifests.get(&image.to_string()) {
            Some(Lookup::Found(manifest)) if image.digest.as_ref().is_some_and(|digest| *digest != manifest.digest) => {
                Lookup::Indeterminate(Cause::Unreadable, format!("the evidence file has another digest for {image}"))
            }
            Some(known) => known.clone(),
            None => untold(),
        })
    }

    /// The evidence about a digest, where a transcript is read.
    pub(super) fn evidence(&self, sought: &Sought) -> Option<ImageEvidence> {
        let Self::Reading(told) = self else { return None };
        let repository = sought.repository.to_string();
        let is_about =
            |evidence: &&ImageEvidence| evidence.repository == repository && evidence.digest == sought.digest;
        let known = told.evidence.iter().filter(is_about);
        // Of two, the one that was asked for more.
        let known = known.max_by_key(|evidence| evidence.tag_attestations.is_some());
        Some(known.cloned().unwrap_or_else(|| ImageEvidence {
            repository,
            digest: sought.digest.clone(),
            tag_signatures: untold(),
            tag_attestations: sought.attestations.then(untold),
            referrers: untold(),
        }))
    }

    pub(super) fn note_manifest(&self, image: &ImageReference, manifest: &Lookup<ResolvedManifest>) {
        if let Self::Writing(recording) = self {
            recording.told(|told| _ = told.manifests.insert(image.to_string(), manifest.clone()));
        }
    }

    pub(super) fn note_evidence(&self, evidence: &ImageEvidence) {
        if let Self::Writing(recording) = self {
            recording.told(|told| {
                told.evidence.retain(|known| about(known) != about(evidence));
                told.evidence.push(evidence.clone());
            });
        }
    }
}

/// What evidence answers: a digest of a repository, with or without its attestations.
fn about(evidence: &ImageEvidence) -> (&str, &Digest, bool) {
    (&evidence.repository, &evidence.digest, evidence.tag_attestations.is_some())
}

fn untold<T>() -> Lookup<T> {
    Lookup::Indeterminate(Cause::Unreachable, "the evidence file does not tell of it".to_owned())
}
