//! T06: a panic at any stage of verification is an error that denies, never a verdict.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use portreeve_policies::world::World;
use portreeve_reports::gate::{ExitCode, Threshold, exit_code};
use serde_json::json;

use portreeve_trust::policy::Given;

use super::*;
use crate::config::valid::AdmissionScope;
use crate::judge::review::{ReviewPath, review};
use crate::judge::{Judge, Rules};
use crate::registry::RegistryOptions;

thread_local! {
    static BROKEN: Cell<Option<Stage>> = const { Cell::new(None) };
}

pub(super) fn break_at(stage: Stage) {
    assert!(BROKEN.get() != Some(stage), "broken at {stage:?} by a test");
}

fn judge_by_a_key() -> Judge {
    // Whichever test comes first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let key = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let rules =
        Rules::given(Given { keys: BTreeMap::from([("k.pub".to_owned(), key.into_bytes())]), ..Given::default() }, 1)
            .unwrap();
    Judge::new(rules, RegistryClient::new(RegistryOptions { offline: true, ..RegistryOptions::default() }).unwrap())
}

fn options() -> JudgeOptions {
    let now = "2026-03-01T00:00:00Z".parse().unwrap();
    JudgeOptions { now, deadline: Deadline::after(Duration::from_secs(30)) }
}

fn image(name: &str) -> String {
    format!("quay.io/org/{name}@sha256:{}", "a".repeat(64))
}

#[tokio::test]
async fn t06_a_panic_at_any_stage_is_an_error_that_denies_and_exits_non_zero() {
    let judge = judge_by_a_key();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "prod"},
        "spec": {"containers": [{"name": "main", "image": image("app")}]}});
    let request = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u",
        "operation": "CREATE", "kind": {"kind": "Pod"}, "namespace": "prod", "object": pod}});
    let scope = AdmissionScope::enforcing("prod");
    for stage in [Stage::Resolving, Stage::Gathering, Stage::Verifying, Stage::Findings] {
        BROKEN.set(Some(stage));
        let judged = judge.images(&[ImageUse::named(&image("app"))], &options()).await;
        let input = (request.to_string().into_bytes(), ReviewPath::MutateThenValidate);
        let world = World::empty(Cause::NotVisible);
        let reviewed = review(&judge, &world, &scope, (&input.0, input.1), &options()).await.unwrap();
        BROKEN.set(None);
        assert_eq!(judged.findings.len(), 3, "{stage:?}");
        assert!(judged.findings.iter().all(|finding| finding.verdict == Verdict::Error), "{stage:?}");
        let report = judge.report(judged, 0);
        assert_eq!(exit_code(&report, &Threshold::default()), ExitCode::Unclassified, "{stage:?}");
        assert_eq!(reviewed.response["response"]["allowed"], false, "{stage:?}");
        let message = reviewed.decision.message.unwrap();
        assert!(message.contains("PR-1001 portreeve is broken here"), "{message}");
    }
}

#[tokio::test]
async fn without_a_policy_every_question_about_an_image_is_open_and_could_not_have_been_had() {
    let uses = [image("app"), image("app"), "Not An Image".to_owned()].map(|text| ImageUse::named(&text));
    let findings = unasked(&uses);
    assert_eq!(findings.len(), 6, "one for each question and repository");
    assert!(findings.iter().all(|finding| finding.cause == Some(Cause::Manual)));
    assert!(findings.iter().all(|finding| finding.message.contains("--image-policy")));
}

#[tokio::test]
async fn places_beyond_the_most_are_counted_in_each_finding() {
    let uses: Vec<_> = (0..MOST_PLACES + 7).map(|_| ImageUse::named(&image("app"))).collect();
    let judged = judge_by_a_key().images(&uses, &options()).await;
    let untold =
        |finding: &Finding| finding.evidence.iter().any(|told| told.name == "uses not told" && told.value == "7");
    assert!(judged.findings.len() == 3 && judged.findings.iter().all(untold), "{:?}", judged.findings);
}
