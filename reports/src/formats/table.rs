//! The table for people: grouped by file and subject, independent of the width of the terminal, severity always in
//! words. Untrusted text is spelled out by [`plain`].

use std::collections::BTreeMap;
use std::io;

use super::text::{plain, shorten};
use super::{RenderOptions, Style};
use crate::finding::{Evidence, Finding, Fix, Location};
use crate::report::{Counts, ImageReport, Report};
use crate::severity::{Effect, Severity};
use crate::subject::Subject;
use crate::verdict::Verdict;

/// Characters of one piece of evidence that are shown; the JSON format has all of it.
const EVIDENCE_SHOWN: usize = 300;

/// The report as lines, the last of which sums it up. They are written subject by subject: a large run has many.
pub fn write(report: &Report, options: &RenderOptions<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let mut lines = Vec::new();
    for (file, subjects) in grouped(report, options, |_| true) {
        lines.push(plain(&heading(file, &subjects)).into_owned());
        for (subject, mut findings) in subjects {
            findings.sort_by_key(|finding| rank(finding));
            lines.push(format!("  {}", plain(&subject)));
            findings.iter().for_each(|finding| push_finding(&mut lines, finding, options));
            flush(&mut lines, out)?;
        }
        lines.push(String::new());
    }
    push_images(&mut lines, &report.images);
    lines.extend(
        report.inputs.iter().map(|input| plain(&format!("judged by {} ({})", input.name, input.digest)).into_owned()),
    );
    lines.push(summary(report));
    flush(&mut lines, out)
}

fn flush(lines: &mut Vec<String>, out: &mut dyn io::Write) -> io::Result<()> {
    lines.drain(..).try_for_each(|line| writeln!(out, "{line}"))
}

/// The file, or what findings without one are about.
pub(super) fn heading(file: &str, subjects: &BTreeMap<String, Vec<&Finding>>) -> String {
    let is_image = |finding: &&Finding| matches!(finding.subject, Subject::Image { .. });
    match file {
        "" if subjects.values().flatten().all(is_image) => "images".to_owned(),
        "" => "cluster".to_owned(),
        file => file.to_owned(),
    }
}

/// Findings by file and subject.
pub(super) type Groups<'a> = BTreeMap<&'a str, BTreeMap<String, Vec<&'a Finding>>>;

pub(super) fn grouped<'a>(
    report: &'a Report,
    options: &RenderOptions<'_>,
    wanted: impl Fn(&Finding) -> bool,
) -> Groups<'a> {
    let mut groups = Groups::new();
    for finding in report.findings.iter().filter(|finding| options.shown.includes(finding) && wanted(finding)) {
        let file = finding.locations.iter().find_map(|location| location.file.as_deref()).unwrap_or_default();
        groups.entry(file).or_default().entry(finding.subject.display()).or_default().push(finding);
    }
    groups
}

/// Worst first, then in the order of the file.
pub(super) fn rank(finding: &Finding) -> impl Ord + use<> {
    let verdict = Verdict::ALL.iter().position(|verdict| *verdict == finding.verdict);
    let line = finding.locations.first().and_then(|location| location.line);
    (verdict, std::cmp::Reverse(finding.severity), line, finding.code.clone(), finding.fingerprint.clone())
}

fn push_finding(lines: &mut Vec<String>, finding: &Finding, options: &RenderOptions<'_>) {
    lines.push(format!("    {}", headline(finding, options)));
    let detail = |name: &str, text: &str| format!("             {name}: {}", plain(text));
    lines.extend(finding.locations.iter().filter_map(place).map(|text| detail("at", &text)));
    lines.extend(finding.evidence.iter().map(|item| detail("seen", &evidence(item))));
    if finding.verdict == Verdict::Fail {
        lines.extend(fixes(&finding.fix).iter().map(|text| detail("fix", text)));
    }
}

/// `HIGH      fail C-0016 message`; effects other than `block` and causes stand beside the verdict.
fn headline(finding: &Finding, options: &RenderOptions<'_>) -> String {
    let (verdict, message) = headline_parts(finding, options);
    let severity = coloured(finding, options.style);
    format!("{severity} {verdict} {} {}", finding.code, plain(&message))
}

/// The verdict with what stands beside it, and the sentence.
pub(super) fn headline_parts(finding: &Finding, options: &RenderOptions<'_>) -> (String, String) {
    let aside = match (finding.cause, finding.effect) {
        (Some(cause), _) => format!(" ({cause})"),
        (None, Effect::Block) => String::new(),
        (None, effect) => format!(" ({})", effect.as_str()),
    };
    let title = (options.rules)(&finding.code).map_or_else(String::new, |rule| rule.title);
    let message = if finding.message.is_empty() { title } else { finding.message.clone() };
    (format!("{}{aside}", finding.verdict), message)
}

fn coloured(finding: &Finding, style: Style) -> String {
    let word = format!("{:<8}", finding.severity.as_str().to_uppercase());
    let colour = match (style, finding.verdict, finding.severity) {
        (Style::Plain, _, _) => return word,
        (_, Verdict::Pass, _) => "32",
        (_, Verdict::NotApplicable | Verdict::Excepted, _) => "2",
        (_, _, Severity::Critical) => "1;31",
        (_, _, Severity::High) => "31",
        (_, _, Severity::Medium) => "33",
        (_, _, Severity::Low | Severity::Info) => "36",
    };
    format!("\u{1b}[{colour}m{word}\u{1b}[0m")
}

/// `k8s/hub.yaml:12:9 spec…privileged on jhub/ServiceAccount/hub`; `None` for a place that says no more than its group.
pub(super) fn place(location: &Location) -> Option<String> {
    let mut words = Vec::new();
    if let (Some(file), Some(line)) = (location.file.as_deref(), location.line) {
        let column = location.column.map_or_else(String::new, |column| format!(":{column}"));
        words.push(format!("{file}:{line}{column}"));
    }
    if !location.object_path.is_empty() {
        words.push(location.object_path.clone());
    }
    words.extend(location.object.as_ref().map(|object| format!("on {object}")));
    (!words.is_empty()).then(|| words.join(" "))
}

pub(super) fn evidence(item: &Evidence) -> String {
    format!("{} = {}", item.name, shorten(&item.value, EVIDENCE_SHOWN))
}

pub(super) fn fixes(fix: &Fix) -> Vec<String> {
    let patches = fix.patches.iter().map(|patch| format!("set {} to {}", patch.path, patch.value));
    let deletions = fix.delete.iter().map(|path| format!("delete {path}"));
    let commands = fix.commands.iter().map(|command| format!("run {command}"));
    patches.chain(deletions).chain(commands).collect()
}

fn push_images(lines: &mut Vec<String>, images: &[ImageReport]) {
    if images.is_empty() {
        return;
    }
    lines.push("images".to_owned());
    for image in images {
        let digest = image.digest.as_ref().map_or_else(String::new, |digest| format!(" ({digest})"));
        lines.push(format!("  {:<8} {}{}", image.verdict, plain(&image.reference), plain(&digest)));
        lines.extend(image.evidence.iter().map(|item| format!("           seen: {}", plain(&evidence(item)))));
    }
    lines.push(String::new());
}

fn summary(report: &Report) -> String {
    let counts = report.counts();
    format!(
        "verdict: {}; coverage: {}; findings: {}; {} objects and {} images read",
        report.verdict_in_words(),
        report.coverage(),
        counted(&counts),
        report.objects_read,
        report.images.len(),
    )
}

fn counted(counts: &Counts) -> String {
    let by_severity: Vec<String> = Severity::ALL
        .into_iter()
        .filter(|severity| counts.failures(*severity) > 0)
        .map(|severity| format!("{} {severity}", counts.failures(severity)))
        .collect();
    let failures = if by_severity.is_empty() { String::new() } else { format!(" ({})", by_severity.join(", ")) };
    let of = |verdict: Verdict| {
        let aside = if verdict == Verdict::Fail { failures.as_str() } else { "" };
        format!("{} {verdict}{aside}", counts.verdict(verdict))
    };
    Verdict::ALL.map(of).join(", ")
}
