//! Kubelet's credential provider plug-ins: the programs that have the short-lived credentials of a cloud's registries.
//! Their configuration is the kubelet's own (`CredentialProviderConfig`), their protocol
//! `credentialprovider.kubelet.k8s.io/v1`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use portreeve_reports::Cause;
use portreeve_reports::source::decode::duration;
use portreeve_reports::source::{Fields, Limits, Place, Problems, yaml};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::credentials::{Credentials, host_of_key};
use super::failure::Failure;
use super::helpers::unanswered;
use crate::runtime::programs::{self, Question};

mod matching;

use matching::Pattern;

const CONFIG_VERSION: &str = "kubelet.config.k8s.io/v1";
const VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
/// Most providers, and most patterns of one.
const PROVIDERS: usize = 64;
const PATTERNS: usize = 256;
/// Most runs of one provider at one time.
const RUNS: usize = 4;
/// Longest time that an answer counts, whatever the plug-in says.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The plug-ins of one configuration file. Debug shows their names alone: variables for them may be secrets.
pub struct Providers(Vec<Provider>);

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|provider| &provider.name)).finish()
    }
}

/// One plug-in.
pub(super) struct Provider {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    images: Vec<Pattern>,
    lifetime: Duration,
    /// Most runs at one time.
    pub(super) turns: Semaphore,
}

/// For what an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Reach {
    Image,
    Registry,
    Global,
}

/// What a plug-in said.
pub(super) struct Told {
    pub(super) reach: Reach,
    pub(super) lifetime: Duration,
    auth: Vec<(Pattern, Credentials)>,
}

impl Told {
    /// The credentials for an image, by the most specific pattern as kubelet orders them.
    pub(super) fn credentials(&self, image: &str) -> Option<&Credentials> {
        self.auth.iter().find(|(pattern, _)| pattern.matches(image)).map(|(_, credentials)| credentials)
    }
}

impl Providers {
    /// Reads the bytes of a `CredentialProviderConfig`; `file` is named in problems. The programs must be in `folder`.
    pub fn parse(bytes: &[u8], file: &str, folder: &Path) -> Result<Self, Problems> {
        let mut problems = Problems::new(file);
        let providers = decode(bytes, folder, &mut problems);
        problems.into_result(Self(providers))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The plug-ins for an image (host and repository), with their places in the list.
    pub(super) fn of_image(&self, image: &str) -> impl Iterator<Item = (usize, &Provider)> {
        let is_for = move |provider: &Provider| provider.images.iter().any(|pattern| pattern.matches(image));
        self.0.iter().enumerate().filter(move |(_, provider)| is_for(provider))
    }
}

fn decode(bytes: &[u8], folder: &Path, problems: &mut Problems) -> Vec<Provider> {
    let limits = Limits { bytes: 1 << 20, nodes: 50_000, documents: 1, ..Limits::default() };
    let document = match yaml::read(bytes, &limits).into_iter().next() {
        Some(Ok(document)) => document,
        Some(Err(error)) => {
            problems.push(error.place, error.message);
            return Vec::new();
        }
        None => {
            problems.push(Place::default(), "it is empty; a CredentialProviderConfig has 'providers'");
            return Vec::new();
        }
    };
    let fields = Fields::of(&document, "", problems);
    let read = |fields: &mut Fields<'_, '_>| {
        fields.required_parsed("apiVersion", |text| only(text, CONFIG_VERSION));
        fields.required_parsed("kind", |text| only(text, "CredentialProviderConfig"));
        let mut names = Vec::new();
        let providers = fields.maps("providers", |fields| provider(fields, folder, &mut names));
        let count = fields.optional_list("providers").map_or(0, <[_]>::len);
        if !(1..=PROVIDERS).contains(&count) {
            fields.problem(fields.place(), format!("'providers' has {count} items; it has 1 to {PROVIDERS}"));
        }
        Some(providers)
    };
    fields.and_then(|fields| fields.finish_with(read)).unwrap_or_default()
}

fn only(text: &str, wanted: &str) -> Result<(), String> {
    if text == wanted { Ok(()) } else { Err(format!("'{text}' is not understood; it is {wanted}")) }
}

fn provider(fields: &mut Fields<'_, '_>, folder: &Path, names: &mut Vec<String>) -> Option<Provider> {
    let name = fields.required_parsed("name", |text| plain_name(text, folder));
    if let Some(name) = &name {
        if names.contains(name) {
            fields.problem(fields.place(), format!("the provider '{name}' is there twice"));
        }
        names.push(name.clone());
    }
    fields.required_parsed("apiVersion", |text| only(text, VERSION));
    let images = patterns(fields);
    let lifetime = fields.required_parsed("defaultCacheDuration", |text| {
        duration(text).ok_or_else(|| format!("'{text}' is not a duration such as 12h"))
    });
    let arguments = fields.optional_strings("args").unwrap_or_default().into_iter().map(str::to_owned).collect();
    let environment = fields.maps("env", |fields| {
        let value = fields.optional_str("value").unwrap_or_default().to_owned();
        Some((fields.required_str("name")?.to_owned(), value))
    });
    if let Some(attributes) = fields.optional("tokenAttributes") {
        let message = "'tokenAttributes' is not supported: no token of a Pod's service account is handed to a plug-in";
        fields.problem(attributes.place, message);
    }
    let (name, lifetime) = (name?, lifetime?.min(LIFETIME));
    Some(Provider {
        program: folder.join(&name),
        name,
        arguments,
        environment,
        images,
        lifetime,
        turns: Semaphore::new(RUNS),
    })
}

/// The name of a program in the folder.
fn plain_name(text: &str, folder: &Path) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(is_plain) {
        return Err("it is the name of a program, not a path".to_owned());
    }
    match programs::is_program(&folder.join(text)) {
        true => Ok(text.to_owned()),
        false => Err(format!("there is no program '{text}' in {}", folder.display())),
    }
}

fn patterns(fields: &mut Fields<'_, '_>) -> Vec<Pattern> {
    let Some(list) = fields.required("matchImages").and_then(|_| fields.optional_list("matchImages")) else {
        return Vec::new();
    };
    if list.is_empty() || list.len() > PATTERNS {
        fields.problem(fields.place(), format!("'matchImages' has {} items; it has 1 to {PATTERNS}", list.len()));
    }
    let mut patterns = Vec::with_capacity(list.len());
    for item in list {
        match item.as_str().map(Pattern::parse) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(error)) => fields.problem(item.place, format!("'matchImages': {error}")),
            None => fields.problem(item.place, "'matchImages' has texts only"),
        }
    }
    patterns
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    api_version: String,
    kind: String,
    cache_key_type: Reach,
    #[serde(default)]
    cache_duration: Option<String>,
    #[serde(default)]
    auth: Option<BTreeMap<String, Login>>,
}

/// It holds a secret, so it has no Debug.
#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the credential provider {}", self.name)
    }
}

impl Provider {
    /// Asks the plug-in for the credentials of an image.
    pub(super) async fn ask(&self, image: &str) -> Result<Told, Failure> {
        let request = json!({"apiVersion": VERSION, "kind": "CredentialProviderRequest", "image": image}).to_string();
        let question = Question {
            program: &self.program,
            arguments: &self.arguments,
            environment: &self.environment,
            input: request.as_bytes(),
        };
        let answer = programs::ask(&question).await.map_err(|error| unanswered(self, &error))?;
        if !answer.status.success() {
            let message = format!(
                "{self} was asked for the credentials of {image} and failed ({}); what it says is not shown, since it may \
                 be a secret: run it by hand to see it",
                answer.status
            );
            return Err(Failure::new(Cause::Forbidden, message));
        }
        // The parser's message could quote the secret, so it is left out.
        serde_json::from_slice(&answer.output).ok().and_then(|response| self.told(response)).ok_or_else(|| {
            Failure::unreadable(format!(
                "{self} answered with something else than a CredentialProviderResponse of {VERSION}"
            ))
        })
    }

    fn told(&self, response: Response) -> Option<Told> {
        if response.api_version != VERSION || response.kind != "CredentialProviderResponse" {
            return None;
        }
        let lifetime = match response.cache_duration {
            None => self.lifetime,
            Some(text) => text.parse::<SignedDuration>().ok()?.try_into().ok()?,
        };
        let mut auth = Vec::new();
        // Kubelet takes the keys in the order of their texts, last first: a longer path comes before a shorter one.
        for (key, login) in response.auth.unwrap_or_default().into_iter().rev() {
            auth.push((Pattern::parse(&host_of_key(&key)).ok()?, login.into()));
        }
        Some(Told { reach: response.cache_key_type, lifetime: lifetime.min(LIFETIME), auth })
    }
}

impl From<Login> for Credentials {
    fn from(login: Login) -> Self {
        Self::Basic { username: login.username, password: SecretString::from(login.password) }
    }
}

#[cfg(test)]
mod tests;
