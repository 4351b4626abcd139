//! The configuration that the daemon and the commands run on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_reports::source::{Place, Problems};
use portreeve_reports::{Effect, FailOn};
use portreeve_trust::policy::NamespacePattern;

use crate::runtime::telemetry::LogFormat;

use super::raw::{Placed, RawAdmission, RawConfig, RawNamespaceMode, RawPosture, RawRegistry};

/// Everything the daemon needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is watched.
    pub cluster: ClusterSource,
    /// Registries that need more than https and anonymous pulls.
    pub registries: Vec<Registry>,
    /// File of the image policy.
    pub image_policy: Option<PathBuf>,
    /// When all images are verified again.
    pub image_rescan: croner::Cron,
    /// Posture settings.
    pub posture: Posture,
    /// Files of exceptions.
    pub exceptions: Vec<PathBuf>,
    /// `sqlite://…`
    pub store_url: String,
    /// The webhook; `None` when the section is absent.
    pub admission: Option<Admission>,
    /// Dashboard and API.
    pub http_listen: SocketAddr,
    /// Health and metrics.
    pub metrics_listen: SocketAddr,
    /// Filter of log lines.
    pub log: String,
    /// Shape of log lines.
    pub log_format: LogFormat,
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
}

/// Posture settings.
#[derive(Clone, Debug)]
pub struct Posture {
    /// Framework ids to judge by; empty means all controls.
    pub frameworks: Vec<String>,
    /// File of parameters.
    pub params: Option<PathBuf>,
    /// When all objects are judged again.
    pub rescan: croner::Cron,
    /// Threshold of the whole.
    pub fail_on: FailOn,
    /// Framework ids whose failures deny at admission.
    pub enforce: Vec<String>,
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
    /// Serving certificate chain and key, PEM files.
    pub tls: TlsFiles,
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
    modes: Vec<(NamespacePattern, Effect)>,
    exempt: Vec<NamespacePattern>,
    /// Group of the break-glass users.
    pub break_glass_group: String,
}

/// The webhook's `timeoutSeconds` is 10; the answer must be there before.
const MAX_DEADLINE: Duration = Duration::from_secs(9);

/// Group of the break-glass users unless configured otherwise (DESIGN: never a label that a tenant can set).
pub const BREAK_GLASS_GROUP: &str = "portreeve:break-glass";

impl AdmissionScope {
    /// The scope without configuration: every namespace warns, the standard group may break the glass.
    pub fn standard() -> Self {
        Self { break_glass_group: BREAK_GLASS_GROUP.to_owned(), ..Self::default() }
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

impl Config {
    /// Checks a raw configuration. Paths are relative to `base`, the folder of the file.
    pub fn validate(raw: &RawConfig, base: &Path, problems: &mut Problems) -> Option<Self> {
        let mut check = Check { base, problems };
        let cluster = check.cluster(raw);
        let image_rescan = check.cron(raw.images.rescan.as_ref(), "images.rescan", "0 * * * *");
        let posture = check.posture(&raw.posture);
        let admission = raw.admission.as_ref().map(|admission| check.admission(admission));
        let http_listen = check.address(raw.http_listen.as_ref(), "http.listen", 8080);
        let metrics_listen = check.address(raw.metrics_listen.as_ref(), "http.metricsListen", 8081);
        let log_format = check.log_format(raw.log_format.as_ref());
        let http_listen = check.loopback(http_listen, raw.http_listen.as_ref());
        Some(Self {
            cluster: cluster?,
            registries: raw.registries.iter().map(|registry| check.registry(registry)).collect(),
            image_policy: check.path(raw.images.policy.as_ref()),
            image_rescan: image_rescan?,
            posture: posture?,
            exceptions: raw.exceptions.iter().map(|file| check.base.join(&file.value)).collect(),
            store_url: check.store_url(raw.store_url.as_ref()),
            admission: admission.map_or(Some(None), |admission| admission.map(Some))?,
            http_listen: http_listen?,
            metrics_listen: metrics_listen?,
            log: raw.log.as_ref().map_or_else(|| "info".to_owned(), |log| log.value.clone()),
            log_format: log_format?,
        })
    }
}

/// Checks of single values; a problem is pushed and `None` returned.
struct Check<'a> {
    base: &'a Path,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn path(&self, file: Option<&Placed<String>>) -> Option<PathBuf> {
        file.map(|file| self.base.join(&file.value))
    }

    fn fail<T>(&mut self, place: Place, message: String) -> Option<T> {
        self.problems.push(place, message);
        None
    }

    fn cluster(&mut self, raw: &RawConfig) -> Option<ClusterSource> {
        let cluster = &raw.cluster;
        match (&cluster.kubeconfig, &cluster.folder) {
            (Some(_), Some(folder)) => {
                self.fail(folder.place, "'cluster' takes one of kubeconfig and folder, not both".to_owned())
            }
            (Some(file), None) => Some(ClusterSource::Kubeconfig {
                file: self.base.join(&file.value),
                context: cluster.context.as_ref().map(|context| context.value.clone()),
            }),
            (None, Some(folder)) => {
                let name = cluster.name.as_ref().map_or_else(|| "folder".to_owned(), |name| name.value.clone());
                Some(ClusterSource::Folder { path: self.base.join(&folder.value), name })
            }
            (None, None) => Some(ClusterSource::InCluster),
        }
    }

    fn registry(&self, raw: &RawRegistry) -> Registry {
        Registry {
            host: raw.host.value.clone(),
            plain_http: raw.plain_http,
            ca_file: self.path(raw.ca_file.as_ref()),
            docker_config: self.path(raw.docker_config.as_ref()),
        }
    }

    fn posture(&mut self, raw: &RawPosture) -> Option<Posture> {
        let rescan = self.cron(raw.rescan.as_ref(), "posture.rescan", "30 2 * * *");
        let fail_on = match &raw.fail_on {
            None => Some(FailOn::default()),
            Some(word) => match word.value.parse::<FailOn>() {
                Ok(fail_on) => Some(fail_on),
                Err(error) => self.fail(word.place, format!("'posture.failOn': {error}")),
            },
        };
        let values = |list: &[Placed<String>]| list.iter().map(|item| item.value.clone()).collect();
        Some(Posture {
            frameworks: values(&raw.frameworks),
            params: self.path(raw.params.as_ref()),
            rescan: rescan?,
            fail_on: fail_on?,
            enforce: values(&raw.enforce),
        })
    }

    fn admission(&mut self, raw: &RawAdmission) -> Option<Admission> {
        let listen = self.address(raw.listen.as_ref(), "admission.listen", 8443);
        let deadline = self.duration(raw.deadline.as_ref(), "admission.deadline", Duration::from_secs(8));
        let deadline = deadline.filter(|deadline| *deadline <= MAX_DEADLINE).or_else(|| {
            let place = raw.deadline.as_ref().map_or_else(Place::default, |deadline| deadline.place);
            let message =
                "'admission.deadline' is at most 9s: the API server stops waiting after 10 s (timeoutSeconds)";
            self.fail(place, message.to_owned())
        });
        let scope = self.scope(raw);
        let tls = match (self.path(raw.cert_file.as_ref()), self.path(raw.key_file.as_ref())) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            _ => {
                let place = raw.listen.as_ref().map_or_else(Place::default, |listen| listen.place);
                self.fail(
                    place,
                    "'admission.tls.certFile' and 'admission.tls.keyFile' are missing: the API server speaks https to \
                     webhooks only (the chart makes both)"
                        .to_owned(),
                )
            }
        };
        Some(Admission { listen: listen?, deadline: deadline?, scope: scope?, tls: tls? })
    }

    fn scope(&mut self, raw: &RawAdmission) -> Option<AdmissionScope> {
        let mut modes = Vec::new();
        for item in &raw.namespaces {
            let mode = self.mode(item);
            for glob in &item.globs {
                modes.extend(self.namespaces(glob).zip(mode));
            }
        }
        let exempt = raw.exempt_namespaces.iter().filter_map(|glob| self.namespaces(glob)).collect();
        let group = raw.break_glass_group.as_ref();
        Some(AdmissionScope {
            modes,
            exempt,
            break_glass_group: group.map_or_else(|| BREAK_GLASS_GROUP.to_owned(), |group| group.value.clone()),
        })
    }

    /// A name of namespaces, written as in image policies.
    fn namespaces(&mut self, glob: &Placed<String>) -> Option<NamespacePattern> {
        match NamespacePattern::parse(&glob.value) {
            Ok(pattern) => Some(pattern),
            Err(error) => self.fail(glob.place, format!("'admission': {error}")),
        }
    }

    fn mode(&mut self, raw: &RawNamespaceMode) -> Option<Effect> {
        let Some(mode) = &raw.mode else {
            let place = raw.globs.first().map_or_else(Place::default, |glob| glob.place);
            return self.fail(place, "'admission.namespaces': 'mode' is missing: audit, warn or enforce".to_owned());
        };
        match mode.value.as_str() {
            "audit" => Some(Effect::Audit),
            "warn" => Some(Effect::Warn),
            "enforce" => Some(Effect::Block),
            other => self.fail(mode.place, format!("'{other}' is not a mode: audit, warn or enforce")),
        }
    }

    fn cron(&mut self, raw: Option<&Placed<String>>, key: &str, default: &str) -> Option<croner::Cron> {
        let (text, place) = raw.map_or((default, Place::default()), |raw| (raw.value.as_str(), raw.place));
        match text.parse::<croner::Cron>() {
            Ok(cron) => Some(cron),
            Err(error) => self.fail(place, format!("'{key}': '{text}' is not a cron schedule: {error}")),
        }
    }

    fn duration(&mut self, raw: Option<&Placed<String>>, key: &str, default: Duration) -> Option<Duration> {
        let Some(raw) = raw else { return Some(default) };
        let parsed = raw.value.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        match parsed {
            Some(duration) if !duration.is_zero() => Some(duration),
            _ => self.fail(raw.place, format!("'{key}': '{}' is not a duration such as 8s or 5m", raw.value)),
        }
    }

    fn address(&mut self, raw: Option<&Placed<String>>, key: &str, port: u16) -> Option<SocketAddr> {
        let Some(raw) = raw else { return Some(SocketAddr::from(([127, 0, 0, 1], port))) };
        match raw.value.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.fail(raw.place, format!("'{key}': '{}' is not an address such as 127.0.0.1:{port}", raw.value))
            }
        }
    }

    /// The dashboard has no sign-in yet, so it stays where only this machine reaches it.
    fn loopback(&mut self, address: Option<SocketAddr>, raw: Option<&Placed<String>>) -> Option<SocketAddr> {
        let address = address?;
        if address.ip().is_loopback() {
            return Some(address);
        }
        let place = raw.map_or_else(Place::default, |raw| raw.place);
        self.fail(
            place,
            format!("'http.listen': the dashboard has no sign-in yet and stays on loopback, not {address}"),
        )
    }

    fn store_url(&self, raw: Option<&Placed<String>>) -> String {
        let url = raw.map_or("sqlite://portreeve.db", |raw| raw.value.as_str());
        match url.strip_prefix("sqlite://") {
            Some(path) => format!("sqlite://{}", self.base.join(path).display()),
            None => url.to_owned(),
        }
    }

    fn log_format(&mut self, raw: Option<&Placed<String>>) -> Option<LogFormat> {
        match raw.map(|raw| (raw.value.as_str(), raw.place)) {
            None | Some(("text", _)) => Some(LogFormat::Text),
            Some(("json", _)) => Some(LogFormat::Json),
            Some((other, place)) => {
                self.fail(place, format!("'telemetry.format': '{other}' is not one of text and json"))
            }
        }
    }
}
