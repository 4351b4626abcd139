//! `portreeve review`: the admission door from a file.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use portreeve_policies::world::World;
use portreeve_reports::Cause;
use portreeve_reports::gate::ExitCode;

use super::args::{self, GlobalArgs, RegistryArgs, RuleArgs};
use super::{Failure, Outcome, block_on, output};
use crate::config::valid::AdmissionScope;
use crate::judge::review::{ReviewPath, request::MAX_REVIEW_BYTES, review};
use crate::judge::{FileSource, JudgeOptions};
use crate::registry::Deadline;
use crate::runtime::files::open_named;

/// Answer an AdmissionReview from a file as the admission webhook would.
///
/// Examples:
///   portreeve review review.json              what the API server does: /mutate, then /validate of what came of it
///   portreeve review --mutate review.json     the answer of /mutate alone: images pinned to digests
///   portreeve review --validate review.json   the answer of /validate alone: a Pod that runs by a tag is denied
///
/// Exit codes: 0 a response was written, allowed or not · 2 the file is not an AdmissionReview.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ReviewArgs {
    /// AdmissionReview (v1 or v1beta1) in JSON; `-` for standard input.
    file: PathBuf,
    /// Answer as /mutate alone.
    #[arg(long, conflicts_with = "validate")]
    mutate: bool,
    /// Answer as /validate alone.
    #[arg(long)]
    validate: bool,
    /// Image policy.
    #[arg(long, value_name = "FILE")]
    image_policy: Option<PathBuf>,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Runs the command.
pub(super) fn run(args: &ReviewArgs, global: &GlobalArgs) -> Outcome {
    let loaded = global.load_config()?;
    let mut settings = args.rules.settings(&loaded.config);
    settings.image_policy = args.image_policy.clone().or(settings.image_policy);
    let registry = args::registry((&loaded.config, &FileSource::WorkingTree), &args.registry, global)?;
    let judge = args::judge(&settings, &FileSource::WorkingTree, registry)?;
    let scope = loaded.config.admission.map_or_else(AdmissionScope::standard, |admission| admission.scope);
    let bytes = read(&args.file)?;
    let path = match (args.mutate, args.validate) {
        (true, _) => ReviewPath::Mutate,
        (false, true) => ReviewPath::Validate,
        (false, false) => ReviewPath::MutateThenValidate,
    };
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(global.timeout()) };
    // One object is all that is known here: what it relates to cannot be seen.
    let world = World::empty(Cause::NotVisible);
    let reviewed = block_on(global, async {
        review(&judge, &world, &scope, (&bytes, path), &options).await.map_err(Failure::usage)
    })?;
    output::print(&format!("{}\n", reviewed.response))?;
    Ok(ExitCode::Clean)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| Failure::usage(format!("{}: {error}", file.display()));
    let cap = MAX_REVIEW_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(cap).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        open_named(file).map_err(fail)?.take(cap).read_to_end(&mut bytes).map_err(fail)?;
    }
    Ok(bytes)
}
