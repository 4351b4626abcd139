//! Whether a registry is there and takes the credentials that are configured for it.

use portreeve_reports::Cause;

use super::auth::{Access, Scope};
use super::client::RegistryClient;
use super::failure::{Deadline, Failure};
use super::keyring::Source;
use super::requests::Target;
use super::transport::{Cap, Request};

/// The answer is not read for more than its status.
const PING_BYTES: usize = 64 << 10;

impl RegistryClient {
    /// Asks `/v2/`, signing in where the registry wants it.
    ///
    /// # Errors
    /// Why the registry is not there, or takes no credentials that are configured.
    pub async fn ping(&self, host: &str, deadline: Deadline) -> Result<(), Failure> {
        let requests = &self.inner.requests;
        let endpoint = requests.transport.endpoints.of_host(host)?;
        let mut url = endpoint.base.clone();
        url.set_path("/v2/");
        let origin = endpoint.base.origin().ascii_serialization();
        let target = Target { endpoint, scope: Scope { origin, repository: "".into(), access: Access::SignIn } };
        let request = Request::get(url, "application/json", Cap::of(PING_BYTES));
        match requests.send(&target, &request, deadline).await? {
            Some(_) => Ok(()),
            None => Err(request.fail(Cause::Unreadable, "answered 404; there is no registry here")),
        }
    }

    /// Who has the credentials of a host, and whether there are any.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn credentials_of(&self, host: &str, deadline: Deadline) -> Result<(Source, bool), Failure> {
        let endpoint = self.inner.requests.transport.endpoints.of_host(host)?;
        let found = endpoint.found("", deadline).await?;
        Ok((found.source, found.credentials.is_some()))
    }
}
