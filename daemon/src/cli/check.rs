//! `portreeve check`: posture and credentials of manifests, or of the cluster.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::args::{self, GlobalArgs, RegistryArgs, RuleArgs, ThresholdArgs};
use super::output::{self, OutputArgs};
use super::seen::Looking;
use super::{Outcome, encrypted};
use crate::config::Use;
use crate::judge::{FileSource, JudgeOptions};
use crate::registry::Deadline;

/// Judge the posture and the credentials of manifests, or of the cluster.
///
/// Examples:
///   portreeve check manifests/                            all controls, findings from low upwards fail
///   portreeve check --framework nsa --fail-on high .      one framework, fail from high upwards
///   helm template ./chart | portreeve check -             what a chart renders
///   portreeve check --format sarif=out.sarif manifests/   for code scanning, table on the terminal
///   portreeve check cluster                               the cluster of the configuration, once
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckArgs {
    /// Files and folders of manifests, `-` for standard input, or the word `cluster`.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The files are a part of the world: what they do not hold is unknown, not missing.
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    rules: RuleArgs,
    #[command(flatten)]
    threshold: ThresholdArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs, global: &GlobalArgs) -> Outcome {
    let of_cluster = args.paths.iter().any(|path| path.as_os_str() == "cluster");
    let loaded = match of_cluster {
        true => global.load_config_for(&[Use::Rules, Use::Registries, Use::Cluster])?,
        false => global.load_config()?,
    };
    let registry = args::registry(&loaded.config, &RegistryArgs::default(), global)?;
    let settings = args.rules.settings(&loaded.config);
    let judge = args::judge(&settings, &FileSource::WorkingTree, registry)?.keeping(args.output.keep());
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(global.timeout) };
    let looking = Looking { paths: &args.paths, namespace: &args.namespace, partial: args.partial };
    let seen = looking.look(global, &loaded.config, options.deadline)?;
    let mut judged = judge.posture(&seen.objects, &seen.world, &options);
    judged.merge(judge.credentials(&seen.credentials, &seen.world, &options));
    judged.merge(judge.excepted(seen.unreadable, Vec::new(), &options));
    let source = (&loaded.config, &FileSource::WorkingTree);
    judged.merge(encrypted::judge(&judge, &seen.encrypted, source, &options)?);
    judged.findings.extend(judge.audit_exceptions(&judged.usage, options.now));
    let report = judge.report(judged, seen.objects.len());
    output::finish(&report, &args.output, &args.threshold.threshold(&loaded.config), global)
}
