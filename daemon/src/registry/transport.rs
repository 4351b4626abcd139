//! One exchange with a registry: redirects by our rules, a permit of the host, a capped body, a deadline.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use portreeve_reports::Cause;
use reqwest::Response;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::endpoint::{Endpoints, root_cause};
use super::failure::{Deadline, Failure};
use super::options;

/// Bytes that may still be kept for one image; shared by its parallel requests.
pub(super) struct Budget(AtomicUsize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// Whether so many more bytes fit; they count from then on.
    fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// How much of a body is read.
#[derive(Clone, Copy)]
pub(super) struct Cap<'a> {
    pub(super) bytes: usize,
    pub(super) shared: Option<&'a Budget>,
}

impl Cap<'_> {
    pub(super) fn of(bytes: usize) -> Self {
        Self { bytes, shared: None }
    }

    fn allows(&self, kept: usize, more: usize) -> bool {
        kept.saturating_add(more) <= self.bytes && self.shared.is_none_or(|budget| budget.take(more))
    }
}

/// What is sent with a request.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// A form with a refresh token; kept secret until it is sent.
pub(super) enum Payload {
    None,
    Content(Content),
    Form(SecretString),
}

/// A request before authorization.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: &'static str,
    pub(super) payload: Payload,
    pub(super) cap: Cap<'a>,
    /// Whether the body is left to whoever asked: what is too large to be kept.
    pub(super) is_streamed: bool,
}

impl<'a> Request<'a> {
    pub(super) fn get(url: Url, accept: &'static str, cap: Cap<'a>) -> Self {
        Self { method: Method::GET, url, accept, payload: Payload::None, cap, is_streamed: false }
    }

    /// The answer's body comes piece by piece, and nobody has checked it.
    pub(super) fn stream(url: Url, accept: &'static str) -> Self {
        Self { is_streamed: true, ..Self::get(url, accept, Cap::of(0)) }
    }

    pub(super) fn head(url: Url, accept: &'static str) -> Self {
        Self { method: Method::HEAD, url, accept, payload: Payload::None, cap: Cap::of(0), is_streamed: false }
    }

    pub(super) fn fail(&self, cause: Cause, what: impl fmt::Display) -> Failure {
        Failure::new(cause, format!("{self}: {what}"))
    }

    fn may_be_redirected(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}

/// Method and URL without the query, which can hold upload state or signatures of storage services.
impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: String = self.url.path().chars().take(400).collect();
        write!(f, "{} {}{path}", self.method, self.url.origin().ascii_serialization())
    }
}

/// An answer. The body of an answer that is no success is not read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What has the body of a streamed request.
    pub(super) stream: Option<Box<Response>>,
    /// Where it came from, after redirects.
    pub(super) url: Url,
}

impl Answer {
    pub(super) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `Retry-After` in seconds, when it is short enough to wait for (RFC 9110 §10.2.3; dates are not waited for).
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.header(RETRY_AFTER)?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds)).filter(|wait| *wait <= options::RETRY_AFTER)
    }
}

/// Sends requests and reads answers.
pub(super) struct Transport {
    pub(super) endpoints: Endpoints,
    pub(super) offline: bool,
}

enum Step {
    Done(Answer),
    Redirected(Url),
}

impl Transport {
    /// Sends a request, authorized for its own origin only, and reads the answer. Any status is an `Ok`.
    pub(super) async fn exchange(
        &self,
        request: &Request<'_>,
        authorization: Option<&SecretString>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        if self.offline {
            return Err(request.fail(Cause::Unreachable, "not sent, the network is not to be used (--offline)"));
        }
        match deadline.bound(self.follow(request, authorization)).await {
            Some(answered) => answered,
            None => Err(request.fail(Cause::TimedOut, "no complete answer before the deadline")),
        }
    }

    /// Once a redirect has left the origin, nothing of the authorization is sent again, not even when it comes back.
    async fn follow(&self, request: &Request<'_>, authorization: Option<&SecretString>) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut authorization = authorization;
        for _ in 0..=options::REDIRECTS {
            match self.hop(request, &url, authorization).await.map_err(|failure| redirected(request, &url, failure))? {
                Step::Done(answer) => return Ok(answer),
                Step::Redirected(next) => {
                    authorization = authorization.filter(|_| next.origin() == request.url.origin());
                    url = next;
                }
            }
        }
        Err(request.fail(
            Cause::Unreadable,
            format_args!(
                "the registry answers with redirects that do not end (more than {}, the last to {}); set right the \
                 registry, or the proxy before it",
                options::REDIRECTS,
                url.origin().ascii_serialization()
            ),
        ))
    }

    async fn hop(
        &self,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&SecretString>,
    ) -> Result<Step, Failure> {
        let endpoint = self.endpoints.of_url(url)?;
        let _permit =
            endpoint.requests.acquire().await.map_err(|_| request.fail(Cause::Unreachable, "shutting down"))?;
        let mut builder =
            endpoint.client()?.request(request.method.clone(), url.clone()).header(ACCEPT, request.accept);
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, secret_header(request, authorization)?);
        }
        builder = match &request.payload {
            Payload::None => builder,
            Payload::Content(content) => builder.header(CONTENT_TYPE, &content.media_type).body(content.bytes.clone()),
            Payload::Form(form) => {
                builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.expose_secret().to_owned())
            }
        };
        let response = builder.send().await.map_err(|error| connection_failure(request, &error))?;
        if response.status().is_redirection() && request.may_be_redirected() {
            return next_url(request, url, response.headers()).map(Step::Redirected);
        }
        read(request, url, response).await.map(Step::Done)
    }
}

fn secret_header(request: &Request<'_>, secret: &SecretString) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(secret.expose_secret())
        .map_err(|_| request.fail(Cause::Forbidden, "the credentials have characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn connection_failure(request: &Request<'_>, error: &reqwest::Error) -> Failure {
    request.fail(Cause::Unreachable, root_cause(error))
}

/// What went wrong at another host than the one that was named.
fn redirected(request: &Request<'_>, url: &Url, failure: Failure) -> Failure {
    if url.origin() == request.url.origin() {
        return failure;
    }
    let host = url.origin().ascii_serialization();
    Failure::new(failure.cause, format!("{}; the registry redirects there, to {host}", failure.message))
}

/// Where a redirect leads: https, or http when the redirecting address was http itself.
fn next_url(request: &Request<'_>, from: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let next = location.and_then(|location| from.join(location).ok());
    match next {
        Some(next) if next.scheme() == "https" || (next.scheme() == "http" && from.scheme() == "http") => Ok(next),
        Some(next) => Err(request.fail(
            Cause::Unreadable,
            format_args!(
                "the registry redirects from {} to {}, which is not followed: what comes without TLS could be \
                 anybody's; set right the registry, or the proxy before it",
                from.origin().ascii_serialization(),
                address(&next)
            ),
        )),
        None => Err(request.fail(
            Cause::Unreadable,
            "the registry answers with a redirect that names no address (Location); set right the registry, or the \
             proxy before it",
        )),
    }
}

/// Scheme and host: what comes behind them can be signatures of storage services.
fn address(url: &Url) -> String {
    url.host_str().map_or_else(|| format!("{}:", url.scheme()), |host| format!("{}://{host}", url.scheme()))
}

async fn read(request: &Request<'_>, url: &Url, mut response: Response) -> Result<Answer, Failure> {
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let is_wanted = status.is_success() && request.method != Method::HEAD;
    let url = url.clone();
    if is_wanted && request.is_streamed {
        return Ok(Answer { status, headers, body: Bytes::new(), stream: Some(Box::new(response)), url });
    }
    let body = if is_wanted { read_body(request, response).await? } else { Bytes::new() };
    Ok(Answer { status, headers, body, stream: None, url })
}

/// Reads up to the cap, whatever length the registry announced.
async fn read_body(request: &Request<'_>, mut response: Response) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| connection_failure(request, &error))? {
        if !request.cap.allows(body.len(), chunk.len()) {
            return Err(request.fail(
                Cause::TooLarge,
                format_args!(
                    "more than the {} bytes allowed, or than the {} for all evidence about one image",
                    request.cap.bytes,
                    options::EVIDENCE_BYTES
                ),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// The digest a registry says its answer has (OCI distribution-spec).
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(from: &str, location: &str) -> Option<String> {
        let from = Url::parse(from).unwrap();
        let request = Request::head(from.clone(), "");
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
        next_url(&request, &from, &headers).ok().map(Into::into)
    }

    #[test]
    fn a_redirect_that_is_not_followed_is_told_with_both_ends_and_what_to_set_right() {
        let from = Url::parse("https://a.io/v2/x").unwrap();
        let said =
            |headers: HeaderMap| next_url(&Request::head(from.clone(), ""), &from, &headers).unwrap_err().message;
        let leaving = said(HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("http://b.io/y?sig=secret"))]));
        assert!(leaving.contains("from https://a.io to http://b.io, which is not followed"), "{leaving}");
        assert!(leaving.contains("set right the registry") && !leaving.contains("secret"), "{leaving}");
        let nowhere = said(HeaderMap::new());
        assert!(nowhere.contains("names no address (Location)"), "{nowhere}");
    }

    #[test]
    fn a_redirect_never_leaves_https() {
        assert_eq!(redirected("https://a.io/v2/x", "http://a.io/v2/x"), None);
        assert_eq!(redirected("https://a.io/v2/x", "file:///etc/passwd"), None);
        assert_eq!(redirected("http://a.io/v2/x", "ftp://a.io/"), None);
        assert_eq!(redirected("https://a.io/v2/x", "/v2/y").as_deref(), Some("https://a.io/v2/y"));
        assert_eq!(redirected("https://a.io/v2/x", "//b.io/y").as_deref(), Some("https://b.io/y"));
        assert_eq!(redirected("http://a.io/v2/x", "https://b.io/").as_deref(), Some("https://b.io/"));
        assert_eq!(redirected("http://a.io/v2/x", "http://b.io/").as_deref(), Some("http://b.io/"));
    }
}
