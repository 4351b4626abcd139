//! `/api/v1`: what the pages show, as JSON.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use portreeve_reports::{Severity, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::filter::{Params, stored_verdicts};
use super::index::whole;
use super::{HttpParts, Parts};
use crate::store::{Board, Counts, Decision, NamespaceRow, Resolution, StoreError, StoredFinding, Summary};

/// A store that could not be read.
pub(super) struct Unreadable(StoreError);

impl From<StoreError> for Unreadable {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Unreadable {
    fn into_response(self) -> Response {
        // The details hold paths: they go to the log.
        tracing::error!(error = %self.0, category = self.0.category(), "the store could not be read");
        (StatusCode::SERVICE_UNAVAILABLE, "the store could not be read; the log says why\n").into_response()
    }
}

/// `/api/v1/findings?state&severity&verdict&namespace&code&q&limit&offset`.
pub(super) async fn findings(State(parts): State<Parts>, Query(params): Query<Params>) -> Result<Response, Unreadable> {
    let query = match params.query() {
        Ok(query) => query,
        Err(invalid) => return Ok(invalid.into_response()),
    };
    let page = parts.store.findings(&query).await?;
    let items: Vec<Value> = page.items.iter().map(finding_json).collect();
    Ok(Json(json!({"total": page.total, "offset": page.offset, "items": items})).into_response())
}

/// `/api/v1/findings/{fingerprint}`.
pub(super) async fn finding(
    State(parts): State<Parts>,
    Path(fingerprint): Path<String>,
) -> Result<Response, Unreadable> {
    match parts.store.finding(&fingerprint).await? {
        Some(finding) => Ok(Json(finding_json(&finding)).into_response()),
        None => Ok((StatusCode::NOT_FOUND, Json(json!({"error": "no finding has this fingerprint"}))).into_response()),
    }
}

/// The finding in json-v1, with its life beside.
fn finding_json(finding: &StoredFinding) -> Value {
    let lifecycle = json!({
        "state": finding.state.as_str(),
        "firstSeen": finding.first_seen,
        "lastSeen": finding.last_seen,
        "changedAt": finding.changed_at,
        "resolvedAt": finding.resolved_at,
        "resolution": finding.resolution.map(Resolution::as_str),
        "reopened": finding.reopened,
        "staleCause": finding.stale_cause,
    });
    let mut value = finding.body.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("lifecycle".to_owned(), lifecycle);
    }
    value
}

/// The most decisions of one answer.
const MAX_DECISIONS: u32 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    limit: Option<u32>,
}

/// `/api/v1/decisions?limit`: what admission answered, newest first.
pub(super) async fn decisions(
    State(parts): State<Parts>,
    Query(newest): Query<Newest>,
) -> Result<Response, Unreadable> {
    let limit = newest.limit.unwrap_or(100).min(MAX_DECISIONS);
    let decisions = parts.store.decisions(limit).await?;
    let items: Vec<Value> = decisions.iter().map(decision_json).collect();
    Ok(Json(json!({"items": items})).into_response())
}

fn decision_json(decision: &Decision) -> Value {
    json!({
        "at": decision.at,
        "uid": decision.uid,
        "door": decision.door,
        "operation": decision.operation,
        "kind": decision.kind,
        "namespace": decision.namespace,
        "name": decision.name,
        "allowed": decision.allowed,
        "mode": decision.mode,
        "codes": decision.codes,
        "digests": decision.digests,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Since {
    since: Option<u64>,
}

/// `/api/v1/summary?since=REVISION`: 204 while nothing changed since that revision.
pub(super) async fn summary(State(parts): State<Parts>, Query(since): Query<Since>) -> Result<Response, Unreadable> {
    if since.since == Some(parts.store.counts().borrow().revision) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let summary = parts.store.summary(Timestamp::now()).await?;
    Ok(Json(summary_json(&parts, &summary)).into_response())
}

fn summary_json(parts: &HttpParts, summary: &Summary) -> Value {
    let board = parts.board.borrow().clone();
    let health = parts.store.health();
    json!({
        "revision": summary.counts.revision,
        "cluster": parts.store.cluster(),
        "verdict": whole(&summary.counts, &board).as_str(),
        "coverage": board.coverage,
        "counts": counts_json(&summary.counts),
        "images": images_json(&board),
        "namespaces": summary.namespaces.iter().map(namespace_json).collect::<Vec<_>>(),
        "namespacesTotal": summary.namespaces_total,
        "openedDay": summary.opened_day,
        "resolvedDay": summary.resolved_day,
        "scans": board.scans,
        "waiting": (parts.waiting)(),
        "store": {"writable": health.is_writable, "lost": health.lost_total},
    })
}

fn counts_json(counts: &Counts) -> Value {
    let mut fields: Map<String, Value> =
        stored_verdicts().map(|verdict| (verdict.as_str().to_owned(), counts.with_verdict(verdict).into())).collect();
    let failing = |severity: Severity| (severity.as_str().to_owned(), counts.of(severity, Verdict::Fail).into());
    fields.insert("bySeverity".to_owned(), Severity::ALL.into_iter().map(failing).collect::<Map<_, _>>().into());
    fields.into()
}

fn images_json(board: &Board) -> Value {
    let images = board.images;
    json!({
        "verified": images.verified, "unsigned": images.unsigned, "untrusted": images.untrusted,
        "mismatch": images.mismatch, "unknown": images.unknown,
    })
}

fn namespace_json(row: &NamespaceRow) -> Value {
    let failing: Map<String, Value> =
        row.failing.iter().rev().map(|(severity, count)| (severity.as_str().to_owned(), (*count).into())).collect();
    json!({
        "namespace": row.namespace, "failing": failing, "undecided": row.undecided, "excepted": row.excepted,
    })
}
