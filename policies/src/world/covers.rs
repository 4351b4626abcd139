//! Whether a Pod says no more than the template it was made from.

use std::collections::BTreeSet;

use portreeve_reports::source::{Map, Node};

use crate::image::ImageReference;
use crate::object::Object;
use crate::workload::{PodTemplate, defaulted, pod_template};

/// Fields of a pod spec that the scheduler, controllers and admission plugins fill in and that no rule reads.
const FILLED_IN: &[&str] = &[
    "affinity",
    "dnsPolicy",
    "enableServiceLinks",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "restartPolicy",
    "schedulerName",
    "serviceAccount",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
];

/// The same for containers.
const FILLED_IN_CONTAINER: &[&str] = &["terminationMessagePath", "terminationMessagePolicy"];

/// Labels that controllers put on the pods they make.
const CONTROLLER_LABELS: &[&str] = &[
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// Annotations that are security settings.
const SECURITY_ANNOTATIONS: &[&str] = &[
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
];

const TOKEN_MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Whether judging the owner's template says all there is to say about the pod: the same containers with the same
/// images (a digest that was resolved since does not count), the same settings, volumes and labels. False when in
/// doubt, for one more judgement costs little and one too few hides a finding.
pub fn covers(template_owner: &Object, pod: &Object) -> bool {
    let (Some(template), Some(made)) = (pod_template(template_owner), pod_template(pod)) else { return false };
    &*pod.kind == "Pod"
        && template_owner.namespace == pod.namespace
        && labels_agree(template.metadata, made.metadata)
        && annotations_agree(template.metadata, made.metadata)
        && specs_agree(&defaulted(&template), &spec_without_token(&made))
}

fn child<'a>(metadata: Option<&'a Node>, key: &str) -> Option<&'a Node> {
    metadata?.get(key)
}

fn labels_agree(template: Option<&Node>, pod: Option<&Node>) -> bool {
    let (template, pod) = (child(template, "labels"), child(pod, "labels"));
    keys([template, pod])
        .into_iter()
        .filter(|key| !CONTROLLER_LABELS.contains(key))
        .all(|key| child(template, key) == child(pod, key))
}

fn annotations_agree(template: Option<&Node>, pod: Option<&Node>) -> bool {
    let (template, pod) = (child(template, "annotations"), child(pod, "annotations"));
    keys([template, pod])
        .into_iter()
        .filter(|key| SECURITY_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix)))
        .all(|key| child(template, key) == child(pod, key))
}

fn keys(maps: [Option<&Node>; 2]) -> BTreeSet<&str> {
    let entries = maps.into_iter().flatten().filter_map(Node::as_map).flat_map(Map::iter);
    entries.map(|entry| &*entry.key).collect()
}

fn specs_agree(template: &Node, pod: &Node) -> bool {
    if pod.get("ephemeralContainers").and_then(Node::as_list).is_some_and(|list| !list.is_empty()) {
        return false;
    }
    let other = keys([Some(template), Some(pod)]);
    other.into_iter().filter(|key| !FILLED_IN.contains(key)).all(|key| match key {
        "containers" | "initContainers" => lists_agree(template.get(key), pod.get(key), containers_agree),
        "volumes" => lists_agree(template.get(key), pod.get(key), |left, right| left == right),
        _ => present(template.get(key)) == present(pod.get(key)),
    })
}

/// `null` and an empty list or map count as absent.
fn present(node: Option<&Node>) -> Option<&Node> {
    node.filter(|node| {
        let is_empty_list = node.as_list().is_some_and(<[Node]>::is_empty);
        let is_empty_map = node.as_map().is_some_and(Map::is_empty);
        !(node.is_null() || is_empty_list || is_empty_map)
    })
}

fn lists_agree(left: Option<&Node>, right: Option<&Node>, agree: impl Fn(&Node, &Node) -> bool) -> bool {
    let items = |node: Option<&Node>| match node {
        None => Some(Vec::new()),
        Some(node) if node.is_null() => Some(Vec::new()),
        Some(node) => node.as_list().map(<[Node]>::to_vec),
    };
    match (items(left), items(right)) {
        (Some(left), Some(right)) => {
            left.len() == right.len() && left.iter().zip(&right).all(|(left, right)| agree(left, right))
        }
        _ => false,
    }
}

fn containers_agree(template: &Node, pod: &Node) -> bool {
    let other = keys([Some(template), Some(pod)]);
    other.into_iter().filter(|key| !FILLED_IN_CONTAINER.contains(key)).all(|key| match key {
        "image" => images_agree(template.get(key), pod.get(key)),
        _ => present(template.get(key)) == present(pod.get(key)),
    })
}

/// A pod's image may be pinned where the template's is not; a digest in the template binds.
fn images_agree(template: Option<&Node>, pod: Option<&Node>) -> bool {
    let parse = |node: Option<&Node>| ImageReference::parse(node?.as_str()?).ok();
    let (Some(template), Some(pod)) = (parse(template), parse(pod)) else { return false };
    let tags_agree = template.tag == pod.tag || template.tag_or_latest() == pod.tag_or_latest();
    let digests_agree = template.digest.is_none() || template.digest == pod.digest;
    template.repository == pod.repository && tags_agree && digests_agree
}

/// The pod's spec without the token volume that admission adds to pods and not to templates.
fn spec_without_token(pod: &PodTemplate<'_>) -> Node {
    let spec = defaulted(pod);
    let is_named =
        |node: &Node| node.get("name").and_then(Node::as_str).is_some_and(|name| name.starts_with("kube-api-access-"));
    let is_token = |volume: &Node| is_named(volume) && volume.get("projected").is_some();
    let is_token_mount =
        |mount: &Node| is_named(mount) && mount.get("mountPath").and_then(Node::as_str) == Some(TOKEN_MOUNT);
    let spec = without_items(&spec, "volumes", is_token);
    ["containers", "initContainers"].into_iter().fold(spec, |spec, list| {
        super::change_items(&spec, list, |container| without_items(container, "volumeMounts", is_token_mount))
    })
}

fn without_items(node: &Node, key: &str, is_dropped: impl Fn(&Node) -> bool) -> Node {
    super::change_list(node, key, |items| items.iter().filter(|item| !is_dropped(item)).cloned().collect())
}
