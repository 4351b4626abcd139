//! The private sigstore on the real servers: cosign accepts what is signed there from whom it should, and from nobody else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

use portreeve_tests::cosign::Storage;
use portreeve_tests::registry::Registry;
use portreeve_tests::sigstore::{Anchor, By, Identity, MAIL, Predicate, PrivateSigstore, Proof, Signer, Way, What};
use portreeve_tests::{OrFail as _, api, repository};
use serde_json::{Value, json};

#[tokio::test]
async fn every_way_of_signing_is_accepted_from_its_signer_alone_beside_the_referrers_api() {
    let registry = Registry::with_referrers().await;
    let images = accepted_from_its_signer_alone(&registry, &Way::all()).await;
    let client = api::http_client().build().unwrap();
    for (way, image) in images {
        let (repository, digest) = image.split_once('@').unwrap();
        let path = repository.strip_prefix(registry.host()).unwrap();
        let url = format!("http://{}/v2{path}/referrers/{digest}", registry.host());
        let list: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        let bundles = usize::from(way.storage == Storage::Bundle);
        assert_eq!(list["manifests"].as_array().unwrap().len(), bundles, "{}", way.name());
    }
}

#[tokio::test]
async fn each_storage_is_accepted_from_its_signer_alone_in_a_registry_that_knows_no_referrers() {
    let registry = Registry::with_sign_in().await;
    let one = |way: &Way| matches!(way.what, What::Signature | What::Attestation(Predicate::SlsaV1));
    let ways: Vec<_> = Way::all().into_iter().filter(one).collect();
    for (way, image) in accepted_from_its_signer_alone(&registry, &ways).await {
        let (repository, digest) = image.split_once('@').unwrap();
        let suffix = match (way.storage, way.what) {
            (Storage::Bundle, _) => "",
            (Storage::Tag, What::Signature) => ".sig",
            (Storage::Tag, What::Attestation(_)) => ".att",
        };
        let tag = format!("{repository}:{}{suffix}", digest.replace(':', "-"));
        assert!(registry.crane().args(["manifest", &tag]).output().unwrap().status.success(), "{tag}");
    }
}

#[tokio::test]
async fn one_strange_anchor_is_enough_to_refuse_and_one_that_is_not_asked_is_none() {
    let (sigstore, registry) = (PrivateSigstore::shared().await, Registry::with_referrers().await);
    let signer = sigstore.signer(registry.docker_config()).await;
    for (proof, asked) in
        [(Proof::Logged, &Anchor::ALL[..]), (Proof::Stamped, &[Anchor::Fulcio, Anchor::Ct, Anchor::Tsa])]
    {
        let way = Way::signature(By::Mail, proof, Storage::Bundle);
        let image = registry.push_image(&format!("demo/anchors:{}", way.name()));
        signer.sign(way, &image);
        for anchor in Anchor::ALL {
            let root = sigstore.trusted_root().with(anchor, sigstore.strangers_root());
            let verified = signer.verify(way, &image, &signer.identity(By::Mail), &root);
            assert_eq!(verified.status.success(), !asked.contains(&anchor), "{way:?} {anchor:?}: {}", said(&verified));
        }
    }
}

#[tokio::test]
async fn tokens_become_the_identities_of_their_claims() {
    let (sigstore, registry) = (PrivateSigstore::shared().await, Registry::with_referrers().await);
    let mut claims = portreeve_tests::sigstore::github_claims();
    claims["repository"] = "example-org/other".into();
    let (mail, github) = (sigstore.token("mate@example.org").await, sigstore.github_token(&claims).await);
    let signer = sigstore.signer_as(registry.docker_config(), &mail, &github);
    let root = sigstore.trusted_root();

    let way = Way::signature(By::Mail, Proof::Logged, Storage::Bundle);
    let image = registry.push_image("demo/mate:1");
    signer.sign(way, &image);
    let mate = Identity::Keyless { issuer: sigstore.mail_issuer(), subject: "mate@example.org".to_owned() };
    assert!(signer.verify(way, &image, &mate, root).status.success());
    assert!(!signer.verify(way, &image, &signer.identity(By::Mail), root).status.success(), "{MAIL} did not sign");

    let way = Way::signature(By::GitHub, Proof::Logged, Storage::Bundle);
    let image = registry.push_image("demo/workflow:1");
    signer.sign(way, &image);
    for (repository, accepted) in [("example-org/other", true), ("example-org/app", false)] {
        let mut command = signer.verification(way, &image, &signer.identity(By::GitHub), root);
        let verified = command.args(["--certificate-github-workflow-repository", repository]).output().unwrap();
        assert_eq!(verified.status.success(), accepted, "{repository}: {}", said(&verified));
    }
}

#[tokio::test]
async fn a_predicate_of_ones_own_is_attested_under_any_uri() {
    let (sigstore, registry) = (PrivateSigstore::shared().await, Registry::with_referrers().await);
    let signer = sigstore.signer(registry.docker_config()).await;
    let way = Way::attestation(By::Mail, Predicate::SlsaV1, Proof::Logged, Storage::Bundle);
    let image = registry.push_image("demo/custom:1");
    signer.attest(way, "https://example.org/tested/v1", &json!({"tested": true}), &image);
    let identity = signer.identity(By::Mail);
    let mut command = signer.verification(way, &image, &identity, sigstore.trusted_root());
    let verified = command.args(["--type", "https://example.org/tested/v1"]).output().unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
    assert!(!signer.verify(way, &image, &identity, sigstore.trusted_root()).status.success(), "it is no provenance");
}

#[test]
fn the_records_are_of_all_ways_and_cosign_accepts_their_bundles_after_the_certificates_have_ended() {
    records_are_good("keyless", &Way::all(), "record_keyless");
}

#[test]
fn the_records_of_rekor_v1_are_of_all_ways_and_cosign_accepts_their_bundles() {
    records_are_good("rekor_v1", &Way::LOGGED_V1, "record_rekor_v1");
}

fn records_are_good(folder: &str, ways: &[Way], recorder: &str) {
    let folder = repository().join("policies/trust/tests").join(folder);
    let list = fs::read(folder.join("cases.json")).or_fail("the list of recorded cases");
    let cases: Vec<Value> = serde_json::from_slice(&list).or_fail("the list of recorded cases");
    let names: BTreeSet<_> = cases.iter().map(|case| text(case, "name")).collect();
    let hint = format!("cargo run -p portreeve-tests --example {recorder}");
    assert_eq!(names, ways.iter().map(|way| way.name()).collect(), "record anew: {hint}");
    for case in cases {
        let name = text(&case, "name");
        if case["storage"] != "bundle" {
            assert!(folder.join(format!("{name}.manifest.json")).is_file(), "{name}: {hint}");
            assert!(folder.join(format!("{name}.payload.json")).is_file(), "{name}: {hint}");
            continue;
        }
        let ours = bundle_verification(&folder, &case, "trusted_root.json");
        assert!(ours.status.success(), "{name}: {}", said(&ours));
        let theirs = bundle_verification(&folder, &case, "strangers_root.json");
        let rootless = case["stamped"] == false && case["logged"] == false;
        assert_eq!(theirs.status.success(), rootless, "{name}: {}", said(&theirs));
    }
}

/// Cosign on a recorded bundle, without a registry.
fn bundle_verification(folder: &Path, case: &Value, root: &str) -> Output {
    let kind = case["predicateType"].as_str().unwrap_or("https://sigstore.dev/cosign/sign/v1");
    let mut command = portreeve_tests::cosign::bare();
    command.args(["verify-blob-attestation", "--digestAlg", "sha256", "--type", kind]);
    command.args(["--digest", text(case, "digest").trim_start_matches("sha256:")]);
    command.arg("--bundle").arg(folder.join(format!("{}.bundle.json", text(case, "name"))));
    command.arg("--trusted-root").arg(folder.join(root));
    let signer = &case["signer"];
    if signer["key"].is_string() {
        command.arg("--key").arg(folder.join(text(signer, "key")));
    } else {
        command.args(["--certificate-identity", &text(signer, "subject")]);
        command.args(["--certificate-oidc-issuer", &text(signer, "issuer")]);
    }
    if case["logged"] == false {
        command.arg("--insecure-ignore-tlog=true");
        command.arg(format!("--use-signed-timestamps={}", case["stamped"]));
    }
    command.output().or_fail("running cosign")
}

fn text(case: &Value, field: &str) -> String {
    case[field].as_str().unwrap_or_default().to_owned()
}

/// Signs an image in each way and has cosign verify it: for its signer, for another identity, by a strangers' root.
async fn accepted_from_its_signer_alone(registry: &Registry, ways: &[Way]) -> Vec<(Way, String)> {
    let sigstore = PrivateSigstore::shared().await;
    let signer = sigstore.signer(registry.docker_config()).await;
    let stranger = sigstore.signer(registry.docker_config()).await;
    let mut images = Vec::new();
    for way in ways {
        let image = registry.push_image(&format!("demo/{}:1", way.name()));
        signer.sign(*way, &image);
        let verified = signer.verify(*way, &image, &signer.identity(way.by), sigstore.trusted_root());
        assert_eq!(verified.status.success(), way.satisfies_cosign(), "{}: {}", way.name(), said(&verified));
        let other = another(&signer, &stranger, way.by);
        let wrong = signer.verify(*way, &image, &other, sigstore.trusted_root());
        assert!(!wrong.status.success(), "{}: {other:?}", way.name());
        // A key proves itself; the root only has a say about its log and its timestamp.
        let rootless = way.by == By::Key && way.proof == Proof::Bare;
        let strange = signer.verify(*way, &image, &signer.identity(way.by), sigstore.strangers_root());
        assert_eq!(strange.status.success(), rootless, "{}: {}", way.name(), said(&strange));
        images.push((*way, image));
    }
    images
}

fn another(signer: &Signer<'_>, stranger: &Signer<'_>, by: By) -> Identity {
    match signer.identity(by) {
        Identity::Key(_) => stranger.identity(by),
        Identity::Keyless { issuer, subject } => Identity::Keyless { issuer, subject: format!("{subject}.example") },
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
