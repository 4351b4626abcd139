//! `portreeve check`: the posture of manifests, or of the cluster.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use portreeve_policies::world::World;

use super::args::{self, GlobalArgs, RegistryArgs, RuleArgs, ThresholdArgs};
use super::input::{self, Inputs};
use super::output::{self, OutputArgs};
use super::{Failure, Outcome, block_on};
use crate::cluster::client::{KubeSource, connect};
use crate::cluster::once;
use crate::config::{ClusterSource, Use};
use crate::judge::{FileSource, Judge, JudgeOptions, Judged};
use crate::registry::Deadline;

/// Judge the posture of manifests, or of the cluster.
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
    let (mut judged, objects_read) = if of_cluster {
        judge_cluster(args, global, &loaded.config.cluster, (&judge, &options))?
    } else {
        judge_files(args, &judge, &options)?
    };
    judged.findings.extend(judge.audit_exceptions(&judged.usage, options.now));
    let report = judge.report(judged, objects_read);
    output::finish(&report, &args.output, &args.threshold.threshold(&loaded.config), global)
}

fn judge_files(args: &CheckArgs, judge: &Judge, options: &JudgeOptions) -> Result<(Judged, usize), Failure> {
    Ok(judge_inputs(input::read(&args.paths, &args.namespace)?, args, judge, options))
}

fn judge_inputs(inputs: Inputs, args: &CheckArgs, judge: &Judge, options: &JudgeOptions) -> (Judged, usize) {
    let world = World::of_files(&inputs.objects, args.partial);
    let mut judged = judge.posture(&inputs.objects, &world, options);
    judged.merge(judge.excepted(inputs.unreadable, Vec::new(), options));
    (judged, inputs.objects.len())
}

fn judge_cluster(
    args: &CheckArgs,
    global: &GlobalArgs,
    source: &ClusterSource,
    (judge, options): (&Judge, &JudgeOptions),
) -> Result<(Judged, usize), Failure> {
    if args.paths.len() > 1 {
        return Err(Failure::usage("'cluster' is judged alone; write ./cluster for a file of that name"));
    }
    if global.offline {
        return Err(Failure::usage("'cluster' needs the network, which --offline blocks"));
    }
    let source = match source {
        ClusterSource::Folder { path, .. } => {
            let inputs = input::read(std::slice::from_ref(path), &args.namespace)?;
            return Ok(judge_inputs(inputs, args, judge, options));
        }
        ClusterSource::InCluster => KubeSource::InCluster,
        ClusterSource::Kubeconfig { file, context } => {
            KubeSource::Kubeconfig { file: file.clone(), context: context.clone() }
        }
    };
    let listing = block_on(global, async {
        let client = connect(&source).await.map_err(Failure::usage)?;
        once::list(&client, options.deadline).await.map_err(Failure::other)
    })?;
    let mut judged = judge.posture(&listing.objects, &listing.world, options);
    judged.merge(judge.excepted(listing.unreadable, Vec::new(), options));
    Ok((judged, listing.objects.len()))
}
