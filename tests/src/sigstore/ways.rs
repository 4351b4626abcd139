//! The ways in which cosign signs and attests, as words for tests and as its own arguments.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::cosign::Storage;

/// A way of signing an image: [`Way::all`] has those that a private sigstore serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whose signature it is.
    pub by: By,
    /// What is signed.
    pub what: What,
    /// What says when that was.
    pub proof: Proof,
    /// Where it is kept.
    pub storage: Storage,
}

/// Whose signature it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A key pair (P-256).
    Key,
    /// A certificate for the mail address [`super::MAIL`].
    Mail,
    /// A certificate for the workflow [`super::WORKFLOW`], with the extensions that GitHub's claims become.
    GitHub,
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The image itself: a simple-signing payload behind a tag; in a bundle, a statement of
    /// `https://sigstore.dev/cosign/sign/v1`.
    Signature,
    /// An in-toto statement about it.
    Attestation(Predicate),
}

/// What says when a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An entry of Rekor v2 and, since that states no time, a timestamp.
    Logged,
    /// An entry of Rekor v1, whose promise states the time; for this [`super::PrivateSigstore::with_rekor_v1`] has to run.
    LoggedV1,
    /// A timestamp of the authority alone.
    Stamped,
    /// Nothing.
    Bare,
}

/// The predicate of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// SLSA provenance v0.2.
    SlsaV02,
    /// SLSA provenance v1.
    SlsaV1,
    /// An SPDX document.
    Spdx,
    /// A CycloneDX bill of materials.
    CycloneDx,
    /// The report of a scanner, in cosign's form.
    Vulnerabilities,
    /// OpenVEX statements.
    OpenVex,
}

/// Whom a verification expects.
#[derive(Clone, Debug)]
pub enum Identity {
    /// The holder of the private key to this file (PEM).
    Key(PathBuf),
    /// Whoever had a token of the issuer for the subject.
    Keyless {
        /// URL of the issuer.
        issuer: String,
        /// Mail address or URL, as in the certificate.
        subject: String,
    },
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl Predicate {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::SlsaV02, Self::SlsaV1, Self::Spdx, Self::CycloneDx, Self::Vulnerabilities, Self::OpenVex];

    /// The word for it after `--type`.
    pub fn word(self) -> &'static str {
        match self {
            Self::SlsaV02 => "slsaprovenance02",
            Self::SlsaV1 => "slsaprovenance1",
            Self::Spdx => "spdxjson",
            Self::CycloneDx => "cyclonedx",
            Self::Vulnerabilities => "vuln",
            Self::OpenVex => "openvex",
        }
    }

    /// The `predicateType` of the statement.
    pub fn uri(self) -> &'static str {
        match self {
            Self::SlsaV02 => "https://slsa.dev/provenance/v0.2",
            Self::SlsaV1 => "https://slsa.dev/provenance/v1",
            Self::Spdx => "https://spdx.dev/Document",
            Self::CycloneDx => "https://cyclonedx.org/bom",
            Self::Vulnerabilities => "https://cosign.sigstore.dev/attestation/vuln/v1",
            Self::OpenVex => "https://openvex.dev/ns",
        }
    }

    /// A small predicate: built by `https://example.org/builder` from `github.com/example-org/app` at `refs/heads/main`;
    /// parts under Zlib and GPL-3.0-or-later; a critical CVE-2026-0001, which the VEX statement says does not affect it.
    pub fn example(self) -> Value {
        match self {
            Self::SlsaV02 => json!({
                "builder": {"id": "https://example.org/builder"}, "buildType": "https://example.org/build/v0",
                "invocation": {"configSource": {"uri": "git+https://github.com/example-org/app@refs/heads/main",
                    "digest": {"sha1": COMMIT}, "entryPoint": "release"}},
                "metadata": {"buildInvocationID": "https://example.org/runs/42", "buildStartedOn": "2026-01-02T03:04:05Z",
                    "buildFinishedOn": "2026-01-02T03:14:05Z", "reproducible": false,
                    "completeness": {"parameters": true, "environment": false, "materials": false}},
                "materials": [{"uri": "git+https://github.com/example-org/app@refs/heads/main", "digest": {"sha1": COMMIT}}]}),
            Self::SlsaV1 => json!({
                "buildDefinition": {"buildType": "https://example.org/build/v1",
                    "externalParameters": {"repository": "https://github.com/example-org/app", "ref": "refs/heads/main"},
                    "resolvedDependencies": [{"uri": "git+https://github.com/example-org/app@refs/heads/main",
                        "digest": {"gitCommit": COMMIT}}]},
                "runDetails": {"builder": {"id": "https://example.org/builder"},
                    "metadata": {"invocationId": "https://example.org/runs/42", "startedOn": "2026-01-02T03:04:05Z",
                        "finishedOn": "2026-01-02T03:14:05Z"}}}),
            Self::Spdx => json!({
                "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "app",
                "documentNamespace": "https://example.org/sbom/app",
                "creationInfo": {"created": "2026-01-02T03:04:05Z", "creators": ["Tool: example"]},
                "packages": [
                    {"name": "zlib", "SPDXID": "SPDXRef-zlib", "versionInfo": "1.3.1",
                        "downloadLocation": "NOASSERTION", "licenseConcluded": "Zlib"},
                    {"name": "readline", "SPDXID": "SPDXRef-readline", "versionInfo": "8.2",
                        "downloadLocation": "NOASSERTION", "licenseConcluded": "GPL-3.0-or-later"}]}),
            Self::CycloneDx => json!({
                "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
                "components": [
                    {"type": "library", "name": "zlib", "version": "1.3.1", "licenses": [{"license": {"id": "Zlib"}}]},
                    {"type": "library", "name": "readline", "version": "8.2",
                        "licenses": [{"expression": "GPL-3.0-or-later"}]}]}),
            Self::Vulnerabilities => json!({
                "invocation": {"parameters": null, "uri": "https://example.org/runs/42", "event_id": "42",
                    "builder.id": "https://example.org/builder"},
                "scanner": {"uri": "https://example.org/scanner", "version": "1.0.0",
                    "db": {"uri": "https://example.org/db", "version": "2026-01-02"},
                    "result": {"Results": [{"Vulnerabilities":
                        [{"VulnerabilityID": "CVE-2026-0001", "Severity": "CRITICAL", "PkgName": "zlib"}]}]}},
                "metadata": {"scanStartedOn": "2026-01-02T03:04:05Z", "scanFinishedOn": "2026-01-02T03:05:05Z"}}),
            Self::OpenVex => json!({
                "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex/1", "version": 1,
                "author": super::MAIL, "timestamp": "2026-01-02T03:04:05Z",
                "statements": [{"vulnerability": {"name": "CVE-2026-0001"}, "products": [{"@id": "pkg:oci/app"}],
                    "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"}]}),
        }
    }
}

impl Way {
    /// All that a sigstore without Rekor v1 serves. A signature behind a tag has no entry there: Rekor v2 has none for it.
    pub fn all() -> Vec<Self> {
        let mut ways: Vec<_> = Self::SIGNATURES.to_vec();
        for predicate in Predicate::ALL {
            ways.push(Self::attestation(By::Mail, predicate, Proof::Logged, Storage::Bundle));
            ways.push(Self::attestation(By::Mail, predicate, Proof::Stamped, Storage::Tag));
        }
        ways.push(Self::attestation(By::GitHub, Predicate::SlsaV1, Proof::Logged, Storage::Bundle));
        ways.push(Self::attestation(By::Key, Predicate::SlsaV1, Proof::Bare, Storage::Bundle));
        ways.push(Self::attestation(By::Key, Predicate::SlsaV1, Proof::Bare, Storage::Tag));
        ways
    }

    /// Those that sign the image itself.
    pub const SIGNATURES: [Self; 10] = [
        Self::signature(By::Mail, Proof::Logged, Storage::Bundle),
        Self::signature(By::Mail, Proof::Stamped, Storage::Bundle),
        Self::signature(By::Mail, Proof::Stamped, Storage::Tag),
        // Worth nothing: only while the certificate lives can anybody take it for good.
        Self::signature(By::Mail, Proof::Bare, Storage::Tag),
        Self::signature(By::GitHub, Proof::Logged, Storage::Bundle),
        Self::signature(By::Key, Proof::Logged, Storage::Bundle),
        Self::signature(By::Key, Proof::Stamped, Storage::Bundle),
        Self::signature(By::Key, Proof::Stamped, Storage::Tag),
        Self::signature(By::Key, Proof::Bare, Storage::Bundle),
        Self::signature(By::Key, Proof::Bare, Storage::Tag),
    ];

    /// Those that Rekor v1 logs.
    pub const LOGGED_V1: [Self; 7] = [
        Self::signature(By::Mail, Proof::LoggedV1, Storage::Bundle),
        Self::signature(By::Mail, Proof::LoggedV1, Storage::Tag),
        Self::signature(By::Key, Proof::LoggedV1, Storage::Bundle),
        Self::signature(By::Key, Proof::LoggedV1, Storage::Tag),
        Self::attestation(By::Mail, Predicate::SlsaV1, Proof::LoggedV1, Storage::Bundle),
        Self::attestation(By::Mail, Predicate::SlsaV1, Proof::LoggedV1, Storage::Tag),
        Self::attestation(By::GitHub, Predicate::SlsaV1, Proof::LoggedV1, Storage::Bundle),
    ];

    /// A signature of the image itself.
    pub const fn signature(by: By, proof: Proof, storage: Storage) -> Self {
        Self { by, what: What::Signature, proof, storage }
    }

    /// An attestation about the image.
    pub const fn attestation(by: By, predicate: Predicate, proof: Proof, storage: Storage) -> Self {
        Self { by, what: What::Attestation(predicate), proof, storage }
    }

    /// A word for it, of lower-case letters, digits and `-`: a tag of an image, the name of a fixture.
    pub fn name(self) -> String {
        let by = match self.by {
            By::Key => "keyed",
            By::Mail => "keyless",
            By::GitHub => "github",
        };
        let what = match (self.what, self.proof) {
            (What::Attestation(predicate), _) => predicate.word(),
            (What::Signature, Proof::Logged | Proof::LoggedV1) => "logged",
            (What::Signature, Proof::Stamped) => "stamped",
            (What::Signature, Proof::Bare) => "bare",
        };
        let log = if self.proof == Proof::LoggedV1 { "-v1" } else { "" };
        let storage = if self.storage == Storage::Tag { "-tag" } else { "" };
        format!("{by}-{what}{log}{storage}")
    }

    /// Whether cosign 3.1.3 accepts what it made. Of an envelope behind a tag it stamps the signature, and then looks for
    /// a timestamp of the whole envelope.
    pub fn satisfies_cosign(self) -> bool {
        let envelope = self.storage == Storage::Tag && matches!(self.what, What::Attestation(_));
        !(envelope && self.proof == Proof::Stamped)
    }

    /// The arguments of a verification that demands what this way gives, but for the image and the root.
    pub(super) fn verify(self, command: &mut Command, identity: &Identity) {
        match self.what {
            What::Signature => command.arg("verify"),
            What::Attestation(predicate) => command.args(["verify-attestation", "--type", predicate.word()]),
        };
        match identity {
            Identity::Key(file) => command.arg("--key").arg(file),
            Identity::Keyless { issuer, subject } => {
                command.args(["--certificate-identity", subject, "--certificate-oidc-issuer", issuer])
            }
        };
        match self.proof {
            Proof::Logged | Proof::LoggedV1 => {}
            Proof::Stamped => drop(command.args(["--insecure-ignore-tlog=true", "--use-signed-timestamps"])),
            Proof::Bare => drop(command.arg("--insecure-ignore-tlog=true")),
        }
    }
}
