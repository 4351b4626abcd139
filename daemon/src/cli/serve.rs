//! `portreeve serve`: the daemon.

use clap::Args;
use portreeve_reports::gate::ExitCode;

use super::args::{GlobalArgs, RegistryArgs, registry};
use super::{Failure, Outcome};
use crate::config::Use;
use crate::judge::FileSource;
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
    let loaded = global.load_config_for(&Use::ALL)?;
    let registry = registry((&loaded.config, &FileSource::WorkingTree), &RegistryArgs::default(), global)?;
    serve::run(ServeOptions { config: loaded.config, registry, announce: Vec::new(), demo_registry: None })
        .map_err(Failure::of_daemon)?;
    Ok(ExitCode::Clean)
}
