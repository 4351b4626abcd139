//! What the log says of findings that stay: each once, however often a round finds it again.

use std::collections::BTreeMap;

use portreeve_reports::{Code, Finding, Verdict};

/// The findings about one subject as they were told last, with how often they were found again.
#[derive(Debug, Default)]
pub(super) struct Said(BTreeMap<(Code, String), (Verdict, u64)>);

impl Said {
    /// The open findings that are not told yet. What was told and is so no more is said with its count.
    pub(super) fn news<'f>(&mut self, findings: &'f [Finding]) -> Vec<&'f Finding> {
        let mut before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for finding in findings.iter().filter(|finding| finding.verdict.is_open()) {
            let key = (finding.code.clone(), finding.message.clone());
            // What an exception covers since, or does not any more, is another word about the same.
            let again = before.remove(&key).filter(|(verdict, _)| *verdict == finding.verdict);
            if again.is_none() {
                news.push(finding);
            }
            self.0.insert(key, (finding.verdict, again.map_or(0, |(_, again)| again + 1)));
        }
        for ((code, message), (_, again)) in before {
            tracing::info!(%code, message, again, "is so no more");
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use portreeve_reports::{FindingBuilder, Location, Severity, Subject, Verdict};

    use super::*;

    fn finding(code: &str, verdict: Verdict, message: &str) -> Finding {
        let subject = Subject::Component { platform: "p".to_owned(), component: "c".to_owned() };
        let place =
            Location { file: Some("platform.yaml".into()), line: Some(1), column: Some(1), ..Location::default() };
        let builder = FindingBuilder::new(Code::parse(code).unwrap(), Severity::High, verdict);
        builder.subject(subject).location(place).message(message.to_owned()).build().unwrap()
    }

    #[test]
    fn a_finding_is_told_once_until_it_changes_or_comes_back() {
        let mut said = Said::default();
        let refused = finding("PR-5003", Verdict::Fail, "refused");
        let drift = finding("PR-5005", Verdict::Fail, "drift");
        let well = finding("PR-5003", Verdict::Pass, "refused");
        let codes = |said: &mut Said, findings: &[Finding]| -> Vec<String> {
            said.news(findings).iter().map(|finding| finding.code.to_string()).collect()
        };
        assert_eq!(codes(&mut said, std::slice::from_ref(&refused)), ["PR-5003"]);
        assert_eq!(codes(&mut said, &[refused.clone(), drift.clone()]), ["PR-5005"]);
        assert_eq!(codes(&mut said, &[refused.clone(), drift.clone()]), [""; 0]);
        assert_eq!(said.0.values().map(|(_, again)| *again).collect::<Vec<_>>(), [2, 1], "and counted");
        let accepted = finding("PR-5003", Verdict::Excepted, "refused");
        assert_eq!(codes(&mut said, &[accepted, drift.clone()]), ["PR-5003"], "it is accepted since");
        assert_eq!(codes(&mut said, &[well, drift]), [""; 0]);
        assert_eq!(codes(&mut said, &[finding("PR-5003", Verdict::Fail, "refused otherwise")]), ["PR-5003"]);
        assert_eq!(codes(&mut said, &[refused]), ["PR-5003"]);
    }
}
