//! Credential helpers, as programs of the `PATH`: who is asked, how often, and what becomes of each answer.

use std::path::Path;
use std::sync::Arc;

use portreeve_policies::image::ImageReference;
use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;
use tempfile::TempDir;

use super::credentials::{BASIC, with_own_realm};
use super::fixture::*;
use crate::registry::{DockerConfig, HelperName, HostOptions, Programs, RegistryClient, RegistryOptions, Source};

const ANSWER: &str = r#"echo '{"ServerURL":"x","Username":"me","Secret":"hunter2"}'"#;

/// Puts a script in a folder. By another process: a descriptor of ours could be held open by the fork of another test's
/// thread, and a file that is open for writing cannot be run.
pub(super) fn install(folder: &Path, name: &str, script: &str) {
    let text = folder.join(format!("{name}.sh"));
    std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
    let mut install = std::process::Command::new("install");
    assert!(install.args(["-m", "755"]).arg(&text).arg(folder.join(name)).status().unwrap().success());
}

/// A folder of the `PATH` with `docker-credential-test`, which notes what it was asked in `asked`.
struct Helpers(TempDir);

impl Helpers {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked").display().to_string();
        let script = format!("read -r server || true\necho \"$1 $server\" >> '{asked}'\n{script}");
        install(folder.path(), "docker-credential-test", &script);
        Self(folder)
    }

    fn asked(&self) -> Vec<String> {
        let noted = std::fs::read_to_string(self.0.path().join("asked")).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }

    fn programs(&self, docker_helpers: bool) -> Programs {
        let path = [self.0.path(), Path::new("/usr/bin"), Path::new("/bin")];
        Programs { path: std::env::join_paths(path).unwrap(), docker_helpers, providers: None }
    }

    /// A client whose configuration names the helper for this registry.
    fn configured(&self, registry: &Registry) -> RegistryClient {
        let host = HostOptions { helper: Some(HelperName::parse("test").unwrap()), ..registry.plain() };
        let options =
            RegistryOptions { hosts: vec![host], programs: self.programs(false), ..RegistryOptions::default() };
        RegistryClient::new(options).unwrap()
    }

    /// A client with a docker config.
    fn by_docker(&self, registry: &Registry, config: &str, docker_helpers: bool) -> RegistryClient {
        let config = config.replace("HOST", &registry.host());
        let options = RegistryOptions {
            hosts: vec![registry.plain()],
            docker_config: Some(Arc::new(DockerConfig::parse(config.as_bytes()).unwrap())),
            programs: self.programs(docker_helpers),
            ..RegistryOptions::default()
        };
        RegistryClient::new(options).unwrap()
    }
}

fn authorizations(registry: &Registry) -> Vec<String> {
    let tokens = registry.seen().into_iter().filter(|seen| seen.target.starts_with("/token"));
    tokens.map(|seen| seen.authorization.unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_helper_is_asked_once_for_its_host_and_its_answer_used_for_all_repositories() {
    let registry = with_own_realm().await;
    let helpers = Helpers::new(ANSWER);
    let client = helpers.configured(&registry);
    let images = ["a", "b", "c", "d"].map(|name| format!("{}/{name}:1", registry.host()));
    let resolutions = images.map(|image| {
        let client = client.clone();
        async move { client.resolve(&ImageReference::parse(&image).unwrap(), later()).await }
    });
    for answer in futures::future::join_all(resolutions).await {
        assert!(matches!(answer, Lookup::Found(_)), "{answer:?}");
    }
    assert_eq!(helpers.asked(), [format!("get {}", registry.host())]);
    assert_eq!(authorizations(&registry), [BASIC; 4]);
    let told = client.credentials_of(&registry.host(), later()).await.unwrap();
    assert_eq!(told, (Source::Program("docker-credential-test".to_owned()), true));
}

#[tokio::test]
async fn a_registry_that_asks_for_nothing_asks_no_helper() {
    let registry = Registry::start(|_| super::credentials::manifest()).await;
    let helpers = Helpers::new(ANSWER);
    assert!(matches!(helpers.configured(&registry).resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    assert_eq!(helpers.asked(), [""; 0]);
}

#[tokio::test]
async fn a_token_of_a_helper_is_an_identity_token() {
    let registry = with_own_realm().await;
    let helpers = Helpers::new(r#"echo '{"Username":"<token>","Secret":"refresh"}'"#);
    assert!(matches!(helpers.configured(&registry).resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    let asked = registry.seen().into_iter().find(|seen| seen.target.starts_with("/token")).unwrap();
    assert_eq!((asked.method.as_str(), asked.authorization), ("POST", None));
    assert!(asked.body.contains("refresh_token=refresh"), "{}", asked.body);
}

#[tokio::test]
async fn a_helper_that_has_nothing_leaves_the_question_anonymous() {
    for script in ["echo 'credentials not found in native keychain'; exit 1", r#"echo '{"Username":"","Secret":""}'"#] {
        let registry = with_own_realm().await;
        let helpers = Helpers::new(script);
        let client = helpers.configured(&registry);
        assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)), "{script}");
        assert_eq!(authorizations(&registry), [""], "{script}");
    }
}

#[tokio::test]
async fn a_helper_that_fails_is_unknown_by_its_name_and_nothing_that_it_says_shows() {
    let cases = [
        ("echo hunter2; echo hunter2 >&2; exit 7", Cause::Forbidden, "exit status: 7"),
        ("echo '{\"Username\":\"me\",\"Secret\":[\"hunter2\"]}'", Cause::Unreadable, "JSON"),
        ("echo hunter2", Cause::Unreadable, "JSON"),
        ("kill -KILL $$", Cause::Forbidden, "signal"),
        ("while :; do echo hunter2hunter2hunter2hunter2hunter2; done", Cause::TooLarge, "65536"),
    ];
    for (script, expected, part) in cases {
        let registry = with_own_realm().await;
        let helpers = Helpers::new(script);
        let client = helpers.configured(&registry);
        let answer = client.resolve(&registry.image(":1"), later()).await;
        assert_eq!(cause(&answer), expected, "{script}: {answer:?}");
        let said = message(&answer);
        assert!(said.contains("docker-credential-test") && said.contains(part), "{script}: {said}");
        assert!(!said.contains("hunter2") && authorizations(&registry).is_empty(), "{script}: {said}");
        let _ = client.resolve(&registry.image(":2"), later()).await;
        assert_eq!(helpers.asked().len(), 1, "{script}: a failure is kept for a moment");
    }
}

#[tokio::test]
async fn a_helper_that_hangs_is_waited_for_until_the_deadline_only() {
    let registry = with_own_realm().await;
    let helpers = Helpers::new("exec sleep 600");
    let answer = helpers.configured(&registry).resolve(&registry.image(":1"), soon()).await;
    assert_eq!(cause(&answer), Cause::TimedOut, "{answer:?}");
}

#[tokio::test]
async fn the_docker_config_says_which_helper_only_where_its_helpers_are_run() {
    let stores = [
        r#"{"credHelpers":{"HOST":"test"}}"#,
        r#"{"credsStore":"test","auths":{"HOST":{}}}"#,
        r#"{"credsStore":"test"}"#,
    ];
    for (index, config) in stores.into_iter().enumerate() {
        let registry = with_own_realm().await;
        let helpers = Helpers::new(ANSWER);
        let client = helpers.by_docker(&registry, config, true);
        assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)), "{config}");
        assert_eq!(authorizations(&registry), [BASIC], "{config}");
        assert_eq!(helpers.asked().len(), 1);
        let answer = helpers.by_docker(&registry, config, false).resolve(&registry.image(":1"), later()).await;
        match index {
            // Nobody says that the store has something for this host.
            2 => assert!(matches!(answer, Lookup::Found(_)), "{answer:?}"),
            _ => assert!(message(&answer).contains("registries[].credentials.helper"), "{answer:?}"),
        }
        assert_eq!(helpers.asked().len(), 1, "{config}: not run");
    }
}

#[tokio::test]
async fn a_helper_that_is_not_installed_is_named_and_a_store_that_is_not_has_nothing() {
    let registry = with_own_realm().await;
    let helpers = Helpers::new(ANSWER);
    let named = helpers.by_docker(&registry, r#"{"credHelpers":{"HOST":"ecr-login"}}"#, true);
    let answer = named.resolve(&registry.image(":1"), later()).await;
    assert!(cause(&answer) == Cause::Forbidden && message(&answer).contains("docker-credential-ecr-login"));
    let store = helpers.by_docker(&registry, r#"{"credsStore":"desktop"}"#, true);
    assert!(matches!(store.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
}

#[tokio::test]
async fn credentials_of_a_helper_go_to_its_host_only() {
    let (registry, neighbour) = (with_own_realm().await, with_own_realm().await);
    let helpers = Helpers::new(ANSWER);
    let host = HostOptions { helper: Some(HelperName::parse("test").unwrap()), ..registry.plain() };
    let hosts = vec![host, neighbour.plain()];
    let options = RegistryOptions { hosts, programs: helpers.programs(true), ..RegistryOptions::default() };
    let client = RegistryClient::new(options).unwrap();
    assert!(matches!(client.resolve(&registry.image(":1"), later()).await, Lookup::Found(_)));
    assert!(matches!(client.resolve(&neighbour.image(":1"), later()).await, Lookup::Found(_)));
    assert_eq!((authorizations(&registry), authorizations(&neighbour)), (vec![BASIC.to_owned()], vec![String::new()]));
    assert_eq!(helpers.asked(), [format!("get {}", registry.host())]);
}

#[test]
fn names_of_helpers_are_names_and_no_paths() {
    for name in ["ecr-login", "gcr", "x2", &"a".repeat(64)] {
        assert_eq!(HelperName::parse(name).unwrap().to_string(), format!("docker-credential-{name}"));
    }
    for name in ["", "A", "a_b", "a/b", "..", "a b", "a\n", "ä", &"a".repeat(65)] {
        assert!(HelperName::parse(name).is_err(), "{name:?}");
    }
}
