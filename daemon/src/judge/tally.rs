//! What the last judging of every subject came to, as numbers: coverage and images for the page and the metrics.
//! Passes are not stored, so this is kept beside the store and is complete once everything was judged once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use portreeve_reports::{Code, Finding, SubjectKey, Verdict};
use portreeve_trust::rules::{ALLOWED, SIGNED, TRUSTED};
use tokio::sync::watch;

use crate::store::{Board, ImageCounts};

/// Numbers of all subjects. Doors that judge on their own time (watch, schedule) tell it.
#[derive(Debug)]
pub struct Tally {
    unimplemented: usize,
    state: Mutex<State>,
    board: watch::Sender<Board>,
}

#[derive(Debug, Default)]
struct State {
    subjects: HashMap<SubjectKey, Judged>,
    totals: BTreeMap<Code, Answers>,
    images: ImageCounts,
}

/// What one subject came to.
#[derive(Debug, Default)]
struct Judged {
    answers: Vec<(Code, Answers)>,
    image: Option<ImageOutcome>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answers {
    decided: u64,
    undecided: u64,
}

/// What the findings about one image come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageOutcome {
    /// Signed as the policy asks.
    Verified,
    /// Without a signature.
    Unsigned,
    /// Signed by nobody that is trusted.
    Untrusted,
    /// The policy or an attestation disagrees.
    Mismatch,
    /// Could not be checked.
    Unknown,
}

impl Tally {
    /// Nothing judged yet; `unimplemented` controls of the chosen frameworks count as never decided.
    pub fn new(unimplemented: usize) -> Self {
        Self { unimplemented, state: Mutex::default(), board: watch::Sender::new(Board::default()) }
    }

    /// The numbers as they change.
    pub fn board(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }

    /// A subject was judged.
    pub fn judged(&self, subject: &SubjectKey, findings: &[Finding]) {
        let now = Judged { answers: answers(findings), image: image_outcome(findings) };
        self.replace(subject, Some(now));
    }

    /// A subject is gone.
    pub fn deleted(&self, subject: &SubjectKey) {
        self.replace(subject, None);
    }

    /// Publishes the numbers as they are now.
    pub fn publish(&self, objects: usize) {
        let (coverage, images) = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (coverage(&state.totals, self.unimplemented), state.images)
        };
        self.board.send_if_modified(|board| {
            let now = Board { coverage, images, objects: objects as u64, ..board.clone() };
            let is_other = *board != now;
            *board = now;
            is_other
        });
    }

    /// A scan of everything has ended.
    pub fn scanned(&self, scanner: &'static str, at: jiff::Timestamp) {
        self.board.send_modify(|board| {
            board.scans.insert(scanner, at);
        });
    }

    fn replace(&self, subject: &SubjectKey, now: Option<Judged>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = state.subjects.remove(subject) {
            state.count(&before, u64::wrapping_sub);
        }
        if let Some(now) = now {
            state.count(&now, u64::wrapping_add);
            state.subjects.insert(subject.clone(), now);
        }
    }
}

impl State {
    fn count(&mut self, judged: &Judged, change: fn(u64, u64) -> u64) {
        for (code, answers) in &judged.answers {
            let total = self.totals.entry(code.clone()).or_default();
            total.decided = change(total.decided, answers.decided);
            total.undecided = change(total.undecided, answers.undecided);
        }
        let Some(image) = judged.image else { return };
        let count = match image {
            ImageOutcome::Verified => &mut self.images.verified,
            ImageOutcome::Unsigned => &mut self.images.unsigned,
            ImageOutcome::Untrusted => &mut self.images.untrusted,
            ImageOutcome::Mismatch => &mut self.images.mismatch,
            ImageOutcome::Unknown => &mut self.images.unknown,
        };
        *count = change(*count, 1);
    }
}

fn answers(findings: &[Finding]) -> Vec<(Code, Answers)> {
    let mut by_code: BTreeMap<&Code, Answers> = BTreeMap::new();
    for finding in findings {
        let answers = by_code.entry(&finding.code).or_default();
        if finding.verdict.is_decided() { answers.decided += 1 } else { answers.undecided += 1 }
    }
    by_code.into_iter().map(|(code, answers)| (code.clone(), answers)).collect()
}

/// The mean over the codes that were asked, and over the controls that do not exist yet.
fn coverage(totals: &BTreeMap<Code, Answers>, unimplemented: usize) -> Option<f64> {
    let asked: Vec<f64> = totals
        .values()
        .filter(|answers| answers.decided + answers.undecided > 0)
        .map(|answers| answers.decided as f64 / (answers.decided + answers.undecided) as f64)
        .collect();
    let controls = asked.len() + unimplemented;
    (!asked.is_empty()).then(|| asked.iter().sum::<f64>() / controls as f64)
}

/// What the findings about one image come to; `None` when they are about none, or nothing is asked of it.
pub fn image_outcome(findings: &[Finding]) -> Option<ImageOutcome> {
    let verdict =
        |code: &str| findings.iter().find(|finding| finding.code.as_str() == code).map(|finding| finding.verdict);
    let signed = verdict(SIGNED.code)?;
    let failed = |code| verdict(code) == Some(Verdict::Fail);
    Some(match signed {
        Verdict::Unknown | Verdict::Error => ImageOutcome::Unknown,
        _ if failed(SIGNED.code) => ImageOutcome::Unsigned,
        _ if failed(TRUSTED.code) => ImageOutcome::Untrusted,
        _ if failed(ALLOWED.code) => ImageOutcome::Mismatch,
        Verdict::Pass => ImageOutcome::Verified,
        // Nothing is asked of the image, or an exception accepts what was found.
        Verdict::NotApplicable | Verdict::Excepted | Verdict::Fail => return None,
    })
}
