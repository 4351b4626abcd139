//! The configuration as written: types of values are checked, their meaning is not.

use portreeve_reports::source::{Fields, Node, Place, Problems};

/// A value and the place it was written at.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands; line 0 for a value of the environment.
    pub place: Place,
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    /// `cluster:`
    pub cluster: RawCluster,
    /// `registries:`
    pub registries: Vec<RawRegistry>,
    /// `images:`
    pub images: RawImages,
    /// `posture:`
    pub posture: RawPosture,
    /// `exceptions:`, files.
    pub exceptions: Vec<Placed<String>>,
    /// `customResources.exceptionNamespaces`
    pub exception_namespaces: Vec<Placed<String>>,
    /// `store.url`
    pub store_url: Option<Placed<String>>,
    /// `admission:`
    pub admission: Option<RawAdmission>,
    /// `http.listen`
    pub http_listen: Option<Placed<String>>,
    /// `http.metricsListen`
    pub metrics_listen: Option<Placed<String>>,
    /// `telemetry.log`
    pub log: Option<Placed<String>>,
    /// `telemetry.format`
    pub log_format: Option<Placed<String>>,
}

/// `cluster:`
#[derive(Clone, Debug, Default)]
pub struct RawCluster {
    /// Kubeconfig file.
    pub kubeconfig: Option<Placed<String>>,
    /// Context of the kubeconfig.
    pub context: Option<Placed<String>>,
    /// Folder of manifests that stands in for a cluster.
    pub folder: Option<Placed<String>>,
    /// Name of a folder cluster.
    pub name: Option<Placed<String>>,
}

/// An item of `registries:`
#[derive(Clone, Debug)]
pub struct RawRegistry {
    /// Host with port.
    pub host: Placed<String>,
    /// Whether to speak http to it.
    pub plain_http: bool,
    /// PEM file of its certificate authority.
    pub ca_file: Option<Placed<String>>,
    /// Docker configuration with its credentials.
    pub docker_config: Option<Placed<String>>,
}

/// `images:`
#[derive(Clone, Debug, Default)]
pub struct RawImages {
    /// File of the image policy.
    pub policy: Option<Placed<String>>,
    /// Cron schedule of the rescan.
    pub rescan: Option<Placed<String>>,
}

/// `posture:`
#[derive(Clone, Debug, Default)]
pub struct RawPosture {
    /// Framework ids to judge by; all controls when absent.
    pub frameworks: Vec<Placed<String>>,
    /// File of parameters.
    pub params: Option<Placed<String>>,
    /// Cron schedule of the rescan.
    pub rescan: Option<Placed<String>>,
    /// Threshold of the whole.
    pub fail_on: Option<Placed<String>>,
    /// Framework ids whose failures deny at admission.
    pub enforce: Vec<Placed<String>>,
}

/// `admission:`
#[derive(Clone, Debug, Default)]
pub struct RawAdmission {
    /// Address of the webhook.
    pub listen: Option<Placed<String>>,
    /// Our own deadline.
    pub deadline: Option<Placed<String>>,
    /// Modes of namespaces.
    pub namespaces: Vec<RawNamespaceMode>,
    /// Namespaces that are never denied anything.
    pub exempt_namespaces: Vec<Placed<String>>,
    /// Group that is never denied anything; each use is a finding.
    pub break_glass_group: Option<Placed<String>>,
    /// PEM file of the serving certificate chain.
    pub cert_file: Option<Placed<String>>,
    /// PEM file of its key.
    pub key_file: Option<Placed<String>>,
}

/// An item of `admission.namespaces`.
#[derive(Clone, Debug)]
pub struct RawNamespaceMode {
    /// Namespace globs.
    pub globs: Vec<Placed<String>>,
    /// `audit`, `warn` or `enforce`.
    pub mode: Option<Placed<String>>,
}

/// Sections and keys of the documented shape that this version does not act on. They are refused by name, so that
/// nobody believes in a protection that is not there.
const LATER_SECTIONS: [&str; 4] = ["secrets", "credentials", "platform", "leader"];

impl RawConfig {
    /// Decodes the document; what is wrong goes to `problems`.
    pub fn decode(document: &Node, problems: &mut Problems) -> Self {
        let mut config = Self::default();
        let Some(fields) = Fields::of(document, "", problems) else { return config };
        fields.finish_with(|fields| {
            config.read(fields);
            Some(())
        });
        config
    }

    fn read(&mut self, fields: &mut Fields<'_, '_>) {
        for section in LATER_SECTIONS {
            refuse_later(fields, section);
        }
        self.cluster = fields.optional_map("cluster", RawCluster::read).unwrap_or_default();
        self.registries = fields.maps("registries", RawRegistry::read);
        self.images = fields.optional_map("images", RawImages::read).unwrap_or_default();
        self.posture = fields.optional_map("posture", RawPosture::read).unwrap_or_default();
        self.exceptions = placed_list(fields, "exceptions");
        self.exception_namespaces = fields
            .optional_map("customResources", |fields| Some(placed_list(fields, "exceptionNamespaces")))
            .unwrap_or_default();
        self.store_url = fields.optional_map("store", |store| placed(store, "url"));
        self.admission = fields.optional_map("admission", RawAdmission::read);
        fields.optional_map("http", |http| {
            self.http_listen = placed(http, "listen");
            self.metrics_listen = placed(http, "metricsListen");
            Some(())
        });
        fields.optional_map("telemetry", |telemetry| {
            self.log = placed(telemetry, "log");
            self.log_format = placed(telemetry, "format");
            Some(())
        });
    }
}

impl RawCluster {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            kubeconfig: placed(fields, "kubeconfig"),
            context: placed(fields, "context"),
            folder: placed(fields, "folder"),
            name: placed(fields, "name"),
        })
    }
}

impl RawRegistry {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        refuse_later(fields, "mirrors");
        let plain_http = fields.optional_bool("plainHttp").unwrap_or(false);
        let ca_file = placed(fields, "caFile");
        let docker_config = fields.optional_map("credentials", |credentials| placed(credentials, "dockerConfig"));
        fields.required("host")?;
        Some(Self { host: placed(fields, "host")?, plain_http, ca_file, docker_config })
    }
}

impl RawImages {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        refuse_later(fields, "outageGrace");
        Some(Self { policy: placed(fields, "policy"), rescan: placed(fields, "rescan") })
    }
}

impl RawPosture {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            frameworks: placed_list(fields, "frameworks"),
            params: placed(fields, "params"),
            rescan: placed(fields, "rescan"),
            fail_on: placed(fields, "failOn"),
            enforce: placed_list(fields, "enforce"),
        })
    }
}

impl RawAdmission {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let mut admission = Self {
            listen: placed(fields, "listen"),
            deadline: placed(fields, "deadline"),
            namespaces: fields.maps("namespaces", |item| {
                Some(RawNamespaceMode { globs: placed_list(item, "match"), mode: placed(item, "mode") })
            }),
            exempt_namespaces: placed_list(fields, "exemptNamespaces"),
            break_glass_group: placed(fields, "breakGlassGroup"),
            ..Self::default()
        };
        fields.optional_map("tls", |tls| {
            admission.cert_file = placed(tls, "certFile");
            admission.key_file = placed(tls, "keyFile");
            Some(())
        });
        Some(admission)
    }
}

fn refuse_later(fields: &mut Fields<'_, '_>, key: &'static str) {
    if let Some(node) = fields.optional(key) {
        let path = fields.path_of(key);
        fields.problem(node.place, format!("'{path}' is not supported yet by this version; remove it"));
    }
}

fn placed(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Placed<String>> {
    let value = fields.optional_str(key)?.to_owned();
    let place = fields.optional(key)?.place;
    Some(Placed { value, place })
}

fn placed_list(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<Placed<String>> {
    let path = fields.path_of(key);
    let Some(items) = fields.optional_list(key) else { return Vec::new() };
    let mut list = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item.as_str() {
            Some(text) => list.push(Placed { value: text.to_owned(), place: item.place }),
            None => fields.problem(item.place, format!("'{path}[{index}]' must be a string, not {}", item.kind_name())),
        }
    }
    list
}
