//! T20: resources that no schema has seen are there when the daemon starts; it becomes ready, and the good ones hold.

use portreeve_tests::OrFail as _;
use portreeve_tests::api::Api;
use serde_json::{Value, json};

use crate::site::{
    API_VERSION, PRIVILEGED, REGISTRY, definitions, exception, image_policy, install, pod, site, until_said,
    until_verdict, values,
};

/// The definitions without what they ask: any content is stored.
fn lenient() -> Vec<Value> {
    let mut definitions = definitions();
    for definition in &mut definitions {
        let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({"type": "object", "properties": {
            "spec": anything, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    }
    definitions
}

/// Specs that some reader would stumble over.
fn corpus() -> Vec<(&'static str, Value)> {
    let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let long = "x".repeat(400_000);
    let patterns: Vec<String> = (0..400).map(|number| format!("*/*{number}*/**")).collect();
    vec![
        ("null", Value::Null),
        ("number", json!(7)),
        ("list", json!([[], {}])),
        ("empty", json!({})),
        ("nested", json!({"codes": nested})),
        ("long", json!({"codes": [long], "owner": "o", "reason": "r", "expires": "2099-01-31"})),
        ("last-day", json!({"codes": ["C-0057"], "owner": "o", "reason": "r", "expires": "9999-99-99"})),
        ("day-zero", json!({"codes": ["C-0057"], "owner": "o", "reason": "r", "expires": "-000000001-01-01"})),
        (
            "control",
            json!({"codes": ["C-0057\u{0}\u{202e}\u{1b}[31m"], "owner": "\u{feff}", "reason": {}, "expires": 1e308}),
        ),
        (
            "wide",
            json!({"codes": ["C-0057"], "subjects": {"names": null}, "owner": "o", "reason": "r", "expires": "2099-01-31"}),
        ),
        (
            "pem",
            json!({"rules": [{"name": "r", "images": ["quay.io/**"], "authorities": {"threshold": 9_223_372_036_854_775_807_i64,
            "list": [{"name": "k", "key": {"data": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}}]}}]}),
        ),
        ("patterns", json!({"rules": [{"name": "r", "images": patterns, "static": {"deny": true, "reason": "x"}}]})),
        (
            "static",
            json!({"rules": [{"name": "r", "images": ["quay.io/**"], "static": {"allow": ["sha256:0"], "expires": "x"}}]}),
        ),
        (
            "keyless",
            json!({"rules": [{"name": "r", "images": ["quay.io/**"], "authorities": {"list": [
            {"name": "k", "keyless": {"subjectRegexp": "(((((a+)+)+)+)+)+$"}}]}}]}),
        ),
    ]
}

async fn plant(api: &Api, namespace: &str) -> Vec<Value> {
    let mut planted = Vec::new();
    for (name, spec) in corpus() {
        for kind in ["Exception", "ClusterException", "ImagePolicy"] {
            let mut object = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name},
                "spec": spec, "status": {"conditions": "none"}});
            if kind == "Exception" {
                object["metadata"]["namespace"] = namespace.into();
            }
            planted.push(api.create(&object).await.or_fail(&format!("{kind} {name}")));
        }
    }
    planted
}

#[tokio::test]
async fn t20_poisoned_resources_stop_neither_the_start_nor_the_others() {
    let (plane, mut daemon) = site(&values(&["team-*"])).await;
    let api = plane.api();
    install(api, &lenient()).await;
    let team = plane.namespace("team").await;
    let planted = plant(api, &team).await;
    api.create(&pod(&team, "hub")).await.unwrap();
    api.create(&exception(&team, "good", "hub")).await.unwrap();
    api.create(&image_policy("good", &format!("{REGISTRY}/app"))).await.unwrap();
    daemon.start().await;
    until_verdict(&daemon, &format!("code={PRIVILEGED}&namespace={team}"), "hub", "excepted").await;
    until_said(api, &exception(&team, "good", "hub"), "Accepted").await;
    until_said(api, &image_policy("good", &format!("{REGISTRY}/app")), "Accepted").await;
    let is_found = |resource: &&Value, found: &[Value]| {
        let same = |field: &str, finding: &Value| finding["subject"][field] == resource["metadata"][field];
        found.iter().any(|it| it["subject"]["kind"] == resource["kind"] && same("name", it))
    };
    let exceptions: Vec<&Value> = planted.iter().filter(|it| it["kind"] != "ImagePolicy").collect();
    let all_exceptions = |found: &[Value]| exceptions.iter().all(|it| is_found(it, found)).then_some(());
    daemon.wait_for("code=PR-0004", "a finding about each exception", all_exceptions).await;
    // A policy of many patterns is a policy.
    let is_bad = |it: &&Value| it["kind"] == "ImagePolicy" && it["metadata"]["name"] != "patterns";
    let policies: Vec<&Value> = planted.iter().filter(is_bad).collect();
    let all_policies = |found: &[Value]| policies.iter().all(|it| is_found(it, found)).then_some(());
    daemon.wait_for("code=PR-0008", "a finding about each policy", all_policies).await;
    assert_eq!(daemon.health("/readyz").await.unwrap().0, 200);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}
