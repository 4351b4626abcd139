//! From image uses to findings: resolve the tag, fetch the evidence, verify, merge by repository.
//!
//! An image's identity is its repository, so all uses of one repository that are judged together make one finding a
//! question: the worst verdict counts, and every reference is in the evidence.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _};
use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_policies::workload::ImageUse;
use portreeve_reports::report::ImageReport;
use portreeve_reports::{Cause, Finding, FindingBuilder, Subject, Verdict};
use portreeve_trust::evidence::Lookup;
use portreeve_trust::policy::ImagePolicy;
use portreeve_trust::rules;
use portreeve_trust::verify::{ImageJudgement, judge as judge_evidence, needs_evidence};

use super::JudgeOptions;
use crate::registry::{Deadline, RegistryClient};

/// Images that are looked at at the same time.
const CONCURRENCY: usize = 16;

/// The same image used in the same namespace: one judgement.
struct Group<'a> {
    reference: &'a ImageReference,
    namespace: Option<&'a str>,
    uses: Vec<&'a ImageUse>,
}

/// Judges all uses.
pub(super) async fn judge(
    policy: &ImagePolicy,
    registry: &RegistryClient,
    uses: &[ImageUse],
    options: &JudgeOptions,
) -> (Vec<Finding>, Vec<ImageReport>) {
    // Boxed one by one: the compiler cannot see through a stream of closures that borrow.
    let judging: Vec<_> =
        groups(uses).into_iter().map(|group| judge_group(policy, registry, group, options).boxed()).collect();
    let judged: Vec<_> = futures::stream::iter(judging).buffered(CONCURRENCY).collect().await;
    let invalid = uses.iter().filter(|image| image.reference.is_err()).map(invalid_reference);
    let (findings, images): (Vec<_>, Vec<_>) = judged.into_iter().unzip();
    (rules::merge(findings.into_iter().chain(invalid).collect()), images)
}

/// The digest that a reference stands for now. A digest in the reference is asked for too where a registry must be
/// asked at all; see [`judge()`].
pub async fn resolve(registry: &RegistryClient, reference: &ImageReference, deadline: Deadline) -> Lookup<Digest> {
    match registry.resolve(reference, deadline).await {
        Lookup::Found(manifest) => Lookup::Found(manifest.digest),
        Lookup::Absent => Lookup::Absent,
        Lookup::Indeterminate(cause, why) => Lookup::Indeterminate(cause, why),
    }
}

fn groups(uses: &[ImageUse]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(&ImageReference, Option<&str>), Vec<&ImageUse>> = BTreeMap::new();
    for image in uses {
        let Ok(reference) = &image.reference else { continue };
        let namespace = Some(image.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        groups.entry((reference, namespace)).or_default().push(image);
    }
    // Which use is shown first must not depend on the order in which a door reads its objects.
    groups.values_mut().for_each(|uses| uses.sort_by_key(|image| (&image.object, &image.location)));
    groups.into_iter().map(|((reference, namespace), uses)| Group { reference, namespace, uses }).collect()
}

async fn judge_group(
    policy: &ImagePolicy,
    registry: &RegistryClient,
    group: Group<'_>,
    options: &JudgeOptions,
) -> (Vec<Finding>, ImageReport) {
    let (digest, judgement) = judge_one(policy, registry, &group, options).await;
    let image = rule_subject(&group, digest);
    (findings(&image, &judgement), image_report(&image, &judgement))
}

async fn judge_one(
    policy: &ImagePolicy,
    registry: &RegistryClient,
    group: &Group<'_>,
    options: &JudgeOptions,
) -> (Option<Digest>, ImageJudgement) {
    let needs_evidence = needs_evidence(policy, &group.reference.repository, group.namespace);
    let digest = match &group.reference.digest {
        Some(digest) => Lookup::Found(digest.clone()),
        None => resolve(registry, group.reference, options.deadline).await,
    };
    let (cause, why) = match digest {
        Lookup::Found(digest) => {
            let pinned = group.reference.pinned(digest.clone());
            let evidence = match needs_evidence {
                true => Some(registry.evidence(&pinned, &digest, options.deadline).await),
                false => None,
            };
            let judgement = judge_evidence(policy, &pinned, group.namespace, evidence.as_deref(), options.now);
            return (Some(digest), judgement);
        }
        Lookup::Absent => (Cause::Unreachable, "the registry has no such image".to_owned()),
        Lookup::Indeterminate(cause, why) => (cause, why),
    };
    // The policy still says what a failure would do, and whether anything is asked of this repository at all.
    let judgement = judge_evidence(policy, group.reference, group.namespace, None, options.now);
    (None, judgement.unknown_because(cause, why))
}

fn rule_subject(group: &Group<'_>, digest: Option<Digest>) -> rules::ImageUse {
    rules::ImageUse {
        reference: shown(group.reference),
        repository: group.reference.repository.clone(),
        digest,
        objects: group.uses.iter().filter_map(|image| image.object.clone()).collect(),
        location: group.uses.first().map(|image| image.location.clone()).unwrap_or_default(),
    }
}

fn findings(image: &rules::ImageUse, judgement: &ImageJudgement) -> Vec<Finding> {
    rules::findings(image, judgement).unwrap_or_else(|error| vec![broken(image, &error.to_string())])
}

/// The reference as it was meant, without the digest: pinning a tag does not make it another image.
fn shown(reference: &ImageReference) -> String {
    match (&reference.tag, &reference.digest) {
        (None, Some(_)) => reference.to_string(),
        _ => format!("{}:{}", reference.repository, reference.tag_or_latest()),
    }
}

fn image_report(image: &rules::ImageUse, judgement: &ImageJudgement) -> ImageReport {
    let verdict = match judgement.fact() {
        ImageFact::Verified { .. } => Verdict::Pass,
        ImageFact::NotAsked(_) => Verdict::NotApplicable,
        ImageFact::Unsigned | ImageFact::Untrusted(_) | ImageFact::Mismatch(_) => Verdict::Fail,
        ImageFact::Unknown(..) => Verdict::Unknown,
    };
    ImageReport {
        reference: image.reference.clone(),
        digest: image.digest.as_ref().map(ToString::to_string),
        verdict,
        evidence: rules::evidence(image, judgement),
    }
}

/// A text that no runtime can pull.
fn invalid_reference(image: &ImageUse) -> Vec<Finding> {
    let reason = image.reference.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let built = rules::CODES.iter().map(|entry| {
        let mut builder = FindingBuilder::new(entry.code(), entry.severity, Verdict::Unknown)
            .cause(Cause::Unreadable)
            .subject(Subject::Image { repository: image.text.clone(), reference: image.text.clone(), digest: None })
            .location(image.location.clone())
            .message(reason.clone());
        if let Some(object) = &image.object {
            builder = builder.related(Subject::Object(object.clone()));
        }
        builder.build()
    });
    built.filter_map(Result::ok).collect()
}

/// A judgement that makes no finding is a bug, and says so instead of saying nothing.
fn broken(image: &rules::ImageUse, reason: &str) -> Finding {
    let entry = &rules::SIGNED;
    let location = portreeve_reports::Location { object_path: "image".to_owned(), ..image.location.clone() };
    let draft = FindingBuilder::new(entry.code(), entry.severity, Verdict::Error)
        .subject(Subject::File { path: image.reference.clone() })
        .location(location)
        .message(format!("portreeve is broken here: {reason}"));
    match draft.build() {
        Ok(finding) => finding,
        Err(error) => unreachable!("a finding with a subject and a place is built: {error}"),
    }
}
