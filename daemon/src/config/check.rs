//! From the raw configuration to the valid one: all that can be told from the text alone. What needs a look at files
//! comes after (`super::files`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_api::{NameForm, dns_name};
use portreeve_policies::framework::{self, builtin_frameworks};
use portreeve_policies::image::HUB_NAMES;
use portreeve_reports::source::decode::did_you_mean;
use portreeve_reports::source::{Place, Problems};
use portreeve_reports::{Effect, FailOn};
use portreeve_trust::policy::NamespacePattern;

use crate::registry::HelperName;
use crate::runtime::telemetry::{self, LogFormat};
use crate::scheduler::plan::Cron;
use crate::store::StoreUrl;

use super::raw::{
    Placed, RawAdmission, RawCluster, RawConfig, RawCredentials, RawCustomResources, RawLeader, RawNamespaceMode,
    RawPlatform, RawPosture, RawRegistry, RawRegistryCredentials, RawSecretSync, RawSecrets, RawTls,
};
use super::valid::{
    Admission, AdmissionScope, ClusterRead, ClusterSource, Config, CredentialProviders, CredentialsConfig,
    LeaderConfig, ManagedTls, Namespaces, PlatformConfig, PlatformSource, Posture, Registry, SecretSync, SecretTarget,
    SecretsConfig, SyncMode, Tls, TlsFiles,
};
use super::{defaults, duration};

/// The webhook's `timeoutSeconds` is 10; the answer must be there before.
const MAX_DEADLINE: Duration = Duration::from_secs(9);
/// A shorter interval would do nothing but compare.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

impl Config {
    /// Checks a raw configuration. Paths are relative to `base`, the folder of the file.
    pub fn validate(raw: &RawConfig, base: &Path, problems: &mut Problems) -> Option<Self> {
        let mut check = Check { base, problems };
        check.refuse_later(raw);
        let cluster = check.cluster(raw.cluster.as_ref());
        let images = raw.images.as_ref();
        let image_rescan =
            check.cron(images.and_then(|images| images.rescan.as_ref()), "images.rescan", defaults::IMAGE_RESCAN);
        let posture = check.posture(raw.posture.as_ref());
        let secrets = check.secrets(raw.secrets.as_ref());
        let credentials = check.credentials(raw.credentials.as_ref());
        let platform = raw.platform.as_ref().map(|platform| check.platform(platform));
        let store_url = check.store_url(raw.store.as_ref().and_then(|store| store.url.as_ref()));
        let leader = check.leader(raw.leader.as_ref());
        let exception_namespaces = check.exception_namespaces(raw.custom_resources.as_ref());
        let admission = raw.admission.as_ref().map(|admission| check.admission(admission, leader.as_ref()));
        let http = raw.http.as_ref();
        let listen = http.and_then(|http| http.listen.as_ref());
        let http_listen = check.address(listen, "http.listen", defaults::HTTP_LISTEN);
        let http_listen = check.loopback(http_listen, listen);
        let metrics = http.and_then(|http| http.metrics_listen.as_ref());
        let metrics_listen = check.address(metrics, "http.metricsListen", defaults::METRICS_LISTEN);
        check.across(
            raw,
            [http_listen, metrics_listen, admission.as_ref().and_then(|found| Some(found.as_ref()?.listen))],
        );
        let telemetry = raw.telemetry.as_ref();
        let log = check.log(telemetry.and_then(|telemetry| telemetry.log.as_ref()));
        let log_format = check.log_format(telemetry.and_then(|telemetry| telemetry.format.as_ref()));
        Some(Self {
            cluster: cluster?,
            registries: raw.registries.iter().map(|registry| check.registry(registry)).collect(),
            credential_providers: raw.credential_providers.as_ref().map(|raw| CredentialProviders {
                config: check.base.join(&raw.config.value),
                folder: check.base.join(&raw.bin_dir.value),
            }),
            image_policy: check.path(images.and_then(|images| images.policy.as_ref())),
            image_rescan: image_rescan?,
            posture: posture?,
            secrets: secrets?,
            credentials: credentials?,
            platform: platform.map_or(Some(None), |platform| platform.map(Some))?,
            exceptions: raw.exceptions.iter().map(|file| check.base.join(&file.value)).collect(),
            exception_namespaces,
            store_url: store_url?,
            admission: admission.map_or(Some(None), |admission| admission.map(Some))?,
            http_listen: http_listen?,
            metrics_listen: metrics_listen?,
            leader: leader?,
            log: log?,
            log_format: log_format?,
        })
    }
}

/// Checks of single values; a problem is pushed and `None` returned.
pub(super) struct Check<'a> {
    pub(super) base: &'a Path,
    pub(super) problems: &'a mut Problems,
}

impl Check<'_> {
    fn path(&self, file: Option<&Placed<String>>) -> Option<PathBuf> {
        file.map(|file| self.base.join(&file.value))
    }

    fn fail<T>(&mut self, place: Place, message: String) -> Option<T> {
        self.problems.push(place, message);
        None
    }

    /// Keys of the documented shape that this version does not act on are refused by name, so that nobody believes in
    /// a protection that is not there.
    fn refuse_later(&mut self, raw: &RawConfig) {
        let grace = raw.images.as_ref().and_then(|images| images.outage_grace.as_ref());
        let grace = grace.map(|grace| (grace.place, "images.outageGrace".to_owned()));
        let mirrors = raw.registries.iter().enumerate().filter_map(|(index, registry)| {
            Some((registry.mirrors.first()?.place, format!("registries[{index}].mirrors")))
        });
        for (place, key) in grace.into_iter().chain(mirrors) {
            self.problems.push(place, format!("'{key}' is not supported yet by this version; remove it"));
        }
    }

    fn cluster(&mut self, raw: Option<&RawCluster>) -> Option<ClusterSource> {
        let Some(cluster) = raw else { return Some(ClusterSource::InCluster) };
        match (&cluster.kubeconfig, &cluster.folder) {
            (Some(_), Some(folder)) => {
                self.fail(folder.place, "'cluster' takes one of kubeconfig and folder, not both".to_owned())
            }
            (Some(file), None) => Some(ClusterSource::Kubeconfig {
                file: self.base.join(&file.value),
                context: cluster.context.as_ref().map(|context| context.value.clone()),
            }),
            (None, Some(folder)) => {
                Some(ClusterSource::Folder { path: self.base.join(&folder.value), name: self.name_of_folder(cluster) })
            }
            (None, None) => Some(ClusterSource::InCluster),
        }
    }

    fn name_of_folder(&self, cluster: &RawCluster) -> String {
        cluster.name.as_ref().map_or_else(|| defaults::CLUSTER_NAME.to_owned(), |name| name.value.clone())
    }

    fn registry(&mut self, raw: &RawRegistry) -> Registry {
        let credentials = raw.credentials.as_ref();
        let helper = credentials.and_then(|credentials| self.helper(credentials));
        // A reference has its host in lower case; names of hosts have no case.
        let host = raw.host.value.to_ascii_lowercase();
        Registry {
            host: if HUB_NAMES.contains(&host.as_str()) { "docker.io".to_owned() } else { host },
            plain_http: raw.plain_http.unwrap_or(false),
            ca_file: self.path(raw.ca_file.as_ref()),
            docker_config: self.path(credentials.and_then(|credentials| credentials.docker_config.as_ref())),
            helper,
        }
    }

    fn helper(&mut self, raw: &RawRegistryCredentials) -> Option<HelperName> {
        let helper = raw.helper.as_ref()?;
        match HelperName::parse(&helper.value) {
            Ok(name) => Some(name),
            Err(error) => self.fail(helper.place, format!("'registries[].credentials.helper': {error}")),
        }
    }

    fn posture(&mut self, raw: Option<&RawPosture>) -> Option<Posture> {
        let nothing = RawPosture::default();
        let raw = raw.unwrap_or(&nothing);
        let rescan = self.cron(raw.rescan.as_ref(), "posture.rescan", defaults::POSTURE_RESCAN);
        let (word, place) = or_default(raw.fail_on.as_ref(), defaults::FAIL_ON);
        let fail_on = match word.parse::<FailOn>() {
            Ok(fail_on) => Some(fail_on),
            Err(error) => self.fail(place, format!("'posture.failOn': {error}")),
        };
        let frameworks = self.frameworks(&raw.frameworks, "posture.frameworks");
        let enforce = self.frameworks(&raw.enforce, "posture.enforce");
        Some(Posture {
            frameworks: frameworks?,
            params: self.path(raw.params.as_ref()),
            rescan: rescan?,
            fail_on: fail_on?,
            enforce: enforce?,
        })
    }

    fn frameworks(&mut self, raw: &[Placed<String>], key: &str) -> Option<Vec<String>> {
        let existing = match builtin_frameworks() {
            Ok(existing) => existing,
            Err(problems) => return self.fail(Place::default(), problems.to_string()),
        };
        let mut names = Vec::with_capacity(raw.len());
        for (index, name) in raw.iter().enumerate() {
            match framework::find(&name.value, &existing) {
                Ok(_) => names.push(name.value.clone()),
                Err(error) => self.problems.push(name.place, format!("'{key}[{index}]': {error}")),
            }
        }
        (names.len() == raw.len()).then_some(names)
    }

    fn secrets(&mut self, raw: Option<&RawSecrets>) -> Option<SecretsConfig> {
        let nothing = RawSecrets::default();
        let raw = raw.unwrap_or(&nothing);
        let words = [("off", ClusterRead::Off), ("metadata", ClusterRead::Metadata), ("full", ClusterRead::Full)];
        let cluster_read = self.word(raw.cluster_read.as_ref(), "secrets.clusterRead", defaults::CLUSTER_READ, &words);
        let sync: Vec<Option<SecretSync>> = raw.sync.iter().map(|item| self.secret_sync(item)).collect();
        self.refuse_shared_targets(&raw.sync, &sync);
        let interval = self.interval(raw.interval.as_ref(), "secrets.interval", defaults::SYNC_INTERVAL);
        Some(SecretsConfig {
            identities: raw.identities.iter().map(|identity| self.base.join(&identity.file.value)).collect(),
            cluster_read: cluster_read?,
            sync: sync.into_iter().collect::<Option<_>>()?,
            interval: interval?,
        })
    }

    fn secret_sync(&mut self, raw: &RawSecretSync) -> Option<SecretSync> {
        let key = &raw.key;
        let target = match (&raw.namespace, &raw.name) {
            (None, None) => Some(None),
            (Some(namespace), Some(name)) => {
                let checked = (
                    self.dns(namespace, &format!("{key}.namespace"), NameForm::Label),
                    self.dns(name, &format!("{key}.name"), NameForm::Subdomain),
                );
                checked.0.zip(checked.1).map(|(namespace, name)| Some(SecretTarget { namespace, name }))
            }
            (Some(one), None) | (None, Some(one)) => {
                let message = "takes namespace and name both, or neither for a file that is a manifest of a Secret";
                self.fail(one.place, format!("'{key}' {message}"))
            }
        };
        let words = [("correct", SyncMode::Correct), ("detect", SyncMode::Detect)];
        let mode = self.word(raw.mode.as_ref(), &format!("{key}.mode"), defaults::SYNC_MODE, &words);
        Some(SecretSync {
            file: self.base.join(&raw.file.value),
            target: target?,
            secret_type: raw.secret_type.as_ref().map(|secret_type| secret_type.value.clone()),
            mode: mode?,
        })
    }

    /// Two files for one Secret would overwrite each other for ever.
    fn refuse_shared_targets(&mut self, raw: &[RawSecretSync], sync: &[Option<SecretSync>]) {
        let target = |item: &Option<SecretSync>| item.as_ref().and_then(|item| item.target.clone());
        for (index, (item, kept)) in raw.iter().zip(sync).enumerate() {
            let Some(mine) = target(kept) else { continue };
            let mut before = raw.iter().zip(sync).take(index);
            let Some((first, _)) = before.find(|(_, other)| target(other).as_ref() == Some(&mine)) else {
                continue;
            };
            let place = item.name.as_ref().map_or_else(Place::default, |name| name.place);
            let SecretTarget { namespace, name } = mine;
            let message = format!("the Secret {namespace}/{name} is that of '{}' already", first.key);
            self.problems.push(place, format!("'{}': {message}", item.key));
        }
    }

    fn credentials(&mut self, raw: Option<&RawCredentials>) -> Option<CredentialsConfig> {
        let nothing = RawCredentials::default();
        let raw = raw.unwrap_or(&nothing);
        let longest = self.duration(
            raw.max_token_lifetime.as_ref(),
            "credentials.maxTokenLifetime",
            defaults::MAX_TOKEN_LIFETIME,
        );
        let warn = self.duration(
            raw.warn_before_expiry.as_ref(),
            "credentials.warnBeforeExpiry",
            defaults::WARN_BEFORE_EXPIRY,
        );
        Some(CredentialsConfig { max_token_lifetime: longest?, warn_before_expiry: warn? })
    }

    fn platform(&mut self, raw: &RawPlatform) -> Option<PlatformConfig> {
        let interval = self.interval(raw.interval.as_ref(), "platform.interval", defaults::PLATFORM_INTERVAL)?;
        Some(PlatformConfig { source: self.platform_source(raw)?, interval })
    }

    fn platform_source(&mut self, raw: &RawPlatform) -> Option<PlatformSource> {
        let (place, problem) = match (&raw.file, &raw.resource, &raw.folder) {
            (Some(file), None, None) => return Some(PlatformSource::File(self.base.join(&file.value))),
            (None, Some(name), Some(folder)) => match dns_name(&name.value, NameForm::Label) {
                Ok(name) => return Some(PlatformSource::Resource { name, folder: self.base.join(&folder.value) }),
                Err(error) => (name.place, format!("'platform.resource': {error}")),
            },
            (Some(_), Some(name), _) => {
                (name.place, "'platform.resource' and 'platform.file' exclude each other: keep one of them".to_owned())
            }
            (Some(_), None, Some(folder)) => {
                let message =
                    "'platform.folder' goes with 'platform.resource'; the folders of a file are relative to it";
                (folder.place, message.to_owned())
            }
            (None, Some(name), None) => {
                (name.place, "'platform.resource' needs 'platform.folder', where its components come from".to_owned())
            }
            (None, None, _) => (raw.place, "'platform' needs 'file', or 'resource' with 'folder'".to_owned()),
        };
        self.fail(place, problem)
    }

    /// How often something is compared.
    fn interval(&mut self, raw: Option<&Placed<String>>, key: &str, default: &str) -> Option<Duration> {
        let interval = self.duration(raw, key, default)?;
        if interval < MIN_INTERVAL {
            let (_, place) = or_default(raw, default);
            return self.fail(place, format!("'{key}' is at least 1s"));
        }
        Some(interval)
    }

    fn leader(&mut self, raw: Option<&RawLeader>) -> Option<LeaderConfig> {
        let standard = |text: &str| Placed { value: text.to_owned(), place: Place::default() };
        let namespace = raw.and_then(|raw| raw.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| standard(defaults::LEADER_NAMESPACE));
        let lease = raw.and_then(|raw| raw.lease.clone()).unwrap_or_else(|| standard(defaults::LEADER_LEASE));
        let namespace = self.dns(&namespace, "leader.namespace", NameForm::Label);
        let lease = self.dns(&lease, "leader.lease", NameForm::Subdomain);
        Some(LeaderConfig { namespace: namespace?, lease: lease? })
    }

    fn admission(&mut self, raw: &RawAdmission, leader: Option<&LeaderConfig>) -> Option<Admission> {
        let listen = self.address(raw.listen.as_ref(), "admission.listen", defaults::ADMISSION_LISTEN);
        let deadline = self.duration(raw.deadline.as_ref(), "admission.deadline", defaults::ADMISSION_DEADLINE);
        let deadline = deadline.and_then(|deadline| self.deadline(deadline, raw.deadline.as_ref()));
        let scope = self.scope(raw);
        let tls = self.tls(raw.tls.as_ref(), leader);
        Some(Admission { listen: listen?, deadline: deadline?, scope: scope?, tls: tls? })
    }

    fn tls(&mut self, raw: Option<&RawTls>, leader: Option<&LeaderConfig>) -> Option<Tls> {
        let (cert, key) = raw.map_or((None, None), |raw| (raw.cert_file.as_ref(), raw.key_file.as_ref()));
        let names = raw.map_or(&[][..], |raw| &raw.names);
        match (self.path(cert), self.path(key)) {
            (Some(cert), Some(key)) => Some(Tls::Files(TlsFiles { cert, key })),
            (None, None) => Some(Tls::Managed(managed(names, leader?))),
            _ => {
                let place = cert.or(key).map_or_else(Place::default, |file| file.place);
                let message = "'admission.tls.certFile' and 'admission.tls.keyFile' go together; without both, \
                               Portreeve keeps a certificate of its own in a Secret";
                self.fail(place, message.to_owned())
            }
        }
    }

    fn deadline(&mut self, deadline: Duration, raw: Option<&Placed<String>>) -> Option<Duration> {
        if deadline <= MAX_DEADLINE {
            return Some(deadline);
        }
        let place = raw.map_or_else(Place::default, |raw| raw.place);
        let message = "'admission.deadline' is at most 9s: the API server stops waiting after 10 s (timeoutSeconds)";
        self.fail(place, message.to_owned())
    }

    fn scope(&mut self, raw: &RawAdmission) -> Option<AdmissionScope> {
        let mut modes = Vec::new();
        for (index, item) in raw.namespaces.iter().enumerate() {
            if item.globs.is_empty() {
                let message = format!("'admission.namespaces[{index}].match' names no namespace; '*' is for all");
                self.problems.push(item.place, message);
            }
            let mode = self.mode(item);
            for glob in &item.globs {
                modes.extend(self.namespaces("admission", glob).zip(mode));
            }
        }
        let exempt = raw.exempt_namespaces.iter().filter_map(|glob| self.namespaces("admission", glob)).collect();
        let (group, _) = or_default(raw.break_glass_group.as_ref(), defaults::BREAK_GLASS_GROUP);
        Some(AdmissionScope { modes, exempt, break_glass_group: group.to_owned() })
    }

    fn exception_namespaces(&mut self, raw: Option<&RawCustomResources>) -> Namespaces {
        let globs = raw.map(|raw| raw.exception_namespaces.as_slice()).unwrap_or_default();
        Namespaces(
            globs.iter().filter_map(|glob| self.namespaces("customResources.exceptionNamespaces", glob)).collect(),
        )
    }

    /// A name of namespaces, written as in image policies.
    fn namespaces(&mut self, key: &str, glob: &Placed<String>) -> Option<NamespacePattern> {
        match NamespacePattern::parse(&glob.value) {
            Ok(pattern) => Some(pattern),
            Err(error) => self.fail(glob.place, format!("'{key}': {error}")),
        }
    }

    fn mode(&mut self, raw: &RawNamespaceMode) -> Option<Effect> {
        let Some(mode) = &raw.mode else {
            return self
                .fail(raw.place, "'admission.namespaces': 'mode' is missing: audit, warn or enforce".to_owned());
        };
        match mode.value.as_str() {
            "audit" => Some(Effect::Audit),
            "warn" => Some(Effect::Warn),
            "enforce" => Some(Effect::Block),
            other => self.fail(mode.place, format!("'{other}' is not a mode: audit, warn or enforce")),
        }
    }

    fn cron(&mut self, raw: Option<&Placed<String>>, key: &str, default: &str) -> Option<Cron> {
        let (text, place) = or_default(raw, default);
        match text.parse() {
            Ok(cron) => Some(cron),
            Err(error) => self.fail(place, format!("'{key}': {error}")),
        }
    }

    fn duration(&mut self, raw: Option<&Placed<String>>, key: &str, default: &str) -> Option<Duration> {
        let (text, place) = or_default(raw, default);
        match duration(text) {
            Some(duration) if !duration.is_zero() => Some(duration),
            Some(_) => self.fail(place, format!("'{key}': '{text}' is no time; it must be more than 0")),
            _ => self.fail(place, format!("'{key}': '{text}' is not a duration such as 8s, 5m, 1h30m or 14d")),
        }
    }

    fn address(&mut self, raw: Option<&Placed<String>>, key: &str, default: &str) -> Option<SocketAddr> {
        let (text, place) = or_default(raw, default);
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => self.fail(place, format!("'{key}': '{text}' is not an address such as {default}")),
        }
    }

    /// One of a few words.
    fn word<T: Copy>(
        &mut self,
        raw: Option<&Placed<String>>,
        key: &str,
        default: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let (text, place) = or_default(raw, default);
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = did_you_mean(text, &known).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        self.fail(place, format!("'{key}': '{text}' is not one of {}{hint}", known.join(", ")))
    }

    /// A name as Kubernetes takes it.
    fn dns(&mut self, raw: &Placed<String>, key: &str, form: NameForm) -> Option<String> {
        match dns_name(&raw.value, form) {
            Ok(name) => Some(name),
            Err(error) => self.fail(raw.place, format!("'{key}': {error}")),
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

    /// Problems do not repeat the URL: it may hold a password.
    fn store_url(&mut self, raw: Option<&Placed<String>>) -> Option<String> {
        let (url, place) = or_default(raw, defaults::STORE_URL);
        match url.parse::<StoreUrl>() {
            Ok(StoreUrl::Sqlite(path)) => Some(format!("sqlite://{}", self.base.join(path).display())),
            Ok(StoreUrl::Postgres(_)) => Some(url.to_owned()),
            Err(error) => self.fail(place, format!("'store.url': {error}")),
        }
    }

    fn log(&mut self, raw: Option<&Placed<String>>) -> Option<String> {
        let (filter, place) = or_default(raw, defaults::LOG);
        match telemetry::check_filter(filter) {
            Ok(()) => Some(filter.to_owned()),
            Err(error) => self.fail(place, error.to_string()),
        }
    }

    fn log_format(&mut self, raw: Option<&Placed<String>>) -> Option<LogFormat> {
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        self.word(raw, "telemetry.format", defaults::LOG_FORMAT, &words)
    }
}

fn or_default<'a>(raw: Option<&'a Placed<String>>, default: &'a str) -> (&'a str, Place) {
    raw.map_or((default, Place::default()), |raw| (raw.value.as_str(), raw.place))
}

/// The certificate that we keep when there are no files, beside the lease.
fn managed(names: &[Placed<String>], leader: &LeaderConfig) -> ManagedTls {
    let namespace = leader.namespace.clone();
    let service = format!("portreeve.{namespace}.svc");
    let names = match names {
        [] => vec![format!("{service}.cluster.local"), service],
        names => names.iter().map(|name| name.value.clone()).collect(),
    };
    ManagedTls { namespace, secret: defaults::WEBHOOK_SECRET.to_owned(), names }
}
