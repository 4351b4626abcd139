//! A finding in json-v1.

use portreeve_reports::{Finding, Fix, Location, Subject};
use serde_json::{Value, json};

/// The finding as json-v1 has it.
pub(super) fn finding_value(finding: &Finding) -> Value {
    json!({
        "source": finding.source.as_str(),
        "code": finding.code.as_str(),
        "check": finding.check.as_ref(),
        "effect": finding.effect.as_str(),
        "severity": finding.severity.as_str(),
        "confidence": finding.confidence.as_str(),
        "verdict": finding.verdict.as_str(),
        "cause": finding.cause.map(portreeve_reports::Cause::as_str),
        "fingerprint": finding.fingerprint.as_str(),
        "subject": subject(&finding.subject),
        "locations": finding.locations.iter().map(location).collect::<Vec<_>>(),
        "message": finding.message,
        "evidence": finding.evidence.iter().map(|seen| json!({"name": seen.name, "value": seen.value})).collect::<Vec<_>>(),
        "fix": fix(&finding.fix),
        "frameworks": finding.frameworks.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        "owner": finding.owner,
        "related": finding.related.iter().map(subject).collect::<Vec<_>>(),
    })
}

fn subject(subject: &Subject) -> Value {
    match subject {
        Subject::Object(object) => json!({
            "type": "object", "apiVersion": object.api_version, "kind": object.kind, "namespace": object.namespace,
            "name": object.name, "container": object.container,
        }),
        Subject::Image { repository, reference, digest } => {
            json!({"type": "image", "name": repository, "reference": reference, "digest": digest})
        }
        Subject::File { path } => json!({"type": "file", "file": path}),
        Subject::Credential { class, holder, key } => {
            json!({"type": "credential", "kind": class, "name": holder, "reference": key})
        }
        Subject::Component { platform, component } => {
            json!({"type": "component", "namespace": platform, "name": component})
        }
    }
}

fn location(location: &Location) -> Value {
    json!({
        "objectPath": location.object_path, "object": location.object, "file": location.file.as_deref(),
        "line": location.line, "column": location.column,
    })
}

fn fix(fix: &Fix) -> Value {
    let patches: Vec<Value> =
        fix.patches.iter().map(|patch| json!({"path": patch.path, "value": patch.value})).collect();
    json!({"patches": patches, "delete": fix.delete, "commands": fix.commands})
}
