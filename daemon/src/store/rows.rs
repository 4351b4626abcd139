//! Columns to values and back.

use jiff::Timestamp;
use portreeve_reports::{Cause, Effect, Severity, SubjectKey, Verdict};

use super::engine::Row;
use super::lifecycle::Known;
use super::model::{Cell, Resolution, State, StoredFinding};

/// Milliseconds since 1970 in UTC.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A column that holds a word this version does not know.
fn unknown_word(column: &'static str, word: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: format!("unknown word '{word}'").into() }
}

fn word<T>(row: &Row, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text = row.text(column)?;
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

fn resolution(word: &str) -> Option<Option<Resolution>> {
    if word.is_empty() { Some(None) } else { Resolution::parse(word).map(Some) }
}

fn timestamp(row: &Row, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    instant(column, row.number(column)?)
}

fn instant(column: &'static str, millis: i64) -> Result<Timestamp, sqlx::Error> {
    let failed = |error: jiff::Error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() };
    Timestamp::from_millisecond(millis).map_err(failed)
}

/// The columns that an open finding is counted by.
pub(super) fn cell(row: &Row) -> Result<Cell, sqlx::Error> {
    Ok(Cell {
        severity: word(row, "severity", Severity::parse)?,
        verdict: word(row, "verdict", verdict)?,
        effect: word(row, "effect", effect)?,
        cause: word(row, "cause", cause)?,
    })
}

/// A row as the lifecycle sees it.
pub(super) fn known(row: &Row) -> Result<Known, sqlx::Error> {
    Ok(Known {
        fingerprint: row.text("fingerprint")?,
        question: (row.text("source")?, row.text("code")?, row.text("check_name")?),
        cell: cell(row)?,
        is_open: word(row, "state", State::parse)? == State::Open,
        body: row.text("body")?,
        stale_cause: row.text("stale_cause")?,
        last_seen: timestamp(row, "last_seen")?,
    })
}

/// A row as readers see it.
pub(super) fn stored_finding(row: &Row) -> Result<StoredFinding, sqlx::Error> {
    let Cell { severity, verdict, effect, cause } = cell(row)?;
    let body = row.text("body")?;
    let unreadable =
        |error: serde_json::Error| sqlx::Error::ColumnDecode { index: "body".into(), source: error.into() };
    let stale_cause = row.text("stale_cause")?;
    let resolved_at = row.maybe_number("resolved_at")?;
    Ok(StoredFinding {
        fingerprint: row.text("fingerprint")?,
        subject_key: SubjectKey(row.text("subject_key")?),
        subject: row.text("subject")?,
        namespace: row.text("namespace")?,
        code: row.text("code")?,
        check: row.text("check_name")?,
        severity,
        verdict,
        cause,
        effect,
        message: row.text("message")?,
        body: serde_json::from_str(&body).map_err(unreadable)?,
        state: word(row, "state", State::parse)?,
        stale_cause: Some(stale_cause).filter(|cause| !cause.is_empty()),
        first_seen: timestamp(row, "first_seen")?,
        last_seen: timestamp(row, "last_seen")?,
        changed_at: timestamp(row, "changed_at")?,
        resolution: word(row, "resolution", resolution)?,
        resolved_at: resolved_at.map(|at| instant("resolved_at", at)).transpose()?,
        reopened: row.number("reopened")?.unsigned_abs(),
    })
}
