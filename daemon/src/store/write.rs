//! Writing: records in, one transaction, changes out. All writes of the store end here.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use portreeve_reports::{Finding, SubjectKey};

use super::decisions::insert_decision;
use super::engine::{Session, Statement};
use super::error::StoreError;
use super::evidence::{self, SharedEvidence};
use super::fence;
use super::lifecycle::{self, Judged, Known, Step};
use super::model::{Cell, Changes, Counts, Decision, Resolution, SubjectFindings};
use super::recorder::NotRecorded;
use super::rows::{self, known, millis};
use super::{Store, body};
use crate::runtime::leader::Epoch;

/// What is kept of a message in the column that lists show; the body has it whole.
const MAX_MESSAGE: usize = 4 * 1024;
/// What is kept of the searched text.
const MAX_SEARCH: usize = 8 * 1024;

/// One thing to record.
#[derive(Clone, Debug)]
pub enum Record {
    /// A judging of a subject.
    Findings(SubjectFindings),
    /// A subject that is proven to be gone.
    Deleted {
        /// The subject.
        subject: SubjectKey,
        /// When it was known.
        at: Timestamp,
    },
    /// A question that no rule asks any more.
    NotAsked {
        /// The code of the question.
        code: String,
        /// When it was known.
        at: Timestamp,
    },
    /// A scan that judged and stored everything.
    Scan {
        /// Which.
        scanner: &'static str,
        /// When it ended.
        at: Timestamp,
    },
    /// An answer of admission.
    Decision(Decision),
    /// Evidence for the other processes.
    Evidence(SharedEvidence),
}

impl Record {
    /// What is lost when this is not stored: findings that are not passes, a decision, or a resolution.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Findings(batch) => {
                let open = batch.findings.iter().filter(|finding| finding.verdict.is_open()).count();
                u64::try_from(open).unwrap_or(u64::MAX).max(1)
            }
            Self::Deleted { .. } | Self::NotAsked { .. } | Self::Scan { .. } | Self::Decision(_) => 1,
            // It can be had again.
            Self::Evidence(_) => 0,
        }
    }

    /// What it is about, where the same is told again when it is not stored.
    fn about(&self) -> Option<&str> {
        match self {
            Self::Findings(batch) => Some(&batch.subject.0),
            Self::Deleted { subject, .. } => Some(&subject.0),
            Self::NotAsked { code, .. } => Some(code),
            Self::Scan { scanner, .. } => Some(scanner),
            Self::Decision(_) | Self::Evidence(_) => None,
        }
    }

    /// How much of a transaction it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Findings(batch) => batch.findings.len().max(1),
            _ => 1,
        }
    }

    /// Whether only the leader may write it.
    fn is_fenced(&self) -> bool {
        !matches!(self, Self::Decision(_) | Self::Evidence(_))
    }
}

/// A record on its way into the database.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// Of whom; `None` where nobody leads.
    pub(super) epoch: Option<Epoch>,
    /// Its number in this process, the same for a second try.
    pub(super) sequence: u64,
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Age at which resolved findings go.
    pub resolved: jiff::SignedDuration,
    /// Age at which decisions go.
    pub decisions: jiff::SignedDuration,
    /// The most decisions.
    pub max_decisions: u32,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: i64| jiff::SignedDuration::from_hours(24 * days);
        Self { resolved: days(180), decisions: days(30), max_decisions: 100_000 }
    }
}

/// What went by age or number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Resolved findings.
    pub findings: u64,
    /// Decisions.
    pub decisions: u64,
}

/// What a transaction wrote.
#[derive(Default)]
struct Written {
    done: Vec<Changes>,
    moves: Vec<Move>,
    /// The number of the change, where something visible changed.
    revision: Option<i64>,
    /// Whether anything was written: a judging that changes nothing succeeds on a full disk too.
    is_written: bool,
}

impl Store {
    /// A record with what a second try of it must have the same.
    pub(super) fn entry(&self, record: Record, epoch: Option<Epoch>) -> Entry {
        Entry { record, epoch, sequence: self.inner.sequence.fetch_add(1, Ordering::Relaxed) }
    }

    /// Counts a record that is not stored.
    pub(super) fn lose(&self, record: &Record) {
        self.inner.metrics.lost.inc_by(self.inner.lost.add(record.about(), record.weight()));
    }

    /// Writes the records in one transaction and says what each did. What fails together is tried one by one, once:
    /// only what is refused by itself is lost, and counted.
    pub(super) async fn commit(&self, entries: &[Entry]) -> Vec<Result<Changes, NotRecorded>> {
        let mut results = match self.attempt(entries).await {
            Ok(done) => done.into_iter().map(Ok).collect(),
            Err(_) => self.commit_each(entries).await,
        };
        if self.inner.is_writable.load(Ordering::Relaxed)
            && let Some(first) = results.iter_mut().find_map(|result| result.as_mut().ok())
        {
            first.lost = self.inner.lost.take();
        }
        results
    }

    async fn commit_each(&self, entries: &[Entry]) -> Vec<Result<Changes, NotRecorded>> {
        let mut results = Vec::with_capacity(entries.len());
        let mut outage = None;
        for entry in entries {
            let done = match &outage {
                // The doors do not wait for as many failures as there are records.
                Some(why) => Err(NotRecorded::clone(why)),
                None => match self.attempt(std::slice::from_ref(entry)).await {
                    Ok(done) => Ok(done.into_iter().next().unwrap_or_default()),
                    Err(error) => {
                        let why = NotRecorded::of(&error);
                        outage = error.is_outage().then(|| why.clone());
                        Err(why)
                    }
                },
            };
            // What a leader of before found, the one of now finds too.
            if done.as_ref().is_err_and(|why| *why != NotRecorded::Fenced) {
                self.lose(&entry.record);
            }
            results.push(done);
        }
        results
    }

    /// One transaction.
    async fn attempt(&self, entries: &[Entry]) -> Result<Vec<Changes>, StoreError> {
        let written = Box::pin(self.inner.writer.within(self.transact(entries))).await;
        let written = match written {
            Ok(Some(written)) => Ok(written),
            Ok(None) => Err(StoreError::Fenced),
            Err(source) => Err(self.failed(source)),
        };
        self.inner.metrics.written(written.is_ok());
        match &written {
            Ok(written) if written.is_written => self.inner.is_writable.store(true, Ordering::Relaxed),
            Err(error) if error.is_outage() => self.inner.is_writable.store(false, Ordering::Relaxed),
            _ => {}
        }
        let Written { done, moves, revision, .. } = written?;
        self.publish(&done, moves, revision);
        Ok(done)
    }

    /// `None` when a newer leader was here.
    async fn transact(&self, entries: &[Entry]) -> Result<Option<Written>, sqlx::Error> {
        let mut transaction = self.inner.writer.begin().await?;
        let written = self.write_entries(&mut transaction.session(), entries).await;
        match written {
            Ok(Some(written)) => transaction.commit().await.map(|()| Some(written)),
            refused => {
                transaction.abandon().await;
                refused
            }
        }
    }

    async fn write_entries(
        &self,
        session: &mut Session<'_>,
        entries: &[Entry],
    ) -> Result<Option<Written>, sqlx::Error> {
        let fenced = || entries.iter().filter(|entry| entry.record.is_fenced());
        let oldest = fenced().filter_map(|entry| entry.epoch).min();
        if fenced().next().is_some() && !fence::pass(session, self.cluster(), oldest).await? {
            return Ok(None);
        }
        let mut written = Written::default();
        for entry in entries {
            let done = self.write(session, entry, &mut written).await?;
            written.done.push(done);
        }
        if written.done.iter().any(Changes::is_visible) {
            written.revision = Some(fence::changed(session, self.cluster()).await?);
        }
        Ok(Some(written))
    }

    async fn write(
        &self,
        session: &mut Session<'_>,
        entry: &Entry,
        written: &mut Written,
    ) -> Result<Changes, sqlx::Error> {
        let cluster = self.cluster();
        written.is_written |= !matches!(&entry.record, Record::Findings(_) | Record::Deleted { .. });
        let (subject, at) = match &entry.record {
            Record::Findings(batch) => (&batch.subject, batch.at),
            Record::Deleted { subject, at } => (subject, *at),
            Record::NotAsked { code, at } => return not_asked(session, cluster, (code, *at), &mut written.moves).await,
            Record::Scan { scanner, at } => return scanned(session, cluster, scanner, *at).await,
            Record::Decision(decision) => {
                insert_decision(session, cluster, &self.decision_id(decision, entry.sequence), decision).await?;
                return Ok(Changes::default());
            }
            Record::Evidence(shared) => {
                evidence::share(session, cluster, shared).await?;
                return Ok(Changes::default());
            }
        };
        let rows = rows_of(session, cluster, subject).await?;
        let steps = match &entry.record {
            Record::Findings(batch) => lifecycle::plan(&rows, judged(&batch.findings), at),
            _ => lifecycle::plan_deletion(&rows),
        };
        written.is_written |= !steps.is_empty();
        let mut changes = Changes::default();
        for step in steps {
            let target = Target { cluster, subject, at: millis(at) };
            apply(session, &target, &step).await?;
            changes += account(&step, &mut written.moves);
        }
        Ok(changes)
    }

    /// Tells readers of the counts and the metrics what was committed.
    fn publish(&self, done: &[Changes], moves: Vec<Move>, revision: Option<i64>) {
        let mut all = Changes::default();
        done.iter().for_each(|done| all += *done);
        self.inner.metrics.opened.inc_by(all.opened + all.reopened);
        self.inner.metrics.resolved.inc_by(all.resolved);
        if let Some(revision) = revision {
            self.inner.counts.send_modify(|counts| moved(counts, moves));
            // Where another process wrote in between, the counts are taken anew (`follow`).
            let seen = &self.inner.revision;
            let _other = seen.compare_exchange(revision - 1, revision, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Time-ordered whatever the collation, and unique among all processes on the store.
    fn decision_id(&self, decision: &Decision, sequence: u64) -> String {
        format!("{:013}{sequence:016x}{:016x}", millis(decision.at).max(0), self.inner.process)
    }

    /// Deletes what is older than the retention, counted back from `now`. Open findings never go.
    pub async fn prune(&self, now: Timestamp, retention: &Retention) -> Result<Pruned, StoreError> {
        let pruned = self.inner.writer.within(self.delete_old(now, retention)).await;
        pruned.map_err(|source| self.failed(source))
    }

    async fn delete_old(&self, now: Timestamp, retention: &Retention) -> Result<Pruned, sqlx::Error> {
        let mut transaction = self.inner.writer.begin().await?;
        let pruned = self.delete_old_in(&mut transaction.session(), now, retention).await;
        match pruned {
            Ok(pruned) => transaction.commit().await.map(|()| pruned),
            Err(error) => {
                transaction.abandon().await;
                Err(error)
            }
        }
    }

    async fn delete_old_in(
        &self,
        session: &mut Session<'_>,
        now: Timestamp,
        retention: &Retention,
    ) -> Result<Pruned, sqlx::Error> {
        let before = |age| now.checked_sub(age).map_or(i64::MIN, millis);
        let cluster = self.cluster();
        fence::pass(session, cluster, None).await?;
        let resolved = "DELETE FROM findings WHERE cluster = $1 AND state = 'resolved' AND resolved_at < $2";
        let resolved = Statement::new(resolved).text(cluster).number(before(retention.resolved));
        let old = "DELETE FROM decisions WHERE cluster = $1 AND decided_at < $2";
        let old = Statement::new(old).text(cluster).number(before(retention.decisions));
        let many = "DELETE FROM decisions WHERE cluster = $1 AND id <= \
                    (SELECT id FROM decisions WHERE cluster = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
        let many = Statement::new(many).text(cluster).number(i64::from(retention.max_decisions));
        let findings = session.execute(&resolved).await?;
        Ok(Pruned { findings, decisions: session.execute(&old).await? + session.execute(&many).await? })
    }
}

/// Resolves all open findings of a question that nobody asks any more.
async fn not_asked(
    session: &mut Session<'_>,
    cluster: &str,
    (code, at): (&str, Timestamp),
    moves: &mut Vec<Move>,
) -> Result<Changes, sqlx::Error> {
    let open = "SELECT severity, verdict, effect, cause FROM findings \
                WHERE cluster = $1 AND code = $2 AND state = 'open'";
    let rows = session.rows(&Statement::new(open).text(cluster).text(code)).await?;
    for row in &rows {
        moves.push(Move { from: Some(rows::cell(row)?), to: None });
    }
    let resolve = "UPDATE findings SET state = 'resolved', resolved_at = $1, changed_at = $1, stale_cause = '', \
                   resolution = $2 WHERE cluster = $3 AND code = $4 AND state = 'open'";
    let resolve = Statement::new(resolve).number(millis(at)).text(Resolution::NotAsked.as_str());
    let resolved = session.execute(&resolve.text(cluster).text(code)).await?;
    Ok(Changes { resolved, ..Changes::default() })
}

async fn scanned(
    session: &mut Session<'_>,
    cluster: &str,
    scanner: &str,
    at: Timestamp,
) -> Result<Changes, sqlx::Error> {
    let text = "INSERT INTO scans (cluster, scanner, succeeded_at) VALUES ($1, $2, $3) \
                ON CONFLICT (cluster, scanner) DO UPDATE SET succeeded_at = excluded.succeeded_at";
    let statement = Statement::new(text).text(cluster).text(scanner).number(millis(at));
    session.execute(&statement).await.map(|_| Changes::default())
}

/// How an open finding's place in the counts changes.
#[derive(Debug)]
struct Move {
    from: Option<Cell>,
    to: Option<Cell>,
}

fn moved(counts: &mut Counts, moves: Vec<Move>) {
    counts.revision += 1;
    for Move { from, to } in moves {
        from.into_iter().for_each(|cell| counts.remove(cell));
        to.into_iter().for_each(|cell| counts.add(cell, 1));
    }
}

fn cell(judged: &Judged) -> Cell {
    let Finding { severity, verdict, effect, cause, .. } = judged.finding;
    Cell { severity, verdict, effect, cause }
}

fn account(step: &Step, moves: &mut Vec<Move>) -> Changes {
    let mut changes = Changes::default();
    let (count, from, to) = match step {
        Step::Open(judged) => (&mut changes.opened, None, Some(cell(judged))),
        Step::Reopen(judged) => (&mut changes.reopened, None, Some(cell(judged))),
        Step::Change(judged, from) => (&mut changes.changed, Some(*from), Some(cell(judged))),
        Step::Resolve(_, from, _) => (&mut changes.resolved, Some(*from), None),
        Step::Stale { is_new: true, .. } => (&mut changes.changed, None, None),
        Step::Stale { .. } | Step::Touch(_) => return changes,
    };
    *count += 1;
    moves.push(Move { from, to });
    changes
}

fn judged(findings: &[Finding]) -> Vec<Judged> {
    // Only what may be stored needs its text.
    let text = |finding: &Finding| if finding.verdict.is_open() { body::body(finding) } else { String::new() };
    findings.iter().map(|finding| Judged { body: text(finding), finding: finding.clone() }).collect()
}

async fn rows_of(session: &mut Session<'_>, cluster: &str, subject: &SubjectKey) -> Result<Vec<Known>, sqlx::Error> {
    let text = "SELECT fingerprint, source, code, check_name, severity, verdict, effect, cause, body, state, stale_cause, \
                last_seen FROM findings WHERE cluster = $1 AND subject_key = $2";
    session.rows(&Statement::new(text).text(cluster).text(&subject.0)).await?.iter().map(known).collect()
}

/// The row that a step is about, but for its fingerprint.
struct Target<'a> {
    cluster: &'a str,
    subject: &'a SubjectKey,
    at: i64,
}

async fn apply(session: &mut Session<'_>, target: &Target<'_>, step: &Step) -> Result<(), sqlx::Error> {
    let (text, fingerprint, word) = match step {
        Step::Open(judged) | Step::Change(judged, _) => return upsert(session, target, judged, 0).await,
        Step::Reopen(judged) => return upsert(session, target, judged, 1).await,
        Step::Touch(fingerprint) => (TOUCH, fingerprint, ""),
        Step::Stale { fingerprint, cause, is_new: false } => (TOUCH, fingerprint, cause.as_str()),
        Step::Stale { fingerprint, cause, is_new: true } => (STALE, fingerprint, cause.as_str()),
        Step::Resolve(fingerprint, _, reason) => (RESOLVE, fingerprint, reason.as_str()),
    };
    let statement = Statement::new(text).number(target.at).text(word).text(target.cluster).text(fingerprint);
    session.execute(&statement).await.map(|_| ())
}

const TOUCH: &str = "UPDATE findings SET last_seen = CASE WHEN last_seen > $1 THEN last_seen ELSE $1 END, \
                     stale_cause = $2 WHERE cluster = $3 AND fingerprint = $4";
const STALE: &str = "UPDATE findings SET last_seen = $1, stale_cause = $2, changed_at = $1 \
                     WHERE cluster = $3 AND fingerprint = $4";
const RESOLVE: &str = "UPDATE findings SET state = 'resolved', resolved_at = $1, changed_at = $1, stale_cause = '', \
                       resolution = $2 WHERE cluster = $3 AND fingerprint = $4";
const UPSERT: &str = "INSERT INTO findings (cluster, fingerprint, subject_key, subject, namespace, source, code, \
     check_name, severity, severity_rank, verdict, verdict_rank, cause, effect, message, search_text, body, state, \
     stale_cause, first_seen, last_seen, changed_at, resolved_at, reopened) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 'open', '', $18, $18, $18, \
     NULL, 0) \
     ON CONFLICT (cluster, fingerprint) DO UPDATE SET subject_key = excluded.subject_key, \
     subject = excluded.subject, namespace = excluded.namespace, severity = excluded.severity, \
     severity_rank = excluded.severity_rank, verdict = excluded.verdict, verdict_rank = excluded.verdict_rank, \
     cause = excluded.cause, effect = excluded.effect, message = excluded.message, \
     search_text = excluded.search_text, body = excluded.body, state = 'open', stale_cause = '', \
     last_seen = excluded.last_seen, changed_at = excluded.changed_at, resolved_at = NULL, \
     resolution = '', reopened = findings.reopened + $19";

async fn upsert(
    session: &mut Session<'_>,
    target: &Target<'_>,
    judged: &Judged,
    reopened: i64,
) -> Result<(), sqlx::Error> {
    let finding = &judged.finding;
    let subject = finding.subject.display();
    let message = body::bounded(&finding.message, MAX_MESSAGE);
    let search = format!("{} {subject} {message}", finding.code).to_lowercase();
    let statement = Statement::new(UPSERT)
        .text(target.cluster)
        .text(finding.fingerprint.as_str())
        .text(&target.subject.0)
        .text(&subject)
        .text(finding.subject.namespace().unwrap_or_default())
        .text(finding.source.as_str())
        .text(finding.code.as_str())
        .text(finding.check.as_ref())
        .text(finding.severity.as_str())
        .number(finding.severity as i64)
        .text(finding.verdict.as_str())
        .number(i64::from(finding.verdict.rank()))
        .text(finding.cause.map_or("", |cause| cause.as_str()))
        .text(finding.effect.as_str())
        .text(message)
        .text(body::bounded(&search, MAX_SEARCH))
        .text(&judged.body)
        .number(target.at)
        .number(reopened);
    session.execute(&statement).await.map(|_| ())
}
