//! Findings come, change and go with what is in the cluster.

use portreeve_tests::daemon::summaries;
use serde_json::{Value, json};

use crate::site::{Site, about, container, one, pod};

/// The privileged container.
const PRIVILEGED: &str = "C-0057";

#[tokio::test]
async fn what_was_there_before_the_daemon_is_judged() {
    let site = Site::shared().await;
    let query = format!("code={PRIVILEGED}&namespace={}", site.early);
    let finding = site.daemon.wait_for(&query, "the early Pod", |found| one(found, "early").cloned()).await;
    assert_eq!((&finding["verdict"], &finding["subject"]["kind"]), (&json!("fail"), &json!("Pod")));
    let image = format!("{}/shop/early", site.registry.host());
    let finding = site.daemon.wait_for("code=PR-1001", "its image", |found| about(found, &image).cloned()).await;
    assert_eq!(finding["verdict"], "fail");
    assert_eq!(finding["related"][0]["name"], "early");
}

/// Open findings of a namespace, but for those about its default ServiceAccount.
async fn workloads(site: &Site, namespace: &str) -> Vec<Value> {
    let mut findings = site.daemon.findings(&format!("namespace={namespace}")).await;
    findings.retain(|finding| finding["subject"]["kind"] != "ServiceAccount");
    findings
}

#[tokio::test]
async fn findings_open_change_and_resolve_with_their_object() {
    let site = Site::shared().await;
    let namespace = site.plane.namespace("life").await;
    let daemonset = |image: &str, privileged: bool| {
        let mut container = container(image);
        container["securityContext"]["privileged"] = privileged.into();
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {
                "metadata": {"labels": {"app": "agent"}},
                // No node has it, so there are no Pods.
                "spec": {"nodeSelector": {"tests": "none"}, "containers": [container]}}}})
    };
    let (unsigned, signed) = (site.unsigned("shop/agent:1"), site.signed("shop/agent-signed:1"));
    let query = format!("code={PRIVILEGED}&namespace={namespace}&state=all");
    let in_state = |state: &'static str| {
        move |found: &[Value]| one(found, "agent").filter(|finding| finding["lifecycle"]["state"] == state).cloned()
    };
    let image_in_state = |state: &'static str| {
        let image = unsigned.trim_end_matches('1').to_owned();
        move |found: &[Value]| about(found, &image).filter(|finding| finding["lifecycle"]["state"] == state).cloned()
    };
    let images = "code=PR-1001&state=all";
    site.plane.api().apply_object(&daemonset(&unsigned, true), "").await.unwrap();
    let opened = site.daemon.wait_for(&query, "an open finding", in_state("open")).await;
    assert_eq!(opened["subject"]["kind"], "DaemonSet");
    let before = site.daemon.wait_for(images, "an unsigned image", image_in_state("open")).await;
    let other = site.unsigned("shop/agent:2");
    site.plane.api().apply_object(&daemonset(&other, true), "").await.unwrap();
    let changed = |found: &[Value]| about(found, &other).cloned();
    let after = site.daemon.wait_for(images, "the other tag", changed).await;
    assert_eq!(after["fingerprint"], before["fingerprint"], "it is the same question about the same repository");
    assert_eq!(after["message"], format!("{other} is not signed"));
    site.plane.api().apply_object(&daemonset(&signed, false), "").await.unwrap();
    let resolved = site.daemon.wait_for(&query, "a resolved finding", in_state("resolved")).await;
    assert_eq!(resolved["fingerprint"], opened["fingerprint"]);
    site.daemon.wait_for(images, "an image that nobody uses", image_in_state("resolved")).await;
    site.plane.api().apply_object(&daemonset(&unsigned, true), "").await.unwrap();
    let reopened = site.daemon.wait_for(&query, "a reopened finding", in_state("open")).await;
    assert_eq!(reopened["lifecycle"]["reopened"], 1, "{reopened}");
    site.daemon.wait_for(images, "the image again", image_in_state("open")).await;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/agent");
    site.plane.api().delete(&path).await.unwrap();
    site.daemon.wait_for(&query, "the end", in_state("resolved")).await;
    site.daemon.wait_for(images, "the end of the image's use", image_in_state("resolved")).await;
    let open = workloads(site, &namespace).await;
    assert!(open.is_empty(), "{}", summaries(&open).join("\n"));
}

#[tokio::test]
async fn a_deployment_is_judged_once_and_not_again_for_its_replica_set_and_pods() {
    let site = Site::shared().await;
    let plane = site.plane.with_controllers().await;
    let namespace = plane.namespace("owner").await;
    let image = site.unsigned("shop/web:1");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container(&image)]}}}});
    plane.api().create(&deployment).await.unwrap();
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let three = |list: &Value| (list["items"].as_array()?.len() == 3).then_some(());
    plane.api().wait_for(&pods, "three Pods", three).await;
    // Events of one kind come in order: when this one was judged, the three were seen.
    plane.api().create(&pod(&namespace, "marker", &image)).await.unwrap();
    let query = format!("code={PRIVILEGED}&namespace={namespace}");
    site.daemon.wait_for(&query, "the marker", |found| one(found, "marker").cloned()).await;
    let settled = |found: &[Value]| {
        let names =
            found.iter().map(|finding| format!("{}/{}", finding["subject"]["kind"], finding["subject"]["name"]));
        let mut names: Vec<_> = names.collect();
        names.sort();
        (names == [r#""Deployment"/"web""#, r#""Pod"/"marker""#]).then_some(())
    };
    site.daemon.wait_for(&query, "one finding for the Deployment and one for the marker", settled).await;
    let all = workloads(site, &namespace).await;
    let told = |finding: &Value| (finding["code"].to_string(), finding["check"].to_string());
    let of = |name: &str| {
        let mut told: Vec<_> = all.iter().filter(|finding| finding["subject"]["name"] == name).map(told).collect();
        told.sort();
        told
    };
    assert_eq!(of("web").len() + of("marker").len(), all.len(), "{}", summaries(&all).join("\n"));
    let mut once = of("web");
    once.dedup();
    assert_eq!(once, of("web"), "each question once");
    let both_use_it = |found: &[Value]| {
        let users = about(found, &image)?["related"].as_array()?.iter();
        let mut users: Vec<_> = users.filter_map(|user| user["name"].as_str()).collect();
        users.sort_unstable();
        (users == ["marker", "web"]).then_some(())
    };
    site.daemon.wait_for("code=PR-1001", "its image, used by both", both_use_it).await;
    // Pods and ReplicaSet go after their owner, and no finding outlives them.
    plane.api().delete(&format!("/apis/apps/v1/namespaces/{namespace}/deployments/web")).await.unwrap();
    let only_marker = |found: &[Value]| (found.len() == 1 && one(found, "marker").is_some()).then_some(());
    site.daemon.wait_for(&query, "the end of the Deployment", only_marker).await;
}

#[tokio::test]
async fn what_a_kubelet_says_runs_is_verified_by_its_digest() {
    let site = Site::shared().await;
    let plane = site.plane.with_node().await;
    let namespace = plane.namespace("running").await;
    // On the node: the digest of the specification comes back as the one that runs.
    let image = site.unsigned("shop/on-node:1");
    let by_digest = format!("{}@{}", image.trim_end_matches(":1"), site.digest(&image));
    let mut object = pod(&namespace, "on-node", &by_digest);
    object["spec"]["nodeName"] = "localhost".into();
    plane.api().create(&object).await.unwrap();
    let path = format!("/api/v1/namespaces/{namespace}/pods/on-node");
    let runs = |pod: &Value| pod["status"]["containerStatuses"][0]["imageID"].as_str().map(str::to_owned);
    let id = plane.api().wait_for(&path, "a running container", |pod| runs(pod).filter(|id| !id.is_empty())).await;
    assert!(id.ends_with(&site.digest(&image)), "{id}");
    let repository = image.trim_end_matches(":1");
    let finding = site.daemon.wait_for("code=PR-1001", "its image", |found| about(found, repository).cloned()).await;
    assert_eq!((&finding["verdict"], &finding["subject"]["digest"]), (&json!("fail"), &site.digest(&image).into()));
}

/// The fake runtime states what the specification says, so the status is written as a kubelet would.
#[tokio::test]
async fn an_image_that_runs_while_its_tag_has_moved_on_is_judged_by_its_digest() {
    let site = Site::shared().await;
    let namespace = site.plane.namespace("moved").await;
    let old = site.unsigned("shop/moved:old");
    let old_digest = site.digest(&old);
    let signed = site.signed("shop/moved:1");
    site.plane.api().create(&pod(&namespace, "moved", &signed)).await.unwrap();
    let repository = signed.trim_end_matches(":1");
    let status = |digest: &str| {
        json!({"status": {"phase": "Running", "containerStatuses": [{"name": "main", "image": signed, "ready": true,
            "restartCount": 0, "imageID": format!("{repository}@{digest}"),
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}})
    };
    let path = format!("/api/v1/namespaces/{namespace}/pods/moved/status");
    site.plane.api().merge(&path, &status(&old_digest)).await.unwrap();
    let query = "code=PR-1001&state=all";
    let finding = site.daemon.wait_for(query, "what runs", |found| about(found, repository).cloned()).await;
    assert_eq!((&finding["verdict"], &finding["subject"]["digest"]), (&json!("fail"), &json!(old_digest)));
    assert_eq!(finding["related"][0]["name"], "moved");
    site.plane.api().merge(&path, &status(&site.digest(&signed))).await.unwrap();
    let is_resolved = |found: &[Value]| {
        about(found, repository).filter(|finding| finding["lifecycle"]["state"] == "resolved").cloned()
    };
    site.daemon.wait_for(query, "the Pod runs what its tag is now", is_resolved).await;
}

#[tokio::test]
async fn a_bad_object_is_a_finding_and_the_others_are_judged() {
    let site = Site::shared().await;
    let namespace = site.plane.namespace("bad").await;
    let bad_image = "NOT/an image::at-all";
    let mut huge = pod(&namespace, "huge", "example.org/huge:1");
    huge["metadata"]["annotations"] = json!({"tests/huge": "\u{202e}<script>\u{1b}[31m".repeat(10_000)});
    for object in [pod(&namespace, "bad", bad_image), huge, pod(&namespace, "good", "example.org/good:1")] {
        site.plane.api().create(&object).await.unwrap();
    }
    let query = format!("code={PRIVILEGED}&namespace={namespace}");
    let all = |found: &[Value]| ["bad", "huge", "good"].iter().all(|name| one(found, name).is_some()).then_some(());
    site.daemon.wait_for(&query, "all three", all).await;
    let finding = site.daemon.wait_for("code=PR-1001", "the bad image", |found| about(found, bad_image).cloned()).await;
    assert_eq!((&finding["verdict"], &finding["cause"]), (&json!("unknown"), &json!("unreadable")), "{finding}");
    let (code, page) = site.daemon.page("/").await.unwrap();
    assert_eq!(code, 200);
    assert!(!page.contains("<script>\u{1b}"), "what objects say is text");
}
