//! A folder with an age key, and the two programs that work on its files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use portreeve_tests::OrFail as _;
pub(crate) use portreeve_tests::age::AgeKey;
use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::desk::Desk;
use portreeve_tests::parts::Part;
use portreeve_tests::process::scratch;

/// The key that most tests use.
pub(crate) fn key() -> &'static AgeKey {
    static KEY: OnceLock<AgeKey> = OnceLock::new();
    KEY.get_or_init(AgeKey::new)
}

/// A folder at which both programs work.
pub(crate) struct Safe(pub(crate) Desk);

impl Safe {
    pub(crate) fn new() -> Self {
        Self(Desk::new())
    }

    /// A safe with a plain and an encrypted file, by the real sops.
    pub(crate) fn with(plain: &str) -> Self {
        let safe = Self::new();
        safe.0.file("plain.yaml", plain);
        safe.sops(&["encrypt", "--output", "secret.yaml", "plain.yaml"]).expect_exit(0);
        safe
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.folder().join(name)
    }

    /// What commands left beside the files that they write.
    pub(crate) fn staged(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.folder()).or_fail("the folder");
        let names = entries.map(|entry| entry.or_fail("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(".portreeve-staged")).collect()
    }

    /// The real sops.
    pub(crate) fn sops(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(Part::path("sops"));
        command.current_dir(self.0.folder()).env_clear().env("HOME", scratch("home"));
        command.args(["--disable-version-check"]).args(arguments);
        Portreeve::finish(dressed(&mut command, &key().file))
    }

    /// Ours.
    pub(crate) fn ours(&self, arguments: &[&str]) -> Output {
        Portreeve::finish(&mut self.command(arguments))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_by(arguments, &key().file)
    }

    /// A command of ours with another identity.
    pub(crate) fn command_by(&self, arguments: &[&str], identity: &Path) -> Command {
        let mut command = self.0.command(&[&["secrets"], arguments].concat());
        dressed(&mut command, identity);
        command
    }
}

fn dressed<'a>(command: &'a mut Command, identity: &Path) -> &'a mut Command {
    command.env("SOPS_AGE_KEY_FILE", identity).env("SOPS_AGE_RECIPIENTS", &key().recipient)
}

/// The lines of an encrypted file with what differs from run to run left out.
pub(crate) fn masked(file: &str) -> String {
    let mut lines = Vec::new();
    let mut in_armor = false;
    for line in file.lines() {
        match line.trim() {
            "-----BEGIN AGE ENCRYPTED FILE-----" => in_armor = true,
            "-----END AGE ENCRYPTED FILE-----" => in_armor = false,
            // The length of the armor differs, as age adds stanzas that nobody can read.
            _ if in_armor => continue,
            _ => {}
        }
        lines.push(if line.contains("lastmodified:") { "lastmodified".to_owned() } else { without_ciphertext(line) });
    }
    lines.join("\n")
}

/// `ENC[…,type:str]` to `ENC[type:str]`; several stand on a line with a comment.
fn without_ciphertext(line: &str) -> String {
    let mut parts = line.split("ENC[AES256_GCM,data:");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let kind = part.split_once(",type:").map_or(part, |(_, kind)| kind);
        text.push_str("ENC[type:");
        text.push_str(kind);
    }
    text
}
