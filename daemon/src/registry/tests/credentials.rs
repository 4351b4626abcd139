//! T14: credentials and tokens go to whom they belong to, and nothing of them shows.

use std::sync::Arc;

use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;

use super::fixture::*;
use crate::registry::{Credentials, DockerConfig, HostOptions, RegistryClient, RegistryOptions};

pub(super) const BASIC: &str = "Basic bWU6aHVudGVyMg==";

fn password() -> Option<Credentials> {
    Some(Credentials::Basic { username: "me".into(), password: "hunter2".into() })
}

fn with_password(registry: &Registry) -> HostOptions {
    HostOptions { credentials: password(), ..registry.plain() }
}

pub(super) fn bearer_challenge(realm: &str) -> Reply {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:other/private:pull,push\"");
    Reply::Answer(401, vec![("WWW-Authenticate", challenge)], vec![])
}

pub(super) fn manifest() -> Reply {
    ok(MANIFEST_TYPE, &manifest_of(&[]))
}

/// A registry with its token endpoint on the same origin; the token is `t0ken`.
pub(super) async fn with_own_realm() -> Registry {
    Registry::start(|seen| match seen.authorization.as_deref() {
        _ if seen.target.starts_with("/token") => ok("application/json", br#"{"token":"t0ken","expires_in":300}"#),
        Some("Bearer t0ken") => manifest(),
        _ => bearer_challenge(&format!("http://{}/token", seen.host)),
    })
    .await
}

/// A token server that hands out `t0ken`, and a registry that names it as its realm.
async fn with_foreign_realm() -> (Registry, Registry) {
    let tokens = Registry::start(|_| ok("application/json", br#"{"access_token":"t0ken"}"#)).await;
    let realm = format!("http://{}/token", tokens.host());
    let registry = Registry::start(move |seen| match seen.authorization.as_deref() {
        Some("Bearer t0ken") => manifest(),
        _ => bearer_challenge(&realm),
    })
    .await;
    (registry, tokens)
}

#[tokio::test]
async fn the_own_realm_gets_the_password_and_the_registry_only_the_token() {
    let registry = with_own_realm().await;
    let client = client(vec![with_password(&registry)]);
    assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    for seen in registry.seen() {
        let expected = match seen.target.starts_with("/token") {
            true => Some(BASIC),
            false => seen.authorization.as_deref().filter(|value| *value == "Bearer t0ken"),
        };
        assert_eq!(seen.authorization.as_deref(), expected, "{seen:?}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_our_own_scope_and_used_again() {
    let registry = with_own_realm().await;
    let client = registry.client();
    for tag in [":1", ":2", ":3"] {
        assert!(matches!(client.resolve(&registry.image(tag), later()).await, Lookup::Found(_)));
    }
    let asked: Vec<_> = registry.seen().into_iter().filter(|seen| seen.target.starts_with("/token")).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "/token?scope=repository%3Ademo%2Fapp%3Apull&service=s");
    assert_eq!(registry.seen().len(), 5);
}

#[tokio::test]
async fn t14_a_foreign_realm_is_asked_without_the_password() {
    let (registry, tokens) = with_foreign_realm().await;
    let client = client(vec![with_password(&registry), tokens.plain()]);
    assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    assert_eq!(tokens.seen().len(), 1);
    assert_eq!(tokens.seen()[0].authorization, None);
}

#[tokio::test]
async fn a_foreign_realm_that_wants_the_password_is_named_with_what_to_do() {
    let tokens = Registry::start(|_| status(401)).await;
    let realm = format!("http://{}/token", tokens.host());
    let registry = Registry::start(move |_| bearer_challenge(&realm)).await;
    let client = client(vec![with_password(&registry), tokens.plain()]);
    let answer = client.resolve(&registry.image(":1"), later()).await;
    assert_eq!(cause(&answer), Cause::Forbidden);
    assert!(message(&answer).contains("token host"), "{answer:?}");
}

#[tokio::test]
async fn a_listed_token_host_gets_the_password() {
    let (registry, tokens) = with_foreign_realm().await;
    let client = client(vec![HostOptions { token_hosts: vec![tokens.host()], ..with_password(&registry) }]);
    assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    assert_eq!(tokens.seen()[0].authorization.as_deref(), Some(BASIC));
}

#[tokio::test]
async fn basic_is_sent_after_the_challenge_and_remembered() {
    let registry = Registry::start(|seen| match seen.authorization.as_deref() {
        Some(BASIC) => manifest(),
        _ => Reply::Answer(401, vec![("WWW-Authenticate", "Basic realm=\"r\"".to_owned())], vec![]),
    })
    .await;
    let client = client(vec![with_password(&registry)]);
    for tag in [":1", ":2"] {
        assert!(matches!(client.resolve(&registry.image(tag), later()).await, Lookup::Found(_)));
    }
    assert_eq!(registry.seen().len(), 3);
}

#[tokio::test]
async fn t14_a_redirect_to_another_host_loses_the_token_and_does_not_get_it_back() {
    let home = Arc::new(std::sync::OnceLock::new());
    let back = Arc::clone(&home);
    let other = Registry::start(move |_| {
        let address: &String = back.get().unwrap();
        Reply::Answer(302, vec![("Location", format!("http://{address}/back"))], vec![])
    })
    .await;
    let away = format!("http://{}/away", other.host());
    let registry = Registry::start(move |seen| match seen.authorization.as_deref() {
        _ if seen.target.starts_with("/token") => ok("application/json", br#"{"token":"t0ken"}"#),
        _ if seen.target == "/back" => manifest(),
        Some("Bearer t0ken") => Reply::Answer(302, vec![("Location", away.clone())], vec![]),
        _ => bearer_challenge(&format!("http://{}/token", seen.host)),
    })
    .await;
    home.set(registry.host()).unwrap();
    let client = client(vec![with_password(&registry), other.plain()]);
    let answer = client.resolve(&registry.image(":1"), later()).await;
    assert!(matches!(answer, Lookup::Found(_)), "{answer:?}");
    assert_eq!(other.seen().len(), 1);
    assert_eq!(other.seen()[0].authorization, None);
    let returned = registry.seen().into_iter().find(|seen| seen.target == "/back").unwrap();
    assert_eq!(returned.authorization, None);
}

#[tokio::test]
async fn another_port_of_the_same_host_is_another_host() {
    let registry = with_own_realm().await;
    let neighbour =
        Registry::start(|_| Reply::Answer(401, vec![("WWW-Authenticate", "Basic realm=\"r\"".to_owned())], vec![]))
            .await;
    let client = client(vec![with_password(&registry), neighbour.plain()]);
    assert_eq!(cause(&client.resolve(&neighbour.image(":1"), later()).await), Cause::Forbidden);
    assert!(neighbour.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn realms_that_are_no_safe_url_are_refused() {
    for realm in ["", "token", "file:///etc/passwd", "ftp://a.example/t", "http://me:pw@127.0.0.1:1/t"] {
        let registry = Registry::start(move |_| bearer_challenge(realm)).await;
        let client = client(vec![with_password(&registry)]);
        let answer = client.resolve(&registry.image(":1"), later()).await;
        assert_eq!(cause(&answer), Cause::Unreadable, "{realm}: {answer:?}");
    }
}

#[tokio::test]
async fn token_answers_of_garbage_or_without_end_are_unknown() {
    type Script = fn() -> Reply;
    let cases: [(Script, Cause); 6] = [
        (|| ok("application/json", b"{}"), Cause::Unreadable),
        (|| ok("application/json", b"{\"token\":\"a b\"}"), Cause::Unreadable),
        (|| ok("application/json", b"not json"), Cause::Unreadable),
        (|| Reply::Endless, Cause::TooLarge),
        (|| status(403), Cause::Forbidden),
        (|| status(503), Cause::Unreachable),
    ];
    for (script, expected) in cases {
        let registry = Registry::start(move |seen| match seen.target.starts_with("/token") {
            true => script(),
            false => bearer_challenge(&format!("http://{}/token", seen.host)),
        })
        .await;
        assert_eq!(cause(&registry.client().resolve(&registry.image(":1"), later()).await), expected);
    }
}

#[tokio::test]
async fn a_registry_that_never_accepts_its_own_token_is_asked_twice() {
    let registry = Registry::start(|seen| match seen.target.starts_with("/token") {
        true => ok("application/json", b"{\"token\":\"t\"}"),
        false => bearer_challenge(&format!("http://{}/token", seen.host)),
    })
    .await;
    assert_eq!(cause(&registry.client().resolve(&registry.image(":1"), later()).await), Cause::Forbidden);
    assert_eq!(registry.seen().len(), 3);
}

#[tokio::test]
async fn a_registry_that_never_accepts_the_password_is_asked_twice() {
    let registry =
        Registry::start(|_| Reply::Answer(401, vec![("WWW-Authenticate", "Basic realm=\"r\"".to_owned())], vec![]))
            .await;
    let client = client(vec![with_password(&registry)]);
    assert_eq!(cause(&client.resolve(&registry.image(":1"), later()).await), Cause::Forbidden);
    let sent: Vec<_> = registry.seen().into_iter().map(|seen| seen.authorization).collect();
    assert_eq!(sent, [None, Some(BASIC.to_owned())]);
}

#[tokio::test]
async fn a_docker_config_is_used_for_the_hosts_it_names() {
    let registry = with_own_realm().await;
    let config = format!(r#"{{"auths":{{"{}":{{"username":"me","password":"hunter2"}}}}}}"#, registry.host());
    let docker_config = Some(Arc::new(DockerConfig::parse(config.as_bytes()).unwrap()));
    let options = RegistryOptions { hosts: vec![registry.plain()], docker_config, ..RegistryOptions::default() };
    let client = RegistryClient::new(options).unwrap();
    assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    assert!(registry.seen().iter().any(|seen| seen.authorization.as_deref() == Some(BASIC)));
}

#[tokio::test]
async fn no_failure_shows_a_password_or_a_token() {
    for script in [|| status(403), || status(500), || Reply::Reset, || Reply::Endless] {
        let registry = Registry::start(move |seen| match seen.authorization.as_deref() {
            _ if seen.target.starts_with("/token") => ok("application/json", br#"{"token":"t0ken"}"#),
            Some(_) => script(),
            None => bearer_challenge(&format!("http://{}/token", seen.host)),
        })
        .await;
        let host = with_password(&registry);
        let answer = client(vec![host.clone()]).resolve(&registry.image(":1"), later()).await;
        let shown = format!("{answer:?} {host:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("t0ken") && !shown.contains("bWU6"), "{shown}");
    }
}
