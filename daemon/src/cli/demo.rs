//! `portreeve demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use portreeve_reports::gate::ExitCode;

use super::args::GlobalArgs;
use super::serve::read_files;
use super::{Failure, Outcome};
use crate::demo::{DemoAddresses, DemoFolder};
use crate::serve::{self, ServeOptions};

/// Run everything on an embedded example: a registry, images and a folder as the cluster.
///
/// Examples:
///   portreeve demo                  then open http://127.0.0.1:8080/ and edit a file below .demo/manifests
///   portreeve demo --dir /tmp/demo
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DemoArgs {
    /// Folder of the demo's files; made anew at every start.
    #[arg(long, value_name = "FOLDER", default_value = ".demo")]
    dir: PathBuf,
    /// Address of the page.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of health and metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    metrics_listen: SocketAddr,
    /// Address of the registry.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5001")]
    registry_listen: SocketAddr,
}

/// Runs the command.
pub(super) fn run(args: &DemoArgs, global: &GlobalArgs) -> Outcome {
    let listener = std::net::TcpListener::bind(args.registry_listen).map_err(|error| {
        Failure::usage(format!(
            "the demo's registry cannot listen on {}: {error}; name another address with --registry-listen",
            args.registry_listen
        ))
    })?;
    let folder = DemoFolder::prepare(&args.dir).map_err(Failure::usage)?;
    let addresses = DemoAddresses {
        registry: listener.local_addr().map_err(Failure::other)?,
        listen: args.listen,
        metrics: args.metrics_listen,
    };
    let loaded = folder.fill(addresses).map_err(Failure::usage)?;
    let (rules, opening, registry) = read_files(&loaded.config, global)?;
    let announce = vec![
        format!("edit: {}", folder.manifests().display()),
        format!("gate: portreeve gate --config {} {}", folder.config_file().display(), folder.manifests().display()),
    ];
    let demo_registry = Some((listener, folder.layout()));
    serve::run(ServeOptions { config: loaded.config, rules, opening, registry, announce, demo_registry })
        .map_err(Failure::of_daemon)?;
    Ok(ExitCode::Clean)
}
