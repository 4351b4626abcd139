//! An authorized request and what its answer means: found, proven absent, or not known.

use std::sync::Arc;

use portreeve_policies::image::Repository;
use portreeve_reports::Cause;
use url::Url;

use super::auth::{Access, Authorizations, Scope};
use super::endpoint::Endpoint;
use super::failure::{Deadline, Failure, Outcome};
use super::statistics::Counters;
use super::transport::{Answer, Request, Transport};

/// A repository on its registry, and what is to be done there.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) scope: Scope,
}

impl Target {
    /// `/v2/<repository>/<rest>` of the registry.
    pub(super) fn url(&self, rest: &str) -> Url {
        let mut url = self.endpoint.base.clone();
        url.set_path(&format!("/v2/{}/{rest}", self.scope.repository));
        url
    }
}

/// Sends requests with the authorization they need.
pub(super) struct Requests {
    pub(super) transport: Transport,
    pub(super) counters: Counters,
    authorizations: Authorizations,
}

impl Requests {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, counters: Counters::default(), authorizations: Authorizations::new() }
    }

    pub(super) fn target(&self, repository: &Repository, access: Access) -> Result<Target, Failure> {
        let endpoint = self.transport.endpoints.of_host(&repository.host)?;
        let origin = endpoint.base.origin().ascii_serialization();
        Ok(Target { endpoint, scope: Scope { origin, repository: Arc::clone(&repository.path), access } })
    }

    /// `Ok(None)` is a 404 of the registry itself, nothing else.
    pub(super) async fn send(&self, target: &Target, request: &Request<'_>, deadline: Deadline) -> Outcome<Answer> {
        let outcome = self.attempt(target, request, deadline).await;
        self.counters.count_request(&outcome);
        if let Err(failure) = &outcome {
            tracing::debug!(host = %target.endpoint.host, cause = %failure.cause, "a registry request failed");
        }
        outcome
    }

    /// Asks a second time when the registry says "soon".
    async fn attempt(&self, target: &Target, request: &Request<'_>, deadline: Deadline) -> Outcome<Answer> {
        let mut answer = self.authorized(target, request, deadline).await?;
        if answer.status.as_u16() == 429
            && let Some(wait) = answer.retry_after()
            && wait < deadline.remaining()
        {
            tokio::time::sleep(wait).await;
            answer = self.authorized(target, request, deadline).await?;
        }
        meaning(request, answer)
    }

    async fn authorized(&self, target: &Target, request: &Request<'_>, deadline: Deadline) -> Result<Answer, Failure> {
        let known = self.authorizations.known(&target.scope);
        let answer = self.transport.exchange(request, known.as_ref(), deadline).await?;
        let is_own = answer.url.origin() == request.url.origin();
        if answer.status.as_u16() != 401 || !is_own {
            return Ok(answer);
        }
        self.authorizations.forget(&target.scope);
        let asked = (target.endpoint.as_ref(), &target.scope);
        match self.authorizations.authenticate(&self.transport, asked, &answer, deadline).await? {
            Some(fresh) => {
                let answer = self.transport.exchange(request, Some(&fresh), deadline).await?;
                if answer.status.as_u16() == 401 {
                    // Nothing more is tried now; the next question starts anew.
                    self.authorizations.forget(&target.scope);
                    target.endpoint.credentials_refused(&target.scope.repository).await;
                }
                Ok(answer)
            }
            None => Ok(answer),
        }
    }
}

fn meaning(request: &Request<'_>, answer: Answer) -> Outcome<Answer> {
    let fail = |cause, what: &str| Err(request.fail(cause, format_args!("answered {}{what}", answer.status.as_u16())));
    match answer.status.as_u16() {
        200..=299 => Ok(Some(answer)),
        404 if answer.url.origin() == request.url.origin() => Ok(None),
        401 => fail(Cause::Forbidden, "; the registry wants credentials that it accepts"),
        403 => fail(Cause::Forbidden, "; these credentials may not read this repository"),
        429 => fail(Cause::RateLimited, "; the registry limits requests, ask again later"),
        500.. => fail(Cause::Unreachable, "; the registry has a problem of its own"),
        _ => fail(Cause::Unreadable, ", which is no answer to this request"),
    }
}
