//! Prometheus text exposition, for a textfile collector or a push after a CI run. Every label value but the version
//! is one of a fixed set.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::text::plain;
use crate::report::Report;
use crate::severity::Severity;
use crate::verdict::Verdict;

/// The report as gauges.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    head(&mut text, "portreeve_build_info", "Version of Portreeve that judged.");
    sample(&mut text, &format!("portreeve_build_info{{version=\"{}\"}}", label(&report.tool_version)), 1);
    head(&mut text, "portreeve_findings", "Findings of the run by severity and verdict.");
    findings(&mut text, report);
    head(&mut text, "portreeve_images", "Images of the run by verdict.");
    images(&mut text, report);
    head(&mut text, "portreeve_objects", "Objects that could be read.");
    sample(&mut text, "portreeve_objects", report.objects_read);
    head(&mut text, "portreeve_coverage_ratio", "Mean share of decided questions over all controls.");
    sample(&mut text, "portreeve_coverage_ratio", report.coverage().ratio());
    head(&mut text, "portreeve_verdict", "Verdict of the whole run: 1 for the one reached.");
    for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::Error] {
        let reached = u8::from(report.verdict() == Some(verdict));
        sample(&mut text, &format!("portreeve_verdict{{verdict=\"{verdict}\"}}"), reached);
    }
    text
}

fn findings(text: &mut String, report: &Report) {
    let mut counts: BTreeMap<(Severity, Verdict), usize> = BTreeMap::new();
    for finding in &report.findings {
        *counts.entry((finding.severity, finding.verdict)).or_default() += 1;
    }
    for ((_, severity, verdict), count) in &report.counted {
        *counts.entry((*severity, *verdict)).or_default() += count;
    }
    for severity in Severity::ALL {
        for verdict in Verdict::ALL {
            let count = counts.get(&(severity, verdict)).copied().unwrap_or(0);
            let name = format!("portreeve_findings{{severity=\"{severity}\",verdict=\"{verdict}\"}}");
            sample(text, &name, count);
        }
    }
}

fn images(text: &mut String, report: &Report) {
    for verdict in Verdict::ALL {
        let count = report.images.iter().filter(|image| image.verdict == verdict).count();
        sample(text, &format!("portreeve_images{{verdict=\"{verdict}\"}}"), count);
    }
}

fn head(text: &mut String, name: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} gauge"));
}

fn sample(text: &mut String, series: &str, value: impl std::fmt::Display) {
    line(text, format_args!("{series} {value}"));
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

fn label(value: &str) -> String {
    plain(value).replace('\\', "\\\\").replace('"', "\\\"")
}
