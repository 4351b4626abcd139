//! `portreeve explain`: why a code matters, how to fix it, how to except it.

use clap::Args;
use portreeve_policies::control::{Control, builtin_controls};
use portreeve_reports::formats::RuleText;
use portreeve_reports::gate::ExitCode;
use portreeve_reports::source::decode::did_you_mean;
use portreeve_reports::{Code, CodeEntry, Severity};

use super::{Failure, Outcome, output};

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
        "{code}: {title} ({severity})\n\nWhy: {why}\n\nFix: {fix}\n\nExcept: a file for `exceptions:` in the \
         configuration or --exceptions:\n\n{exception}",
        code = args.code,
        title = text.title,
        why = text.why,
        fix = text.fix,
        exception = exception_template(&args.code),
    ))?;
    Ok(ExitCode::Clean)
}

/// All codes that are not controls.
pub(super) fn entries() -> impl Iterator<Item = &'static CodeEntry> {
    portreeve_reports::code::CODES.iter().chain(portreeve_trust::rules::CODES)
}

/// The texts of a code, for renderers.
pub(super) fn rule_text(code: &Code) -> Option<RuleText> {
    explanation(code.as_str()).map(|(_, text)| text)
}

fn explanation(code: &str) -> Option<(Severity, RuleText)> {
    let of_entry = |entry: &CodeEntry| {
        let text = RuleText { title: entry.title.to_owned(), why: entry.why.to_owned(), fix: entry.fix.to_owned() };
        (entry.severity, text)
    };
    entries().find(|entry| entry.code == code).map(of_entry).or_else(|| {
        let controls = builtin_controls().ok()?;
        controls.iter().find(|control| control.code.as_str() == code).map(of_control)
    })
}

fn of_control(control: &Control) -> (Severity, RuleText) {
    let text = RuleText {
        title: control.title.to_string(),
        why: control.why.to_string(),
        fix: control.fix.to_string(),
    };
    (control.severity, text)
}

fn no_such_code(code: &str) -> Failure {
    let controls = builtin_controls().unwrap_or_default();
    let known: Vec<&str> =
        entries().map(|entry| entry.code).chain(controls.iter().map(|control| control.code.as_str())).collect();
    let hint = did_you_mean(code, &known).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    Failure::usage(format!("there is no code '{code}'{hint} `portreeve list codes` prints them"))
}

fn exception_template(code: &str) -> String {
    format!(
        "apiVersion: portreeve.dev/v1alpha1\nkind: Exception\nmetadata: {{name: CHOOSE-A-NAME, namespace: NAMESPACE}}\n\
         spec:\n  codes: [{code}]\n  subjects: {{kinds: [Deployment], names: [NAME]}}\n  owner: TEAM\n  \
         approvedBy: PERSON\n  reason: WHY THE RISK IS ACCEPTED\n  expires: 2027-01-31\n"
    )
}
