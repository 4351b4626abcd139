//! Arguments that several commands share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use portreeve_api::{InvalidName, NameForm, dns_name};
use portreeve_reports::FailOn;
use portreeve_reports::gate::{Percent, Threshold};
use portreeve_reports::report::PolicyInput;

use super::Failure;
use super::output::OutputArgs;
use crate::config::valid::Registry;
use crate::config::{self, Config, LoadedConfig, Use, load};
use crate::judge::{FileSource, Judge, JudgeSettings, Rules};
use crate::registry::{DockerConfig, Held, HostOptions, Programs, Providers, RegistryClient, RegistryOptions};

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// Configuration file [default: the nearest portreeve.yaml up to the repository root, then XDG].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Colour of text on standard output.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Block the network: whatever would need it is unknown.
    #[arg(long, global = true)]
    pub offline: bool,
    /// Bound of commands that use the network [default: 30s; 5m for `platform apply` and `destroy`; 15m for `image
    /// check`].
    #[arg(long = "timeout", global = true, value_name = "DURATION", value_parser = duration)]
    pub named_timeout: Option<Duration>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` or `TERM=dumb`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "not a duration such as 30s, 2m or 1h30m".to_owned())
}

/// A namespace that an object can be in. In an empty one an object would count as the cluster's own.
pub(super) fn namespace(text: &str) -> Result<String, InvalidName> {
    dns_name(text, NameForm::Label)
}

/// The threshold of a verdict.
#[derive(Debug, Args)]
pub(super) struct ThresholdArgs {
    /// Lowest severity that fails: critical, high, medium, low or none [default: posture.failOn, or low]. Unsigned
    /// images (high) and those against the policy (high) pass --fail-on critical.
    #[arg(long, value_name = "SEVERITY")]
    pub fail_on: Option<FailOn>,
    /// Exit 6 when less than this percentage of the questions could be answered.
    #[arg(long, value_name = "PCT")]
    pub fail_coverage_below: Option<Percent>,
}

impl ThresholdArgs {
    /// As the gate takes it.
    pub(super) fn threshold(&self, config: &Config) -> Threshold {
        let fail_on = self.fail_on.unwrap_or(config.posture.fail_on);
        Threshold { fail_on, fail_coverage_below: self.fail_coverage_below }
    }
}

/// Which rules to judge by.
#[derive(Debug, Default, Args)]
pub(super) struct RuleArgs {
    /// Judge by these controls only.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub control: Vec<String>,
    /// Judge by the controls of these frameworks.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub framework: Vec<String>,
    /// Parameters of controls, ours or Kubescape's postureControlInputs.
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
    /// Exceptions.
    #[arg(long, value_name = "FILE")]
    pub exceptions: Vec<PathBuf>,
}

/// Options of the commands that judge manifests.
#[derive(Debug, Args)]
pub(super) struct ManifestArgs {
    /// Namespace of objects that name none.
    #[arg(short, long, default_value = "default", value_parser = namespace)]
    pub namespace: String,
    /// The files are a part of the world: what they do not hold is unknown, not missing.
    #[arg(long)]
    pub partial: bool,
    #[command(flatten)]
    pub rules: RuleArgs,
    #[command(flatten)]
    pub threshold: ThresholdArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Registries that a command line speaks to.
#[derive(Debug, Default, Args)]
pub(super) struct RegistryArgs {
    /// Speak http, not https, to this registry host.
    #[arg(long, value_name = "HOST")]
    pub plain_http: Vec<String>,
}

impl GlobalArgs {
    /// How long a command may take that asks.
    pub(super) fn timeout(&self) -> Duration {
        self.named_timeout.unwrap_or(Duration::from_secs(30))
    }

    /// How long one may take that writes to a cluster and waits for what becomes of it.
    pub(super) fn timeout_of_writing(&self) -> Duration {
        self.named_timeout.unwrap_or(Duration::from_secs(300))
    }

    /// How long one may take that reads whole images.
    pub(super) fn timeout_of_images(&self) -> Duration {
        self.named_timeout.unwrap_or(Duration::from_secs(900))
    }

    /// The configuration of a command that judges, read from the working tree.
    pub(super) fn load_config(&self) -> Result<LoadedConfig, Failure> {
        self.load_config_for(&Use::JUDGING)
    }

    /// The configuration of a command that uses these files of it.
    pub(super) fn load_config_for(&self, uses: &[Use]) -> Result<LoadedConfig, Failure> {
        load(self.config.as_deref(), &environment(), uses).map_err(Failure::usage)
    }
}

/// The environment, as far as it is UTF-8.
pub(super) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl RuleArgs {
    /// The rules named here, laid over those of the configuration.
    pub(super) fn settings(&self, config: &Config) -> JudgeSettings {
        let standard = JudgeSettings::of(config);
        let are_named = !self.framework.is_empty() || !self.control.is_empty();
        JudgeSettings {
            frameworks: if are_named { self.framework.clone() } else { standard.frameworks },
            controls: self.control.clone(),
            params: self.params.clone().or(standard.params),
            exceptions: standard.exceptions.into_iter().chain(self.exceptions.iter().cloned()).collect(),
            ..standard
        }
    }
}

/// A judge by these settings.
pub(super) fn judge(settings: &JudgeSettings, source: &FileSource, registry: RegistryClient) -> Result<Judge, Failure> {
    Ok(Judge::new(Rules::load(settings, source).map_err(Failure::usage)?, registry))
}

/// The registry client of the configuration, which was read from `source`, and the command line. What docker's own
/// configuration names is run, as docker does.
pub(super) fn registry(
    configured: (&Config, &FileSource),
    args: &RegistryArgs,
    global: &GlobalArgs,
) -> Result<RegistryClient, Failure> {
    let programs = Programs { docker_helpers: true, ..programs() };
    registry_with(configured, &args.plain_http, (programs, global.offline))
}

/// The registry client of the daemon: it runs the programs that its configuration names, and no others.
pub(super) fn registry_of_daemon(config: &Config, global: &GlobalArgs) -> Result<RegistryClient, Failure> {
    let programs = Programs { providers: providers(config)?, ..programs() };
    registry_with((config, &FileSource::WorkingTree), &[], (programs, global.offline))
}

fn programs() -> Programs {
    Programs { path: std::env::var_os("PATH").unwrap_or_default(), ..Programs::default() }
}

fn providers(config: &Config) -> Result<Option<Arc<Providers>>, Failure> {
    let Some(configured) = &config.credential_providers else { return Ok(None) };
    let bytes = FileSource::WorkingTree.read(&configured.config).map_err(Failure::usage)?;
    let providers = Providers::parse(&bytes, &configured.config.display().to_string(), &configured.folder);
    Ok(Some(Arc::new(providers.map_err(Failure::usage)?)))
}

fn registry_with(
    (config, source): (&Config, &FileSource),
    plain_http: &[String],
    (programs, offline): (Programs, bool),
) -> Result<RegistryClient, Failure> {
    let hosts = config.registries.iter().map(|registry| host_options(registry, source, &programs));
    let mut hosts = hosts.collect::<Result<Vec<_>, _>>()?;
    for host in plain_http {
        match hosts.iter_mut().find(|known| known.host == *host) {
            Some(known) => known.plain_http = true,
            None => hosts.push(HostOptions { host: host.clone(), plain_http: true, ..HostOptions::default() }),
        }
    }
    let docker_config = user_docker_config()?.map(Arc::new);
    let options = RegistryOptions { hosts, docker_config, programs, offline, ..RegistryOptions::default() };
    RegistryClient::new(options).map_err(Failure::usage)
}

/// Whom a registry's TLS is believed decides what it may say, so the CA stands where the policies stand. Credentials
/// decide nothing: they are this machine's, and nobody commits them.
fn host_options(registry: &Registry, source: &FileSource, programs: &Programs) -> Result<HostOptions, Failure> {
    let held = registry.docker_config.as_deref().map_or(Ok(Held::Nothing), |file| held(registry, file, programs))?;
    let (credentials, helper) = match held {
        Held::Nothing => (None, registry.helper.clone()),
        Held::Here(credentials) => (Some(credentials), None),
        Held::ByHelper(helper) | Held::PerhapsBy(helper) => (None, Some(helper)),
    };
    Ok(HostOptions {
        host: registry.host.clone(),
        plain_http: registry.plain_http,
        ca_pem: registry.ca_file.as_ref().map(|file| ca(file, source)).transpose()?,
        credentials,
        helper,
        ..HostOptions::default()
    })
}

/// What the docker config that is configured for a registry has for it.
fn held(registry: &Registry, file: &Path, programs: &Programs) -> Result<Held, Failure> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", file.display()));
    let bytes = FileSource::WorkingTree.read(file).map_err(Failure::usage)?;
    let config = DockerConfig::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    match config.held(&registry.host).map_err(|failure| wrong(failure.to_string()))? {
        Held::ByHelper(helper) if !programs.docker_helpers => Err(wrong(format!(
            "the credentials of {} are with {helper}, which the daemon runs only where its configuration says so: write \
             'helper' in the place of 'dockerConfig'",
            registry.host
        ))),
        Held::PerhapsBy(_) if !programs.docker_helpers => Ok(Held::Nothing),
        held => Ok(held),
    }
}

/// A CA of the machine, outside of the repository, is beyond the reach of any change and read as it is.
fn ca(file: &Path, source: &FileSource) -> Result<Vec<u8>, Failure> {
    let source = if source.holds(file) { source } else { &FileSource::WorkingTree };
    source.read(file).map_err(Failure::usage)
}

/// Names and digests of the CA files of the registries: they are part of what is judged by.
pub(super) fn ca_inputs(config: &Config, source: &FileSource) -> Result<Vec<PolicyInput>, Failure> {
    let files = config.registries.iter().filter_map(|registry| registry.ca_file.as_deref());
    let input = |file: &Path| {
        let from = if source.holds(file) { source.describe() } else { "this machine".to_owned() };
        let name = format!("registry CA {} from {from}", file.display());
        Ok(PolicyInput { name, digest: portreeve_reports::digest::sha256(&ca(file, source)?) })
    };
    files.map(input).collect()
}

/// The configuration that docker, cosign and crane read: `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
fn user_docker_config() -> Result<Option<DockerConfig>, Failure> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let Some(file) = folder.or(home).map(|folder| folder.join("config.json")).filter(|file| file.is_file()) else {
        return Ok(None);
    };
    let bytes = FileSource::WorkingTree.read(&file).map_err(Failure::usage)?;
    DockerConfig::parse(&bytes).map(Some).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}
