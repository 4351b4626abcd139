//! Which objects are judged with their owner and not again.

use portreeve_policies::object::Object;
use portreeve_policies::workload::pod_template;
use portreeve_policies::world::{Known, World, covers};
use portreeve_reports::source::{Map, Node};

/// Labels that controllers put on the templates they make.
const CONTROLLER_LABELS: &[&str] = &[
    "pod-template-hash",
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
];

/// Whether judging the object's owner says all there is to say about the object: a Pod that is what the owner's
/// template says, a ReplicaSet or Job whose template is the owner's, and an old revision of which nothing runs.
pub(super) fn is_covered(object: &Object, world: &World) -> bool {
    let Known::Found(owner) = world.owner_template(object) else { return false };
    covers(&owner, object) || has_template_of(object, &owner) || is_idle_revision(object)
}

fn has_template_of(object: &Object, owner: &Object) -> bool {
    let (Some(made), Some(template)) = (pod_template(object), pod_template(owner)) else { return false };
    &*object.kind != "Pod"
        && made.spec == template.spec
        && child(made.metadata, "annotations") == child(template.metadata, "annotations")
        && labels(made.metadata).eq(labels(template.metadata))
}

fn child<'a>(metadata: Option<&'a Node>, key: &str) -> Option<&'a Node> {
    metadata?.get(key)
}

/// Labels in the order of their names, without those of controllers.
fn labels(metadata: Option<&Node>) -> impl Iterator<Item = (&str, Option<&str>)> {
    let entries = child(metadata, "labels").and_then(Node::as_map).into_iter().flat_map(Map::iter);
    let own = entries.filter(|entry| !CONTROLLER_LABELS.contains(&&*entry.key));
    let mut labels: Vec<_> = own.map(|entry| (&*entry.key, entry.node.as_str())).collect();
    labels.sort_unstable();
    labels.into_iter()
}

/// A Deployment keeps old ReplicaSets for a rollback, which makes their template the Deployment's before a Pod runs.
fn is_idle_revision(object: &Object) -> bool {
    let is_of_deployment = object.controller.as_ref().is_some_and(|owner| owner.kind == "Deployment");
    let replicas = object.root.at(["spec", "replicas"]).and_then(Node::as_int);
    &*object.kind == "ReplicaSet" && is_of_deployment && replicas == Some(0)
}
