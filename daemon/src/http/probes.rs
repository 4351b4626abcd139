//! `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Parts;
use crate::runtime::metrics::CONTENT_TYPE;

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Every part has become ready; otherwise the names of those that have not, one a line. While the API server is away
/// admission is answered by what is known, so that the process stays ready and says of what it is.
pub(super) async fn readyz(State(parts): State<Parts>) -> Response {
    let waiting = (parts.waiting)();
    if waiting.is_empty() {
        return match (parts.stale)() {
            0 => "ok\n".into_response(),
            stale => format!("ok\nthe API server is away: {stale} kinds of objects as before\n").into_response(),
        };
    }
    let names: String = waiting.iter().map(|name| format!("waiting for {name}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, names).into_response()
}

/// Nothing is ready before the cluster is known.
pub(super) async fn not_ready() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "waiting for the API server\n").into_response()
}

/// OpenMetrics text of what is counted anyway.
pub(super) async fn metrics(State(parts): State<Parts>) -> Response {
    let counts = parts.store.counts();
    let counts = counts.borrow().clone();
    parts.metrics.set_findings(|severity, verdict| counts.of(severity, verdict));
    match parts.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response(),
    }
}
