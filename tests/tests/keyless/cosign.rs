//! "What cosign does in the bad cases": what we answer instead, with an exit code for each kind of answer and a reason that
//! says what is wrong. That keyless signatures hold after their certificate has ended (cosign's one good case there) is
//! shown with recorded ones: `policies/trust/tests/keyless.rs`.

use portreeve_tests::OrFail as _;
use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::cosign::Storage;
use portreeve_tests::registry::Registry;
use portreeve_tests::sigstore::{Anchor, By, Predicate, Proof, Way};

use crate::harbour::{Berth, Case, Harbour};
use crate::matrix::Site;

const LOGGED: Way = Way::signature(By::Mail, Proof::Logged, Storage::Bundle);
const STAMPED_TAG: Way = Way::signature(By::Mail, Proof::Stamped, Storage::Tag);

/// The image signed so, beside the referrers API.
fn berth(harbour: &Harbour, way: Way, is_moved: bool) -> &Berth {
    let is_it = |berth: &&Berth| berth.has_referrers && berth.way == way && berth.is_moved == is_moved;
    harbour.berths.iter().find(is_it).or_fail("an image signed so")
}

/// What `verify` says of an image by the policy of a case.
fn verified(site: &Site, image: &str) -> Output {
    let mut command = Portreeve::command();
    command.arg("verify").arg("--config").arg(site.config()).arg("--image-policy").arg(site.policy_file());
    Portreeve::finish(command.arg(image))
}

/// What `verify` says of the image signed so, by the policy of a case.
async fn asked(case: Case, way: Way) -> Output {
    let harbour = Harbour::shared().await;
    verified(&Site::new(case, harbour), &berth(harbour, way, false).image)
}

fn untrusted(output: Output, why: &str) {
    let output = output.expect_exit(12);
    assert!(output.stdout.contains(why), "{why}: {}", output.stdout);
}

#[tokio::test]
async fn a_wrong_identity_or_issuer_is_untrusted_in_both_storages_and_who_signed_is_told() {
    let harbour = Harbour::shared().await;
    let (issuer, subject) = harbour.keyless(By::Mail);
    for way in [LOGGED, STAMPED_TAG] {
        for case in [Case::OtherSubject, Case::OtherIssuer] {
            untrusted(asked(case, way).await, &format!("signed by {subject} (issuer {issuer})"));
        }
    }
    let github = Way::signature(By::GitHub, Proof::Logged, Storage::Bundle);
    untrusted(
        asked(Case::OtherClaim, github).await,
        "whose claim sourceRepositoryOwner is 'example-org', not 'example'",
    );
}

#[tokio::test]
async fn another_root_or_one_strange_anchor_is_untrusted_and_told_apart() {
    untrusted(asked(Case::Strangers, LOGGED).await, "its log entry is of a log that the trust root does not name");
    for (anchor, why) in [
        (Anchor::Fulcio, "certificate"),
        (Anchor::Ct, "SCT"),
        (Anchor::Rekor, "its log entry is of a log that the trust root does not name"),
        (Anchor::Tsa, "CMS signer does not match any trusted TSA certificate"),
    ] {
        untrusted(asked(Case::Mixed(anchor), LOGGED).await, why);
    }
}

#[tokio::test]
async fn a_wrong_key_is_untrusted_in_both_storages_logged_or_not() {
    let bare = |storage| Way::signature(By::Key, Proof::Bare, storage);
    for way in [bare(Storage::Tag), bare(Storage::Bundle), Way::signature(By::Key, Proof::Logged, Storage::Bundle)] {
        untrusted(asked(Case::OtherSubject, way).await, "not signed by any key of the rule");
    }
}

#[tokio::test]
async fn a_signature_that_was_made_for_another_image_is_untrusted_and_names_that_image() {
    let harbour = Harbour::shared().await;
    let site = Site::new(Case::Signer, harbour);
    for moved in harbour.berths.iter().filter(|berth| berth.is_moved && berth.has_referrers) {
        untrusted(verified(&site, &moved.image), "for another image, sha256:");
    }
}

#[tokio::test]
async fn unsigned_missing_and_not_to_be_reached_are_three_exits() {
    let harbour = Harbour::shared().await;
    let site = Site::new(Case::Signer, harbour);
    let [registry, _] = &harbour.registries;
    let repository = berth(harbour, LOGGED, false).repository();
    let unsigned =
        registry.push_image(&format!("{}:unsigned", repository.trim_start_matches(&format!("{}/", registry.host()))));
    let output = verified(&site, &unsigned).expect_exit(11);
    assert!(output.stdout.contains("is not signed"), "{}", output.stdout);
    let output = verified(&site, &format!("{repository}:nowhere")).expect_exit(3);
    assert!(output.stderr.contains("no such image"), "{}", output.stderr);
    let mut away = Registry::with_referrers().await;
    let image = away.push_image("demo/app:1");
    away.stop();
    let key = harbour.signer.cosign().public_key();
    let mut command = Portreeve::command();
    command.args(["verify", "--plain-http", away.host(), "--key"]).arg(key).arg(image);
    let output = Portreeve::finish(&mut command).expect_exit(5);
    assert!(output.stdout.contains("could not be verified"), "{}", output.stdout);
}

#[tokio::test]
async fn an_attestation_alone_is_no_signature() {
    let provenance = Way::attestation(By::Mail, Predicate::SlsaV1, Proof::Logged, Storage::Bundle);
    let output = asked(Case::Signer, provenance).await.expect_exit(11);
    let said = "no signature: attestation of type 'https://slsa.dev/provenance/v1'";
    assert!(output.stdout.contains("is not signed") && output.stdout.contains(said), "{}", output.stdout);
}

#[tokio::test]
async fn what_was_checked_is_told_and_what_was_not_is_not_claimed() {
    let harbour = Harbour::shared().await;
    let site = Site::new(Case::Signer, harbour);
    let logged = Way::signature(By::Key, Proof::Logged, Storage::Bundle);
    let by_policy = |way| verified(&site, &berth(harbour, way, false).image).expect_exit(0).stdout;
    let by_key = |way| {
        let mut command = Portreeve::command();
        command.arg("verify").arg("--config").arg(site.config()).arg("--key").arg(harbour.signer.cosign().public_key());
        Portreeve::finish(command.arg(&berth(harbour, way, false).image)).expect_exit(0).stdout
    };
    for way in [LOGGED, logged] {
        let said = by_policy(way);
        assert!(said.contains("log entry checked; timestamp checked"), "{said}");
    }
    let said = by_policy(STAMPED_TAG);
    assert!(said.contains("timestamp checked") && !said.contains("log entry"), "{said}");
    let said = by_key(logged);
    assert!(said.contains("a log entry is present and was not checked"), "{said}");
    let said = by_key(Way::signature(By::Key, Proof::Bare, Storage::Bundle));
    assert!(!said.contains("log entry") && !said.contains("timestamp"), "{said}");
}
