use portreeve_reports::source::{Limits, yaml};

use super::*;
use crate::object::{ReadOptions, read_objects};

fn objects(text: &str) -> Vec<Object> {
    let read = read_objects(None, text.as_bytes(), &ReadOptions::default());
    assert!(read.unreadable.is_empty(), "{text}: {:?}", read.unreadable);
    read.objects
}

const CLUSTER: &str = "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: hub, annotations: {a: b}, managedFields: [x]}, automountServiceAccountToken: false, secrets: [{name: s}]}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny}, spec: {podSelector: {}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {team: data}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: hub}, spec: {template: {metadata: {labels: {app: hub}}, spec: {containers: [{name: c, image: 'a:1'}]}}}, status: {x: 1}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: hub-1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: hub, controller: true}]}, spec: {template: {spec: {containers: [{name: c, image: 'a:0'}]}}}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}
";

fn pod_of(kind: &str, name: &str) -> Object {
    let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    objects(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: hub-1-x, ownerReferences: [{{apiVersion: {group}, kind: {kind}, name: {name}, controller: true}}]}}, spec: {{containers: [{{name: c, image: 'a:1'}}]}}}}"
    ))
    .remove(0)
}

#[test]
fn files_are_the_whole_world_unless_they_are_partial() {
    let whole = World::of_files(&objects(CLUSTER), false);
    let Known::Found(account) = whole.service_account("default", "hub") else { panic!("no account") };
    assert_eq!(account.get("automountServiceAccountToken").and_then(Node::as_bool), Some(false));
    assert!(account.get("secrets").is_none() && account.at(["metadata", "managedFields"]).is_none());
    assert_eq!(whole.service_account("default", "default"), Known::Absent);
    assert_eq!(whole.service_account("other", "hub"), Known::Absent);
    assert!(matches!(whole.network_policies("default"), Known::Found(policies) if policies.len() == 1));
    assert_eq!(whole.network_policies("other"), Known::Found(Vec::new()));
    assert!(matches!(whole.namespace_labels("default"), Known::Found(labels) if labels.get("team").is_some()));
    assert_eq!(whole.namespace_labels("other"), Known::Absent);

    let partial = World::of_files(&objects(CLUSTER), true);
    assert!(matches!(partial.service_account("default", "hub"), Known::Found(_)));
    assert_eq!(partial.service_account("default", "default"), Known::Hidden(Cause::PartialInput));
    assert_eq!(partial.network_policies("default"), Known::Hidden(Cause::PartialInput));
    assert_eq!(partial.namespace_labels("other"), Known::Hidden(Cause::PartialInput));
}

#[test]
fn what_could_not_be_listed_is_hidden_and_not_absent() {
    let mut world = World::of_files(&objects(CLUSTER), false);
    world.hide(RelatedKind::ServiceAccount, Cause::Forbidden);
    assert_eq!(world.service_account("default", "x"), Known::Hidden(Cause::Forbidden));
    assert_eq!(world.namespace_labels("x"), Known::Absent);
    world.reveal(RelatedKind::ServiceAccount);
    assert_eq!(world.service_account("default", "x"), Known::Absent);
    let empty = World::empty(Cause::NotVisible);
    assert_eq!(empty.network_policies("default"), Known::Hidden(Cause::NotVisible));
    assert!(matches!(empty.owner_template(&pod_of("ReplicaSet", "hub-1")), Known::Hidden(Cause::NotVisible)));
}

#[test]
fn a_snapshot_does_not_see_later_changes() {
    let all = objects(CLUSTER);
    let mut world = World::of_files(&all, false);
    let snapshot = world.clone();
    for object in &all {
        world.remove(object);
    }
    assert_eq!(world.service_account("default", "hub"), Known::Absent);
    assert_eq!(world.network_policies("default"), Known::Found(Vec::new()));
    assert_eq!(world.namespace_labels("default"), Known::Absent);
    assert!(world.namespaces.is_empty(), "nothing is kept of what is gone");
    assert!(matches!(snapshot.service_account("default", "hub"), Known::Found(_)));
}

#[test]
fn owners_are_followed_as_far_as_they_are_known() {
    let world = World::of_files(&objects(CLUSTER), false);
    let name = |object: &Object| world.top_owner(object).map(|owner| (owner.kind, owner.name));
    assert_eq!(name(&pod_of("ReplicaSet", "hub-1")), Some(("Deployment".into(), "hub".into())));
    assert_eq!(name(&pod_of("ReplicaSet", "hub-7d9f8c5b6")), Some(("ReplicaSet".into(), "hub-7d9f8c5b6".into())));
    assert_eq!(name(&pod_of("Job", "backup")), Some(("Job".into(), "backup".into())));
    let lone = objects("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c}]}}").remove(0);
    assert_eq!(name(&lone), None);
}

#[test]
fn owners_in_a_circle_end() {
    let circle = objects(
        "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: b, controller: true}]}, spec: {template: {spec: {containers: [{name: c}]}}}}\n---\n\
         {apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: b, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: a, controller: true}]}, spec: {template: {spec: {containers: [{name: c}]}}}}\n",
    );
    let world = World::of_files(&circle, false);
    assert!(world.top_owner(&circle[0]).is_some());
    assert!(matches!(world.owner_template(&circle[0]), Known::Found(_)));
}

#[test]
fn the_template_of_a_pod_is_that_of_its_topmost_workload() {
    let world = World::of_files(&objects(CLUSTER), false);
    let Known::Found(owner) = world.owner_template(&pod_of("ReplicaSet", "hub-1")) else { panic!("no owner") };
    assert_eq!((&*owner.kind, &*owner.name), ("Deployment", "hub"));
    assert!(owner.root.get("status").is_none());
    assert!(matches!(world.owner_template(&pod_of("ReplicaSet", "unseen")), Known::Absent));
}

#[test]
fn selectors_match_as_the_api_server_matches() {
    let node = |text: &str| yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let labels = node("{app: hub, tier: web}");
    for (selector, matches, without_labels) in [
        ("{}", true, true),
        ("{matchLabels: {}}", true, true),
        ("{matchLabels: {app: hub}}", true, false),
        ("{matchLabels: {app: hub, tier: db}}", false, false),
        ("{matchExpressions: [{key: app, operator: In, values: [a, hub]}]}", true, false),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [hub]}]}", false, true),
        ("{matchExpressions: [{key: app, operator: Exists}]}", true, false),
        ("{matchExpressions: [{key: app, operator: DoesNotExist}]}", false, true),
        ("{matchLabels: {app: hub}, matchExpressions: [{key: x, operator: Exists}]}", false, false),
        ("{matchExpressions: [{key: app, operator: Like, values: [h]}]}", false, false),
        ("{matchExpressions: [{key: app, operator: In}]}", false, false),
        ("{matchExpressions: {key: app}}", false, false),
        ("[]", false, false),
    ] {
        let selector_node = node(selector);
        assert_eq!(selector_matches(&selector_node, Some(&labels)), matches, "{selector}");
        assert_eq!(selector_matches(&selector_node, None), without_labels, "{selector}");
    }
}

fn deployment(spec: &str) -> Object {
    objects(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d}}, spec: {{template: {{metadata: {{labels: {{app: d}}}}, spec: {spec}}}}}}}"
    ))
    .remove(0)
}

fn made(metadata: &str, spec: &str) -> Object {
    objects(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: d-1, {metadata}}}, spec: {spec}}}")).remove(0)
}

#[test]
fn a_template_covers_the_pods_made_of_it_and_no_others() {
    let template = deployment(
        "{containers: [{name: c, image: 'a:1', securityContext: {privileged: false}}], volumes: [{name: d, emptyDir: {}}]}",
    );
    let labels = "labels: {app: d, pod-template-hash: x1}";
    let good = "{nodeName: node-1, tolerations: [{key: a}], containers: [{name: c, image: 'a:1', imagePullPolicy: IfNotPresent, terminationMessagePath: /dev/x, securityContext: {privileged: false}, \
                volumeMounts: [{name: kube-api-access-1, mountPath: /var/run/secrets/kubernetes.io/serviceaccount}]}], \
                volumes: [{name: d, emptyDir: {}}, {name: kube-api-access-1, projected: {sources: []}}]}";
    assert!(covers(&template, &made(labels, good)));
    let pinned = good.replace("a:1", &format!("docker.io/library/a:1@sha256:{}", "b".repeat(64)));
    assert!(covers(&template, &made(labels, &pinned)));
    for (from, to) in [
        ("a:1", "a:2"),
        ("a:1", "q.io/a:1"),
        ("privileged: false", "privileged: true"),
        ("nodeName: node-1", "hostNetwork: true"),
        ("nodeName: node-1", "ephemeralContainers: [{name: e, image: e}]"),
        ("nodeName: node-1", "initContainers: [{name: i, image: i}]"),
        ("nodeName: node-1", "serviceAccountName: admin"),
        ("emptyDir: {}", "hostPath: {path: /}"),
        ("projected: {sources: []}", "hostPath: {path: /}"),
        ("containers: [", "containers: [{name: x, image: x}, "),
        ("imagePullPolicy: IfNotPresent", "imagePullPolicy: Never"),
        ("terminationMessagePath: /dev/x", "env: [{name: A, value: b}]"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        assert!(!covers(&template, &made(labels, &changed)), "{to}");
    }
    for metadata in [
        "labels: {app: e}",
        "labels: {app: d, extra: x}",
        "labels: {}",
        "namespace: other, labels: {app: d}",
        "labels: {app: d}, annotations: {container.apparmor.security.beta.kubernetes.io/c: unconfined}",
    ] {
        assert!(!covers(&template, &made(metadata, good)), "{metadata}");
    }
    assert!(covers(&template, &made("labels: {app: d}, annotations: {cni.example/ip: '1'}", good)));
    assert!(!covers(&template, &template));
}

#[test]
fn a_digest_of_the_template_binds_its_pods() {
    let image = |digit: &str| format!("{{containers: [{{name: c, image: 'a:1@sha256:{}'}}]}}", digit.repeat(64));
    let template = deployment(&image("a"));
    assert!(covers(&template, &made("labels: {app: d}", &image("a"))));
    assert!(!covers(&template, &made("labels: {app: d}", &image("b"))));
    assert!(!covers(&template, &made("labels: {app: d}", "{containers: [{name: c, image: 'a:1'}]}")));
}
