//! The configuration as written: types of values are checked, their meaning is not.
//!
//! Each struct has the shape of a map of the file. The JSON schema is made of these structs (`super::schema`), so a
//! field's documentation and its default stand in the schema too.

use std::borrow::Cow;

use portreeve_reports::source::{Fields, Node, Place, Problems, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::defaults;

/// A value and the place it was written at.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands; line 0 for a value of the environment.
    pub place: Place,
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }
}

/// Configuration of Portreeve: the daemon and the command line.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawConfig {
    /// What is watched. Without `kubeconfig` and `folder`: the API server of the Pod.
    pub cluster: Option<RawCluster>,
    /// Registries that need more than https and anonymous pulls.
    #[schemars(default)]
    pub registries: Vec<RawRegistry>,
    /// Kubelet's credential provider plug-ins, which the daemon asks for credentials of registries.
    pub credential_providers: Option<RawCredentialProviders>,
    /// Trust in images.
    pub images: Option<RawImages>,
    /// Posture of objects.
    pub posture: Option<RawPosture>,
    /// Secrets in files and in the cluster.
    pub secrets: Option<RawSecrets>,
    /// Lifetimes of credentials.
    pub credentials: Option<RawCredentials>,
    /// The platform that is deployed and kept as declared.
    pub platform: Option<RawPlatform>,
    /// Files of exceptions.
    #[schemars(default)]
    pub exceptions: Vec<Placed<String>>,
    /// Custom resources of the cluster.
    pub custom_resources: Option<RawCustomResources>,
    /// Where findings and decisions are kept.
    pub store: Option<RawStore>,
    /// The admission webhook; without this section there is none.
    pub admission: Option<RawAdmission>,
    /// Addresses of page, API, health and metrics.
    pub http: Option<RawHttp>,
    /// The lease of which one replica holds the right to write to the cluster.
    pub leader: Option<RawLeader>,
    /// Logs.
    pub telemetry: Option<RawTelemetry>,
}

/// `cluster:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawCluster {
    /// Kubeconfig of the API server to watch.
    pub kubeconfig: Option<Placed<String>>,
    /// Context of the kubeconfig; the current one when absent.
    pub context: Option<Placed<String>>,
    /// Folder of manifests that stands in for a cluster; not with `kubeconfig`.
    pub folder: Option<Placed<String>>,
    /// Identity of a folder cluster in the store; `folder` when absent.
    pub name: Option<Placed<String>>,
}

/// An item of `registries:`
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawRegistry {
    /// Host with port, as image references write it.
    pub host: Placed<String>,
    /// http instead of https.
    #[schemars(extend("default" = false))]
    pub plain_http: Option<bool>,
    /// PEM of certificate authorities, trusted for this host instead of the system's.
    pub ca_file: Option<Placed<String>>,
    /// Places that have the same images. Not yet: refused by this version.
    #[schemars(default)]
    pub mirrors: Vec<Placed<String>>,
    /// Credentials for this host.
    pub credentials: Option<RawRegistryCredentials>,
}

/// `registries[].credentials:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawRegistryCredentials {
    /// Docker `config.json` with the credentials; either this or `helper`.
    pub docker_config: Option<Placed<String>>,
    /// NAME of the program `docker-credential-NAME` that has the credentials.
    pub helper: Option<Placed<String>>,
}

/// `credentialProviders:`
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawCredentialProviders {
    /// A `CredentialProviderConfig`, as kubelet has it.
    pub config: Placed<String>,
    /// The folder with the plug-ins.
    pub bin_dir: Placed<String>,
}

/// `images:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawImages {
    /// File of the image policy; without one images are not judged.
    pub policy: Option<Placed<String>>,
    /// When all images are verified again: cron, five fields, UTC.
    #[schemars(extend("default" = defaults::IMAGE_RESCAN))]
    pub rescan: Option<Placed<String>>,
    /// For how long a verified image counts while its registry is away. Not yet: refused by this version.
    pub outage_grace: Option<Placed<String>>,
}

/// `posture:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawPosture {
    /// Framework ids to judge by; all controls when empty.
    #[schemars(default)]
    pub frameworks: Vec<Placed<String>>,
    /// File of parameters, or of Kubescape's `postureControlInputs`.
    pub params: Option<Placed<String>>,
    /// When all objects are judged again: cron, five fields, UTC.
    #[schemars(extend("default" = defaults::POSTURE_RESCAN))]
    pub rescan: Option<Placed<String>>,
    /// Lowest severity that fails: the default of `--fail-on`.
    #[schemars(extend("default" = defaults::FAIL_ON, "enum" = ["critical", "high", "medium", "low", "none"]))]
    pub fail_on: Option<Placed<String>>,
    /// Framework ids whose failures deny in enforce namespaces.
    #[schemars(default)]
    pub enforce: Vec<Placed<String>>,
}

/// `secrets:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawSecrets {
    /// Files of age identities that decrypt.
    #[schemars(default)]
    pub identities: Vec<RawIdentity>,
    /// Whether Secrets of the cluster are read. RBAC cannot grant metadata alone: `metadata` and `full` both list
    /// Secrets.
    #[schemars(extend("default" = defaults::CLUSTER_READ, "type" = ["string", "boolean", "null"], "enum" = ["off", "metadata", "full", false]))]
    pub cluster_read: Option<Placed<String>>,
    /// Encrypted files that Secrets of the cluster are kept like.
    #[schemars(default)]
    pub sync: Vec<RawSecretSync>,
    /// How often the Secrets of `sync` are compared with their files.
    #[schemars(extend("default" = defaults::SYNC_INTERVAL))]
    pub interval: Option<Placed<String>>,
}

/// An item of `secrets.identities`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawIdentity {
    /// Where it stands. Items with mistakes are left out, so that places in the list are not those of the file.
    #[schemars(skip)]
    pub key: String,
    /// File of an age identity.
    pub file: Placed<String>,
}

/// An item of `secrets.sync`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawSecretSync {
    /// Where it stands, as of [`RawIdentity::key`].
    #[schemars(skip)]
    pub key: String,
    /// The encrypted file: a plain map, or a manifest of a Secret.
    pub file: Placed<String>,
    /// Namespace of the Secret; with `name`, unless the file is a manifest.
    pub namespace: Option<Placed<String>>,
    /// Name of the Secret; with `namespace`, unless the file is a manifest.
    pub name: Option<Placed<String>>,
    /// Type of the Secret.
    #[schemars(rename = "type")]
    pub secret_type: Option<Placed<String>>,
    /// Whether a difference is corrected or only found.
    #[schemars(extend("default" = defaults::SYNC_MODE, "enum" = ["correct", "detect"]))]
    pub mode: Option<Placed<String>>,
}

/// `credentials:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawCredentials {
    /// Longest lifetime of a token.
    #[schemars(extend("default" = defaults::MAX_TOKEN_LIFETIME))]
    pub max_token_lifetime: Option<Placed<String>>,
    /// How long before its end a credential is a finding.
    #[schemars(extend("default" = defaults::WARN_BEFORE_EXPIRY))]
    pub warn_before_expiry: Option<Placed<String>>,
}

/// `platform:`
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawPlatform {
    #[schemars(skip)]
    pub(super) place: Place,
    /// The platform's file; either this or `resource`.
    pub file: Option<Placed<String>>,
    /// The name of a `Platform` resource of the cluster that is followed; needs `folder`.
    pub resource: Option<Placed<String>>,
    /// The folder that the sources of a resource's components are relative to. They cannot leave it.
    pub folder: Option<Placed<String>>,
    /// How often what is there is compared with what is declared.
    #[schemars(extend("default" = defaults::PLATFORM_INTERVAL))]
    pub interval: Option<Placed<String>>,
}

/// `store:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawStore {
    /// `sqlite://` and a path, or `postgres://…` for more than one replica.
    #[schemars(extend("default" = defaults::STORE_URL))]
    pub url: Option<Placed<String>>,
}

/// `admission:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawAdmission {
    /// Address of the webhook.
    #[schemars(extend("default" = defaults::ADMISSION_LISTEN))]
    pub listen: Option<Placed<String>>,
    /// Until when an answer waits for registries; at most 9s.
    #[schemars(extend("default" = defaults::ADMISSION_DEADLINE))]
    pub deadline: Option<Placed<String>>,
    /// Modes of namespaces; `warn` where none matches, the strictest where several do.
    #[schemars(default)]
    pub namespaces: Vec<RawNamespaceMode>,
    /// Patterns of namespaces that are never denied anything.
    #[schemars(default)]
    pub exempt_namespaces: Vec<Placed<String>>,
    /// Group that is never denied anything; each use is a finding.
    #[schemars(extend("default" = defaults::BREAK_GLASS_GROUP))]
    pub break_glass_group: Option<Placed<String>>,
    /// The serving certificate.
    pub tls: Option<RawTls>,
}

/// An item of `admission.namespaces`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawNamespaceMode {
    /// Where the item stands.
    #[schemars(skip)]
    pub place: Place,
    /// Patterns of namespaces; `*` stands for any characters.
    #[schemars(default, rename = "match")]
    pub globs: Vec<Placed<String>>,
    /// How strictly these are judged at most.
    #[schemars(required, extend("enum" = ["audit", "warn", "enforce"]))]
    pub mode: Option<Placed<String>>,
}

/// `admission.tls:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawTls {
    /// PEM file of the serving certificate chain.
    pub cert_file: Option<Placed<String>>,
    /// PEM file of its key.
    pub key_file: Option<Placed<String>>,
    /// Names and addresses by which the API server calls the webhook, for the certificate that Portreeve makes itself
    /// when there are no files; those of the Service `portreeve` beside the lease when empty.
    #[schemars(default)]
    pub names: Vec<Placed<String>>,
}

/// `http:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawHttp {
    /// Page and API; loopback only, since there is no sign-in yet.
    #[schemars(extend("default" = defaults::HTTP_LISTEN))]
    pub listen: Option<Placed<String>>,
    /// Health and metrics.
    #[schemars(extend("default" = defaults::METRICS_LISTEN))]
    pub metrics_listen: Option<Placed<String>>,
}

/// `customResources:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawCustomResources {
    /// Patterns of namespaces whose `Exception` resources count; `*` stands for any characters.
    #[schemars(default)]
    pub exception_namespaces: Vec<Placed<String>>,
}

/// `leader:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawLeader {
    /// Namespace of the lease.
    #[schemars(extend("default" = defaults::LEADER_NAMESPACE))]
    pub namespace: Option<Placed<String>>,
    /// Name of the lease.
    #[schemars(extend("default" = defaults::LEADER_LEASE))]
    pub lease: Option<Placed<String>>,
}

/// `telemetry:`
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
pub struct RawTelemetry {
    /// A level, or `target=level` pairs: `portreeve=debug,info`.
    #[schemars(extend("default" = defaults::LOG))]
    pub log: Option<Placed<String>>,
    /// Shape of log lines on standard error.
    #[schemars(extend("default" = defaults::LOG_FORMAT, "enum" = ["text", "json"]))]
    pub format: Option<Placed<String>>,
}

impl RawConfig {
    /// Decodes the document; what is wrong goes to `problems`.
    pub fn decode(document: &Node, problems: &mut Problems) -> Self {
        let fields = Fields::of(document, "", problems);
        fields.and_then(|fields| fields.finish_with(Self::read)).unwrap_or_default()
    }

    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            cluster: fields.optional_map("cluster", RawCluster::read),
            registries: fields.maps("registries", RawRegistry::read),
            credential_providers: fields.optional_map("credentialProviders", |fields| {
                let (config, bin_dir) = (required(fields, "config"), required(fields, "binDir"));
                Some(RawCredentialProviders { config: config?, bin_dir: bin_dir? })
            }),
            images: fields.optional_map("images", RawImages::read),
            posture: fields.optional_map("posture", RawPosture::read),
            secrets: fields.optional_map("secrets", RawSecrets::read),
            credentials: fields.optional_map("credentials", RawCredentials::read),
            platform: fields.optional_map("platform", RawPlatform::read),
            exceptions: placed_list(fields, "exceptions"),
            custom_resources: fields.optional_map("customResources", |fields| {
                Some(RawCustomResources { exception_namespaces: placed_list(fields, "exceptionNamespaces") })
            }),
            store: fields.optional_map("store", |store| Some(RawStore { url: placed(store, "url") })),
            admission: fields.optional_map("admission", RawAdmission::read),
            http: fields.optional_map("http", RawHttp::read),
            leader: fields.optional_map("leader", RawLeader::read),
            telemetry: fields.optional_map("telemetry", RawTelemetry::read),
        })
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
        let plain_http = fields.optional_bool("plainHttp");
        let ca_file = placed(fields, "caFile");
        let mirrors = placed_list(fields, "mirrors");
        let credentials = fields.optional_map("credentials", |credentials| {
            let (docker_config, helper) = (placed(credentials, "dockerConfig"), placed(credentials, "helper"));
            Some(RawRegistryCredentials { docker_config, helper })
        });
        Some(Self { host: required(fields, "host")?, plain_http, ca_file, mirrors, credentials })
    }
}

impl RawImages {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            policy: placed(fields, "policy"),
            rescan: placed(fields, "rescan"),
            outage_grace: placed(fields, "outageGrace"),
        })
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

impl RawSecrets {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            identities: fields.maps("identities", |item| {
                Some(RawIdentity { key: item.path().to_owned(), file: required(item, "file")? })
            }),
            cluster_read: off_or_word(fields, "clusterRead"),
            sync: fields.maps("sync", RawSecretSync::read),
            interval: placed(fields, "interval"),
        })
    }
}

impl RawSecretSync {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let (namespace, name) = (placed(fields, "namespace"), placed(fields, "name"));
        let (secret_type, mode) = (placed(fields, "type"), placed(fields, "mode"));
        let key = fields.path().to_owned();
        Some(Self { key, file: required(fields, "file")?, namespace, name, secret_type, mode })
    }
}

impl RawCredentials {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            max_token_lifetime: placed(fields, "maxTokenLifetime"),
            warn_before_expiry: placed(fields, "warnBeforeExpiry"),
        })
    }
}

impl RawPlatform {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            place: fields.place(),
            file: placed(fields, "file"),
            resource: placed(fields, "resource"),
            folder: placed(fields, "folder"),
            interval: placed(fields, "interval"),
        })
    }
}

impl RawAdmission {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self {
            listen: placed(fields, "listen"),
            deadline: placed(fields, "deadline"),
            namespaces: fields.maps("namespaces", |item| {
                let place = item.place();
                Some(RawNamespaceMode { place, globs: placed_list(item, "match"), mode: placed(item, "mode") })
            }),
            exempt_namespaces: placed_list(fields, "exemptNamespaces"),
            break_glass_group: placed(fields, "breakGlassGroup"),
            tls: fields.optional_map("tls", |tls| {
                Some(RawTls {
                    cert_file: placed(tls, "certFile"),
                    key_file: placed(tls, "keyFile"),
                    names: placed_list(tls, "names"),
                })
            }),
        })
    }
}

impl RawHttp {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self { listen: placed(fields, "listen"), metrics_listen: placed(fields, "metricsListen") })
    }
}

impl RawLeader {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self { namespace: placed(fields, "namespace"), lease: placed(fields, "lease") })
    }
}

impl RawTelemetry {
    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        Some(Self { log: placed(fields, "log"), format: placed(fields, "format") })
    }
}

fn placed(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Placed<String>> {
    let value = fields.optional_str(key)?.to_owned();
    let place = fields.optional(key)?.place;
    Some(Placed { value, place })
}

/// A text that must be there and not be empty.
fn required(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Placed<String>> {
    let value = fields.required_str(key)?.to_owned();
    let place = fields.optional(key)?.place;
    Some(Placed { value, place })
}

/// A word that may be `off`, which YAML reads as `false` when it stands without quotes.
fn off_or_word(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Placed<String>> {
    match fields.optional(key) {
        Some(Node { value: Value::Bool(false), place }) => Some(Placed { value: "off".to_owned(), place: *place }),
        _ => placed(fields, key),
    }
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
