//! The third step: what passes the gate is [`Cleared`], by the same evaluation as the doors.

use jiff::Timestamp;
use portreeve_api::platform::Gate;
use portreeve_policies::object::Object;
use portreeve_policies::world::World;
use portreeve_reports::code::Topic;
use portreeve_reports::gate::{self, Decision, ExitCode, Threshold};
use portreeve_reports::report::Report;
use portreeve_reports::{Effect, Finding, Verdict};

use super::build::{Built, Part};
use crate::config::Config;
use crate::judge::{FileSource, Judge, JudgeOptions, JudgeSettings, Keep, LoadErrors, Rules};
use crate::registry::RegistryClient;

/// The rules of a platform's gate.
pub struct GateRules {
    judge: Judge,
    threshold: Threshold,
    images: Option<Effect>,
}

/// A component that may be applied.
#[derive(Debug)]
pub struct Cleared {
    built: Built,
}

impl Cleared {
    /// The component with its objects.
    pub fn built(&self) -> &Built {
        &self.built
    }
}

/// What the gate said about a component.
#[derive(Debug)]
pub struct Verdicts {
    /// The component, when it may be applied.
    pub cleared: Result<Cleared, KeptBack>,
    /// What was judged, in full.
    pub report: Report,
}

/// A component that is not applied.
#[derive(Clone, Debug)]
pub struct KeptBack {
    /// Its objects.
    pub built: Built,
    /// The exit code that `gate` would end with.
    pub exit: ExitCode,
    /// Why, in one sentence.
    pub why: String,
    /// The findings that keep it back, the first of them.
    pub findings: Vec<Finding>,
}

/// Most findings that a component is told to be kept back by.
const MAX_TOLD: usize = 10;

impl GateRules {
    /// Reads the rules: those the platform names, with parameters, image policy and exceptions of the configuration's
    /// files.
    pub fn load(gate: &Gate, config: &Config, registry: RegistryClient) -> Result<Self, LoadErrors> {
        let posture = &config.posture;
        let standard = if posture.enforce.is_empty() { &posture.frameworks } else { &posture.enforce };
        let settings = JudgeSettings {
            frameworks: gate.frameworks.clone().unwrap_or_else(|| standard.clone()),
            controls: Vec::new(),
            params: posture.params.clone(),
            image_policy: config.image_policy.clone(),
            exceptions: config.exceptions.clone(),
            enforce: Vec::new(),
            credentials: config.credentials.limits(),
        };
        let judge = judge(Rules::load(&settings, &FileSource::WorkingTree)?, registry);
        let threshold = Threshold { fail_on: gate.fail_on, fail_coverage_below: None };
        Ok(Self { judge, threshold, images: gate.images })
    }

    /// The same with the image policy and exceptions of other rules: those in force, the cluster's resources among them.
    #[must_use]
    pub fn in_force(&self, rules: &Rules) -> Self {
        let rules = self.judge.rules().with_policies_of(rules);
        Self { judge: judge(rules, self.judge.registry().clone()), ..*self }
    }

    /// Judges a component. The world is the platform: what its components declare for each other is there.
    pub async fn judge(&self, built: Built, world: &World, options: &JudgeOptions) -> Verdicts {
        let objects: Vec<Object> = built.objects.iter().map(|wanted| wanted.object.clone()).collect();
        let judged = self.judge.objects(&objects, world, options).await;
        let report = self.judge.report(judged, objects.len());
        let decisive = self.decisive(&report);
        let decision = self.decide(&decisive);
        let cleared = if self.images == Some(Effect::Block) && !self.judge.has_image_policy() {
            let why = "spec.gate.images is enforce, and no image policy says what is trusted; set images.policy";
            Err(KeptBack { built, exit: ExitCode::Usage, why: why.to_owned(), findings: Vec::new() })
        } else if decision.code == ExitCode::Clean {
            Ok(Cleared { built })
        } else {
            let findings = self.blocking(&decisive);
            Err(KeptBack { built, exit: decision.code, why: decision.why, findings })
        };
        Verdicts { cleared, report }
    }

    /// The platform may ask for less than the image policy, never for more: the weaker of the two holds. The report
    /// keeps what was found; only what decides is taken from it.
    fn decisive(&self, report: &Report) -> Report {
        let most = self.images.unwrap_or_default();
        let mut decisive = report.clone();
        for finding in decisive.findings.iter_mut().filter(|finding| is_image(finding)) {
            finding.effect = finding.effect.min(most);
        }
        let is_undecided = |finding: &Finding| matches!(finding.verdict, Verdict::Unknown | Verdict::Error);
        decisive
            .findings
            .retain(|finding| finding.effect == Effect::Block || !is_image(finding) || !is_undecided(finding));
        decisive
    }

    /// `failOn` is about posture. Of images the policy has said what blocks, and no severity takes that back.
    fn decide(&self, report: &Report) -> Decision {
        let (images, others): (Vec<_>, Vec<_>) = report.findings.iter().cloned().partition(is_image);
        let images = Report { findings: images, ..report.clone() };
        let of_images = gate::decide(&images, &Threshold::default());
        if of_images.code != ExitCode::Clean {
            return of_images;
        }
        gate::decide(&Report { findings: others, ..images }, &self.threshold)
    }

    fn blocking(&self, report: &Report) -> Vec<Finding> {
        let alone = |finding: &&Finding| {
            let one = Report { findings: vec![(*finding).clone()], objects_read: 1, ..Report::default() };
            self.decide(&one).code != ExitCode::Clean
        };
        report.findings.iter().filter(alone).take(MAX_TOLD).cloned().collect()
    }
}

/// What passed decides nothing here and is only counted: of hundreds of objects it is most of what was found.
fn judge(rules: Rules, registry: RegistryClient) -> Judge {
    Judge::new(rules, registry).keeping(Keep::Open)
}

fn is_image(finding: &Finding) -> bool {
    finding.code.topic() == Topic::ImageTrust
}

/// What of a report exceptions are for, as it was before any was laid over it: other exceptions may be in force later.
pub fn failures(report: &Report) -> Vec<Finding> {
    let is_for_exceptions = |finding: &&Finding| !matches!(finding.verdict, Verdict::Pass | Verdict::NotApplicable);
    let bare = |finding: &Finding| {
        let mut bare = finding.clone();
        if bare.verdict == Verdict::Excepted {
            bare.verdict = Verdict::Fail;
        }
        bare
    };
    report.findings.iter().filter(is_for_exceptions).map(bare).collect()
}

/// Everything that the platform declares, for relations between its objects.
pub fn world(parts: &[Part]) -> World {
    let built = parts.iter().filter_map(|part| part.built.as_ref().ok());
    let objects: Vec<Object> =
        built.flat_map(|built| built.objects.iter().map(|wanted| wanted.object.clone())).collect();
    World::of_files(&objects, false)
}

/// When it is, and until when evidence may be waited for.
pub fn options(now: Timestamp, timeout: std::time::Duration) -> JudgeOptions {
    JudgeOptions { now, deadline: crate::registry::Deadline::after(timeout) }
}
