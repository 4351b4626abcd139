//! `portreeve config`: the configuration in force, where each value comes from, and its schema.

use clap::{Args, Subcommand};
use portreeve_reports::gate::ExitCode;

use super::args::{self, GlobalArgs};
use super::{Failure, Outcome, output};
use crate::config::valid::PlatformSource;
use crate::config::{Config, Use, schema, show};
use crate::judge::secrets::identities;
use crate::judge::{FileSource, JudgeSettings, Rules};
use crate::platform::build::Validated;

/// Show the configuration in force, or its schema.
///
/// Examples:
///   portreeve config show --origin
///   portreeve config schema > portreeve-config.schema.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print each value that is set; all that is wrong, also in the files that it names, ends with exit 2.
    ///
    /// Examples:
    ///   portreeve config show
    ///   portreeve config show --origin
    #[command(verbatim_doc_comment)]
    Show {
        /// Print where each value comes from (file, line and column, or variable), and the defaults in force.
        #[arg(long)]
        origin: bool,
    },
    /// Print the JSON schema of the configuration, for editors and checks.
    ///
    /// Examples:
    ///   portreeve config schema > portreeve-config.schema.json
    #[command(verbatim_doc_comment)]
    Schema,
}

/// Runs the command.
pub(super) fn run(args: &ConfigArgs, global: &GlobalArgs) -> Outcome {
    match args.command {
        ConfigCommand::Show { origin } => show_config(global, origin),
        ConfigCommand::Schema => {
            let schema = serde_json::to_string_pretty(&schema::schema()).map_err(Failure::other)?;
            output::print(&format!("{schema}\n"))?;
            Ok(ExitCode::Clean)
        }
    }
}

fn show_config(global: &GlobalArgs, origin: bool) -> Outcome {
    let loaded = global.load_config_for(&Use::ALL)?;
    check_contents(&loaded.config, global)?;
    let lines = show::lines(&loaded, origin);
    lines.iter().try_for_each(|line| output::print(&format!("{line}\n")))?;
    if lines.is_empty() {
        output::say("nothing is set; every value has its default");
    }
    Ok(ExitCode::Clean)
}

/// All that is wrong in the files that the configuration names.
fn check_contents(config: &Config, global: &GlobalArgs) -> Result<(), Failure> {
    let tree = &FileSource::WorkingTree;
    let rules = Rules::check(&JudgeSettings::of(config), tree).map_err(|errors| errors.to_string());
    let registry = args::registry_of_daemon(config, global).map_err(|failure| failure.message);
    let identities = identities(&config.secrets.identities).map_err(|why| format!("'secrets.identities': {why}"));
    // A resource is read by the daemon, which says in its status what is wrong with it.
    let platform = config.platform.as_ref().and_then(|platform| match &platform.source {
        PlatformSource::File(file) => Some(Validated::load(file)),
        PlatformSource::Resource { .. } => None,
    });
    let platform = platform.transpose().map_err(|error| error.to_string());
    let problems = [rules.err(), registry.err(), identities.err(), platform.err()];
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure::usage(problems.join("\n"))) }
}
