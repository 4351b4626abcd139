//! `portreeve explain`: why a code matters, how to fix it, how to except it.

use clap::Args;
use portreeve_policies::control::builtin_controls;
use portreeve_reports::Code;
use portreeve_reports::code::Topic;
use portreeve_reports::gate::ExitCode;
use portreeve_reports::source::decode::did_you_mean;

use super::{Failure, Outcome, output};
use crate::judge::explain::{entries, explanation};

/// Print why a code matters, how to fix it and how to except it.
///
/// Examples:
///   portreeve explain C-0057
///   portreeve explain PR-1001
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ExplainArgs {
    /// The code of a finding.
    code: String,
}

/// Runs the command.
pub(super) fn run(args: &ExplainArgs) -> Outcome {
    let (severity, text) = explanation(&args.code).ok_or_else(|| no_such_code(&args.code))?;
    output::print(&format!(
        "{code}: {title} ({severity})\n\nWhy: {why}\n\nFix: {fix}\n\n{references}Except: {exception}",
        code = args.code,
        title = text.title,
        why = text.why,
        fix = text.fix,
        references = references(&text.references),
        exception = exception(&args.code),
    ))?;
    Ok(ExitCode::Clean)
}

fn references(list: &[String]) -> String {
    let lines: String = list.iter().map(|reference| format!("  {reference}\n")).collect();
    if lines.is_empty() { lines } else { format!("References:\n{lines}\n") }
}

fn no_such_code(code: &str) -> Failure {
    let controls = builtin_controls().unwrap_or_default();
    let known: Vec<&str> =
        entries().map(|entry| entry.code).chain(controls.iter().map(|control| control.code.as_str())).collect();
    let hint = did_you_mean(code, &known).map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
    Failure::usage(format!("there is no code '{code}'{hint}; `portreeve list codes` prints them"))
}

/// How to except a code: an exception that can match its findings, or that there is none.
fn exception(code: &str) -> String {
    match selected(code) {
        Some((kind, namespace, subjects)) => format!(
            "a file for `exceptions:` in the configuration or --exceptions:\n\n\
             apiVersion: portreeve.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: CHOOSE-A-NAME{namespace}}}\n\
             spec:\n  codes: [{code}]\n  subjects: {subjects}\n  owner: TEAM\n  \
             approvedBy: PERSON\n  reason: WHY THE RISK IS ACCEPTED\n  expires: 2027-01-31\n"
        ),
        None => "no exception reaches it; the fix resolves it.\n".to_owned(),
    }
}

/// The kind of the exception, its namespace, and the subjects of the code's findings.
fn selected(code: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let topic = Code::parse(code).map_or(Topic::Posture, |code| code.topic());
    // What is no object belongs to no namespace. An image, a file, a credential, a component: see `Selector`.
    let of_cluster = |subjects| ("ClusterException", "", subjects);
    Some(match topic {
        // What could not be read is no failure, and what is about exceptions, policies and the process itself none that
        // exceptions are laid over.
        Topic::Input => return None,
        Topic::ImageTrust | Topic::ImageContract => of_cluster("{kinds: [Image], names: [HOST/REPOSITORY]}"),
        Topic::Secrets => of_cluster("{kinds: [File], names: [PATH]}"),
        Topic::Credentials => of_cluster("{kinds: [Credential], names: [NAMESPACE/KIND/NAME]}"),
        Topic::Platform => of_cluster("{kinds: [Component], names: [PLATFORM/COMPONENT]}"),
        _ => ("Exception", ", namespace: NAMESPACE", "{kinds: [Deployment], names: [NAME]}"),
    })
}
