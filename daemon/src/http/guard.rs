//! What every request passes: method, Host, a cap on requests in flight, a deadline, and the headers of every answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

/// Scripts, styles and images of our own only; no frames, no forms to elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every answer. Pages hold findings: nobody may keep them.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The Host names that are answered. A page of another site that resolves its own name to 127.0.0.1 sends its own
/// name, and reads nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Any: the listener is not on loopback, and what stands before it decides.
    Any,
    /// Loopback names, and these.
    Loopback(Vec<String>),
}

impl Hosts {
    /// The rule for a listener: loopback listeners answer loopback names and the configured ones.
    pub fn of(listener: SocketAddr, configured: &[String]) -> Self {
        if listener.ip().is_loopback() {
            Self::Loopback(configured.iter().map(|name| name.to_ascii_lowercase()).collect())
        } else {
            Self::Any
        }
    }

    fn allow(&self, host: Option<&str>) -> bool {
        let Self::Loopback(configured) = self else { return true };
        let Some(name) = host.map(without_port) else { return false };
        let is_loopback = name.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback());
        is_loopback || name.eq_ignore_ascii_case("localhost") || configured.contains(&name.to_ascii_lowercase())
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that are answered at one time; more get 503.
    pub in_flight: usize,
    /// Time for one answer; longer gets 503.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 64, deadline: Duration::from_secs(10) }
    }
}

#[derive(Debug)]
pub(super) struct Guard {
    hosts: Hosts,
    deadline: Duration,
    slots: Semaphore,
}

impl Guard {
    pub(super) fn new(hosts: Hosts, limits: Limits) -> Self {
        Self { hosts, deadline: limits.deadline, slots: Semaphore::new(limits.in_flight) }
    }
}

pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&guard, &request) {
        Some(refused) => refused,
        None => answer(&guard, request, next).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn refusal(guard: &Guard, request: &Request) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allow = [(header::ALLOW, "GET, HEAD")];
        return Some(
            (StatusCode::METHOD_NOT_ALLOWED, allow, "this server only answers GET and HEAD\n").into_response(),
        );
    }
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(axum::http::uri::Authority::as_str).or(named);
    let refused = "this Host is not served here; use localhost, or add it to http.hosts\n";
    (!guard.hosts.allow(host)).then(|| (StatusCode::MISDIRECTED_REQUEST, refused).into_response())
}

async fn answer(guard: &Guard, request: Request, next: Next) -> Response {
    let retry = [(header::RETRY_AFTER, "1")];
    let Ok(_slot) = guard.slots.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, retry, "too many requests at one time\n").into_response();
    };
    let answered = tokio::time::timeout(guard.deadline, next.run(request)).await;
    answered.unwrap_or_else(|_| (StatusCode::SERVICE_UNAVAILABLE, retry, "no answer in time\n").into_response())
}

pub(super) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here; the dashboard is at /\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_listener_answers_loopback_names_only() {
        let hosts = Hosts::of("127.0.0.1:8080".parse().unwrap(), &["Portreeve.Example".to_owned()]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
            "portreeve.example:80",
        ] {
            assert!(hosts.allow(Some(host)), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.evil"] {
            assert!(!hosts.allow(Some(host)), "{host}");
        }
        assert!(!hosts.allow(None));
    }

    #[test]
    fn another_listener_leaves_the_name_to_what_stands_before_it() {
        assert!(Hosts::of("0.0.0.0:8080".parse().unwrap(), &[]).allow(Some("10.1.2.3:8081")));
    }
}
