//! Our own kinds among manifests that are checked: what the daemon would refuse once it is applied.

use portreeve_api::Document;
use portreeve_api::platform::PLATFORM_INVALID;
use portreeve_policies::object::{Object, Unreadable};
use portreeve_reports::code::{INVALID_EXCEPTION, INVALID_IMAGE_POLICY};
use portreeve_reports::source::{Fields, Problems};
use portreeve_reports::{Cause, Finding, FindingBuilder, Subject, Verdict};
use portreeve_trust::policy::{ImagePolicy, ImagePolicySpec};

use super::RuleKind;
use crate::judge::explain::known_codes;

/// Mistakes that one message tells.
const MAX_TOLD: usize = 20;

/// The finding about an object of our group that has mistakes, by the code that the daemon says the same by.
pub fn mistake(object: &Object) -> Option<Finding> {
    if object.group() != portreeve_api::GROUP {
        return None;
    }
    let problems = problems(object).err()?;
    let first = problems.list().first()?;
    let told = problems.list().iter().take(MAX_TOLD).map(|problem| format!("{}: {}", problem.place, problem.message));
    let more = problems.list().len().saturating_sub(MAX_TOLD);
    let more = (more > 0).then(|| format!("and {more} more"));
    let message = told.chain(more).collect::<Vec<_>>().join("; ");
    let reference = object.reference(None);
    let entry = match RuleKind::of(&object.kind) {
        Some(RuleKind::Exception | RuleKind::ClusterException) => INVALID_EXCEPTION,
        Some(RuleKind::ImagePolicy) => INVALID_IMAGE_POLICY,
        Some(RuleKind::Platform) => PLATFORM_INVALID,
        None => {
            let unreadable = Unreadable {
                file: object.origin.file.clone(),
                place: first.place,
                cause: Cause::Unreadable,
                message,
                index: 0,
                identity: Some(Box::new(reference)),
                object_path: String::new(),
            };
            return Some(unreadable.finding());
        }
    };
    let location = object.location("", first.place);
    FindingBuilder::new(entry.code(), entry.severity, Verdict::Fail)
        .subject(Subject::Object(reference))
        .location(location)
        .message(message)
        .build()
        .inspect_err(|error| tracing::error!(%error, "a finding about a manifest of ours was refused"))
        .ok()
}

fn problems(object: &Object) -> Result<(), Problems> {
    let file = object.origin.file.as_ref();
    match portreeve_api::manifest((file, Some(&object.namespace)), &object.root, known_codes())? {
        Document::Exception(_) | Document::Platform { .. } => Ok(()),
        Document::ImagePolicy { node, .. } => {
            let mut problems = Problems::new(file.map_or("-", |file| &**file));
            let decoded = Fields::of(&node, "spec", &mut problems);
            let spec = decoded.and_then(|fields| fields.finish_with(ImagePolicySpec::decode));
            match spec {
                // Key files lie beside a policy that the configuration names, and are read where it is used.
                Some(spec) if spec.files().is_empty() => {
                    ImagePolicy::build(&spec, &spec.no_files(), problems).map(drop)
                }
                _ => problems.into_result(()),
            }
        }
    }
}
