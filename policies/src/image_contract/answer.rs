//! An answer to one question about an image, and the finding that it becomes.

use portreeve_reports::finding::BuildError;
use portreeve_reports::{
    Cause, CodeEntry, Confidence, Evidence, Finding, FindingBuilder, Location, Severity, Subject, Verdict,
};

use super::contents::ImageContents;
use super::history;
use super::inspect::Detector;
use crate::layers::Problem;
use crate::layers::tree::Entry;

/// Most places that one finding tells; what is left out is counted.
const TOLD: usize = 50;

/// A place in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `usr/bin/su`, `config.User`, `history[3]`.
    pub place: String,
    /// The layer that it is from.
    pub layer: Option<usize>,
    /// The line of the history that did it.
    pub step: Option<usize>,
    /// What is there.
    pub what: String,
}

impl Seen {
    /// A field of the configuration or a manifest.
    pub fn field(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), layer: None, step: None, what: what.into() }
    }

    /// A file of a layer.
    pub fn file(path: &[u8], layer: usize, what: impl Into<String>) -> Self {
        let place = format!("/{}", String::from_utf8_lossy(path));
        Self { place, layer: Some(layer), step: None, what: what.into() }
    }

    /// A file of the table.
    pub fn entry(path: &[u8], entry: &Entry, what: impl Into<String>) -> Self {
        Self::file(path, entry.layer, what)
    }

    /// A step of the history.
    pub fn step(index: usize, what: impl Into<String>) -> Self {
        Self { place: format!("history[{index}]"), layer: None, step: Some(index), what: what.into() }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer(Box<Draft>);

/// What is in it; boxed, because rules end early with one.
#[derive(Clone, Debug)]
struct Draft {
    entry: &'static CodeEntry,
    check: &'static str,
    severity: Severity,
    confidence: Confidence,
    verdict: Verdict,
    cause: Option<Cause>,
    message: String,
    seen: Vec<Seen>,
    unseen: usize,
    evidence: Vec<Evidence>,
    detector: Option<Detector>,
}

impl Answer {
    fn new(entry: &'static CodeEntry, verdict: Verdict, message: impl Into<String>) -> Self {
        Self(Box::new(Draft {
            entry,
            check: "",
            severity: entry.severity,
            confidence: Confidence::High,
            verdict,
            cause: None,
            message: message.into(),
            seen: Vec::new(),
            unseen: 0,
            evidence: Vec::new(),
            detector: None,
        }))
    }

    /// All is well.
    pub fn pass(entry: &'static CodeEntry, message: impl Into<String>) -> Self {
        Self::new(entry, Verdict::Pass, message)
    }

    /// It is not.
    pub fn fail(entry: &'static CodeEntry, message: impl Into<String>) -> Self {
        Self::new(entry, Verdict::Fail, message)
    }

    /// Nobody asks this of such an image.
    pub fn not_applicable(entry: &'static CodeEntry, message: impl Into<String>) -> Self {
        Self::new(entry, Verdict::NotApplicable, message)
    }

    /// It cannot be told.
    pub fn unknown(entry: &'static CodeEntry, cause: Cause, message: impl Into<String>) -> Self {
        let mut answer = Self::new(entry, Verdict::Unknown, message);
        answer.0.cause = Some(cause);
        answer
    }

    /// It cannot be told from what could be read.
    pub fn unread(entry: &'static CodeEntry, problem: &Problem) -> Self {
        Self::unknown(entry, problem.cause, format!("the image could not be read whole: {problem}"))
    }

    /// Failure where something was seen, else all is well.
    pub fn of(entry: &'static CodeEntry, seen: Vec<Seen>, failure: impl Into<String>, pass: impl Into<String>) -> Self {
        if seen.is_empty() { Self::pass(entry, pass) } else { Self::fail(entry, failure).seen(seen) }
    }

    /// The same answer to another question.
    #[must_use]
    pub fn about(mut self, entry: &'static CodeEntry) -> Self {
        (self.0.entry, self.0.severity) = (entry, entry.severity);
        self
    }

    /// Names the part of the question.
    #[must_use]
    pub fn check(mut self, check: &'static str) -> Self {
        self.0.check = check;
        self
    }

    /// Another severity than the code's.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.0.severity = severity;
        self
    }

    /// How sure a failure is.
    #[must_use]
    pub fn confidence(mut self, confidence: Confidence) -> Self {
        self.0.confidence = confidence;
        self
    }

    /// Where.
    #[must_use]
    pub fn seen(mut self, seen: Vec<Seen>) -> Self {
        self.0.unseen += seen.len().saturating_sub(TOLD);
        self.0.seen.extend(seen.into_iter().take(TOLD));
        self
    }

    /// Places that are counted only.
    #[must_use]
    pub fn unseen(mut self, count: usize) -> Self {
        self.0.unseen += count;
        self
    }

    /// What else was seen.
    #[must_use]
    pub fn evidence(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.evidence.push(Evidence { name: name.into(), value: value.into() });
        self
    }

    /// With what lines of the history are made fit to be shown.
    #[must_use]
    pub fn shown_by(mut self, detector: Detector) -> Self {
        self.0.detector = Some(detector);
        self
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.0.verdict
    }

    /// The code and the part of the question.
    pub fn asked(&self) -> (&'static str, &'static str) {
        (self.0.entry.code, self.0.check)
    }

    /// The finding about this image.
    ///
    /// # Errors
    /// Never in practice: it has a subject and a place.
    pub fn finding(self, subject: &Subject, image: &ImageContents) -> Result<Finding, BuildError> {
        let mut builder = FindingBuilder::new(self.0.entry.code(), self.0.severity, self.0.verdict)
            .check(self.0.check)
            .confidence(self.0.confidence)
            .subject(subject.clone())
            .message(self.sentence(image));
        if let Some(cause) = self.0.cause {
            builder = builder.cause(cause);
        }
        if self.0.seen.is_empty() {
            builder = builder.location(Location::default());
        }
        for seen in &self.0.seen {
            builder = builder.location(Location { object_path: seen.place.clone(), ..Location::default() });
            builder = builder.evidence(seen.place.clone(), told(seen, image, self.0.detector.as_ref()));
        }
        if self.0.unseen > 0 {
            builder = builder.evidence("places not told", self.0.unseen.to_string());
        }
        for Evidence { name, value } in self.0.evidence {
            builder = builder.evidence(name, value);
        }
        builder.build()
    }

    fn sentence(&self, image: &ImageContents) -> String {
        let count = self.0.seen.len() + self.0.unseen;
        let first = self.0.seen.first().filter(|_| self.0.verdict == Verdict::Fail);
        let place = first.map_or_else(String::new, |seen| {
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            let what = if seen.what.is_empty() { String::new() } else { format!(" ({})", seen.what) };
            format!(": {}{what}{more}", seen.place)
        });
        let platform = if image.platforms.len() > 1 { format!("{}: ", image.platform) } else { String::new() };
        format!("{platform}{}{place}", self.0.message)
    }
}

/// What is there, the layer with its digest, and the line of the history that did it.
fn told(seen: &Seen, image: &ImageContents, detector: Option<&Detector>) -> String {
    let layer = seen.layer.and_then(|index| image.layers.get(index).map(|layer| (index, layer)));
    let step = seen.step.or(layer.and_then(|(_, layer)| layer.history));
    let layer_text = match (seen.layer, layer) {
        (_, Some((index, layer))) => format!("layer {} {}", index + 1, layer.summary.digest),
        // The one that could not be read to its end.
        (Some(index), None) => format!("layer {}", index + 1),
        (None, None) => String::new(),
    };
    let line = match (step.and_then(|step| image.config.history.get(step)), detector) {
        (Some(step), Some(detector)) => format!("by: {}", history::shown(step, detector)),
        _ => String::new(),
    };
    let parts = [seen.what.as_str(), &layer_text, &line];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}
