//! The gate: a report and a threshold become a process exit.

use crate::code::{Code, Topic};
use crate::finding::Finding;
use crate::formats::text::plain;
use crate::report::{Report, is_blocking};
use crate::severity::FailOn;
use crate::verdict::{Cause, Verdict};

/// Every exit of the process. The numbers are frozen: scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// A verdict was reached, and nothing is at or above the threshold.
    Clean = 0,
    /// An error of ours that has no code of its own, and verdict `error`.
    Unclassified = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Nothing to check.
    NothingToCheck = 3,
    /// Authentication or authorization: unknown because `forbidden`.
    Forbidden = 4,
    /// Unknown for another cause that could have been had.
    Unknown = 5,
    /// Coverage is below `--fail-coverage-below`.
    LowCoverage = 6,
    /// Findings at or above `--fail-on`.
    Findings = 10,
    /// An image is not signed.
    Unsigned = 11,
    /// An image has a signature, none of them trusted.
    Untrusted = 12,
    /// An attestation, image policy or image contract does not hold.
    Mismatch = 13,
    /// The integrity of a secret does not hold.
    SecretIntegrity = 14,
    /// A credential is expired or lives too long.
    CredentialLifetime = 15,
    /// A bug of ours.
    Bug = 101,
    /// Ended by an interrupt.
    Interrupted = 130,
    /// Ended by a request to terminate.
    Terminated = 143,
}

/// Which exit wins when several apply, first to last. Signals end the process and never compete.
pub const PRECEDENCE: [ExitCode; 14] = [
    ExitCode::Bug,
    ExitCode::Usage,
    ExitCode::Unsigned,
    ExitCode::Untrusted,
    ExitCode::Mismatch,
    ExitCode::SecretIntegrity,
    ExitCode::CredentialLifetime,
    ExitCode::Findings,
    ExitCode::Unclassified,
    ExitCode::Forbidden,
    ExitCode::Unknown,
    ExitCode::LowCoverage,
    ExitCode::NothingToCheck,
    ExitCode::Clean,
];

impl ExitCode {
    /// The number that the process exits with.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The one that wins of those that apply; [`ExitCode::Clean`] of none. A signal wins over all.
    pub fn worst(codes: impl IntoIterator<Item = Self>) -> Self {
        let rank = |code: &Self| PRECEDENCE.iter().position(|other| other == code).map_or(0, |index| index + 1);
        codes.into_iter().min_by_key(rank).unwrap_or(Self::Clean)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// A percentage from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

/// A text that is not a percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a percentage from 0 to 100")]
pub struct InvalidPercent(String);

impl std::str::FromStr for Percent {
    type Err = InvalidPercent;

    /// `80`, `99.5` or `80%`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
        match number {
            Ok(number) if (0.0..=100.0).contains(&number) => Ok(Self(number)),
            _ => Err(InvalidPercent(text.to_owned())),
        }
    }
}

/// What a gate lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Threshold {
    /// `--fail-on`.
    pub fail_on: FailOn,
    /// `--fail-coverage-below`.
    pub fail_coverage_below: Option<Percent>,
}

/// The exit of a run, and why in one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The exit.
    pub code: ExitCode,
    /// Why.
    pub why: String,
}

/// The exit that a report stands for.
pub fn exit_code(report: &Report, threshold: &Threshold) -> ExitCode {
    let findings = report.findings.iter().filter_map(|finding| exit_of(finding, threshold.fail_on));
    let coverage = is_coverage_low(report, threshold).then_some(ExitCode::LowCoverage);
    let nothing = (!report.has_subjects()).then_some(ExitCode::NothingToCheck);
    ExitCode::worst(findings.chain(coverage).chain(nothing))
}

/// The exit that a report stands for, with the sentence that the command line prints about it.
pub fn decide(report: &Report, threshold: &Threshold) -> Decision {
    let code = exit_code(report, threshold);
    let causing = || report.findings.iter().filter(|finding| exit_of(finding, threshold.fail_on) == Some(code));
    let why = match (causing().next(), code) {
        (Some(first), _) => why_of_findings(code, first, causing().count()),
        (None, ExitCode::LowCoverage) => format!("coverage is {}, which is below what was asked", report.coverage()),
        (None, ExitCode::NothingToCheck) => "there was nothing to check".to_owned(),
        (None, _) => "nothing is at or above the threshold".to_owned(),
    };
    Decision { code, why }
}

/// The exit that one finding asks for.
fn exit_of(finding: &Finding, fail_on: FailOn) -> Option<ExitCode> {
    match finding.verdict {
        Verdict::Fail => {
            let counts = is_blocking(finding) && fail_on.reached_by(finding.severity);
            counts.then(|| exit_of_failure(&finding.code))
        }
        Verdict::Error => Some(ExitCode::Unclassified),
        Verdict::Unknown => finding.cause.and_then(exit_of_unknown),
        Verdict::Pass | Verdict::NotApplicable | Verdict::Excepted => None,
    }
}

fn exit_of_failure(code: &Code) -> ExitCode {
    match (code.as_str(), code.topic()) {
        ("PR-1001", _) => ExitCode::Unsigned,
        ("PR-1002", _) => ExitCode::Untrusted,
        (_, Topic::ImageTrust | Topic::ImageContract) => ExitCode::Mismatch,
        (_, Topic::Secrets) => ExitCode::SecretIntegrity,
        (_, Topic::Credentials) => ExitCode::CredentialLifetime,
        (_, Topic::Input | Topic::Platform | Topic::Repository | Topic::Posture) => ExitCode::Findings,
    }
}

fn exit_of_unknown(cause: Cause) -> Option<ExitCode> {
    match cause {
        Cause::Forbidden => Some(ExitCode::Forbidden),
        _ => cause.is_obtainable().then_some(ExitCode::Unknown),
    }
}

fn is_coverage_low(report: &Report, threshold: &Threshold) -> bool {
    threshold.fail_coverage_below.is_some_and(|Percent(least)| report.coverage().ratio() * 100.0 < least)
}

fn why_of_findings(code: ExitCode, first: &Finding, count: usize) -> String {
    let meaning = match code {
        ExitCode::Unsigned => "an image is not signed",
        ExitCode::Untrusted => "an image is signed, but not by anyone trusted",
        ExitCode::Mismatch => "an attestation, image policy or image contract does not hold",
        ExitCode::SecretIntegrity => "a secret is not intact",
        ExitCode::CredentialLifetime => "a credential is expired or lives too long",
        ExitCode::Unclassified => "Portreeve could not evaluate a rule",
        ExitCode::Forbidden => "the answer was refused by the other side",
        ExitCode::Unknown => "the verdict is unknown",
        _ => "there are findings at or above the threshold",
    };
    let others = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
    let cause = first.cause.map_or_else(String::new, |cause| format!(", {cause}"));
    format!("{meaning}: {} on {}{cause}{others}", first.code, plain(&first.subject.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ImageReport;
    use crate::severity::{Effect, Severity};
    use crate::testing::{draft, finding, hub, image};

    fn failing(code: &str) -> Finding {
        finding(code, Severity::High, Verdict::Fail, hub(None))
    }

    fn unknown(cause: Cause) -> Finding {
        draft("C-0016", Severity::High, Verdict::Unknown, hub(None)).cause(cause).build().unwrap()
    }

    fn report(findings: Vec<Finding>) -> Report {
        Report { findings, objects_read: 1, ..Report::default() }
    }

    fn exit(findings: Vec<Finding>) -> u8 {
        exit_code(&report(findings), &Threshold::default()).number()
    }

    #[test]
    fn numbers_and_precedence_are_frozen() {
        let numbers: Vec<u8> = PRECEDENCE.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, [101, 2, 11, 12, 13, 14, 15, 10, 1, 4, 5, 6, 3, 0]);
        assert_eq!((ExitCode::Interrupted.number(), ExitCode::Terminated.number()), (130, 143));
    }

    #[test]
    fn the_earlier_in_precedence_wins_in_any_order() {
        for (rank, winner) in PRECEDENCE.iter().enumerate() {
            for loser in &PRECEDENCE[rank..] {
                assert_eq!(ExitCode::worst([*winner, *loser]), *winner);
                assert_eq!(ExitCode::worst([*loser, *winner]), *winner);
            }
        }
        assert_eq!(ExitCode::worst([ExitCode::Bug, ExitCode::Interrupted]), ExitCode::Interrupted);
        assert_eq!(ExitCode::worst([]), ExitCode::Clean);
    }

    #[test]
    fn every_exit_that_a_report_can_stand_for_is_reached() {
        assert_eq!(exit(vec![finding("C-0016", Severity::High, Verdict::Pass, hub(None))]), 0);
        assert_eq!(exit(vec![finding("C-0016", Severity::High, Verdict::Error, hub(None))]), 1);
        assert_eq!(exit_code(&Report::default(), &Threshold::default()).number(), 3);
        assert_eq!(exit(vec![unknown(Cause::Forbidden)]), 4);
        for cause in [Cause::Unreadable, Cause::Unreachable, Cause::RateLimited, Cause::TimedOut, Cause::TooLarge] {
            assert_eq!(exit(vec![unknown(cause)]), 5, "{cause}");
        }
        let strict = Threshold { fail_coverage_below: Some(Percent(80.0)), ..Threshold::default() };
        assert_eq!(exit_code(&report(vec![unknown(Cause::Manual)]), &strict).number(), 6);
        let by_code = [
            ("C-0016", 10),
            ("PR-0004", 10),
            ("PR-1001", 11),
            ("PR-1002", 12),
            ("PR-1003", 13),
            ("PR-2001", 13),
            ("PR-3001", 14),
            ("PR-4001", 15),
            ("PR-5001", 10),
            ("PR-7001", 10),
        ];
        for (code, number) in by_code {
            assert_eq!(exit(vec![failing(code)]), number, "{code}");
        }
    }

    #[test]
    fn causes_that_cannot_be_had_do_not_change_the_exit() {
        for cause in Cause::ALL.into_iter().filter(|cause| !cause.is_obtainable()) {
            assert_eq!(exit(vec![unknown(cause)]), 0, "{cause}");
        }
    }

    #[test]
    fn failures_below_the_threshold_or_without_effect_block_do_not_count() {
        let low = || finding("C-0016", Severity::Low, Verdict::Fail, hub(None));
        let info = finding("C-0016", Severity::Info, Verdict::Fail, hub(None));
        let warn = draft("PR-1001", Severity::High, Verdict::Fail, image()).effect(Effect::Warn).build().unwrap();
        let excepted = finding("C-0016", Severity::High, Verdict::Excepted, hub(None));
        assert_eq!(exit(vec![low()]), 10);
        assert_eq!(exit(vec![info, warn, excepted]), 0);
        let none = Threshold { fail_on: FailOn::None, ..Threshold::default() };
        assert_eq!(exit_code(&report(vec![failing("PR-1001"), low()]), &none), ExitCode::Clean);
    }

    #[test]
    fn no_threshold_hides_an_unknown_or_an_error() {
        let none = Threshold { fail_on: FailOn::None, ..Threshold::default() };
        let error = finding("C-0016", Severity::Info, Verdict::Error, hub(None));
        assert_eq!(exit_code(&report(vec![error]), &none), ExitCode::Unclassified);
        assert_eq!(exit_code(&report(vec![unknown(Cause::TimedOut)]), &none), ExitCode::Unknown);
    }

    #[test]
    fn an_unreadable_input_alone_is_unknown_and_not_nothing() {
        let unreadable = draft("PR-0001", Severity::High, Verdict::Unknown, hub(None)).cause(Cause::Unreadable);
        let report = Report { findings: vec![unreadable.build().unwrap()], ..Report::default() };
        assert_eq!(exit_code(&report, &Threshold::default()), ExitCode::Unknown);
    }

    #[test]
    fn an_image_alone_is_something_to_check() {
        let reference = "quay.io/nebari/hub:1".to_owned();
        let image = ImageReport { reference, digest: None, verdict: Verdict::Pass, evidence: vec![] };
        let report = Report { images: vec![image], ..Report::default() };
        assert_eq!(exit_code(&report, &Threshold::default()), ExitCode::Clean);
    }

    #[test]
    fn the_sentence_names_the_first_cause_of_the_exit_and_counts_the_others() {
        let findings = vec![failing("C-0016"), failing("PR-1001"), failing("PR-1001")];
        let decision = decide(&report(findings), &Threshold::default());
        assert_eq!(decision.code, ExitCode::Unsigned);
        assert_eq!(decision.why, "an image is not signed: PR-1001 on jhub/Deployment/hub (and 1 more)");
        let decision = decide(&Report::default(), &Threshold::default());
        assert_eq!(decision.why, "there was nothing to check");
    }

    #[test]
    fn a_percentage_is_checked() {
        assert_eq!("80%".parse(), Ok(Percent(80.0)));
        assert_eq!("99.5".parse(), Ok(Percent(99.5)));
        for text in ["", "-1", "101", "NaN", "inf", "8O"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
