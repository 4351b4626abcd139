//! The framework `pss-baseline` decides as the pod security admission plug-in of the API server does.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_policies::control::{Example, ExampleInput, builtin_controls};
use portreeve_tests::OrFail as _;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::desk::Desk;
use portreeve_tests::doors::images::Images;
use portreeve_tests::doors::objects::Objects;
use serde_json::{Value, json};

use super::SEED;

/// Generated Pods that are compared beside the examples of the controls.
const PODS: usize = 120;
/// What the API server refuses as invalid before the plug-in sees it.
const INVALID: [&str; 5] =
    ["container not found", "procMount", "appArmorProfile.type", "seccompProfile.type", "sysctls[0].name"];

#[tokio::test(flavor = "multi_thread")]
async fn the_baseline_is_what_the_pod_security_plug_in_says() {
    let (plane, images) = tokio::join!(ControlPlane::shared(), Images::new());
    let namespace = plane.namespace("baseline").await;
    let enforced = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    plane.api().merge(&format!("/api/v1/namespaces/{namespace}"), &enforced).await.or_fail("the label");
    let objects = Objects::generate(SEED, PODS, &namespace, &images);
    for related in objects.related.iter().filter(|object| object["kind"] == "ServiceAccount") {
        plane.api().create(related).await.or_fail(&related.to_string());
    }
    let generated = objects.workloads.iter().filter(|planned| planned.kind() == "Pod");
    let pods: Vec<Value> = examples(&namespace).into_iter().chain(generated.map(|pod| pod.object.clone())).collect();
    let failing = failing(&pods);
    let mut counts = BTreeMap::new();
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().or_fail("a name");
        let Some((forbidden, why)) = forbidden(plane, pod).await else { continue };
        assert_eq!(failing.contains(name), forbidden, "{why}\n{pod:#}");
        *counts.entry(forbidden).or_insert(0) += 1;
    }
    assert!(counts.len() == 2 && counts.values().all(|number| *number > 30), "{counts:?}");
}

/// The examples of every control of the framework, as Pods.
fn examples(namespace: &str) -> Vec<Value> {
    let mut pods = Vec::new();
    for control in builtin_controls().or_fail("the controls") {
        if !control.frameworks.iter().any(|id| &**id == "pss-baseline") {
            continue;
        }
        for example in control.examples.pass.iter().chain(&control.examples.fail) {
            let name = format!("{}-{}", control.code.as_str().to_lowercase(), pods.len());
            pods.extend(pod(example, &name, namespace));
        }
    }
    pods
}

fn pod(example: &Example, name: &str, namespace: &str) -> Option<Value> {
    let ExampleInput::Pod { metadata, spec } = &example.input else { return None };
    let mut metadata = metadata.as_ref().map_or(json!({}), portreeve_reports::source::Node::to_json);
    metadata["name"] = name.into();
    metadata["namespace"] = namespace.into();
    Some(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec.to_json()}))
}

/// The names of the Pods that fail a control of the framework.
fn failing(pods: &[Value]) -> BTreeSet<String> {
    let desk = Desk::new();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
    desk.file("pods.json", list.to_string());
    let arguments = ["check", "--framework", "pss-baseline", "--fail-on", "none", "--format", "json", "pods.json"];
    let report = desk.run(&arguments).expect_exit(0).json();
    let findings = report["findings"].as_array().or_fail("findings");
    let failing = findings.iter().inspect(|finding| assert_eq!(finding["verdict"], "fail", "{finding:#}"));
    failing.map(|finding| finding["subject"]["name"].as_str().or_fail("a name").to_owned()).collect()
}

/// Whether the plug-in forbids the Pod, and in which words; nothing of a Pod that is not valid at all.
async fn forbidden(plane: &ControlPlane, pod: &Value) -> Option<(bool, String)> {
    match plane.api().create_warned(pod, "dryRun=All").await {
        Ok(_) => Some((false, "admitted".to_owned())),
        Err(status) if status.message.contains("violates PodSecurity") => Some((true, status.message)),
        Err(status) => {
            assert!(
                status.reason == "Invalid" && INVALID.iter().any(|field| status.message.contains(field)),
                "{status}"
            );
            None
        }
    }
}
