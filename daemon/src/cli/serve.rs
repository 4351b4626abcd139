//! `portreeve serve`: the daemon.

use clap::Args;
use portreeve_reports::gate::ExitCode;

use super::args::{GlobalArgs, RegistryArgs, registry};
use super::{Failure, Outcome};
use crate::config::{Config, Use};
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
    let (rules, registry) = rules_and_registry(&config, global)?;
    let (announce, demo_registry) = (Vec::new(), None);
    serve::run(ServeOptions { config, rules, registry, announce, demo_registry }).map_err(Failure::of_daemon)?;
    Ok(ExitCode::Clean)
}

/// What the daemon judges by and whom it asks.
pub(super) fn rules_and_registry(config: &Config, global: &GlobalArgs) -> Result<(Rules, RegistryClient), Failure> {
    let rules = Rules::load(&JudgeSettings::of(config), &FileSource::WorkingTree).map_err(Failure::usage);
    let registry = registry((config, &FileSource::WorkingTree), &RegistryArgs::default(), global);
    both(rules, registry)
}

/// Both, or all that is wrong with either.
fn both<A, B>(one: Result<A, Failure>, other: Result<B, Failure>) -> Result<(A, B), Failure> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(Failure::usage(format!("{}\n{}", one.message, other.message))),
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    }
}
