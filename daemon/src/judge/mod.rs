//! The one evaluation behind the four doors: objects, images and what is known of the world in, findings out.
//!
//! Every door (admission, watch, schedule, CI) goes through [`Judge`]; nothing else calls the rules. Fetching image
//! evidence is the only thing here that waits; the judging itself is pure.

pub mod content;
pub mod contract;
pub mod credentials;
pub mod current;
pub mod explain;
pub mod images;
pub mod load;
pub mod resources;
pub mod review;
pub mod secrets;
pub mod source;
pub mod tally;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use portreeve_policies::object::{Object, Unreadable};
use portreeve_policies::workload::{ImageUse, image_uses};
use portreeve_policies::world::World;
use portreeve_reports::code::Topic;
use portreeve_reports::exceptions::Usage;
use portreeve_reports::report::{Counted, ImageReport, Report};
use portreeve_reports::{Cause, Code, Finding, FindingBuilder, Subject, Verdict};

use portreeve_secrets::credentials::rules::TOKEN_REQUEST;
use portreeve_secrets::sops;

use crate::registry::{Deadline, RegistryClient};
pub use current::CurrentJudge;
pub use load::{JudgeSettings, LoadError, LoadErrors, Rules};
pub use source::{FileSource, FileSourceError};

/// The rules and the way to evidence. It never changes: where rules do, another takes its seat ([`CurrentJudge`]).
pub struct Judge {
    rules: Rules,
    registry: RegistryClient,
    keep: Keep,
    version: u64,
}

/// Which findings of posture are kept. The doors that record keep all: what passes resolves what is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// All of all objects.
    #[default]
    Everything,
    /// All, up to [`MAX_KEPT`].
    All,
    /// Those that did not pass, up to [`MAX_KEPT`]; the others are counted.
    Open,
}

/// Most findings that one command keeps. Objects beyond it are not judged, and a finding says so.
pub const MAX_KEPT: usize = 250_000;

/// When it is, and until when evidence may be waited for.
#[derive(Clone, Copy, Debug)]
pub struct JudgeOptions {
    /// The time that exceptions, static rules and keys are judged at.
    pub now: Timestamp,
    /// What is not known by then is `unknown: timed-out`.
    pub deadline: Deadline,
}

/// What a run asked beside posture.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Whether images were judged.
    pub images: bool,
    /// Whether what holds credentials could be read.
    pub credentials: bool,
    /// Whether encrypted files among manifests were judged.
    pub files: bool,
    /// What was asked of the platform and of declared Secrets, and answered for all of them.
    pub kept: BTreeSet<Code>,
}

/// What was found: all verdicts, exceptions applied.
#[derive(Debug, Default)]
pub struct Judged {
    /// Findings of all verdicts.
    pub findings: Vec<Finding>,
    /// One entry for each image looked at.
    pub images: Vec<ImageReport>,
    /// Findings that were counted and not kept.
    pub counted: Counted,
    /// Which exceptions were needed.
    pub usage: Usage,
}

impl Judge {
    /// A judge by these rules.
    pub fn new(rules: Rules, registry: RegistryClient) -> Self {
        Self { rules, registry, keep: Keep::default(), version: 0 }
    }

    /// The judge who comes after this one, by other rules.
    fn successor(&self, rules: Rules) -> Self {
        Self { rules, registry: self.registry.clone(), keep: self.keep, version: self.version + 1 }
    }

    /// Grows with every change of the rules of a process. What is counted per exception is of one version only.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The judge of a command that reports and records nothing.
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// Posture of the objects, their credentials, and their images where there is an image policy.
    pub async fn objects(&self, objects: &[Object], world: &World, options: &JudgeOptions) -> Judged {
        let mut judged = self.posture(objects, world, options);
        let uses: Vec<ImageUse> =
            objects.iter().flat_map(|object| image_uses(object, &object.reference(world.top_owner(object)))).collect();
        judged.merge(self.images(&uses, options).await);
        judged.merge(self.credentials(&credentials::of_objects(objects), world, options));
        judged
    }

    /// Posture of the objects alone: pure, no image is looked at.
    pub fn posture(&self, objects: &[Object], world: &World, options: &JudgeOptions) -> Judged {
        let (mut kept, mut counted) = (Vec::new(), Counted::new());
        for (index, object) in objects.iter().enumerate() {
            if self.keep != Keep::Everything && kept.len() >= MAX_KEPT {
                kept.push(not_judged(object, objects.len() - index));
                break;
            }
            for finding in self.judge_guarded(object, world) {
                if self.keep == Keep::Open && !finding.verdict.is_open() {
                    *counted.entry((finding.code, finding.severity, finding.verdict)).or_default() += 1;
                } else {
                    kept.push(finding);
                }
            }
        }
        Judged { counted, ..self.excepted(kept, Vec::new(), options) }
    }

    /// One object that makes a rule panic is an error about that object; the others are judged all the same.
    fn judge_guarded(&self, object: &Object, world: &World) -> Vec<Finding> {
        let judging = AssertUnwindSafe(|| self.rules.engine.judge(object, world));
        catch_unwind(judging).unwrap_or_else(|_| broken(object).into_iter().collect())
    }

    /// The images alone (rescans, `verify`). Without an image policy there is no question, and so no finding.
    pub async fn images(&self, uses: &[ImageUse], options: &JudgeOptions) -> Judged {
        let Some(policy) = &self.rules.image_policy else { return Judged::default() };
        let (findings, images) = images::judge(policy, &self.registry, uses, options).await;
        self.excepted(findings, images, options)
    }

    /// The images of objects where there is no image policy: each of its questions is open, which lowers coverage. A
    /// gate says so; the doors that record have nothing to record.
    pub fn unasked_images(&self, uses: &[ImageUse], options: &JudgeOptions) -> Judged {
        let findings = if self.has_image_policy() { Vec::new() } else { images::unasked(uses) };
        self.excepted(findings, Vec::new(), options)
    }

    /// Findings that were made elsewhere (unreadable input), with exceptions applied.
    pub fn excepted(&self, findings: Vec<Finding>, images: Vec<ImageReport>, options: &JudgeOptions) -> Judged {
        let (findings, usage) = self.rules.exceptions.apply(findings, options.now);
        Judged { findings, images, usage, ..Judged::default() }
    }

    /// Findings about the exceptions themselves, given what all judging so far needed of them, and what of it was asked.
    pub fn audit_exceptions(&self, usage: &Usage, now: Timestamp, asked: &Asked) -> Vec<Finding> {
        self.rules.exceptions.audit(usage, now, &|code| self.has_asked(code, asked))
    }

    /// Whether a run that asked these asked this question of all that it can be about. [`asks`](Self::asks) is about the
    /// rules; this is about the door: one that does not look at platforms needs no exception of theirs.
    fn has_asked(&self, code: &Code, asked: &Asked) -> bool {
        let is_whole = self.rules.credentials.is_some();
        match code.topic() {
            Topic::ImageTrust => asked.images && self.has_image_policy(),
            // Asked of images that somebody names, one by one: an exception may be for another one.
            Topic::ImageContract => false,
            // Tokens are asked for at admission only, which never sees all of them.
            Topic::Credentials => asked.credentials && is_whole && code.as_str() != TOKEN_REQUEST.code,
            Topic::Secrets | Topic::Platform => {
                let is_of_files = sops::CODES.iter().any(|entry| entry.code == code.as_str());
                asked.kept.contains(code) || (is_of_files && asked.files && is_whole)
            }
            _ => self.asks(code),
        }
    }

    /// A report of what was judged.
    pub fn report(&self, judged: Judged, objects_read: usize) -> Report {
        Report {
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: None,
            inputs: self.rules.inputs.clone(),
            findings: judged.findings,
            counted: judged.counted,
            images: judged.images,
            unimplemented: self.rules.unimplemented.clone(),
            objects_read,
        }
    }

    /// Whether a failure of this code denies at admission: image trust by its rule's mode, a token that would live too
    /// long, posture when one of the frameworks in `posture.enforce` asks the question.
    pub fn denies(&self, code: &Code) -> bool {
        let is_ours = code.topic() == Topic::ImageTrust || code.as_str() == TOKEN_REQUEST.code;
        is_ours || self.rules.enforced.contains(code)
    }

    /// Whether any rule asks this question. What is asked of input, exceptions and the cluster always is.
    pub fn asks(&self, code: &Code) -> bool {
        match code.topic() {
            Topic::Posture => self.rules.engine.controls().iter().any(|control| control.code == *code),
            Topic::ImageTrust => self.has_image_policy(),
            _ => true,
        }
    }

    /// Whether images are judged at all.
    pub fn has_image_policy(&self) -> bool {
        self.rules.image_policy.is_some()
    }

    /// The registry client, for pinning tags and for its statistics.
    pub fn registry(&self) -> &RegistryClient {
        &self.registry
    }

    /// The compiled rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

impl Judged {
    /// Adds what another part found.
    pub fn merge(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.images.extend(other.images);
        self.usage.merge(&other.usage);
        for (key, count) in other.counted {
            *self.counted.entry(key).or_default() += count;
        }
    }
}

/// What stands for the objects that one report has no room for.
fn not_judged(first: &Object, count: usize) -> Finding {
    let file = first.origin.file.as_deref().unwrap_or("objects");
    let message = format!(
        "{count} objects from {} {} on are not judged: there are {MAX_KEPT} findings already; judge fewer at once",
        first.kind, first.name
    );
    Unreadable::of_file(file, Cause::TooLarge, message).finding()
}

/// A bug of ours met this object.
fn broken(object: &Object) -> Option<Finding> {
    let entry = &portreeve_reports::code::UNREADABLE_INPUT;
    FindingBuilder::new(entry.code(), entry.severity, Verdict::Error)
        .subject(Subject::Object(object.reference(None)))
        .location(object.location("", object.origin.place))
        .message("portreeve panicked while judging this object; this is a bug, please report it")
        .build()
        .ok()
}
