//! From image uses to findings: resolve the tag, fetch the evidence, verify, merge by repository.
//!
//! An image's identity is its repository, so all uses of one repository that are judged together make one finding a
//! question: the worst verdict counts, and every reference is in the evidence.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::{FutureExt as _, StreamExt as _};
use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_policies::workload::ImageUse;
use portreeve_reports::report::ImageReport;
use portreeve_reports::{Cause, Finding, FindingBuilder, Location, ObjectRef, Subject, Verdict};
use portreeve_trust::evidence::Lookup;
use portreeve_trust::policy::ImagePolicy;
use portreeve_trust::rules;
use portreeve_trust::verify::{ImageJudgement, Needs, judge as judge_evidence, needs};

use super::JudgeOptions;
use crate::registry::{Deadline, RegistryClient};

/// Images that are looked at at the same time.
const CONCURRENCY: usize = 16;
/// Most objects that a finding without an answer names.
const MOST_RELATED: usize = 200;
/// Most places of one image in one namespace.
const MOST_PLACES: usize = 100;

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

/// A panic anywhere on the way is an error about these images, never a pass and never the end of the others.
async fn judge_group(
    policy: &ImagePolicy,
    registry: &RegistryClient,
    group: Group<'_>,
    options: &JudgeOptions,
) -> (Vec<Finding>, ImageReport) {
    let judging = async {
        let (digest, judgement) = judge_one(policy, registry, &group, options).await;
        let image = rule_subject(&group, digest);
        stage(Stage::Findings);
        rules::findings(&image, &judgement).map(|findings| (findings, image_report(&image, &judgement)))
    };
    match AssertUnwindSafe(judging).catch_unwind().await {
        Ok(Ok(judged)) => judged,
        Ok(Err(error)) => broken(&group, &error.to_string()),
        Err(_) => broken(&group, "it panicked while judging this image"),
    }
}

/// Where judging an image can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Resolving,
    Gathering,
    Verifying,
    Findings,
}

/// Passed at each stage; tests break it there.
fn stage(_stage: Stage) {
    #[cfg(test)]
    tests::break_at(_stage);
}

/// A 404 for a manifest. Whoever could have had the image cannot, so it is unknown for a cause that counts in exits;
/// it is not unsigned, of which there would be proof.
const NO_SUCH_IMAGE: (Cause, Cow<'static, str>) =
    (Cause::Unreachable, Cow::Borrowed("the registry has no such image; correct the reference, or push the image"));

/// Whether an image that is named by its digest has no signature because it does not exist at all. A tag was resolved
/// before.
async fn is_missing(
    registry: &RegistryClient,
    (reference, judgement): (&ImageReference, &ImageJudgement),
    options: &JudgeOptions,
) -> bool {
    reference.digest.is_some()
        && judgement.fact() == ImageFact::Unsigned
        && matches!(resolve(registry, reference, options.deadline).await, Lookup::Absent)
}

async fn judge_one(
    policy: &ImagePolicy,
    registry: &RegistryClient,
    group: &Group<'_>,
    options: &JudgeOptions,
) -> (Option<Digest>, ImageJudgement) {
    let needs = needs(policy, &group.reference.repository, group.namespace);
    stage(Stage::Resolving);
    let digest = match &group.reference.digest {
        Some(digest) => Lookup::Found(digest.clone()),
        None => resolve(registry, group.reference, options.deadline).await,
    };
    let (cause, why) = match digest {
        Lookup::Found(digest) => {
            let pinned = group.reference.pinned(digest.clone());
            stage(Stage::Gathering);
            let evidence = match needs {
                Needs::Nothing => None,
                Needs::Signatures => Some(registry.evidence(&pinned, &digest, options.deadline).await),
                Needs::Attestations => {
                    Some(registry.evidence_with_attestations(&pinned, &digest, options.deadline).await)
                }
            };
            stage(Stage::Verifying);
            let judgement = judge_evidence(policy, &pinned, group.namespace, evidence.as_deref(), options.now);
            if !is_missing(registry, (group.reference, &judgement), options).await {
                return (Some(digest), judgement);
            }
            NO_SUCH_IMAGE
        }
        Lookup::Absent => NO_SUCH_IMAGE,
        Lookup::Indeterminate(cause, why) => (cause, why.into()),
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
        locations: places(&group.uses),
        untold: group.uses.len().saturating_sub(MOST_PLACES),
    }
}

/// Where the image is named: a path alone says nothing of an image that several objects use.
fn places(uses: &[&ImageUse]) -> Vec<Location> {
    let place = |image: &&ImageUse| {
        let object = image.object.as_ref().map(|object| ObjectRef { container: None, ..object.clone() }.display());
        Location { object, ..image.location.clone() }
    };
    let mut places: Vec<Location> = uses.iter().take(MOST_PLACES).map(place).collect();
    places.dedup();
    places
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
        ImageFact::Unsigned | ImageFact::Untrusted(_) | ImageFact::Mismatch(_) | ImageFact::Unattested(_) => {
            Verdict::Fail
        }
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
    undecided(&used_as_text(image), (Verdict::Unknown, Some(Cause::Unreadable)), &reason)
}

/// What a gate says of images where no policy says whom to trust: nobody asked, so nothing is known.
pub(super) fn unasked(uses: &[ImageUse]) -> Vec<Finding> {
    let groups = groups(uses);
    let valid = groups.iter().map(Undecided::of);
    let invalid = uses.iter().filter(|image| image.reference.is_err()).map(used_as_text);
    let findings = valid.chain(invalid).map(|image| {
        let message = format!(
            "{} was not verified: no image policy says whom to trust; name one with --image-policy or images.policy",
            image.reference
        );
        undecided(&image, (Verdict::Unknown, Some(Cause::Manual)), &message)
    });
    rules::merge(findings.collect())
}

/// A bug of ours met these images: the questions stay open, and the other images are judged all the same.
fn broken(group: &Group<'_>, reason: &str) -> (Vec<Finding>, ImageReport) {
    let message = format!("portreeve is broken here: {reason}; this is a bug, please report it");
    let image = Undecided::of(group);
    let report = ImageReport {
        reference: image.reference.clone(),
        digest: image.digest.clone(),
        verdict: Verdict::Error,
        evidence: Vec::new(),
    };
    (undecided(&image, (Verdict::Error, None), &message), report)
}

/// An image about which no question is answered.
struct Undecided<'a> {
    repository: String,
    reference: String,
    digest: Option<String>,
    locations: Vec<Location>,
    objects: Vec<&'a ObjectRef>,
}

impl<'a> Undecided<'a> {
    fn of(group: &Group<'a>) -> Self {
        Self {
            repository: group.reference.repository.to_string(),
            reference: shown(group.reference),
            digest: group.reference.digest.as_ref().map(ToString::to_string),
            locations: places(&group.uses),
            objects: group.uses.iter().filter_map(|image| image.object.as_ref()).take(MOST_RELATED).collect(),
        }
    }
}

fn used_as_text(image: &ImageUse) -> Undecided<'_> {
    let locations = places(&[image]);
    let (repository, reference) = (image.text.clone(), image.text.clone());
    Undecided { repository, reference, digest: None, locations, objects: image.object.iter().collect() }
}

fn undecided(image: &Undecided<'_>, (verdict, cause): (Verdict, Option<Cause>), message: &str) -> Vec<Finding> {
    let built = rules::ALWAYS_ASKED.iter().map(|entry| {
        let subject = Subject::Image {
            repository: image.repository.clone(),
            reference: image.reference.clone(),
            digest: image.digest.clone(),
        };
        let draft = FindingBuilder::new(entry.code(), entry.severity, verdict).subject(subject).message(message);
        let draft = image.locations.iter().cloned().fold(draft, FindingBuilder::location);
        let draft = cause.into_iter().fold(draft, FindingBuilder::cause);
        let objects = image.objects.iter().map(|object| Subject::Object((*object).clone()));
        objects.fold(draft, FindingBuilder::related).build()
    });
    // Subject and place are set, and `unknown` alone has a cause: none is refused.
    built.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests;
