//! `portreeve verify`: are these images signed by whom they should be?

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use portreeve_policies::image::ImageReference;
use portreeve_policies::workload::ImageUse;
use portreeve_reports::Verdict;
use portreeve_reports::gate::{self, ExitCode, Threshold};
use portreeve_reports::report::Report;
use portreeve_trust::evidence::Lookup;
use portreeve_trust::policy::Given;

use super::args::{self, GlobalArgs, RegistryArgs, ThresholdArgs};
use super::identity::IdentityArgs;
use super::output::{self, OutputArgs};
use super::{Failure, Outcome, block_on};
use crate::config::Use;
use crate::judge::{FileSource, Judge, JudgeOptions, JudgeSettings, Rules, images};
use crate::registry::{Deadline, MAX_TRANSCRIPT, Recording, RegistryClient};
use crate::runtime::files;

/// Verify the signatures of images.
///
/// Examples:
///   portreeve verify --key cosign.pub quay.io/org/app:1           signed by this key?
///   portreeve verify --key a.pub --key b.pub --threshold 2 IMAGE  signed by both?
///   portreeve verify --certificate-identity dev@example.org --certificate-oidc-issuer ISSUER_URL IMAGE
///   portreeve verify --image-policy image-policy.yaml IMAGE       does the policy let it run?
///   portreeve verify --plain-http 127.0.0.1:5000 --key k.pub 127.0.0.1:5000/app:1
///   portreeve verify --key k.pub --evidence app.evidence.json IMAGE      keep what the registry said
///   portreeve verify --key k.pub --from-evidence app.evidence.json      verify it again, without a registry
///
/// Exit codes: 0 verified · 11 unsigned · 12 signed but not trusted · 13 against the policy · 4 refused ·
/// 5 could not be checked · 3 no such image, or none that the policy asks about · 2 no authority given.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct VerifyArgs {
    /// Images. Default with --from-evidence: all that the file tells of.
    #[arg(required_unless_present = "from_evidence", value_name = "IMAGE")]
    images: Vec<String>,
    /// Public key, PEM. Needs no transparency log entry and no timestamp.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// How many of the keys and the identity must have signed.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "image_policy")]
    threshold: usize,
    /// Image policy to verify by instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "identity"])]
    image_policy: Option<PathBuf>,
    /// Write all that registries said to a file, from which the same can be verified again offline.
    #[arg(long, value_name = "FILE", conflicts_with = "from_evidence")]
    evidence: Option<PathBuf>,
    /// Verify what such a file tells, and ask no registry. Its signatures are verified anew; what a tag stood for is
    /// believed, so name images by digest where that matters.
    #[arg(long, value_name = "FILE")]
    from_evidence: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    fail: ThresholdArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(super) fn run(args: &VerifyArgs, global: &GlobalArgs) -> Outcome {
    let loaded = global.load_config_for(&[Use::Registries])?;
    let policy_file = args.image_policy.clone().or_else(|| loaded.config.image_policy.clone());
    let given = args.given()?;
    let is_given = !given.keys.is_empty() || given.identity.is_some();
    args.check_use(is_given)?;
    let rules = match &policy_file {
        _ if is_given => Rules::given(given, args.threshold).map_err(|error| Failure::usage_by(&error))?,
        Some(file) => {
            let settings = JudgeSettings { image_policy: Some(file.clone()), ..JudgeSettings::default() };
            Rules::load(&settings, &FileSource::WorkingTree).map_err(Failure::usage)?
        }
        None => return Err(Failure::usage(NO_AUTHORITY)),
    };
    let registry = args::registry((&loaded.config, &FileSource::WorkingTree), &args.registry, global)?;
    let registry = args.replayed(registry)?;
    let images = if args.images.is_empty() { registry.replayed_references() } else { args.images.clone() };
    let uses = images.iter().map(|image| parse(image)).collect::<Result<Vec<_>, _>>()?;
    let (registry, recording) = match &args.evidence {
        Some(file) => {
            let (registry, recording) = registry.recording();
            (registry, Some((file, recording)))
        }
        None => (registry, None),
    };
    let judge = Judge::new(rules, registry);
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(global.timeout()) };
    let verified = block_on(global, async { Ok(verify(&judge, &uses, &options).await) })?;
    // An image has no file: what a reader can open is whose word was asked for.
    let anchor = output::anchor(args.key.first().or(policy_file.as_ref()).map(PathBuf::as_path));
    let mut exits = output::render(&verified.report, &args.output, (global, anchor))?;
    if let Some((file, recording)) = recording
        && let Err(failure) = keep(file, &recording)
    {
        output::complain(&failure.message);
        exits.push(failure.exit);
    }
    exits.push(verified.decide(&args.fail.threshold(&loaded.config)));
    Ok(ExitCode::worst(exits))
}

const TOO_LARGE: &str = "it would be larger than 512 MiB, the most that is read; name fewer images";
const NO_AUTHORITY: &str = "no authority given: name a public key with --key, an identity with --certificate-identity \
                            and --certificate-oidc-issuer, or a policy with --image-policy";

impl VerifyArgs {
    /// Flags that would have no effect are refused: a policy has its own trust roots and thresholds.
    fn check_use(&self, is_given: bool) -> Result<(), Failure> {
        let unused = [("--trusted-root", self.identity.trusted_root.is_some()), ("--threshold", self.threshold != 1)];
        match unused.iter().find(|(_, is_there)| *is_there && !is_given) {
            Some((flag, _)) => {
                Err(Failure::usage(format!("{flag} is for --key and --certificate-identity, and neither is given")))
            }
            None => Ok(()),
        }
    }

    /// The client that answers from the file of `--from-evidence`, where there is one.
    fn replayed(&self, registry: RegistryClient) -> Result<RegistryClient, Failure> {
        let Some(file) = &self.from_evidence else { return Ok(registry) };
        let fail = |error: std::io::Error| Failure::usage(format!("{}: {error}", file.display()));
        let mut bytes = Vec::new();
        let opened = files::open_named(file).map_err(fail)?;
        opened.take(MAX_TRANSCRIPT + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > MAX_TRANSCRIPT {
            return Err(Failure::usage(format!("{}: {TOO_LARGE}", file.display())));
        }
        registry.replaying(&bytes).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
    }

    /// The authorities that were named one by one.
    fn given(&self) -> Result<Given, Failure> {
        let read = |file: &PathBuf| {
            let bytes = FileSource::WorkingTree.read(file).map_err(Failure::usage)?;
            Ok((file.display().to_string(), bytes))
        };
        let keys = self.key.iter().map(read).collect::<Result<_, Failure>>()?;
        let trust_root = self.identity.trusted_root.as_ref().map(read).transpose()?;
        Ok(Given { keys, identity: self.identity.identity()?, trust_root })
    }
}

fn keep(file: &Path, recording: &Recording) -> Result<(), Failure> {
    let json = recording.to_json().map_err(|error| Failure::other(error.to_string()))?;
    if json.len() as u64 > MAX_TRANSCRIPT {
        return Err(Failure::other(format!("{} is not written: {TOO_LARGE}", file.display())));
    }
    output::write_whole(file, |out| out.write_all(&json))
}

fn parse(image: &str) -> Result<ImageUse, Failure> {
    ImageReference::parse(image).map_err(Failure::usage)?;
    Ok(ImageUse::named(image))
}

/// What was verified.
struct Verified {
    /// All of it.
    report: Report,
    /// Without the images that do not exist.
    present: Report,
    /// Those images.
    missing: Vec<ImageUse>,
}

/// Judges the images. One that a registry says does not exist is as unknown here as at every door; that there is
/// nothing to check is then a matter of the exit.
async fn verify(judge: &Judge, uses: &[ImageUse], options: &JudgeOptions) -> Verified {
    let mut missing = Vec::new();
    let mut present = Vec::new();
    for image in uses {
        let Ok(reference) = &image.reference else { continue };
        match images::resolve(judge.registry(), reference, options.deadline).await {
            Lookup::Absent => missing.push(image.clone()),
            Lookup::Found(_) | Lookup::Indeterminate(..) => present.push(image.clone()),
        }
    }
    let present = judge.report(judge.images(&present, options).await, 0);
    let absent = judge.images(&missing, options).await;
    let mut report = present.clone();
    report.findings.extend(absent.findings);
    report.images.extend(absent.images);
    Verified { report, present, missing }
}

impl Verified {
    /// "No such image", and one that no rule asks about, are nothing to check; it does not outrank what the other
    /// images came to. The last word is the reason of the exit.
    fn decide(&self, threshold: &Threshold) -> ExitCode {
        let decision = gate::decide(&self.present, threshold);
        let unasked = self.report.images.iter().filter(|image| image.verdict == Verdict::NotApplicable);
        let unasked = unasked.map(|image| format!("not verified: the policy asks nothing of {}", image.reference));
        let missing = self.missing.iter().map(|image| format!("no such image: {}", image.text));
        let nothing: Vec<String> = unasked.chain(missing).collect();
        nothing.iter().for_each(|line| output::say(line));
        let exit = if nothing.is_empty() { ExitCode::Clean } else { ExitCode::NothingToCheck };
        let worst = ExitCode::worst([decision.code, exit]);
        if worst != exit || nothing.is_empty() {
            output::say(&decision.why);
        }
        worst
    }
}
