//! What the client is told: hosts, credentials, times. All caps on what a registry sends are constants here.

use std::sync::Arc;
use std::time::Duration;

use super::credentials::{Credentials, DockerConfig};
use super::helpers::HelperName;
use super::keyring::Programs;

/// Largest manifest, index or referrers page, in bytes (the least that registries must accept: OCI distribution-spec,
/// "Pushing Manifests").
pub(super) const MANIFEST_BYTES: usize = 4 << 20;
/// Largest sigstore bundle, in bytes.
pub(super) const BUNDLE_BYTES: usize = 16 << 20;
/// Largest payload of a cosign v2 signature, in bytes; real ones have a few hundred.
pub(super) const PAYLOAD_BYTES: usize = 1 << 20;
/// Largest answer of a token endpoint, in bytes.
pub(super) const TOKEN_BYTES: usize = 64 << 10;
/// Most bytes kept for all evidence about one image.
pub(super) const EVIDENCE_BYTES: usize = 32 << 20;
/// Most signature layers, and most referrers, of one image.
pub(super) const EVIDENCE_ENTRIES: usize = 100;
/// Most pages of a referrers list.
pub(super) const REFERRER_PAGES: usize = 10;
/// Most redirects that one request follows.
pub(super) const REDIRECTS: usize = 5;
/// Longest `Retry-After` that is waited for; a longer one is for the caller to decide.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How the client behaves. [`RegistryOptions::default`] knows no host, no credentials, and uses the network.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Hosts that differ from an anonymous https registry with a publicly trusted certificate.
    pub hosts: Vec<HostOptions>,
    /// Credentials of hosts that have none of their own here.
    pub docker_config: Option<Arc<DockerConfig>>,
    /// Programs that know credentials.
    pub programs: Programs,
    /// Whether every request is refused before it is sent (`--offline`).
    pub offline: bool,
    /// Longest time for a connection, TLS included; the deadline of a question may be shorter.
    pub connect_timeout: Duration,
    /// Most requests under way to one host.
    pub concurrency: usize,
    /// How long the evidence of a signed image is kept.
    pub evidence_lifetime: Duration,
    /// How long an image without any signature counts as unsigned before the registry is asked again.
    pub unsigned_lifetime: Duration,
    /// How long a tag counts as resolved. Short: tags move.
    pub tag_lifetime: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            docker_config: None,
            programs: Programs::default(),
            offline: false,
            connect_timeout: Duration::from_secs(5),
            concurrency: 8,
            evidence_lifetime: Duration::from_secs(600),
            unsigned_lifetime: Duration::from_secs(10),
            tag_lifetime: Duration::from_secs(2),
        }
    }
}

/// One registry host.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Host and port as image references write them: `127.0.0.1:5000`, `docker.io`.
    pub host: String,
    /// Whether it speaks http without TLS. Never a default, not for loopback either.
    pub plain_http: bool,
    /// Certificate authorities of its certificate (PEM); they are trusted for this host instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Credentials; they go to this host and its token endpoint only.
    pub credentials: Option<Credentials>,
    /// The credential helper that is asked for them, where there are none here.
    pub helper: Option<HelperName>,
    /// Other hosts (`host` or `host:port`) whose token endpoint may be sent this host's credentials. Without an entry
    /// only the host itself may, and `auth.docker.io` for `docker.io`, `gitlab.com` for `registry.gitlab.com`.
    pub token_hosts: Vec<String>,
}

/// Options that make no client.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The process has not installed its TLS provider.
    #[error("no TLS provider is installed in this process (a bug: main installs it first)")]
    NoTlsProvider,
    /// A host that is not a host.
    #[error("registry host '{0}' is not a host with an optional port")]
    InvalidHost(String),
    /// Plain http on a port that references do not say.
    #[error("registry host '{0}' has the port of https; plain http needs another one")]
    PlainHttps(String),
    /// A host that is configured twice.
    #[error("registry host '{0}' is configured twice; merge the two entries")]
    DuplicateHost(String),
    /// A file of certificate authorities without any.
    #[error("the certificate authorities of registry host '{0}' hold no PEM certificate")]
    NoCertificates(String),
    /// Certificate authorities that are not PEM certificates.
    #[error("the certificate authorities of registry host '{host}' are not PEM certificates")]
    InvalidCertificates {
        /// The host they were configured for.
        host: String,
        /// What the TLS library says.
        #[source]
        source: reqwest::Error,
    },
}
