//! The harness on the real parts: what other tests rely on, shown to work.

use std::time::Duration;

use portreeve_tests::OrFail as _;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::openmetrics;
use portreeve_tests::registry::Registry;
use serde_json::{Value, json};

const DIGEST: &str = "sha256:2d71a3b8e9071005e509e4632c381006ca299cdbce1ed2bfe986c0f5dfc42d42";

fn pod(namespace: &str, name: &str, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": image}]}})
}

#[tokio::test]
async fn the_control_plane_takes_a_pod_and_names_what_it_refuses() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("smoke").await;
    let made = plane.api().create(&pod(&namespace, "one", "example.org/app:1")).await.unwrap();
    assert_eq!(made["spec"]["dnsPolicy"], "ClusterFirst", "the API's defaults are filled in");
    let again = plane.api().create(&pod(&namespace, "one", "example.org/app:1")).await.unwrap_err();
    assert_eq!((again.code, again.reason.as_str()), (409, "AlreadyExists"));
    let path = format!("/api/v1/namespaces/{namespace}/pods/one");
    plane.api().delete(&path).await.unwrap();
    assert_eq!(plane.api().get(&path).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn a_service_account_has_its_own_rights_and_no_more() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("rights").await;
    let token = plane.token_for(&namespace, "default").await;
    let account = plane.api().with_token(&token);
    let secrets = account.get(&format!("/api/v1/namespaces/{namespace}/secrets")).await.unwrap_err();
    assert_eq!(secrets.code, 403);
    assert!(plane.kubeconfig_for(&namespace, "default").await.is_file());
    let groups = ["tenants", "system:authenticated"];
    let tenant = plane.api().impersonating("tenant", &groups);
    let refused = tenant.create(&pod(&namespace, "two", "example.org/app:1")).await.unwrap_err();
    assert!(refused.message.contains(r#"User "tenant" cannot create"#));
}

#[tokio::test]
async fn manifests_are_applied_and_the_controllers_act_on_them() {
    let plane = ControlPlane::shared().await.with_controllers().await;
    let namespace = plane.namespace("controllers").await;
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: {namespace}}}\nspec:\n  replicas: 1\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    \
         spec: {{containers: [{{name: web, image: 'example.org/web:1'}}]}}\n"
    );
    assert_eq!(plane.api().apply(&manifest).await.len(), 1);
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let owner = |list: &Value| Some(list["items"][0]["metadata"]["ownerReferences"][0]["kind"].as_str()?.to_owned());
    assert_eq!(plane.api().wait_for(&pods, "a Pod of the Deployment", owner).await, "ReplicaSet");
}

#[tokio::test]
async fn a_pod_on_the_node_runs_and_states_its_digest() {
    let plane = ControlPlane::shared().await.with_node().await;
    let namespace = plane.namespace("node").await;
    let mut object = pod(&namespace, "runs", &format!("127.0.0.1:5000/app@{DIGEST}"));
    object["spec"]["nodeName"] = "localhost".into();
    object["spec"]["automountServiceAccountToken"] = false.into();
    plane.api().create(&object).await.unwrap();
    let path = format!("/api/v1/namespaces/{namespace}/pods/runs");
    let image_id = |pod: &Value| {
        let id = pod["status"]["containerStatuses"][0]["imageID"].as_str()?;
        (pod["status"]["phase"] == "Running").then(|| id.to_owned())
    };
    let id = plane.api().wait_for(&path, "a running Pod", image_id).await;
    assert!(id.ends_with(&format!("@{DIGEST}")), "{id}");
}

#[tokio::test]
async fn a_registry_without_the_referrers_api_answers_404_and_one_with_it_a_list() {
    let client = portreeve_tests::api::http_client().build().unwrap();
    for (registry, code) in [(Registry::with_referrers().await, 200), (Registry::without_referrers().await, 404)] {
        let image = registry.push_image("demo/app:1");
        let (_, digest) = image.split_once('@').unwrap();
        let url = format!("http://{}/v2/demo/app/referrers/{digest}", registry.host());
        assert_eq!(client.get(url).send().await.unwrap().status(), code);
    }
}

#[tokio::test]
async fn a_registry_with_sign_in_refuses_strangers() {
    let registry = Registry::with_sign_in().await;
    let image = registry.push_image("demo/app:1");
    let url = format!("http://{}/v2/demo/app/manifests/1", registry.host());
    let client = portreeve_tests::api::http_client().build().unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    let signed_in = client.get(&url).basic_auth(portreeve_tests::registry::USER, Some("wrong"));
    assert_eq!(signed_in.send().await.unwrap().status(), 401);
    assert!(registry.crane().args(["manifest", &image]).output().unwrap().status.success());
}

#[tokio::test]
async fn cosign_signs_in_both_storages_and_verifies_only_with_its_own_key() {
    for (storage, repository) in [(Storage::Tag, "demo/tag:1"), (Storage::Bundle, "demo/bundle:1")] {
        for registry in [Registry::with_referrers().await, Registry::without_referrers().await] {
            let image = registry.push_image(repository);
            let (signer, stranger) = (Cosign::new(registry.docker_config()), Cosign::new(registry.docker_config()));
            assert_eq!(signer.verify(&image, &signer.public_key()).status.code(), Some(10), "not signed yet");
            signer.sign(&image, storage);
            let verified = signer.verify(&image, &signer.public_key());
            assert!(verified.status.success(), "{storage:?}: {}", String::from_utf8_lossy(&verified.stderr));
            assert!(!signer.verify(&image, &stranger.public_key()).status.success());
        }
    }
}

#[tokio::test]
async fn a_control_plane_of_its_own_can_be_crashed() {
    let mut plane = ControlPlane::start().await;
    plane.crash_api_server();
    assert_eq!(plane.api().get("/readyz").await.unwrap_err().code, 0, "nobody answers");
    let shared = ControlPlane::shared().await.api().get("/readyz");
    assert!(tokio::time::timeout(Duration::from_secs(30), shared).await.or_fail("an answer").is_ok());
}

#[test]
fn the_parser_of_metrics_reads_good_ones_and_refuses_bad_ones() {
    let good = "# TYPE findings gauge\n# HELP findings Open findings.\nfindings{severity=\"high\"} 3\n# EOF\n";
    let samples = openmetrics::parse(good).unwrap();
    assert_eq!(samples.get("findings{severity=high}"), Some(&3.0));
    assert!(openmetrics::parse(&good.replace("# EOF\n", "")).unwrap_err().contains("EOF"));
}
