//! What `portreeve platform` is told.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Deploy a platform and keep it as declared.
///
/// Examples:
///   portreeve platform plan                        what would change, with owners of fields, images and verdicts
///   portreeve platform apply --yes                 apply what passes the gate, delete what is no longer declared
///   portreeve platform status                      components, their objects and health
///   portreeve platform suspend hub                 leave a component alone while you work on it
///   portreeve platform destroy --yes               take everything down but claims, volumes, namespaces, definitions
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct PlatformArgs {
    #[command(subcommand)]
    pub(super) command: PlatformCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum PlatformCommand {
    /// Show what applying would do. Nothing is written: the API server answers dry runs.
    ///
    /// Examples:
    ///   portreeve platform plan
    ///   portreeve platform plan --file staging/platform.yaml --format json
    #[command(verbatim_doc_comment)]
    Plan(WhichArgs),
    /// Apply what passes the gate, wave by wave, and delete what is no longer declared.
    ///
    /// Examples:
    ///   portreeve platform apply
    ///   portreeve platform apply --yes --no-wait
    ///   portreeve platform apply --yes --confirm-prune        delete more than maxPrune, or most components
    #[command(verbatim_doc_comment)]
    Apply(ApplyArgs),
    /// Show components, their objects and health.
    ///
    /// Examples:
    ///   portreeve platform status
    ///   portreeve platform status --format json
    #[command(verbatim_doc_comment)]
    Status(WhichArgs),
    /// Leave components alone (all without names) until they are resumed; survives restarts.
    ///
    /// Examples:
    ///   portreeve platform suspend hub
    ///   portreeve platform suspend --dry-run
    #[command(verbatim_doc_comment)]
    Suspend(SomeArgs),
    /// Keep components again (all without names).
    ///
    /// Examples:
    ///   portreeve platform resume hub
    #[command(verbatim_doc_comment)]
    Resume(SomeArgs),
    /// Delete what the platform has put into the cluster, in reverse. It stays suspended until it is resumed.
    ///
    /// Examples:
    ///   portreeve platform destroy --dry-run
    ///   portreeve platform destroy --yes
    #[command(verbatim_doc_comment)]
    Destroy(DestroyArgs),
}

/// Which platform, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct WhichArgs {
    /// Platform file [default: platform.file of the configuration, else platform.yaml].
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    pub(super) which: WhichArgs,
    /// Only print the plan.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask before objects are deleted or taken over.
    #[arg(long)]
    pub(super) yes: bool,
    /// Delete more objects than `maxPrune` allows, of a component or of all, or most of the components.
    #[arg(long)]
    pub(super) confirm_prune: bool,
    /// Do not wait until components are healthy; those that depend on them are then left for later.
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct SomeArgs {
    #[command(flatten)]
    pub(super) which: WhichArgs,
    /// Only print what would be.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Components; the whole platform when none is named.
    pub(super) components: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct DestroyArgs {
    #[command(flatten)]
    pub(super) which: WhichArgs,
    /// Only print what would be deleted.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub(super) yes: bool,
}
