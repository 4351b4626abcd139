//! What is let in, warned of and denied, and what is told about it.

use portreeve_tests::OrFail as _;
use portreeve_tests::api::http_client;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::process::{START, run, until};
use portreeve_tests::registry::Registry;
use serde_json::{Value, json};

use crate::world::{denied, deployment, exclusive, image_of, path_of, pod, shared};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn an_unsigned_image_is_denied_or_warned_of_or_let_in_by_the_mode_of_its_namespace() {
    let world = shared().await;
    let image = world.unsigned("shop/modes:1");
    let [enforce, warn, audit] = ["enforce", "lab", "audit"].map(|name| world.plane.namespace(name));
    let message = world.denial(&pod(&enforce.await, "one", &image)).await;
    assert_eq!(message, format!("PR-1001 {image} is not signed"));
    let warned = world.create(&pod(&warn.await, "one", &image)).await.unwrap().warnings;
    let expected = format!("portreeve: PR-1001 {image} is not signed");
    assert!(warned.contains(&expected), "{warned:?}");
    assert_eq!(world.create(&pod(&audit.await, "one", &image)).await.unwrap().warnings, [""; 0]);
}

#[tokio::test]
async fn a_signed_image_runs_by_digest_wherever_it_stands() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let image = world.signed("shop/signed:1");
    let digest = run(world.registry.crane().args(["digest", &image]));
    let by_digest = format!("{image}@{}", digest.trim());
    let mut object = pod(&namespace, "one", &image);
    object["spec"]["initContainers"] = json!([{"name": "init", "image": image}]);
    object["spec"]["volumes"] = json!([{"name": "data", "image": {"reference": image}}]);
    let stored = world.create(&object).await.unwrap().object;
    assert_eq!(image_of(&stored), by_digest);
    assert_eq!(stored["spec"]["initContainers"][0]["image"], by_digest.as_str());
    assert_eq!(stored["spec"]["volumes"][0]["image"]["reference"], by_digest.as_str());
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": image}]}});
    let path = format!("{}/ephemeralcontainers", path_of(&namespace, "one"));
    let stored = world.api().merge(&path, &patch).await.unwrap();
    assert_eq!(stored["spec"]["ephemeralContainers"][0]["image"], by_digest.as_str());
}

#[tokio::test]
async fn a_reference_without_a_tag_is_pinned_as_latest() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let image = world.signed("shop/untagged:latest");
    let repository = image.trim_end_matches(":latest");
    let stored = world.create(&pod(&namespace, "one", repository)).await.unwrap().object;
    assert!(image_of(&stored).starts_with(&format!("{image}@sha256:")), "{}", image_of(&stored));
}

#[tokio::test]
async fn an_unsigned_image_is_denied_in_every_place() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let (signed, unsigned) = (world.signed("shop/main:1"), world.unsigned("shop/side:1"));
    let refused = format!("PR-1001 {unsigned} is not signed");
    let mut with_init = pod(&namespace, "init", &signed);
    with_init["spec"]["initContainers"] = json!([{"name": "init", "image": unsigned}]);
    assert_eq!(world.denial(&with_init).await, refused);
    let mut with_volume = pod(&namespace, "volume", &signed);
    with_volume["spec"]["volumes"] = json!([{"name": "data", "image": {"reference": unsigned}}]);
    assert_eq!(world.denial(&with_volume).await, refused);
    world.create(&pod(&namespace, "plain", &signed)).await.unwrap();
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": unsigned}]}});
    let path = format!("{}/ephemeralcontainers", path_of(&namespace, "plain"));
    assert_eq!(denied(&world.api().merge(&path, &patch).await.unwrap_err()), refused);
    let patch = json!({"spec": {"containers": [{"name": "main", "image": unsigned}]}});
    let changed = world.api().merge(&path_of(&namespace, "plain"), &patch).await.unwrap_err();
    assert_eq!(denied(&changed), refused);
}

#[tokio::test]
async fn a_template_with_an_unsigned_image_is_denied_and_a_signed_one_keeps_its_tag() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let (signed, unsigned) = (world.signed("shop/web:1"), world.unsigned("shop/cron:1"));
    let refused = format!("PR-1001 {unsigned} is not signed");
    assert_eq!(world.denial(&deployment(&namespace, "web", &unsigned)).await, refused);
    let job =
        json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": unsigned}]}}});
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron", "namespace": namespace},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}});
    assert_eq!(world.denial(&cron).await, refused);
    let stored = world.create(&deployment(&namespace, "web", &signed)).await.unwrap().object;
    assert_eq!(image_of(&stored["spec"]["template"]), signed, "drift correction sees what was written");
}

#[tokio::test]
async fn an_image_that_the_policy_names_by_digest_needs_no_signature_and_no_other_image_is_it() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    world.create(&pod(&namespace, "one", &world.pinned)).await.unwrap();
    let other = world.unsigned("pinned/app:2");
    let message = world.denial(&pod(&namespace, "two", &other)).await;
    assert!(message.starts_with("PR-100") && message.contains(&other), "{message}");
}

#[tokio::test]
async fn a_signature_by_a_stranger_or_one_that_was_tampered_with_is_denied() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let stranger = Cosign::new(world.registry.docker_config());
    for storage in [Storage::Tag, Storage::Bundle] {
        let name = format!("shop/stranger-{storage:?}:1").to_lowercase();
        stranger.sign(&world.registry.push_image(&name), storage);
        let message = world.denial(&pod(&namespace, "stranger", &world.tagged(&name))).await;
        assert!(message.starts_with(&format!("PR-1002 {} is signed", world.tagged(&name))), "{message}");
    }
    let copied = world.unsigned("shop/copied:1");
    world.signed("shop/original:1");
    let from = signature_of(&world.registry, "shop/original:1");
    run(world.registry.crane().args(["copy", &from, &signature_of(&world.registry, "shop/copied:1")]));
    let message = world.denial(&pod(&namespace, "copied", &copied)).await;
    assert!(message.starts_with("PR-100"), "{message}");
    let tampered = world.signed("shop/tampered:1");
    flip_a_byte(&signature_of(&world.registry, "shop/tampered:1")).await;
    let message = world.denial(&pod(&namespace, "tampered", &tampered)).await;
    assert!(message.starts_with("PR-1002"), "{message}");
}

/// `host/repository:sha256-….sig`
fn signature_of(registry: &Registry, reference: &str) -> String {
    let (repository, _) = reference.rsplit_once(':').or_fail("a reference has a tag");
    let digest = run(registry.crane().args(["digest", &format!("{}/{reference}", registry.host())]));
    format!("{}/{repository}:{}.sig", registry.host(), digest.trim().replace(':', "-"))
}

/// Changes one character of the signature that a manifest holds.
async fn flip_a_byte(reference: &str) {
    let (repository, tag) = reference.rsplit_once(':').or_fail("a reference has a tag");
    let (host, path) = repository.split_once('/').or_fail("a reference has a host");
    let url = format!("http://{host}/v2/{path}/manifests/{tag}");
    let client = http_client().build().or_fail("an HTTP client");
    let read = client.get(&url).header("Accept", MANIFEST).send().await.or_fail("a manifest");
    let mut manifest: Value = serde_json::from_str(&read.text().await.or_fail("a manifest")).or_fail("a manifest");
    let signature = &mut manifest["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"];
    let text = signature.as_str().or_fail("a signature");
    let other = if text.as_bytes()[20] == b'A' { "B" } else { "A" };
    *signature = format!("{}{other}{}", &text[..20], &text[21..]).into();
    let written = client.put(&url).header("Content-Type", MANIFEST).body(manifest.to_string()).send().await;
    assert!(written.or_fail("an answer").status().is_success());
}

#[tokio::test]
async fn break_glass_passes_and_leaves_a_finding_and_a_decision() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let object = pod(&namespace, "rescued", &world.unsigned("shop/rescued:1"));
    world.denial(&object).await;
    world.rescuer().create(&object).await.unwrap();
    let used = world.daemon.wait_for("code=PR-0007", "the use of break-glass", |findings| {
        let is_ours = |finding: &&Value| finding["subject"]["key"].as_str().is_some_and(|key| key.contains(&namespace));
        findings.iter().find(is_ours).cloned()
    });
    let used = used.await;
    assert_eq!((&used["verdict"], &used["subject"]["holder"]), (&json!("fail"), &json!("rescuer")), "{used}");
    let decisions = world.decisions("rescued");
    let told: Vec<_> = decisions.iter().map(|decision| (&decision["mode"], &decision["allowed"])).collect();
    assert_eq!(told, [(&json!("enforce"), &json!(0)), (&json!("break-glass"), &json!(1))]);
    let codes: Vec<String> = serde_json::from_str(decisions[0]["codes"].as_str().unwrap()).unwrap();
    assert_eq!(codes[0], "PR-1001", "what denied comes before what warned");
}

#[tokio::test]
async fn exempt_namespaces_pass_without_a_word() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce-free").await;
    let object = pod(&namespace, "exempt", &world.unsigned("shop/exempt:1"));
    assert_eq!(world.create(&object).await.unwrap().warnings, [""; 0]);
    assert!(world.decisions("exempt").is_empty());
}

#[tokio::test]
async fn an_old_object_that_would_be_denied_now_can_still_let_go_of_its_finalizer() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let mut object = pod(&namespace, "old", &world.unsigned("shop/old:1"));
    object["metadata"]["finalizers"] = json!(["tests.portreeve.dev/held"]);
    let stored = world.rescuer().create(&object).await.unwrap();
    let path = path_of(&namespace, "old");
    let relabelled = world.api().merge(&path, &json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap_err();
    assert!(denied(&relabelled).starts_with("PR-1001"));
    let released = world.api().merge(&path, &json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert_eq!(released["spec"], stored["spec"], "its image is not rewritten");
    world.api().delete(&path).await.unwrap();
    assert_eq!(world.api().get(&path).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn a_dry_run_is_judged_and_leaves_no_decision() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let image = world.unsigned("shop/dry:1");
    let dry = world.create_dry(&pod(&namespace, "dry-run", &image)).await.unwrap_err();
    assert!(denied(&dry).starts_with("PR-1001"));
    world.denial(&pod(&namespace, "wet-run", &image)).await;
    let recorded = until(START, || async { Some(world.decisions("wet-run")).filter(|rows| !rows.is_empty()) });
    assert_eq!(recorded.await.or_fail("the decision is recorded").len(), 1);
    assert!(world.decisions("dry-run").is_empty());
}

#[tokio::test]
async fn posture_denies_only_where_a_framework_is_enforced() {
    let mut world = exclusive().await;
    let (enforce, warn) = (world.plane.namespace("enforce").await, world.plane.namespace("lab").await);
    let image = world.signed("shop/privileged:1");
    let privileged = |namespace: &str, name: &str| {
        let mut object = pod(namespace, name, &image);
        object["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
        object
    };
    let is_told = |warnings: &[String]| warnings.iter().any(|warning| warning.starts_with("portreeve: C-0057"));
    let before = world.create(&privileged(&enforce, "before")).await.unwrap();
    assert!(is_told(&before.warnings), "{:?}", before.warnings);
    let original = world.config.clone();
    let mut config = original.clone();
    config["posture"]["enforce"] = json!(["nsa"]);
    world.restart(&config).await;
    let message = world.denial(&privileged(&enforce, "after")).await;
    assert!(message.contains("C-0057"), "{message}");
    let warned = world.create(&privileged(&warn, "after")).await.unwrap().warnings;
    assert!(is_told(&warned), "{warned:?}");
    world.restart(&original).await;
    world.create(&privileged(&enforce, "restored")).await.unwrap();
}

/// T01: what was verified is what runs, wherever the tag goes between the two.
#[tokio::test]
async fn a_tag_that_moves_after_admission_does_not_move_the_pod() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let image = world.signed("shop/moving:1");
    let verified = run(world.registry.crane().args(["digest", &image])).trim().to_owned();
    world.create(&pod(&namespace, "before", &image)).await.unwrap();
    let other = world.registry.push_image("shop/moving:other");
    run(world.registry.crane().args(["tag", &other, "1"]));
    // A tag may count as resolved for a moment; whoever gets in meanwhile runs what was verified.
    let mut number = 0;
    let refused = until(START, || {
        number += 1;
        let object = pod(&namespace, &format!("after-{number}"), &image);
        let world = &world;
        async move { world.create(&object).await.err() }
    });
    assert!(denied(&refused.await.or_fail("the moved tag is denied")).contains("is not signed"));
    let pods = world.api().get(&format!("/api/v1/namespaces/{namespace}/pods")).await.unwrap();
    for stored in pods["items"].as_array().unwrap() {
        assert_eq!(image_of(stored), format!("{image}@{verified}"));
    }
}
