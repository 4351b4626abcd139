//! `portreeve config show`: the configuration in force, and where each value comes from.

use clap::{Args, Subcommand};
use portreeve_reports::gate::ExitCode;
use portreeve_reports::source::{Node, Value};

use super::args::GlobalArgs;
use super::{Outcome, output};
use crate::config::LoadedConfig;

/// Show the configuration in force.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print each value that is set; what is not set has its default (docs/configuration.md).
    Show {
        /// Print where each value comes from.
        #[arg(long)]
        origin: bool,
    },
}

/// Runs the command.
pub(super) fn run(args: &ConfigArgs, global: &GlobalArgs) -> Outcome {
    let ConfigCommand::Show { origin } = args.command;
    let loaded = global.load_config()?;
    let mut lines = Vec::new();
    flatten(&loaded.tree, "", &mut |path, node| lines.push(line(path, node, origin.then_some(&loaded))));
    lines.iter().try_for_each(|line| output::print(line))?;
    if lines.is_empty() {
        output::say("nothing is set; every value has its default");
    }
    Ok(ExitCode::Clean)
}

fn flatten(node: &Node, path: &str, say: &mut impl FnMut(&str, &Node)) {
    match &node.value {
        Value::Map(map) => {
            for entry in map.iter() {
                let path = if path.is_empty() { entry.key.to_string() } else { format!("{path}.{}", entry.key) };
                flatten(&entry.node, &path, say);
            }
        }
        Value::List(items) if items.iter().any(|item| item.as_map().is_some()) => {
            for (index, item) in items.iter().enumerate() {
                flatten(item, &format!("{path}[{index}]"), say);
            }
        }
        _ => say(path, node),
    }
}

fn line(path: &str, node: &Node, loaded: Option<&LoadedConfig>) -> String {
    let value = node.to_json();
    match loaded {
        Some(loaded) => format!("{path}: {value}  # {}\n", origin_of(node, loaded)),
        None => format!("{path}: {value}\n"),
    }
}

fn origin_of(node: &Node, loaded: &LoadedConfig) -> String {
    let variable = loaded.variables.get(node.place.column as usize).filter(|_| node.place.line == 0);
    match (variable, &loaded.file) {
        (Some(variable), _) => variable.clone(),
        (None, Some(file)) => format!("{}:{}", file.display(), node.place),
        (None, None) => "default".to_owned(),
    }
}
