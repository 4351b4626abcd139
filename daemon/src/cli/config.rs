//! `portreeve config`: the configuration in force, where each value comes from, and its schema.

use clap::{Args, Subcommand};
use portreeve_reports::gate::ExitCode;

use super::args::GlobalArgs;
use super::{Failure, Outcome, output};
use crate::config::{Use, schema, show};

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
    /// Print each value that is set; all that is wrong, missing files too, ends with exit 2.
    Show {
        /// Print where each value comes from (file, line and column, or variable), and the defaults in force.
        #[arg(long)]
        origin: bool,
    },
    /// Print the JSON schema of the configuration, for editors and checks.
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
    let lines = show::lines(&loaded, origin);
    lines.iter().try_for_each(|line| output::print(&format!("{line}\n")))?;
    if lines.is_empty() {
        output::say("nothing is set; every value has its default");
    }
    Ok(ExitCode::Clean)
}
