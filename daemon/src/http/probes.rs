//! `/healthz`, `/readyz`, `/metrics`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Parts;
use crate::runtime::metrics::Exposition;

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

/// What is counted anyway, in the text that the scraper asks for.
pub(super) async fn metrics(State(parts): State<Parts>, headers: HeaderMap) -> Response {
    let accepted: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let exposition = Exposition::asked(&accepted.join(","));
    let counts = parts.store.counts();
    let counts = counts.borrow().clone();
    parts.metrics.set_findings(|severity, verdict| counts.of(severity, verdict));
    match parts.metrics.encode(exposition) {
        Ok(text) => {
            let head = [(header::CONTENT_TYPE, exposition.content_type()), (header::VARY, "accept")];
            (head, text).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n").into_response(),
    }
}
