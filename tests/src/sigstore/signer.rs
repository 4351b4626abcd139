//! Cosign with everything it needs to sign in any way, against a private sigstore.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{By, Identity, MAIL, PrivateSigstore, Proof, TrustedRoot, WORKFLOW, Way, What};
use crate::cosign::{Cosign, Storage};
use crate::process::{run, scratch};
use crate::{OrFail, fail};

/// A cosign that signs against a private sigstore; see [`PrivateSigstore::signer`].
pub struct Signer<'a> {
    sigstore: &'a PrivateSigstore,
    cosign: Cosign,
}

impl<'a> Signer<'a> {
    pub(super) fn new(sigstore: &'a PrivateSigstore, docker_config: &Path, mail: &str, github: &str) -> Self {
        let signer = Self { sigstore, cosign: Cosign::new(docker_config) };
        for (name, token) in [("mail.token", mail), ("github.token", github)] {
            fs::write(signer.cosign.folder().join(name), token).or_fail("a token for cosign");
        }
        signer
    }

    /// Signs `host/repo@sha256:…`, or attests the predicate's example about it. One that cosign cannot sign fails the test.
    pub fn sign(&self, way: Way, image: &str) {
        let mut command = self.cosign.command();
        match way.what {
            What::Signature => drop(command.arg("sign")),
            What::Attestation(predicate) => self.attesting(&mut command, predicate.word(), &predicate.example()),
        }
        self.finish(command, way, image);
    }

    /// Attests a predicate of one's own under a `--type` of cosign's or any URI; [`Way::what`] does not matter.
    pub fn attest(&self, way: Way, kind: &str, predicate: &Value, image: &str) {
        let mut command = self.cosign.command();
        self.attesting(&mut command, kind, predicate);
        self.finish(command, way, image);
    }

    /// Runs cosign's own verification of what that way gives; exit 0 means that it is satisfied.
    pub fn verify(&self, way: Way, image: &str, identity: &Identity, root: &TrustedRoot) -> Output {
        self.verification(way, image, identity, root).output().or_fail("running cosign")
    }

    /// The command that [`Self::verify`] runs, for further arguments.
    pub fn verification(&self, way: Way, image: &str, identity: &Identity, root: &TrustedRoot) -> Command {
        let mut command = self.cosign.command();
        way.verify(&mut command, identity);
        command.arg("--trusted-root").arg(root.path()).arg(image);
        command
    }

    /// Who this signer is.
    pub fn identity(&self, by: By) -> Identity {
        match by {
            By::Key => Identity::Key(self.cosign.public_key()),
            By::Mail => Identity::Keyless { issuer: self.sigstore.mail_issuer(), subject: MAIL.to_owned() },
            By::GitHub => Identity::Keyless { issuer: self.sigstore.github_issuer(), subject: WORKFLOW.to_owned() },
        }
    }

    /// The cosign with the key pair.
    pub fn cosign(&self) -> &Cosign {
        &self.cosign
    }

    fn attesting(&self, command: &mut Command, kind: &str, predicate: &Value) {
        let file = scratch("predicate").join("predicate.json");
        fs::write(&file, predicate.to_string()).or_fail("a predicate");
        command.args(["attest", "--type", kind, "--predicate"]).arg(file);
    }

    fn finish(&self, mut command: Command, way: Way, image: &str) {
        command.arg("--yes");
        match way.by {
            By::Key => command.arg("--key").arg(self.cosign.private_key()),
            By::Mail => command.args(["--identity-token", "mail.token"]),
            By::GitHub => command.args(["--identity-token", "github.token"]),
        };
        match way.storage {
            Storage::Bundle => {
                command.arg("--signing-config").arg(self.sigstore.configs.file(way.proof));
                command.arg("--trusted-root").arg(self.sigstore.trusted_root.path());
            }
            Storage::Tag => self.v2(&mut command, way),
        }
        run(command.arg(image));
    }

    fn v2(&self, command: &mut Command, way: Way) {
        command.args(["--new-bundle-format=false", "--use-signing-config=false"]);
        if way.by != By::Key {
            command.args(["--fulcio-url", &self.sigstore.servers.fulcio]);
        }
        match way.proof {
            Proof::Logged => fail("a signature behind a tag has no entry of Rekor v2"),
            Proof::LoggedV1 => {
                let rekor = self.sigstore.rekor_v1.get().or_fail("a Rekor v1 (PrivateSigstore::with_rekor_v1)");
                command.args(["--rekor-url", &rekor.url])
            }
            Proof::Stamped => {
                command.args(["--tlog-upload=false", "--timestamp-server-url", &self.sigstore.servers.tsa])
            }
            Proof::Bare => command.arg("--tlog-upload=false"),
        };
    }
}
