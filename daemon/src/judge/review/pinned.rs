//! Which images of a Pod run by the digest that was verified, and which would run by a tag that may move.

use portreeve_policies::workload::{ImageUse, image_uses};
use portreeve_reports::source::Node;
use portreeve_reports::{Effect, Finding, Subject, Verdict};
use portreeve_trust::rules::SIGNED;

use super::request::ReviewRequest;
use super::{object_of, pointer};

/// Images of a Pod that were verified, whose failure would have blocked, and that have no digest: the tag may be
/// another image by the time it is pulled. `/mutate` pins them; here it could not, or was not asked.
pub(super) fn unpinned(request: &ReviewRequest, findings: &[Finding]) -> Vec<ImageUse> {
    let Ok(object) = object_of(request, None) else { return Vec::new() };
    if &*object.kind != "Pod" || !object.group().is_empty() {
        return Vec::new();
    }
    let uses = image_uses(&object, &object.reference(None)).into_iter();
    let floating = uses.filter(|image| image.reference.as_ref().is_ok_and(|reference| reference.digest.is_none()));
    floating.filter(|image| !is_as_before(request, image) && is_vouched_for(image, findings)).collect()
}

/// Whether a rule that blocks was answered with a pass.
fn is_vouched_for(image: &ImageUse, findings: &[Finding]) -> bool {
    let Ok(reference) = &image.reference else { return false };
    let name = reference.repository.to_string();
    findings.iter().any(|finding| {
        let is_ours = matches!(&finding.subject, Subject::Image { repository, .. } if *repository == name);
        let is_pass = finding.verdict == Verdict::Pass && finding.effect == Effect::Block;
        is_ours && is_pass && finding.code.as_str() == SIGNED.code
    })
}

/// Whether an update leaves the image as it was. Pinning it would restart the container, and make a change out of one
/// that only lets go of a finalizer.
pub(super) fn is_as_before(request: &ReviewRequest, image: &ImageUse) -> bool {
    let path = pointer(&image.location.object_path);
    let before = request.old_object.as_ref().and_then(|old| {
        path.split('/').skip(1).try_fold(old, |node, part| match part.parse::<usize>() {
            Ok(index) => node.as_list()?.get(index),
            Err(_) => node.get(part),
        })
    });
    before.and_then(Node::as_str) == Some(image.text.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_image_that_an_update_leaves_alone_is_known_by_its_place_and_text() {
        let pod = |image: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [{"name": "main", "image": image}]}})
        };
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u",
            "operation": "UPDATE", "namespace": "n", "object": pod("q.io/a:1"), "oldObject": pod("q.io/a:1")}});
        let is_as_before = |review: &Value| {
            let request = ReviewRequest::parse(review.to_string().as_bytes()).unwrap();
            let object = object_of(&request, None).unwrap();
            is_as_before(&request, &image_uses(&object, &object.reference(None))[0])
        };
        assert!(is_as_before(&review));
        let mut changed = review.clone();
        changed["request"]["oldObject"] = pod("q.io/a:2");
        assert!(!is_as_before(&changed));
        changed["request"]["oldObject"] = Value::Null;
        assert!(!is_as_before(&changed));
    }
}
