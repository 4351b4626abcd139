//! The same objects through all four doors, and the comparison of what each of them finds.
//!
//! * [`objects`], [`pods`], [`images`]: what is judged, made from a seed ([`dice`]).
//! * [`ci`], [`daemon`], [`admission`]: the doors, each as its users have it.
//! * [`findings`]: what must be equal, and what differs.

pub mod admission;
pub mod ci;
pub mod daemon;
pub mod dice;
pub mod findings;
pub mod images;
pub mod objects;
pub mod pods;

use serde_json::{Value, json};

use crate::OrFail;
use crate::api::Api;
use admission::{Change, mutated};
use daemon::Daemon;
use objects::{Objects, Planned};

/// Creates the objects; with mutation on, Pods go through `/mutate` first. Gives them as the API server has them, and
/// how many images were pinned.
pub async fn create(api: &Api, objects: &Objects, mutating: Option<&Daemon>) -> (Vec<Value>, usize) {
    let (mut created, mut pinned) = (Vec::new(), 0);
    for object in &objects.related {
        created.push(api.create(object).await.or_fail(&object.to_string()));
    }
    for planned in &objects.workloads {
        let (object, pins) = create_workload(api, planned, mutating).await;
        created.push(object);
        pinned += pins;
    }
    (created, pinned)
}

async fn create_workload(api: &Api, planned: &Planned, mutating: Option<&Daemon>) -> (Value, usize) {
    let mutating = mutating.filter(|_| planned.kind() == "Pod");
    let (object, mut pinned) = match mutating {
        Some(daemon) => mutated(daemon, &planned.object, Change::Create).await,
        None => (planned.object.clone(), 0),
    };
    let mut created = api.create(&object).await.or_fail(&object.to_string());
    if planned.ephemeral.is_empty() {
        return (created, pinned);
    }
    created["spec"]["ephemeralContainers"] = planned.ephemeral.clone().into();
    if let Some(daemon) = mutating {
        let (object, pins) = mutated(daemon, &created, Change::Debug).await;
        created = object;
        pinned += pins;
    }
    let path = format!("{}/ephemeralcontainers", path_of(&created));
    let patch = json!({"spec": {"ephemeralContainers": created["spec"]["ephemeralContainers"]}});
    (api.merge(&path, &patch).await.or_fail(&patch.to_string()), pinned)
}

fn path_of(pod: &Value) -> String {
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    format!("/api/v1/namespaces/{}/pods/{}", text("namespace"), text("name"))
}

/// Deletes all objects that [`create`] makes.
pub async fn delete_all(api: &Api, namespace: &str) {
    let collections = [
        ("api/v1", "pods"),
        ("api/v1", "replicationcontrollers"),
        ("apis/apps/v1", "deployments"),
        ("apis/apps/v1", "statefulsets"),
        ("apis/apps/v1", "daemonsets"),
        ("apis/apps/v1", "replicasets"),
        ("apis/batch/v1", "jobs"),
        ("apis/batch/v1", "cronjobs"),
        ("apis/networking.k8s.io/v1", "networkpolicies"),
        ("api/v1", "configmaps"),
    ];
    for (root, plural) in collections {
        let path = format!("/{root}/namespaces/{namespace}/{plural}");
        api.delete(&path).await.or_fail(&path);
    }
    for account in ["quiet", "loud"] {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}");
        api.delete(&path).await.or_fail(&path);
    }
}

/// The objects without their init containers: what a door would see that forgot them.
pub fn without_init_containers(objects: &[Value]) -> Vec<Value> {
    let spec_paths = ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
    let stripped = objects.iter().cloned().map(|mut object| {
        for path in spec_paths {
            if let Some(spec) = object.pointer_mut(path).and_then(Value::as_object_mut) {
                spec.remove("initContainers");
            }
        }
        object
    });
    stripped.collect()
}
