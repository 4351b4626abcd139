//! `portreeve check`: posture and credentials of manifests, or of the cluster.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::args::{self, GlobalArgs, ManifestArgs, RegistryArgs};
use super::seen::Looking;
use super::{Outcome, encrypted, output};
use crate::config::Use;
use crate::judge::{FileSource, JudgeOptions};
use crate::registry::Deadline;

/// Judge the posture and the credentials of manifests, or of the cluster.
///
/// Examples:
///   portreeve check manifests/                            all controls, findings from low upwards fail
///   portreeve check --framework nsa --fail-on high .      one framework, fail from high upwards
///   helm template ./chart | portreeve check -             what a chart renders
///   portreeve check --format sarif=out.sarif manifests/   a file for code scanning, nothing on the terminal
///   portreeve check cluster                               the cluster of the configuration, once
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckArgs {
    /// Files and folders of manifests, `-` for standard input, or the word `cluster`.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    manifests: ManifestArgs,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs, global: &GlobalArgs) -> Outcome {
    let _heartbeat = output::heartbeat()?;
    let of_cluster = args.paths.iter().any(|path| path.as_os_str() == "cluster");
    let loaded = match of_cluster {
        true => global.load_config_for(&[Use::Rules, Use::Registries, Use::Cluster])?,
        false => global.load_config()?,
    };
    let registry = args::registry((&loaded.config, &FileSource::WorkingTree), &RegistryArgs::default(), global)?;
    let ManifestArgs { rules, threshold, output, .. } = &args.manifests;
    let settings = rules.settings(&loaded.config);
    let judge = args::judge(&settings, &FileSource::WorkingTree, registry)?.keeping(output.keep());
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(global.timeout()) };
    let looking = Looking { paths: &args.paths, namespace: &args.manifests.namespace, partial: args.manifests.partial };
    let seen = looking.look(global, &loaded.config, options.deadline)?;
    let mut judged = judge.posture(&seen.objects, &seen.world, &options);
    judged.merge(judge.credentials(&seen.credentials, &seen.world, &options));
    let source = (&loaded.config, &FileSource::WorkingTree);
    judged.merge(encrypted::judge(&judge, (seen.unreadable, &seen.encrypted), source, &options)?);
    judged.findings.extend(judge.audit_exceptions(&judged.usage, options.now, &seen.asked));
    let report = judge.report(judged, seen.objects.len());
    let anchor = output::anchor(loaded.file.as_deref());
    output::finish(&report, output, &threshold.threshold(&loaded.config), (global, anchor))
}
