//! Each example of each control, in every kind of workload.

use std::sync::Arc;

use portreeve_reports::source::node::{Entry, Map};
use portreeve_reports::source::{Node, Place, Value};
use portreeve_reports::{Code, Finding, Verdict};

use super::*;
use crate::control::{Example, ExampleInput};

/// API version, kind and path of the pod template, of every kind that has one.
const WORKLOADS: [(&str, &str, &[&str]); 8] = [
    ("v1", "Pod", &[]),
    ("v1", "ReplicationController", &["spec", "template"]),
    ("apps/v1", "Deployment", &["spec", "template"]),
    ("apps/v1", "StatefulSet", &["spec", "template"]),
    ("apps/v1", "DaemonSet", &["spec", "template"]),
    ("apps/v1", "ReplicaSet", &["spec", "template"]),
    ("batch/v1", "Job", &["spec", "template"]),
    ("batch/v1", "CronJob", &["spec", "jobTemplate", "spec", "template"]),
];

fn map(entries: Vec<(&str, Node)>) -> Node {
    let entry = |(key, node): (&str, Node)| Entry { key: key.into(), key_place: Place::default(), node };
    let map = Map::new(entries.into_iter().map(entry).collect()).unwrap();
    Node { value: Value::Map(Arc::new(map)), place: Place::default() }
}

fn wrapped((api_version, kind, path): (&str, &str, &[&str]), metadata: Option<&Node>, spec: &Node) -> Object {
    let labels = metadata.cloned().unwrap_or_else(|| map(vec![]));
    let own = map(vec![("name", Node::string("web")), ("namespace", Node::string("app"))]);
    let head = |metadata: Node| {
        vec![("apiVersion", Node::string(api_version)), ("kind", Node::string(kind)), ("metadata", metadata)]
    };
    let root = match path.split_first() {
        None => {
            let entries = labels.as_map().unwrap().iter().map(|entry| (&*entry.key, entry.node.clone()));
            let mut metadata: Vec<(&str, Node)> = entries.collect();
            metadata.extend([("name", Node::string("web")), ("namespace", Node::string("app"))]);
            let mut root = head(map(metadata));
            root.push(("spec", spec.clone()));
            map(root)
        }
        Some((first, rest)) => {
            let template = map(vec![("metadata", labels.clone()), ("spec", spec.clone())]);
            let nested = rest.iter().rev().fold(template, |inner, key| map(vec![(key, inner)]));
            let mut root = head(own);
            root.push((first, nested));
            map(root)
        }
    };
    Object::from_node(root, Origin::default(), "app").unwrap()
}

fn world(example: &Example) -> World {
    let with = example.with.iter().map(|node| Object::from_node(node.clone(), Origin::default(), "app").unwrap());
    World::of_files(&with.collect::<Vec<_>>(), false)
}

fn objects(example: &Example) -> Vec<Object> {
    match &example.input {
        ExampleInput::Object(node) => vec![Object::from_node(node.clone(), Origin::default(), "app").unwrap()],
        ExampleInput::Pod { metadata, spec } => {
            WORKLOADS.iter().map(|workload| wrapped(*workload, metadata.as_ref(), spec)).collect()
        }
    }
}

fn answers(control: &Control, example: &Example) -> Vec<(Object, Vec<Finding>)> {
    let params = example.params.as_ref().map_or_else(Params::default, |node| Params::of("example", node));
    let engine = Engine::new(vec![control.clone()], &params).unwrap();
    let world = world(example);
    objects(example).into_iter().map(|object| (object.clone(), engine.judge(&object, &world))).collect()
}

/// The pods of Jobs are not asked for probes.
fn exempt(code: &Code, kind: &str) -> bool {
    matches!(code.as_str(), "C-0018" | "C-0056") && matches!(kind, "Job" | "CronJob")
}

#[test]
fn every_passing_example_passes_in_every_kind_of_workload() {
    for control in builtin_controls().unwrap() {
        for example in &control.examples.pass {
            for (object, findings) in answers(&control, example) {
                let at = format!("{}:{} as {}", control.file, example.place, object.kind);
                let decided = |verdict| matches!(verdict, Verdict::Pass | Verdict::NotApplicable);
                assert!(findings.iter().all(|finding| decided(finding.verdict)), "{at}: {findings:#?}");
            }
        }
        let passes = control.examples.pass.iter().flat_map(|example| answers(&control, example));
        let passed = passes.flat_map(|(_, findings)| findings).any(|finding| finding.verdict == Verdict::Pass);
        assert!(passed, "{} has an example that passes", control.code);
    }
}

#[test]
fn every_failing_example_fails_in_every_kind_of_workload() {
    for control in builtin_controls().unwrap() {
        for example in &control.examples.fail {
            for (object, findings) in answers(&control, example) {
                let at = format!("{}:{} as {}", control.file, example.place, object.kind);
                let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
                assert_eq!(failed, !exempt(&control.code, &object.kind), "{at}: {findings:#?}");
            }
        }
    }
}

#[test]
fn every_check_fails_in_some_example() {
    for control in builtin_controls().unwrap() {
        for check in &control.checks {
            let all = control.examples.fail.iter().flat_map(|example| answers(&control, example));
            let failing = all.flat_map(|(_, findings)| findings).filter(|finding| finding.verdict == Verdict::Fail);
            assert!(failing.into_iter().any(|finding| finding.check == check.id), "{} {}", control.code, check.id);
        }
    }
}

#[test]
fn every_container_control_has_a_failing_init_container() {
    for control in builtin_controls().unwrap() {
        let of_containers = |each: &crate::control::Each| {
            matches!(each, crate::control::Each::Containers | crate::control::Each::InContainers(_))
        };
        if !control.checks.iter().any(|check| of_containers(&check.each)) {
            continue;
        }
        let in_init = |location: &portreeve_reports::Location| location.object_path.contains("initContainers");
        let all = control.examples.fail.iter().flat_map(|example| answers(&control, example));
        let found = all.flat_map(|(_, findings)| findings).any(|finding| finding.locations.iter().any(in_init));
        assert!(found, "{}", control.code);
    }
}

#[test]
fn the_codes_of_the_embedded_controls_are_a_closed_list() {
    let list: Vec<String> = builtin_controls()
        .unwrap()
        .iter()
        .flat_map(|control| {
            control.checks.iter().map(|check| format!("{} {} {}", control.code, control.severity, check.id))
        })
        .collect();
    insta::assert_snapshot!(list.join("\n"));
}

#[test]
fn a_control_file_is_named_after_its_code() {
    for control in builtin_controls().unwrap() {
        assert_eq!(&*control.file, format!("controls/{}.yaml", control.code));
    }
}

#[test]
fn the_documentation_has_a_page_for_each_control_and_says_why() {
    let controls = builtin_controls().unwrap();
    let pages = crate::control::control_docs(&controls, &crate::framework::builtin_frameworks().unwrap());
    assert_eq!(pages.len(), controls.len() + 1);
    for control in &controls {
        let (_, page) = pages.iter().find(|(name, _)| *name == format!("{}.md", control.code)).unwrap();
        assert!(page.contains(&*control.why) && page.contains(&*control.fix));
    }
}
