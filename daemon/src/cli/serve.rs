//! `portreeve serve`: the daemon.

use clap::Args;
use portreeve_reports::gate::ExitCode;

use super::args::{GlobalArgs, registry_of_daemon};
use super::{Failure, Outcome};
use crate::config::{ClusterSource, Config, Use};
use crate::judge::secrets::Opening;
use crate::judge::{FileSource, JudgeSettings, Rules};
use crate::registry::RegistryClient;
use crate::serve::{self, ServeOptions};

/// Run the daemon: watch, rescan, admit, serve the page and metrics.
///
/// Examples:
///   portreeve serve --config portreeve.yaml
///
/// The first SIGTERM or Ctrl-C drains and exits 0, the second ends at once.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ServeArgs {}

/// Runs the command.
pub(super) fn run(_args: &ServeArgs, global: &GlobalArgs) -> Outcome {
    let config = global.load_config_for(&Use::ALL)?.config;
    // What is wrong in files comes before what is taken on the machine, and all of it at once.
    let (rules, opening, registry) = read_files(&config, global)?;
    let (announce, demo_registry) = (Vec::new(), None);
    let options = ServeOptions { config, rules, opening, registry, announce, demo_registry };
    serve::run(options).map_err(Failure::of_daemon)?;
    Ok(ExitCode::Clean)
}

/// What the daemon judges by, opens files with and asks; or all that is wrong in the files of it.
pub(super) fn read_files(config: &Config, global: &GlobalArgs) -> Result<(Rules, Opening, RegistryClient), Failure> {
    let tree = &FileSource::WorkingTree;
    let rules = Rules::load(&JudgeSettings::of(config), tree).map_err(|errors| errors.to_string());
    let opening = match config.cluster {
        ClusterSource::Folder { .. } => Opening::load(&config.secrets.identities, tree),
        ClusterSource::Kubeconfig { .. } | ClusterSource::InCluster => Ok(Opening::default()),
    };
    let registry = registry_of_daemon(config, global).map_err(|failure| failure.message);
    match (rules, opening, registry) {
        (Ok(rules), Ok(opening), Ok(registry)) => Ok((rules, opening, registry)),
        (rules, opening, registry) => {
            let problems: Vec<String> = [rules.err(), opening.err(), registry.err()].into_iter().flatten().collect();
            Err(Failure::usage(problems.join("\n")))
        }
    }
}
