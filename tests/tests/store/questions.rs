//! A daemon that starts again with other rules: what nobody asks any more does not stay open.

use std::fs;

use portreeve_tests::OrFail;
use portreeve_tests::cosign::Cosign;
use portreeve_tests::folder_cluster::{FolderCluster, is_about, pod};
use portreeve_tests::process::START;
use serde_json::json;

use crate::load::{manifest, write_policy};

#[tokio::test]
async fn findings_of_a_framework_or_policy_that_is_no_longer_asked_are_resolved_with_that_reason() {
    // The image is where nobody answers: its questions are open as unknown.
    let images = "images: {policy: images.yaml}\n";
    let cluster = FolderCluster::new(images);
    write_policy(&cluster, "127.0.0.1:1", &Cosign::new(cluster.root()).public_key());
    let container = json!({"name": "app", "image": "127.0.0.1:1/a/b:1", "securityContext": {"privileged": true}});
    cluster.write("bad.json", &manifest(&pod("dev", "bad", container)));
    let doors = cluster.doors();
    let mut daemon = cluster.serve().await;
    let has = |open: &[serde_json::Value], code: &str| open.iter().any(|finding| finding["code"] == code);
    doors
        .until_open("findings of both", |open| {
            open.iter().any(|finding| is_about(finding, "C-0057", "bad")) && has(open, "PR-1001")
        })
        .await;
    for scanner in ["posture", "images", "credentials"] {
        let ended = format!("portreeve_scan_last_success_timestamp_seconds{{scanner=\"{scanner}\"}}");
        doors.until_sample(&ended, |at| at > 0.0).await;
    }
    let before = doors.open().await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended(START).await.code(), Some(0));

    // One framework, which does not have every control, and no image policy.
    let text = fs::read_to_string(cluster.config()).or_fail("the configuration");
    let changed = text.replace(images, "posture: {frameworks: [nsa]}\n");
    fs::write(cluster.config(), changed).or_fail("the configuration");
    let is_asked =
        |finding: &serde_json::Value| finding["frameworks"].as_array().or_fail("frameworks").contains(&json!("nsa"));
    assert!(!before.iter().all(is_asked), "{before:?}");
    let _daemon = cluster.serve().await;
    let open = doors
        .until_open("what is still asked, and nothing else", |open| has(open, "C-0057") && open.iter().all(is_asked))
        .await;
    let resolved = doors.get("/api/v1/findings?state=resolved&limit=500").await.json();
    let resolved = resolved["items"].as_array().or_fail("findings");
    assert_eq!(resolved.len() + open.len(), before.len(), "each is open or resolved");
    for finding in resolved {
        assert_eq!(finding["lifecycle"]["resolution"], "not-asked", "{finding}");
    }
    let fingerprint = resolved[0]["fingerprint"].as_str().or_fail("a fingerprint");
    let page = doors.get(&format!("/findings/{fingerprint}")).await.body;
    assert!(page.contains("no rule asks this any more"), "{page}");
}
