//! Signatures and attestations that cosign made against a private sigstore: `keyless/` with a Rekor v2, `rekor_v1/`.

#![allow(dead_code, reason = "not every test needs all of it")]

pub(crate) mod forge;

use std::path::PathBuf;

use jiff::Timestamp;
use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::source::{Fields, Limits, Problems, yaml};
use portreeve_trust::evidence::{ImageEvidence, Lookup, Referrer, ReferrerContent, SignatureLayer};
use portreeve_trust::policy::{FileBytes, ImagePolicy, ImagePolicySpec};
use portreeve_trust::verify::{ImageJudgement, judge};
use serde_json::Value;

pub(crate) fn file(folder: &str, name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A case as `cases.json` of its folder tells it.
pub(crate) struct Case {
    folder: &'static str,
    pub(crate) told: Value,
}

/// Cases are named alike nowhere: those of Rekor v1 say so.
pub(crate) fn case(name: &str) -> Case {
    let folder = if name.contains("-v1") { "rekor_v1" } else { "keyless" };
    let cases: Vec<Value> = serde_json::from_slice(&file(folder, "cases.json")).unwrap();
    let told = cases.into_iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}"));
    Case { folder, told }
}

impl Case {
    pub(crate) fn name(&self) -> &str {
        self.told["name"].as_str().unwrap()
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::parse(self.told["digest"].as_str().unwrap()).unwrap()
    }

    pub(crate) fn image(&self) -> ImageReference {
        ImageReference::parse(self.told["repository"].as_str().unwrap()).unwrap().pinned(self.digest())
    }

    /// The one file that holds all of it: the bundle, or the manifest of a tag.
    pub(crate) fn carrier(&self) -> Vec<u8> {
        let kind = if self.told["storage"] == "bundle" { "bundle" } else { "manifest" };
        self.file(&format!("{}.{kind}.json", self.name()))
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        self.file(&format!("{}.payload.json", self.name()))
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        file(self.folder, name)
    }

    /// The policy of one rule for every image, with these authorities.
    pub(crate) fn policy(&self, authorities: &[&str]) -> ImagePolicy {
        self.policy_of(&Rule { authorities, ..Rule::default() }).unwrap()
    }

    /// The policy of this rule.
    pub(crate) fn policy_of(&self, rule: &Rule<'_>) -> Result<ImagePolicy, Problems> {
        let document = yaml::read(rule.text().as_bytes(), &Limits::default()).remove(0).unwrap();
        let mut problems = Problems::new("policy.yaml");
        let spec =
            Fields::of(&document, "spec", &mut problems).and_then(|map| map.finish_with(ImagePolicySpec::decode));
        let root = rule.root.clone().unwrap_or_else(|| self.file("trusted_root.json"));
        let key = self.file("signer.pub");
        let files = FileBytes::from([("root.json".to_owned(), Ok(root)), ("signer.pub".to_owned(), Ok(key))]);
        ImagePolicy::build(&spec.unwrap(), &files, problems)
    }

    /// Whoever signed it, as an identity in a policy.
    pub(crate) fn signer(&self) -> String {
        let text = |key: &str| self.told["signer"][key].as_str().unwrap();
        format!("issuer: {}, subject: '{}'", text("issuer"), text("subject"))
    }

    pub(crate) fn evidence(&self) -> ImageEvidence {
        self.evidence_of(self.carrier())
    }

    pub(crate) fn evidence_of(&self, carrier: Vec<u8>) -> ImageEvidence {
        let mut evidence = ImageEvidence {
            repository: self.image().repository.to_string(),
            digest: self.digest(),
            tag_signatures: Lookup::Absent,
            tag_attestations: Some(Lookup::Absent),
            referrers: Lookup::Absent,
        };
        match self.told["storage"].as_str().unwrap() {
            "bundle" => {
                let content = ReferrerContent::Bundle(carrier);
                let referrer = Referrer { digest: self.digest(), artifact_type: None, content };
                evidence.referrers = Lookup::Found(vec![referrer]);
            }
            "sig" => evidence.tag_signatures = Lookup::Found(vec![layer(&carrier, self.payload())]),
            _ => evidence.tag_attestations = Some(Lookup::Found(vec![layer(&carrier, self.payload())])),
        }
        evidence
    }
}

pub(crate) fn layer(manifest: &[u8], payload: Vec<u8>) -> SignatureLayer {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layer = &manifest["layers"][0];
    SignatureLayer {
        media_type: layer["mediaType"].as_str().unwrap().to_owned(),
        payload: Lookup::Found(payload),
        annotations: serde_json::from_value(layer["annotations"].clone()).unwrap(),
    }
}

/// A rule for every image. Authorities are named `a0`, `a1`, …, attestations `t0`, …; each is a map in flow style.
#[derive(Default)]
pub(crate) struct Rule<'text> {
    /// The trust root `root`; that of the case without one.
    pub(crate) root: Option<Vec<u8>>,
    /// 1 without one.
    pub(crate) threshold: Option<usize>,
    pub(crate) authorities: &'text [&'text str],
    pub(crate) attestations: &'text [&'text str],
}

impl Rule<'_> {
    fn text(&self) -> String {
        let mut text = format!(
            "trustRoots: [{{name: root, trustedRootFile: root.json}}]\nrules:\n- name: r\n  images: ['**']\n  authorities:\n    threshold: {}\n    list:\n",
            self.threshold.unwrap_or(1)
        );
        for (index, authority) in self.authorities.iter().enumerate() {
            text.push_str(&format!("    - {{name: a{index}, {authority}}}\n"));
        }
        for (index, attestation) in self.attestations.iter().enumerate() {
            text.push_str(if index == 0 { "  attestations:\n" } else { "" });
            text.push_str(&format!("  - {{name: t{index}, {attestation}}}\n"));
        }
        text
    }
}

pub(crate) fn keyless(identity: &str) -> String {
    format!("keyless: {{{identity}, trustRoot: root}}")
}

pub(crate) fn judged(policy: &ImagePolicy, case: &Case, evidence: &ImageEvidence) -> ImageJudgement {
    judge(policy, &case.image(), None, Some(evidence), "2040-01-01T00:00:00Z".parse::<Timestamp>().unwrap())
}

pub(crate) fn refusal(judgement: &ImageJudgement) -> String {
    match judgement.fact() {
        ImageFact::Untrusted(reasons) => reasons.join("; "),
        other => panic!("{other:?}"),
    }
}
