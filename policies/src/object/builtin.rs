//! The kinds of Kubernetes' own groups. A kind that such a group does not have is a typing error that no API server
//! takes, and that rules would pass over.

use portreeve_reports::source::decode::did_you_mean;

/// Group and kinds, up to Kubernetes 1.37. Kinds of removed versions are among them, where rules know or do not need
/// what is in them: not the workloads that were removed before version 1 (`PetSet`, `ScheduledJob`).
const GROUPS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "NodeProxyOptions",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodAttachOptions",
            "PodExecOptions",
            "PodPortForwardOptions",
            "PodProxyOptions",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
            "ServiceProxyOptions",
            "Status",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["ConversionReview", "CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("apps", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "Scale", "StatefulSet"]),
    ("authentication.k8s.io", &["SelfSubjectReview", "TokenRequest", "TokenReview"]),
    (
        "authorization.k8s.io",
        &["LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"],
    ),
    ("autoscaling", &["HorizontalPodAutoscaler", "Scale"]),
    ("batch", &["CronJob", "Job"]),
    ("certificates.k8s.io", &["CertificateSigningRequest", "ClusterTrustBundle", "PodCertificateRequest"]),
    ("coordination.k8s.io", &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    ("events.k8s.io", &["Event"]),
    (
        "extensions",
        &[
            "DaemonSet",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Ingress",
            "Job",
            "NetworkPolicy",
            "PodSecurityPolicy",
            "ReplicaSet",
            "Scale",
        ],
    ),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("internal.apiserver.k8s.io", &["StorageVersion"]),
    ("lifecycle.k8s.io", &["Eviction", "EvictionRequest"]),
    ("networking.k8s.io", &["ClusterCIDR", "IPAddress", "Ingress", "IngressClass", "NetworkPolicy", "ServiceCIDR"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("policy", &["Eviction", "PodDisruptionBudget", "PodSecurityPolicy"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
    (
        "resource.k8s.io",
        &[
            "DeviceClass",
            "DeviceTaintRule",
            "PodSchedulingContext",
            "ResourceClaim",
            "ResourceClaimParameters",
            "ResourceClaimTemplate",
            "ResourceClass",
            "ResourceClassParameters",
            "ResourcePoolStatusRequest",
            "ResourceSlice",
        ],
    ),
    ("scheduling.k8s.io", &["CompositePodGroup", "PodGroup", "PriorityClass", "Workload"]),
    (
        "storage.k8s.io",
        &["CSIDriver", "CSINode", "CSIStorageCapacity", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"],
    ),
    ("storagemigration.k8s.io", &["StorageVersionMigration"]),
];

/// What to write instead of a kind that its group, one of Kubernetes' own, does not have. `None` for a kind that it
/// has, a list of them, and all other groups.
pub(super) fn advice(group: &str, kind: &str) -> Option<String> {
    let (_, kinds) = GROUPS.iter().find(|(known, _)| *known == group)?;
    if kinds.contains(&kind) || kind.strip_suffix("List").is_some_and(|kind| kinds.contains(&kind)) {
        return None;
    }
    if let Some((other, _)) = GROUPS.iter().find(|(_, kinds)| kinds.contains(&kind)) {
        let other = if other.is_empty() { "the core group (v1)" } else { other };
        return Some(format!("it is one of {other}"));
    }
    let any_case = kinds.iter().find(|known| known.eq_ignore_ascii_case(kind)).copied();
    let near = any_case.or_else(|| did_you_mean(kind, kinds));
    Some(near.map_or_else(|| "correct the kind or the version".to_owned(), |near| format!("did you mean '{near}'?")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::template_path;

    #[test]
    fn kinds_of_a_group_and_of_other_groups_are_taken() {
        for (group, kind) in [
            ("", "Pod"),
            ("", "PodList"),
            ("apps", "Deployment"),
            ("extensions", "Deployment"),
            ("kubernetes.dask.org", "DaskCluster"),
            ("gateway.networking.k8s.io", "Gateway"),
            ("apps.kruise.io", "CloneSet"),
        ] {
            assert_eq!(advice(group, kind), None, "{group} {kind}");
        }
    }

    #[test]
    fn what_a_group_does_not_have_is_told_with_what_may_be_meant() {
        for (group, kind, expected) in [
            ("apps", "Deployments", "did you mean 'Deployment'?"),
            ("apps", "Deploymnet", "did you mean 'Deployment'?"),
            ("apps", "DEPLOYMENT", "did you mean 'Deployment'?"),
            ("", "Podd", "did you mean 'Pod'?"),
            ("batch", "CronJobs", "did you mean 'CronJob'?"),
            ("networking.k8s.io", "NetworkPolicies", "did you mean 'NetworkPolicy'?"),
            ("", "Deployment", "it is one of apps"),
            ("apps", "Pod", "it is one of the core group (v1)"),
            ("batch", "Zebra", "correct the kind or the version"),
        ] {
            assert_eq!(advice(group, kind).as_deref(), Some(expected), "{group} {kind}");
        }
    }

    #[test]
    fn every_workload_of_a_group_is_one_that_is_judged() {
        for (group, kinds) in GROUPS.iter().filter(|(group, _)| ["apps", "batch"].contains(group)) {
            for kind in kinds.iter().filter(|kind| !["ControllerRevision", "Scale"].contains(kind)) {
                assert!(template_path(group, kind).is_some(), "{group} {kind}");
            }
        }
    }
}
