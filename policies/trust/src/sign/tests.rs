use portreeve_policies::facts::ImageFact;
use portreeve_reports::Cause;

use super::*;
use crate::evidence::{ImageEvidence, Lookup, Referrer, ReferrerContent, SignatureLayer};
use crate::policy::{Given, ImagePolicy};
use crate::verify::judge;

const COSIGN_KEY: &[u8] = include_bytes!("../../tests/fixtures/signer.key");
const COSIGN_PUBLIC_KEY: &str = include_str!("../../tests/fixtures/signer.pub");

fn image() -> ImageReference {
    ImageReference::parse("quay.io/nebari/hub:1").unwrap()
}

fn subject() -> Descriptor {
    Descriptor::of(MANIFEST, b"an image manifest").unwrap()
}

fn judged(key: &SigningKey, evidence: &ImageEvidence) -> ImageFact {
    let keys = BTreeMap::from([("key.pub".to_owned(), key.public_key_pem().unwrap().into_bytes())]);
    let policy = ImagePolicy::given(Given { keys, ..Given::default() }, 1).unwrap();
    let image = image().pinned(evidence.digest.clone());
    judge(&policy, &image, None, Some(evidence), Timestamp::UNIX_EPOCH).fact()
}

fn nothing() -> ImageEvidence {
    ImageEvidence {
        repository: image().repository.to_string(),
        digest: subject().digest,
        tag_signatures: Lookup::Absent,
        tag_attestations: None,
        referrers: Lookup::Absent,
    }
}

fn v2(signed: &SignedV2) -> ImageEvidence {
    let layer = SignatureLayer {
        media_type: signed.layer.media_type.clone(),
        payload: Lookup::Found(signed.payload.clone()),
        annotations: signed.layer.annotations.clone(),
    };
    ImageEvidence { tag_signatures: Lookup::Found(vec![layer]), ..nothing() }
}

fn v3(signed: &SignedV3) -> ImageEvidence {
    let referrer = Referrer {
        digest: signed.descriptor.digest.clone(),
        artifact_type: Some(signed.artifact_type.into()),
        content: ReferrerContent::Bundle(signed.bundle.clone()),
    };
    ImageEvidence { referrers: Lookup::Found(vec![referrer]), ..nothing() }
}

#[test]
fn what_we_sign_we_verify_in_both_storages() {
    let key = SigningKey::generate().unwrap();
    let stranger = SigningKey::generate().unwrap();
    let by_tag = v2(&sign_v2(&key, &image(), &subject().digest, &[]).unwrap());
    let by_referrer = v3(&sign_v3(&key, &subject(), Timestamp::UNIX_EPOCH).unwrap());
    for evidence in [by_tag, by_referrer] {
        assert!(matches!(judged(&key, &evidence), ImageFact::Verified { .. }));
        assert!(matches!(judged(&stranger, &evidence), ImageFact::Untrusted(_)));
    }
    assert_eq!(judged(&key, &nothing()), ImageFact::Unsigned);
    let unread = ImageEvidence { referrers: Lookup::Indeterminate(Cause::TimedOut, String::new()), ..nothing() };
    assert!(matches!(judged(&key, &unread), ImageFact::Unknown(Cause::TimedOut, _)));
}

#[test]
fn signing_again_keeps_the_signatures_that_are_there() {
    let key = SigningKey::generate().unwrap();
    let first = sign_v2(&key, &image(), &subject().digest, &[]).unwrap();
    let second = sign_v2(&key, &image(), &subject().digest, std::slice::from_ref(&first.layer)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&second.manifest).unwrap();
    let layers: Vec<Descriptor> = serde_json::from_value(manifest["layers"].clone()).unwrap();
    assert_eq!(layers, [first.layer, second.layer]);
    let config: serde_json::Value = serde_json::from_slice(&second.config).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
}

#[test]
fn manifests_are_as_cosign_writes_them() {
    let key = SigningKey::generate().unwrap();
    let signed = sign_v3(&key, &subject(), "2026-11-25T00:16:51.5Z".parse().unwrap()).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&signed.manifest).unwrap();
    manifest["layers"][0]["digest"] = "(of the bundle)".into();
    manifest["layers"][0]["size"] = 0.into();
    insta::assert_snapshot!(serde_json::to_string_pretty(&manifest).unwrap());
    assert_eq!(signature_tag(&subject().digest), format!("sha256-{}.sig", subject().digest.hex()));
    assert_eq!(fallback_tag(&subject().digest), format!("sha256-{}", subject().digest.hex()));
}

#[test]
fn cosigns_encrypted_key_opens_with_its_password_only() {
    let key = SigningKey::from_pem(COSIGN_KEY, Some(b"fixture")).ok().unwrap();
    assert_eq!(key.public_key_pem().unwrap(), COSIGN_PUBLIC_KEY);
    let refused = |password: Option<&[u8]>| SigningKey::from_pem(COSIGN_KEY, password).err().unwrap();
    assert!(matches!(refused(Some(b"other")), SigningKeyError::WrongPassword));
    assert!(matches!(refused(None), SigningKeyError::PasswordNeeded));
}

#[test]
fn a_scrypt_cost_that_cosign_does_not_use_is_refused_before_it_is_paid() {
    let block = pem::parse(COSIGN_KEY).unwrap();
    let json = String::from_utf8(block.contents().to_vec()).unwrap();
    for (from, to) in [("65536", "1073741824"), ("65536", "1024"), (r#""r":8"#, r#""r":4096"#), ("scrypt", "none")] {
        assert!(json.contains(from));
        let hostile = pem::encode(&pem::Pem::new(block.tag(), json.replacen(from, to, 1)));
        let error = SigningKey::from_pem(hostile.as_bytes(), Some(b"fixture")).err().unwrap();
        assert!(matches!(error, SigningKeyError::Malformed(_)), "{to}: {error}");
    }
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let refused = |bytes: &[u8]| SigningKey::from_pem(bytes, None).err().unwrap();
    assert!(matches!(refused(b""), SigningKeyError::NotPem));
    assert!(matches!(refused(&vec![b'-'; MAX_PEM + 1]), SigningKeyError::TooLarge));
    assert!(matches!(refused(COSIGN_PUBLIC_KEY.as_bytes()), SigningKeyError::OtherBlock(_)));
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(refused(broken.as_bytes()), SigningKeyError::Unusable(_)));
}

#[test]
fn t05_a_statement_that_does_not_say_sign_this_image_is_no_signature_whoever_signed_it() {
    let key = SigningKey::generate().unwrap();
    let good = json!({
        "_type": STATEMENT_V1, "predicateType": SIGN_PREDICATE, "predicate": {},
        "subject": [{"digest": {"sha256": subject().digest.hex()}}],
    });
    let fact_of = |statement: Vec<u8>| {
        let signed = sign_v3(&key, &subject(), Timestamp::UNIX_EPOCH).unwrap();
        judged(&key, &v3(&SignedV3 { bundle: bundle_of(&key, statement).unwrap(), ..signed }))
    };
    assert!(matches!(fact_of(serde_json::to_vec(&good).unwrap()), ImageFact::Verified { .. }));
    for (part, value) in [
        ("_type", json!("https://in-toto.io/Statement/v0.1")),
        ("predicateType", json!("https://slsa.dev/provenance/v1")),
        ("predicateType", json!([SIGN_PREDICATE])),
        ("subject", json!([])),
        ("subject", json!([{"digest": {"sha512": subject().digest.hex()}}])),
        ("subject", json!([{"digest": {"sha256": "0".repeat(64)}}])),
        ("subject", json!({"digest": {"sha256": subject().digest.hex()}})),
    ] {
        let mut statement = good.clone();
        statement[part] = value;
        let fact = fact_of(serde_json::to_vec(&statement).unwrap());
        assert!(matches!(fact, ImageFact::Unsigned | ImageFact::Untrusted(_)), "{statement}: {fact:?}");
    }
    for garbage in ["", "null", "[]", "{", "\u{feff}{}"] {
        assert!(!matches!(fact_of(garbage.into()), ImageFact::Verified { .. }), "{garbage:?}");
    }
}
