//! JUnit XML, for CI systems that show test results: every question is a test case, the whole is one too.
//!
//! Only what fails the gate is a `failure`, and only what could have been told and was not an `error`, so that a CI
//! system and the exit code agree. All else that is open is `skipped`, with the reason: never a success.

use std::collections::BTreeMap;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use super::table::{evidence, fixes, place};
use super::text::plain;
use super::{RenderOptions, Shown};
use crate::finding::Finding;
use crate::report::{Report, is_blocking};
use crate::verdict::{Cause, Verdict};

/// What stands for a report that could not be written: readers must not take it for "no failures".
const BROKEN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"portreeve\" tests=\"1\" errors=\"1\">\
                      <testsuite name=\"portreeve\" tests=\"1\" errors=\"1\"><testcase name=\"report\"><error \
                      message=\"the report could not be written\"/></testcase></testsuite></testsuites>\n";

/// The report as one document: a suite for the whole, and one for each code.
pub fn render(report: &Report, options: &RenderOptions<'_>) -> String {
    let mut junit = Junit::new("portreeve");
    junit.add_test_suite(whole(report));
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| is_told(finding, options.shown)) {
        let code = finding.code.as_str();
        let suite = suites.entry(code).or_insert_with(|| TestSuite::new(title(finding, options)));
        suite.add_test_case(case(finding));
    }
    junit.add_test_suites(suites.into_values());
    // The writer ends lines as XML does; within texts they are spelled out.
    junit.to_string().map_or_else(|_| BROKEN.to_owned(), |text| text.replace('\r', "") + "\n")
}

/// Passes are test cases only where all verdicts are asked for: a large run has millions, and counts them.
fn is_told(finding: &Finding, shown: Shown) -> bool {
    shown.includes(finding) && finding.verdict != Verdict::NotApplicable
}

fn title(finding: &Finding, options: &RenderOptions<'_>) -> String {
    match (options.rules)(&finding.code) {
        Some(rule) => format!("{} {}", finding.code, plain(&rule.title)),
        None => finding.code.to_string(),
    }
}

/// The verdict of the whole as a test case, so that a run without findings is no empty document.
fn whole(report: &Report) -> TestSuite {
    let verdict = report.verdict_in_words();
    let status = match report.verdict() {
        Some(Verdict::Pass) => TestCaseStatus::success(),
        Some(Verdict::Fail) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        None if report.has_subjects() => TestCaseStatus::skipped(),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let mut case = TestCase::new("verdict", with(status, verdict, verdict, ""));
    case.set_classname("portreeve");
    let mut suite = TestSuite::new("portreeve");
    suite.add_property(("verdict", verdict));
    suite.add_property(("coverage", report.coverage().to_string().as_str()));
    for input in &report.inputs {
        suite.add_property((&*plain(&format!("judged by {}", input.name)), &*plain(&input.digest)));
    }
    suite.add_test_case(case);
    suite
}

fn case(finding: &Finding) -> TestCase {
    let path = finding.locations.first().map(|place| place.object_path.as_str()).unwrap_or_default();
    let check = if finding.check.is_empty() { String::new() } else { format!(" ({})", finding.check) };
    let name = format!("{} {path}{check}", finding.subject.display());
    let aside = finding.cause.map_or_else(String::new, |cause| format!(" ({cause})"));
    let kind = format!("{} {}{aside}", finding.severity, finding.verdict);
    let status = match finding.verdict {
        Verdict::Pass | Verdict::NotApplicable => TestCaseStatus::success(),
        Verdict::Fail if is_blocking(finding) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        Verdict::Unknown if finding.cause.is_some_and(Cause::is_obtainable) => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
        Verdict::Fail | Verdict::Unknown | Verdict::Excepted => TestCaseStatus::skipped(),
    };
    let message = if finding.message.is_empty() { finding.code.as_str() } else { &finding.message };
    let mut case = TestCase::new(&*plain(name.trim()), with(status, message, &kind, &details(finding)));
    case.set_classname(&*plain(&format!("portreeve.{}", finding.code)));
    case.add_property(("fingerprint", finding.fingerprint.as_str()));
    case
}

fn with(mut status: TestCaseStatus, message: &str, kind: &str, details: &str) -> TestCaseStatus {
    if !matches!(status, TestCaseStatus::Success { .. }) {
        status.set_message(&*plain(message)).set_type(&*plain(kind));
        if !details.is_empty() {
            status.set_description(details);
        }
    }
    status
}

/// Places, evidence and fix, a line each.
fn details(finding: &Finding) -> String {
    let places = finding.locations.iter().filter_map(place).map(|text| ("at", text));
    let seen = finding.evidence.iter().map(|item| ("seen", evidence(item)));
    let fixes = fixes(&finding.fix).into_iter().map(|text| ("fix", text));
    let lines: Vec<String> =
        places.chain(seen).chain(fixes).map(|(word, text)| format!("{word}: {}", plain(&text))).collect();
    lines.join("\n")
}
