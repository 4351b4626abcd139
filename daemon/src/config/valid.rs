//! The configuration that the daemon and the commands run on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use portreeve_reports::{Effect, FailOn};
use portreeve_secrets::credentials::Limits;
use portreeve_trust::policy::NamespacePattern;

use crate::registry::HelperName;
use crate::runtime::telemetry::LogFormat;
use crate::scheduler::plan::Cron;

use super::defaults;

/// Everything the daemon needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is watched.
    pub cluster: ClusterSource,
    /// Registries that need more than https and anonymous pulls.
    pub registries: Vec<Registry>,
    /// Kubelet's credential provider plug-ins.
    pub credential_providers: Option<CredentialProviders>,
    /// File of the image policy.
    pub image_policy: Option<PathBuf>,
    /// When all images are verified again.
    pub image_rescan: Cron,
    /// Posture settings.
    pub posture: Posture,
    /// Secrets in files and in the cluster.
    pub secrets: SecretsConfig,
    /// Lifetimes of credentials.
    pub credentials: CredentialsConfig,
    /// The platform that is deployed and kept as declared; `None` when the section is absent.
    pub platform: Option<PlatformConfig>,
    /// Files of exceptions.
    pub exceptions: Vec<PathBuf>,
    /// Namespaces whose `Exception` resources count.
    pub exception_namespaces: Namespaces,
    /// `sqlite://…` or `postgres://…`; the latter may hold a password.
    pub store_url: String,
    /// The webhook; `None` when the section is absent.
    pub admission: Option<Admission>,
    /// Dashboard and API.
    pub http_listen: SocketAddr,
    /// Health and metrics.
    pub metrics_listen: SocketAddr,
    /// The lease of which one replica holds the right to write to the cluster.
    pub leader: LeaderConfig,
    /// Filter of log lines.
    pub log: String,
    /// Shape of log lines.
    pub log_format: LogFormat,
}

impl Config {
    /// The files that say how others are judged, and that are no manifests.
    pub fn files_of_rules(&self) -> impl Iterator<Item = &PathBuf> {
        let docker = self.registries.iter().filter_map(|registry| registry.docker_config.as_ref());
        self.image_policy.iter().chain(self.posture.params.iter()).chain(&self.exceptions).chain(docker)
    }
}

/// What stands for the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterSource {
    /// The API server of a kubeconfig.
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// Its context; the current one when absent.
        context: Option<String>,
    },
    /// The API server of the pod we run in.
    InCluster,
    /// A watched folder of manifests.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Name that stands for the cluster's identity.
        name: String,
    },
}

/// How one registry host is spoken to.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Host with port.
    pub host: String,
    /// http instead of https.
    pub plain_http: bool,
    /// Certificate authority, PEM.
    pub ca_file: Option<PathBuf>,
    /// Docker configuration with its credentials.
    pub docker_config: Option<PathBuf>,
    /// The credential helper that has its credentials.
    pub helper: Option<HelperName>,
}

/// Where the configuration and the programs of credential provider plug-ins are.
#[derive(Clone, Debug)]
pub struct CredentialProviders {
    /// The `CredentialProviderConfig`.
    pub config: PathBuf,
    /// The folder with the plug-ins.
    pub folder: PathBuf,
}

/// Posture settings.
#[derive(Clone, Debug)]
pub struct Posture {
    /// Framework ids to judge by; empty means all controls.
    pub frameworks: Vec<String>,
    /// File of parameters.
    pub params: Option<PathBuf>,
    /// When all objects are judged again.
    pub rescan: Cron,
    /// Threshold of the whole.
    pub fail_on: FailOn,
    /// Framework ids whose failures deny at admission.
    pub enforce: Vec<String>,
}

/// Which secrets are read, and which Secrets of the cluster are kept like files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsConfig {
    /// Files of age identities.
    pub identities: Vec<PathBuf>,
    /// Whether Secrets of the cluster are read.
    pub cluster_read: ClusterRead,
    /// Encrypted files that Secrets of the cluster are kept like.
    pub sync: Vec<SecretSync>,
    /// How often these Secrets are compared with their files.
    pub interval: Duration,
}

/// Whether Secrets of the cluster are read. RBAC cannot grant metadata alone: `Metadata` and `Full` both list Secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterRead {
    /// Not at all; what is not read is `unknown`.
    #[default]
    Off,
    /// Names, labels, types and ages.
    Metadata,
    /// Values too.
    Full,
}

/// One encrypted file and the Secret that is kept like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSync {
    /// The encrypted file.
    pub file: PathBuf,
    /// The Secret of a file that is a plain map; `None` for a file that is a manifest of a Secret.
    pub target: Option<SecretTarget>,
    /// Type of the Secret.
    pub secret_type: Option<String>,
    /// What is done about a difference.
    pub mode: SyncMode,
}

/// Where a Secret is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretTarget {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What is done about a Secret that differs from its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// It is written again.
    #[default]
    Correct,
    /// It is a finding.
    Detect,
}

/// Lifetimes of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsConfig {
    /// Longest lifetime of a token.
    pub max_token_lifetime: Duration,
    /// How long before its end a credential is a finding.
    pub warn_before_expiry: Duration,
}

/// Where the platform is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformSource {
    /// In a file; folders of components are relative to it.
    File(PathBuf),
    /// In a `Platform` resource of the cluster.
    Resource {
        /// Its name.
        name: String,
        /// What folders of components are relative to.
        folder: PathBuf,
    },
}

/// The platform that is deployed and kept as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformConfig {
    /// Where it is declared.
    pub source: PlatformSource,
    /// How often what is there is compared with what is declared.
    pub interval: Duration,
}

/// The lease of which one replica holds the right to write to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderConfig {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub lease: String,
}

/// Settings of the admission door.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Address of the webhook.
    pub listen: SocketAddr,
    /// Time within which each answer is given; below the webhook's `timeoutSeconds`.
    pub deadline: Duration,
    /// Modes, exemptions and break-glass.
    pub scope: AdmissionScope,
    /// Where the serving certificate comes from.
    pub tls: Tls,
}

/// Where the webhook's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Somebody else makes it.
    Files(TlsFiles),
    /// We make it and rotate it, in a Secret.
    Managed(ManagedTls),
}

/// A certificate that we keep ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedTls {
    /// Namespace of the Secret and of the Service `portreeve`.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Names and addresses by which the API server calls the webhook.
    pub names: Vec<String>,
}

/// PEM files of a serving certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Which namespaces are judged how strictly, and who may pass all the same.
#[derive(Clone, Debug, Default)]
pub struct AdmissionScope {
    pub(super) modes: Vec<(NamespacePattern, Effect)>,
    pub(super) exempt: Vec<NamespacePattern>,
    /// Group of the break-glass users.
    pub break_glass_group: String,
}

impl CredentialsConfig {
    /// As credentials are judged by.
    pub fn limits(&self) -> Limits {
        let signed = |duration: Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        Limits { max_token_lifetime: signed(self.max_token_lifetime), warn_before: signed(self.warn_before_expiry) }
    }
}

/// Namespaces by patterns of their names, in which `*` stands for any characters.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(pub(super) Vec<NamespacePattern>);

impl Namespaces {
    /// Of these patterns.
    #[cfg(test)]
    pub fn of(globs: &[&str]) -> Self {
        Self(globs.iter().filter_map(|glob| NamespacePattern::parse(glob).ok()).collect())
    }

    /// Whether a pattern matches the namespace.
    pub fn contains(&self, namespace: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(namespace))
    }
}

impl AdmissionScope {
    /// The scope without configuration: every namespace warns, the standard group may break the glass.
    pub fn standard() -> Self {
        Self { break_glass_group: defaults::BREAK_GLASS_GROUP.to_owned(), ..Self::default() }
    }

    /// A scope that enforces in one namespace.
    #[cfg(test)]
    pub fn enforcing(namespace: &str) -> Self {
        let modes = NamespacePattern::parse(namespace).map(|pattern| (pattern, Effect::Block)).into_iter().collect();
        Self { modes, ..Self::standard() }
    }

    /// The mode of a namespace as the effect a failure may have there at most; `warn` where nothing matches.
    /// Where several globs match, the strictest holds.
    pub fn mode_of(&self, namespace: &str) -> Effect {
        let matching = self.modes.iter().filter(|(glob, _)| glob.matches(namespace)).map(|(_, mode)| *mode);
        matching.max().unwrap_or(Effect::Warn)
    }

    /// Whether a namespace is exempt.
    pub fn is_exempt(&self, namespace: &str) -> bool {
        self.exempt.iter().any(|glob| glob.matches(namespace))
    }
}
