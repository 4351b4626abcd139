//! Writing what a command found: data to stdout or to files, whole or not at all; everything else to stderr.

use std::fs::Permissions;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use portreeve_reports::formats::{Format, RenderOptions, Shown, Style, write};
use portreeve_reports::gate::{self, ExitCode, Threshold};
use portreeve_reports::report::Report;

use super::args::{Color, GlobalArgs};
use super::{Failure, Outcome};
use crate::judge::source::{repository_path, repository_root};
use crate::judge::{Keep, explain};
use crate::runtime::files::{folder_of, put_in_place};
use crate::runtime::supervisor::{Ticker, every};

/// Formats and where they go.
#[derive(Debug, Default, Args)]
pub(super) struct OutputArgs {
    /// Format, optionally with a file: table, json, sarif, junit, html, prometheus. Repeatable, as in
    /// `--format sarif=out.sarif`.
    #[arg(long, value_name = "FORMAT[=FILE]", value_parser = target)]
    pub format: Vec<Target>,
    /// Print passing and not applicable questions too.
    #[arg(long)]
    pub all_verdicts: bool,
}

impl OutputArgs {
    /// The findings that are needed to print these.
    pub(super) fn keep(&self) -> Keep {
        if self.all_verdicts { Keep::All } else { Keep::Open }
    }
}

/// One `--format`.
#[derive(Clone, Debug)]
pub(super) struct Target {
    format: Format,
    file: Option<PathBuf>,
}

fn target(text: &str) -> Result<Target, String> {
    let (format, file) = text.split_once('=').map_or((text, None), |(format, file)| (format, Some(file)));
    if file == Some("") {
        return Err("a file name is missing after '='".to_owned());
    }
    let format = format.parse::<Format>().map_err(|error| error.to_string())?;
    Ok(Target { format, file: file.map(PathBuf::from) })
}

/// The file that findings without a file of their own point to, relative to the repository.
pub(super) fn anchor(file: Option<&Path>) -> Option<String> {
    file.map(|file| repository_path(file, repository_root().as_deref()))
}

/// How often a command without a terminal says that it still runs: CI systems end what is silent.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Says every 30 s that the command still runs, until the value is dropped. A terminal needs no such line.
pub(super) fn heartbeat() -> Result<Option<Ticker>, Failure> {
    if std::io::stderr().is_terminal() {
        return Ok(None);
    }
    let ticker = every(HEARTBEAT, |elapsed| say(&format!("still working after {} s", elapsed.as_secs())));
    ticker.map(Some).map_err(Failure::other)
}

/// Renders a report to all targets, says why it exits as it does, and exits so.
pub(super) fn finish(
    report: &Report,
    args: &OutputArgs,
    threshold: &Threshold,
    to: (&GlobalArgs, Option<String>),
) -> Outcome {
    let mut exits = render(report, args, to)?;
    let decision = gate::decide(report, threshold);
    say(&decision.why);
    exits.push(decision.code);
    Ok(ExitCode::worst(exits))
}

/// Renders a report to all targets; the exits of what could not be written.
pub(super) fn render(
    report: &Report,
    args: &OutputArgs,
    (global, anchor): (&GlobalArgs, Option<String>),
) -> Result<Vec<ExitCode>, Failure> {
    let default = [Target { format: Format::Table, file: None }];
    let targets = if args.format.is_empty() { &default } else { args.format.as_slice() };
    if targets.iter().filter(|target| target.file.is_none()).count() > 1 {
        return Err(Failure::usage(
            "only one --format can go to standard output; give the others a file: json=out.json",
        ));
    }
    let files: Vec<&PathBuf> = targets.iter().filter_map(|target| target.file.as_ref()).collect();
    if let Some((_, twice)) = files.iter().enumerate().find(|(index, file)| files[..*index].contains(file)) {
        return Err(Failure::usage(format!("two formats go to {}; give each its own file", twice.display())));
    }
    let mut exits = Vec::new();
    for target in targets {
        let options = options(args, target, (global, anchor.as_deref()));
        let content = |out: &mut dyn Write| write(target.format, report, &options, out);
        let written = match &target.file {
            Some(file) => write_whole(file, content),
            None => print_by(content),
        };
        // A report that is not written does not make the verdict a lesser one.
        if let Err(failure) = written {
            complain(&failure.message);
            exits.push(failure.exit);
        }
    }
    Ok(exits)
}

fn options<'a>(
    args: &OutputArgs,
    target: &Target,
    (global, anchor): (&GlobalArgs, Option<&'a str>),
) -> RenderOptions<'a> {
    let style = if target.file.is_none() && is_coloured(global.color) { Style::Colour } else { Style::Plain };
    let shown = if args.all_verdicts { Shown::All } else { Shown::Open };
    let default = RenderOptions::default();
    let fallback_file = anchor.unwrap_or(default.fallback_file);
    RenderOptions { shown, style, rules: &explain::rule_text, fallback_file, ..default }
}

/// Colour on a terminal, unless the environment says otherwise (no-color.org, bixense.com/clicolors).
fn is_coloured(color: Color) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if set("FORCE_COLOR") || set("CLICOLOR_FORCE") => true,
        Color::Auto => {
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            std::io::stdout().is_terminal() && !dumb
        }
    }
}

/// Writes data to stdout. A reader that went away is not a verdict.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_by(|out| out.write_all(text.as_bytes()))
}

fn print_by(content: impl Fn(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(std::io::stdout().lock());
    content(&mut stdout)
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::other(format!("standard output could not be written: {error}")))
}

/// Says something beside the data.
pub(super) fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // There is nowhere left to say that stderr is closed.
    let _closed = writeln!(stderr, "portreeve: {text}");
}

/// Says why there is no verdict.
pub(super) fn complain(message: &str) {
    say(&format!("error: {}", message.replace('\n', "\n  ")));
}

/// Writes a file whole or not at all: a temporary file beside it, synced, then renamed over it. A link stays and its
/// target is written; a device or a pipe is written to, never replaced.
pub(super) fn write_whole(file: &Path, content: impl Fn(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::other(format!("{} could not be written: {error}", file.display()));
    let file = &std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if std::fs::metadata(file).is_ok_and(|there| !there.is_file()) {
        let mut sink = BufWriter::new(std::fs::OpenOptions::new().write(true).open(file).map_err(fail)?);
        return content(&mut sink).and_then(|()| sink.flush()).map_err(fail);
    }
    // A report is for others to read: the mode that the umask leaves, not the private one of temporary files.
    let mode = Permissions::from_mode(0o666);
    let mut temporary =
        tempfile::Builder::new().prefix(".portreeve-").permissions(mode).tempfile_in(folder_of(file)).map_err(fail)?;
    let mut buffered = BufWriter::new(&mut temporary);
    content(&mut buffered).and_then(|()| buffered.flush()).map_err(fail)?;
    drop(buffered);
    temporary.as_file().sync_all().map_err(fail)?;
    put_in_place(&temporary.into_temp_path(), file).map_err(fail)
}
