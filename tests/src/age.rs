//! Key pairs of age, by the real `age-keygen`, and files encrypted by the real sops.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::OrFail as _;
use crate::parts::Part;
use crate::process::{run, scratch};

/// A key pair of age: the file of its identity, and its public key.
pub struct AgeKey {
    /// The file of the identity.
    pub file: PathBuf,
    /// The public key.
    pub recipient: String,
}

impl Default for AgeKey {
    fn default() -> Self {
        Self::new()
    }
}

impl AgeKey {
    /// A new pair.
    pub fn new() -> Self {
        let file = scratch("age").join("key.txt");
        run(Command::new(Part::path("age-keygen")).arg("-o").arg(&file));
        let recipient = run(Command::new(Part::path("age-keygen")).arg("-y").arg(&file)).trim().to_owned();
        Self { file, recipient }
    }

    /// Writes a YAML text to a file, encrypted for this key by sops with these further flags. The file is there as a
    /// whole or not at all.
    pub fn encrypt(&self, text: &str, file: &Path, flags: &[&str]) {
        let folder = scratch("sops");
        let (plain, sealed) = (folder.join("plain.yaml"), folder.join("sealed.yaml"));
        std::fs::write(&plain, text).or_fail("a file of a test");
        let mut sops = Command::new(Part::path("sops"));
        sops.env_clear().env("HOME", &folder).current_dir(&folder);
        sops.args(["--disable-version-check", "encrypt", "--age", &self.recipient]).args(flags);
        run(sops.arg("--output").arg(&sealed).arg(&plain));
        std::fs::copy(&sealed, file.with_extension("new")).or_fail("an encrypted file");
        std::fs::rename(file.with_extension("new"), file).or_fail("an encrypted file");
    }
}
