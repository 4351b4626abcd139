//! Findings as all doors tell them, what differs between two doors, and how often each question was answered how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// Digits of a fingerprint that the audit log has.
const SHORT: usize = 16;

/// A finding that is not a pass, as far as doors must agree on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// `C-0016`
    pub code: String,
    /// `fail`, `unknown`, `excepted` or `error`.
    pub verdict: String,
    /// The whole of it, or its first digits from a door that tells no more.
    pub fingerprint: String,
    /// Object path of its first place.
    pub path: String,
    /// The subject in JSON; empty from a door that tells the fingerprint only.
    pub subject: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, verdict, fingerprint, path, subject } = self;
        write!(f, "{code} {verdict} {path} {subject} {}", &fingerprint[..SHORT])
    }
}

impl Seen {
    /// Of a finding in json-v1; `None` for a pass.
    pub fn of(finding: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let seen = Self {
            code: text(&finding["code"]),
            verdict: text(&finding["verdict"]),
            fingerprint: text(&finding["fingerprint"]),
            path: text(&finding["locations"][0]["objectPath"]),
            subject: finding["subject"].to_string(),
        };
        (!["pass", "not-applicable"].contains(&seen.verdict.as_str())).then_some(seen)
    }

    /// Of an entry of the audit annotation: `CODE:VERDICT:FINGERPRINT:PATH`.
    pub fn of_entry(entry: &str) -> Option<Self> {
        let mut parts = entry.splitn(4, ':').map(str::to_owned);
        let (code, verdict) = (parts.next()?, parts.next()?);
        let (fingerprint, path) = (parts.next()?, parts.next()?);
        Some(Self { code, verdict, fingerprint, path, subject: String::new() })
    }

    /// Whether it is about an image: one finding for all its uses.
    pub fn is_of_image(&self) -> bool {
        self.code.starts_with("PR-1")
    }

    /// What the audit log tells of it. An image has a place in every object that uses it, and none of its own.
    fn short(&self) -> Self {
        let path = if self.is_of_image() { String::new() } else { self.path.clone() };
        Self { fingerprint: self.fingerprint[..SHORT].to_owned(), path, subject: String::new(), ..self.clone() }
    }
}

/// All findings of a door that are not passes.
pub type AllSeen = BTreeSet<Seen>;

/// The findings as a door tells them that tells fingerprints only. For an image the worst answer holds.
pub fn shortened(all: &AllSeen) -> AllSeen {
    let rank = |seen: &Seen| ["fail", "error", "unknown", "excepted"].iter().position(|word| *word == seen.verdict);
    let mut kept: BTreeMap<(String, String, String), Seen> = BTreeMap::new();
    for seen in all.iter().map(Seen::short) {
        let key = (seen.code.clone(), seen.fingerprint.clone(), seen.path.clone());
        let is_worse = kept.get(&key).is_none_or(|known| rank(&seen) < rank(known));
        if is_worse {
            kept.insert(key, seen);
        }
    }
    kept.into_values().collect()
}

/// What only one of two doors has, a line each; empty when they agree.
pub fn differences(left: (&str, &AllSeen), right: (&str, &AllSeen)) -> Vec<String> {
    let only = |(name, all): (&str, &AllSeen), other: &AllSeen| -> Vec<String> {
        all.difference(other).map(|seen| format!("only {name}: {seen}")).collect()
    };
    [only(left, right.1), only(right, left.1)].concat()
}

/// What the three questions about an image come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageOutcome {
    /// Signed, trusted and allowed.
    Verified,
    /// Nobody has signed it.
    Unsigned,
    /// Somebody has, and nobody whom the policy trusts.
    Untrusted,
    /// The policy is against it.
    Denied,
    /// It could not be told.
    Unknown,
}

impl ImageOutcome {
    /// The exit code of `verify` and `gate` for it.
    pub fn exit(self) -> i32 {
        match self {
            Self::Verified => 0,
            Self::Unsigned => 11,
            Self::Untrusted => 12,
            Self::Denied => 13,
            Self::Unknown => 5,
        }
    }

    /// Of codes and verdicts about one image; `None` where not everything was answered.
    pub fn of<'a>(told: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let told: BTreeSet<_> = told.into_iter().collect();
        let is = |code, verdict| told.contains(&(code, verdict));
        match told {
            _ if told.iter().any(|(code, verdict)| code.starts_with("PR-1") && *verdict == "unknown") => {
                Some(Self::Unknown)
            }
            _ if is("PR-1001", "fail") => Some(Self::Unsigned),
            _ if is("PR-1002", "fail") => Some(Self::Untrusted),
            _ if is("PR-1003", "fail") || is("PR-1004", "fail") => Some(Self::Denied),
            _ => ["PR-1001", "PR-1002", "PR-1003"].iter().all(|code| is(code, "pass")).then_some(Self::Verified),
        }
    }

    /// Of findings in json-v1, by image as it was named.
    pub fn by_reference(findings: &[Value]) -> BTreeMap<String, Option<Self>> {
        let mut told: BTreeMap<String, Vec<(&str, &str)>> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| finding["subject"]["type"] == "image") {
            let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
            let answer = (finding["code"].as_str(), finding["verdict"].as_str());
            let (Some(code), Some(verdict)) = answer else { continue };
            told.entry(text(&finding["subject"]["reference"])).or_default().push((code, verdict));
        }
        told.into_iter().map(|(reference, told)| (reference, Self::of(told))).collect()
    }
}

/// How a question about one object was answered, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Something is wrong.
    Fail,
    /// It could not be told.
    Unknown,
    /// Something is wrong and accepted.
    Excepted,
    /// All is well.
    Pass,
}

impl Answer {
    /// Of the word of a verdict; `None` for a question that was not asked.
    pub fn parse(verdict: &str) -> Option<Self> {
        match verdict {
            "fail" => Some(Self::Fail),
            "unknown" | "error" => Some(Self::Unknown),
            "excepted" => Some(Self::Excepted),
            "pass" => Some(Self::Pass),
            _ => None,
        }
    }
}

/// The answer of a door to each question (code) about each object; for images, each object that uses one.
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<(String, String), Answer>);

impl Answers {
    /// Of findings in json-v1.
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut answers = Self::default();
        for finding in findings {
            let (code, verdict) = (finding["code"].as_str(), finding["verdict"].as_str());
            let (Some(code), Some(answer)) = (code, verdict.and_then(Answer::parse)) else { continue };
            let related = finding["related"].as_array().into_iter().flatten();
            match finding["subject"]["type"].as_str() {
                Some("image") => related.for_each(|object| answers.add(code, &name_of(object), answer)),
                _ => answers.add(code, &name_of(&finding["subject"]), answer),
            }
        }
        answers
    }

    /// Adds an answer; the worst holds.
    pub fn add(&mut self, code: &str, object: &str, answer: Answer) {
        let known = self.0.entry((code.to_owned(), object.to_owned())).or_insert(answer);
        *known = answer.min(*known);
    }

    /// Adds what another door, which does tell passes, passed and this one has nothing against.
    pub fn with_passes_of(mut self, other: &Self) -> Self {
        let passes = other.0.iter().filter(|(_, answer)| **answer == Answer::Pass);
        passes.for_each(|((code, object), _)| {
            self.0.entry((code.clone(), object.clone())).or_insert(Answer::Pass);
        });
        self
    }

    /// How often each question was answered how.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for ((code, _), answer) in &self.0 {
            counts.0.entry(code.clone()).or_default()[*answer as usize] += 1;
        }
        counts
    }
}

/// `Kind/name` of a subject.
fn name_of(subject: &Value) -> String {
    let text = |key: &str| subject[key].as_str().unwrap_or_default();
    format!("{}/{}", text("kind"), text("name"))
}

/// By code: fail, unknown, excepted, pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, [usize; 4]>);

impl Counts {
    /// Adds those of another round.
    pub fn add(&mut self, other: &Self) {
        for (code, numbers) in &other.0 {
            let own = self.0.entry(code.clone()).or_default();
            own.iter_mut().zip(numbers).for_each(|(own, number)| *own += number);
        }
    }

    /// The codes that were answered.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How often a question had an answer.
    pub fn of(&self, code: &str, answer: Answer) -> usize {
        self.0.get(code).map_or(0, |numbers| numbers[answer as usize])
    }

    /// `  12/ 34/  0`: pass, fail and unknown of a code.
    pub fn cell(&self, code: &str) -> String {
        let [pass, fail, unknown] = [Answer::Pass, Answer::Fail, Answer::Unknown].map(|answer| self.of(code, answer));
        format!("{pass:>4}/{fail:>3}/{unknown:>3}")
    }
}
