//! `portreeve crds`: the CustomResourceDefinitions of the kinds of portreeve.dev.

use clap::Args;
use portreeve_api::crd;
use portreeve_reports::gate::ExitCode;

use super::{Outcome, output};

/// Print the CustomResourceDefinitions of Portreeve's own kinds.
///
/// Examples:
///   portreeve crds | kubectl apply --server-side -f -
///   portreeve crds > crds.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CrdsArgs {}

/// Runs the command.
pub(super) fn run(CrdsArgs {}: &CrdsArgs) -> Outcome {
    let documents: Vec<String> = crd::definitions().iter().map(crd::yaml).collect();
    output::print(&documents.join("---\n"))?;
    Ok(ExitCode::Clean)
}
