//! `portreeve credentials`: what lives how long.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use portreeve_reports::gate::{self, ExitCode};
use portreeve_reports::report::is_blocking;
use portreeve_reports::source::shown;
use portreeve_reports::{Cause, Effect, Finding, SubjectKey, Verdict};
use portreeve_secrets::credentials::{Credential, Expiry};
use serde_json::{Value, json};

use super::Outcome;
use super::args::{self, GlobalArgs, RegistryArgs, RuleArgs, ThresholdArgs};
use super::output;
use super::seen::Looking;
use crate::judge::{FileSource, JudgeOptions, JudgeSettings, explain};
use crate::registry::Deadline;

/// Find credentials and say how long they live.
///
/// Examples:
///   portreeve credentials list manifests/                 Secrets and ConfigMaps in files
///   portreeve credentials list cluster                    the cluster of the configuration
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CredentialsArgs {
    #[command(subcommand)]
    command: CredentialsCommand,
}

#[derive(Debug, Subcommand)]
enum CredentialsCommand {
    List(ListArgs),
}

/// List credentials, those that end soonest first.
///
/// Examples:
///   portreeve credentials list manifests/                 Secrets and ConfigMaps in files
///   portreeve credentials list --format json cluster      the cluster of the configuration, for scripts
///   kubectl get secret -o yaml | portreeve credentials list -
///
/// Values are never shown. Secrets of a cluster are read when secrets.clusterRead is metadata or full.
///
/// Exit codes: 0 none fails · 15 one is expired or lives too long · 4 refused · 5 could not be told ·
/// 3 nothing to check · 2 usage.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct ListArgs {
    /// Files and folders of manifests, `-` for standard input, or the word `cluster`.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Namespace of objects that name none.
    #[arg(short, long, default_value = "default", value_parser = args::namespace)]
    namespace: String,
    /// Exceptions.
    #[arg(long, value_name = "FILE")]
    exceptions: Vec<PathBuf>,
    /// Format.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    #[command(flatten)]
    threshold: ThresholdArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For scripts: `schemaVersion` is `credentials-v1`.
    Json,
}

/// Runs the command.
pub(super) fn run(args: &CredentialsArgs, global: &GlobalArgs) -> Outcome {
    match &args.command {
        CredentialsCommand::List(args) => list(args, global),
    }
}

fn list(args: &ListArgs, global: &GlobalArgs) -> Outcome {
    let loaded = global.load_config()?;
    let registry = args::registry((&loaded.config, &FileSource::WorkingTree), &RegistryArgs::default(), global)?;
    let rules = RuleArgs { exceptions: args.exceptions.clone(), ..RuleArgs::default() };
    let settings = JudgeSettings { image_policy: None, ..rules.settings(&loaded.config) };
    let judge = args::judge(&settings, &FileSource::WorkingTree, registry)?;
    let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(global.timeout()) };
    let looking = Looking { paths: &args.paths, namespace: &args.namespace, partial: false };
    let seen = looking.look(global, &loaded.config, options.deadline)?;
    let mut judged = judge.credentials(&seen.credentials, &seen.world, &options);
    let not_read: Vec<Finding> = seen.unreadable.into_iter().filter(|finding| finding.verdict.is_open()).collect();
    judged.merge(judge.excepted(not_read.clone(), Vec::new(), &options));
    let report = judge.report(judged, seen.objects.len());
    let rows = rows(&seen.credentials, &report.findings);
    output::print(&match args.format {
        Form::Table => table(&rows),
        Form::Json => json_text(&rows, &not_read),
    })?;
    for finding in &not_read {
        output::say(&shown_line(&format!("{}: {}", finding.subject.display(), finding.message)));
    }
    let decision = gate::decide(&report, &args.threshold.threshold(&loaded.config));
    let why = if decision.code == ExitCode::Clean { format!("{} credentials", rows.len()) } else { decision.why };
    output::say(&why);
    Ok(decision.code)
}

fn json_text(rows: &[Row<'_>], not_read: &[Finding]) -> String {
    let not_read = not_read.iter().map(|finding| {
        json!({
            "subject": finding.subject.display(),
            "cause": finding.cause.map(Cause::as_str),
            "message": finding.message,
        })
    });
    let document = json!({
        "schemaVersion": "credentials-v1",
        "credentials": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "notRead": not_read.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

/// One credential and what the findings about it come to.
struct Row<'a> {
    credential: &'a Credential,
    worst: Option<&'a Finding>,
    codes: Vec<&'a str>,
}

fn rows<'a>(credentials: &'a [Credential], findings: &'a [Finding]) -> Vec<Row<'a>> {
    let mut by_subject: BTreeMap<SubjectKey, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        by_subject.entry(finding.subject.key()).or_default().push(finding);
    }
    let mut rows: Vec<Row<'_>> = credentials
        .iter()
        .map(|credential| {
            let about = by_subject.get(&credential.subject().key()).map_or(&[][..], Vec::as_slice);
            let open = about.iter().filter(|finding| finding.verdict.is_open());
            Row {
                credential,
                worst: about.iter().copied().max_by_key(|finding| (rank(finding), Reverse(finding.code.clone()))),
                codes: open.map(|finding| finding.code.as_str()).collect(),
            }
        })
        .collect();
    rows.sort_by_key(|row| (end(row.credential), row.credential.subject()));
    rows
}

/// How bad a finding is for the one word that stands for all of them.
fn rank(finding: &Finding) -> u8 {
    match finding.verdict {
        Verdict::Fail if is_blocking(finding) => 6,
        Verdict::Error => 5,
        Verdict::Unknown => 4,
        Verdict::Fail => 3,
        Verdict::Excepted => 2,
        Verdict::Pass => 1,
        Verdict::NotApplicable => 0,
    }
}

/// Those that end come first, those of which it is not known next.
fn end(credential: &Credential) -> (u8, Option<Timestamp>) {
    match credential.expires {
        Expiry::At(at) => (0, Some(at)),
        Expiry::Unknown(..) | Expiry::Broken => (1, None),
        Expiry::Never => (2, None),
    }
}

impl Row<'_> {
    fn verdict(&self) -> Verdict {
        self.worst.map_or(Verdict::Error, |finding| finding.verdict)
    }

    fn expires(&self) -> String {
        match self.credential.expires {
            Expiry::At(at) => day(at),
            Expiry::Never => "never".to_owned(),
            Expiry::Unknown(..) | Expiry::Broken => "unknown".to_owned(),
        }
    }

    fn owner(&self) -> Option<String> {
        self.credential.owner().map(|owner| format!("{}/{}", owner.kind, owner.name))
    }

    /// What to do about the worst of it; nothing where nothing is open.
    fn advice(&self) -> Option<String> {
        let worst = self.worst.filter(|finding| finding.verdict.is_open())?;
        if worst.verdict != Verdict::Fail {
            return Some(worst.message.clone());
        }
        explain::text(worst.code.as_str()).map(|text| text.fix)
    }

    fn json(&self) -> Value {
        let credential = self.credential;
        let holder = &credential.holder;
        let expires = match credential.expires {
            Expiry::At(at) => json!(at.to_string()),
            Expiry::Never => json!("never"),
            Expiry::Unknown(..) | Expiry::Broken => Value::Null,
        };
        json!({
            "class": credential.class.as_str(),
            "holder": {"kind": holder.kind, "namespace": holder.namespace, "name": holder.name},
            "key": credential.key,
            "owner": self.owner(),
            "team": credential.team,
            "issued": credential.issued.map(|at| at.to_string()),
            "expires": expires,
            "verdict": self.verdict().as_str(),
            "effect": self.worst.map(|finding| finding.effect.as_str()),
            "codes": self.codes,
            "message": self.worst.map(|finding| &finding.message),
            "advice": self.advice(),
            "file": credential.place.file.as_deref(),
            "line": credential.place.line,
        })
    }

    fn cells(&self) -> [String; 8] {
        let credential = self.credential;
        let warns =
            self.worst.is_some_and(|finding| finding.verdict == Verdict::Fail && finding.effect == Effect::Warn);
        let verdict = if warns { "warn".to_owned() } else { self.verdict().as_str().to_owned() };
        let codes = if self.codes.is_empty() { String::new() } else { format!(" {}", self.codes.join(" ")) };
        [
            credential.class.as_str().to_owned(),
            shown(&credential.holder.display()),
            shown(&credential.key),
            self.owner().map_or_else(|| "-".to_owned(), |owner| shown(&owner)),
            credential.issued.map_or_else(|| "-".to_owned(), day),
            self.expires(),
            format!("{verdict}{codes}"),
            self.advice().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

fn day(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn shown_line(text: &str) -> String {
    text.lines().map(shown).collect::<Vec<_>>().join(" ")
}

const HEADINGS: [&str; 8] = ["CLASS", "HOLDER", "KEY", "OWNER", "ISSUED", "EXPIRES", "VERDICT", "WHAT TO DO"];

fn table(rows: &[Row<'_>]) -> String {
    let cells = std::iter::once(HEADINGS.map(str::to_owned)).chain(rows.iter().map(Row::cells));
    let cells: Vec<[String; 8]> = cells.collect();
    let widths: [usize; 8] =
        std::array::from_fn(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; 8]| {
        let padded: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}
