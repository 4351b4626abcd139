//! A `Platform` of the cluster: kept where the configuration names it, and told what became of it.

use std::fs;
use std::path::Path;

use portreeve_tests::OrFail as _;
use portreeve_tests::api::Api;
use portreeve_tests::chart::NAMESPACE;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::scratch;
use serde_json::{Value, json};

use crate::site::{API_VERSION, condition, definitions, install, path_of, until_said};

/// A platform of one component.
fn platform(name: &str, namespace: &str, folder: &str) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "Platform", "metadata": {"name": name},
        "spec": {"gate": {"frameworks": ["nsa"], "failOn": "critical"},
            "components": [{"name": "app", "namespace": namespace, "source": {"folder": folder}}]}})
}

/// The first component with other keys.
fn with_component(platform: &Value, keys: &Value) -> Value {
    let mut component = platform["spec"]["components"][0].clone();
    for (key, value) in keys.as_object().or_fail("keys") {
        component[key] = value.clone();
    }
    json!({"spec": {"components": [component]}})
}

fn write_config_map(folder: &Path, value: &str) {
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{value: '{value}'}}\n");
    fs::write(folder.join("a.yaml"), text).or_fail("a manifest");
}

async fn until_value(api: &Api, namespace: &str, value: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/a");
    api.wait_for(&path, value, |object| (object["data"]["value"] == value).then_some(())).await;
}

/// Waits until the platform says of its present generation that it is ready, or why not.
async fn until_ready(api: &Api, platform: &Value, reason: &str) -> Value {
    let is_said = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|it| it["type"] == "Ready")?;
        let is_current = ready["observedGeneration"] == object["metadata"]["generation"];
        (is_current && ready["reason"] == reason).then(|| object.clone())
    };
    api.wait_for(&path_of(platform), reason, is_said).await
}

/// Waits until the platform as a whole cannot be kept, for this reason.
async fn until_unusable(daemon: &Daemon, words: &str) {
    let is_whole = |finding: &&Value| {
        finding["subject"]["type"] == "component"
            && finding["message"].as_str().is_some_and(|message| message.contains(words))
    };
    daemon.wait_for("code=PR-5001", words, |found| found.iter().find(is_whole).map(drop)).await;
}

/// A mistake changes nothing, and is said of its generation.
async fn mistakes_change_nothing_and_are_told(api: &Api, daemon: &Daemon, demo: &Value) {
    for (mistake, words) in [
        (json!({"dependsOn": ["app"]}), "'app' depends on itself"),
        (json!({"namespace": "kube-system"}), "'kube-system' belongs to the cluster"),
        (json!({"source": {"folder": "../app"}}), "the folder '../app' is not inside"),
    ] {
        api.merge(&path_of(demo), &with_component(demo, &mistake)).await.or_fail("the API server takes it");
        let said = until_ready(api, demo, "NotAccepted").await;
        let accepted = condition(&said, "Accepted");
        assert!(accepted["reason"] == "Invalid" && accepted["message"].to_string().contains(words), "{said}");
        let found = daemon.wait_for("code=PR-5001", words, |found| (!found.is_empty()).then(|| found.to_vec())).await;
        let is_of_object = |it: &Value| it["subject"]["kind"] == "Platform" && it["subject"]["name"] == "demo";
        assert!(found.len() == 1 && is_of_object(&found[0]), "one finding, about the object: {found:#?}");
    }
    // It is a failure like others to exceptions, from when there is one and until there is none.
    let exception = json!({"apiVersion": API_VERSION, "kind": "ClusterException", "metadata": {"name": "mistaken"},
        "spec": {"codes": ["PR-5001"], "subjects": {"kinds": ["Platform"], "names": ["demo"]}, "owner": "team",
            "reason": "accepted for the test", "expires": "2099-01-31"}});
    let is =
        |verdict: &'static str| move |found: &[Value]| found.iter().any(|it| it["verdict"] == verdict).then_some(());
    api.create(&exception).await.or_fail("the API server takes it");
    daemon.wait_for("code=PR-5001", "it is excepted", is("excepted")).await;
    api.delete(&path_of(&exception)).await.or_fail("the API server takes it");
    daemon.wait_for("code=PR-5001", "it fails again", is("fail")).await;
}

#[tokio::test]
async fn a_platform_of_the_cluster_is_kept_and_says_what_became_of_it() {
    let plane = ControlPlane::start().await;
    let api = plane.api();
    install(api, &definitions()).await;
    plane.create_namespace(NAMESPACE).await;
    let (namespace, folder) = (plane.namespace("kept").await, scratch("platform"));
    fs::create_dir(folder.join("app")).unwrap();
    write_config_map(&folder.join("app"), "1");
    let config = json!({
        "cluster": {"kubeconfig": plane.kubeconfig()},
        "platform": {"resource": "demo", "folder": folder, "interval": "1s"},
        "posture": {"frameworks": ["nsa"]},
    });
    let mut daemon = Daemon::configured(&config, &[]);
    daemon.start().await;
    until_unusable(&daemon, "there is no Platform 'demo'").await;

    let (demo, other) = (platform("demo", &namespace, "app"), platform("other", &namespace, "app"));
    api.create(&demo).await.unwrap();
    until_value(api, &namespace, "1").await;
    until_said(api, &demo, "Accepted").await;
    let said = until_ready(api, &demo, "Healthy").await;
    assert_eq!(condition(&said, "Ready")["status"], "True");
    assert_eq!(condition(&said, "Ready")["message"], "1 of 1 components are healthy");
    daemon.wait_for("code=PR-5001", "nothing is wrong", |found| found.is_empty().then_some(())).await;

    // One that is not named is told so, and takes nothing from the one that is.
    api.create(&other).await.unwrap();
    let said = until_said(api, &other, "NotNamed").await;
    assert!(condition(&said, "Accepted")["message"].to_string().contains("names the Platform 'demo'"), "{said}");
    api.delete(&path_of(&other)).await.unwrap();

    mistakes_change_nothing_and_are_told(api, &daemon, &demo).await;
    let of_other = |it: &Value| it["subject"]["name"] == "other";
    let all = daemon.findings("code=PR-5001&state=all").await;
    assert!(!all.iter().any(of_other), "nothing in it is wrong: {all:#?}");
    write_config_map(&folder.join("app"), "2");
    api.merge(&path_of(&demo), &with_component(&demo, &json!({}))).await.unwrap();
    until_value(api, &namespace, "2").await;
    until_ready(api, &demo, "Healthy").await;

    // Another one of its name is told nothing that was said of the one before.
    api.delete(&path_of(&demo)).await.unwrap();
    fs::write(folder.join("app/bad.yaml"), "kind: [").unwrap();
    api.create(&demo).await.unwrap();
    let first = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array()?;
        conditions.iter().find(|condition| condition["type"] == "Ready").cloned()
    };
    let said = api.wait_for(&path_of(&demo), "what becomes of it", first).await;
    assert_eq!((&said["status"], &said["reason"]), (&json!("False"), &json!("Invalid")));
    fs::remove_file(folder.join("app/bad.yaml")).unwrap();
    until_ready(api, &demo, "Healthy").await;

    // What a component comes to is said, and what is gone leaves what it had.
    fs::write(folder.join("app/bad.yaml"), "kind: [").unwrap();
    let said = until_ready(api, &demo, "Invalid").await;
    assert!(condition(&said, "Ready")["message"].to_string().contains("app is invalid"), "{said}");
    fs::remove_file(folder.join("app/bad.yaml")).unwrap();
    daemon.wait_for_metric("portreeve_platform_components{state=healthy}", 1.0).await;
    api.delete(&path_of(&demo)).await.unwrap();
    until_unusable(&daemon, "there is no Platform 'demo'").await;
    until_value(api, &namespace, "2").await;
    daemon.wait_for_metric("portreeve_platform_components", 0.0).await;
}
