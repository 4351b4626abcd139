//! `portreeve doctor`: whether what the configuration names is there and lets us in, and what to do where it is not.

mod cluster;
mod keys;
mod registries;
mod store;
mod webhook;

use clap::{Args, ValueEnum};
use portreeve_reports::formats::text;
use portreeve_reports::gate::ExitCode;
use serde_json::{Value, json};

use super::args::{self, GlobalArgs};
use super::{Failure, Outcome, block_on, output};
use crate::config::{Config, Use};

/// Check that the daemon and the commands will find what they need, and say what to do where they will not.
///
/// Examples:
///   portreeve doctor
///   portreeve doctor --config portreeve.yaml --format json
///
/// Asked are: files and keys of the configuration, the store, the API server, its clock, our rights, the webhook, the registries.
/// Exits: 0 all is well, 10 something fails, 5 something could not be told, 2 the configuration is wrong.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DoctorArgs {
    /// Shape of the answer.
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    format: DoctorFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DoctorFormat {
    /// A line for each check.
    Table,
    /// One JSON document.
    Json,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Ok,
    Unknown,
    Fail,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was asked.
#[derive(Debug)]
struct Check {
    /// `cluster`, `rights`, `registry` …
    area: &'static str,
    status: Status,
    /// What is so.
    message: String,
    /// What to do about it; empty where all is well.
    remedy: String,
}

impl Check {
    fn ok(area: &'static str, message: impl Into<String>) -> Self {
        Self { area, status: Status::Ok, message: message.into(), remedy: String::new() }
    }

    fn fail(area: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { area, status: Status::Fail, message: message.into(), remedy: remedy.into() }
    }

    fn unknown(area: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { area, status: Status::Unknown, message: message.into(), remedy: remedy.into() }
    }

    fn line(&self) -> String {
        let remedy = if self.remedy.is_empty() { String::new() } else { format!("\n{:20}→ {}", "", self.remedy) };
        let shown = format!("{:8} {:10} {}{remedy}", self.status.as_str(), self.area, self.message);
        // What API servers and registries say is not to drive a terminal.
        let lines: Vec<_> = shown.lines().map(text::plain).collect();
        lines.join("\n")
    }

    fn json(&self) -> Value {
        json!({"area": self.area, "status": self.status.as_str(), "message": self.message, "remedy": self.remedy})
    }
}

/// Runs the command.
pub(super) fn run(args: &DoctorArgs, global: &GlobalArgs) -> Outcome {
    let config = global.load_config_for(&[])?.config;
    let mut checks = files(global);
    checks.extend(keys::check(&config));
    checks.extend(block_on(global, async { Ok(Box::pin(asked(&config, global)).await) })?);
    let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
    match args.format {
        DoctorFormat::Table => checks.iter().try_for_each(|check| output::print(&format!("{}\n", check.line())))?,
        DoctorFormat::Json => output::print(&format!("{:#}\n", document(worst, &checks)))?,
    }
    Ok(match worst {
        Status::Ok => ExitCode::Clean,
        Status::Unknown => ExitCode::Unknown,
        Status::Fail => ExitCode::Findings,
    })
}

fn document(worst: Status, checks: &[Check]) -> Value {
    let checks: Vec<Value> = checks.iter().map(Check::json).collect();
    json!({"schemaVersion": "doctor-v1", "status": worst.as_str(), "checks": checks})
}

/// A line for each file that is named and not there.
fn files(global: &GlobalArgs) -> Vec<Check> {
    match global.load_config_for(&Use::ALL) {
        Ok(loaded) => {
            let file =
                loaded.file.map_or_else(|| "none found, all defaults".to_owned(), |file| file.display().to_string());
            vec![Check::ok("files", format!("configuration: {file}; the files that it names can be read"))]
        }
        Err(failure) => failure
            .message
            .lines()
            .map(|problem| Check::fail("files", problem, "see `portreeve config show --origin`"))
            .collect(),
    }
}

async fn asked(config: &Config, global: &GlobalArgs) -> Vec<Check> {
    let store = Box::pin(store::check(config, (global.timeout(), global.offline))).await;
    let mut checks = vec![store];
    checks.extend(Box::pin(over_the_network(config, global)).await);
    checks
}

async fn over_the_network(config: &Config, global: &GlobalArgs) -> Vec<Check> {
    if global.offline {
        return vec![Check::unknown("network", "--offline blocks the network", "run it without --offline")];
    }
    let registry = args::registry_of_daemon(config, global);
    let (cluster, webhook, registries) = futures::join!(
        Box::pin(cluster::check(config, global.timeout())),
        Box::pin(webhook::check(config, global.timeout())),
        Box::pin(registries::check(config, registry, global.timeout())),
    );
    cluster.into_iter().chain(webhook).chain(registries).collect()
}

/// All that an error says about itself.
fn words(error: &dyn std::error::Error) -> String {
    Failure::usage_by(error).message
}
