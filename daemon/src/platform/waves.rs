//! In which order objects are applied, and in reverse deleted. Pure.

use crate::cluster::key::ObjectKey;

/// What is applied together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wave {
    /// Resource definitions; the next wave waits until they are established.
    Definitions,
    /// Namespaces.
    Namespaces,
    /// Accounts, roles, secrets, configuration, policies, classes, claims.
    Config,
    /// Services, before the Pods that read their addresses.
    Services,
    /// What runs Pods, and what scales and exposes them.
    Workloads,
    /// Objects of resource definitions.
    Custom,
    /// What calls the workloads at admission or serves an API by them: last, when they run.
    Webhooks,
}

/// Groups of Kubernetes itself; all others come from resource definitions.
const OWN_GROUPS: [&str; 19] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

impl Wave {
    /// All waves, first to last.
    pub const ALL: [Self; 7] = [
        Self::Definitions,
        Self::Namespaces,
        Self::Config,
        Self::Services,
        Self::Workloads,
        Self::Custom,
        Self::Webhooks,
    ];

    /// The wave of an object.
    pub fn of(key: &ObjectKey) -> Self {
        match (&*key.group, &*key.kind) {
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Definitions,
            ("", "Namespace") => Self::Namespaces,
            ("", "Service" | "Endpoints") | ("discovery.k8s.io", _) => Self::Services,
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Webhooks,
            ("apps" | "batch" | "autoscaling" | "policy", _)
            | ("", "Pod" | "ReplicationController")
            | ("networking.k8s.io", "Ingress") => Self::Workloads,
            (group, _) if OWN_GROUPS.contains(&group) => Self::Config,
            _ => Self::Custom,
        }
    }
}

/// Kinds that stay when they are no longer declared: deleting them deletes what people put into them.
pub fn is_retained(key: &ObjectKey) -> bool {
    matches!(
        (&*key.group, &*key.kind),
        ("", "PersistentVolumeClaim" | "PersistentVolume" | "Namespace")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// What is deleted with an object, whoever made it.
pub fn goes_with(key: &ObjectKey) -> Option<&'static str> {
    match (&*key.group, &*key.kind) {
        ("", "Namespace") => Some("everything in it"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Some("every object of its kind"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &str, kind: &str) -> ObjectKey {
        ObjectKey { group: group.into(), kind: kind.into(), namespace: "".into(), name: "x".into() }
    }

    #[test]
    fn definitions_come_first_webhooks_last_and_custom_objects_after_what_serves_them() {
        let order = [
            key("apiextensions.k8s.io", "CustomResourceDefinition"),
            key("", "Namespace"),
            key("rbac.authorization.k8s.io", "ClusterRole"),
            key("", "Service"),
            key("apps", "Deployment"),
            key("cert-manager.io", "Certificate"),
            key("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ];
        let waves: Vec<Wave> = order.iter().map(Wave::of).collect();
        assert_eq!(waves, Wave::ALL);
        for kind in ["Secret", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim"] {
            assert_eq!(Wave::of(&key("", kind)), Wave::Config);
        }
        // Served by a definition in spite of its group's name.
        assert_eq!(Wave::of(&key("gateway.networking.k8s.io", "Gateway")), Wave::Custom);
    }

    #[test]
    fn what_takes_others_with_it_says_so() {
        assert_eq!(goes_with(&key("", "Namespace")), Some("everything in it"));
        assert!(goes_with(&key("apiextensions.k8s.io", "CustomResourceDefinition")).is_some());
        assert_eq!(goes_with(&key("", "ConfigMap")), None);
    }

    #[test]
    fn what_holds_data_is_retained() {
        assert!(is_retained(&key("", "PersistentVolumeClaim")) && is_retained(&key("", "Namespace")));
        assert!(!is_retained(&key("apps", "StatefulSet")) && !is_retained(&key("example.org", "Namespace")));
    }
}
