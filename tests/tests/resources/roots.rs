//! Identities in image policies of the cluster: the trust root stands in the resource, and one that is no good is said so.

use std::fs;

use portreeve_tests::{OrFail as _, repository};
use serde_json::{Value, json};

use crate::site::{
    API_VERSION, REGISTRY, condition, definitions, install, path_of, pod, site, until_resolved, until_said,
    until_verdict, values,
};

/// A policy by which an identity of this root must have signed.
fn keyless(root: &Value) -> Value {
    let mut root = root.clone();
    root["name"] = "corp".into();
    json!({"apiVersion": API_VERSION, "kind": "ImagePolicy", "metadata": {"name": "keyless"}, "spec": {
        "trustRoots": [root],
        "rules": [{"name": "released", "images": [format!("{REGISTRY}/**")], "authorities": {"list": [
            {"name": "release", "keyless": {"issuer": "https://sso.example.org", "subjectRegexp": r"[a-z]+@example\.org",
                "claims": {"sourceRepositoryOwner": "example-org"}, "trustRoot": "corp"}}]}}]}})
}

fn recorded() -> Value {
    let file = repository().join("policies/trust/tests/keyless/trusted_root.json");
    serde_json::from_slice(&fs::read(file).or_fail("a recorded trust root")).or_fail("a trust root is JSON")
}

#[tokio::test]
async fn a_trust_root_in_a_resource_counts_and_one_that_is_no_good_is_said_and_found() {
    let (plane, mut daemon) = site(&values(&[])).await;
    let api = plane.api();
    install(api, &definitions()).await;
    let namespace = plane.namespace("roots").await;
    api.create(&pod(&namespace, "app")).await.unwrap();
    daemon.start().await;

    let policy = keyless(&json!({"trustedRootData": recorded().to_string()}));
    api.create(&policy).await.unwrap();
    let said = until_said(api, &policy, "Accepted").await;
    assert_eq!(condition(&said, "Accepted")["status"], "True");
    let is_asked = |found: &[Value]| {
        let of_image = |it: &&Value| it["subject"]["type"] == "image" && it["code"] == "PR-1002";
        found.iter().find(of_image).cloned()
    };
    let asked = daemon.wait_for("", "a registry is asked", is_asked).await;
    assert_eq!((&asked["verdict"], &asked["cause"]), (&json!("unknown"), &json!("unreachable")), "{asked}");

    let mut damaged = recorded();
    damaged["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] = "AAAA".into();
    let mut loose = recorded();
    loose["ctlogs"] = json!([]);
    for (root, why) in [
        (json!({"trustedRootData": damaged.to_string()}), "trust root 'corp': its trust material cannot be used"),
        (json!({"trustedRootData": "{}"}), "trust root 'corp': it is no trusted_root.json"),
        (
            json!({"trustedRootData": loose.to_string()}),
            "trust root 'corp' names no certificate transparency log, and this authority needs one",
        ),
        // A file of the daemon's machine is nothing that a resource may name.
        (json!({"trustedRootFile": "/etc/passwd"}), "a policy of the cluster has no files"),
    ] {
        let path = path_of(&policy);
        api.merge(&path, &json!({"spec": keyless(&root)["spec"]})).await.or_fail(why);
        let said = until_said(api, &policy, "Invalid").await;
        let message = condition(&said, "Accepted")["message"].as_str().or_fail("a message");
        assert!(message.contains(why), "{why}: {message}");
        assert!(!message.contains("root:x"), "nothing was read: {message}");
        let found = until_verdict(&daemon, "code=PR-0008", "keyless", "fail").await;
        let subject = &found["subject"];
        assert_eq!((&subject["kind"], &subject["file"]), (&json!("ImagePolicy"), &Value::Null), "{found}");
        let place = &found["locations"][0];
        assert_eq!(place["file"], Value::Null, "{found}");
    }
    api.merge(&path_of(&policy), &json!({"spec": policy["spec"]})).await.unwrap();
    until_said(api, &policy, "Accepted").await;
    until_resolved(&daemon, "code=PR-0008", "keyless").await;
}
