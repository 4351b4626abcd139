//! The values that go into and come out of a store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve_reports::{Cause, Effect, Finding, Severity, SubjectKey, Verdict};

/// All findings of one judging of one subject, passes included: they are what resolves.
#[derive(Clone, Debug)]
pub struct SubjectFindings {
    /// The subject. Findings about other subjects must not be in the batch.
    pub subject: SubjectKey,
    /// Every verdict of the judging.
    pub findings: Vec<Finding>,
    /// When the subject was judged.
    pub at: Timestamp,
}

/// What a write did to the rows of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows that are new.
    pub opened: u64,
    /// Open rows whose content is another now.
    pub changed: u64,
    /// Rows that a decided verdict or a deletion closed.
    pub resolved: u64,
    /// Resolved rows that are open again.
    pub reopened: u64,
    /// Records lost since the last successful write. The first write after an outage says it, once.
    pub lost: u64,
}

impl Changes {
    /// Whether any row is open, closed or worded otherwise than before.
    pub fn is_visible(&self) -> bool {
        self.opened + self.changed + self.resolved + self.reopened > 0
    }
}

impl std::ops::AddAssign for Changes {
    fn add_assign(&mut self, other: Self) {
        self.opened += other.opened;
        self.changed += other.changed;
        self.resolved += other.resolved;
        self.reopened += other.reopened;
        self.lost += other.lost;
    }
}

/// Whether a stored finding still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Fails, is excepted, or is not known.
    Open,
    /// Decided otherwise, or its subject is gone.
    Resolved,
}

impl State {
    /// The word used in the store and in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
        }
    }

    /// The state of that name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Open, Self::Resolved].into_iter().find(|state| state.as_str() == word)
    }
}

/// Why a finding is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Its question was decided otherwise.
    Decided,
    /// Its subject is proven to be gone.
    Gone,
    /// No rule asks its question any more: another framework, or no image policy.
    NotAsked,
}

impl Resolution {
    /// The word used in the store and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Gone => "gone",
            Self::NotAsked => "not-asked",
        }
    }

    /// The reason of that name.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Decided, Self::Gone, Self::NotAsked].into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A finding with its life in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFinding {
    /// Identity inside the cluster.
    pub fingerprint: String,
    /// The subject's identity.
    pub subject_key: SubjectKey,
    /// The subject in one line.
    pub subject: String,
    /// Namespace; empty for what has none.
    pub namespace: String,
    /// The question.
    pub code: String,
    /// The part of the question.
    pub check: String,
    /// How bad.
    pub severity: Severity,
    /// The last verdict that was recorded.
    pub verdict: Verdict,
    /// Why it is unknown.
    pub cause: Option<Cause>,
    /// What a failure does.
    pub effect: Effect,
    /// One sentence.
    pub message: String,
    /// The finding in json-v1.
    pub body: serde_json::Value,
    /// Open or resolved.
    pub state: State,
    /// Set while the last judging could not decide: a cause's word, or `error`. The verdict is the one before.
    pub stale_cause: Option<String>,
    /// First recorded.
    pub first_seen: Timestamp,
    /// Last recorded.
    pub last_seen: Timestamp,
    /// Last opened, changed, resolved or reopened.
    pub changed_at: Timestamp,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Why it was resolved; `None` too where a version that did not note it resolved it.
    pub resolution: Option<Resolution>,
    /// How often it came back.
    pub reopened: u64,
}

/// Which findings to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindingQuery {
    /// `None` for both.
    pub state: Option<State>,
    /// Of this severity.
    pub severity: Option<Severity>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// With this code.
    pub code: Option<String>,
    /// In this namespace; the empty string for subjects without one.
    pub namespace: Option<String>,
    /// About this subject.
    pub subject: Option<SubjectKey>,
    /// Words that code, subject or message contain, whatever the case.
    pub text: Option<String>,
    /// Rows to leave out at the front.
    pub offset: u64,
    /// Rows to return, at most [`FindingQuery::MAX_LIMIT`].
    pub limit: u32,
}

impl FindingQuery {
    /// The most rows of one page.
    pub const MAX_LIMIT: u32 = 500;
}

/// A part of a longer list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
    /// How many are before the first row.
    pub offset: u64,
}

/// Open findings by what they are. Kept in memory, so that metrics and pages do not ask the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Grows with every visible change.
    pub revision: u64,
    cells: BTreeMap<Cell, u64>,
}

/// What an open finding is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) severity: Severity,
    pub(super) verdict: Verdict,
    pub(super) effect: Effect,
    pub(super) cause: Option<Cause>,
}

impl Counts {
    pub(super) fn starting_at(revision: u64) -> Self {
        Self { revision, cells: BTreeMap::new() }
    }

    /// Open findings of a severity with a verdict, whatever their effect.
    pub fn of(&self, severity: Severity, verdict: Verdict) -> u64 {
        self.sum(|cell| cell.severity == severity && cell.verdict == verdict)
    }

    /// Open findings with a verdict.
    pub fn with_verdict(&self, verdict: Verdict) -> u64 {
        self.sum(|cell| cell.verdict == verdict)
    }

    /// Open failures that count in the whole: those whose effect is to block.
    pub fn blocking(&self) -> u64 {
        self.sum(|cell| cell.verdict == Verdict::Fail && cell.effect == Effect::Block)
    }

    /// The verdict of the whole: fail > error > unknown > pass. Failures that do not block, and unknowns of which
    /// nobody could have had the answer, do not count.
    pub fn whole(&self) -> Verdict {
        let has = |wanted: fn(&Cell) -> bool| self.sum(wanted) > 0;
        if self.blocking() > 0 {
            Verdict::Fail
        } else if has(|cell| cell.verdict == Verdict::Error) {
            Verdict::Error
        } else if has(|cell| cell.verdict == Verdict::Unknown && cell.cause.is_none_or(Cause::is_obtainable)) {
            Verdict::Unknown
        } else {
            Verdict::Pass
        }
    }

    fn sum(&self, wanted: impl Fn(&Cell) -> bool) -> u64 {
        self.cells.iter().filter(|(cell, _)| wanted(cell)).map(|(_, count)| count).sum()
    }

    pub(super) fn add(&mut self, cell: Cell, count: u64) {
        *self.cells.entry(cell).or_default() += count;
    }

    pub(super) fn remove(&mut self, cell: Cell) {
        if let Some(count) = self.cells.get_mut(&cell) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Open findings of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceRow {
    /// Empty for subjects without one.
    pub namespace: String,
    /// Failures by severity.
    pub failing: BTreeMap<Severity, u64>,
    /// Open findings that could not be decided (`unknown` and `error`).
    pub undecided: u64,
    /// Accepted failures.
    pub excepted: u64,
}

/// What the first screen shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Open findings by severity and verdict.
    pub counts: Counts,
    /// The namespaces with the worst failures, worst first, at most [`Summary::MAX_NAMESPACES`].
    pub namespaces: Vec<NamespaceRow>,
    /// How many namespaces have open findings.
    pub namespaces_total: u64,
    /// First seen in the last 24 hours and still open.
    pub opened_day: u64,
    /// Resolved in the last 24 hours.
    pub resolved_day: u64,
}

impl Summary {
    /// The most namespaces of a summary.
    pub const MAX_NAMESPACES: usize = 50;
}

/// What admission answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// The request's UID.
    pub uid: String,
    /// `mutate` or `validate`.
    pub door: String,
    /// `CREATE`, `UPDATE`, …
    pub operation: String,
    /// Kind of the object.
    pub kind: String,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name, or its `generateName` with a `*`.
    pub name: String,
    /// The answer.
    pub allowed: bool,
    /// `enforce`, `warn`, `audit`, `exempt`, `break-glass`.
    pub mode: String,
    /// Codes that failed or were not known.
    pub codes: Vec<String>,
    /// Digests of the images that were judged.
    pub digests: Vec<String>,
}
