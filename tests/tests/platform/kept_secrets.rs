//! Secrets that `serve` keeps: the inventory knows none of their values.

use serde_json::{Value, json};

use crate::kept::{finding, keeping, message, resolved};
use crate::site::Site;

/// The Secret `s` with a value of `k`.
fn secret(value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: '{value}'}}\n")
}

fn path_of(site: &Site) -> String {
    format!("/api/v1/namespaces/{}/secrets/s", site.namespace)
}

/// Waits until `k` has a value, in base64.
async fn until_value(site: &Site, wanted: &str) {
    let probe = |object: &Value| (object["data"]["k"] == *wanted).then_some(());
    site.api().wait_for(&path_of(site), wanted, probe).await;
}

#[tokio::test]
async fn of_a_secret_too_a_change_of_the_manifest_is_told_from_drift() {
    let site = Site::new("told").await;
    site.component("drift: warn");
    let path = path_of(&site);
    let until = async |wanted: &str| until_value(&site, wanted).await;
    site.write("app/s.yaml", &secret("one"));
    let daemon = keeping(&site).await;
    until("b25l").await;
    site.write("app/s.yaml", &secret("two"));
    until("dHdv").await;
    site.api().merge(&path, &json!({"stringData": {"k": "drifted"}})).await.unwrap();
    let found = finding(&daemon, "PR-5005").await;
    assert!(message(&found).contains("Secret/s is modified (data.k"), "{found}");
    until("ZHJpZnRlZA==").await;
    // Somebody asks for it.
    assert_eq!(site.run_async(&["apply", "--yes"]).await.code, Some(0));
    until("dHdv").await;
    resolved(&daemon, "PR-5005").await;
    site.write("app/s.yaml", &secret("three"));
    until("dGhyZWU=").await;
}

#[tokio::test]
async fn who_writes_a_secret_under_our_name_has_changed_it_and_is_not_fought_for_ever() {
    let site = Site::new("disguise").await;
    site.component("drift: correct");
    let until = async |wanted: &str| until_value(&site, wanted).await;
    site.write("app/s.yaml", &secret("one"));
    let daemon = keeping(&site).await;
    until("b25l").await;
    for round in 0..4 {
        let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": site.namespace,
            "labels": {"portreeve.dev/platform": site.name, "portreeve.dev/component": "app"}},
            "stringData": {"k": format!("disguised {round}")}});
        site.api().apply_as("portreeve", &theirs, "").await.unwrap();
        if round < 3 {
            until("b25l").await;
        }
    }
    let found = finding(&daemon, "PR-5006").await;
    assert!(message(&found).contains("Secret/s changes as often as it is corrected"), "{found}");
    assert!(!daemon.findings("code=PR-5005&state=all").await.is_empty(), "each was drift");
    site.write("app/s.yaml", &secret("two"));
    until("dHdv").await;
    resolved(&daemon, "PR-5006").await;
}
