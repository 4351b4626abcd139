//! What the tests of this crate share: short ways to subjects, findings and trees.

use std::sync::Arc;

use jiff::Timestamp;

use crate::code::Code;
use crate::finding::{Finding, FindingBuilder, Location};
use crate::severity::Severity;
use crate::source::node::Entry;
use crate::source::{Map, Node, Place, Value};
use crate::subject::{ObjectRef, Owner, Subject};
use crate::verdict::{Cause, Verdict};

pub(crate) fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn object(namespace: &str, kind: &str, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        container: None,
        owner: None,
    }
}

pub(crate) fn hub(container: Option<&str>) -> Subject {
    let container = container.map(str::to_owned);
    Subject::Object(ObjectRef { container, ..object("jhub", "Deployment", "hub") })
}

pub(crate) fn hub_pod(container: Option<&str>) -> Subject {
    let container = container.map(str::to_owned);
    let owner = Owner { group: "apps".into(), kind: "Deployment".into(), name: "hub".into() };
    Subject::Object(ObjectRef { container, owner: Some(owner), ..object("jhub", "Pod", "hub-5d-x1") })
}

pub(crate) fn image() -> Subject {
    Subject::Image {
        repository: "quay.io/nebari/hub".into(),
        reference: "quay.io/nebari/hub:1".into(),
        digest: Some(format!("sha256:{}", "a".repeat(64))),
    }
}

pub(crate) fn file(path: &str) -> Subject {
    Subject::File { path: path.to_owned() }
}

/// One subject of each type.
pub(crate) fn subjects() -> Vec<Subject> {
    vec![
        hub(Some("init-home")),
        image(),
        file("k8s/hub.yaml"),
        Subject::Credential {
            class: "tls-certificate".into(),
            holder: "jhub/Secret/tls".into(),
            key: "tls.crt".into(),
        },
        Subject::Component { platform: "prod".into(), component: "keycloak".into() },
    ]
}

pub(crate) fn draft(code_text: &str, severity: Severity, verdict: Verdict, subject: Subject) -> FindingBuilder {
    let place = Location {
        object_path: "spec.template.spec.containers[0].securityContext.privileged".into(),
        file: Some(Arc::from("k8s/hub.yaml")),
        line: Some(12),
        column: Some(9),
        object: None,
    };
    let draft = FindingBuilder::new(code(code_text), severity, verdict).subject(subject).location(place);
    let draft = draft.message("container init-home is privileged");
    if verdict == Verdict::Unknown { draft.cause(Cause::Forbidden) } else { draft }
}

pub(crate) fn finding(code_text: &str, severity: Severity, verdict: Verdict, subject: Subject) -> Finding {
    draft(code_text, severity, verdict, subject).build().unwrap()
}

/// A tree whose nodes all stand at 7:3.
pub(crate) fn node(json: &serde_json::Value) -> Node {
    let place = Place { line: 7, column: 3 };
    let value = match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => Value::Int(number.as_i64().unwrap()),
        serde_json::Value::String(text) => Value::String(text.as_str().into()),
        serde_json::Value::Array(items) => Value::List(Arc::new(items.iter().map(node).collect())),
        serde_json::Value::Object(fields) => {
            let entry = |(key, value): (&String, &serde_json::Value)| Entry {
                key: key.as_str().into(),
                key_place: place,
                node: node(value),
            };
            Value::Map(Arc::new(Map::new(fields.iter().map(entry).collect()).unwrap()))
        }
    };
    Node { value, place }
}
