//! Custom resources that carry pod specs or containers: where their images are.

use portreeve_reports::source::Node;

/// Paths into one custom kind; `[]` stands for all items of a list.
pub(crate) struct CustomKind {
    group: &'static str,
    kind: &'static str,
    /// Pod specs.
    pub(crate) pod_specs: &'static [&'static str],
    /// Single containers.
    pub(crate) containers: &'static [&'static str],
}

const ARGO_POD_SPECS: &[&str] = &["spec.templates[]", "spec.templates[].containerSet"];
const ARGO_CONTAINERS: &[&str] =
    &["spec.templates[].container", "spec.templates[].script", "spec.templates[].sidecars[]"];

const CUSTOM_KINDS: &[CustomKind] = &[
    // A template's own lists (initContainers) have the names that a pod spec has.
    argo("Workflow"),
    argo("WorkflowTemplate"),
    argo("ClusterWorkflowTemplate"),
    CustomKind {
        group: "argoproj.io",
        kind: "CronWorkflow",
        pod_specs: &["spec.workflowSpec.templates[]", "spec.workflowSpec.templates[].containerSet"],
        containers: &[
            "spec.workflowSpec.templates[].container",
            "spec.workflowSpec.templates[].script",
            "spec.workflowSpec.templates[].sidecars[]",
        ],
    },
    pods("argoproj.io", "Rollout", &["spec.template.spec"]),
    pods("kubernetes.dask.org", "DaskCluster", &["spec.worker.spec", "spec.scheduler.spec"]),
    pods(
        "kubernetes.dask.org",
        "DaskJob",
        &["spec.job.spec", "spec.cluster.spec.worker.spec", "spec.cluster.spec.scheduler.spec"],
    ),
    pods("kubernetes.dask.org", "DaskWorkerGroup", &["spec.worker.spec"]),
];

const fn argo(kind: &'static str) -> CustomKind {
    CustomKind { group: "argoproj.io", kind, pod_specs: ARGO_POD_SPECS, containers: ARGO_CONTAINERS }
}

const fn pods(group: &'static str, kind: &'static str, pod_specs: &'static [&'static str]) -> CustomKind {
    CustomKind { group, kind, pod_specs, containers: &[] }
}

/// The paths of a custom kind.
pub(crate) fn custom_kind(group: &str, kind: &str) -> Option<&'static CustomKind> {
    CUSTOM_KINDS.iter().find(|custom| (custom.group, custom.kind) == (group, kind))
}

/// All nodes at a path with `[]`, each with its own path.
pub(crate) fn at_pattern<'a>(root: &'a Node, pattern: &str) -> Vec<(String, &'a Node)> {
    let mut found = vec![(String::new(), root)];
    for segment in pattern.split('.') {
        let (key, is_list) = segment.strip_suffix("[]").map_or((segment, false), |key| (key, true));
        found = found
            .into_iter()
            .filter_map(|(path, node)| Some((join(&path, key), node.get(key)?)))
            .flat_map(|(path, node)| if is_list { items(&path, node) } else { vec![(path, node)] })
            .collect();
    }
    found
}

fn items<'a>(path: &str, node: &'a Node) -> Vec<(String, &'a Node)> {
    let list = node.as_list().unwrap_or_default();
    list.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
