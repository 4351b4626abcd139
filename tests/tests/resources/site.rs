//! The control plane with the kinds, a daemon with the rights of the chart, and objects to judge.

use portreeve_tests::OrFail as _;
use portreeve_tests::api::{Api, documents};
use portreeve_tests::binary::Portreeve;
use portreeve_tests::chart::{self, NAMESPACE};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{START, until};
use serde_json::{Value, json};

/// Group and version of the kinds.
pub(crate) const API_VERSION: &str = "portreeve.dev/v1alpha1";
/// The code of a privileged container.
pub(crate) const PRIVILEGED: &str = "C-0057";

/// A registry that nobody serves: whoever asks knows at once that it is not there.
pub(crate) const REGISTRY: &str = "127.0.0.1:9";

/// The definitions, as the command prints them.
pub(crate) fn definitions() -> Vec<Value> {
    let printed = Portreeve::run(["crds"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    documents(&printed.stdout)
}

/// Installs the kinds and waits until they are served.
pub(crate) async fn install(api: &Api, definitions: &[Value]) {
    for definition in definitions {
        let accepted = api.apply_object(definition, "fieldValidation=Strict").await.or_fail("a definition");
        assert_eq!(accepted.warnings, [""; 0]);
    }
    for definition in definitions {
        let plural = definition["spec"]["names"]["plural"].as_str().or_fail("a plural");
        let path = format!("/apis/{API_VERSION}/{plural}");
        let served = until(START, || async { api.get(&path).await.ok() }).await;
        served.or_fail(&format!("{plural} are served"));
    }
}

/// Uninstalls the kinds and everything of them.
pub(crate) async fn uninstall(api: &Api, definitions: &[Value]) {
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().or_fail("a name");
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        api.delete(&path).await.or_fail(name);
    }
}

/// A control plane of one's own with the rights of the chart, and a daemon that has not started.
pub(crate) async fn site(values: &Value) -> (ControlPlane, Daemon) {
    let plane = ControlPlane::start().await;
    plane.create_namespace(NAMESPACE).await;
    let objects = chart::rendered(values);
    for object in chart::rights(&objects) {
        plane.api().create(object).await.or_fail("the rights of the chart");
    }
    let daemon = daemon(&plane, &objects, "portreeve").await;
    (plane, daemon)
}

/// A daemon with the rights of an account; it has not started.
pub(crate) async fn daemon(plane: &ControlPlane, objects: &[Value], account: &str) -> Daemon {
    let (mut config, files) = chart::configuration(objects);
    config["cluster"] = json!({"kubeconfig": plane.kubeconfig_for(NAMESPACE, account).await});
    Daemon::configured(&config, &files)
}

/// Values of the chart without webhook, whose rescans fall into no test.
pub(crate) fn values(exception_namespaces: &[&str]) -> Value {
    json!({
        "admission": {"enabled": false},
        "rescan": {"images": "0 0 29 2 *", "posture": "0 0 29 2 *"},
        "customResources": {"exceptionNamespaces": exception_namespaces},
        "registries": [{"host": REGISTRY, "plainHttp": true}],
    })
}

/// A Pod with one privileged container.
pub(crate) fn pod(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"automountServiceAccountToken": false, "containers": [
            {"name": "main", "image": format!("{REGISTRY}/app:1"), "securityContext": {"privileged": true}}]}})
}

/// An exception of a code for objects of a name.
pub(crate) fn exception(namespace: &str, name: &str, subject: &str) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "Exception", "metadata": {"name": name, "namespace": namespace},
        "spec": {"codes": [PRIVILEGED], "subjects": {"names": [subject]}, "owner": "team-platform",
            "reason": "accepted for the test", "expires": "2099-01-31"}})
}

/// An image policy with one rule, which denies.
pub(crate) fn image_policy(name: &str, pattern: &str) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "ImagePolicy", "metadata": {"name": name},
        "spec": {"mode": "warn", "noMatch": "allow", "rules": [
            {"name": "banned", "images": [pattern], "static": {"deny": true, "reason": "banned for the test"}}]}})
}

/// The path of a resource.
pub(crate) fn path_of(resource: &Value) -> String {
    let name = resource["metadata"]["name"].as_str().unwrap_or_default();
    match (resource["kind"].as_str().unwrap_or_default(), resource["metadata"]["namespace"].as_str()) {
        ("Exception", Some(namespace)) => format!("/apis/{API_VERSION}/namespaces/{namespace}/exceptions/{name}"),
        ("ClusterException", _) => format!("/apis/{API_VERSION}/clusterexceptions/{name}"),
        ("Platform", _) => format!("/apis/{API_VERSION}/platforms/{name}"),
        _ => format!("/apis/{API_VERSION}/imagepolicies/{name}"),
    }
}

/// Waits until the condition of a resource has this reason for its present generation; gives the resource.
pub(crate) async fn until_said(api: &Api, resource: &Value, reason: &str) -> Value {
    let path = path_of(resource);
    let is_said = |object: &Value| {
        let condition = &object["status"]["conditions"][0];
        let is_current = condition["observedGeneration"] == object["metadata"]["generation"];
        (condition["type"] == "Accepted" && condition["reason"] == reason && is_current).then(|| object.clone())
    };
    let said = api.wait_for(&path, reason, is_said).await;
    let is_accepted = if reason == "Accepted" { "True" } else { "False" };
    assert_eq!(said["status"]["conditions"][0]["status"], is_accepted, "{said}");
    said
}

/// The condition of this type.
pub(crate) fn condition<'a>(resource: &'a Value, of_type: &str) -> &'a Value {
    let conditions = resource["status"]["conditions"].as_array().or_fail("a resource has conditions");
    conditions.iter().find(|condition| condition["type"] == of_type).or_fail(of_type)
}

/// Waits until the finding about an object of this name has this verdict.
pub(crate) async fn until_verdict(daemon: &Daemon, query: &str, name: &str, verdict: &str) -> Value {
    let is_found =
        |found: &[Value]| found.iter().find(|it| it["subject"]["name"] == name && it["verdict"] == verdict).cloned();
    daemon.wait_for(query, &format!("{name} {verdict}"), is_found).await
}

/// Waits until there is no finding about an object of this name.
pub(crate) async fn until_resolved(daemon: &Daemon, query: &str, name: &str) {
    let is_gone = |found: &[Value]| found.iter().all(|it| it["subject"]["name"] != name).then_some(());
    daemon.wait_for(query, &format!("{name} resolved"), is_gone).await;
}
