use std::collections::BTreeMap;

use portreeve_reports::source::{Fields, Limits, Problems, yaml};

use super::*;
use crate::evidence::{Lookup, SignatureLayer};
use crate::policy::{Given, ImagePolicySpec};
use crate::sign::{SigningKey, sign_v2};

const DIGEST: &str = "sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7";

fn policy(text: &str, keys: &[(&str, &SigningKey)]) -> ImagePolicy {
    let document = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let mut problems = Problems::new("policy.yaml");
    let spec = Fields::of(&document, "spec", &mut problems).and_then(|map| map.finish_with(ImagePolicySpec::decode));
    let spec = problems.into_result(spec).unwrap().unwrap();
    let pem = |key: &SigningKey| key.public_key_pem().unwrap().into_bytes();
    let keys = keys.iter().map(|(name, key)| ((*name).to_owned(), Ok(pem(key)))).collect();
    ImagePolicy::build(&spec, &keys, Problems::new("policy.yaml")).unwrap()
}

fn image() -> ImageReference {
    ImageReference::parse("docker.io/library/busybox").unwrap().pinned(Digest::parse(DIGEST).unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn signed_by(keys: &[&SigningKey]) -> ImageEvidence {
    let digest = Digest::parse(DIGEST).unwrap();
    let layers = keys.iter().map(|key| {
        let signed = sign_v2(key, &image(), &digest, &[]).unwrap();
        SignatureLayer {
            media_type: signed.layer.media_type,
            payload: Lookup::Found(signed.payload),
            annotations: signed.layer.annotations,
        }
    });
    ImageEvidence {
        repository: image().repository.to_string(),
        tag_signatures: Lookup::Found(layers.collect()),
        tag_attestations: None,
        referrers: Lookup::Absent,
        digest,
    }
}

const ALLOW: &str = r#"
noMatch: allow
rules:
  - name: pinned
    images: [docker.io/library/busybox]
    mode: warn
    static:
      allow: ["sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7"]
      owner: team-platform
      reason: root init container
      expires: 2027-03-01
  - {name: miners, images: [mine.example/**], static: {deny: true, reason: no miners}}
"#;

#[test]
fn a_static_allow_verifies_its_digest_without_evidence_until_it_expires() {
    let policy = policy(ALLOW, &[]);
    assert_eq!(needs(&policy, &image().repository, None), Needs::Nothing);
    let judgement = judge(&policy, &image(), None, None, at("2027-03-01T23:59:00Z"));
    let token = judgement.verified().unwrap();
    assert_eq!(token.digest().as_str(), DIGEST);
    assert!(token.authorities()[0].starts_with("team-platform, by digest until 2027-03-01"), "{token:?}");
    assert_eq!((judgement.effect, judgement.rule.as_deref()), (Effect::Warn, Some("pinned")));

    let late = judge(&policy, &image(), None, None, at("2027-03-02T00:00:00Z"));
    assert!(matches!(late.fact(), ImageFact::Mismatch(_)), "{:?}", late.fact());
    let other = image().pinned(Digest::parse(&DIGEST.replace('9', "8")).unwrap());
    let other = judge(&policy, &other, None, None, at("2027-01-01T00:00:00Z"));
    assert!(matches!(other.fact(), ImageFact::Mismatch(_)) && other.verified().is_none());
}

#[test]
fn a_static_deny_and_an_image_without_rule_are_never_verified() {
    let policy = policy(ALLOW, &[]);
    let named = |text: &str| ImageReference::parse(text).unwrap().pinned(Digest::parse(DIGEST).unwrap());
    let denied = judge(&policy, &named("mine.example/x"), None, None, Timestamp::UNIX_EPOCH);
    assert_eq!(denied.fact(), ImageFact::Mismatch("denied by rule 'miners': no miners".into()));
    let unnamed = judge(&policy, &named("quay.io/x/y"), None, None, Timestamp::UNIX_EPOCH);
    assert!(matches!(unnamed.fact(), ImageFact::NotAsked(_)) && unnamed.verified().is_none());
}

#[test]
fn an_image_that_no_rule_names_fails_by_the_no_match_of_the_policy() {
    for (no_match, mode, effect) in [
        ("deny", "enforce", Effect::Block),
        ("warn", "enforce", Effect::Warn),
        ("warn", "audit", Effect::Audit),
        ("deny", "audit", Effect::Audit),
    ] {
        let policy = policy(&format!("mode: {mode}\nnoMatch: {no_match}\nrules: []\n"), &[]);
        let judgement = judge(&policy, &image(), Some("jhub"), None, Timestamp::UNIX_EPOCH);
        assert!(matches!(judgement.fact(), ImageFact::Mismatch(_)));
        assert_eq!(judgement.effect, effect, "{no_match} {mode}");
    }
}

const TWO_OF_THREE: &str = r#"
rules:
  - name: r
    images: ["**"]
    namespaces: [prod]
    authorities:
      threshold: 2
      list:
        - {name: a, required: true, key: {file: a}}
        - {name: b, key: {file: b}}
        - {name: again b, key: {file: b}}
        - {name: c, key: {file: c, notBefore: 2026-01-01, notAfter: 2026-12-31}}
"#;

#[test]
fn threshold_and_required_authorities_must_both_be_met_by_different_valid_keys() {
    let [a, b, c] = [(); 3].map(|()| SigningKey::generate().unwrap());
    let policy = policy(TWO_OF_THREE, &[("a", &a), ("b", &b), ("c", &c)]);
    let verified = |keys: &[&SigningKey], now: &str| {
        judge(&policy, &image(), Some("prod"), Some(&signed_by(keys)), at(now)).verified().is_some()
    };
    let (in_time, late) = ("2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert!(verified(&[&a, &b], in_time) && verified(&[&a, &c], in_time));
    assert!(!verified(&[&a], in_time) && !verified(&[&a, &a], in_time));
    assert!(!verified(&[&b], in_time) && !verified(&[&b, &c], in_time));
    assert!(!verified(&[&a, &c], late) && verified(&[&a, &b], late));
    assert!(!verified(&[&a, &c], "2025-12-31T23:59:59Z"));
}

#[test]
fn reasons_say_who_signed_and_what_is_missing() {
    let [a, b, c] = [(); 3].map(|()| SigningKey::generate().unwrap());
    let policy = policy(TWO_OF_THREE, &[("a", &a), ("b", &b), ("c", &c)]);
    let judgement = judge(&policy, &image(), None, Some(&signed_by(&[&b, &c])), at("2027-01-01T00:00:00Z"));
    let ImageFact::Untrusted(reasons) = judgement.fact() else { panic!("{:?}", judgement.fact()) };
    assert_eq!(
        reasons,
        [
            "signed by 'b', 'again b' (1 different), of 2 signers needed; 'a' must sign",
            "signature tag, layer 1: signed by 'c', whose key is trusted from 2026-01-01T00:00:00Z to \
         2026-12-31T23:59:59.999999999Z only",
        ]
    );
    assert_eq!(
        judgement.notes,
        ["no namespace was given; the rule is for namespaces prod and was chosen by its images"]
    );
}

#[test]
fn log_entries_and_timestamps_are_named_as_not_checked() {
    let key = SigningKey::generate().unwrap();
    let keys = BTreeMap::from([("k".to_owned(), key.public_key_pem().unwrap().into_bytes())]);
    let policy = ImagePolicy::given(Given { keys, ..Given::default() }, 1).unwrap();
    let mut evidence = signed_by(&[&key]);
    if let Lookup::Found(layers) = &mut evidence.tag_signatures {
        layers[0].annotations.insert("dev.sigstore.cosign/bundle".into(), "{}".into());
    }
    let judgement = judge(&policy, &image(), None, Some(&evidence), Timestamp::UNIX_EPOCH);
    assert!(judgement.verified().is_some());
    let notes: Vec<_> = judgement.accounted.iter().flat_map(|entry| &entry.notes).collect();
    assert_eq!(notes, [&"a log entry is present and was not checked: no trust root of the rule can"]);
}

#[test]
fn a_keyless_signature_is_refused_by_name_where_keys_are_trusted() {
    let [signer, stranger] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let keys = BTreeMap::from([("k".to_owned(), signer.public_key_pem().unwrap().into_bytes())]);
    let policy = ImagePolicy::given(Given { keys, ..Given::default() }, 1).unwrap();
    let mut evidence = signed_by(&[&stranger]);
    if let Lookup::Found(layers) = &mut evidence.tag_signatures {
        layers[0].annotations.insert("dev.sigstore.cosign/certificate".into(), "-----BEGIN".into());
    }
    let judgement = judge(&policy, &image(), None, Some(&evidence), Timestamp::UNIX_EPOCH);
    let ImageFact::Untrusted(reasons) = judgement.fact() else { panic!("{:?}", judgement.fact()) };
    assert_eq!(reasons, ["signature tag, layer 0: signed with a certificate; this rule trusts keys"]);
}

#[test]
fn only_an_unknown_can_be_given_another_reason() {
    let policy = policy(ALLOW, &[]);
    let tag = |text: &str| judge(&policy, &ImageReference::parse(text).unwrap(), None, None, Timestamp::UNIX_EPOCH);
    let unresolved = tag("busybox:1").unknown_because(Cause::Forbidden, "401");
    assert_eq!(unresolved.fact(), ImageFact::Unknown(Cause::Forbidden, "401".into()));
    let denied = tag("mine.example/x:1").unknown_because(Cause::Forbidden, "401");
    assert!(matches!(denied.fact(), ImageFact::Mismatch(_)));
    let verified = judge(&policy, &image(), None, None, Timestamp::UNIX_EPOCH);
    assert!(verified.unknown_because(Cause::Forbidden, "401").verified().is_some());
}
