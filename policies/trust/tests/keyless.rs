//! Signatures by identities, made by cosign against a private sigstore (`keyless/` with a Rekor v2, `rekor_v1/`): what is
//! believed of them, and that nothing is once a single byte of them, or of what they are anchored in, is another.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ops::Range;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::source::{Fields, Limits, Problems, yaml};
use portreeve_trust::evidence::{ImageEvidence, Lookup, Referrer, ReferrerContent, SignatureLayer};
use portreeve_trust::policy::{FileBytes, ImagePolicy, ImagePolicySpec};
use portreeve_trust::verify::{ImageJudgement, Outcome, judge};
use serde_json::{Value, json};

fn file(folder: &str, name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A case as `cases.json` of its folder tells it.
struct Case {
    folder: &'static str,
    told: Value,
}

/// Cases are named alike nowhere: those of Rekor v1 say so.
fn case(name: &str) -> Case {
    let folder = if name.contains("-v1") { "rekor_v1" } else { "keyless" };
    let cases: Vec<Value> = serde_json::from_slice(&file(folder, "cases.json")).unwrap();
    let told = cases.into_iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}"));
    Case { folder, told }
}

impl Case {
    fn name(&self) -> &str {
        self.told["name"].as_str().unwrap()
    }

    fn digest(&self) -> Digest {
        Digest::parse(self.told["digest"].as_str().unwrap()).unwrap()
    }

    fn image(&self) -> ImageReference {
        ImageReference::parse(self.told["repository"].as_str().unwrap()).unwrap().pinned(self.digest())
    }

    /// The one file that holds all of it: the bundle, or the manifest of a tag.
    fn carrier(&self) -> Vec<u8> {
        let kind = if self.told["storage"] == "bundle" { "bundle" } else { "manifest" };
        self.file(&format!("{}.{kind}.json", self.name()))
    }

    fn payload(&self) -> Vec<u8> {
        self.file(&format!("{}.payload.json", self.name()))
    }

    fn file(&self, name: &str) -> Vec<u8> {
        file(self.folder, name)
    }

    /// The policy of one rule for every image, with these authorities.
    fn policy(&self, authorities: &[&str]) -> ImagePolicy {
        policy_with(self, self.file("trusted_root.json"), 1, authorities).unwrap()
    }

    /// Whoever signed it, as an identity in a policy.
    fn signer(&self) -> String {
        let text = |key: &str| self.told["signer"][key].as_str().unwrap();
        format!("issuer: {}, subject: '{}'", text("issuer"), text("subject"))
    }

    fn evidence(&self) -> ImageEvidence {
        self.evidence_of(self.carrier())
    }

    fn evidence_of(&self, carrier: Vec<u8>) -> ImageEvidence {
        let (mut tag_signatures, mut referrers) = (Lookup::Absent, Lookup::Absent);
        if self.told["storage"] == "bundle" {
            let content = ReferrerContent::Bundle(carrier);
            referrers = Lookup::Found(vec![Referrer { digest: self.digest(), artifact_type: None, content }]);
        } else {
            let payload = self.payload();
            tag_signatures = Lookup::Found(vec![layer(&carrier, payload)]);
        }
        let repository = self.image().repository.to_string();
        ImageEvidence { repository, digest: self.digest(), tag_signatures, referrers }
    }
}

fn layer(manifest: &[u8], payload: Vec<u8>) -> SignatureLayer {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layer = &manifest["layers"][0];
    SignatureLayer {
        media_type: layer["mediaType"].as_str().unwrap().to_owned(),
        payload: Lookup::Found(payload),
        annotations: serde_json::from_value(layer["annotations"].clone()).unwrap(),
    }
}

/// The policy of one rule for every image, with these authorities, each a map in flow style.
fn policy_with(case: &Case, root: Vec<u8>, threshold: usize, authorities: &[&str]) -> Result<ImagePolicy, Problems> {
    let mut text = format!(
        "trustRoots: [{{name: root, trustedRootFile: root.json}}]\nrules:\n- name: r\n  images: ['**']\n  authorities:\n    threshold: {threshold}\n    list:\n"
    );
    for (index, authority) in authorities.iter().enumerate() {
        text.push_str(&format!("    - {{name: a{index}, {authority}}}\n"));
    }
    let document = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let mut problems = Problems::new("policy.yaml");
    let spec = Fields::of(&document, "spec", &mut problems).and_then(|map| map.finish_with(ImagePolicySpec::decode));
    let key = case.file("signer.pub");
    let files = FileBytes::from([("root.json".to_owned(), Ok(root)), ("signer.pub".to_owned(), Ok(key))]);
    ImagePolicy::build(&spec.unwrap(), &files, problems)
}

fn keyless(identity: &str) -> String {
    format!("keyless: {{{identity}, trustRoot: root}}")
}

fn judged(policy: &ImagePolicy, case: &Case, evidence: &ImageEvidence) -> ImageJudgement {
    judge(policy, &case.image(), None, Some(evidence), "2040-01-01T00:00:00Z".parse::<Timestamp>().unwrap())
}

fn refusal(judgement: &ImageJudgement) -> String {
    match judgement.fact() {
        ImageFact::Untrusted(reasons) => reasons.join("; "),
        other => panic!("{other:?}"),
    }
}

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
        let expected = ImageFact::Verified { digest: case.digest(), authorities: vec!["a0".into()] };
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
        assert!(said.contains("lacks what the policy wants"), "{said}");
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
        let policy = policy_with(&case, root, 1, &[&keyless(&case.signer())]).unwrap();
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
    let root = case.file("trusted_root.json");
    let policy = policy_with(&case, root, 2, &[&authorities[0], &authorities[1]]).unwrap();
    let reason = refusal(&judged(&policy, &case, &case.evidence()));
    assert!(reason.contains("signed by 'a0', 'a1', of 2 signers needed"), "{reason}");
}

/// Every leaf of a JSON document, by its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            leaves(value, &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{path}/{index}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

fn flipped(bytes: &[u8], index: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[index] ^= 1;
    bytes
}

/// The text with one bit another: in each byte of what base64 stands for, or in each character; of long ones in some
/// 200, evenly spread.
fn changed(text: &str) -> Vec<String> {
    match STANDARD.decode(text) {
        Ok(bytes) if bytes.len() > 8 => (0..bytes.len())
            .step_by((bytes.len() / 200).max(1))
            .map(|index| STANDARD.encode(flipped(&bytes, index)))
            .collect(),
        _ => (0..text.len())
            .step_by((text.len() / 200).max(1))
            .filter_map(|index| String::from_utf8(flipped(text.as_bytes(), index)).ok())
            .collect(),
    }
}

/// A timestamp with one bit another in each byte of what its authority signed, and of the signature. Around that are
/// versions, status and names of algorithms that say nothing of the time (RFC 5652, section 5.1).
fn changed_timestamp(token: &str) -> Vec<String> {
    let bytes = STANDARD.decode(token).unwrap();
    let response = parts(&bytes, 0..bytes.len());
    let signed_data = parts(&bytes, parts(&bytes, parts(&bytes, response[0].clone())[1].clone())[1].clone())[0].clone();
    let signed_data = parts(&bytes, signed_data);
    let info = parts(&bytes, parts(&bytes, signed_data[2].clone())[1].clone())[0].clone();
    let signers = signed_data.last().unwrap().clone();
    let signer = parts(&bytes, parts(&bytes, signers)[0].clone());
    let (attributes, signature) = (signer[3].clone(), signer[5].clone());
    let regions = [info, attributes, signature];
    assert!(regions.iter().map(ExactSizeIterator::len).sum::<usize>() > 300, "{regions:?}");
    regions.into_iter().flatten().map(|index| STANDARD.encode(flipped(&bytes, index))).collect()
}

/// Where the contents of the DER values in a range are.
fn parts(bytes: &[u8], range: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let (length, header) = match bytes[at + 1] {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                let digits = &bytes[at + 2..at + 2 + count];
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), 2 + count)
            }
        };
        found.push(at + header..at + header + length);
        at += header + length;
    }
    found
}

/// What may be changed without changing what is proved: hints that nothing reads.
const UNREAD: &[&str] = &["/verificationMaterial/publicKey/hint", "/dsseEnvelope/signatures/0/keyid"];

fn forgeries(path: &str, text: &str) -> Vec<String> {
    if UNREAD.contains(&path) {
        return Vec::new();
    }
    if path.ends_with("/signedTimestamp") {
        return changed_timestamp(text);
    }
    // The newline at the end of a checkpoint belongs to none of its lines.
    let is_newline = |forged: &String| path.ends_with("/envelope") && forged.trim_end() == text.trim_end();
    changed(text).into_iter().filter(|forged| !is_newline(forged)).collect()
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
        let document: Value = serde_json::from_slice(&case.carrier()).unwrap();
        assert!(judged(&policy, &case, &case.evidence()).verified().is_some());
        let mut paths = Vec::new();
        leaves(&document, "", &mut paths);
        let mut tried = 0;
        for path in &paths {
            let Some(text) = document.pointer(path).and_then(Value::as_str) else { continue };
            for text in forgeries(path, text) {
                let mut forged = document.clone();
                *forged.pointer_mut(path).unwrap() = json!(text);
                let judgement = judged(&policy, &case, &case.evidence_of(serde_json::to_vec(&forged).unwrap()));
                assert!(judgement.verified().is_none(), "{name}: {path} = {text:?}");
                tried += 1;
            }
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

fn forged_annotations(name: &str, text: &str) -> Vec<String> {
    if name.ends_with("/certificate") {
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let pem = |body: String| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        return changed(&body).into_iter().map(pem).collect();
    }
    let Ok(document @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return changed(text) };
    let mut paths = Vec::new();
    leaves(&document, "", &mut paths);
    let mut forged = Vec::new();
    for path in paths {
        let values: Vec<Value> = match document.pointer(&path).unwrap() {
            Value::String(token) if path.ends_with("Timestamp") && name.ends_with("timestamp") => {
                changed_timestamp(token).into_iter().map(Value::from).collect()
            }
            Value::String(text) => changed(text).into_iter().map(Value::from).collect(),
            number => vec![json!(number.as_i64().unwrap() + 1)],
        };
        for value in values {
            let mut document = document.clone();
            *document.pointer_mut(&path).unwrap() = value;
            forged.push(document.to_string());
        }
    }
    forged
}
