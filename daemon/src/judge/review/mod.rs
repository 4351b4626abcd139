//! The decision of the admission door: an AdmissionReview in, a response of the same version and uid out.
//!
//! `/validate` denies what is not vouched for, and Pods that would run what is vouched for by its tag; `/mutate` pins the images of Pods (`name:tag@digest`) and decides
//! nothing. The effective mode of a finding is the weakest of its rule, its namespace and, for posture, whether one
//! of the frameworks in `posture.enforce` asks it. What could not be told counts like a failure.

mod pinned;
pub mod request;
pub mod response;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use portreeve_policies::image::{Digest, ImageReference};
use portreeve_policies::object::{Object, Origin, Unreadable};
use portreeve_policies::workload::image_uses;
use portreeve_policies::world::World;
use portreeve_reports::source::node::Entry;
use portreeve_reports::source::{Map, Node, Value as SourceValue};
use portreeve_reports::{Cause, Code, Effect, Finding, FindingBuilder, Location, ObjectRef, Subject, Verdict};
use portreeve_trust::evidence::Lookup;
use portreeve_trust::rules::ALLOWED;
use serde_json::{Value, json};

use self::pinned::{is_as_before, unpinned};
use self::request::{MAX_REVIEW_IMAGES, Operation, ReviewError, ReviewRequest};
use super::{Judge, JudgeOptions, images};
use crate::config::valid::AdmissionScope;

/// Which webhook path asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewPath {
    /// `/mutate`
    Mutate,
    /// `/validate`
    Validate,
    /// Both, as an API server that has both asks them: the object is validated as it was mutated.
    MutateThenValidate,
}

/// Why a decision is what it is: a closed set, used as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecisionReason {
    /// Judged, nothing blocks.
    Allowed,
    /// Judged, something blocks.
    Denied,
    /// An exempt namespace.
    Exempt,
    /// A member of the break-glass group.
    BreakGlass,
    /// Nothing to judge: a deletion, or a subresource without a pod template.
    NotJudged,
}

impl DecisionReason {
    /// The word used in metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allow",
            Self::Denied => "deny",
            Self::Exempt => "exempt",
            Self::BreakGlass => "break-glass",
            Self::NotJudged => "not-judged",
        }
    }
}

/// The decision about one request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Whether the API server may go on.
    pub allowed: bool,
    /// Why.
    pub reason: DecisionReason,
    /// What the user is told when denied.
    pub message: Option<String>,
    /// What the user is told all the same.
    pub warnings: Vec<String>,
    /// Codes that denied or warned.
    pub codes: Vec<Code>,
    /// Object paths of the images that are verified and would run by their tag; they deny.
    pub unpinned: Vec<String>,
}

/// An image of a Pod that is pinned to the digest its tag has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// JSON pointer (RFC 6901) of the image field.
    pub pointer: String,
    /// `name:tag@digest`.
    pub image: String,
}

impl Pin {
    /// The object with the image pinned.
    fn applied_to(&self, object: &Node) -> Node {
        let steps: Vec<&str> = self.pointer.split('/').skip(1).collect();
        replaced(object, &steps, &self.image)
    }

    /// The JSON Patch operation (RFC 6902).
    pub fn operation(&self) -> Value {
        json!({"op": "replace", "path": self.pointer, "value": self.image})
    }
}

/// An answered review.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// The request.
    pub request: ReviewRequest,
    /// The decision.
    pub decision: Decision,
    /// The response document.
    pub response: Value,
    /// What the decision was made of.
    pub findings: Vec<Finding>,
}

impl Reviewed {
    /// The use of break-glass as a finding about the object that was changed with it.
    pub fn break_glass_finding(&self) -> Option<Finding> {
        let entry = &portreeve_reports::code::BREAK_GLASS;
        let request = &self.request;
        let object = request.object.as_ref().or(request.old_object.as_ref());
        let api_version = object.and_then(|object| object.get("apiVersion")?.as_str());
        let subject = ObjectRef {
            api_version: api_version.unwrap_or_default().to_owned(),
            kind: request.kind.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            ..ObjectRef::default()
        };
        // The subject is the use, not the object: judging the object again must not resolve it.
        FindingBuilder::new(entry.code(), entry.severity, Verdict::Fail)
            .effect(Effect::Warn)
            .subject(Subject::Credential {
                class: "break-glass".to_owned(),
                holder: request.user.clone(),
                key: subject.display(),
            })
            .related(Subject::Object(subject))
            .item(request.uid.as_str())
            .location(Location { object_path: "metadata".to_owned(), ..Location::default() })
            .message(format!("{} used break-glass: {} without a verdict", request.user, request.operation.as_str()))
            .build()
            .ok()
    }
}

/// Answers a review.
pub async fn review(
    judge: &Judge,
    world: &World,
    scope: &AdmissionScope,
    input: (&[u8], ReviewPath),
    options: &JudgeOptions,
) -> Result<Reviewed, ReviewError> {
    let (bytes, path) = input;
    decided(judge, world, scope, (ReviewRequest::parse(bytes)?, path), options).await
}

/// Answers a review that was read.
pub async fn decided(
    judge: &Judge,
    world: &World,
    scope: &AdmissionScope,
    input: (ReviewRequest, ReviewPath),
    options: &JudgeOptions,
) -> Result<Reviewed, ReviewError> {
    let (mut request, path) = input;
    let unjudged = passes_unjudged(&request, scope);
    if unjudged.is_none() {
        has_few_images(&request)?;
    }
    let pins = match (&unjudged, path) {
        (Some(_), _) | (None, ReviewPath::Validate) => Vec::new(),
        (None, ReviewPath::Mutate | ReviewPath::MutateThenValidate) => pins(judge, &request, options).await,
    };
    if path == ReviewPath::MutateThenValidate {
        request.object = request.object.map(|object| pins.iter().fold(object, |object, pin| pin.applied_to(&object)));
    }
    let (decision, findings) = match (unjudged, path) {
        (Some(decision), _) => (decision, Vec::new()),
        (None, ReviewPath::Mutate) => (allowed(DecisionReason::Allowed), Vec::new()),
        (None, ReviewPath::Validate | ReviewPath::MutateThenValidate) => {
            let findings = judged(judge, world, &request, options).await?;
            (decide(judge, scope, &request, &findings), findings)
        }
    };
    let response = response::render(&request, &decision, &pins, &findings);
    Ok(Reviewed { request, decision, response, findings })
}

fn has_few_images(request: &ReviewRequest) -> Result<(), ReviewError> {
    let Ok(object) = object_of(request, None) else { return Ok(()) };
    match image_uses(&object, &object.reference(None)).len() {
        ..=MAX_REVIEW_IMAGES => Ok(()),
        count => {
            Err(ReviewError::new(format!("the object has {count} images; at most {MAX_REVIEW_IMAGES} are judged")))
        }
    }
}

fn allowed(reason: DecisionReason) -> Decision {
    Decision { allowed: true, reason, message: None, warnings: Vec::new(), codes: Vec::new(), unpinned: Vec::new() }
}

/// Requests that are answered without judging.
fn passes_unjudged(request: &ReviewRequest, scope: &AdmissionScope) -> Option<Decision> {
    if request.groups.contains(&scope.break_glass_group) {
        return Some(allowed(DecisionReason::BreakGlass));
    }
    if !request.namespace.is_empty() && scope.is_exempt(&request.namespace) {
        return Some(allowed(DecisionReason::Exempt));
    }
    let whole = matches!(request.sub_resource.as_str(), "" | "ephemeralcontainers") || request.is_token_request();
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    (!whole || !writes).then(|| allowed(DecisionReason::NotJudged))
}

/// The object of a review that was read from a file; `None` for a deletion.
pub fn object_of_document(file: &str, document: &Node) -> Result<Option<Object>, Box<Unreadable>> {
    let request = ReviewRequest::from_node(document).map_err(|error| {
        let why = format!("an AdmissionReview that cannot be read: {error}");
        Box::new(Unreadable::of_file(file, Cause::Unreadable, why))
    })?;
    if request.operation == Operation::Delete {
        return Ok(None);
    }
    object_of(&request, Some(file)).map(Some)
}

fn object_of(request: &ReviewRequest, file: Option<&str>) -> Result<Object, Box<Unreadable>> {
    let root = request.object.clone().unwrap_or_else(Node::null);
    let origin = file.map_or_else(Origin::default, |file| Origin { file: Some(file.into()), place: root.place });
    Object::from_node(root, origin, &request.namespace).map_err(Box::new)
}

async fn judged(
    judge: &Judge,
    world: &World,
    request: &ReviewRequest,
    options: &JudgeOptions,
) -> Result<Vec<Finding>, ReviewError> {
    if request.is_token_request() {
        let spec = request.object.clone().unwrap_or_else(Node::null);
        return Ok(judge.token_request(&request.service_account(), &spec, options).findings);
    }
    match object_of(request, None) {
        Ok(object) => Ok(judge.objects(&[object], world, options).await.findings),
        Err(unreadable) => Ok(vec![unreadable.finding()]),
    }
}

/// Denies when a finding blocks; says what warns. A change that leaves everything judged as it was is not denied for
/// what was there before: finalizers and owner references must stay removable.
fn decide(judge: &Judge, scope: &AdmissionScope, request: &ReviewRequest, findings: &[Finding]) -> Decision {
    let mode = scope.mode_of(&request.namespace);
    let mut said: BTreeMap<Effect, Vec<&Finding>> = BTreeMap::new();
    // Only the first are told: the worst come first, and images before posture.
    let mut counted: Vec<&Finding> = findings.iter().filter(|finding| counts(finding)).collect();
    counted.sort_by_key(|finding| (Reverse(finding.severity), !is_about_image(finding)));
    for finding in counted {
        let rule = if judge.denies(&finding.code) || is_unreadable(finding) { finding.effect } else { Effect::Warn };
        said.entry(mode.min(rule)).or_default().push(finding);
    }
    let mut warning = said.remove(&Effect::Warn).unwrap_or_default();
    let mut blocking = said.remove(&Effect::Block).unwrap_or_default();
    if is_unchanged(request) {
        warning.append(&mut blocking);
    }
    let unpinned = if mode == Effect::Block { unpinned(request, findings) } else { Vec::new() };
    let mut codes: Vec<Code> = blocking.iter().chain(&warning).map(|finding| finding.code.clone()).collect();
    codes.extend(unpinned.iter().map(|_| ALLOWED.code()));
    codes.dedup();
    let allowed = blocking.is_empty() && unpinned.is_empty();
    let sentences = unpinned.iter().map(|image| {
        let image = &image.text;
        format!(
            "{} {image} is verified, and would run by its tag, which may move: write its digest after an @, or have \
             /mutate do so",
            ALLOWED.code
        )
    });
    Decision {
        allowed,
        reason: if allowed { DecisionReason::Allowed } else { DecisionReason::Denied },
        message: (!allowed)
            .then(|| denial(blocking.iter().map(|finding| sentence(finding)).chain(sentences).collect())),
        warnings: warning.iter().map(|finding| format!("portreeve: {}", sentence(finding))).collect(),
        codes,
        unpinned: unpinned.iter().map(|image| image.location.object_path.clone()).collect(),
    }
}

/// A failure, or a question that could have been answered and was not.
fn counts(finding: &Finding) -> bool {
    match finding.verdict {
        Verdict::Fail | Verdict::Error => true,
        Verdict::Unknown => finding.cause.is_some_and(Cause::is_obtainable),
        Verdict::Pass | Verdict::NotApplicable | Verdict::Excepted => false,
    }
}

fn is_about_image(finding: &Finding) -> bool {
    matches!(finding.subject, Subject::Image { .. })
}

fn is_unreadable(finding: &Finding) -> bool {
    finding.code.as_str() == portreeve_reports::code::UNREADABLE_INPUT.code
}

/// Whether an update leaves all that rules read as it was.
fn is_unchanged(request: &ReviewRequest) -> bool {
    let (Some(new), Some(old)) = (&request.object, &request.old_object) else { return false };
    let same = |path: &[&str]| new.at(path.iter().copied()) == old.at(path.iter().copied());
    let metadata: [&[&str]; 2] = [&["metadata", "labels"], &["metadata", "annotations"]];
    request.operation == Operation::Update && content(new) == content(old) && metadata.into_iter().all(same)
}

/// All of an object but its metadata and status; kinds differ in where they keep what is judged.
fn content(object: &Node) -> BTreeMap<&str, &Node> {
    let entries = object.as_map().into_iter().flat_map(Map::iter);
    entries.map(|entry| (&*entry.key, &entry.node)).filter(|(key, _)| !["metadata", "status"].contains(key)).collect()
}

/// The most findings that a denial spells out.
const MOST_IN_MESSAGE: usize = 5;

fn denial(mut sentences: Vec<String>) -> String {
    let more = sentences.len().saturating_sub(MOST_IN_MESSAGE);
    sentences.truncate(MOST_IN_MESSAGE);
    if more > 0 {
        sentences.push(format!("and {more} more"));
    }
    format!("portreeve: {}", sentences.join("; "))
}

fn sentence(finding: &Finding) -> String {
    let unsure = match finding.verdict {
        Verdict::Unknown => "could not be told: ",
        Verdict::Error => "portreeve is broken here: ",
        _ => "",
    };
    format!("{} {unsure}{}", finding.code, finding.message)
}

/// The images of a Pod that have a tag and no digest, with the digests their tags have now. What cannot be resolved
/// stays as it is: `/validate` says why.
async fn pins(judge: &Judge, request: &ReviewRequest, options: &JudgeOptions) -> Vec<Pin> {
    let Ok(object) = object_of(request, None) else { return Vec::new() };
    if &*object.kind != "Pod" || !object.group().is_empty() || !judge.has_image_policy() {
        return Vec::new();
    }
    let mut pins = Vec::new();
    for image in image_uses(&object, &object.reference(None)) {
        let Ok(reference) = &image.reference else { continue };
        if reference.digest.is_some() || is_as_before(request, &image) {
            continue;
        }
        if let Lookup::Found(digest) = images::resolve(judge.registry(), reference, options.deadline).await {
            pins.push(Pin {
                pointer: pointer(&image.location.object_path),
                image: pinned_text(&image.text, reference, &digest),
            });
        }
    }
    pins
}

/// The text as its author wrote it, with the tag that was meant and the digest.
fn pinned_text(written: &str, reference: &ImageReference, digest: &Digest) -> String {
    let tag = if reference.tag.is_some() { String::new() } else { format!(":{}", reference.tag_or_latest()) };
    format!("{written}{tag}@{digest}")
}

/// A tree with another text at the end of these steps; a step that is not there changes nothing.
fn replaced(node: &Node, steps: &[&str], text: &str) -> Node {
    let Some((step, rest)) = steps.split_first() else {
        return Node { value: SourceValue::String(text.into()), place: node.place };
    };
    let value = match &node.value {
        SourceValue::List(items) => {
            let mut items = items.to_vec();
            if let Some(item) = step.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = replaced(item, rest, text);
            }
            SourceValue::List(items.into())
        }
        SourceValue::Map(map) => {
            let entry = |entry: &Entry| match &*entry.key == *step {
                true => Entry { node: replaced(&entry.node, rest, text), ..entry.clone() },
                false => entry.clone(),
            };
            // The keys are those of a map, so they are unique.
            Map::new(map.iter().map(entry).collect())
                .map_or_else(|_| node.value.clone(), |map| SourceValue::Map(map.into()))
        }
        other => other.clone(),
    };
    Node { value, place: node.place }
}

/// `spec.containers[0].image` as `/spec/containers/0/image`.
fn pointer(object_path: &str) -> String {
    object_path
        .split(['.', '['])
        .fold(String::new(), |pointer, part| format!("{pointer}/{}", part.trim_end_matches(']')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_paths_become_json_pointers() {
        assert_eq!(pointer("spec.containers[0].image"), "/spec/containers/0/image");
        assert_eq!(pointer("spec.volumes[12].image.reference"), "/spec/volumes/12/image/reference");
    }

    #[test]
    fn a_pin_changes_its_image_and_nothing_else() {
        let object = json!({"spec": {"containers": [{"image": "a:1"}, {"image": "b:1", "name": "b"}], "x": null}});
        let node = portreeve_reports::source::json::read(object.to_string().as_bytes(), &Default::default()).unwrap();
        let pin = Pin { pointer: "/spec/containers/1/image".to_owned(), image: "b:1@sha256:00".to_owned() };
        let mut expected = object;
        expected["spec"]["containers"][1]["image"] = "b:1@sha256:00".into();
        assert_eq!(pin.applied_to(&node).to_json(), expected);
        let lost = Pin { pointer: "/spec/containers/7/image".to_owned(), image: "x".to_owned() };
        assert_eq!(lost.applied_to(&node), node);
    }

    #[test]
    fn a_pin_keeps_what_was_written_and_names_the_tag_that_was_meant() {
        let digest = Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
        let pin = |text: &str| pinned_text(text, &ImageReference::parse(text).unwrap(), &digest);
        assert_eq!(pin("busybox"), format!("busybox:latest@{digest}"));
        assert_eq!(pin("q.io/a/b:1"), format!("q.io/a/b:1@{digest}"));
    }
}
