//! Signatures made by cosign 3.1.3 (`fixtures/`), and what must not be made of them.
//!
//! `one.json` and `two.json` are the evidence of two images, each signed by `signer.pub` in both storages without a
//! log; `attested.json` is an image that carries a provenance attestation by the same key and no signature.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::Cause;
use portreeve_trust::evidence::{ImageEvidence, Lookup, Referrer, ReferrerContent, SignatureLayer};
use portreeve_trust::policy::{Given, ImagePolicy, InvalidAuthorities};
use portreeve_trust::verify::{ImageJudgement, MAX_SIGNATURES, Outcome, judge};
use proptest::prelude::*;
use proptest::sample::Index;

const SIGNER: &[u8] = include_bytes!("fixtures/signer.pub");
const STRANGER: &[u8] = include_bytes!("fixtures/stranger.pub");

fn one() -> ImageEvidence {
    serde_json::from_str(include_str!("fixtures/one.json")).unwrap()
}

fn two() -> ImageEvidence {
    serde_json::from_str(include_str!("fixtures/two.json")).unwrap()
}

fn attested() -> ImageEvidence {
    serde_json::from_str(include_str!("fixtures/attested.json")).unwrap()
}

fn trusting(keys: &[(&str, &[u8])], threshold: usize) -> ImagePolicy {
    let keys: BTreeMap<String, Vec<u8>> = keys.iter().map(|(name, key)| ((*name).into(), key.to_vec())).collect();
    ImagePolicy::given(Given { keys, ..Given::default() }, threshold).unwrap()
}

fn signer() -> ImagePolicy {
    trusting(&[("signer.pub", SIGNER)], 1)
}

fn judged(policy: &ImagePolicy, digest: &Digest, evidence: &ImageEvidence) -> ImageJudgement {
    let image = ImageReference::parse("127.0.0.1:5917/demo/app").unwrap().pinned(digest.clone());
    judge(policy, &image, None, Some(evidence), Timestamp::UNIX_EPOCH)
}

fn fact(evidence: &ImageEvidence) -> ImageFact {
    judged(&signer(), &evidence.digest, evidence).fact()
}

fn only_tag(mut evidence: ImageEvidence) -> ImageEvidence {
    evidence.referrers = Lookup::Absent;
    evidence
}

fn only_referrers(mut evidence: ImageEvidence) -> ImageEvidence {
    evidence.tag_signatures = Lookup::Absent;
    evidence
}

fn layer(evidence: &mut ImageEvidence) -> &mut SignatureLayer {
    match &mut evidence.tag_signatures {
        Lookup::Found(layers) => &mut layers[0],
        _ => panic!("the fixture has a layer"),
    }
}

fn payload(evidence: &mut ImageEvidence) -> &mut Vec<u8> {
    match &mut layer(evidence).payload {
        Lookup::Found(payload) => payload,
        _ => panic!("the fixture has a payload"),
    }
}

fn referrer(evidence: &mut ImageEvidence) -> &mut Referrer {
    match &mut evidence.referrers {
        Lookup::Found(referrers) => &mut referrers[0],
        _ => panic!("the fixture has a referrer"),
    }
}

fn bundle(evidence: &mut ImageEvidence) -> &mut Vec<u8> {
    match &mut referrer(evidence).content {
        ReferrerContent::Bundle(bytes) => bytes,
        _ => panic!("the fixture has a bundle"),
    }
}

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

#[test]
fn what_cosign_signed_is_verified_in_both_storages_and_in_each_alone() {
    for evidence in [one(), only_tag(one()), only_referrers(one()), two()] {
        let judgement = judged(&signer(), &evidence.digest, &evidence);
        let expected = ImageFact::Verified {
            digest: evidence.digest.clone(),
            authorities: vec!["signer.pub".into()],
            attestations: Vec::new(),
        };
        assert_eq!(judgement.fact(), expected, "{:?}", judgement.accounted);
        let token = judgement.verified().unwrap();
        assert_eq!((token.digest(), token.repository().to_string()), (&evidence.digest, evidence.repository));
        assert_eq!(judgement.accounted.len(), 2);
    }
}

#[test]
fn every_kind_of_key_that_is_read_verifies_what_openssl_signed_with_it() {
    let vectors: Vec<BTreeMap<String, String>> =
        serde_json::from_str(include_str!("fixtures/algorithms.json")).unwrap();
    for vector in &vectors {
        let mut evidence = only_tag(one());
        layer(&mut evidence).annotations.insert(SIGNATURE.into(), vector["signature"].clone());
        let keys = BTreeMap::from([("key.pub".to_owned(), vector["publicKey"].clone().into_bytes())]);
        let policy = ImagePolicy::given(Given { keys, ..Given::default() }, 1);
        if vector["name"].starts_with("refused") {
            assert!(matches!(policy, Err(InvalidAuthorities::Key { .. })), "{}", vector["name"]);
            continue;
        }
        let policy = policy.unwrap();
        let judge_it = |evidence: &ImageEvidence| judged(&policy, &evidence.digest, evidence).fact();
        assert!(matches!(judge_it(&evidence), ImageFact::Verified { .. }), "{}", vector["name"]);
        payload(&mut evidence).push(b' ');
        assert!(matches!(judge_it(&evidence), ImageFact::Untrusted(_)), "{}", vector["name"]);
    }
}

#[test]
fn another_key_does_not_trust_it() {
    for evidence in [one(), only_tag(one()), only_referrers(one())] {
        let judgement = judged(&trusting(&[("stranger.pub", STRANGER)], 1), &evidence.digest, &evidence);
        assert!(matches!(judgement.fact(), ImageFact::Untrusted(_)), "{:?}", judgement.fact());
        assert!(judgement.verified().is_none());
    }
}

#[test]
fn t04_a_threshold_of_two_is_not_met_by_one_key_that_signed_twice() {
    let evidence = one();
    let both = trusting(&[("signer.pub", SIGNER), ("stranger.pub", STRANGER)], 2);
    assert!(matches!(judged(&both, &evidence.digest, &evidence).fact(), ImageFact::Untrusted(_)));
    let twice = BTreeMap::from([("a".to_owned(), SIGNER.to_vec()), ("b".to_owned(), SIGNER.to_vec())]);
    let error = ImagePolicy::given(Given { keys: twice, ..Given::default() }, 2).unwrap_err().to_string();
    assert_eq!(error, "a threshold of 2 cannot be met by 1 different authority");
}

#[test]
fn t02_signatures_moved_to_another_image_are_not_trusted() {
    let (one, two) = (one(), two());
    for moved in [only_tag(one.clone()), only_referrers(one)] {
        let moved = ImageEvidence { digest: two.digest.clone(), ..moved };
        let ImageFact::Untrusted(reasons) = fact(&moved) else { panic!("a moved signature was trusted") };
        assert!(reasons[0].contains("for another image"), "{reasons:?}");
    }
}

#[test]
fn evidence_about_another_image_is_not_weighed() {
    let judgement = judged(&signer(), &two().digest, &one());
    assert!(matches!(judgement.fact(), ImageFact::Unknown(Cause::Unreadable, _)), "{:?}", judgement.fact());
}

#[test]
fn t02_a_payload_spliced_with_the_signature_of_another_is_not_trusted() {
    let (mut spliced, mut other) = (only_tag(one()), two());
    layer(&mut spliced).annotations.insert(SIGNATURE.into(), layer(&mut other).annotations[SIGNATURE].clone());
    assert!(matches!(fact(&spliced), ImageFact::Untrusted(_)));

    let mut spliced = only_referrers(one());
    let [mine, theirs] = [bundle(&mut spliced).clone(), bundle(&mut two()).clone()]
        .map(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap());
    for part in ["payload", "signatures"] {
        let mut mixed = mine.clone();
        mixed["dsseEnvelope"][part] = theirs["dsseEnvelope"][part].clone();
        *bundle(&mut spliced) = serde_json::to_vec(&mixed).unwrap();
        assert!(matches!(fact(&spliced), ImageFact::Untrusted(_)), "{part}");
    }
}

#[test]
fn t05_an_attestation_is_no_signature() {
    let evidence = attested();
    let judgement = judged(&signer(), &evidence.digest, &evidence);
    assert_eq!(judgement.fact(), ImageFact::Unsigned);
    let said = judgement.accounted.iter().any(
        |entry| matches!(&entry.outcome, Outcome::NotASignature(what) if what.contains("https://slsa.dev/provenance/v1")),
    );
    assert!(said, "{:?}", judgement.accounted);
}

#[test]
fn nothing_anywhere_is_unsigned_and_an_sbom_does_not_change_that() {
    let mut evidence = ImageEvidence { tag_signatures: Lookup::Absent, ..one() };
    for referrers in [Lookup::Absent, Lookup::Found(vec![])] {
        evidence.referrers = referrers;
        assert_eq!(fact(&evidence), ImageFact::Unsigned);
    }
    let mut evidence = only_referrers(one());
    referrer(&mut evidence).content = ReferrerContent::Other { media_type: "application/spdx+json".into() };
    assert_eq!(fact(&evidence), ImageFact::Unsigned);
}

#[test]
fn what_could_not_be_read_is_unknown_and_never_unsigned() {
    let limited = || (Cause::RateLimited, "429".to_owned());
    let mut cases = Vec::new();
    let (cause, why) = limited();
    cases.push(ImageEvidence { tag_signatures: Lookup::Indeterminate(cause, why), referrers: Lookup::Absent, ..one() });
    let (cause, why) = limited();
    cases.push(ImageEvidence { referrers: Lookup::Indeterminate(cause, why), tag_signatures: Lookup::Absent, ..one() });
    let mut evidence = only_referrers(one());
    let (cause, why) = limited();
    referrer(&mut evidence).content = ReferrerContent::Indeterminate(cause, why);
    cases.push(evidence);
    let mut evidence = only_tag(one());
    let (cause, why) = limited();
    layer(&mut evidence).payload = Lookup::Indeterminate(cause, why);
    cases.push(evidence);
    for evidence in cases {
        assert!(matches!(fact(&evidence), ImageFact::Unknown(Cause::RateLimited, _)), "{:?}", fact(&evidence));
    }
}

#[test]
fn one_good_signature_is_enough_while_the_other_place_cannot_be_read() {
    let evidence = ImageEvidence { referrers: Lookup::Indeterminate(Cause::TimedOut, "late".into()), ..one() };
    let judgement = judged(&signer(), &evidence.digest, &evidence);
    assert!(judgement.verified().is_some());
    assert!(judgement.accounted.iter().any(|entry| matches!(entry.outcome, Outcome::Unreadable(Cause::TimedOut, _))));
}

#[test]
fn a_stranger_beside_the_signer_does_not_spoil_the_signature() {
    let mut evidence = one();
    layer(&mut evidence).annotations.insert(SIGNATURE.into(), "AAAA".into());
    assert!(matches!(fact(&evidence), ImageFact::Verified { .. }));
}

#[test]
fn t09_no_evidence_and_no_digest_are_unknown() {
    let image = ImageReference::parse("127.0.0.1:5917/demo/app:1").unwrap();
    let now = Timestamp::UNIX_EPOCH;
    for (image, evidence) in [(image.pinned(one().digest), None), (image, Some(&one()))] {
        let judgement = judge(&signer(), &image, None, evidence, now);
        assert!(
            matches!(judgement.fact(), ImageFact::Unknown(cause, _) if cause.is_obtainable()),
            "{:?}",
            judgement.fact()
        );
    }
}

#[test]
fn t07_a_payload_that_two_readers_read_differently_is_refused() {
    for change in [r#"{"critical":{},"critical":"#, r#"{"critical":{"type":"x","type":"#] {
        let mut evidence = only_tag(one());
        let text = String::from_utf8(payload(&mut evidence).clone()).unwrap();
        *payload(&mut evidence) = text.replacen(r#"{"critical":"#, change, 1).into_bytes();
        assert!(matches!(fact(&evidence), ImageFact::Untrusted(_)), "{change}");
    }
    let mut evidence = only_referrers(one());
    bundle(&mut evidence).extend_from_slice(b"{}");
    assert!(matches!(fact(&evidence), ImageFact::Untrusted(_)));
}

#[test]
fn a_signature_in_a_form_that_is_not_read_is_not_trusted_and_not_unsigned() {
    let mut evidence = only_tag(one());
    layer(&mut evidence).media_type = "application/octet-stream".into();
    assert!(matches!(fact(&evidence), ImageFact::Untrusted(_)));
    let mut evidence = only_referrers(one());
    *bundle(&mut evidence) = br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":""}},"messageSignature":{"signature":"AAAA"}}"#.to_vec();
    let ImageFact::Untrusted(reasons) = fact(&evidence) else { panic!("{:?}", fact(&evidence)) };
    assert!(reasons[0].contains("message signature"), "{reasons:?}");
}

#[test]
fn t10_sizes_and_counts_are_capped_and_beyond_the_cap_is_unknown() {
    let mut evidence = only_tag(one());
    payload(&mut evidence).resize((1 << 20) + 1, b' ');
    assert!(matches!(fact(&evidence), ImageFact::Unknown(Cause::TooLarge, _)));
    let mut evidence = only_referrers(one());
    bundle(&mut evidence).resize((16 << 20) + 1, b' ');
    assert!(matches!(fact(&evidence), ImageFact::Unknown(Cause::TooLarge, _)));

    let mut evidence = only_tag(one());
    let mut bad = layer(&mut evidence).clone();
    bad.annotations.insert(SIGNATURE.into(), "AAAA".into());
    let good = layer(&mut evidence).clone();
    evidence.tag_signatures = Lookup::Found([vec![bad; MAX_SIGNATURES], vec![good]].concat());
    assert!(matches!(fact(&evidence), ImageFact::Unknown(Cause::TooLarge, _)));
}

proptest! {
    #[test]
    fn a_payload_with_any_byte_changed_is_never_verified(at in any::<Index>(), change in 1..=255u8) {
        let mut evidence = only_tag(one());
        let bytes = payload(&mut evidence);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(matches!(fact(&evidence), ImageFact::Untrusted(_)));
    }

    #[test]
    fn a_v2_signature_with_any_byte_changed_is_never_verified(at in any::<Index>(), change in 1..=255u8) {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let mut evidence = only_tag(one());
        let text = layer(&mut evidence).annotations.get_mut(SIGNATURE).unwrap();
        let mut bytes = base64.decode(text.as_bytes()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        *text = base64.encode(bytes);
        prop_assert!(matches!(fact(&evidence), ImageFact::Untrusted(_)));
    }

    /// What is not signed may change (the key hint, blanks between tokens, names that no reader knows); what is
    /// verified then is still the statement and the signature that cosign wrote.
    #[test]
    fn a_bundle_with_any_byte_changed_is_verified_only_by_what_was_signed(at in any::<Index>(), change in 1..=255u8) {
        let original: serde_json::Value = serde_json::from_slice(bundle(&mut one())).unwrap();
        let mut evidence = only_referrers(one());
        let bytes = bundle(&mut evidence);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let bytes = bytes.clone();
        if let ImageFact::Verified { .. } = fact(&evidence) {
            let changed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for part in ["/dsseEnvelope/payload", "/dsseEnvelope/payloadType", "/dsseEnvelope/signatures/0/sig"] {
                prop_assert_eq!(original.pointer(part), changed.pointer(part));
            }
        }
    }

    #[test]
    fn garbage_is_never_verified_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut evidence = one();
        *bundle(&mut evidence) = bytes.clone();
        *payload(&mut evidence) = bytes;
        prop_assert!(matches!(fact(&evidence), ImageFact::Untrusted(_)));
    }
}
