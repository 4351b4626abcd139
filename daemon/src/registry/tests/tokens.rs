//! Identity tokens: exchanged by POST at the token endpoint that may have them, kept as they are replaced, and never in
//! a URL or a header.

use std::sync::Mutex;

use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;
use secrecy::SecretString;

use super::credentials::{BASIC, bearer_challenge, manifest};
use super::fixture::*;
use crate::registry::{Credentials, HostOptions};

fn with_token(registry: &Registry, password: Option<&str>) -> HostOptions {
    let password = password.map(|password| ("me".to_owned(), SecretString::from(password)));
    let credentials = Some(Credentials::IdentityToken { token: "refr&sh".into(), password });
    HostOptions { credentials, ..registry.plain() }
}

/// A registry with its token endpoint; `tokens` answers there.
async fn registry(tokens: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Registry {
    Registry::start(move |seen| match seen.authorization.as_deref() {
        _ if seen.target.starts_with("/token") => tokens(seen),
        Some("Bearer t0ken") => manifest(),
        _ => bearer_challenge(&format!("http://{}/token", seen.host)),
    })
    .await
}

fn token() -> Reply {
    ok("application/json", br#"{"access_token":"t0ken","expires_in":300}"#)
}

fn asked(registry: &Registry) -> Vec<Seen> {
    registry.seen().into_iter().filter(|seen| seen.target.starts_with("/token")).collect()
}

#[tokio::test]
async fn an_identity_token_is_posted_and_never_in_a_url() {
    let registry = registry(|_| token()).await;
    let client = client(vec![with_token(&registry, None)]);
    assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    let asked = asked(&registry);
    assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].target.as_str()), (1, "POST", "/token"));
    let form: Vec<_> = url::form_urlencoded::parse(asked[0].body.as_bytes()).into_owned().collect();
    let expected = [
        ("grant_type", "refresh_token"),
        ("service", "s"),
        ("client_id", "portreeve"),
        ("scope", "repository:demo/app:pull"),
        ("refresh_token", "refr&sh"),
    ];
    assert_eq!(form, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(asked[0].authorization, None);
}

#[tokio::test]
async fn a_refresh_token_that_replaces_another_is_used_next_and_given_up_when_it_is_refused() {
    let uses = Mutex::new(0);
    let registry = registry(move |seen| {
        let mut uses = uses.lock().unwrap();
        *uses += 1;
        match (*uses, seen.body.contains("refresh_token=second")) {
            (1, false) => ok("application/json", br#"{"access_token":"t0ken","refresh_token":"second"}"#),
            (2, true) => status(503),
            (3, true) => status(400),
            (4, false) => token(),
            other => panic!("{other:?}: {}", seen.body),
        }
    })
    .await;
    let client = client(vec![with_token(&registry, None)]);
    for (repository, expected) in
        [("a", None), ("b", Some(Cause::Unreachable)), ("c", Some(Cause::Unreadable)), ("d", None)]
    {
        let image = format!("{}/{repository}:1", registry.host());
        let answer = client.resolve(&portreeve_policies::image::ImageReference::parse(&image).unwrap(), later()).await;
        match expected {
            None => assert!(matches!(answer, Lookup::Found(_)), "{repository}: {answer:?}"),
            Some(expected) => assert_eq!(cause(&answer), expected, "{repository}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_endpoint_without_post_is_asked_by_get_with_the_password_where_there_is_one() {
    for code in [404, 405] {
        let registry = registry(move |seen| match (seen.method.as_str(), seen.authorization.as_deref()) {
            ("POST", None) => status(code),
            ("GET", Some(BASIC)) => token(),
            _ => status(401),
        })
        .await;
        let with_password = client(vec![with_token(&registry, Some("hunter2"))]);
        assert!(matches!(with_password.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
        let methods: Vec<_> = asked(&registry).into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods, ["POST", "GET"]);
        let answer = client(vec![with_token(&registry, None)]).resolve(&registry.image(":1"), later()).await;
        assert!(message(&answer).contains("takes no identity tokens"), "{answer:?}");
        assert_eq!(asked(&registry).len(), 3, "an identity token is no password");
    }
}

#[tokio::test]
async fn cve_2025_27403_a_foreign_token_endpoint_gets_no_identity_token() {
    let tokens = Registry::start(|_| token()).await;
    let realm = format!("http://{}/token", tokens.host());
    let registry = Registry::start(move |_| bearer_challenge(&realm)).await;
    let client = client(vec![with_token(&registry, Some("hunter2")), tokens.plain()]);
    let _ = client.resolve(&registry.image(":1"), later()).await;
    let seen = tokens.seen();
    assert_eq!((seen.len(), seen[0].method.as_str()), (1, "GET"));
    assert!(!format!("{seen:?}").contains("refr") && seen[0].authorization.is_none(), "{seen:?}");
}

#[tokio::test]
async fn cve_2025_27403_an_identity_token_does_not_follow_a_redirect() {
    let other = Registry::start(|_| token()).await;
    let away = format!("http://{}/token", other.host());
    let registry = registry(move |_| Reply::Answer(307, vec![("Location", away.clone())], vec![])).await;
    let client = client(vec![with_token(&registry, None), other.plain()]);
    let answer = client.resolve(&registry.image(":1"), later()).await;
    assert_eq!(cause(&answer), Cause::Unreadable, "{answer:?}");
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn no_failure_shows_an_identity_token() {
    for code in [400, 401, 404, 503] {
        let registry = registry(move |_| status(code)).await;
        let host = with_token(&registry, None);
        let answer = client(vec![host.clone()]).resolve(&registry.image(":1"), later()).await;
        let shown = format!("{answer:?} {host:?}");
        assert!(!shown.contains("refr"), "{shown}");
    }
}
