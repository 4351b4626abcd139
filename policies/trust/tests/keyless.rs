//! Signatures by identities, made by cosign against a private sigstore (`keyless/` with a Rekor v2, `rekor_v1/`): what is
//! believed of them, and that nothing is once a single byte of them, or of what they are anchored in, is another.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use portreeve_policies::facts::ImageFact;
use portreeve_reports::Cause;
use portreeve_trust::evidence::{ImageEvidence, Lookup, SignatureLayer};
use portreeve_trust::verify::Outcome;
use serde_json::Value;

mod recorded;

use recorded::forge::{flipped, forged_annotations, forged_bundles};
use recorded::{Case, Rule, case, file, judged, keyless, layer, refusal};

/// What each case needs of its policy beyond an identity.
const BELIEVED: [(&str, &str); 5] = [
    ("keyless-logged", ""),
    ("keyless-stamped", ", log: optional"),
    ("keyless-stamped-tag", ", log: optional"),
    ("keyless-logged-v1", ""),
    ("keyless-logged-v1-tag", ""),
];

#[test]
fn an_identity_is_believed_with_its_certificate_log_entry_and_time_in_both_storages() {
    for (name, demand) in BELIEVED {
        let case = case(name);
        let policy = case.policy(&[&keyless(&format!("{}{demand}", case.signer()))]);
        let judgement = judged(&policy, &case, &case.evidence());
        let expected =
            ImageFact::Verified { digest: case.digest(), authorities: vec!["a0".into()], attestations: Vec::new() };
        assert_eq!(judgement.fact(), expected, "{name}: {:?}", judgement.accounted);
        let found = judgement.accounted.iter().find(|entry| matches!(entry.outcome, Outcome::Verified(_))).unwrap();
        let issuer = case.told["signer"]["issuer"].as_str().unwrap();
        let mut notes = vec![format!("by dev@example.org (issuer {issuer})")];
        notes.extend((case.told["logged"] == true).then(|| "log entry checked".to_owned()));
        notes.extend((case.told["stamped"] == true).then(|| "timestamp checked".to_owned()));
        assert_eq!(found.notes, notes, "{name}");
    }
}

#[test]
fn a_signature_without_a_log_entry_is_refused_where_the_policy_does_not_say_otherwise() {
    for name in ["keyless-stamped", "keyless-stamped-tag", "keyless-bare-tag"] {
        let case = case(name);
        let said = refusal(&judged(&case.policy(&[&keyless(&case.signer())]), &case, &case.evidence()));
        assert!(said.contains("no entry of the transparency log"), "{said}");
    }
}

#[test]
fn a_signature_that_nothing_dates_is_refused_in_any_case() {
    let case = case("keyless-bare-tag");
    let policy = case.policy(&[&keyless(&format!("{}, log: optional, sct: optional", case.signer()))]);
    let said = refusal(&judged(&policy, &case, &case.evidence()));
    assert!(said.contains("lacks what the policy wants"), "{said}");
}

#[test]
fn another_identity_issuer_or_claim_is_a_stranger_and_told_by_name() {
    let case = case("github-logged");
    let issuer = case.told["signer"]["issuer"].as_str().unwrap();
    let issuer = format!("issuer: {issuer}");
    let workflow =
        "subjectRegexp: 'https://github\\.com/example-org/app/\\.github/workflows/release\\.yml@refs/heads/.+'";
    let good = format!(
        "{issuer}, {workflow}, claims: {{sourceRepositoryOwner: example-org, sourceRepository: example-org/app}}"
    );
    assert!(judged(&case.policy(&[&keyless(&good)]), &case, &case.evidence()).verified().is_some());
    for (identity, said) in [
        (good.replace("heads/.+", "heads/mai"), "signed by https://github.com/example-org/app/"),
        (good.replace("/github,", "/mail,"), "/github)"),
        (good.replace("'https", "'ttps"), "signed by https://"),
        (
            good.replace("sourceRepositoryOwner: example-org", "sourceRepositoryOwner: example"),
            "claim sourceRepositoryOwner is 'example-org', not 'example'",
        ),
        (good.replace("sourceRepositoryOwner:", "deploymentEnvironment:"), "without the claim deploymentEnvironment"),
    ] {
        let reason = refusal(&judged(&case.policy(&[&keyless(&identity)]), &case, &case.evidence()));
        assert!(reason.contains(said), "{identity}: {reason}");
    }
}

#[test]
fn a_root_in_which_one_authority_is_a_stranger_proves_nothing() {
    let (own, strange): (Value, Value) = (
        serde_json::from_slice(&file("keyless", "trusted_root.json")).unwrap(),
        serde_json::from_slice(&file("keyless", "strangers_root.json")).unwrap(),
    );
    let case = case("keyless-logged");
    for part in ["certificateAuthorities", "ctlogs", "tlogs", "timestampAuthorities"] {
        let mut mixed = own.clone();
        mixed[part] = strange[part].clone();
        let root = serde_json::to_vec(&mixed).unwrap();
        let policy = case
            .policy_of(&Rule { root: Some(root), authorities: &[&keyless(&case.signer())], ..Rule::default() })
            .unwrap();
        let reason = refusal(&judged(&policy, &case, &case.evidence()));
        let expected = match part {
            "certificateAuthorities" => "certificate chain is invalid",
            "ctlogs" => "signed certificate timestamp",
            "tlogs" => "a log that the trust root does not name",
            _ => "timestamp",
        };
        assert!(reason.to_lowercase().contains(expected), "{part}: {reason}");
    }
}

#[test]
fn a_log_whose_key_had_ended_proves_nothing() {
    for name in ["keyless-logged", "keyed-logged", "keyless-logged-v1"] {
        let case = case(name);
        let authority = match case.told["signer"]["key"].is_string() {
            true => "key: {file: signer.pub, log: required, trustRoot: root}".to_owned(),
            false => keyless(&case.signer()),
        };
        let judged_in = |end: &str| {
            let mut root: Value = serde_json::from_slice(&case.file("trusted_root.json")).unwrap();
            for log in root["tlogs"].as_array_mut().unwrap() {
                log["publicKey"]["validFor"] = serde_json::json!({"start": "2020-01-01T00:00:00Z", "end": end});
            }
            let root = Some(serde_json::to_vec(&root).unwrap());
            let rule = Rule { root, authorities: &[&authority], ..Rule::default() };
            judged(&case.policy_of(&rule).unwrap(), &case, &case.evidence()).fact()
        };
        assert!(matches!(judged_in("2039-01-01T00:00:00Z"), ImageFact::Verified { .. }), "{name}");
        assert!(matches!(judged_in("2021-01-01T00:00:00Z"), ImageFact::Untrusted(_)), "{name}");
    }
}

#[test]
fn a_signature_moved_to_another_image_is_refused_as_such() {
    let (one, other) = (case("keyless-logged"), case("keyless-stamped"));
    let moved = ImageEvidence { digest: other.digest(), ..one.evidence() };
    let reason = refusal(&judged(&one.policy(&[&keyless(&one.signer())]), &other, &moved));
    assert!(reason.contains(&format!("signed for another image, {}", one.digest())), "{reason}");
}

#[test]
fn an_attestation_by_the_right_identity_is_no_signature() {
    let case = case("keyless-slsaprovenance1");
    let judgement = judged(&case.policy(&[&keyless(&case.signer())]), &case, &case.evidence());
    assert_eq!(judgement.fact(), ImageFact::Unsigned, "{:?}", judgement.accounted);
}

#[test]
fn a_bundle_with_more_to_verify_than_anybody_needs_is_not_looked_at() {
    let case = case("keyless-logged");
    let policy = case.policy(&[&keyless(&case.signer())]);
    let fact = |entries: usize, timestamps: usize| {
        let mut bundle: Value = serde_json::from_slice(&case.carrier()).unwrap();
        let material = &mut bundle["verificationMaterial"];
        material["tlogEntries"] = vec![material["tlogEntries"][0].clone(); entries].into();
        let stamped = &mut material["timestampVerificationData"]["rfc3161Timestamps"];
        *stamped = vec![stamped[0].clone(); timestamps].into();
        judged(&policy, &case, &case.evidence_of(serde_json::to_vec(&bundle).unwrap())).fact()
    };
    assert!(matches!(fact(1, 8), ImageFact::Verified { .. }), "{:?}", fact(1, 8));
    for (entries, timestamps) in [(1, 9), (9, 1), (1, 20_000)] {
        assert!(matches!(fact(entries, timestamps), ImageFact::Unknown(Cause::TooLarge, _) | ImageFact::Untrusted(_)));
    }
    assert!(matches!(fact(0, 1), ImageFact::Untrusted(_)));
}

#[test]
fn keys_and_identities_do_not_stand_in_for_each_other() {
    let (certified, keyed) = (case("keyless-logged"), case("keyed-logged"));
    let reason = |authority: &str, case: &Case| refusal(&judged(&case.policy(&[authority]), case, &case.evidence()));
    assert!(reason("key: {file: signer.pub}", &certified).contains("with a certificate; this rule trusts keys"));
    assert!(reason(&keyless(&certified.signer()), &keyed).contains("with a key; this rule trusts certificates"));
}

#[test]
fn a_key_may_ask_for_the_log_and_its_time_then_decides_when_the_key_counted() {
    let (logged, bare) = (case("keyed-logged"), case("keyed-bare"));
    let fact = |authority: &str, case: &Case| judged(&case.policy(&[authority]), case, &case.evidence()).fact();
    let is_verified = |authority: &str, case: &Case| matches!(fact(authority, case), ImageFact::Verified { .. });
    assert!(is_verified("key: {file: signer.pub, log: required, trustRoot: root}", &logged));
    assert!(is_verified("key: {file: signer.pub, trustRoot: root}", &bare));
    assert!(!is_verified("key: {file: signer.pub, log: required, trustRoot: root}", &bare));
    // It was signed in the twenties, says the timestamp; it is judged in 2040.
    assert!(is_verified("key: {file: signer.pub, trustRoot: root, notAfter: 2035-01-01}", &logged));
    assert!(!is_verified("key: {file: signer.pub, notAfter: 2035-01-01}", &logged));
    assert!(!is_verified("key: {file: signer.pub, trustRoot: root, notAfter: 2020-01-01}", &logged));
    assert!(!is_verified("key: {file: signer.pub, trustRoot: root, notBefore: 2035-01-01}", &logged));
    assert!(!is_verified("key: {file: signer.pub, trustRoot: root, notAfter: 2035-01-01}", &bare));
}

#[test]
fn one_signer_under_two_names_is_not_two() {
    let case = case("keyless-logged");
    let pattern = case.signer().replace("subject: 'dev", "subjectRegexp: '.+");
    let authorities = [keyless(&case.signer()), keyless(&pattern)];
    let authorities = [authorities[0].as_str(), authorities[1].as_str()];
    let policy = case.policy_of(&Rule { threshold: Some(2), authorities: &authorities, ..Rule::default() }).unwrap();
    let reason = refusal(&judged(&policy, &case, &case.evidence()));
    assert!(reason.contains("signed by 'a0', 'a1' (1 different), of 2 signers needed"), "{reason}");
}

#[test]
fn a_changed_byte_anywhere_in_a_bundle_is_refused() {
    for (name, authority) in [
        ("keyless-logged", None),
        ("keyless-stamped", None),
        ("github-logged", None),
        ("keyless-logged-v1", None),
        ("keyed-logged", Some("key: {file: signer.pub, log: required, trustRoot: root}")),
        ("keyed-logged-v1", Some("key: {file: signer.pub, log: required, trustRoot: root}")),
    ] {
        let case = case(name);
        let demand = if case.told["logged"] == true { "" } else { ", log: optional" };
        let authority = authority.map_or_else(|| keyless(&format!("{}{demand}", case.signer())), str::to_owned);
        let policy = case.policy(&[&authority]);
        assert!(judged(&policy, &case, &case.evidence()).verified().is_some());
        let mut tried = 0;
        for (path, forged) in forged_bundles(&case.carrier()) {
            let judgement = judged(&policy, &case, &case.evidence_of(forged));
            assert!(judgement.verified().is_none(), "{name}: {path}");
            tried += 1;
        }
        assert!(tried > 900, "{name}: {tried}");
    }
}

#[test]
fn a_changed_byte_anywhere_in_a_tagged_signature_is_refused() {
    for (name, demand) in BELIEVED.into_iter().filter(|(name, _)| name.ends_with("-tag")) {
        let case = case(name);
        let policy = case.policy(&[&keyless(&format!("{}{demand}", case.signer()))]);
        let original = layer(&case.carrier(), case.payload());
        let is_refused = |layer: SignatureLayer| {
            let evidence = ImageEvidence { tag_signatures: Lookup::Found(vec![layer]), ..case.evidence() };
            judged(&policy, &case, &evidence).verified().is_none()
        };
        assert!(!is_refused(original.clone()));
        for index in 0..case.payload().len() {
            let payload = Lookup::Found(flipped(&case.payload(), index));
            assert!(is_refused(SignatureLayer { payload, ..original.clone() }), "{name}: byte {index}");
        }
        // What the registry says about the root is not read: the trust root says it.
        for (annotation, text) in original.annotations.iter().filter(|(name, _)| !name.ends_with("/chain")) {
            for forged in forged_annotations(annotation, text) {
                let mut layer = original.clone();
                layer.annotations.insert(annotation.clone(), forged.clone());
                assert!(is_refused(layer), "{name}: {annotation} = {forged:?}");
            }
            let mut layer = original.clone();
            layer.annotations.remove(annotation);
            assert!(is_refused(layer), "{name}: without {annotation}");
        }
    }
}
