//! Credential provider plug-ins, as programs: what they are asked, for how much an answer counts, and what becomes of
//! those that fail.

use std::sync::Arc;

use portreeve_policies::image::ImageReference;
use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;
use tempfile::TempDir;

use super::credentials::{BASIC, with_own_realm};
use super::fixture::*;
use super::helpers::install;
use crate::registry::{Programs, Providers, RegistryClient, RegistryOptions, Source};

struct Plugin(TempDir);

impl Plugin {
    /// A plug-in that notes what it is asked, and then does as the script says.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked").display().to_string();
        install(folder.path(), "plugin", &format!("echo \"$(cat) $1 $CLOUD\" >> '{asked}'\n{script}"));
        Self(folder)
    }

    fn asked(&self) -> Vec<String> {
        let noted = std::fs::read_to_string(self.0.path().join("asked")).unwrap_or_default();
        noted.lines().map(str::to_owned).collect()
    }

    /// A client that asks it about images that the pattern means.
    fn client(&self, registry: &Registry, pattern: &str) -> RegistryClient {
        let config = format!(
            "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n  - name: plugin\n    \
             matchImages: ['{pattern}']\n    defaultCacheDuration: 10m\n    \
             apiVersion: credentialprovider.kubelet.k8s.io/v1\n    args: [get]\n    \
             env: [{{name: CLOUD, value: nine}}]\n"
        );
        let providers = Some(Arc::new(Providers::parse(config.as_bytes(), "p.yaml", self.0.path()).unwrap()));
        let programs = Programs { providers, ..Programs::default() };
        let options = RegistryOptions { hosts: vec![registry.plain()], programs, ..RegistryOptions::default() };
        RegistryClient::new(options).unwrap()
    }
}

fn answer(reach: &str, auth: &str) -> String {
    format!(
        "echo '{{\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"kind\":\"CredentialProviderResponse\",\
         \"cacheKeyType\":\"{reach}\",\"auth\":{auth}}}'"
    )
}

const FOR_ALL: &str = r#"{"127.0.0.*:PORT":{"username":"me","password":"hunter2"}}"#;

fn for_port(registry: &Registry) -> String {
    FOR_ALL.replace("PORT", &registry.address.port().to_string())
}

fn pattern(registry: &Registry) -> String {
    format!("127.0.0.*:{}", registry.address.port())
}

async fn resolve(client: &RegistryClient, registry: &Registry, repository: &str) -> Lookup<String> {
    let image = ImageReference::parse(&format!("{}/{repository}:1", registry.host())).unwrap();
    match client.resolve(&image, later()).await {
        Lookup::Found(found) => Lookup::Found(found.digest.to_string()),
        Lookup::Absent => Lookup::Absent,
        Lookup::Indeterminate(cause, message) => Lookup::Indeterminate(cause, message),
    }
}

fn authorizations(registry: &Registry) -> Vec<String> {
    let tokens = registry.seen().into_iter().filter(|seen| seen.target.starts_with("/token"));
    tokens.map(|seen| seen.authorization.unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_plug_in_is_asked_in_the_protocol_of_kubelet_and_its_answer_counts_as_far_as_it_says() {
    for (reach, runs) in [("Image", 2), ("Registry", 1), ("Global", 1)] {
        let registry = with_own_realm().await;
        let plugin = Plugin::new(&answer(reach, &for_port(&registry)));
        let client = plugin.client(&registry, &pattern(&registry));
        for repository in ["team/a", "team/b"] {
            let answer = resolve(&client, &registry, repository).await;
            assert!(matches!(answer, Lookup::Found(_)), "{reach}: {answer:?}");
        }
        assert_eq!(authorizations(&registry), [BASIC; 2], "{reach}");
        let asked = plugin.asked();
        assert_eq!(asked.len(), runs, "{reach}");
        let expected = format!(
            "{{\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"kind\":\"CredentialProviderRequest\",\
             \"image\":\"{}/team/a\"}} get nine",
            registry.host()
        );
        assert_eq!(asked[0], expected);
        let told = client.credentials_of(&registry.host(), later()).await.unwrap();
        assert_eq!(told, (Source::Program("the credential provider plugin".to_owned()), true));
    }
}

#[tokio::test]
async fn images_that_no_pattern_means_and_answers_for_other_hosts_give_no_credentials() {
    let registry = with_own_realm().await;
    let plugin = Plugin::new(&answer("Global", &for_port(&registry)));
    let elsewhere = plugin.client(&registry, "127.0.0.*");
    assert!(matches!(resolve(&elsewhere, &registry, "a").await, Lookup::Found(_)));
    assert_eq!((plugin.asked().len(), authorizations(&registry)), (0, vec![String::new()]));

    let registry = with_own_realm().await;
    let plugin = Plugin::new(&answer("Image", r#"{"127.0.0.1":{"username":"me","password":"hunter2"}}"#));
    let client = plugin.client(&registry, &pattern(&registry));
    assert!(matches!(resolve(&client, &registry, "a").await, Lookup::Found(_)));
    assert_eq!((plugin.asked().len(), authorizations(&registry)), (1, vec![String::new()]));
}

#[tokio::test]
async fn a_plug_in_that_fails_is_unknown_by_its_name_and_nothing_that_it_says_shows() {
    for (script, expected) in [
        ("echo hunter2; echo hunter2 >&2; exit 7", Cause::Forbidden),
        ("echo hunter2", Cause::Unreadable),
        ("head -c 70000 /dev/zero", Cause::TooLarge),
    ] {
        let registry = with_own_realm().await;
        let plugin = Plugin::new(script);
        let answer = resolve(&plugin.client(&registry, &pattern(&registry)), &registry, "a").await;
        assert_eq!(cause(&answer), expected, "{script}: {answer:?}");
        let said = message(&answer);
        assert!(said.contains("the credential provider plugin") && !said.contains("hunter2"), "{script}: {said}");
    }
}
