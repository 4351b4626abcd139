//! Whether an object does what it was made for, by the rules of kstatus (sigs.k8s.io/cli-utils). Pure.

use serde_json::Value;

/// What an object's status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is as it should be.
    Healthy,
    /// It is on its way, and why not there yet.
    Progressing(String),
    /// It will not get there by itself.
    Failed(String),
    /// It says nothing that could be judged. Not healthy: a custom object without conditions may be anything.
    Unknown(String),
}

/// The health of a live object.
pub fn health(object: &Value) -> Health {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Health::Progressing("it is being deleted".to_owned());
    }
    let generation = int(object, "/metadata/generation");
    let observed = int(object, "/status/observedGeneration");
    if let (Some(generation), Some(observed)) = (generation, observed)
        && observed < generation
    {
        return Health::Progressing("its controller has not seen the last change".to_owned());
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let version = text("/apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, text("/kind")) {
        ("apps", "Deployment") => deployment(object, observed),
        ("apps", "StatefulSet") => stateful_set(object, observed),
        ("apps", "DaemonSet") => daemon_set(object, observed),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replicas(object, "readyReplicas"),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => ready(object, "Available"),
        ("", "Namespace") if text("/status/phase") != "Active" => Health::Progressing("it is not active".to_owned()),
        (group, kind) => other(object, group, kind),
    }
}

fn int(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

fn status(object: &Value, field: &str) -> i64 {
    object.get("status").and_then(|status| status.get(field)).and_then(Value::as_i64).unwrap_or(0)
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

fn is(condition: Option<&Value>, wanted: &str) -> bool {
    condition.and_then(|condition| condition.get("status")).and_then(Value::as_str) == Some(wanted)
}

fn words(condition: Option<&Value>) -> String {
    let text = |key: &str| condition.and_then(|condition| condition.get(key)?.as_str()).unwrap_or_default();
    let said = if text("message").is_empty() { text("reason") } else { text("message") };
    portreeve_reports::source::shown(said)
}

fn progressing(found: i64, wanted: i64, what: &str) -> Health {
    Health::Progressing(format!("{found} of {wanted} {what}"))
}

fn wanted(object: &Value) -> i64 {
    int(object, "/spec/replicas").unwrap_or(1)
}

fn deployment(object: &Value, observed: Option<i64>) -> Health {
    let progress = condition(object, "Progressing");
    if is(progress, "False") || progress.and_then(|p| p.get("reason")?.as_str()) == Some("ProgressDeadlineExceeded") {
        return Health::Failed(words(progress));
    }
    let wanted = wanted(object);
    if observed.is_none() {
        return Health::Progressing("its controller has not seen it".to_owned());
    }
    for (field, what) in
        [("updatedReplicas", "updated"), ("readyReplicas", "ready"), ("availableReplicas", "available")]
    {
        if status(object, field) < wanted {
            return progressing(status(object, field), wanted, what);
        }
    }
    let old = status(object, "replicas") - status(object, "updatedReplicas");
    if old > 0 { Health::Progressing(format!("{old} old Pods are still there")) } else { Health::Healthy }
}

fn stateful_set(object: &Value, observed: Option<i64>) -> Health {
    if observed.is_none() {
        return Health::Progressing("its controller has not seen it".to_owned());
    }
    let wanted = wanted(object);
    if status(object, "readyReplicas") < wanted {
        return progressing(status(object, "readyReplicas"), wanted, "ready");
    }
    let on_delete = object.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete");
    let revision = |field: &str| object.get("status").and_then(|status| status.get(field)?.as_str());
    let is_partitioned = int(object, "/spec/updateStrategy/rollingUpdate/partition").is_some_and(|from| from > 0);
    if !on_delete && !is_partitioned && revision("currentRevision") != revision("updateRevision") {
        return progressing(status(object, "updatedReplicas"), wanted, "updated");
    }
    Health::Healthy
}

fn daemon_set(object: &Value, observed: Option<i64>) -> Health {
    if observed.is_none() {
        return Health::Progressing("its controller has not seen it".to_owned());
    }
    let wanted = status(object, "desiredNumberScheduled");
    for (field, what) in [("updatedNumberScheduled", "updated"), ("numberReady", "ready")] {
        if status(object, field) < wanted {
            return progressing(status(object, field), wanted, what);
        }
    }
    Health::Healthy
}

fn replicas(object: &Value, field: &str) -> Health {
    let wanted = wanted(object);
    if status(object, field) < wanted { progressing(status(object, field), wanted, "ready") } else { Health::Healthy }
}

fn job(object: &Value) -> Health {
    if is(condition(object, "Failed"), "True") {
        return Health::Failed(words(condition(object, "Failed")));
    }
    let is_suspended = object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
    if is(condition(object, "Complete"), "True") || is_suspended {
        return Health::Healthy;
    }
    Health::Progressing("it has not completed".to_owned())
}

fn pod(object: &Value) -> Health {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Succeeded") => Health::Healthy,
        Some("Failed") => Health::Failed("its containers have failed".to_owned()),
        _ => ready(object, "Ready"),
    }
}

fn claim(object: &Value) -> Health {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Bound") => Health::Healthy,
        Some("Lost") => Health::Failed("its volume is lost".to_owned()),
        // Which class binds late stands in another object: a claim that waits for its first Pod is not at fault.
        _ => Health::Progressing("it is not bound; it may wait for its first Pod".to_owned()),
    }
}

fn service(object: &Value) -> Health {
    let is_balanced = object.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
    let has_address = object
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array)
        .is_some_and(|addresses| !addresses.is_empty());
    if is_balanced && !has_address {
        return Health::Progressing("its load balancer has no address".to_owned());
    }
    Health::Healthy
}

fn definition(object: &Value) -> Health {
    let accepted = condition(object, "NamesAccepted");
    if is(accepted, "False") {
        return Health::Failed(words(accepted));
    }
    ready(object, "Established")
}

fn ready(object: &Value, kind: &str) -> Health {
    let found = condition(object, kind);
    if is(found, "True") {
        return Health::Healthy;
    }
    let words = words(found);
    Health::Progressing(if words.is_empty() { format!("it is not {kind}") } else { words })
}

/// Kinds without rules of their own: conditions where there are any. Those of Kubernetes that have no status are what
/// they were written to be.
fn other(object: &Value, group: &str, kind: &str) -> Health {
    let stalled = condition(object, "Stalled");
    if is(stalled, "True") {
        return Health::Failed(words(stalled));
    }
    let reconciling = condition(object, "Reconciling");
    if is(reconciling, "True") {
        return Health::Progressing(words(reconciling));
    }
    for kind in ["Ready", "Available"] {
        if condition(object, kind).is_some() {
            return ready(object, kind);
        }
    }
    let key = crate::cluster::key::ObjectKey {
        group: group.into(),
        kind: kind.into(),
        namespace: "".into(),
        name: "".into(),
    };
    match super::waves::Wave::of(&key) {
        super::waves::Wave::Custom => Health::Unknown("it has no condition Ready or Available".to_owned()),
        _ => Health::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(generation: i64, observed: i64, [wanted, total, updated, ready]: [i64; 4]) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": generation},
            "spec": {"replicas": wanted}, "status": {"observedGeneration": observed, "replicas": total,
                "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready}})
    }

    #[test]
    fn a_deployment_is_healthy_when_its_last_change_runs_everywhere_and_nothing_old_is_left() {
        assert_eq!(health(&deployment(2, 2, [2, 2, 2, 2])), Health::Healthy);
        for not_yet in [
            deployment(3, 2, [2, 2, 2, 2]),
            deployment(2, 2, [2, 2, 1, 2]),
            deployment(2, 2, [2, 2, 2, 1]),
            deployment(2, 2, [2, 3, 2, 2]),
        ] {
            assert!(matches!(health(&not_yet), Health::Progressing(_)), "{not_yet}");
        }
        let mut late = deployment(2, 2, [2, 2, 1, 1]);
        late["status"]["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}]);
        assert_eq!(health(&late), Health::Failed("late".to_owned()));
        let unseen = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 1}});
        assert!(matches!(health(&unseen), Health::Progressing(_)));
    }

    #[test]
    fn a_custom_object_without_conditions_is_unknown_and_never_healthy() {
        let object = |status: Value| json!({"apiVersion": "example.org/v1", "kind": "Thing", "status": status});
        let conditions = |kind: &str, status: &str| object(json!({"conditions": [{"type": kind, "status": status}]}));
        assert!(matches!(health(&object(json!({}))), Health::Unknown(_)));
        assert_eq!(health(&conditions("Ready", "True")), Health::Healthy);
        assert!(matches!(health(&conditions("Ready", "Unknown")), Health::Progressing(_)));
        assert!(matches!(health(&conditions("Stalled", "True")), Health::Failed(_)));
        assert!(matches!(health(&conditions("Reconciling", "True")), Health::Progressing(_)));
    }

    #[test]
    fn the_built_in_kinds_have_their_own_rules() {
        let of = |version: &str, kind: &str, status: Value| {
            health(&json!({"apiVersion": version, "kind": kind, "spec": {"type": "LoadBalancer"}, "status": status}))
        };
        assert_eq!(of("v1", "ConfigMap", json!(null)), Health::Healthy);
        assert!(matches!(of("v1", "Service", json!({"loadBalancer": {}})), Health::Progressing(_)));
        assert_eq!(of("v1", "PersistentVolumeClaim", json!({"phase": "Bound"})), Health::Healthy);
        assert!(matches!(of("v1", "PersistentVolumeClaim", json!({"phase": "Lost"})), Health::Failed(_)));
        let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]});
        assert_eq!(of("batch/v1", "Job", failed), Health::Failed("BackoffLimitExceeded".to_owned()));
        let names = json!({"conditions": [{"type": "NamesAccepted", "status": "False", "message": "taken"}]});
        let version = "apiextensions.k8s.io/v1";
        assert_eq!(of(version, "CustomResourceDefinition", names), Health::Failed("taken".to_owned()));
    }
}
