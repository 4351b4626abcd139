//! Writing: records in, one transaction, changes out. All writes of the store end here.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use portreeve_reports::{Finding, SubjectKey};
use sqlx::{Connection as _, Sqlite, SqliteConnection, Transaction};

use super::decisions::insert_decision;
use super::error::StoreError;
use super::lifecycle::{self, Judged, Row, Step};
use super::model::{Cell, Changes, Counts, Decision, SubjectFindings};
use super::rows::{lifecycle_row, millis};
use super::{Store, body};

/// The most findings of one transaction: admission must not wait behind a whole rescan.
const CHUNK: u64 = 2_000;
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
    /// An answer of admission.
    Decision(Decision),
}

impl Record {
    /// What is lost when this is not stored: findings that are not passes, a decision, or a resolution.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Findings(batch) => {
                let open = batch.findings.iter().filter(|finding| finding.verdict.is_open()).count();
                u64::try_from(open).unwrap_or(u64::MAX).max(1)
            }
            Self::Deleted { .. } | Self::Decision(_) => 1,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Findings(batch) => u64::try_from(batch.findings.len()).unwrap_or(u64::MAX).max(1),
            Self::Deleted { .. } | Self::Decision(_) => 1,
        }
    }
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

impl Store {
    /// Writes the records in transactions of a bounded size; what is not written is counted.
    pub(super) async fn write_all(&self, records: Vec<Record>) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(chunk_length(rest));
            match self.commit(chunk).await {
                Ok(done) => done.into_iter().for_each(|done| changes += done),
                Err(error) => {
                    self.lose(later.iter().map(Record::weight).sum());
                    return Err(error);
                }
            }
            rest = later;
        }
        Ok(changes)
    }

    /// Counts records that a door could not hand over.
    pub(super) fn lose(&self, records: u64) {
        self.inner.lost.add(records);
        self.inner.metrics.lost.inc_by(records);
    }

    /// Writes the records in one transaction and says what each did. On an error all of them are counted as lost.
    pub(super) async fn commit(&self, records: &[Record]) -> Result<Vec<Changes>, StoreError> {
        let written = self.transact(records).await;
        self.inner.is_writable.store(written.is_ok(), Ordering::Relaxed);
        self.inner.metrics.written(written.is_ok());
        match written {
            Ok(mut done) => {
                if let Some(first) = done.first_mut() {
                    first.lost = self.inner.lost.take();
                }
                Ok(done)
            }
            Err(source) => {
                self.lose(records.iter().map(Record::weight).sum());
                Err(self.failed(source))
            }
        }
    }

    async fn transact(&self, records: &[Record]) -> Result<Vec<Changes>, sqlx::Error> {
        let mut connection = self.inner.writer.acquire().await?;
        let written = self.write_records(&mut connection, records).await;
        if written.is_err() {
            // A failed COMMIT may leave SQLite's transaction open, and the next one would only be nested in it: said to
            // be committed, and gone with the process. A new connection starts from what is on disk.
            drop(connection.close().await);
        }
        let (done, moves) = written?;
        self.publish(&done, moves);
        Ok(done)
    }

    async fn write_records(
        &self,
        connection: &mut SqliteConnection,
        records: &[Record],
    ) -> Result<(Vec<Changes>, Vec<Move>), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let mut done = Vec::with_capacity(records.len());
        let mut moves = Vec::new();
        for record in records {
            done.push(self.write(&mut transaction, record, &mut moves).await?);
        }
        transaction.commit().await?;
        Ok((done, moves))
    }

    async fn write(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        record: &Record,
        moves: &mut Vec<Move>,
    ) -> Result<Changes, sqlx::Error> {
        let cluster = self.cluster();
        let (subject, at) = match record {
            Record::Findings(batch) => (&batch.subject, batch.at),
            Record::Deleted { subject, at } => (subject, *at),
            Record::Decision(decision) => {
                insert_decision(transaction, cluster, &self.next_id(decision), decision).await?;
                return Ok(Changes::default());
            }
        };
        let rows = rows_of(transaction, cluster, subject).await?;
        let steps = match record {
            Record::Findings(batch) => lifecycle::plan(&rows, judged(&batch.findings), at),
            Record::Deleted { .. } | Record::Decision(_) => lifecycle::plan_deletion(&rows),
        };
        let mut changes = Changes::default();
        for step in steps {
            let target = Target { cluster, subject, at: millis(at) };
            apply(transaction, &target, &step).await?;
            changes += account(&step, moves);
        }
        Ok(changes)
    }

    /// Tells readers of the counts and the metrics what was committed.
    fn publish(&self, done: &[Changes], moves: Vec<Move>) {
        let mut all = Changes::default();
        done.iter().for_each(|done| all += *done);
        self.inner.metrics.opened.inc_by(all.opened + all.reopened);
        self.inner.metrics.resolved.inc_by(all.resolved);
        if all.is_visible() {
            self.inner.counts.send_modify(|counts| moved(counts, moves));
        }
    }

    /// Time-ordered, unique in this store: only one process writes it, and a restart takes longer than a millisecond.
    fn next_id(&self, decision: &Decision) -> String {
        let sequence = self.inner.sequence.fetch_add(1, Ordering::Relaxed);
        format!("{:013}-{}-{sequence}", millis(decision.at), std::process::id())
    }

    /// Deletes what is older than the retention, counted back from `now`. Open findings never go.
    pub async fn prune(&self, now: Timestamp, retention: &Retention) -> Result<Pruned, StoreError> {
        self.delete_old(now, retention).await.map_err(|source| self.failed(source))
    }

    async fn delete_old(&self, now: Timestamp, retention: &Retention) -> Result<Pruned, sqlx::Error> {
        let before = |age| now.checked_sub(age).map_or(i64::MIN, millis);
        let cluster = self.cluster();
        let writer = &self.inner.writer;
        let resolved = "DELETE FROM findings WHERE cluster = $1 AND state = 'resolved' AND resolved_at < $2";
        let resolved = sqlx::query(resolved).bind(cluster).bind(before(retention.resolved)).execute(writer).await?;
        let old = "DELETE FROM decisions WHERE cluster = $1 AND decided_at < $2";
        let old = sqlx::query(old).bind(cluster).bind(before(retention.decisions)).execute(writer).await?;
        let many = "DELETE FROM decisions WHERE cluster = $1 AND id <= \
                    (SELECT id FROM decisions WHERE cluster = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
        let many = sqlx::query(many).bind(cluster).bind(i64::from(retention.max_decisions)).execute(writer).await?;
        Ok(Pruned { findings: resolved.rows_affected(), decisions: old.rows_affected() + many.rows_affected() })
    }

    /// Records that a scanner finished without a failure.
    pub async fn record_scan(&self, scanner: &str, at: Timestamp) -> Result<(), StoreError> {
        let text = "INSERT INTO scans (cluster, scanner, succeeded_at) VALUES ($1, $2, $3) \
                    ON CONFLICT (cluster, scanner) DO UPDATE SET succeeded_at = excluded.succeeded_at";
        let query = sqlx::query(text).bind(self.cluster()).bind(scanner).bind(millis(at));
        query.execute(&self.inner.writer).await.map_err(|source| self.failed(source)).map(|_| ())
    }
}

fn chunk_length(records: &[Record]) -> usize {
    let mut size = 0;
    let fits = |record: &&Record| {
        size += record.size();
        size <= CHUNK
    };
    records.iter().take_while(fits).count().max(1)
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
        Step::Resolve(_, from) => (&mut changes.resolved, Some(*from), None),
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

async fn rows_of(
    connection: &mut SqliteConnection,
    cluster: &str,
    subject: &SubjectKey,
) -> Result<Vec<Row>, sqlx::Error> {
    let text = "SELECT fingerprint, source, code, check_name, severity, verdict, effect, cause, body, state, stale_cause, \
                last_seen FROM findings WHERE cluster = $1 AND subject_key = $2";
    let rows = sqlx::query(text).bind(cluster).bind(&subject.0).fetch_all(connection).await?;
    rows.iter().map(lifecycle_row).collect()
}

/// The row that a step is about, but for its fingerprint.
struct Target<'a> {
    cluster: &'a str,
    subject: &'a SubjectKey,
    at: i64,
}

async fn apply(connection: &mut SqliteConnection, target: &Target<'_>, step: &Step) -> Result<(), sqlx::Error> {
    let (text, fingerprint, word) = match step {
        Step::Open(judged) | Step::Change(judged, _) => return upsert(connection, target, judged, 0).await,
        Step::Reopen(judged) => return upsert(connection, target, judged, 1).await,
        Step::Touch(fingerprint) => (TOUCH, fingerprint, ""),
        Step::Stale { fingerprint, cause, is_new: false } => (TOUCH, fingerprint, cause.as_str()),
        Step::Stale { fingerprint, cause, is_new: true } => (STALE, fingerprint, cause.as_str()),
        Step::Resolve(fingerprint, _) => (RESOLVE, fingerprint, ""),
    };
    let query = sqlx::query(text).bind(target.at).bind(word).bind(target.cluster).bind(fingerprint);
    query.execute(connection).await.map(|_| ())
}

const TOUCH: &str = "UPDATE findings SET last_seen = CASE WHEN last_seen > $1 THEN last_seen ELSE $1 END, \
                     stale_cause = $2 WHERE cluster = $3 AND fingerprint = $4";
const STALE: &str = "UPDATE findings SET last_seen = $1, stale_cause = $2, changed_at = $1 \
                     WHERE cluster = $3 AND fingerprint = $4";
const RESOLVE: &str = "UPDATE findings SET state = 'resolved', resolved_at = $1, changed_at = $1, stale_cause = $2 \
                       WHERE cluster = $3 AND fingerprint = $4";
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
     reopened = findings.reopened + $19";

async fn upsert(
    connection: &mut SqliteConnection,
    target: &Target<'_>,
    judged: &Judged,
    reopened: i64,
) -> Result<(), sqlx::Error> {
    let finding = &judged.finding;
    let subject = finding.subject.display();
    let message = body::bounded(&finding.message, MAX_MESSAGE);
    let search = format!("{} {subject} {message}", finding.code).to_lowercase();
    let query = sqlx::query(UPSERT)
        .bind(target.cluster)
        .bind(finding.fingerprint.as_str())
        .bind(&target.subject.0)
        .bind(&subject)
        .bind(finding.subject.namespace().unwrap_or_default())
        .bind(finding.source.as_str())
        .bind(finding.code.as_str())
        .bind(finding.check.as_ref())
        .bind(finding.severity.as_str())
        .bind(finding.severity as i64)
        .bind(finding.verdict.as_str())
        .bind(lifecycle::rank(finding.verdict))
        .bind(finding.cause.map_or("", |cause| cause.as_str()))
        .bind(finding.effect.as_str())
        .bind(message)
        .bind(body::bounded(&search, MAX_SEARCH))
        .bind(&judged.body)
        .bind(target.at)
        .bind(reopened);
    query.execute(connection).await.map(|_| ())
}
