//! `portreeve check`: the posture of manifests, or of the cluster.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use portreeve_policies::world::World;

use super::args::{self, GlobalArgs, ManifestArgs, RegistryArgs};
use super::input::{self, Inputs};
use super::{Failure, Outcome, block_on, output};
use crate::cluster::client::{KubeSource, connect};
use crate::cluster::once;
use crate::config::ClusterSource;
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
    #[command(flatten)]
    manifests: ManifestArgs,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs, global: &GlobalArgs) -> Outcome {
    let _heartbeat = output::heartbeat()?;
    let loaded = global.load_config()?;
    let registry = args::registry((&loaded.config, &FileSource::WorkingTree), &RegistryArgs::default(), global)?;
    let ManifestArgs { rules, threshold, output, .. } = &args.manifests;
    let settings = rules.settings(&loaded.config);
    let judge = args::judge(&settings, &FileSource::WorkingTree, registry)?.keeping(output.keep());
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(global.timeout) };
    let (mut judged, objects_read) = if args.paths.iter().any(|path| path.as_os_str() == "cluster") {
        judge_cluster(args, global, &loaded.config.cluster, (&judge, &options))?
    } else {
        judge_files(args, &judge, &options)?
    };
    judged.findings.extend(judge.audit_exceptions(&judged.usage, options.now));
    let report = judge.report(judged, objects_read);
    let anchor = output::anchor(loaded.file.as_deref());
    output::finish(&report, output, &threshold.threshold(&loaded.config), (global, anchor))
}

fn judge_files(args: &CheckArgs, judge: &Judge, options: &JudgeOptions) -> Result<(Judged, usize), Failure> {
    Ok(judge_inputs(input::read(&args.paths, &args.manifests.namespace)?, args, judge, options))
}

fn judge_inputs(inputs: Inputs, args: &CheckArgs, judge: &Judge, options: &JudgeOptions) -> (Judged, usize) {
    let world = World::of_files(&inputs.objects, args.manifests.partial);
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
            let inputs = input::read(std::slice::from_ref(path), &args.manifests.namespace)?;
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
