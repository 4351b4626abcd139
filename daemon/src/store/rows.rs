//! Columns to values and back.

use jiff::Timestamp;
use portreeve_reports::{Cause, Effect, Severity, SubjectKey, Verdict};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::lifecycle::Row;
use super::model::{Cell, State, StoredFinding};

/// Milliseconds since 1970 in UTC.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A column that holds a word this version does not know.
fn unknown_word(column: &'static str, word: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: format!("unknown word '{word}'").into() }
}

fn word<T>(row: &SqliteRow, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    parse(&text).ok_or_else(|| unknown_word(column, &text))
}

fn verdict(word: &str) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == word)
}

fn effect(word: &str) -> Option<Effect> {
    [Effect::Audit, Effect::Warn, Effect::Block].into_iter().find(|effect| effect.as_str() == word)
}

/// The outer `None` is an unknown word, the inner one the empty column.
fn cause(word: &str) -> Option<Option<Cause>> {
    if word.is_empty() { Some(None) } else { Cause::ALL.into_iter().find(|cause| cause.as_str() == word).map(Some) }
}

fn timestamp(row: &SqliteRow, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    instant(column, row.try_get(column)?)
}

fn instant(column: &'static str, millis: i64) -> Result<Timestamp, sqlx::Error> {
    let failed = |error: jiff::Error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() };
    Timestamp::from_millisecond(millis).map_err(failed)
}

/// The columns that an open finding is counted by.
pub(super) fn cell(row: &SqliteRow) -> Result<Cell, sqlx::Error> {
    Ok(Cell {
        severity: word(row, "severity", Severity::parse)?,
        verdict: word(row, "verdict", verdict)?,
        effect: word(row, "effect", effect)?,
        cause: word(row, "cause", cause)?,
    })
}

/// A row as the lifecycle sees it.
pub(super) fn lifecycle_row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        fingerprint: row.try_get("fingerprint")?,
        question: (row.try_get("source")?, row.try_get("code")?, row.try_get("check_name")?),
        cell: cell(row)?,
        is_open: word(row, "state", State::parse)? == State::Open,
        body: row.try_get("body")?,
        stale_cause: row.try_get("stale_cause")?,
        last_seen: timestamp(row, "last_seen")?,
    })
}

/// A row as readers see it.
pub(super) fn stored_finding(row: &SqliteRow) -> Result<StoredFinding, sqlx::Error> {
    let Cell { severity, verdict, effect, cause } = cell(row)?;
    let body: String = row.try_get("body")?;
    let unreadable =
        |error: serde_json::Error| sqlx::Error::ColumnDecode { index: "body".into(), source: error.into() };
    let stale_cause: String = row.try_get("stale_cause")?;
    let resolved_at: Option<i64> = row.try_get("resolved_at")?;
    Ok(StoredFinding {
        fingerprint: row.try_get("fingerprint")?,
        subject_key: SubjectKey(row.try_get("subject_key")?),
        subject: row.try_get("subject")?,
        namespace: row.try_get("namespace")?,
        code: row.try_get("code")?,
        check: row.try_get("check_name")?,
        severity,
        verdict,
        cause,
        effect,
        message: row.try_get("message")?,
        body: serde_json::from_str(&body).map_err(unreadable)?,
        state: word(row, "state", State::parse)?,
        stale_cause: Some(stale_cause).filter(|cause| !cause.is_empty()),
        first_seen: timestamp(row, "first_seen")?,
        last_seen: timestamp(row, "last_seen")?,
        changed_at: timestamp(row, "changed_at")?,
        resolved_at: resolved_at.map(|at| instant("resolved_at", at)).transpose()?,
        reopened: row.try_get::<i64, _>("reopened")?.unsigned_abs(),
    })
}
