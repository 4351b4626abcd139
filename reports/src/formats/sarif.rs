//! SARIF 2.1.0 for code scanning. The rules of GitHub's ingestion decide the details: only the first location and
//! only `primaryLocationLineHash` are used, descriptions have limits, and a run has at most 25 000 results.
//!
//! No finding is dropped for want of a file: one without points to the fallback file, and its logical location names
//! the subject. Verdicts `pass` and `not-applicable` have no results: readers would take them for alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;

use serde_json::{Map, Value, json};

use super::text::{plain, shorten};
use super::{RenderOptions, RuleText, Shown};
use crate::code::Code;
use crate::finding::{Finding, Location};
use crate::report::Report;
use crate::severity::{Confidence, Severity};
use crate::verdict::{Cause, Verdict};

/// Results of one run; GitHub refuses more.
pub const MAX_RESULTS: usize = 25_000;
/// Locations of one result that GitHub keeps.
const MAX_LOCATIONS: usize = 100;
/// Characters of a rule's short and full description.
const MAX_DESCRIPTION: usize = 1000;
/// Tags of one rule that GitHub keeps.
const MAX_TAGS: usize = 10;
/// The tag by which GitHub knows a security rule.
const SECURITY_TAG: &str = "security";

/// The report as a SARIF log with one run.
pub fn write(report: &Report, options: &RenderOptions<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let (findings, cut) = selected(report);
    let rules = Rules::of(&findings);
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, &rules, options)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "Portreeve",
                "version": nonempty(&report.tool_version, "unknown"),
                "rules": rules.values(options),
            }},
            "automationDetails": {"id": nonempty(options.automation_id, "portreeve/")},
            "invocations": [invocation(report, cut)],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    super::json::write_value(&log, out)
}

/// The open findings, worst first, and how many were cut off. What is already excepted is cut first.
fn selected(report: &Report) -> (Vec<&Finding>, usize) {
    let mut findings: Vec<&Finding> = report.findings.iter().filter(|finding| Shown::Open.includes(finding)).collect();
    findings.sort_by_key(|finding| (finding.verdict == Verdict::Excepted, std::cmp::Reverse(finding.severity)));
    let cut = findings.len().saturating_sub(MAX_RESULTS);
    findings.truncate(MAX_RESULTS);
    (findings, cut)
}

fn invocation(report: &Report, cut: usize) -> Value {
    let mut notifications = Vec::new();
    if cut > 0 {
        let text = format!(
            "{cut} findings of the lowest severities are left out: a run has at most {MAX_RESULTS} results. \
             The json format has all of them."
        );
        notifications.push(json!({"level": "warning", "message": {"text": text}}));
    }
    json!({
        "executionSuccessful": report.verdict() != Some(Verdict::Error),
        "toolExecutionNotifications": notifications,
        "properties": {
            "verdict": report.verdict().map(Verdict::as_str),
            "coverage": report.coverage().ratio(),
            "policies": report.inputs.iter().map(|input| json!({"name": input.name, "digest": input.digest}))
                .collect::<Vec<_>>(),
        },
    })
}

/// The rules that have results, in the order of their codes.
struct Rules<'a> {
    rules: BTreeMap<&'a Code, Rule<'a>>,
}

/// What the findings of one code say about its rule.
struct Rule<'a> {
    severity: Severity,
    confidence: Confidence,
    frameworks: Vec<&'a str>,
}

impl<'a> Rules<'a> {
    fn of(findings: &[&'a Finding]) -> Self {
        let mut rules: BTreeMap<&Code, Rule<'_>> = BTreeMap::new();
        for finding in findings {
            let rule = rules.entry(&finding.code).or_insert_with(|| Rule::of(finding));
            rule.severity = rule.severity.max(finding.severity);
            rule.confidence = rule.confidence.min(finding.confidence);
        }
        Self { rules }
    }

    fn index(&self, code: &Code) -> Option<usize> {
        self.rules.keys().position(|other| *other == code)
    }

    fn values(&self, options: &RenderOptions<'_>) -> Vec<Value> {
        self.rules.iter().map(|(code, rule)| rule.value(code, (options.rules)(code).unwrap_or_default())).collect()
    }
}

impl<'a> Rule<'a> {
    fn of(finding: &'a Finding) -> Self {
        let ids: BTreeSet<&str> = finding.frameworks.iter().map(|id| &**id).filter(|id| *id != SECURITY_TAG).collect();
        let frameworks = ids.into_iter().take(MAX_TAGS - 1).collect();
        Self { severity: finding.severity, confidence: finding.confidence, frameworks }
    }

    fn value(&self, code: &Code, text: RuleText) -> Value {
        let title = nonempty(&text.title, code.as_str());
        let why = nonempty(&text.why, &title);
        let help = format!("{why}\n\nHow to fix: {}", nonempty(&text.fix, "see the message of the result"));
        let mut tags = vec![SECURITY_TAG];
        tags.extend(&self.frameworks);
        json!({
            "id": code.as_str(),
            "shortDescription": {"text": shorten(&title, MAX_DESCRIPTION)},
            "fullDescription": {"text": shorten(&why, MAX_DESCRIPTION)},
            "help": {"text": help},
            "defaultConfiguration": {"level": level_of(self.severity)},
            "properties": {
                "security-severity": security_severity(self.severity),
                "precision": self.confidence.as_str(),
                "tags": tags,
            },
        })
    }
}

fn result(finding: &Finding, rules: &Rules<'_>, options: &RenderOptions<'_>) -> Value {
    let subject = plain(&finding.subject.display()).into_owned();
    let primary = finding.locations.first().cloned().unwrap_or_default();
    // The schema wants them unique.
    let others: BTreeSet<&Location> = finding.locations.iter().skip(1).filter(|other| **other != primary).collect();
    let others = others.into_iter().take(MAX_LOCATIONS - 1);
    let related: Vec<Value> = others.map(|place| location(place, &subject, options)).collect();
    let mut value = json!({
        "ruleId": finding.code.as_str(),
        "ruleIndex": rules.index(&finding.code),
        "level": level(finding),
        "message": {"text": message(finding, &subject)},
        "locations": [location(&primary, &subject, options)],
        "partialFingerprints": {"primaryLocationLineHash": format!("{}:1", finding.fingerprint)},
        "suppressions": suppressions(finding),
        "properties": properties(finding),
    });
    if !related.is_empty() {
        value["relatedLocations"] = related.into();
    }
    value
}

fn level(finding: &Finding) -> &'static str {
    match finding.verdict {
        Verdict::Error => "error",
        Verdict::Unknown => "warning",
        _ => level_of(finding.severity),
    }
}

fn level_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// A score in the middle of GitHub's range for the severity.
fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Info => "0.0",
    }
}

fn message(finding: &Finding, subject: &str) -> String {
    let said = nonempty(&finding.message, finding.code.as_str());
    let text = match finding.verdict {
        Verdict::Error => format!("Could not be evaluated: {said} ({subject})"),
        Verdict::Unknown => {
            let cause = finding.cause.map_or("unknown", Cause::as_str);
            format!("Unknown, {cause}: {said} ({subject})")
        }
        _ => format!("{said} ({subject})"),
    };
    // `[text](target)` in a message is a link to viewers; ours has none.
    plain(&text).replace("](", "\\](")
}

fn location(place: &Location, subject: &str, options: &RenderOptions<'_>) -> Value {
    let file = place.file.as_deref().unwrap_or(options.fallback_file);
    let line = place.line.filter(|line| *line > 0).unwrap_or(1);
    let column = place.column.filter(|column| *column > 0).unwrap_or(1);
    let name = place.object.as_deref().map_or_else(|| subject.into(), plain);
    json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(file)},
            "region": {"startLine": line, "startColumn": column, "endLine": line, "endColumn": column.saturating_add(1)},
        },
        "logicalLocations": [{
            "fullyQualifiedName": nonempty(&name, "unnamed"),
            "kind": "resource",
            "properties": {"objectPath": place.object_path},
        }],
    })
}

fn suppressions(finding: &Finding) -> Vec<Value> {
    if finding.verdict != Verdict::Excepted {
        return Vec::new();
    }
    let said: Vec<String> = finding
        .evidence
        .iter()
        .filter(|item| item.name.starts_with("exception"))
        .map(|item| format!("{}: {}", item.name, plain(&item.value)))
        .collect();
    vec![json!({
        "kind": "external",
        "status": "accepted",
        "justification": nonempty(&said.join("; "), "accepted by an exception"),
    })]
}

fn properties(finding: &Finding) -> Map<String, Value> {
    let evidence: Vec<Value> =
        finding.evidence.iter().map(|item| json!({"name": item.name, "value": item.value})).collect();
    let pairs = [
        ("verdict", finding.verdict.as_str().into()),
        ("cause", finding.cause.map(Cause::as_str).into()),
        ("effect", finding.effect.as_str().into()),
        ("severity", finding.severity.as_str().into()),
        ("check", finding.check.as_ref().into()),
        ("source", finding.source.as_str().into()),
        ("owner", finding.owner.as_deref().into()),
        ("evidence", evidence.into()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A URI reference: relative to the repository root, or `file:` for an absolute path. All bytes but unreserved ones
/// and `/` are percent-encoded, so that a name can be neither a scheme nor a query.
fn uri(path: &str) -> String {
    let relative = path.trim_start_matches("./");
    let relative = if relative.is_empty() { "unknown" } else { relative };
    let mut uri = String::from(if relative.starts_with('/') { "file://" } else { "" });
    for byte in relative.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

fn nonempty(text: &str, fallback: &str) -> String {
    let text = if text.trim().is_empty() { fallback } else { text };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_uri_references_that_can_be_nothing_else() {
        assert_eq!(uri("./k8s/hub.yaml"), "k8s/hub.yaml");
        assert_eq!(uri("k8s/my hub#1?.yaml"), "k8s/my%20hub%231%3F.yaml");
        assert_eq!(uri("javascript:alert(1)"), "javascript%3Aalert%281%29");
        assert_eq!(uri("/srv/ü.yaml"), "file:///srv/%C3%BC.yaml");
        assert_eq!(uri("./"), "unknown");
    }
}
