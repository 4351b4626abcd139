//! `portreeve list`: controls, frameworks, codes, the report schema.

use clap::{Args, ValueEnum};
use portreeve_policies::control::builtin_controls;
use portreeve_policies::framework::builtin_frameworks;
use portreeve_reports::formats::json::SCHEMA;
use portreeve_reports::gate::ExitCode;

use super::{Failure, Outcome, output};
use crate::judge::explain;

/// List controls, frameworks, codes or the report schema.
///
/// Examples:
///   portreeve list controls
///   portreeve list frameworks
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ListArgs {
    /// What to list.
    #[arg(value_enum)]
    what: Listing,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Listing {
    /// The controls that posture is judged by.
    Controls,
    /// The frameworks, with how much of each is implemented.
    Frameworks,
    /// Every code a finding can have.
    Codes,
    /// The JSON schema of json-v1 reports.
    Schema,
}

/// Runs the command.
pub(super) fn run(args: &ListArgs) -> Outcome {
    let text = match args.what {
        Listing::Controls => controls()?,
        Listing::Frameworks => frameworks()?,
        Listing::Codes => codes()?,
        Listing::Schema => SCHEMA.to_owned(),
    };
    output::print(&text)?;
    Ok(ExitCode::Clean)
}

fn controls() -> Result<String, Failure> {
    let controls = builtin_controls().map_err(Failure::other)?;
    let line = |control: &portreeve_policies::control::Control| {
        format!("{:<8} {:<9} {}\n", control.code, control.severity, control.title)
    };
    Ok(controls.iter().map(line).collect())
}

fn codes() -> Result<String, Failure> {
    let entries = explain::entries().map(|entry| format!("{:<8} {:<9} {}\n", entry.code, entry.severity, entry.title));
    Ok(format!("{}{}", entries.collect::<String>(), controls()?))
}

fn frameworks() -> Result<String, Failure> {
    let controls = builtin_controls().map_err(Failure::other)?;
    let frameworks = builtin_frameworks().map_err(Failure::other)?;
    let line = |framework: &portreeve_policies::framework::Framework| {
        let missing = framework.unimplemented(&controls);
        let all = framework.controls.len();
        let codes: Vec<&str> = missing.iter().map(portreeve_reports::Code::as_str).collect();
        let rest = if codes.is_empty() { String::new() } else { format!(" (not yet: {})", codes.join(" ")) };
        format!("{:<12} {}: {} of {all} controls{rest}\n", framework.id, framework.title, all - missing.len())
    };
    Ok(frameworks.iter().map(line).collect())
}
