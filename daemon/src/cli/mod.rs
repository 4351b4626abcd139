//! The command line: one file a command. Data goes to stdout, everything else to stderr; the exit code is the verdict.

mod args;
mod check;
mod completions;
mod config;
mod crds;
mod credentials;
mod demo;
mod doctor;
mod encrypted;
mod explain;
mod gate;
mod identity;
mod image;
mod input;
mod list;
mod output;
mod platform;
mod review;
mod secrets;
mod seen;
mod serve;
mod verify;
mod verify_bundle;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use portreeve_reports::Cause;
use portreeve_reports::gate::ExitCode as Exit;

use crate::runtime::errors::chain;
use args::GlobalArgs;

/// A command that cannot give a verdict: what happened, and the exit code it stands for.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// Exit 2: the call, the configuration or a policy is wrong.
    fn usage(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// Exit 2, with all that an error says about itself.
    fn usage_by(error: &dyn std::error::Error) -> Self {
        Self::usage(chain(error))
    }

    /// Exit 4 or 5: what was needed could not be had.
    fn not_had(cause: Cause, message: impl std::fmt::Display) -> Self {
        let exit = if cause == Cause::Forbidden { Exit::Forbidden } else { Exit::Unknown };
        Self { exit, message: message.to_string() }
    }

    /// The exit that the daemon's end stands for.
    fn of_daemon(error: crate::serve::ServeError) -> Self {
        Self { exit: error.exit(), message: chain(&error) }
    }

    /// Exit 1: anything else.
    fn other(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Unclassified, message: message.to_string() }
    }
}

/// What a command comes to.
type Outcome = Result<Exit, Failure>;

/// Security and supply-chain auditor for data-science platforms on Kubernetes.
///
/// Examples:
///   portreeve demo                                       a registry, a folder as cluster, findings on a page
///   portreeve check manifests/                           posture of manifests
///   portreeve gate manifests/ --image-policy policy.yaml the whole verdict for CI
///   portreeve verify --key cosign.pub quay.io/org/app:1  is this image signed by this key?
///   portreeve platform plan -f platform.yaml             what would change in the cluster, and is it clean?
///   portreeve secrets edit secrets/hub.yaml              an encrypted file in the editor
///   portreeve serve --config portreeve.yaml              the daemon
///   portreeve explain C-0057                             why a code matters and how to fix it
///
/// Exit codes: 0 verdict reached, nothing at or above the threshold · 1 unclassified error · 2 usage or configuration ·
/// 3 nothing to check · 4 refused (authentication or authorization) · 5 verdict unknown that could have been had ·
/// 6 coverage below the threshold · 10 findings · 11 unsigned · 12 signed but not trusted · 13 attestation or policy ·
/// 14 secret integrity · 15 credential · 101 bug · 130, 143 signals.
#[derive(Debug, Parser)]
#[command(name = "portreeve", version, verbatim_doc_comment, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// What each command says of itself, examples first, stands with its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Check(check::CheckArgs),
    Gate(gate::GateArgs),
    Verify(verify::VerifyArgs),
    VerifyBundle(verify_bundle::VerifyBundleArgs),
    Review(review::ReviewArgs),
    Image(image::ImageArgs),
    Platform(platform::PlatformArgs),
    Secrets(secrets::SecretsArgs),
    Credentials(credentials::CredentialsArgs),
    Explain(explain::ExplainArgs),
    List(list::ListArgs),
    Crds(crds::CrdsArgs),
    Config(config::ConfigArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// Runs a command to its exit code.
pub fn run(cli: Cli) -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a crypto provider was installed before");
    }
    dispatch(cli.command, &cli.global).unwrap_or_else(|failure| {
        output::complain(&failure.message);
        failure.exit.into()
    })
}

fn dispatch(command: Command, global: &GlobalArgs) -> Result<ExitCode, Failure> {
    let exit = match command {
        // Those are sops's own.
        Command::Secrets(args) => return Ok(secrets::run(&args, global)),
        Command::Serve(args) => serve::run(&args, global),
        Command::Demo(args) => demo::run(&args, global),
        Command::Check(args) => check::run(&args, global),
        Command::Gate(args) => gate::run(&args, global),
        Command::Verify(args) => verify::run(&args, global),
        Command::VerifyBundle(args) => verify_bundle::run(&args),
        Command::Review(args) => review::run(&args, global),
        Command::Image(args) => image::run(&args, global),
        Command::Credentials(args) => credentials::run(&args, global),
        Command::Platform(args) => platform::run(&args, global),
        Command::Explain(args) => explain::run(&args),
        Command::List(args) => list::run(&args),
        Command::Crds(args) => crds::run(&args),
        Command::Config(args) => config::run(&args, global),
        Command::Doctor(args) => doctor::run(&args, global),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
    };
    exit.map(Into::into)
}

/// What waits on this thread.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)
}

/// Runs the waiting part of a command on this thread, within `--timeout`.
fn block_on<T>(global: &GlobalArgs, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime()?;
    // The commands' own deadlines end first and keep the verdicts reached so far; this is the last resort.
    let last_resort = global.timeout() + std::time::Duration::from_secs(5);
    runtime.block_on(async {
        tokio::time::timeout(last_resort, work).await.unwrap_or_else(|_| {
            Err(Failure { exit: Exit::Unknown, message: format!("nothing was reached within {:?}", global.timeout()) })
        })
    })
}
