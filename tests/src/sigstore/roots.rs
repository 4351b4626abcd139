//! Keys of a sigstore, and the trusted root that names them.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm,
};
use serde_json::Value;

use crate::process::{run, scratch};
use crate::{OrFail, cosign};

/// The log's name: the host of its URL in the root, the origin of its checkpoints.
pub(super) const REKOR: &str = "rekor.test";
/// The name of the log that is a Rekor v1.
pub(super) const REKOR_V1: &str = "rekor1.test";
/// What the root holds was valid from here.
pub(super) const START: &str = "2020-01-01T00:00:00Z";

/// One kind of trust anchor in a trusted root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The certificate authority of keyless signers.
    Fulcio,
    /// The certificate transparency log that promised to log their certificates.
    Ct,
    /// The transparency logs of signatures (Rekor v2 and v1).
    Rekor,
    /// The timestamp authority (RFC 3161).
    Tsa,
}

impl Anchor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fulcio, Self::Ct, Self::Rekor, Self::Tsa];

    fn field(self) -> &'static str {
        match self {
            Self::Fulcio => "certificateAuthorities",
            Self::Ct => "ctlogs",
            Self::Rekor => "tlogs",
            Self::Tsa => "timestampAuthorities",
        }
    }
}

/// A `trusted_root.json` (`application/vnd.dev.sigstore.trustedroot+json;version=0.1`) as cosign writes it. Its URLs are names
/// below `.test`; nobody dials them.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    path: PathBuf,
}

impl TrustedRoot {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of the file.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).or_fail("a trusted root")
    }

    /// This root with one anchor of another root in place of its own.
    pub fn with(&self, anchor: Anchor, of: &Self) -> Self {
        let mut root = self.json();
        root[anchor.field()] = of.json()[anchor.field()].take();
        Self::written(&root)
    }

    /// This root without one anchor.
    pub fn without(&self, anchor: Anchor) -> Self {
        let mut root = self.json();
        root[anchor.field()] = Value::Array(Vec::new());
        Self::written(&root)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).or_fail("a trusted root is JSON")
    }

    fn written(root: &Value) -> Self {
        let path = scratch("trusted-root").join("trusted_root.json");
        fs::write(&path, root.to_string()).or_fail("a trusted root");
        Self { path }
    }
}

/// A folder with all the private keys of a sigstore, and what proves them.
pub(super) struct Keys {
    folder: PathBuf,
}

impl Keys {
    /// New keys; private ones are PKCS #8 without a password.
    pub(super) fn generate() -> Self {
        let keys = Self { folder: scratch("sigstore-keys") };
        keys.pair("ct", &PKCS_ECDSA_P256_SHA256);
        keys.pair("rekor", &PKCS_ED25519);
        keys.pair("rekor1", &PKCS_ECDSA_P256_SHA256);
        let fulcio = keys.pair("fulcio", &PKCS_ECDSA_P256_SHA256);
        keys.write("fulcio.pem", &root_params("test-fulcio", 1).self_signed(&fulcio).or_fail("fulcio's root").pem());
        let tsa_root = KeyPair::generate().or_fail("a key");
        let params = root_params("test-tsa-root", 0);
        let root = params.self_signed(&tsa_root).or_fail("the root of the timestamp authority");
        let tsa = keys.pair("tsa", &PKCS_ECDSA_P256_SHA256);
        let leaf = stamping_params().signed_by(&tsa, &Issuer::new(params, tsa_root));
        keys.write("tsa-chain.pem", &format!("{}{}", leaf.or_fail("the stamping certificate").pem(), root.pem()));
        keys
    }

    /// A file: `fulcio.key`, `fulcio.pem`, `tsa.key`, `tsa-chain.pem`, `rekor.key`, `rekor.pub`, `rekor1.…`, `ct.…`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Has cosign write the trusted root of these keys.
    pub(super) fn trusted_root(&self) -> TrustedRoot {
        let path = self.file("trusted_root.json");
        let anchor = |name: &str, url: &str, proof: &str, file: &str| {
            format!("--{name}=url=https://{url},{proof}={},start-time={START}", self.file(file).display())
        };
        let mut cosign = cosign::bare();
        cosign.args(["trusted-root", "create"]).arg("--out").arg(&path);
        cosign.arg(anchor("fulcio", "fulcio.test", "certificate-chain", "fulcio.pem"));
        cosign.arg(anchor("ctfe", "ct.test", "public-key", "ct.pub"));
        cosign.arg(format!("{},origin={REKOR}", anchor("rekor", REKOR, "public-key", "rekor.pub")));
        cosign.arg(anchor("rekor", REKOR_V1, "public-key", "rekor1.pub"));
        cosign.arg(anchor("tsa", "tsa.test/api/v1/timestamp", "certificate-chain", "tsa-chain.pem"));
        run(&mut cosign);
        TrustedRoot { path }
    }

    fn pair(&self, name: &str, algorithm: &'static SignatureAlgorithm) -> KeyPair {
        let pair = KeyPair::generate_for(algorithm).or_fail("a key");
        self.write(&format!("{name}.key"), &pair.serialize_pem());
        self.write(&format!("{name}.pub"), &pair.public_key_pem());
        pair
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).or_fail("a file of the sigstore's keys");
    }
}

fn root_params(name: &str, path_length: u8) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn stamping_params() -> CertificateParams {
    let mut params = named("test-tsa");
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // id-kp-timeStamping alone, and critical (RFC 3161 §2.3).
    let purposes = vec![0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
    let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], purposes);
    usage.set_criticality(true);
    params.custom_extensions = vec![usage];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, "test");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(tag: &str) -> TrustedRoot {
        let lists = Anchor::ALL.map(|anchor| (anchor.field().to_owned(), serde_json::json!([tag])));
        TrustedRoot::written(&Value::Object(lists.into_iter().collect()))
    }

    #[test]
    fn a_root_takes_one_anchor_of_another_and_keeps_the_rest() {
        let (ours, theirs) = (root("ours"), root("theirs"));
        for swapped in Anchor::ALL {
            let mixed = ours.with(swapped, &theirs).json();
            for anchor in Anchor::ALL {
                let owner = if anchor == swapped { "theirs" } else { "ours" };
                assert_eq!(mixed[anchor.field()], serde_json::json!([owner]), "{anchor:?}");
            }
        }
        assert_eq!(ours.without(Anchor::Ct).json()["ctlogs"], serde_json::json!([]));
    }
}
