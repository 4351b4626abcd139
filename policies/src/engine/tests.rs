//! The engine and the embedded controls.

mod examples;
mod hostile;
mod verdicts;

use portreeve_reports::source::{Limits, Node, yaml};
use portreeve_reports::{Finding, Verdict};

use super::Engine;
use crate::control::{Control, Params, builtin_controls, read_control};
use crate::object::{Object, Origin};
use crate::world::World;

fn node(text: &str) -> Node {
    yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap()
}

fn object(text: &str) -> Object {
    let origin = Origin { file: Some("web.yaml".into()), ..Origin::default() };
    Object::from_node(node(text), origin, "app").unwrap()
}

fn builtin() -> Engine {
    Engine::new(builtin_controls().unwrap(), &Params::default()).unwrap()
}

/// A control that asks one question of every container.
fn asking(pass: &str) -> Control {
    let text = format!(
        "id: PR-7999\ntitle: test\nseverity: low\nscore: 1\nwhy: test\nfix: test\nfor: pod\n\
         checks:\n  - each: containers\n    pass: |\n      {pass}\n    message: 'container {{container}}'\n"
    );
    read_control("test.yaml", text.as_bytes()).unwrap()
}

fn judged(control: Control, object: &Object) -> Vec<Finding> {
    Engine::new(vec![control], &Params::default()).unwrap().judge(object, &World::default())
}

fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
    findings.iter().map(|finding| finding.verdict).collect()
}

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: nginx}]}}";
