use portreeve_policies::object::{ReadOptions, read_objects};
use portreeve_policies::world::Known;
use portreeve_reports::Verdict;

use super::*;
use crate::config::valid::ClusterRead;

/// Objects as an API server says them: without files.
fn items(yaml: &str) -> Vec<Item> {
    let read = read_objects(None, yaml.as_bytes(), &ReadOptions::default());
    assert_eq!(read.unreadable, [], "the test's objects are good");
    read.objects.into_iter().map(|object| Item::good(object, Values::Read)).collect()
}

fn item(yaml: &str) -> Item {
    items(yaml).remove(0)
}

fn bad(yaml: &str) -> Item {
    let unreadable = read_objects(None, yaml.as_bytes(), &ReadOptions::default()).unreadable.remove(0);
    Item::Bad(ObjectKey::of_unreadable(&unreadable).unwrap(), Box::new(unreadable))
}

fn subject(group: &str, kind: &str, name: &str) -> SubjectKey {
    let namespace = if kind == "Namespace" || name == "*" { "" } else { "dev" };
    SubjectKey(["object", group, kind, namespace, name].join("\u{1f}"))
}

fn kind(name: &str) -> &'static WatchedKind {
    KINDS.iter().find(|kind| kind.kind == name).unwrap()
}

const SPEC: &str = "{containers: [{name: app, image: 'quay.io/a/b:1'}]}";

fn deployment(spec: &str) -> Item {
    item(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: hub, namespace: dev}}, \
         spec: {{template: {{metadata: {{labels: {{app: hub}}}}, spec: {spec}}}}}}}"
    ))
}

fn replica_set(name: &str, spec: &str, replicas: u32) -> Item {
    item(&format!(
        "{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: {name}, namespace: dev, ownerReferences: \
         [{{apiVersion: apps/v1, kind: Deployment, name: hub, uid: u, controller: true}}]}}, spec: {{replicas: {replicas}, \
         template: {{metadata: {{labels: {{app: hub, pod-template-hash: x}}}}, spec: {spec}}}}}}}"
    ))
}

fn pod(name: &str, owner: &str, spec: &str) -> Item {
    item(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: dev, labels: {{app: hub, pod-template-hash: x}}, \
         ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {owner}, uid: u, controller: true}}]}}, \
         spec: {spec}}}"
    ))
}

fn plain(kind: &str, name: &str) -> Item {
    item(&format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}, namespace: dev}}}}"))
}

fn names(index: &Index, key: &SubjectKey) -> Vec<String> {
    let state = index.subject(key).expect("the subject exists");
    state.objects.iter().map(|object| object.name.to_string()).collect()
}

fn verdicts(index: &Index, key: &SubjectKey) -> Vec<Verdict> {
    index.subject(key).unwrap().findings.iter().map(|finding| finding.verdict).collect()
}

#[test]
fn what_the_owners_template_says_is_judged_once() {
    let mut index = Index::new();
    for item in [deployment(SPEC), replica_set("hub-1", SPEC, 1), pod("hub-1-a", "hub-1", SPEC)] {
        let change = index.apply(item);
        assert_eq!(change.subjects, [subject("apps", "Deployment", "hub")].into());
    }
    assert_eq!(names(&index, &subject("apps", "Deployment", "hub")), ["hub"]);
}

#[test]
fn what_differs_from_the_template_is_judged_with_the_owner() {
    let other = "{containers: [{name: app, image: 'quay.io/a/b:1'}, {name: proxy, image: 'quay.io/a/p:1'}]}";
    let mut index = Index::new();
    for item in [deployment(SPEC), replica_set("hub-1", SPEC, 1), pod("hub-1-a", "hub-1", other)] {
        index.apply(item);
    }
    assert_eq!(names(&index, &subject("apps", "Deployment", "hub")), ["hub-1-a", "hub"]);
    index.apply(replica_set("hub-0", other, 0));
    assert_eq!(names(&index, &subject("apps", "Deployment", "hub")).len(), 2, "of an old revision nothing runs");
    index.apply(replica_set("hub-0", other, 2));
    assert_eq!(names(&index, &subject("apps", "Deployment", "hub")).len(), 3, "of this old revision two pods run");
}

#[test]
fn an_owner_that_comes_late_takes_over_what_it_owns() {
    let mut index = Index::new();
    index.apply(pod("hub-1-a", "hub-1", SPEC));
    index.apply(replica_set("hub-1", SPEC, 1));
    assert!(index.subject(&subject("apps", "Deployment", "hub")).is_some(), "the ReplicaSet names its Deployment");
    assert!(index.subject(&subject("apps", "ReplicaSet", "hub-1")).is_none(), "the pod moved");
    let change = index.apply(deployment(SPEC));
    assert!(change.subjects.contains(&subject("apps", "Deployment", "hub")));
    assert_eq!(names(&index, &subject("apps", "Deployment", "hub")), ["hub"]);
}

#[test]
fn owners_in_a_ring_end() {
    let ring = |name: &str, owner: &str| {
        item(&format!(
            "{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: {name}, namespace: dev, ownerReferences: \
             [{{apiVersion: apps/v1, kind: ReplicaSet, name: {owner}, uid: u, controller: true}}]}}, \
             spec: {{template: {{spec: {SPEC}}}}}}}"
        ))
    };
    let mut index = Index::new();
    for item in [ring("a", "b"), ring("b", "a"), ring("c", "c")] {
        index.apply(item);
    }
    assert_eq!(index.len(), 3);
    assert_eq!(index.everything().objects.len(), 3);
}

#[test]
fn a_delete_leaves_no_subject_and_the_last_member_decides() {
    let mut index = Index::new();
    let (deployment, set) = (deployment(SPEC), replica_set("hub-1", SPEC, 1));
    let (key, set_key) = (deployment.key(), set.key());
    index.apply(deployment);
    index.apply(set);
    let change = index.delete(&key);
    let owner = subject("apps", "Deployment", "hub");
    assert!(change.subjects.contains(&owner) && change.objects.contains(&key));
    assert_eq!(names(&index, &owner), ["hub-1"], "what it left behind is judged now");
    assert_eq!(index.delete(&set_key).subjects, [owner.clone()].into());
    assert!(index.subject(&owner).is_none());
    assert!(index.is_empty() && index.delete(&set_key).is_empty());
}

#[test]
fn the_same_object_again_is_no_change() {
    let mut index = Index::new();
    assert!(!index.apply(deployment(SPEC)).is_empty());
    assert!(index.apply(deployment(SPEC)).is_empty());
    assert!(!index.apply(deployment("{containers: [{name: app, image: 'quay.io/a/b:2'}]}")).is_empty());
}

#[test]
fn related_objects_have_their_namespace_judged_again() {
    let mut index = Index::new();
    index.apply(deployment(SPEC));
    let hub = subject("apps", "Deployment", "hub");
    let policy = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: dev}, \
                  spec: {podSelector: {}}}";
    let elsewhere = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: hub, namespace: prod}}";
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: dev}}";
    assert!(index.apply(plain("ServiceAccount", "hub")).subjects.contains(&hub));
    assert!(index.apply(item(policy)).subjects.contains(&hub));
    assert!(index.apply(item(namespace)).subjects.contains(&hub));
    assert!(index.delete(&item(policy).key()).subjects.contains(&hub));
    assert!(!index.apply(item(elsewhere)).subjects.contains(&hub));
    assert!(!index.apply(plain("ConfigMap", "hub")).subjects.contains(&hub));
}

#[test]
fn a_bad_object_is_a_finding_keeps_its_subject_and_goes_with_its_delete() {
    let mut index = Index::new();
    index.apply(deployment(SPEC));
    let hub = subject("apps", "Deployment", "hub");
    let broken =
        bad("{apiVersion: apps/v1, kind: Deployment, metadata: {name: hub, namespace: dev}, spec: {template: 7}}");
    assert!(index.apply(broken.clone()).subjects.contains(&hub));
    assert_eq!(names(&index, &hub), Vec::<String>::new(), "the version before says nothing about this one");
    assert_eq!(verdicts(&index, &hub), [Verdict::Unknown]);
    assert!(index.apply(broken.clone()).is_empty());
    index.apply(deployment(SPEC));
    assert_eq!(verdicts(&index, &hub), [Verdict::Pass]);
    index.apply(broken.clone());
    assert!(index.delete(&broken.key()).subjects.contains(&hub));
    assert!(index.subject(&hub).is_none());
}

#[test]
fn a_list_deletes_what_it_does_not_hold_of_its_kind_only() {
    let mut index = Index::new();
    for item in [deployment(SPEC), plain("ConfigMap", "a"), plain("ConfigMap", "b")] {
        index.apply(item);
    }
    let change = index.reset(kind("ConfigMap"), vec![plain("ConfigMap", "b"), plain("ConfigMap", "c")]);
    assert!(index.subject(&subject("", "ConfigMap", "a")).is_none());
    assert!(index.subject(&subject("apps", "Deployment", "hub")).is_some());
    assert!(change.subjects.contains(&subject("", "ConfigMap", "a")) && change.objects.len() == 2);
    assert!(!change.subjects.contains(&subject("", "ConfigMap", "b")), "it is as it was");
}

#[test]
fn a_hidden_kind_is_a_finding_proves_nothing_and_comes_back() {
    let mut index = Index::new();
    index.apply(deployment(SPEC));
    let accounts = subject("", "ServiceAccount", "*");
    let gone = subject("", "ServiceAccount", "gone");
    let change = index.hide(kind("ServiceAccount"), Cause::Forbidden, "serviceaccounts is forbidden");
    assert!(change.subjects.contains(&accounts));
    assert!(change.subjects.contains(&subject("apps", "Deployment", "hub")), "its rules ask about service accounts");
    assert_eq!(verdicts(&index, &accounts), [Verdict::Unknown]);
    assert_eq!(index.world().service_account("dev", "hub"), Known::Hidden(Cause::Forbidden));
    assert!(!index.is_proven_absent(&gone));
    index.reset(kind("ServiceAccount"), Vec::new());
    assert_eq!(verdicts(&index, &accounts), [Verdict::Pass]);
    assert_eq!(index.world().service_account("dev", "hub"), Known::Absent);
    assert!(index.is_proven_absent(&gone));
}

#[test]
fn synced_is_every_kind_listed_or_hidden_and_unlisted_owners_need_all() {
    let mut index = Index::new();
    let notebook = subject("kubeflow.org", "Notebook", "ada");
    let (last, others) = KINDS.split_last().unwrap();
    others.iter().for_each(|kind| drop(index.listed(kind)));
    assert!(!index.is_synced() && !index.is_complete());
    index.hide(last, Cause::Forbidden, "no");
    assert!(index.is_synced() && !index.is_complete());
    assert!(!index.is_proven_absent(&notebook));
    index.listed(last);
    assert!(index.is_complete() && index.is_proven_absent(&notebook));
    assert!(index.is_proven_absent(&SubjectKey("file\u{1f}old.yaml".to_owned())));
    assert!(!index.is_proven_absent(&SubjectKey("image\u{1f}quay.io/a/b".to_owned())));
    assert!(!index.is_proven_absent(&subject("", "ConfigMap", "*")), "the kind itself is a subject");
}

#[test]
fn while_a_file_cannot_be_read_nothing_is_proven_to_be_gone() {
    let mut index = Index::new();
    KINDS.iter().for_each(|kind| drop(index.listed(kind)));
    let gone = subject("apps", "Deployment", "gone");
    let unread = |index: &mut Index| {
        let problem = Unreadable::of_file("a.yaml", Cause::Unreadable, "a sequence does not end").finding();
        index.file_read("a.yaml", vec![problem], None)
    };
    assert!(index.is_proven_absent(&gone) && index.is_complete());
    unread(&mut index);
    assert!(!index.is_proven_absent(&gone) && !index.is_complete());
    index.file_read("a.yaml", Vec::new(), None);
    assert!(index.is_proven_absent(&gone) && index.is_complete());
    unread(&mut index);
    index.file_gone("a.yaml");
    assert!(index.is_proven_absent(&gone) && index.is_complete());
}

#[test]
fn a_workload_kind_that_is_hidden_hides_all_owners() {
    let mut index = Index::new();
    KINDS.iter().for_each(|kind| drop(index.listed(kind)));
    let Item::Good(pod, _) = pod("hub-1-a", "hub-1", SPEC) else { panic!() };
    assert!(matches!(index.world().owner_template(&pod), Known::Absent));
    index.hide(kind("ReplicaSet"), Cause::Forbidden, "no");
    index.hide(kind("Job"), Cause::Forbidden, "no");
    index.listed(kind("Job"));
    assert!(matches!(index.world().owner_template(&pod), Known::Hidden(Cause::Forbidden)));
    index.listed(kind("ReplicaSet"));
    assert!(matches!(index.world().owner_template(&pod), Known::Absent));
}

#[test]
fn credentials_are_read_when_all_kinds_that_hold_them_are_listed_with_their_values() {
    let mut index = Index::new();
    assert!(!index.are_credentials_read());
    KINDS.iter().for_each(|kind| drop(index.listed(kind)));
    assert!(index.are_credentials_read());
    for holder in ["ConfigMap", "Secret"] {
        index.hide(kind(holder), Cause::Forbidden, "no");
        assert!(!index.are_credentials_read(), "{holder}");
        index.listed(kind(holder));
    }
    assert!(index.are_credentials_read());
    index.listed(kind("Secret").read_as(ClusterRead::Metadata).unwrap());
    assert!(!index.are_credentials_read());
}
