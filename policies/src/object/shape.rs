//! The types of the fields that rules read. A field of another type makes its object unreadable: the API server would
//! refuse it, and a rule that looked for a boolean and found `"true"` would take it for absent.

use portreeve_reports::source::{Node, Place, Value, shown};

use super::Object;
use crate::workload::{ContainerKind, at_pattern, containers, custom_kind, pod_template, template_path};

/// A field that is not what the API says it is.
pub(super) struct Problem {
    pub(super) path: String,
    pub(super) place: Place,
    /// `must be a list, not a string; correct it`.
    pub(super) what: String,
}

/// What a field must be where it is present. `null` counts as absent, as it does to the API server.
enum Shape {
    Text,
    Bool,
    Int,
    /// A quantity or an `IntOrString`.
    Scalar,
    Texts,
    List(&'static Shape),
    /// Any keys, values of one type.
    Each(&'static Shape),
    /// Known keys with their types; other keys may hold anything.
    Fields(&'static [(&'static str, Shape)]),
}

use Shape::{Bool, Each, Fields, Int, List, Scalar, Text, Texts};

const METADATA: Shape = Fields(&[
    ("name", Text),
    ("generateName", Text),
    ("namespace", Text),
    ("uid", Text),
    ("labels", Each(&Text)),
    ("annotations", Each(&Text)),
    ("ownerReferences", List(&Fields(&[("apiVersion", Text), ("kind", Text), ("name", Text), ("controller", Bool)]))),
]);

const SELECTOR: Shape = Fields(&[
    ("matchLabels", Each(&Text)),
    ("matchExpressions", List(&Fields(&[("key", Text), ("operator", Text), ("values", Texts)]))),
]);

const PROFILE: Shape = Fields(&[("type", Text), ("localhostProfile", Text)]);

const SE_LINUX: Shape = Fields(&[("level", Text), ("role", Text), ("type", Text), ("user", Text)]);

const SECURITY: Shape = Fields(&[
    ("allowPrivilegeEscalation", Bool),
    ("appArmorProfile", PROFILE),
    ("capabilities", Fields(&[("add", Texts), ("drop", Texts)])),
    ("fsGroup", Int),
    ("privileged", Bool),
    ("procMount", Text),
    ("readOnlyRootFilesystem", Bool),
    ("runAsGroup", Int),
    ("runAsNonRoot", Bool),
    ("runAsUser", Int),
    ("seLinuxOptions", SE_LINUX),
    ("seccompProfile", PROFILE),
    ("supplementalGroups", List(&Int)),
    ("sysctls", List(&Fields(&[("name", Text), ("value", Text)]))),
    ("windowsOptions", Fields(&[("hostProcess", Bool)])),
]);

const KEY_REFERENCE: Shape = Fields(&[("name", Text), ("key", Text), ("optional", Bool)]);

const CONTAINER: Shape = Fields(&[
    ("args", Texts),
    ("command", Texts),
    (
        "env",
        List(&Fields(&[
            ("name", Text),
            ("value", Text),
            ("valueFrom", Fields(&[("configMapKeyRef", KEY_REFERENCE), ("secretKeyRef", KEY_REFERENCE)])),
        ])),
    ),
    ("envFrom", List(&Fields(&[("configMapRef", KEY_REFERENCE), ("secretRef", KEY_REFERENCE), ("prefix", Text)]))),
    ("image", Text),
    ("imagePullPolicy", Text),
    ("lifecycle", Fields(&[])),
    ("livenessProbe", Fields(&[])),
    ("name", Text),
    (
        "ports",
        List(&Fields(&[
            ("containerPort", Int),
            ("hostIP", Text),
            ("hostPort", Int),
            ("name", Text),
            ("protocol", Text),
        ])),
    ),
    ("readinessProbe", Fields(&[])),
    ("resources", Fields(&[("limits", Each(&Scalar)), ("requests", Each(&Scalar))])),
    ("restartPolicy", Text),
    ("securityContext", SECURITY),
    ("startupProbe", Fields(&[])),
    ("stdin", Bool),
    ("tty", Bool),
    (
        "volumeMounts",
        List(&Fields(&[
            ("mountPath", Text),
            ("mountPropagation", Text),
            ("name", Text),
            ("readOnly", Bool),
            ("subPath", Text),
        ])),
    ),
    ("workingDir", Text),
]);

const VOLUME: Shape = Fields(&[
    ("configMap", Fields(&[("name", Text)])),
    ("csi", Fields(&[("driver", Text)])),
    ("emptyDir", Fields(&[])),
    ("hostPath", Fields(&[("path", Text), ("type", Text)])),
    ("image", Fields(&[("pullPolicy", Text), ("reference", Text)])),
    ("name", Text),
    ("persistentVolumeClaim", Fields(&[("claimName", Text), ("readOnly", Bool)])),
    ("projected", Fields(&[("sources", List(&Fields(&[])))])),
    ("secret", Fields(&[("secretName", Text)])),
]);

const POD_SPEC: Shape = Fields(&[
    ("automountServiceAccountToken", Bool),
    ("containers", List(&CONTAINER)),
    ("ephemeralContainers", List(&CONTAINER)),
    ("hostIPC", Bool),
    ("hostNetwork", Bool),
    ("hostPID", Bool),
    ("hostUsers", Bool),
    ("initContainers", List(&CONTAINER)),
    ("nodeName", Text),
    ("priorityClassName", Text),
    ("restartPolicy", Text),
    ("runtimeClassName", Text),
    ("securityContext", SECURITY),
    ("serviceAccount", Text),
    ("serviceAccountName", Text),
    ("shareProcessNamespace", Bool),
    ("volumes", List(&VOLUME)),
]);

const IMAGE: Shape = Fields(&[("image", Text), ("name", Text)]);

const IMAGE_LISTS: Shape = Fields(&[
    ("containers", List(&IMAGE)),
    ("ephemeralContainers", List(&IMAGE)),
    ("initContainers", List(&IMAGE)),
    ("volumes", List(&Fields(&[("image", Fields(&[("reference", Text)]))]))),
]);

const NETWORK_RULES: Shape = List(&Fields(&[("ports", List(&Fields(&[])))]));

/// Group, kind and the types of other kinds that rules read, themselves or as related objects.
const KINDS: &[(&str, &str, Shape)] = &[
    ("", "ConfigMap", Fields(&[("data", Each(&Text)), ("binaryData", Each(&Text))])),
    ("", "Secret", Fields(&[("data", Each(&Text)), ("stringData", Each(&Text)), ("type", Text)])),
    ("", "ServiceAccount", Fields(&[("automountServiceAccountToken", Bool)])),
    ("extensions", "NetworkPolicy", Fields(&[("spec", NETWORK_POLICY)])),
    ("networking.k8s.io", "NetworkPolicy", Fields(&[("spec", NETWORK_POLICY)])),
];

const NETWORK_POLICY: Shape =
    Fields(&[("egress", NETWORK_RULES), ("ingress", NETWORK_RULES), ("podSelector", SELECTOR), ("policyTypes", Texts)]);

/// The first field of an object that is not what it must be.
pub(super) fn problem(object: &Object) -> Option<Problem> {
    let metadata = object.root.get("metadata").and_then(|node| METADATA.check(node, "metadata"));
    let of_kind = metadata.or_else(|| kind_problem(object));
    of_kind.or_else(|| template_problem(object)).or_else(|| custom_problem(object))
}

fn kind_problem(object: &Object) -> Option<Problem> {
    let known = KINDS.iter().find(|(group, kind, _)| *group == object.group() && *kind == &*object.kind);
    known.and_then(|(_, _, shape)| shape.check(&object.root, ""))
}

/// Images of a custom kind are looked for where its pods' containers are; lists of something else would hide them.
fn custom_problem(object: &Object) -> Option<Problem> {
    let custom = custom_kind(object.group(), &object.kind)?;
    let check = |patterns: &[&str], shape: &Shape| {
        let nodes = patterns.iter().flat_map(|pattern| at_pattern(&object.root, pattern));
        nodes.into_iter().find_map(|(path, node)| shape.check(node, &path))
    };
    check(custom.pod_specs, &IMAGE_LISTS).or_else(|| check(custom.containers, &IMAGE))
}

/// A workload without a well-formed template would be judged by no rule, or pass all of them.
fn template_problem(object: &Object) -> Option<Problem> {
    let path = template_path(object.group(), &object.kind)?;
    let Some(template) = pod_template(object) else {
        let keys: Vec<&str> = path.split('.').collect();
        return Some(missing_template(&object.root, &keys));
    };
    if let Some(metadata) = template.metadata.filter(|_| path != "spec") {
        let at = format!("{}metadata", path.strip_suffix("spec").unwrap_or_default());
        if let Some(problem) = METADATA.check(metadata, &at) {
            return Some(problem);
        }
    }
    POD_SPEC.check(template.spec, path).or_else(|| containers_problem(template.spec, path))
}

/// The first key on the way to the pod template that is absent or not a map.
fn missing_template(root: &Node, keys: &[&str]) -> Problem {
    let mut node = root;
    for (depth, key) in keys.iter().enumerate() {
        let path = keys[..=depth].join(".");
        match node.get(key) {
            Some(next) if next.as_map().is_some() => node = next,
            Some(next) if !next.is_null() => return Shape::wrong(next, &path, "a map"),
            _ => return absent(node, path),
        }
    }
    absent(node, keys.join("."))
}

fn absent(node: &Node, path: String) -> Problem {
    Problem { path, place: node.place, what: "is missing; the API server would refuse the object".to_owned() }
}

/// Containers are told apart by their names, so each needs its own.
fn containers_problem(spec: &Node, path: &str) -> Option<Problem> {
    let all = containers(spec, path);
    if !all.iter().any(|container| container.kind == ContainerKind::Container) {
        return Some(absent(spec, format!("{path}.containers")));
    }
    let mut names = std::collections::HashSet::new();
    for container in all {
        let at = format!("{}.name", container.path);
        if container.name.is_empty() {
            return Some(absent(container.node, at));
        }
        if !names.insert(container.name) {
            let what =
                format!("is '{}', like that of another container of this pod; rename one", shown(container.name));
            return Some(Problem { path: at, place: container.node.place, what });
        }
    }
    None
}

const A_STRING: &str = "a string";

impl Shape {
    /// The first value below `node` that has another type.
    fn check(&self, node: &Node, path: &str) -> Option<Problem> {
        if node.is_null() {
            return None;
        }
        match self {
            Text => (node.as_str().is_none()).then(|| Self::wrong(node, path, A_STRING)),
            Bool => (node.as_bool().is_none()).then(|| Self::wrong(node, path, "true or false")),
            Int => (node.as_int().is_none()).then(|| Self::wrong(node, path, "a whole number")),
            Scalar => (node.as_map().is_some() || node.as_list().is_some() || node.as_bool().is_some())
                .then(|| Self::wrong(node, path, "a string or a number")),
            Texts => List(&Text).check(node, path),
            List(shape) => shape.check_items(node, path),
            Each(shape) => shape.check_values(node, path),
            Fields(fields) => Self::check_fields(fields, node, path),
        }
    }

    fn check_items(&self, node: &Node, path: &str) -> Option<Problem> {
        let Some(items) = node.as_list() else { return Some(Self::wrong(node, path, "a list")) };
        items.iter().enumerate().find_map(|(index, item)| {
            if item.is_null() {
                return Some(Self::wrong(item, &format!("{path}[{index}]"), "a value"));
            }
            // Paths are made only for what is wrong.
            self.check(item, "").map(|problem| problem.below(&format!("{path}[{index}]")))
        })
    }

    fn check_values(&self, node: &Node, path: &str) -> Option<Problem> {
        let Some(map) = node.as_map() else { return Some(Self::wrong(node, path, "a map")) };
        map.iter().find_map(|entry| {
            self.check(&entry.node, "").map(|problem| problem.below(&format!("{path}['{}']", shown(&entry.key))))
        })
    }

    fn check_fields(fields: &[(&str, Self)], node: &Node, path: &str) -> Option<Problem> {
        let Some(map) = node.as_map() else { return Some(Self::wrong(node, path, "a map")) };
        map.iter().find_map(|entry| {
            let (key, shape) = fields.iter().find(|(key, _)| *key == &*entry.key)?;
            let problem = shape.check(&entry.node, "")?;
            Some(problem.below(&if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") }))
        })
    }

    fn wrong(node: &Node, path: &str, wanted: &str) -> Problem {
        let is_unquoted = wanted == A_STRING && matches!(node.value, Value::Bool(_) | Value::Int(_) | Value::Float(_));
        let remedy = if is_unquoted { "put it in quotes" } else { "correct it" };
        let what = format!("must be {wanted}, not {}; {remedy}", node.kind_name());
        Problem { path: path.to_owned(), place: node.place, what }
    }
}

impl Problem {
    fn below(self, parent: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Self { path: format!("{parent}{separator}{}", self.path), ..self }
    }
}
