//! The contract of images: what was read of them in, findings out.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use portreeve_policies::image_contract::codes::READABLE;
use portreeve_policies::image_contract::contents::ImageContents;
use portreeve_policies::image_contract::findings;
use portreeve_policies::image_contract::inspect::{Detector, Noticed};
use portreeve_policies::image_contract::packages::{Manager, Package};
use portreeve_policies::image_contract::rules::Wanted;
use portreeve_reports::report::ImageReport;
use portreeve_reports::{Evidence, Finding, FindingBuilder, Fingerprint, Location, Subject, Verdict};
use portreeve_secrets::credentials::{InText, in_file, in_text};
use portreeve_trust::rules::merge;

use super::{Judge, JudgeOptions, Judged};

/// What tells credentials in images: the same that tells them in Secrets.
pub const DETECTOR: Detector = Detector {
    of_file: |path, content| in_file(path, content).into_iter().map(noticed).collect(),
    of_text: |text| in_text(text).into_iter().map(noticed).collect(),
};

fn noticed(found: InText) -> Noticed {
    let InText { kind, is_key, is_guarded, range } = found;
    Noticed { kind, is_key, is_guarded, range }
}

/// Which image was looked at.
#[derive(Clone, Debug)]
pub struct Looked {
    /// As somebody wrote it.
    pub reference: String,
    /// Its identity: host and repository, or the path of what it was read from.
    pub repository: String,
    /// Digest of what the reference stands for, where that has one.
    pub digest: Option<String>,
    /// Digest of the manifest that was read, where it has one.
    pub manifest: Option<String>,
}

/// What was found so far, an image for a platform after the other.
#[derive(Debug, Default)]
pub struct Contracts {
    findings: Vec<Vec<Finding>>,
    images: Vec<ImageReport>,
}

/// The packages of an image.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The image as written.
    pub reference: String,
    /// For which platform.
    pub platform: String,
    /// What is installed, by whom.
    pub packages: Vec<(Manager, Package)>,
}

impl Inventory {
    /// Of what was read.
    pub fn of(looked: &Looked, image: &ImageContents) -> Self {
        let packages = image.packages.list().map(|(manager, package)| (manager, package.clone())).collect();
        Self { reference: looked.reference.clone(), platform: image.platform.to_string(), packages }
    }
}

impl Contracts {
    /// Judges one more image. A panic of a rule is an error about this image, never a pass.
    pub fn add(&mut self, looked: &Looked, image: &ImageContents, wanted: &Wanted) {
        let subject = Subject::Image {
            repository: looked.repository.clone(),
            reference: looked.reference.clone(),
            digest: looked.digest.clone(),
        };
        let judging = AssertUnwindSafe(|| findings(&subject, image, wanted));
        let found = match catch_unwind(judging) {
            Ok(Ok(found)) => found,
            _ => broken(subject).into_iter().collect(),
        };
        let worst = found.iter().filter(|finding| counts(finding)).map(|finding| finding.verdict);
        let verdict = worst.min_by_key(|verdict| verdict.rank()).unwrap_or(Verdict::NotApplicable);
        self.images.push(ImageReport {
            reference: looked.reference.clone(),
            digest: looked.manifest.clone().or(looked.digest.clone()),
            verdict,
            evidence: evidence(image, wanted),
        });
        self.findings.push(found);
    }
}

/// Failures of severity info and what cannot be seen from here do not make an image a bad one.
fn counts(finding: &Finding) -> bool {
    match finding.verdict {
        Verdict::Fail => finding.severity > portreeve_reports::Severity::Info,
        Verdict::Unknown => finding.cause.is_some_and(portreeve_reports::Cause::is_obtainable),
        _ => true,
    }
}

fn evidence(image: &ImageContents, wanted: &Wanted) -> Vec<Evidence> {
    let told = |name: &str, value: String| Evidence { name: name.into(), value };
    let mut evidence = vec![told("kind", wanted.kind.as_str().to_owned())];
    if image.has_config {
        evidence.extend((!image.platform.os.is_empty()).then(|| told("platform", image.platform.to_string())));
        evidence.push(told("layers", format!("{} of {} read", image.layers.len(), image.layer_count)));
    }
    evidence
        .extend(image.packages.counts().map(|(manager, count)| told(manager.as_str(), format!("{count} packages"))));
    evidence
}

/// A bug of ours met this image.
fn broken(subject: Subject) -> Option<Finding> {
    FindingBuilder::new(READABLE.code(), READABLE.severity, Verdict::Error)
        .subject(subject)
        .location(Location::default())
        .message("portreeve panicked while judging this image; this is a bug, please report it")
        .build()
        .ok()
}

impl Judge {
    /// All that was found, with exceptions applied. The platforms of one image make one finding a question: the worst
    /// verdict counts.
    pub fn contracts(&self, contracts: Contracts, options: &JudgeOptions) -> Judged {
        self.excepted(merge(of_the_worst(contracts.findings)), contracts.images, options)
    }
}

/// Places count where the verdict is that of the whole: those of a platform that passes are nobody's concern.
fn of_the_worst(mut groups: Vec<Vec<Finding>>) -> Vec<Vec<Finding>> {
    let mut worst: BTreeMap<Fingerprint, u8> = BTreeMap::new();
    for finding in groups.iter().flatten() {
        let rank = worst.entry(finding.fingerprint.clone()).or_insert(u8::MAX);
        *rank = finding.verdict.rank().min(*rank);
    }
    for finding in groups.iter_mut().flatten() {
        if worst.get(&finding.fingerprint).is_some_and(|rank| *rank < finding.verdict.rank()) {
            finding.locations.clear();
        }
    }
    groups
}
