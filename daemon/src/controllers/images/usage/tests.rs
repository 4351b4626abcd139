use std::sync::Arc;

use portreeve_policies::object::{ReadOptions, read_objects};
use portreeve_policies::world::World;

use super::*;
use crate::controllers::record::is_image;

fn state(yaml: &str, is_covered: bool) -> ObjectState {
    let object = read_objects(None, yaml.as_bytes(), &ReadOptions::default()).objects.remove(0);
    let reference = object.reference(World::default().top_owner(&object));
    ObjectState { object: Arc::new(object), reference, is_covered }
}

fn pod(name: &str, image: &str, running: Option<&str>) -> ObjectState {
    let status = running.map_or(String::new(), |id| {
        format!(", status: {{containerStatuses: [{{name: app, image: x, imageID: '{id}'}}]}}")
    });
    let yaml = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: dev}}, \
         spec: {{containers: [{{name: app, image: '{image}'}}]}}{status}}}"
    );
    state(&yaml, false)
}

fn key(state: &ObjectState) -> ObjectKey {
    ObjectKey::of(&state.object)
}

fn references(uses: &[ImageUse]) -> Vec<String> {
    uses.iter().map(|image| image.reference.as_ref().map_or_else(|_| image.text.clone(), ToString::to_string)).collect()
}

fn names(names: &[&str]) -> BTreeSet<RepositoryName> {
    names.iter().map(|name| RepositoryName((*name).to_owned())).collect()
}

#[test]
fn what_runs_is_judged_beside_what_is_declared() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let pod = pod("web", "quay.io/a/b:1", Some(&format!("quay.io/a/b@{digest}")));
    let running = format!("quay.io/a/b:1@{digest}");
    assert_eq!(references(&uses_of(&pod)), [running.as_str(), "quay.io/a/b:1"]);
    let covered = ObjectState { is_covered: true, ..pod };
    assert_eq!(references(&uses_of(&covered)), [running], "its owner declares the rest");
}

#[test]
fn what_runs_as_declared_is_judged_once() {
    let pinned = format!("quay.io/a/b:1@sha256:{}", "a".repeat(64));
    let pod = pod("web", &pinned, Some(&format!("quay.io/a/b@sha256:{}", "a".repeat(64))));
    assert_eq!(references(&uses_of(&pod)), [pinned]);
}

#[test]
fn repositories_change_with_their_uses_and_go_with_the_last() {
    let mut usage = Usage::default();
    let (web, job) = (pod("web", "quay.io/a/b:1", None), pod("job", "quay.io/a/b:2", None));
    assert_eq!(usage.set(key(&web), uses_of(&web)), names(&["quay.io/a/b"]));
    assert_eq!(usage.set(key(&web), uses_of(&web)), names(&[]), "nothing is other than before");
    assert_eq!(usage.set(key(&job), uses_of(&job)), names(&["quay.io/a/b"]));
    let repository = RepositoryName("quay.io/a/b".to_owned());
    assert_eq!(references(&usage.uses(&repository)), ["quay.io/a/b:2", "quay.io/a/b:1"]);
    let moved = pod("web", "quay.io/c/d:1", None);
    assert_eq!(usage.set(key(&web), uses_of(&moved)), names(&["quay.io/a/b", "quay.io/c/d"]));
    assert!(usage.is_used(&repository.subject()));
    assert_eq!(usage.set(key(&job), Vec::new()), names(&["quay.io/a/b"]));
    assert!(usage.uses(&repository).is_empty() && !usage.is_used(&repository.subject()));
    assert_eq!(usage.repositories().cloned().collect::<BTreeSet<_>>(), names(&["quay.io/c/d"]));
}

#[test]
fn what_is_no_reference_is_a_subject_as_written() {
    let mut usage = Usage::default();
    let web = pod("web", "NOT an image", None);
    assert_eq!(usage.set(key(&web), uses_of(&web)), names(&["NOT an image"]));
    assert!(is_image(&RepositoryName("NOT an image".to_owned()).subject()));
    assert!(!is_image(&SubjectKey("object\u{1f}".to_owned())));
}
