//! Writing an AdmissionReview response.
//!
//! What was found goes along as audit annotations: the API server writes them to its audit log, as
//! `WEBHOOK/findings`, `WEBHOOK/passed` and `WEBHOOK/unpinned`. (A key with a `/` of its own would be refused there.)

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portreeve_reports::{Finding, Verdict};
use portreeve_trust::rules::ALLOWED;
use serde_json::{Value, json};

use super::request::ReviewRequest;
use super::{Decision, Pin};

/// Longest message of a denial, in characters: clients print it whole.
const MAX_MESSAGE: usize = 2_000;
/// The API server cuts warnings to 256 characters and 4096 in all.
const MAX_WARNING: usize = 250;
const MAX_WARNINGS: usize = 12;
/// The most findings told to the audit log, and how long the path of one may be, in characters.
const MAX_AUDITED: usize = 256;
const MAX_PATH: usize = 160;
/// Digits of a fingerprint that tell it from all others of a cluster.
const SHORT_FINGERPRINT: usize = 16;
/// How much is told of images that would run by their tag, in characters.
const MAX_UNPINNED: usize = 2_000;

/// The response to a request, in its version and with its uid.
pub fn render(request: &ReviewRequest, decision: &Decision, pins: &[Pin], findings: &[Finding]) -> Value {
    let mut response = json!({"uid": request.uid, "allowed": decision.allowed});
    if let Some(message) = &decision.message {
        response["status"] = json!({"code": 403, "reason": "Forbidden", "message": shown(message, MAX_MESSAGE)});
    }
    if !decision.warnings.is_empty() {
        let warnings = decision.warnings.iter().take(MAX_WARNINGS).map(|warning| shown(warning, MAX_WARNING));
        response["warnings"] = warnings.collect();
    }
    if !findings.is_empty() {
        let passed = passed(findings, decision);
        response["auditAnnotations"] = json!({"findings": audited(findings), "passed": passed});
    }
    if !decision.unpinned.is_empty() {
        response["auditAnnotations"]["unpinned"] = shown(&decision.unpinned.join(" "), MAX_UNPINNED).into();
    }
    if !pins.is_empty() {
        let patch: Value = pins.iter().map(Pin::operation).collect();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    json!({"apiVersion": request.version.api_version(), "kind": "AdmissionReview", "response": response})
}

/// What is not well, as `CODE:VERDICT:FINGERPRINT:PATH` separated by spaces, in a fixed order; the number of those
/// left out comes last (`+3`).
fn audited(findings: &[Finding]) -> String {
    let open = findings.iter().filter(|finding| finding.verdict.is_open());
    let mut entries: Vec<String> = open.map(audit_entry).collect();
    entries.sort_unstable();
    if entries.len() > MAX_AUDITED {
        let untold = entries.len() - MAX_AUDITED;
        entries.truncate(MAX_AUDITED);
        entries.push(format!("+{untold}"));
    }
    entries.join(" ")
}

fn audit_entry(finding: &Finding) -> String {
    let fingerprint = &finding.fingerprint.as_str()[..SHORT_FINGERPRINT];
    let path = finding.locations.first().map(|location| shown(&location.object_path, MAX_PATH)).unwrap_or_default();
    format!("{}:{}:{fingerprint}:{}", finding.code, finding.verdict, path.replace(' ', "_"))
}

/// The codes whose every answer is a pass or not applicable, with at least one pass, separated by spaces. An image
/// that would run by its tag is not as the policy wants it, whatever was found of the digest.
fn passed(findings: &[Finding], decision: &Decision) -> String {
    let open: BTreeSet<&str> =
        findings.iter().filter(|finding| finding.verdict.is_open()).map(|finding| finding.code.as_str()).collect();
    let passed = findings.iter().filter(|finding| finding.verdict == Verdict::Pass);
    let is_denied = |code: &&str| !decision.unpinned.is_empty() && *code == ALLOWED.code;
    let passed: BTreeSet<&str> =
        passed.map(|finding| finding.code.as_str()).filter(|code| !open.contains(code) && !is_denied(code)).collect();
    passed.into_iter().collect::<Vec<_>>().join(" ")
}

/// A text from objects and registries, made harmless for terminals and cut.
fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if text.chars().count() > most {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use portreeve_reports::{Code, FindingBuilder, Location, ObjectRef, Severity, Subject};

    use super::*;

    fn finding(code: &str, verdict: Verdict, path: &str) -> Finding {
        let subject = ObjectRef { kind: "Pod".to_owned(), name: path.to_owned(), ..ObjectRef::default() };
        FindingBuilder::new(Code::parse(code).unwrap(), Severity::Low, verdict)
            .subject(Subject::Object(subject))
            .location(Location { object_path: path.to_owned(), ..Location::default() })
            .message("m")
            .build()
            .unwrap()
    }

    #[test]
    fn the_audit_log_is_told_what_is_not_well_and_which_questions_passed() {
        let failed = finding("C-0016", Verdict::Fail, "a b");
        let fingerprint = failed.fingerprint.as_str()[..16].to_owned();
        let findings = [
            finding("C-0017", Verdict::Pass, ""),
            finding("C-0016", Verdict::Pass, "c"),
            failed,
            finding("C-0018", Verdict::NotApplicable, ""),
        ];
        assert_eq!(audited(&findings), format!("C-0016:fail:{fingerprint}:a_b"));
        let decision = super::super::allowed(super::super::DecisionReason::Allowed);
        assert_eq!(passed(&findings, &decision), "C-0017");
        let vouched = [finding("PR-1001", Verdict::Pass, ""), finding("PR-1003", Verdict::Pass, "")];
        assert_eq!(passed(&vouched, &decision), "PR-1001 PR-1003");
        let unpinned = Decision { unpinned: vec!["spec.containers[0].image".to_owned()], ..decision };
        assert_eq!(passed(&vouched, &unpinned), "PR-1001", "what denies did not pass");
    }

    #[test]
    fn the_audit_log_is_told_no_more_than_its_share_and_how_much_is_missing() {
        let path = "x".repeat(1_000);
        let findings: Vec<_> =
            (0..300).map(|number| finding("C-0016", Verdict::Fail, &format!("{path}{number}"))).collect();
        let told = audited(&findings);
        assert!(told.ends_with(" +44") && told.len() < 300 * 200, "{}", told.len());
    }
}
