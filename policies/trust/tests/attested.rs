//! Statements about images, made by cosign in both storages (`keyless/`, `rekor_v1/`): what counts as an attestation that
//! a rule demands, and what does not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use portreeve_policies::facts::ImageFact;
use portreeve_reports::Cause;
use portreeve_trust::evidence::{ImageEvidence, Lookup, SignatureLayer};
use portreeve_trust::sign::{SigningKey, sign_v2};
use portreeve_trust::verify::{ImageJudgement, Needs, needs};

mod recorded;

use recorded::forge::{changed, forged_bundles};
use recorded::{Case, Rule, case, judged, keyless};

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// An image that is signed by a key of ours and attested by somebody else.
struct Image {
    case: Case,
    key: SigningKey,
    evidence: ImageEvidence,
}

impl Image {
    fn of(name: &str) -> Self {
        let (case, key) = (case(name), SigningKey::generate().unwrap());
        let signed = sign_v2(&key, &case.image(), &case.digest(), &[]).unwrap();
        let layer = SignatureLayer {
            media_type: signed.layer.media_type,
            payload: Lookup::Found(signed.payload),
            annotations: signed.layer.annotations,
        };
        let evidence = ImageEvidence { tag_signatures: Lookup::Found(vec![layer]), ..case.evidence() };
        Self { case, key, evidence }
    }

    /// Judged by a rule that wants the key to have signed and this to be attested.
    fn judged(&self, attestation: &str) -> ImageJudgement {
        self.judged_with(attestation, &self.evidence)
    }

    fn judged_with(&self, attestation: &str, evidence: &ImageEvidence) -> ImageJudgement {
        let demand = if self.case.told["logged"] == true { "" } else { ", log: optional" };
        let attester = keyless(&format!("{}{demand}", self.case.signer()));
        let data = serde_json::to_string(&self.key.public_key_pem().unwrap()).unwrap();
        let key = format!("required: true, key: {{data: {data}}}");
        let rule = Rule { authorities: &[&key, &attester], attestations: &[attestation], ..Rule::default() };
        let policy = self.case.policy_of(&rule).unwrap();
        assert_eq!(needs(&policy, &self.case.image().repository, None), Needs::Attestations);
        judged(&policy, &self.case, evidence)
    }

    fn reason(&self, attestation: &str) -> String {
        match self.judged(attestation).fact() {
            ImageFact::Unattested(reasons) => reasons.join("; "),
            other => panic!("{attestation}: {other:?}"),
        }
    }
}

fn is_verified(judgement: &ImageJudgement) -> bool {
    matches!(judgement.fact(), ImageFact::Verified { .. })
}

#[test]
fn what_cosign_attests_counts_in_both_storages_with_both_logs() {
    for (name, kind) in [
        ("keyless-slsaprovenance1", PROVENANCE),
        ("keyless-slsaprovenance1-tag", PROVENANCE),
        ("keyless-slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
        ("keyless-spdxjson", "https://spdx.dev/Document"),
        ("keyless-spdxjson-tag", "https://spdx.dev/Document"),
        ("keyless-cyclonedx", "https://cyclonedx.org/bom"),
        ("keyless-vuln-tag", "https://cosign.sigstore.dev/attestation/vuln/v1"),
        ("keyless-openvex", "https://openvex.dev/ns"),
        ("github-slsaprovenance1", PROVENANCE),
        ("keyless-slsaprovenance1-v1", PROVENANCE),
        ("keyless-slsaprovenance1-v1-tag", PROVENANCE),
        ("github-slsaprovenance1-v1", PROVENANCE),
    ] {
        let image = Image::of(name);
        let judgement = image.judged(&format!("predicateType: '{kind}'"));
        let expected = ImageFact::Verified {
            digest: image.case.digest(),
            authorities: vec!["a0".into()],
            attestations: vec!["t0".into()],
        };
        assert_eq!(judgement.fact(), expected, "{name}: {:?}", judgement.accounted);
    }
}

#[test]
fn a_statement_of_another_type_or_by_nobody_whom_the_rule_names_does_not_count() {
    let image = Image::of("keyless-slsaprovenance1");
    assert!(
        image.reason("predicateType: 'https://spdx.dev/Document'").starts_with("no 't0' (https://spdx.dev/Document)")
    );
    let by_key = format!("predicateType: '{PROVENANCE}', authorities: [a0]");
    assert!(image.reason(&by_key).contains("'t0': not signed by whom it should be"), "{}", image.reason(&by_key));
    assert!(is_verified(&image.judged(&format!("predicateType: '{PROVENANCE}', authorities: [a1]"))));
}

#[test]
fn the_tag_of_a_layer_says_nothing_of_its_type() {
    let mut image = Image::of("keyless-spdxjson-tag");
    let Some(Lookup::Found(layers)) = &mut image.evidence.tag_attestations else { panic!("no layer") };
    layers[0].annotations.insert("predicateType".into(), PROVENANCE.into());
    assert!(image.reason(&format!("predicateType: '{PROVENANCE}'")).starts_with("no 't0'"));
    assert!(is_verified(&image.judged("predicateType: 'https://spdx.dev/Document'")));
}

#[test]
fn a_condition_is_asked_of_the_signed_predicate() {
    for (name, kind, condition, holds) in [
        (
            "keyless-slsaprovenance1",
            PROVENANCE,
            "predicate.runDetails.builder.id == 'https://example.org/builder'",
            true,
        ),
        (
            "keyless-slsaprovenance1",
            PROVENANCE,
            "predicate.runDetails.builder.id.startsWith('https://github.com/')",
            false,
        ),
        (
            "github-slsaprovenance1",
            PROVENANCE,
            "signer.subject.startsWith('https://github.com/example-org/') && statement.predicateType == predicateType",
            true,
        ),
        (
            "keyless-spdxjson",
            "https://spdx.dev/Document",
            "predicate.packages.all(p, p.licenseConcluded == 'Zlib')",
            false,
        ),
        ("keyless-spdxjson-tag", "https://spdx.dev/Document", "predicate.packages.exists(p, p.name == 'zlib')", true),
        (
            "keyless-vuln",
            "https://cosign.sigstore.dev/attestation/vuln/v1",
            "!predicate.scanner.result.Results.exists(r, r.Vulnerabilities.exists(v, v.Severity == 'CRITICAL'))",
            false,
        ),
        ("keyless-spdxjson", "https://spdx.dev/Document", "image.repository.endsWith('/demo/app')", true),
    ] {
        let judgement = Image::of(name).judged(&format!("predicateType: '{kind}', cel: \"{condition}\""));
        assert_eq!(is_verified(&judgement), holds, "{condition}: {:?}", judgement.fact());
    }
}

#[test]
fn a_condition_that_cannot_be_told_does_not_hold() {
    let image = Image::of("keyless-slsaprovenance1");
    let said = image.reason(&format!("predicateType: '{PROVENANCE}', cel: predicate.nothing == 'x'"));
    assert!(said.contains("its condition cannot be told: field 'nothing' is not there"), "{said}");
}

#[test]
fn an_age_is_that_of_the_trusted_time_and_is_not_asked_of_keys() {
    // It was made in the twenties and is judged in 2040.
    let image = Image::of("keyless-slsaprovenance1");
    let aged = |days: u32| format!("predicateType: '{PROVENANCE}', authorities: [a1], maxAge: {days}d");
    assert!(is_verified(&image.judged(&aged(365 * 15))));
    assert!(image.reason(&aged(90)).contains("which is too long ago"), "{}", image.reason(&aged(90)));

    let authorities = ["key: {file: signer.pub}"];
    let attestation = format!("predicateType: '{PROVENANCE}', maxAge: 90d");
    let rule = Rule { authorities: &authorities, attestations: &[&attestation], ..Rule::default() };
    let said = image.case.policy_of(&rule).unwrap_err().to_string();
    assert!(said.contains("'a0' signs proves nothing, it is a key"), "{said}");
}

#[test]
fn a_key_may_attest_without_an_age() {
    let keyed = Image::of("keyed-slsaprovenance1");
    let data = serde_json::to_string(&keyed.key.public_key_pem().unwrap()).unwrap();
    let own = format!("key: {{data: {data}}}");
    let rule = Rule {
        authorities: &[&own, "key: {file: signer.pub}"],
        attestations: &[&format!("predicateType: '{PROVENANCE}', authorities: [a1]")],
        ..Rule::default()
    };
    assert!(is_verified(&judged(&keyed.case.policy_of(&rule).unwrap(), &keyed.case, &keyed.evidence)));
}

#[test]
fn a_place_that_could_not_be_read_is_unknown_and_so_is_one_that_nobody_asked() {
    let image = Image::of("keyless-slsaprovenance1-tag");
    let wanted = format!("predicateType: '{PROVENANCE}'");
    for attestations in [None, Some(Lookup::Indeterminate(Cause::RateLimited, "429".into()))] {
        let evidence = ImageEvidence { tag_attestations: attestations, ..image.evidence.clone() };
        let fact = image.judged_with(&wanted, &evidence).fact();
        assert!(matches!(fact, ImageFact::Unknown(..)), "{fact:?}");
    }
    let unsigned = ImageEvidence { tag_signatures: Lookup::Absent, ..image.evidence.clone() };
    assert_eq!(image.judged_with(&wanted, &unsigned).fact(), ImageFact::Unsigned);
}

#[test]
fn a_changed_byte_of_a_statement_or_of_what_proves_it_is_refused() {
    for name in ["keyless-slsaprovenance1", "github-slsaprovenance1-v1"] {
        let image = Image::of(name);
        let wanted = format!("predicateType: '{PROVENANCE}'");
        assert!(is_verified(&image.judged(&wanted)));
        let mut tried = 0;
        for (path, forged) in forged_bundles(&image.case.carrier()) {
            let referrers = image.case.evidence_of(forged).referrers;
            let judgement = image.judged_with(&wanted, &ImageEvidence { referrers, ..image.evidence.clone() });
            assert!(!is_verified(&judgement), "{name}: {path}");
            tried += 1;
        }
        assert!(tried > 900, "{name}: {tried}");
    }
}

#[test]
fn a_changed_byte_of_an_envelope_behind_a_tag_is_refused() {
    let image = Image::of("keyless-slsaprovenance1-v1-tag");
    let wanted = format!("predicateType: '{PROVENANCE}'");
    let envelope: serde_json::Value = serde_json::from_slice(&image.case.payload()).unwrap();
    for path in ["/payloadType", "/payload", "/signatures/0/sig"] {
        for text in changed(envelope.pointer(path).unwrap().as_str().unwrap()) {
            let mut forged = envelope.clone();
            *forged.pointer_mut(path).unwrap() = text.clone().into();
            let mut evidence = image.evidence.clone();
            let Some(Lookup::Found(layers)) = &mut evidence.tag_attestations else { panic!("no layer") };
            layers[0].payload = Lookup::Found(serde_json::to_vec(&forged).unwrap());
            assert!(!is_verified(&image.judged_with(&wanted, &evidence)), "{path} = {text:?}");
        }
    }
}
