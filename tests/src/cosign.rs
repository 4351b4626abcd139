//! Signatures by cosign itself, with keys and without a transparency log.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::OrFail;
use crate::parts::Part;
use crate::process::{run, scratch};

/// How a signature is kept in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Cosign v2: layers of a manifest behind the tag `sha256-<hex>.sig`.
    Tag,
    /// Cosign v3: a sigstore bundle that refers to the image.
    Bundle,
}

/// A cosign with a key pair of its own and no network but the registry.
pub struct Cosign {
    folder: PathBuf,
    docker_config: PathBuf,
}

impl Cosign {
    /// Makes a key pair; its password is empty.
    pub fn new(docker_config: &Path) -> Self {
        let cosign = Self { folder: scratch("cosign"), docker_config: docker_config.to_owned() };
        run(cosign.command().args(["generate-key-pair", "--output-key-prefix", "test"]));
        run(cosign.command().args(["signing-config", "create", "--out", "signing_config.none.json"]));
        run(cosign.command().args(["trusted-root", "create", "--out", "trusted_root.json"]));
        cosign
    }

    /// The public key file, PEM.
    pub fn public_key(&self) -> PathBuf {
        self.folder.join("test.pub")
    }

    /// The private key file, in cosign's encrypted PEM with an empty password.
    pub fn private_key(&self) -> PathBuf {
        self.folder.join("test.key")
    }

    /// Signs an image digest with the key, without a log.
    pub fn sign(&self, image: &str, storage: Storage) {
        run(self.unlogged("sign", storage).arg(image));
    }

    /// Attests an image digest with the key, without a log: a predicate of a type by cosign's name for it.
    pub fn attest(&self, image: &str, storage: Storage, kind: &str, predicate: &Path) {
        run(self.unlogged("attest", storage).args(["--type", kind, "--predicate"]).arg(predicate).arg(image));
    }

    fn unlogged(&self, subcommand: &str, storage: Storage) -> Command {
        let mut command = self.command();
        command.args([subcommand, "--yes", "--key", "test.key"]);
        match storage {
            Storage::Tag => {
                command.args(["--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"])
            }
            Storage::Bundle => {
                command.args(["--signing-config", "signing_config.none.json", "--trusted-root", "trusted_root.json"])
            }
        };
        command
    }

    /// Runs cosign's own verification with a public key; exit 0 means that it trusts the image.
    pub fn verify(&self, image: &str, public_key: &Path) -> Output {
        let mut command = self.command();
        command.arg("verify").arg("--key").arg(public_key);
        command.args(["--insecure-ignore-tlog=true", "--trusted-root", "trusted_root.json", image]);
        command.output().or_fail("running cosign")
    }

    /// The folder of the keys, in which [`Self::command`] runs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A cosign command in the folder of the keys, with a home of its own.
    pub fn command(&self) -> Command {
        let mut command = command(&self.folder);
        command.env("DOCKER_CONFIG", &self.docker_config);
        command
    }
}

/// A cosign without keys, with a home of its own.
pub fn bare() -> Command {
    command(&scratch("cosign"))
}

/// A cosign whose home is the folder, and which reaches nothing but loopback: the proxy for everything else is not there.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(Part::path("cosign"));
    command.current_dir(folder).env("HOME", folder).env("TUF_ROOT", folder.join("tuf")).env("COSIGN_PASSWORD", "");
    // Who runs the tests may have these for a cosign of their own.
    for name in ["SIGSTORE_ID_TOKEN", "SIGSTORE_ROOT_FILE", "ACTIONS_ID_TOKEN_REQUEST_URL", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command.env("HTTP_PROXY", "http://127.0.0.1:1").env("HTTPS_PROXY", "http://127.0.0.1:1");
    command
}
