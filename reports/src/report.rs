//! A report: everything that one run found, and what that means as a whole.

use std::collections::BTreeMap;

use crate::code::{Code, Topic};
use crate::finding::{Evidence, Finding};
use crate::severity::{Effect, Severity};
use crate::verdict::{Cause, Verdict};

/// A policy, configuration or exception file that the run was judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInput {
    /// Path, or `ref:path` when it was read from a git ref.
    pub name: String,
    /// `sha256:` and the digest of its bytes.
    pub digest: String,
}

/// What became of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReport {
    /// The reference as written.
    pub reference: String,
    /// The digest that was judged, where known.
    pub digest: Option<String>,
    /// The image's verdict over all questions of image trust.
    pub verdict: Verdict,
    /// Signers, predicates and what else the verdict rests on.
    pub evidence: Vec<Evidence>,
}

/// How many findings of a code, severity and verdict there were.
pub type Counted = BTreeMap<(Code, Severity, Verdict), usize>;

/// Everything that one run found. `findings` holds all verdicts; renderers choose what they show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Version of Portreeve.
    pub tool_version: String,
    /// Name or UID of the cluster, for runs against one.
    pub cluster: Option<String>,
    /// What the run was judged by.
    pub inputs: Vec<PolicyInput>,
    /// All findings, exceptions and effects applied.
    pub findings: Vec<Finding>,
    /// Findings with verdict `pass` or `not-applicable` that were counted and not kept: a large run has millions.
    pub counted: Counted,
    /// All images that were looked at.
    pub images: Vec<ImageReport>,
    /// Codes that the run was asked for and that have no rule yet: each is a control with coverage 0.
    pub unimplemented: Vec<Code>,
    /// Number of objects that could be read.
    pub objects_read: usize,
}

/// A share of questions that were decided, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Coverage(f64);

impl Coverage {
    /// Nothing was decided.
    pub const NONE: Self = Self(0.0);

    /// The mean of shares; [`Coverage::NONE`] of none, because nothing was decided.
    fn mean(shares: impl ExactSizeIterator<Item = f64>) -> Self {
        let count = shares.len();
        if count == 0 { Self::NONE } else { Self(shares.sum::<f64>() / count as f64) }
    }

    /// From 0 to 1.
    pub fn ratio(self) -> f64 {
        self.0
    }

    /// From 0 to 100, rounded down to one decimal: 100 is only shown when everything was decided.
    pub fn percent(self) -> f64 {
        (self.0 * 1000.0).floor() / 10.0
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} %", self.percent())
    }
}

/// How often a control was decided, and how often it was asked where it applies or might.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    decided: usize,
    asked: usize,
}

impl Tally {
    fn add(&mut self, verdict: Verdict, count: usize) {
        self.asked += count;
        self.decided += if verdict.is_decided() { count } else { 0 };
    }

    fn share(self) -> f64 {
        if self.asked == 0 { 0.0 } else { self.decided as f64 / self.asked as f64 }
    }
}

/// Findings by verdict, and failures by severity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_verdict: BTreeMap<Verdict, usize>,
    failures: BTreeMap<Severity, usize>,
}

impl Counts {
    /// Findings with this verdict.
    pub fn verdict(&self, verdict: Verdict) -> usize {
        self.by_verdict.get(&verdict).copied().unwrap_or(0)
    }

    /// Failures of this severity, whatever their effect.
    pub fn failures(&self, severity: Severity) -> usize {
        self.failures.get(&severity).copied().unwrap_or(0)
    }
}

impl Report {
    /// The verdict of the whole: fail > error > unknown > pass; `None` when there was nothing to judge, or no question
    /// applied to what there was. Of failures only those with effect `block` count, of unknowns only those that could
    /// have been had.
    pub fn verdict(&self) -> Option<Verdict> {
        let any = |counts: fn(&Finding) -> bool| self.findings.iter().any(counts);
        if any(is_blocking) {
            Some(Verdict::Fail)
        } else if any(|finding| finding.verdict == Verdict::Error) {
            Some(Verdict::Error)
        } else if any(|finding| finding.cause.is_some_and(Cause::is_obtainable)) || self.has_unknown_image() {
            Some(Verdict::Unknown)
        } else {
            self.has_answers().then_some(Verdict::Pass)
        }
    }

    /// The same in words, for people.
    pub fn verdict_in_words(&self) -> &'static str {
        match self.verdict() {
            Some(verdict) => verdict.as_str(),
            None if self.has_subjects() => "none, no question applied",
            None => "none, nothing was judged",
        }
    }

    /// Whether a question applied to a subject.
    fn has_answers(&self) -> bool {
        let applied = |code: &Code, verdict: Verdict| code.topic() != Topic::Input && verdict != Verdict::NotApplicable;
        self.findings.iter().any(|finding| applied(&finding.code, finding.verdict))
            || self.counted.iter().any(|((code, _, verdict), count)| *count > 0 && applied(code, *verdict))
            || self.images.iter().any(|image| image.verdict != Verdict::NotApplicable)
    }

    /// An image that does not exist has no findings, and is no pass.
    fn has_unknown_image(&self) -> bool {
        self.images.iter().any(|image| image.verdict == Verdict::Unknown)
    }

    /// Whether anything was there to judge. Findings about input and exceptions (`PR-0xxx`) are not about a subject
    /// of the run: an empty folder beside an exceptions file is still nothing.
    pub fn has_subjects(&self) -> bool {
        let judged = |finding: &Finding| finding.code.topic() != Topic::Input;
        self.objects_read > 0 || !self.images.is_empty() || self.findings.iter().any(judged)
    }

    /// Coverage of the whole: the mean over its controls, a control being a code that was asked.
    pub fn coverage(&self) -> Coverage {
        let tallies = self.tallies();
        Coverage::mean(tallies.values().map(|tally| tally.share()))
    }

    /// Findings by verdict, and failures by severity.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for finding in &self.findings {
            *counts.by_verdict.entry(finding.verdict).or_default() += 1;
            if finding.verdict == Verdict::Fail {
                *counts.failures.entry(finding.severity).or_default() += 1;
            }
        }
        for ((_, _, verdict), count) in &self.counted {
            *counts.by_verdict.entry(*verdict).or_default() += count;
        }
        counts
    }

    /// An unimplemented code has an empty tally, whatever findings carry it: a control that does not exist decides
    /// nothing.
    fn tallies(&self) -> BTreeMap<&Code, Tally> {
        let mut tallies: BTreeMap<&Code, Tally> = BTreeMap::new();
        for finding in &self.findings {
            tallies.entry(&finding.code).or_default().add(finding.verdict, 1);
        }
        for ((code, _, verdict), count) in &self.counted {
            tallies.entry(code).or_default().add(*verdict, *count);
        }
        tallies.extend(self.unimplemented.iter().map(|code| (code, Tally::default())));
        tallies
    }
}

/// Whether a finding denies and fails a gate.
pub fn is_blocking(finding: &Finding) -> bool {
    finding.verdict == Verdict::Fail && finding.effect == Effect::Block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{code, draft, finding, hub};

    fn report(verdicts: &[Verdict]) -> Report {
        let judged = |verdict: &Verdict| finding("C-0016", Severity::High, *verdict, hub(None));
        Report { findings: verdicts.iter().map(judged).collect(), objects_read: 1, ..Report::default() }
    }

    #[test]
    fn findings_that_were_only_counted_weigh_as_much_as_those_that_were_kept() {
        let kept = report(&[Verdict::Fail, Verdict::Pass, Verdict::Pass, Verdict::NotApplicable]);
        let mut counted = report(&[Verdict::Fail]);
        counted.counted.insert((code("C-0016"), Severity::High, Verdict::Pass), 2);
        counted.counted.insert((code("C-0016"), Severity::High, Verdict::NotApplicable), 1);
        assert_eq!((counted.counts(), counted.coverage()), (kept.counts(), kept.coverage()));
        assert_eq!(counted.verdict(), kept.verdict());
    }

    fn unknown(cause: Cause) -> Finding {
        draft("C-0016", Severity::High, Verdict::Unknown, hub(None)).cause(cause).build().unwrap()
    }

    #[test]
    fn the_worst_verdict_is_the_whole() {
        use Verdict::{Error, Excepted, Fail, NotApplicable, Pass, Unknown};
        let cases: [(&[Verdict], Verdict); 4] = [
            (&[Pass, Unknown, Error, Fail], Fail),
            (&[Pass, Unknown, Error], Error),
            (&[Pass, Unknown, Excepted], Unknown),
            (&[Pass, Excepted, NotApplicable], Pass),
        ];
        for (verdicts, whole) in cases {
            assert_eq!(report(verdicts).verdict(), Some(whole), "{verdicts:?}");
        }
        for nothing in [&[NotApplicable][..], &[]] {
            assert_eq!(report(nothing).verdict(), None, "no question applied: {nothing:?}");
        }
    }

    #[test]
    fn failures_that_only_warn_or_are_audited_do_not_fail_the_whole() {
        for effect in [Effect::Warn, Effect::Audit] {
            let failure = draft("C-0016", Severity::Critical, Verdict::Fail, hub(None)).effect(effect);
            let report = Report { findings: vec![failure.build().unwrap()], ..Report::default() };
            assert_eq!(report.verdict(), Some(Verdict::Pass));
            assert_eq!(report.counts().failures(Severity::Critical), 1, "it is counted all the same");
        }
    }

    #[test]
    fn only_causes_that_could_have_been_had_make_the_whole_unknown() {
        for cause in Cause::ALL {
            let report = Report { findings: vec![unknown(cause)], objects_read: 1, ..Report::default() };
            let whole = if cause.is_obtainable() { Verdict::Unknown } else { Verdict::Pass };
            assert_eq!(report.verdict(), Some(whole), "{cause}");
            assert_eq!(report.coverage(), Coverage::NONE, "{cause}");
        }
    }

    #[test]
    fn nothing_read_has_no_verdict_and_no_coverage() {
        assert_eq!(Report::default().verdict(), None);
        assert_eq!(Report::default().coverage(), Coverage::NONE);
        let unused = draft("PR-0002", Severity::Low, Verdict::Fail, hub(None)).effect(Effect::Warn).build().unwrap();
        assert_eq!(Report { findings: vec![unused], ..Report::default() }.verdict(), None);
    }

    #[test]
    fn coverage_is_the_mean_over_controls_and_not_over_findings() {
        let mut report = report(&[Verdict::Pass, Verdict::Fail, Verdict::Unknown, Verdict::Error]);
        report.findings.push(finding("C-0017", Severity::Low, Verdict::NotApplicable, hub(None)));
        assert_eq!(report.coverage().ratio(), 0.75);
        report.unimplemented = vec![code("C-0001"), code("C-0002")];
        assert_eq!(report.coverage().ratio(), 0.375);
    }

    #[test]
    fn a_percentage_is_never_rounded_up_to_all() {
        assert_eq!(Coverage(0.9999).to_string(), "99.9 %");
        assert_eq!(Coverage(1.0).to_string(), "100.0 %");
    }
}
