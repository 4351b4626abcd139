//! The admission door: reviews over HTTPS, as the API server would send them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::findings::{AllSeen, Answer, Answers, Seen};
use crate::{OrFail, fail};

/// What is done to the object of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Create,
    /// It gets ephemeral containers.
    Debug,
}

/// An AdmissionReview of an object.
pub fn review(object: &Value, change: Change) -> Value {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let name = &object["metadata"]["name"];
    let mut request = json!({
        "uid": format!("uid-{}", name.as_str().unwrap_or_default()),
        "kind": {"group": group, "version": version, "kind": object["kind"]},
        "operation": "CREATE", "namespace": object["metadata"]["namespace"], "name": name,
        "userInfo": {"username": "somebody", "groups": ["system:authenticated"]},
        "dryRun": true, "object": object, "oldObject": null,
    });
    if change == Change::Debug {
        let mut before = object.clone();
        before["spec"].as_object_mut().or_fail("a pod has a spec").remove("ephemeralContainers");
        request["operation"] = "UPDATE".into();
        request["subResource"] = "ephemeralcontainers".into();
        request["oldObject"] = before;
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}

/// How an object that is there came to be what it is.
pub fn last_change(object: &Value) -> Change {
    if object["spec"]["ephemeralContainers"].is_array() { Change::Debug } else { Change::Create }
}

/// The object as `/mutate` makes it, and how many images it pinned.
pub async fn mutated(daemon: &Daemon, object: &Value, change: Change) -> (Value, usize) {
    let response = daemon.review("/mutate", &review(object, change)).await;
    assert_eq!(response["allowed"], true, "{response}");
    let Some(patch) = response["patch"].as_str() else { return (object.clone(), 0) };
    let patch = STANDARD.decode(patch).or_fail("a patch is base64");
    let patch: Vec<Value> = serde_json::from_slice(&patch).or_fail("a patch is JSON");
    let mut object = object.clone();
    for operation in &patch {
        assert_eq!(operation["op"], "replace", "{operation}");
        let path = operation["path"].as_str().unwrap_or_default();
        *object.pointer_mut(path).or_fail(path) = operation["value"].clone();
    }
    (object, patch.len())
}

/// What `/validate` finds in the objects.
pub async fn validate(daemon: &Daemon, objects: &[Value]) -> (AllSeen, Answers) {
    let (mut all, mut answers) = (AllSeen::new(), Answers::default());
    for object in objects {
        let response = daemon.review("/validate", &review(object, last_change(object))).await;
        let told = told(&response);
        let name = format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]));
        for seen in &told {
            answers.add(&seen.code, &name, Answer::parse(&seen.verdict).or_fail("a verdict"));
        }
        let passed = text(&response["auditAnnotations"]["passed"]);
        passed.split_whitespace().for_each(|code| answers.add(code, &name, Answer::Pass));
        all.extend(told);
    }
    (all, answers)
}

/// What a response tells the audit log.
pub fn told(response: &Value) -> AllSeen {
    let findings = response["auditAnnotations"]["findings"].as_str();
    let findings = findings.or_fail(&format!("the audit annotation of {response}"));
    let entry = |entry: &str| Seen::of_entry(entry).unwrap_or_else(|| fail(format!("not all is told: {entry}")));
    findings.split(' ').filter(|entry| !entry.is_empty()).map(entry).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
