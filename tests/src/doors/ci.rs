//! The CI door: `portreeve gate` on files.

use std::path::Path;

use serde_json::{Value, json};

use super::findings::{AllSeen, Answers, Seen};
use crate::OrFail;
use crate::binary::Portreeve;
use crate::process::scratch;

/// What the gate says about the manifests: every finding about an object or an image.
pub fn gate(config: &Path, manifests: &[Value], namespace: &str) -> (AllSeen, Answers) {
    let (exit, findings) = gate_by(config, manifests, namespace, &[]);
    assert!(exit.is_some_and(|code| [10, 11].contains(&code)), "{exit:?}");
    let findings: Vec<&Value> = findings.iter().filter(is_compared).collect();
    (findings.iter().copied().filter_map(Seen::of).collect(), Answers::of(findings))
}

/// The exit code of the gate on the manifests, with these arguments besides, and all its findings, passes too.
pub fn gate_by(config: &Path, manifests: &[Value], namespace: &str, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let folder = scratch("manifests");
    write(&folder, manifests);
    let mut command = Portreeve::command();
    command.arg("gate").arg(&folder).arg("--config").arg(config).args(["--namespace", namespace]).args(more);
    let output = Portreeve::finish(command.args(["--format", "json", "--all-verdicts"]));
    let report: Value = serde_json::from_str(&output.stdout).or_fail(&output.stderr);
    (output.code, report["findings"].as_array().or_fail("findings").clone())
}

/// Exceptions are audited by one door only; all else is about objects and images.
fn is_compared(finding: &&Value) -> bool {
    matches!(finding["subject"]["type"].as_str(), Some("object" | "image"))
}

/// A third as one YAML stream without namespaces, a third as a List, the rest as a file each.
fn write(folder: &Path, manifests: &[Value]) {
    let (stream, rest) = manifests.split_at(manifests.len() / 3);
    let (list, single) = rest.split_at(rest.len() / 2);
    let nameless = stream.iter().map(|object| {
        let mut object = object.clone();
        object["metadata"].as_object_mut().or_fail("metadata").remove("namespace");
        object.to_string()
    });
    let save = |name: &str, text: String| std::fs::write(folder.join(name), text).or_fail(name);
    save("stream.yaml", nameless.collect::<Vec<_>>().join("\n---\n"));
    save("list.json", json!({"apiVersion": "v1", "kind": "List", "items": list}).to_string());
    for (number, object) in single.iter().enumerate() {
        save(&format!("object-{number}.yml"), object.to_string());
    }
}
