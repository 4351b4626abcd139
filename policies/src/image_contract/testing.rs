//! Images of tests: blobs in memory, and what the rules say about them.

use std::collections::BTreeMap;
use std::io::Read;

use jiff::Timestamp;
use portreeve_reports::Verdict;
use portreeve_reports::digest::sha256;
use serde_json::{Value, json};

use super::answer::Answer;
use super::contents::ImageContents;
use super::inspect::{Detector, Noticed};
use super::read::{self, Blobs, Descriptor, Manifest};
use super::rules::{Budgets, Case, Kind, Rule, Wanted};
use crate::layers::testing::{Tar, gzip};
use crate::layers::{Caps, Problem};

pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Finds what is called `TOKEN` or `KEY`; the true one is in another crate.
pub(super) const DETECTOR: Detector =
    Detector { of_file: |_, content| found(&String::from_utf8_lossy(content)), of_text: found };

fn found(text: &str) -> Vec<Noticed> {
    let of = |word: &str, is_key, kind| {
        let at = text.find(word)?;
        Some(Noticed { kind, is_key, is_guarded: text.contains("guarded"), range: at..at + word.len() })
    };
    [of("!TOKEN!", false, "a token"), of("!KEY!", true, "private key")].into_iter().flatten().collect()
}

/// Blobs by their digest.
#[derive(Default)]
pub(super) struct Memory(pub(super) BTreeMap<String, Vec<u8>>);

impl Memory {
    pub(super) fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &sha256(&bytes), Some(bytes.len() as u64));
        self.0.insert(descriptor.digest.clone(), bytes);
        descriptor
    }
}

impl Blobs for Memory {
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, Problem> {
        self.0.get(&blob.digest).map(|bytes| Box::new(bytes.as_slice()) as Box<dyn Read>).ok_or_else(Problem::missing)
    }
}

/// An image that is built.
pub(super) struct Image {
    pub(super) config: Value,
    pub(super) layers: Vec<Tar>,
}

impl Image {
    /// With nothing in it, for user 1000.
    pub(super) fn new() -> Self {
        let config = json!({
            "os": "linux", "architecture": "amd64", "created": "2026-11-01T00:00:00Z",
            "config": {"User": "1000:100", "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
            "history": [],
        });
        Self { config, layers: Vec::new() }
    }

    pub(super) fn config(mut self, key: &str, value: Value) -> Self {
        self.config["config"][key] = value;
        self
    }

    /// A step that made a layer.
    pub(super) fn layer(mut self, step: &str, layer: Tar) -> Self {
        self.layers.push(layer);
        self.history(step, false)
    }

    /// A step that made none.
    pub(super) fn step(self, step: &str) -> Self {
        self.history(step, true)
    }

    fn history(mut self, step: &str, empty: bool) -> Self {
        let history = self.config["history"].as_array_mut().unwrap();
        history.push(json!({"created_by": step, "empty_layer": empty}));
        self
    }

    pub(super) fn store(self) -> (Memory, Manifest) {
        let Self { mut config, layers } = self;
        let archives: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
        config["rootfs"] =
            json!({"type": "layers", "diff_ids": archives.iter().map(|a| sha256(a)).collect::<Vec<_>>()});
        let mut memory = Memory::default();
        let layers = archives.iter().map(|archive| memory.put(LAYER, gzip(archive))).collect();
        let config = memory.put(CONFIG, config.to_string().into_bytes());
        (memory, Manifest { config, layers })
    }

    pub(super) fn contents(self) -> ImageContents {
        let (memory, manifest) = self.store();
        read::contents(&memory, &manifest, None, (&Caps::default(), DETECTOR)).unwrap()
    }

    /// The same, as if its last layer had been too large.
    pub(super) fn unread(self) -> ImageContents {
        ImageContents { problem: Some(Problem::too_large("too large")), ..self.contents() }
    }

    /// What a rule says, as `check verdict`.
    pub(super) fn asked(self, rule: Rule, kind: Kind) -> Vec<String> {
        told(&answers(&self.contents(), rule, &wanted(kind)))
    }
}

pub(super) fn wanted(kind: Kind) -> Wanted {
    Wanted {
        kind,
        hub_version: Some("5.3.0".to_owned()),
        platforms: vec!["linux/amd64".parse().unwrap()],
        budgets: Budgets::default(),
        now: "2026-11-25T00:00:00Z".parse::<Timestamp>().unwrap(),
        detector: DETECTOR,
    }
}

pub(super) fn answers(image: &ImageContents, rule: Rule, wanted: &Wanted) -> Vec<Answer> {
    rule(&Case::new(image, wanted))
}

pub(super) fn told(answers: &[Answer]) -> Vec<String> {
    let line = |answer: &Answer| {
        let (_, check) = answer.asked();
        format!("{check} {}", answer.verdict()).trim().to_owned()
    };
    answers.iter().map(line).collect()
}

/// Whether all answers are of these verdicts.
pub(super) fn all(answers: &[Answer], allowed: &[Verdict]) -> bool {
    answers.iter().all(|answer| allowed.contains(&answer.verdict()))
}
