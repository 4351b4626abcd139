//! The dashboard, the API behind it, health and metrics. Read only: GET and HEAD.
//!
//! * [`dashboard`] is what `http.listen` serves, [`health`] what `http.metricsListen` serves; [`serve()`] runs either.
//! * Pages are rendered here and work without JavaScript; the little script only reloads what changed.
//! * Everything that came from a cluster, a registry or a file is escaped twice: deceptive characters are spelled
//!   out, and the templates escape HTML. No link is ever made of such text but as an encoded query value.

mod api;
mod assets;
mod detail;
mod events;
mod filter;
mod guard;
mod index;
mod probes;
mod remedy;
mod serve;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use portreeve_reports::formats::RuleText;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use guard::{Hosts, Limits};
pub use serve::{ServeError, serve};

use crate::runtime::metrics::Metrics;
use crate::store::{Board, Store};

/// Finds the text of a code.
pub type Explain = dyn Fn(&str) -> Option<RuleText> + Send + Sync;

/// What the handlers read.
pub struct HttpParts {
    /// Findings.
    pub store: Store,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// What the last scans saw.
    pub board: watch::Receiver<Board>,
    /// The parts that are not ready yet, by name.
    pub waiting: Box<dyn Fn() -> Vec<&'static str> + Send + Sync>,
    /// Number of kinds of objects that are shown as they were before the API server went away.
    pub stale: Box<dyn Fn() -> usize + Send + Sync>,
    /// Title, why and fix of a code.
    pub explain: Box<Explain>,
    /// Ends the event streams.
    pub shutdown: CancellationToken,
}

impl std::fmt::Debug for HttpParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpParts").field("store", &self.store).finish_non_exhaustive()
    }
}

type Parts = Arc<HttpParts>;

/// The dashboard, its API, health and metrics.
pub fn dashboard(parts: Arc<HttpParts>, hosts: Hosts, limits: Limits) -> Router {
    let router = probe_routes()
        .route("/", get(index::page))
        .route("/findings/{fingerprint}", get(detail::page))
        .route("/assets/{name}", get(assets::asset))
        .route("/favicon.ico", get(assets::icon))
        .route("/events", get(events::stream))
        .route("/api/v1/findings", get(api::findings))
        .route("/api/v1/findings/{fingerprint}", get(api::finding))
        .route("/api/v1/decisions", get(api::decisions))
        .route("/api/v1/summary", get(api::summary));
    guarded(router, parts, hosts, limits)
}

/// Health and metrics only.
pub fn health(parts: Arc<HttpParts>, hosts: Hosts, limits: Limits) -> Router {
    guarded(probe_routes(), parts, hosts, limits)
}

/// Health while the cluster is not known yet: alive, and not ready.
pub fn starting() -> Router {
    Router::new().route("/healthz", get(probes::healthz)).route("/readyz", get(probes::not_ready))
}

fn probe_routes() -> Router<Parts> {
    Router::new()
        .route("/healthz", get(probes::healthz))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(probes::metrics))
}

fn guarded(router: Router<Parts>, parts: Parts, hosts: Hosts, limits: Limits) -> Router {
    let guard = Arc::new(guard::Guard::new(hosts, limits));
    router.fallback(guard::not_found).with_state(parts).layer(from_fn_with_state(guard, guard::guard))
}
