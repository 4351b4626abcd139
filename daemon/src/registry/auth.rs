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
use super::endpoint::{Endpoint, Rotated, authority};
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
            Some(Challenge::Basic) => {
                let credentials = endpoint.credentials(&scope.repository, deadline).await?;
                credentials.as_ref().and_then(Credentials::password).map(|(username, password)| Authorization {
                    value: basic(username, password),
                    lifetime: Duration::from_secs(*LIFETIME.end()),
                })
            }
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
    #[serde(default)]
    refresh_token: Option<String>,
}

impl TokenQuestion<'_> {
    async fn token(&self, transport: &Transport, deadline: Deadline) -> Result<Authorization, Failure> {
        let realm = self.realm_url()?;
        let configured = self.endpoint.credentials(&self.scope.repository, deadline).await?;
        let is_held_back = configured.is_some() && !self.may_receive_credentials(&realm);
        let asked = match configured.filter(|_| !is_held_back) {
            Some(Credentials::IdentityToken { token, password }) => {
                self.refreshed(transport, (&realm, &token, password.as_ref()), deadline).await
            }
            Some(Credentials::Basic { username, password }) => {
                self.asked(transport, self.by_get(realm), (Some(basic(&username, &password)), ""), deadline).await
            }
            None => {
                let hint = if is_held_back { HELD_BACK } else { "" };
                self.asked(transport, self.by_get(realm), (None, hint), deadline).await
            }
        };
        if asked.as_ref().is_err_and(|failure| failure.cause == Cause::Forbidden) {
            self.endpoint.credentials_refused(&self.scope.repository).await;
        }
        asked.map(|(authorization, _)| authorization)
    }

    async fn asked(
        &self,
        transport: &Transport,
        request: Request<'static>,
        (authorization, hint): (Option<SecretString>, &str),
        deadline: Deadline,
    ) -> Result<(Authorization, Option<SecretString>), Failure> {
        let answer = transport.exchange(&request, authorization.as_ref(), deadline).await?;
        if answer.status.is_success() { read(&request, &answer) } else { Err(refused(&request, &answer, hint)) }
    }

    /// A token for an identity token, by POST (docker's "oauth2" document). A token endpoint that does not know POST is
    /// asked by GET with the password, where there is one: an identity token is no password.
    async fn refreshed(
        &self,
        transport: &Transport,
        (realm, token, password): (&Url, &SecretString, Option<&(String, SecretString)>),
        deadline: Deadline,
    ) -> Result<(Authorization, Option<SecretString>), Failure> {
        let wait = deadline.bound(self.endpoint.rotated.lock()).await;
        // One at a time: where each use makes the next token, two uses of one token are a theft to the server.
        let Some(mut rotated) = wait else {
            return Err(Failure::new(Cause::TimedOut, format!("{}: no token before the deadline", self.endpoint.host)));
        };
        let current = rotated.as_ref().filter(|kept| kept.from.expose_secret() == token.expose_secret());
        let request = self.by_post(realm.clone(), current.map_or(token, |kept| &kept.to));
        let answer = transport.exchange(&request, None, deadline).await?;
        match (answer.status.as_u16(), password) {
            (200..=299, _) => {
                let (authorization, next) = read(&request, &answer)?;
                if let Some(to) = next {
                    *rotated = Some(Rotated { from: token.clone(), to });
                }
                Ok((authorization, None))
            }
            (404 | 405, Some((username, password))) => {
                let authorization = Some(basic(username, password));
                self.asked(transport, self.by_get(realm.clone()), (authorization, ""), deadline).await
            }
            (404 | 405, None) => Err(refused(&request, &answer, NO_IDENTITY_TOKENS)),
            (status, _) => {
                if let 400 | 401 | 403 = status {
                    // The one that was logged in with may still count.
                    *rotated = None;
                }
                Err(refused(&request, &answer, ""))
            }
        }
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

    /// Docker's "token" document.
    fn by_get(&self, realm: Url) -> Request<'static> {
        let mut request = Request::get(realm, "application/json", Cap::of(TOKEN_BYTES));
        if let Some(scope) = self.scope.text() {
            request.url.query_pairs_mut().append_pair("scope", &scope);
        }
        if let Some(service) = self.service.as_deref().filter(|service| !service.is_empty()) {
            request.url.query_pairs_mut().append_pair("service", service);
        }
        request
    }

    fn by_post(&self, realm: Url, token: &SecretString) -> Request<'static> {
        let mut request = Request::get(realm, "application/json", Cap::of(TOKEN_BYTES));
        request.method = Method::POST;
        request.payload = Payload::Form(self.refresh_form(token));
        request
    }

    fn refresh_form(&self, token: &SecretString) -> SecretString {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.service.as_deref().unwrap_or_default())
            .append_pair("client_id", "portreeve")
            .extend_pairs(self.scope.text().map(|scope| ("scope", scope)))
            .append_pair("refresh_token", token.expose_secret())
            .finish()
            .into()
    }
}

const HELD_BACK: &str = "; the credentials were not sent, because the token endpoint is on another host: list that host \
                         as a token host of the registry if it is yours";
const NO_IDENTITY_TOKENS: &str = "; it takes no identity tokens: log in with a name and a password";

fn refused(request: &Request<'_>, answer: &Answer, hint: &str) -> Failure {
    let status = answer.status;
    request.fail(cause_of(status), format_args!("token request answered {}{hint}", status.as_u16()))
}

/// The token, and the refresh token that is to be used next where there is one.
fn read(request: &Request<'_>, answer: &Answer) -> Result<(Authorization, Option<SecretString>), Failure> {
    // The parser's message could quote the token, so it is left out.
    let read: TokenAnswer = serde_json::from_slice(&answer.body)
        .map_err(|_| request.fail(Cause::Unreadable, "the token answer is not the expected JSON"))?;
    let token = read.token.or(read.access_token).filter(|token| is_token(token));
    let Some(token) = token else {
        return Err(request.fail(Cause::Unreadable, "the token answer has no usable token"));
    };
    let seconds = read.expires_in.unwrap_or(DEFAULT_LIFETIME).clamp(*LIFETIME.start(), *LIFETIME.end());
    let lifetime = Duration::from_secs(seconds) * 9 / 10;
    let next = read.refresh_token.filter(|token| is_token(token)).map(SecretString::from);
    Ok((Authorization { value: format!("Bearer {token}").into(), lifetime }, next))
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
