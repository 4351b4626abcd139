//! The rule by which findings open, change, resolve and reopen. Pure: rows and a batch in, steps out.
//!
//! A row resolves only when its question was decided: by a pass of its own, or by its absence from a judging of its
//! subject in which the same question (source, code, check) was decided and nowhere left open. An `unknown` or
//! `error` never resolves; a failure that can no longer be decided stays a failure and is marked stale.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use portreeve_reports::Finding;

use super::model::{Cell, Resolution};

/// What the store knows of a finding of the judged subject.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) fingerprint: String,
    pub(super) question: Question,
    pub(super) cell: Cell,
    pub(super) is_open: bool,
    pub(super) body: String,
    pub(super) stale_cause: String,
    pub(super) last_seen: Timestamp,
}

/// Source, code and check.
pub(super) type Question = (String, String, String);

/// A finding of the batch, with its json-v1 text.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) finding: Finding,
    pub(super) body: String,
}

/// What to do with one row.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Insert.
    Open(Judged),
    /// Write the new content over an open row.
    Change(Judged, Cell),
    /// Open a resolved row again.
    Reopen(Judged),
    /// Nothing new but the time.
    Touch(String),
    /// It stays as it was, and cannot be decided now.
    Stale { fingerprint: String, cause: String, is_new: bool },
    /// Close.
    Resolve(String, Cell, Resolution),
}

/// The steps that bring the rows of a subject to what its judging at `at` found.
pub(super) fn plan(rows: &[Known], batch: Vec<Judged>, at: Timestamp) -> Vec<Step> {
    let resolvable = Resolvable::of(&batch);
    let known: HashMap<&str, &Known> = rows.iter().map(|row| (row.fingerprint.as_str(), row)).collect();
    let batch = worst_by_fingerprint(batch);
    let absent = rows.iter().filter(|row| row.is_open && !batch.contains_key(&row.fingerprint));
    let mut steps: Vec<Step> =
        absent.filter(|row| resolvable.question(&row.question)).filter_map(|row| resolve(row, at)).collect();
    let mut present: Vec<Judged> = batch.into_values().collect();
    present.sort_by(|a, b| a.finding.fingerprint.cmp(&b.finding.fingerprint));
    for judged in present {
        let row = known.get(judged.finding.fingerprint.as_str()).copied();
        steps.extend(step(row, judged, at));
    }
    steps
}

/// The steps after the proven deletion of a subject.
pub(super) fn plan_deletion(rows: &[Known]) -> Vec<Step> {
    rows.iter()
        .filter(|row| row.is_open)
        .map(|row| Step::Resolve(row.fingerprint.clone(), row.cell, Resolution::Gone))
        .collect()
}

fn step(row: Option<&Known>, judged: Judged, at: Timestamp) -> Option<Step> {
    let verdict = judged.finding.verdict;
    match row {
        None => verdict.is_open().then_some(Step::Open(judged)),
        Some(row) if !row.is_open => verdict.is_open().then_some(Step::Reopen(judged)),
        Some(row) if !verdict.is_open() => resolve(row, at),
        Some(row) if !verdict.is_decided() && row.cell.verdict.is_decided() => Some(stale(row, &judged.finding)),
        Some(row) if row.body == judged.body && row.stale_cause.is_empty() => {
            Some(Step::Touch(row.fingerprint.clone()))
        }
        Some(row) => Some(Step::Change(judged, row.cell)),
    }
}

/// A judging older than the last sighting of a row says nothing about it: two doors may finish in either order.
fn resolve(row: &Known, at: Timestamp) -> Option<Step> {
    (row.last_seen <= at).then(|| Step::Resolve(row.fingerprint.clone(), row.cell, Resolution::Decided))
}

fn stale(row: &Known, finding: &Finding) -> Step {
    let cause = finding.cause.map_or("error", |cause| cause.as_str()).to_owned();
    Step::Stale { fingerprint: row.fingerprint.clone(), is_new: row.stale_cause != cause, cause }
}

/// Two findings of one fingerprint in a batch (two tags of one repository): the worse one is kept.
fn worst_by_fingerprint(batch: Vec<Judged>) -> HashMap<String, Judged> {
    let mut worst: HashMap<String, Judged> = HashMap::with_capacity(batch.len());
    for judged in batch {
        match worst.entry(judged.finding.fingerprint.as_str().to_owned()) {
            std::collections::hash_map::Entry::Occupied(mut held) => {
                if judged.finding.verdict.rank() < held.get().finding.verdict.rank() {
                    held.insert(judged);
                }
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(judged);
            }
        }
    }
    worst
}

/// The questions that a batch decided everywhere.
struct Resolvable {
    decided: HashSet<Question>,
    undecided: HashSet<Question>,
}

impl Resolvable {
    fn of(batch: &[Judged]) -> Self {
        let questions = |is_decided: bool| {
            let wanted = batch.iter().filter(move |judged| judged.finding.verdict.is_decided() == is_decided);
            wanted.map(|judged| question(&judged.finding)).collect()
        };
        Self { decided: questions(true), undecided: questions(false) }
    }

    fn question(&self, question: &Question) -> bool {
        self.decided.contains(question) && !self.undecided.contains(question)
    }
}

/// The question of a finding.
pub(super) fn question(finding: &Finding) -> Question {
    (finding.source.as_str().to_owned(), finding.code.as_str().to_owned(), finding.check.as_ref().to_owned())
}
