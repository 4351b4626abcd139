//! The kinds that are watched: one table, used by the watches, the index and the chart's least-privilege role.

use portreeve_policies::world::RelatedKind;
use portreeve_secrets::credentials::Values;

use crate::config::valid::ClusterRead;

/// A kind of objects that is listed and watched.
#[derive(Debug, PartialEq, Eq)]
pub struct WatchedKind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Version that is asked for.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Name in paths and roles.
    pub plural: &'static str,
    /// What the rules ask the world about this kind, if anything.
    pub related: Option<RelatedKind>,
    /// Whether values of its data may be looked into.
    pub values: Values,
}

const fn plain(group: &'static str, kind: &'static str, plural: &'static str) -> WatchedKind {
    WatchedKind { group, version: "v1", kind, plural, related: None, values: Values::Read }
}

const fn related(group: &'static str, kind: &'static str, plural: &'static str, related: RelatedKind) -> WatchedKind {
    WatchedKind { related: Some(related), ..plain(group, kind, plural) }
}

const fn workload(group: &'static str, kind: &'static str, plural: &'static str) -> WatchedKind {
    related(group, kind, plural, RelatedKind::Workload)
}

/// Every watched kind. Secrets are, where the configuration says so.
pub static KINDS: [WatchedKind; 13] = [
    related("", "Namespace", "namespaces", RelatedKind::Namespace),
    related("", "ServiceAccount", "serviceaccounts", RelatedKind::ServiceAccount),
    related("networking.k8s.io", "NetworkPolicy", "networkpolicies", RelatedKind::NetworkPolicy),
    workload("apps", "Deployment", "deployments"),
    workload("apps", "ReplicaSet", "replicasets"),
    workload("apps", "StatefulSet", "statefulsets"),
    workload("apps", "DaemonSet", "daemonsets"),
    workload("batch", "CronJob", "cronjobs"),
    workload("batch", "Job", "jobs"),
    workload("", "ReplicationController", "replicationcontrollers"),
    plain("", "Pod", "pods"),
    plain("", "Secret", "secrets"),
    plain("", "ConfigMap", "configmaps"),
];

/// Secrets of which no value is looked into.
static SECRETS_METADATA: WatchedKind = WatchedKind { values: Values::Hidden, ..plain("", "Secret", "secrets") };
const fn rule(kind: &'static str, plural: &'static str) -> WatchedKind {
    WatchedKind { version: portreeve_api::VERSION, ..plain(portreeve_api::GROUP, kind, plural) }
}

/// Our own kinds. They are no subjects, and a cluster need not have them.
pub static RULE_KINDS: [WatchedKind; 4] = [
    rule("ClusterException", "clusterexceptions"),
    rule("Exception", "exceptions"),
    rule("ImagePolicy", "imagepolicies"),
    rule("Platform", "platforms"),
];

impl WatchedKind {
    /// Whether it is one of ours, which is there only after its definition was installed.
    pub fn is_rule(&self) -> bool {
        self.group == portreeve_api::GROUP
    }

    /// `apps/v1`, `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The kind as it is watched under `secrets.clusterRead`; an error says why it is not.
    pub fn read_as(&'static self, secrets: ClusterRead) -> Result<&'static Self, &'static str> {
        match (self.is_secret(), secrets) {
            (false, _) | (true, ClusterRead::Full) => Ok(self),
            (true, ClusterRead::Metadata) => Ok(&SECRETS_METADATA),
            (true, ClusterRead::Off) => {
                Err("secrets.clusterRead is off; set it to metadata or full to have them judged")
            }
        }
    }

    /// Whether these are Secrets.
    pub fn is_secret(&self) -> bool {
        self.group.is_empty() && self.kind == "Secret"
    }

    /// The watched kind of that group and name.
    pub fn find(group: &str, kind: &str) -> Option<&'static Self> {
        KINDS.iter().find(|known| known.group == group && known.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_group_and_kind_and_stand_once() {
        for kind in &KINDS {
            assert_eq!(WatchedKind::find(kind.group, kind.kind), Some(kind));
            assert_eq!(KINDS.iter().filter(|other| other.plural == kind.plural).count(), 1);
        }
        assert_eq!(WatchedKind::find("extensions", "Deployment"), None);
        assert_eq!(WatchedKind::find("apps", "Deployment").map(WatchedKind::api_version).as_deref(), Some("apps/v1"));
    }
}
