use super::*;
use crate::object::{ReadOptions, read_objects};

fn objects(text: &str) -> Vec<Object> {
    let read = read_objects(Some("m.yaml"), text.as_bytes(), &ReadOptions::default());
    assert!(read.unreadable.is_empty(), "{text}: {:?}", read.unreadable);
    read.objects
}

fn object(text: &str) -> Object {
    objects(text).remove(0)
}

const SPEC: &str = "{initContainers: [{name: i, image: init:1}], containers: [{name: a, image: a:1}, {name: b, image: b}], \
                    ephemeralContainers: [{name: e, image: debug}], volumes: [{name: m}, {name: v, image: {reference: models:2}}]}";

fn workload(api_version: &str, kind: &str, path: &str) -> Object {
    let nested = path.rsplit('.').fold(SPEC.to_owned(), |value, key| format!("{{{key}: {value}}}"));
    object(&format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: w}}, {}", &nested[1..]))
}

const ALL: &[(&str, &str, &str)] = &[
    ("v1", "Pod", "spec"),
    ("v1", "PodTemplate", "template.spec"),
    ("v1", "ReplicationController", "spec.template.spec"),
    ("apps/v1", "Deployment", "spec.template.spec"),
    ("apps/v1beta1", "Deployment", "spec.template.spec"),
    ("extensions/v1beta1", "Deployment", "spec.template.spec"),
    ("apps/v1", "ReplicaSet", "spec.template.spec"),
    ("extensions/v1beta1", "ReplicaSet", "spec.template.spec"),
    ("apps/v1", "StatefulSet", "spec.template.spec"),
    ("apps/v1beta2", "StatefulSet", "spec.template.spec"),
    ("apps/v1", "DaemonSet", "spec.template.spec"),
    ("extensions/v1beta1", "DaemonSet", "spec.template.spec"),
    ("batch/v1", "Job", "spec.template.spec"),
    ("batch/v1", "CronJob", "spec.jobTemplate.spec.template.spec"),
    ("batch/v1beta1", "CronJob", "spec.jobTemplate.spec.template.spec"),
    ("batch/v2alpha1", "CronJob", "spec.jobTemplate.spec.template.spec"),
];

#[test]
fn every_image_of_every_workload_kind_is_found_at_its_path() {
    for (api_version, kind, path) in ALL {
        let object = workload(api_version, kind, path);
        assert_eq!(pod_template(&object).unwrap().path, *path);
        let uses = image_uses(&object, &object.reference(None));
        let found: Vec<_> = uses
            .iter()
            .map(|one| {
                (one.text.as_str(), one.location.object_path.clone(), one.object.as_ref().unwrap().container.as_deref())
            })
            .collect();
        let expected = [
            ("a:1", format!("{path}.containers[0].image"), Some("a")),
            ("b", format!("{path}.containers[1].image"), Some("b")),
            ("init:1", format!("{path}.initContainers[0].image"), Some("i")),
            ("debug", format!("{path}.ephemeralContainers[0].image"), Some("e")),
            ("models:2", format!("{path}.volumes[1].image.reference"), None),
        ];
        assert_eq!(found, expected, "{api_version} {kind}");
        assert!(uses.iter().all(|one| one.location.line == Some(1) && one.namespace == "default"));
    }
}

#[test]
fn images_of_custom_kinds_are_found() {
    for (text, expected) in [
        (
            "{apiVersion: kubernetes.dask.org/v1, kind: DaskCluster, metadata: {name: d}, spec: {\
             worker: {spec: {containers: [{name: w, image: w:1}]}}, scheduler: {spec: {containers: [{name: s, image: s:1}]}}}}",
            vec!["spec.worker.spec.containers[0].image", "spec.scheduler.spec.containers[0].image"],
        ),
        (
            "{apiVersion: argoproj.io/v1alpha1, kind: WorkflowTemplate, metadata: {name: d}, spec: {templates: [\
             {name: a, container: {image: c}, initContainers: [{name: i, image: i}], sidecars: [{image: s}]}, \
             {name: b, script: {image: p}}, {name: c, containerSet: {containers: [{name: x, image: x}]}}, {name: d, dag: {}}]}}",
            vec![
                "spec.templates[0].initContainers[0].image",
                "spec.templates[2].containerSet.containers[0].image",
                "spec.templates[0].container.image",
                "spec.templates[1].script.image",
                "spec.templates[0].sidecars[0].image",
            ],
        ),
        (
            "{apiVersion: argoproj.io/v1alpha1, kind: CronWorkflow, metadata: {name: d}, spec: {workflowSpec: {templates: [\
             {name: a, container: {image: c}}]}}}",
            vec!["spec.workflowSpec.templates[0].container.image"],
        ),
        (
            "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: d}, spec: {template: {spec: {containers: [\
             {name: a, image: c}]}}}}",
            vec!["spec.template.spec.containers[0].image"],
        ),
        ("{apiVersion: example.com/v1, kind: DaskCluster, metadata: {name: d}, spec: {worker: {spec: {}}}}", vec![]),
    ] {
        let object = object(text);
        let uses = image_uses(&object, &object.reference(None));
        let paths: Vec<_> = uses.iter().map(|one| one.location.object_path.as_str()).collect();
        assert_eq!(paths, expected, "{text}");
    }
}

#[test]
fn a_container_without_an_image_is_a_use_that_cannot_be_read() {
    let object = object(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c}], volumes: [{name: v, image: {}}]}}",
    );
    let uses = image_uses(&object, &object.reference(None));
    assert_eq!(uses.len(), 2);
    assert!(uses.iter().all(|one| one.text.is_empty() && one.reference.is_err()));
}

#[test]
fn running_digests_belong_to_the_images_of_the_spec() {
    let hex = "a".repeat(64);
    let pod = object(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: a, image: q.io/x/a:1}}, {{name: b, image: b}}, {{name: c, image: c}}]\n  \
         initContainers: [{{name: i, image: i}}]\nstatus:\n  containerStatuses:\n  - {{name: a, imageID: 'docker-pullable://q.io/x/a@sha256:{hex}'}}\n  \
         - {{name: b, imageID: 'sha256:{hex}'}}\n  - {{name: c, imageID: ''}}\n  initContainerStatuses:\n  - {{name: i, imageID: 'docker.io/library/i@sha256:{hex}'}}\n"
    ));
    let running = running_images(&pod);
    let found: Vec<_> = running
        .iter()
        .map(|one| (one.container.as_str(), one.reference.as_ref().unwrap().to_string(), one.digest.is_some()))
        .collect();
    let pinned = |name: &str| format!("{name}@sha256:{hex}");
    assert_eq!(
        found,
        [
            ("a", pinned("q.io/x/a:1"), true),
            ("b", "docker.io/library/b:latest".to_owned(), false),
            ("i", pinned("docker.io/library/i"), true),
        ]
    );
    assert_eq!(running[2].object_path, "status.initContainerStatuses[0].imageID");
}

fn defaulted_spec(spec: &str) -> serde_json::Value {
    let object = object(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {spec}}}"));
    defaulted(&pod_template(&object).unwrap()).to_json()
}

#[test]
fn the_pull_policy_follows_the_tag() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (image, policy) in [
        ("a", "Always".to_owned()),
        ("a:latest", "Always".to_owned()),
        ("a:1", "IfNotPresent".to_owned()),
        (&format!("a@{digest}"), "IfNotPresent".to_owned()),
        (&format!("a:latest@{digest}"), "Always".to_owned()),
        (&format!("a:1@{digest}"), "IfNotPresent".to_owned()),
        ("q.io:5000/a", "Always".to_owned()),
        ("NOT/valid", "IfNotPresent".to_owned()),
    ] {
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            let spec = defaulted_spec(
                &format!("{{containers: [{{name: x, image: 'x:1'}}], {list}: [{{name: c, image: '{image}'}}]}}")
                    .replace("containers: [{name: x, image: 'x:1'}], containers", "containers"),
            );
            assert_eq!(spec[list][0]["imagePullPolicy"], policy.as_str(), "{image}");
        }
    }
    let never = defaulted_spec("{containers: [{name: c, image: a, imagePullPolicy: Never}]}");
    assert_eq!(never["containers"][0]["imagePullPolicy"], "Never");
}

#[test]
fn the_fields_that_rules_read_have_the_defaults_of_the_api_server() {
    let spec = defaulted_spec(
        "{containers: [{name: c, image: 'a:1', ports: [{containerPort: 80}], resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}}]}",
    );
    assert_eq!(
        spec,
        serde_json::json!({
            "containers": [{
                "name": "c", "image": "a:1", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}},
            }],
            "serviceAccountName": "default",
            "securityContext": {},
        })
    );
    let host = defaulted_spec(
        "{hostNetwork: true, serviceAccount: old, containers: [{name: c, ports: [{containerPort: 80}, {containerPort: 81, hostPort: 8081}, {containerPort: 82, hostPort: 0}]}]}",
    );
    let ports: Vec<_> =
        host["containers"][0]["ports"].as_array().unwrap().iter().map(|port| port["hostPort"].clone()).collect();
    assert_eq!(ports, [80, 8081, 82]);
    assert_eq!(host["serviceAccountName"], "old");
    assert!(host["containers"][0].get("securityContext").is_none());
}

#[test]
fn defaults_stand_at_the_place_of_their_container() {
    let object =
        object("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n    - name: c\n      image: a\n");
    let spec = defaulted(&pod_template(&object).unwrap());
    let container = &spec.get("containers").unwrap().as_list().unwrap()[0];
    let policy = container.get("imagePullPolicy").unwrap();
    assert_eq!((policy.place.line, policy.place.column), (6, 7));
    assert_eq!(container.get("image").unwrap().place.line, 7);
}
