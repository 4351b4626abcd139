use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve_policies::image::ImageReference;
use portreeve_reports::Effect;
use portreeve_reports::source::{Fields, Limits, Problems, yaml};

use super::*;
use crate::evidence::{ImageEvidence, Lookup, Referrer, ReferrerContent, SignatureLayer};
use crate::policy::Given;
use crate::policy::{ImagePolicy, ImagePolicySpec};
use crate::sign::{SigningKey, sign_v2};
use crate::verify::judge;

const DIGEST: &str = "sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7";

fn image_use(reference: &str, digest: &str) -> ImageUse {
    let parsed = ImageReference::parse(reference).unwrap();
    let object = ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: "jhub".into(),
        name: "hub".into(),
        container: Some("hub".into()),
        owner: None,
    };
    ImageUse {
        reference: reference.into(),
        repository: parsed.repository,
        digest: Some(Digest::parse(digest).unwrap()),
        objects: vec![object],
        locations: vec![Location { object_path: "spec.containers[0].image".into(), ..Location::default() }],
        untold: 0,
    }
}

fn hub() -> ImageUse {
    image_use("quay.io/nebari/hub:1", DIGEST)
}

fn nothing() -> ImageEvidence {
    ImageEvidence {
        repository: "quay.io/nebari/hub".into(),
        digest: Digest::parse(DIGEST).unwrap(),
        tag_signatures: Lookup::Absent,
        tag_attestations: None,
        referrers: Lookup::Absent,
    }
}

fn signed_by(key: &SigningKey) -> ImageEvidence {
    let image = ImageReference::parse("quay.io/nebari/hub").unwrap();
    let signed = sign_v2(key, &image, &nothing().digest, &[]).unwrap();
    let layer = SignatureLayer {
        media_type: signed.layer.media_type,
        payload: Lookup::Found(signed.payload),
        annotations: signed.layer.annotations,
    };
    ImageEvidence { tag_signatures: Lookup::Found(vec![layer]), ..nothing() }
}

fn judgement(key: &SigningKey, evidence: &ImageEvidence) -> ImageJudgement {
    let keys = BTreeMap::from([("release.pub".to_owned(), key.public_key_pem().unwrap().into_bytes())]);
    let policy = ImagePolicy::given(Given { keys, ..Given::default() }, 1).unwrap();
    let image = ImageReference::parse("quay.io/nebari/hub").unwrap().pinned(evidence.digest.clone());
    judge(&policy, &image, None, Some(evidence), Timestamp::UNIX_EPOCH)
}

/// What a policy without keys says of the hub's image.
fn by_policy(text: &str) -> ImageJudgement {
    let document = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let mut problems = Problems::new("policy.yaml");
    let spec = Fields::of(&document, "spec", &mut problems).and_then(|map| map.finish_with(ImagePolicySpec::decode));
    let policy = ImagePolicy::build(
        &problems.into_result(spec).unwrap().unwrap(),
        &BTreeMap::new(),
        Problems::new("policy.yaml"),
    )
    .unwrap();
    let image = ImageReference::parse("quay.io/nebari/hub").unwrap().pinned(nothing().digest);
    judge(&policy, &image, None, None, Timestamp::UNIX_EPOCH)
}

fn unsigned() -> ImageJudgement {
    judgement(&SigningKey::generate().unwrap(), &nothing())
}

fn verdicts(findings: &[Finding]) -> Vec<(String, Verdict)> {
    findings.iter().map(|finding| (finding.code.to_string(), finding.verdict)).collect()
}

/// One finding as text, for review.
fn shown(finding: &Finding) -> String {
    let mut text = format!("{} {} {}: {}\n", finding.code, finding.effect.as_str(), finding.verdict, finding.message);
    finding.evidence.iter().for_each(|told| text.push_str(&format!("  {} = {}\n", told.name, told.value)));
    finding.fix.commands.iter().for_each(|command| text.push_str(&format!("  $ {command}\n")));
    finding.related.iter().for_each(|subject| text.push_str(&format!("  used by {}\n", subject.display())));
    text
}

#[test]
fn the_list_of_codes_is_reviewed_when_it_changes() {
    let list: Vec<_> = CODES.iter().map(|entry| format!("{} {} {}", entry.code, entry.severity, entry.title)).collect();
    insta::assert_snapshot!(list.join("\n"), @r"
    PR-1001 high image is signed
    PR-1002 critical image is signed by whom the policy trusts
    PR-1003 high image is as the policy wants it
    PR-1004 high image has the attestations that the policy wants
    ");
}

#[test]
fn every_outcome_answers_all_questions() {
    use Verdict::{Fail, NotApplicable, Pass, Unknown};
    let [key, stranger] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let late = ImageEvidence { referrers: Lookup::Indeterminate(Cause::TimedOut, "x".into()), ..nothing() };
    for (judgement, expected) in [
        (judgement(&key, &signed_by(&key)), &[Pass, Pass, Pass, NotApplicable][..]),
        (judgement(&key, &nothing()), &[Fail, NotApplicable, NotApplicable, NotApplicable]),
        (judgement(&key, &signed_by(&stranger)), &[Pass, Fail, NotApplicable, NotApplicable]),
        (by_policy("{noMatch: deny, rules: []}"), &[NotApplicable, NotApplicable, Fail, NotApplicable]),
        (by_policy("{noMatch: allow, rules: []}"), &[NotApplicable; 4]),
        (judgement(&key, &late), &[Unknown; 3]),
    ] {
        let findings = findings(&hub(), &judgement).unwrap();
        let codes = ["PR-1001", "PR-1002", "PR-1003", "PR-1004"].map(str::to_owned);
        assert_eq!(verdicts(&findings), codes.into_iter().zip(expected.iter().copied()).collect::<Vec<_>>());
        for finding in findings {
            assert_eq!(finding.cause, (finding.verdict == Unknown).then_some(Cause::TimedOut));
        }
    }
}

#[test]
fn findings_say_what_was_looked_at_and_what_to_do() {
    let [key, stranger] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let sbom = Referrer {
        digest: nothing().digest,
        artifact_type: None,
        content: ReferrerContent::Other { media_type: "application/spdx+json".into() },
    };
    let unsigned = ImageEvidence { referrers: Lookup::Found(vec![sbom]), ..nothing() };
    let limited = ImageEvidence { referrers: Lookup::Indeterminate(Cause::RateLimited, "429".into()), ..nothing() };
    let mut text = String::new();
    for evidence in [signed_by(&key), unsigned, signed_by(&stranger), limited] {
        let findings = findings(&hub(), &judgement(&key, &evidence)).unwrap();
        findings.iter().for_each(|finding| text.push_str(&shown(finding)));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn findings_of_two_digests_of_one_repository_become_one_with_the_worst_verdict() {
    let key = SigningKey::generate().unwrap();
    let good = findings(&hub(), &judgement(&key, &signed_by(&key))).unwrap();
    let other = image_use("quay.io/nebari/hub:2", &DIGEST.replace('9', "8"));
    let bad = findings(&other, &unsigned()).unwrap();
    let merged = merge(vec![good.clone(), bad.clone()]);
    assert_eq!(merged, merge(vec![bad, good]));
    assert_eq!(
        verdicts(&merged),
        [
            ("PR-1001", Verdict::Fail),
            ("PR-1002", Verdict::Pass),
            ("PR-1003", Verdict::Pass),
            ("PR-1004", Verdict::NotApplicable)
        ]
        .map(|(code, verdict)| (code.to_owned(), verdict))
    );
    let references: Vec<&str> =
        merged[0].evidence.iter().filter(|told| told.name == "reference").map(|told| &*told.value).collect();
    assert_eq!(references, ["quay.io/nebari/hub:2", "quay.io/nebari/hub:1 (pass)"]);
}

#[test]
fn which_use_is_shown_does_not_depend_on_the_order_of_the_groups() {
    let used_by = |name: &str| {
        let object = ObjectRef { kind: "Pod".to_owned(), name: name.to_owned(), ..ObjectRef::default() };
        let location = Location { object_path: format!("path of {name}"), ..Location::default() };
        findings(&ImageUse { objects: vec![object], locations: vec![location], ..hub() }, &unsigned()).unwrap()
    };
    let merged = merge(vec![used_by("b"), used_by("a")]);
    assert_eq!(merged, merge(vec![used_by("a"), used_by("b")]));
    assert_eq!(merged[0].locations[0].object_path, "path of a");
}

#[test]
fn merging_keeps_the_strongest_effect_of_the_worst_verdict() {
    let [weak, strong] = ["audit", "enforce"].map(|mode| by_policy(&format!("{{mode: {mode}, rules: []}}")));
    for order in [[&weak, &strong], [&strong, &weak]] {
        let merged = merge(order.iter().map(|judgement| findings(&hub(), judgement).unwrap()).collect());
        assert_eq!((merged.len(), merged[2].verdict, merged[2].effect), (4, Verdict::Fail, Effect::Block));
    }
}

#[test]
fn what_one_finding_tells_is_bounded_and_what_is_left_out_is_counted() {
    let groups = (0..300).map(|index| {
        let image = image_use(&format!("quay.io/nebari/hub:{index}"), DIGEST);
        findings(&image, &unsigned()).unwrap()
    });
    let merged = merge(groups.collect());
    assert_eq!(merged[0].evidence.len(), MAX_TOLD + 1);
    assert!(merged[0].evidence.iter().any(|told| told.name == "not told" && told.value.ends_with(" more")));
}
