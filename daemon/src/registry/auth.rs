//! Authentication (docker's token protocol, and Basic). Who gets credentials:
//!
//! * the origin they are configured for, and
//! * a token endpoint (`realm`) that is https (or http where its registry is configured so) and is on the registry's
//!   own origin, on a host the configuration lists for it, or one of [`KNOWN_TOKEN_HOSTS`].
//!
//! Any other token endpoint is asked anonymously. A token goes to the origin it was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::WWW_AUTHENTICATE;
use moka::Expiry;
use moka::sync::Cache;
use portreeve_reports::Cause;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::credentials::Credentials;
use super::endpoint::{Endpoint, authority};
use super::failure::{Deadline, Failure};
use super::options::TOKEN_BYTES;
use super::transport::{Answer, Cap, Payload, Request, Transport};

/// Registries whose token endpoint is another host of the same operator.
pub(super) const KNOWN_TOKEN_HOSTS: [(&str, &str); 2] =
    [("docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

/// Most authorizations kept.
const KEPT_TOKENS: u64 = 4096;
/// Token lifetimes are taken from the answer within these bounds (the protocol's default is 60 s); a tenth is left
/// unused.
const LIFETIME: std::ops::RangeInclusive<u64> = 10..=3600;
const DEFAULT_LIFETIME: u64 = 60;

/// What may be done with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    /// Nothing but being known: what `/v2/` asks for.
    SignIn,
    Pull,
    Push,
}

/// What an authorization is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) origin: String,
    pub(super) repository: Arc<str>,
    pub(super) access: Access,
}

impl Scope {
    /// Ours, never the challenge's: a registry must not get a token for more than was asked.
    fn text(&self) -> Option<String> {
        let actions = match self.access {
            Access::SignIn => return None,
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        Some(format!("repository:{}:{actions}", self.repository))
    }
}

/// The value of an `Authorization` header and how long it may be used.
struct Authorization {
    value: SecretString,
    lifetime: Duration,
}

/// Authorizations by scope.
pub(super) struct Authorizations(Cache<Scope, Arc<Authorization>>);

struct TokenExpiry;

impl Expiry<Scope, Arc<Authorization>> for TokenExpiry {
    fn expire_after_create(&self, _: &Scope, authorization: &Arc<Authorization>, _: Instant) -> Option<Duration> {
        Some(authorization.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &Scope,
        authorization: &Arc<Authorization>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(authorization.lifetime)
    }
}

impl Authorizations {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(KEPT_TOKENS).expire_after(TokenExpiry).build())
    }

    pub(super) fn known(&self, scope: &Scope) -> Option<SecretString> {
        self.0.get(scope).map(|authorization| authorization.value.clone())
    }

    pub(super) fn forget(&self, scope: &Scope) {
        self.0.invalidate(scope);
    }

    /// Answers a 401. `None`: there is nothing to answer it with.
    pub(super) async fn authenticate(
        &self,
        transport: &Transport,
        asked: (&Endpoint, &Scope),
        refused: &Answer,
        deadline: Deadline,
    ) -> Result<Option<SecretString>, Failure> {
        let (endpoint, scope) = asked;
        let authorization = match strongest_challenge(refused) {
            Some(Challenge::Bearer { realm, service }) => {
                let ask = TokenQuestion { endpoint, scope, realm, service };
                Some(ask.token(transport, deadline).await?)
            }
            Some(Challenge::Basic) => match endpoint.credentials()? {
                Some(Credentials::Basic { username, password }) => Some(Authorization {
                    value: basic(&username, &password),
                    lifetime: Duration::from_secs(*LIFETIME.end()),
                }),
                _ => None,
            },
            None => None,
        };
        let Some(authorization) = authorization else { return Ok(None) };
        let value = authorization.value.clone();
        self.0.insert(scope.clone(), Arc::new(authorization));
        Ok(Some(value))
    }
}

fn basic(username: &str, password: &SecretString) -> SecretString {
    format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose_secret()))).into()
}

struct TokenQuestion<'a> {
    endpoint: &'a Endpoint,
    scope: &'a Scope,
    realm: String,
    service: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl TokenQuestion<'_> {
    async fn token(&self, transport: &Transport, deadline: Deadline) -> Result<Authorization, Failure> {
        let realm = self.realm_url()?;
        let configured = self.endpoint.credentials()?;
        let is_held_back = configured.is_some() && !self.may_receive_credentials(&realm);
        let credentials = configured.filter(|_| !is_held_back);
        let (request, authorization) = self.request(realm, credentials);
        let answer = transport.exchange(&request, authorization.as_ref(), deadline).await?;
        if answer.status.is_success() {
            return self.read(&request, &answer);
        }
        let hint = if is_held_back {
            "; the credentials were not sent, because the token endpoint is on another host: list that host as a token \
             host of the registry if it is yours"
        } else {
            ""
        };
        Err(request
            .fail(cause_of(answer.status), format_args!("token request answered {}{hint}", answer.status.as_u16())))
    }

    fn realm_url(&self) -> Result<Url, Failure> {
        let realm = Url::parse(&self.realm).ok().filter(|realm| realm.host_str().is_some());
        let refuse = |why| Failure::unreadable(format!("{}: its token endpoint {why}", self.endpoint.host));
        match realm {
            None => Err(refuse("is not a URL")),
            Some(realm) if !realm.username().is_empty() || realm.password().is_some() => {
                Err(refuse("has a user name in its URL"))
            }
            Some(realm) if realm.scheme() == "https" || (realm.scheme() == "http" && self.endpoint.plain_http) => {
                Ok(realm)
            }
            Some(_) => Err(refuse("is not https")),
        }
    }

    fn may_receive_credentials(&self, realm: &Url) -> bool {
        let authority = authority(realm);
        realm.origin() == self.endpoint.base.origin()
            || self.endpoint.token_hosts.contains(&authority)
            || KNOWN_TOKEN_HOSTS.contains(&(self.endpoint.host.as_str(), authority.as_str()))
    }

    /// GET with Basic, or anonymous; POST for an identity token (docker's "token" and "oauth2" documents).
    fn request(&self, realm: Url, credentials: Option<Credentials>) -> (Request<'static>, Option<SecretString>) {
        let mut request = Request::get(realm, "application/json", Cap::of(TOKEN_BYTES));
        let service = self.service.as_deref().unwrap_or_default();
        match credentials {
            Some(Credentials::IdentityToken(token)) => {
                request.method = Method::POST;
                request.payload = Payload::Form(self.refresh_form(service, &token));
                (request, None)
            }
            other => {
                if let Some(scope) = self.scope.text() {
                    request.url.query_pairs_mut().append_pair("scope", &scope);
                }
                if !service.is_empty() {
                    request.url.query_pairs_mut().append_pair("service", service);
                }
                let authorization = match other {
                    Some(Credentials::Basic { username, password }) => Some(basic(&username, &password)),
                    _ => None,
                };
                (request, authorization)
            }
        }
    }

    fn refresh_form(&self, service: &str, token: &SecretString) -> SecretString {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", service)
            .append_pair("client_id", "portreeve")
            .extend_pairs(self.scope.text().map(|scope| ("scope", scope)))
            .append_pair("refresh_token", token.expose_secret())
            .finish()
            .into()
    }

    fn read(&self, request: &Request<'_>, answer: &Answer) -> Result<Authorization, Failure> {
        // The parser's message could quote the token, so it is left out.
        let read: TokenAnswer = serde_json::from_slice(&answer.body)
            .map_err(|_| request.fail(Cause::Unreadable, "the token answer is not the expected JSON"))?;
        let token = read.token.or(read.access_token).filter(|token| is_token(token));
        let Some(token) = token else {
            return Err(request.fail(Cause::Unreadable, "the token answer has no usable token"));
        };
        let seconds = read.expires_in.unwrap_or(DEFAULT_LIFETIME).clamp(*LIFETIME.start(), *LIFETIME.end());
        let lifetime = Duration::from_secs(seconds) * 9 / 10;
        Ok(Authorization { value: format!("Bearer {token}").into(), lifetime })
    }
}

/// The characters of RFC 6750 §2.1, and no more.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn cause_of(status: http::StatusCode) -> Cause {
    match status.as_u16() {
        401 | 403 => Cause::Forbidden,
        429 => Cause::RateLimited,
        500.. => Cause::Unreachable,
        _ => Cause::Unreadable,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Bearer { realm: String, service: Option<String> },
    Basic,
}

fn strongest_challenge(answer: &Answer) -> Option<Challenge> {
    let mut basic = None;
    for value in answer.headers.get_all(WWW_AUTHENTICATE) {
        match value.to_str().ok().and_then(parse_challenge) {
            Some(Challenge::Basic) => basic = Some(Challenge::Basic),
            Some(bearer) => return Some(bearer),
            None => {}
        }
    }
    basic
}

/// One challenge a header, as registries send them (RFC 9110 §11.6.1).
fn parse_challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut realm = None;
    let mut service = None;
    for (name, value) in parameters(rest) {
        match name.to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            _ => {}
        }
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

/// `name="value"` pairs, separated by commas; a value may be quoted, with backslash escapes.
fn parameters(mut rest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                (value.trim().to_owned(), after)
            }
        };
        found.push((name.trim_matches([' ', ',', '\t']).to_owned(), value));
        rest = after;
    }
    found
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(index + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_in_the_spellings_that_registries_use() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        for (text, expected) in [
            (
                r#"Bearer realm="https://a.io/t",service="a.io",scope="x:y:pull,push""#,
                bearer("https://a.io/t", Some("a.io")),
            ),
            (r#"bearer service=a , realm="https://a/\"q""#, bearer("https://a/\"q", Some("a"))),
            (r#"BASIC realm="r""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            ("Bearer", None),
            (r#"Negotiate realm="https://a""#, None),
            (r#"Bearer realm="https://unclosed"#, bearer("https://unclosed", None)),
            ("Bearer =,=,=", None),
        ] {
            assert_eq!(parse_challenge(text), expected, "{text}");
        }
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_no_token() {
        for token in ["", "a b", "a\r\nX: y", "ü"] {
            assert!(!is_token(token), "{token:?}");
        }
        assert!(is_token("eyJ.abc-_~+/="));
    }
}
