//! `portreeve gate`: manifests and images in one verdict, for CI.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use portreeve_policies::image::ImageReference;
use portreeve_policies::workload::{ImageUse, image_uses};
use portreeve_policies::world::World;
use portreeve_reports::report::PolicyInput;

use super::args::{self, GlobalArgs, ManifestArgs, RegistryArgs};
use super::{Failure, Outcome, block_on, encrypted, input, output};
use crate::config::files::{self, NamedFile};
use crate::config::load::{FILE_NAME, parse};
use crate::config::{Config, LoadedConfig, Use};
use crate::judge::{Asked, FileSource, Judge, JudgeOptions, Judged};
use crate::registry::Deadline;

/// Judge manifests and images in one verdict, for CI.
///
/// Examples:
///   portreeve gate manifests/ --image-policy image-policy.yaml
///   portreeve gate manifests/ --base origin/main --format sarif=portreeve.sarif
///   portreeve gate quay.io/org/app:1 --image-policy image-policy.yaml
///
/// Configuration, policies, exceptions, parameters and the CA files of registries are read from --config, or from the
/// git ref --base (in a pull request of GitHub or GitLab: its target branch), so that a change cannot switch its own gate
/// off. A CA file outside of the repository and the credentials of registries are this machine's own. Without an image
/// policy the images of manifests are not judged: the report says so, and coverage falls.
///
/// Exit codes: 0 pass · 10 findings · 11 unsigned · 12 signed but not trusted · 13 against the policy ·
/// 15 a credential expired or lives too long · 4 refused · 5 could not be told · 6 coverage · 3 nothing to check · 2 usage.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct GateArgs {
    /// Files and folders of manifests (existing, or starting with ./ or /), and images.
    #[arg(required = true, value_name = "PATH|IMAGE")]
    targets: Vec<String>,
    /// Image policy.
    #[arg(long, value_name = "FILE")]
    image_policy: Option<PathBuf>,
    /// Git ref that configuration, policies and exceptions are read from.
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    manifests: ManifestArgs,
}

/// What the arguments name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Targets {
    pub(super) paths: Vec<PathBuf>,
    pub(super) images: Vec<String>,
    /// Those of `images` that may be a path with a typing error.
    pub(super) unlikely: Vec<String>,
}

pub(super) fn taken_for_image(target: &str) -> String {
    format!("'{target}': no such path, taken for an image reference")
}

/// Runs the command.
pub(super) fn run(args: &GateArgs, global: &GlobalArgs) -> Outcome {
    let _heartbeat = output::heartbeat()?;
    let environment = args::environment();
    let targets = sort_targets(&args.targets)?;
    let source = source(args, global, &environment)?;
    let loaded = load_config(&source, global, &environment)?;
    let judge = load_judge(args, global, (&source, &loaded))?.keeping(args.manifests.output.keep());
    if !targets.images.is_empty() && !judge.has_image_policy() {
        let typos = targets.unlikely.iter().map(|image| format!("{}; ", taken_for_image(image)));
        let typos: String = typos.collect();
        return Err(Failure::usage(format!(
            "{typos}no authority given for the images: name a policy with --image-policy"
        )));
    }
    targets.unlikely.iter().for_each(|image| output::say(&taken_for_image(image)));
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(global.timeout()) };
    let (mut judged, objects_read) =
        block_on(global, async { judge_targets((args, &targets), &judge, (&loaded.config, &source), &options).await })?;
    let asked = Asked { images: true, credentials: true, files: true, ..Asked::default() };
    judged.findings.extend(judge.audit_exceptions(&judged.usage, options.now, &asked));
    let mut report = judge.report(judged, objects_read);
    let configuration = configuration_name(&source, &loaded);
    let digest = portreeve_reports::digest::sha256(&loaded.bytes);
    report.inputs.insert(0, PolicyInput { name: configuration, digest });
    report.inputs.extend(args::ca_inputs(&loaded.config, &source)?);
    let policy = args.image_policy.as_deref().or(loaded.config.image_policy.as_deref());
    let anchor = output::anchor(policy.or(loaded.file.as_deref()));
    let ManifestArgs { threshold, output, .. } = &args.manifests;
    output::finish(&report, output, &threshold.threshold(&loaded.config), (global, anchor))
}

/// An existing path, `./` or `/` is a path, all else an image; what could be either is refused.
pub(super) fn sort_targets(targets: &[String]) -> Result<Targets, Failure> {
    let mut sorted = Targets::default();
    for target in targets {
        let written_as_path = target.starts_with("./") || target.starts_with("../") || target.starts_with('/');
        let exists = Path::new(target).exists();
        let has_host = target.split_once('/').is_some_and(|(first, _)| first.contains('.') || first == "localhost");
        let named_image = ImageReference::parse(target).is_ok() && (target.contains([':', '@']) || has_host);
        match (written_as_path || target == "-", exists, named_image) {
            (true, ..) | (false, true, false) => sorted.paths.push(target.into()),
            (false, true, true) => {
                return Err(Failure::usage(format!(
                    "'{target}' is a file and an image; write ./{target} for the file"
                )));
            }
            (false, false, _) if ImageReference::parse(target).is_ok() => {
                sorted.images.push(target.clone());
                sorted.unlikely.extend((!named_image).then(|| target.clone()));
            }
            (false, false, _) => {
                return Err(Failure::usage(format!("'{target}' is neither an existing path nor an image reference")));
            }
        }
    }
    Ok(sorted)
}

/// The target branch of a pull request (GitHub Actions, GitLab CI), by its full name: the change may bring a tag
/// `origin/main`.
fn target_branch(environment: &BTreeMap<String, String>) -> Option<String> {
    ["GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"]
        .into_iter()
        .filter_map(|name| environment.get(name))
        .find(|branch| !branch.trim().is_empty())
        .map(|branch| format!("refs/remotes/origin/{branch}"))
}

/// Where configuration, policies and exceptions are read from: `--config` names files that the change does not reach;
/// without it they come from the base, where there is one.
fn source(args: &GateArgs, global: &GlobalArgs, environment: &BTreeMap<String, String>) -> Result<FileSource, Failure> {
    match (&global.config, &args.base) {
        (Some(_), Some(_)) => Err(Failure::usage("--config and --base both say where the rules are; name one of them")),
        (Some(_), None) => Ok(FileSource::WorkingTree),
        (None, base) => match base.clone().or_else(|| target_branch(environment)) {
            Some(reference) => FileSource::git(&reference).map_err(Failure::usage),
            None => Ok(FileSource::WorkingTree),
        },
    }
}

fn load_config(
    source: &FileSource,
    global: &GlobalArgs,
    environment: &BTreeMap<String, String>,
) -> Result<LoadedConfig, Failure> {
    let FileSource::GitRef { root, .. } = source else { return global.load_config() };
    let file = nearest_config(source, root)?;
    let bytes = file.as_deref().map(|file| source.read(file)).transpose().map_err(Failure::usage)?;
    parse(file, bytes.unwrap_or_default(), environment, &|file| look_in(source, file)).map_err(Failure::usage)
}

/// Rules come from the base, and what speaks to registries from this machine.
fn look_in(source: &FileSource, file: &NamedFile) -> Result<(), String> {
    match file.used_for {
        Use::Rules => match source.has(&file.path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("is not in {}; add it there, or correct the path", source.describe())),
            Err(error) => Err(format!("could not be looked for: {error}")),
        },
        Use::Registries => files::on_disk(file),
        Use::Cluster | Use::Secrets | Use::Daemon => Ok(()),
    }
}

/// The nearest configuration of the base, from the working directory up to the repository root.
fn nearest_config(source: &FileSource, root: &Path) -> Result<Option<PathBuf>, Failure> {
    let working = std::env::current_dir().and_then(|working| working.canonicalize()).ok();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let folders = working.as_deref().unwrap_or(&root).ancestors().take_while(|folder| folder.starts_with(&root));
    for file in folders.map(|folder| folder.join(FILE_NAME)) {
        if source.has(&file).map_err(Failure::usage)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn load_judge(
    args: &GateArgs,
    global: &GlobalArgs,
    (source, loaded): (&FileSource, &LoadedConfig),
) -> Result<Judge, Failure> {
    let config: &Config = &loaded.config;
    let mut settings = args.manifests.rules.settings(config);
    if let Some(policy) = &args.image_policy {
        settings.image_policy = Some(policy.clone());
    }
    args::judge(&settings, source, args::registry((config, source), &args.registry, global)?)
}

async fn judge_targets(
    (args, targets): (&GateArgs, &Targets),
    judge: &Judge,
    rules: (&Config, &FileSource),
    options: &JudgeOptions,
) -> Result<(Judged, usize), Failure> {
    let inputs = input::read(&targets.paths, &args.manifests.namespace, rules.0)?;
    let world = World::of_files(&inputs.objects, args.manifests.partial);
    let mut judged = judge.objects(&inputs.objects, &world, options).await;
    judged.merge(encrypted::judge(judge, (inputs.unreadable, &inputs.encrypted), rules, options)?);
    if !judge.has_image_policy() {
        let uses: Vec<ImageUse> = inputs
            .objects
            .iter()
            .flat_map(|object| image_uses(object, &object.reference(world.top_owner(object))))
            .collect();
        if !uses.is_empty() {
            output::say("images were not judged: no image policy is configured; name one with --image-policy");
        }
        judged.merge(judge.unasked_images(&uses, options));
    }
    let named: Vec<ImageUse> = targets.images.iter().map(|image| ImageUse::named(image)).collect();
    judged.merge(judge.images(&named, options).await);
    Ok((judged, inputs.objects.len()))
}

fn configuration_name(source: &FileSource, loaded: &LoadedConfig) -> String {
    let file = loaded.file.as_ref().map_or_else(|| "(built-in)".to_owned(), |file| file.display().to_string());
    format!("configuration {file} from {}", source.describe())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(targets: &[&str]) -> Result<Targets, String> {
        let owned: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        sort_targets(&owned).map_err(|failure| failure.message)
    }

    #[test]
    fn what_exists_or_is_written_as_a_path_is_a_path_and_all_else_an_image() {
        let targets = sorted(&["./missing.yaml", "src", "quay.io/org/app:1", "busybox"]).unwrap();
        assert_eq!(targets.paths, [PathBuf::from("./missing.yaml"), PathBuf::from("src")]);
        assert_eq!(targets.images, ["quay.io/org/app:1", "busybox"]);
        assert_eq!(targets.unlikely, ["busybox"], "as good as a path that is not there");
        assert!(sorted(&["Not An Image"]).unwrap_err().contains("neither an existing path nor an image"));
    }

    #[test]
    fn a_pull_request_is_judged_by_its_target_branch() {
        let environment = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(target_branch(&environment("GITHUB_BASE_REF", "main")).as_deref(), Some("refs/remotes/origin/main"));
        assert_eq!(target_branch(&environment("GITHUB_BASE_REF", "")), None);
        assert_eq!(target_branch(&environment("GITHUB_BASE_REF", " ")), None);
        assert_eq!(
            target_branch(&environment("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "dev")).as_deref(),
            Some("refs/remotes/origin/dev")
        );
    }
}
