//! Credentials, and docker's `config.json` as a source of them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portreeve_reports::Cause;
use secrecy::SecretString;
use serde::Deserialize;

use super::failure::Failure;
use super::helpers::HelperName;

/// Largest docker config that is read, in bytes.
const CONFIG_BYTES: usize = 1 << 20;

/// What proves to a registry who asks. Debug shows no secret.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A name and a password or access token.
    Basic {
        /// The account.
        username: String,
        /// Its password.
        password: SecretString,
    },
    /// An OAuth2 refresh token, exchanged at the token endpoint.
    IdentityToken {
        /// The token.
        token: SecretString,
        /// A name and a password, for token endpoints that take no refresh tokens.
        password: Option<(String, SecretString)>,
    },
}

impl Credentials {
    /// The name and the password, if there are any.
    pub(super) fn password(&self) -> Option<(&str, &SecretString)> {
        match self {
            Self::Basic { username, password } => Some((username, password)),
            Self::IdentityToken { password, .. } => password.as_ref().map(|(name, password)| (name.as_str(), password)),
        }
    }
}

/// What a docker config has for a host. Debug shows no secret.
#[derive(Clone, Debug)]
pub enum Held {
    /// Nothing: the host is asked anonymously.
    Nothing,
    /// The credentials.
    Here(Credentials),
    /// The helper program that keeps them.
    ByHelper(HelperName),
    /// The store of all hosts, which has credentials of hosts that the config does not name, too.
    PerhapsBy(HelperName),
}

/// Docker's `config.json` (also a Secret of type `kubernetes.io/dockerconfigjson`): which host has which credentials.
/// A key is matched by its exact host and port; keys with a path, as other tools write them, are not used.
pub struct DockerConfig {
    entries: BTreeMap<String, Entry>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// A docker config that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDockerConfig {
    /// Too many bytes.
    #[error("the docker config has {0} bytes; at most {CONFIG_BYTES} are read")]
    TooLarge(usize),
    /// Not the JSON it should be. The parser's message is left out: it may quote a secret.
    #[error("the docker config is not the expected JSON (line {line}, column {column})")]
    Json {
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

/// One entry of `auths`; it holds secrets, so it has no Debug.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

impl std::fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DockerConfig").field("hosts", &self.entries.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl DockerConfig {
    /// Reads the bytes of a `config.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidDockerConfig> {
        if bytes.len() > CONFIG_BYTES {
            return Err(InvalidDockerConfig::TooLarge(bytes.len()));
        }
        let raw: RawConfig = serde_json::from_slice(bytes)
            .map_err(|error| InvalidDockerConfig::Json { line: error.line(), column: error.column() })?;
        let entries = raw.auths.into_iter().map(|(key, entry)| (host_of_key(&key), entry)).collect();
        let helpers = raw.helpers.into_iter().map(|(key, helper)| (host_of_key(&key), helper)).collect();
        Ok(Self { entries, helpers, store: raw.store })
    }

    /// What it has for a registry host: its helper, else its entry, else what the store of all hosts has, as docker
    /// reads it.
    pub fn held(&self, host: &str) -> Result<Held, Failure> {
        let named = |name: &String| {
            let refused =
                |error| Failure::new(Cause::Forbidden, format!("the docker config's helper of {host}: {error}"));
            HelperName::parse(name).map_err(refused)
        };
        if let Some(helper) = self.helpers.get(host) {
            return named(helper).map(Held::ByHelper);
        }
        let entry = self.entries.get(host);
        match (entry.map(|entry| entry.credentials(host)).transpose()?.flatten(), &self.store) {
            (Some(credentials), _) => Ok(Held::Here(credentials)),
            (None, Some(store)) if entry.is_some() => named(store).map(Held::ByHelper),
            (None, Some(store)) => named(store).map(Held::PerhapsBy),
            (None, None) => Ok(Held::Nothing),
        }
    }
}

impl Entry {
    fn credentials(&self, host: &str) -> Result<Option<Credentials>, Failure> {
        if let Some(token) = filled(self.identitytoken.as_deref()) {
            let password =
                filled(self.auth.as_deref()).and_then(decode_auth).filter(|(_, password)| !password.is_empty());
            let password = password.map(|(username, password)| (username, password.into()));
            return Ok(Some(Credentials::IdentityToken { token: token.into(), password }));
        }
        if let Some(auth) = filled(self.auth.as_deref()) {
            let decoded = decode_auth(auth).map(|(username, password)| Some(basic(&username, &password)));
            return decoded.ok_or_else(|| {
                Failure::new(
                    Cause::Forbidden,
                    format!("the docker config's auth of {host} is not base64 of name:password; log in again"),
                )
            });
        }
        let username = filled(self.username.as_deref());
        let password = filled(self.password.as_deref());
        Ok(username.zip(password).map(|(username, password)| basic(username, password)))
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn decode_auth(auth: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

fn basic(username: &str, password: &str) -> Credentials {
    Credentials::Basic { username: username.to_owned(), password: password.into() }
}

/// `https://index.docker.io/v1/` is `docker.io`; a path other than the API's version stays and so matches no host.
pub(super) fn host_of_key(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn config(text: &str) -> DockerConfig {
        DockerConfig::parse(text.as_bytes()).unwrap()
    }

    fn basic_of(config: &DockerConfig, host: &str) -> Option<(String, String)> {
        match config.held(host).unwrap() {
            Held::Here(Credentials::Basic { username, password }) => {
                Some((username, password.expose_secret().to_owned()))
            }
            _ => None,
        }
    }

    #[test]
    fn auth_and_plain_fields_are_read_for_their_exact_host_only() {
        let auth = STANDARD.encode("me:pa:ss");
        let config = config(&format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}},
                 "r.example:5000":{{"username":"u","password":"p"}},"q.example/team":{{"auth":"{auth}"}}}}}}"#
        ));
        assert_eq!(basic_of(&config, "docker.io"), Some(("me".into(), "pa:ss".into())));
        assert_eq!(basic_of(&config, "r.example:5000"), Some(("u".into(), "p".into())));
        for other in ["r.example", "r.example:443", "q.example", "evil-r.example:5000", "example:5000"] {
            assert_eq!(basic_of(&config, other), None, "{other}");
        }
    }

    #[test]
    fn an_identity_token_wins_over_auth_which_stays_for_endpoints_that_take_no_tokens() {
        let auth = STANDARD.encode("me:pass");
        let nameless = STANDARD.encode("00000000:");
        let config = config(&format!(
            r#"{{"auths":{{"a.io":{{"auth":"{auth}","identitytoken":"t"}},"b.io":{{"auth":"{nameless}","identitytoken":"t"}},
                 "c.io":{{"auth":"AAAA","identitytoken":"t"}}}}}}"#
        ));
        let password = |host| match config.held(host).unwrap() {
            Held::Here(Credentials::IdentityToken { password, .. }) => password.map(|(username, _)| username),
            other => panic!("{other:?}"),
        };
        assert_eq!([password("a.io"), password("b.io"), password("c.io")], [Some("me".to_owned()), None, None]);
    }

    #[test]
    fn the_helper_of_a_host_comes_first_and_the_store_of_all_last() {
        let config = config(
            r#"{"credsStore":"desktop","credHelpers":{"ecr.io":"ecr-login","https://index.docker.io/v1/":"hub"},
                "auths":{"r.io":{},"ecr.io":{"username":"u","password":"p"},"own.io":{"username":"u","password":"p"}}}"#,
        );
        let helper = |host| match config.held(host).unwrap() {
            Held::ByHelper(name) => name.to_string(),
            Held::PerhapsBy(name) => format!("perhaps {name}"),
            other => format!("{other:?}").chars().take(4).collect(),
        };
        let hosts = ["ecr.io", "docker.io", "r.io", "other.io", "own.io"];
        let program = |name: &str| format!("docker-credential-{name}");
        let [ecr, hub, desktop] = ["ecr-login", "hub", "desktop"].map(program);
        assert_eq!(hosts.map(helper), [ecr, hub, desktop.clone(), format!("perhaps {desktop}"), "Here".to_owned()]);
    }

    #[test]
    fn a_helper_whose_name_is_no_name_is_refused() {
        let config = config(r#"{"credHelpers":{"a.io":"../evil","b.io":"x y","c.io":""}}"#);
        for host in ["a.io", "b.io", "c.io"] {
            assert_eq!(config.held(host).unwrap_err().cause, Cause::Forbidden, "{host}");
        }
    }

    #[test]
    fn neither_errors_nor_debug_show_a_secret() {
        let error = DockerConfig::parse(br#"{"auths":{"r.io":{"password":["hunter2"]}}}"#).unwrap_err();
        let config = config(r#"{"auths":{"r.io":{"username":"u","password":"hunter2"},"b.io":{"auth":"hunter2!"}}}"#);
        let refused = config.held("b.io").unwrap_err();
        let found = config.held("r.io").unwrap();
        let shown = format!("{error} {error:?} {config:?} {refused} {found:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_config_over_the_cap_is_refused() {
        let bytes = vec![b' '; CONFIG_BYTES + 1];
        assert!(matches!(DockerConfig::parse(&bytes), Err(InvalidDockerConfig::TooLarge(_))));
    }
}
