//! Registry hosts: scheme, origin, connection pool, limits and credentials of each. A host that nobody configured is
//! an anonymous https registry whose addresses are checked.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portreeve_policies::image::HUB_NAMES;
use portreeve_reports::Cause;
use reqwest::{Certificate, Client};
use secrecy::SecretString;
use tokio::sync::{Mutex, Semaphore};
use url::Url;

use super::address::{GuardedResolver, is_public_enough};
use super::credentials::Credentials;
use super::failure::{Deadline, Failure};
use super::helpers::HelperName;
use super::keyring::{Found, Keyring, Place};
use super::options::{HostOptions, RegistryError, RegistryOptions};

/// Most unconfigured hosts whose limits are remembered.
const REMEMBERED_HOSTS: u64 = 4096;
/// Images of one host whose evidence is gathered at the same time: bounds what an image holds in memory meanwhile.
const GATHERINGS: usize = 16;

/// One origin (scheme, host, port) and what belongs to it.
pub(super) struct Endpoint {
    /// As image references write it: `docker.io`, not `registry-1.docker.io`.
    pub(super) host: String,
    /// Base of all its URLs.
    pub(super) base: Url,
    pub(super) plain_http: bool,
    pub(super) token_hosts: Vec<String>,
    pub(super) requests: Semaphore,
    pub(super) gatherings: Semaphore,
    credentials: Option<Credentials>,
    helper: Option<HelperName>,
    keyring: Arc<Keyring>,
    /// The refresh token that took the place of another one.
    pub(super) rotated: Mutex<Option<Rotated>>,
    client: Arc<LazyClient>,
    is_configured: bool,
}

/// Two refresh tokens: a token endpoint gave one for the other.
pub(super) struct Rotated {
    pub(super) from: SecretString,
    pub(super) to: SecretString,
}

impl Endpoint {
    /// The credentials for a repository of this host (empty: none in particular), and who has them.
    pub(super) async fn found(&self, repository: &str, deadline: Deadline) -> Result<Found, Failure> {
        match &self.credentials {
            Some(own) => Ok(Found::in_file(Some(own.clone()))),
            None => self.keyring.find(self.place(repository), self.helper.as_ref(), deadline).await,
        }
    }

    /// The credentials; `None` is anonymous.
    pub(super) async fn credentials(
        &self,
        repository: &str,
        deadline: Deadline,
    ) -> Result<Option<Credentials>, Failure> {
        Ok(self.found(repository, deadline).await?.credentials)
    }

    /// What the registry has refused is not its credentials any more.
    pub(super) async fn credentials_refused(&self, repository: &str) {
        if self.credentials.is_none() {
            self.keyring.forget(self.place(repository), self.helper.as_ref()).await;
        }
    }

    fn place<'a>(&'a self, repository: &'a str) -> Place<'a> {
        Place { host: &self.host, repository }
    }

    pub(super) fn client(&self) -> Result<&Client, Failure> {
        self.client.get()
    }

    /// Refuses an address literal that an unconfigured host must not have; names are checked when they are resolved.
    fn check_literal(&self, url: &Url) -> Result<(), Failure> {
        let address = match url.host() {
            Some(url::Host::Ipv4(v4)) => v4.into(),
            Some(url::Host::Ipv6(v6)) => v6.into(),
            _ => return Ok(()),
        };
        if self.is_configured || is_public_enough(address) {
            return Ok(());
        }
        Err(Failure::new(
            // We did not ask: nobody on the other side refused.
            Cause::Unreachable,
            format!(
                "{address} is a loopback, link-local or multicast address and is not asked; if the registry is yours, \
                 list {} under registries (plainHttp: true where it speaks no TLS) or name it with --plain-http",
                self.host
            ),
        ))
    }
}

/// Building a client reads the system's certificates, so it waits until an https host is asked.
struct LazyClient {
    built: OnceLock<Result<Client, String>>,
    connect_timeout: Duration,
    trust: Trust,
}

enum Trust {
    /// Never speaks TLS, so it needs no authorities; asks no proxy either.
    PlainHttp,
    Only(Vec<Certificate>),
    System {
        guarded: bool,
    },
}

impl LazyClient {
    fn new(connect_timeout: Duration, trust: Trust) -> Arc<Self> {
        Arc::new(Self { built: OnceLock::new(), connect_timeout, trust })
    }

    fn get(&self) -> Result<&Client, Failure> {
        match self.built.get_or_init(|| self.build().map_err(|error| root_cause(&error))) {
            Ok(client) => Ok(client),
            Err(message) => Err(Failure::new(
                Cause::Unreachable,
                format!("no https connection is possible: {message}; install the system's CA certificates"),
            )),
        }
    }

    fn build(&self) -> Result<Client, reqwest::Error> {
        let builder = Client::builder()
            .user_agent(concat!("portreeve/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout);
        match &self.trust {
            Trust::PlainHttp => builder.tls_certs_only([]).no_proxy(),
            Trust::Only(authorities) => builder.tls_certs_only(authorities.iter().cloned()),
            Trust::System { guarded: true } => builder.dns_resolver(Arc::new(GuardedResolver::new())),
            Trust::System { guarded: false } => builder,
        }
        .build()
    }
}

/// All endpoints, by origin.
pub(super) struct Endpoints {
    configured: HashMap<String, Arc<Endpoint>>,
    others: moka::sync::Cache<String, Arc<Endpoint>>,
    guarded: Arc<LazyClient>,
    keyring: Arc<Keyring>,
    concurrency: usize,
}

impl Endpoints {
    pub(super) fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        let mut endpoints = Self {
            configured: HashMap::new(),
            others: moka::sync::Cache::new(REMEMBERED_HOSTS),
            guarded: LazyClient::new(options.connect_timeout, Trust::System { guarded: true }),
            keyring: Arc::new(Keyring::new(options)),
            concurrency: options.concurrency.max(1),
        };
        let system = LazyClient::new(options.connect_timeout, Trust::System { guarded: false });
        let mut token_hosts = Vec::new();
        for host in &options.hosts {
            let client = match trust_of(host)? {
                Trust::System { .. } => Arc::clone(&system),
                trust => LazyClient::new(options.connect_timeout, trust),
            };
            token_hosts.push((host, Arc::clone(&client)));
            endpoints.configure(host, client)?;
        }
        for (host, client) in token_hosts {
            endpoints.configure_token_hosts(host, &client)?;
        }
        Ok(endpoints)
    }

    fn configure(&mut self, host: &HostOptions, client: Arc<LazyClient>) -> Result<(), RegistryError> {
        let base = configured_base(&host.host, host.plain_http)?;
        let origin = base.origin().ascii_serialization();
        let endpoint = Endpoint {
            host: host.host.clone(),
            base,
            plain_http: host.plain_http,
            token_hosts: host.token_hosts.clone(),
            requests: Semaphore::new(self.concurrency),
            gatherings: Semaphore::new(GATHERINGS),
            credentials: host.credentials.clone(),
            helper: host.helper.clone(),
            keyring: Arc::clone(&self.keyring),
            rotated: Mutex::default(),
            client,
            is_configured: true,
        };
        match self.configured.insert(origin, Arc::new(endpoint)) {
            None => Ok(()),
            Some(_) => Err(RegistryError::DuplicateHost(host.host.clone())),
        }
    }

    /// A listed token host is reached as its registry is: same scheme, same certificate authorities. Without
    /// credentials of its own.
    fn configure_token_hosts(&mut self, host: &HostOptions, client: &Arc<LazyClient>) -> Result<(), RegistryError> {
        for token_host in &host.token_hosts {
            let origin = base_of(token_host, host.plain_http)?.origin().ascii_serialization();
            if !self.configured.contains_key(&origin) {
                let options =
                    HostOptions { host: token_host.clone(), plain_http: host.plain_http, ..HostOptions::default() };
                self.configure(&options, Arc::clone(client))?;
            }
        }
        Ok(())
    }

    /// The endpoint of a registry as references write it.
    pub(super) fn of_host(&self, host: &str) -> Result<Arc<Endpoint>, Failure> {
        let invalid = |_| Failure::unreadable("the image's registry is not a host with an optional port");
        let https = base_of(host, false).map_err(invalid)?;
        let http = base_of(host, true).map_err(invalid)?;
        match self.configured.get(&http.origin().ascii_serialization()) {
            Some(plain) => Ok(Arc::clone(plain)),
            None => self.of_url(&https),
        }
    }

    /// The endpoint that a URL belongs to.
    pub(super) fn of_url(&self, url: &Url) -> Result<Arc<Endpoint>, Failure> {
        let origin = url.origin().ascii_serialization();
        let endpoint = match self.configured.get(&origin) {
            Some(endpoint) => Arc::clone(endpoint),
            None => self.others.get_with(origin, || Arc::new(self.unconfigured(url))),
        };
        endpoint.check_literal(url)?;
        Ok(endpoint)
    }

    fn unconfigured(&self, url: &Url) -> Endpoint {
        let mut base = url.clone();
        base.set_path("/");
        base.set_query(None);
        base.set_fragment(None);
        let host = authority(url);
        Endpoint {
            host: if host == HUB_API { HUB.to_owned() } else { host },
            base,
            plain_http: false,
            token_hosts: Vec::new(),
            requests: Semaphore::new(self.concurrency),
            gatherings: Semaphore::new(GATHERINGS),
            credentials: None,
            helper: None,
            keyring: Arc::clone(&self.keyring),
            rotated: Mutex::default(),
            client: Arc::clone(&self.guarded),
            is_configured: false,
        }
    }
}

const HUB: &str = "docker.io";
const HUB_API: &str = "registry-1.docker.io";

/// Host and port of a URL, without the port its scheme implies.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// One name for all ways of writing a registry's host; an error for what is no host with an optional port.
pub fn normal_host(host: &str, plain_http: bool) -> Result<String, RegistryError> {
    configured_base(host, plain_http)?;
    Ok(base_of(host, false)?.origin().ascii_serialization())
}

/// References to port 443 of a host do not say the port, and so are asked by https.
fn configured_base(host: &str, plain_http: bool) -> Result<Url, RegistryError> {
    let base = base_of(host, plain_http)?;
    if plain_http && base.port() == Some(443) {
        return Err(RegistryError::PlainHttps(host.chars().take(255).collect()));
    }
    Ok(base)
}

fn base_of(host: &str, plain_http: bool) -> Result<Url, RegistryError> {
    let invalid = || RegistryError::InvalidHost(host.chars().take(255).collect());
    let scheme = if plain_http { "http" } else { "https" };
    let name = if host == HUB || HUB_NAMES.contains(&host) { HUB_API } else { host };
    let url = Url::parse(&format!("{scheme}://{name}/")).map_err(|_| invalid())?;
    let is_only_a_host = url.path() == "/" && url.username().is_empty() && url.password().is_none();
    if name.is_empty() || name.contains(['/', '@', '?', '#', '\\']) || !is_only_a_host {
        return Err(invalid());
    }
    Ok(url)
}

fn trust_of(host: &HostOptions) -> Result<Trust, RegistryError> {
    match &host.ca_pem {
        _ if host.plain_http => Ok(Trust::PlainHttp),
        None => Ok(Trust::System { guarded: false }),
        Some(pem) => match Certificate::from_pem_bundle(pem) {
            Ok(authorities) if authorities.is_empty() => Err(RegistryError::NoCertificates(host.host.clone())),
            Ok(authorities) => Ok(Trust::Only(authorities)),
            Err(source) => Err(RegistryError::InvalidCertificates { host: host.host.clone(), source }),
        },
    }
}

/// The innermost reason of an error, which is the one that helps: "connection refused", "invalid peer certificate".
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(hosts: Vec<HostOptions>) -> Result<Endpoints, RegistryError> {
        Endpoints::new(&RegistryOptions { hosts, ..RegistryOptions::default() })
    }

    fn host(name: &str) -> HostOptions {
        HostOptions { host: name.to_owned(), ..HostOptions::default() }
    }

    fn base(endpoints: &Endpoints, host: &str) -> String {
        endpoints.of_host(host).unwrap().base.to_string()
    }

    #[test]
    fn https_is_the_default_for_every_host_and_hub_has_its_api_host() {
        let plain = HostOptions { plain_http: true, ..host("127.0.0.1:5000") };
        let endpoints = endpoints(vec![plain, host("localhost:5001")]).unwrap();
        assert_eq!(base(&endpoints, "127.0.0.1:5000"), "http://127.0.0.1:5000/");
        assert_eq!(base(&endpoints, "localhost:5001"), "https://localhost:5001/");
        assert_eq!(base(&endpoints, "quay.io"), "https://quay.io/");
        assert_eq!(base(&endpoints, "docker.io"), "https://registry-1.docker.io/");
        assert_eq!(endpoints.of_host("docker.io").unwrap().host, "docker.io");
    }

    #[test]
    fn literals_of_loopback_are_refused_in_every_spelling_unless_configured() {
        let endpoints = endpoints(vec![host("127.0.0.1:5000")]).unwrap();
        assert!(endpoints.of_host("127.0.0.1:5000").is_ok());
        for refused in
            ["127.0.0.1:5001", "2130706433:80", "0x7f.1", "[::1]:5000", "169.254.169.254", "[::ffff:7f00:1]:1"]
        {
            let failure = endpoints.of_host(refused).map(|endpoint| endpoint.base.to_string()).unwrap_err();
            assert_eq!(failure.cause, Cause::Unreachable, "{refused}: {failure}");
        }
    }

    #[test]
    fn options_that_make_no_client_are_named() {
        for name in ["", "a/b", "me@a.io", "a b", "http://a.io", "a.io?x"] {
            assert!(matches!(endpoints(vec![host(name)]), Err(RegistryError::InvalidHost(_))), "{name}");
        }
        let twice = endpoints(vec![host("a.io"), host("a.io:443")]);
        assert!(matches!(twice, Err(RegistryError::DuplicateHost(_))));
        let plain = endpoints(vec![HostOptions { plain_http: true, ..host("a.io:443") }]);
        assert!(matches!(plain, Err(RegistryError::PlainHttps(_))), "no reference would be asked by http");
        for pem in [&b""[..], b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA"] {
            let made = endpoints(vec![HostOptions { ca_pem: Some(pem.to_vec()), ..host("a.io") }]);
            assert!(made.is_err(), "{pem:?} was accepted");
        }
    }
}
