//! The stable identity of a finding: the same in CI and cluster, across pod names, lines and wording.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::subject::Subject;

/// Version of the recipe below; a change of the recipe is a change of this number.
const VERSION: &str = "portreeve-fingerprint-v1";

/// SHA-256 over source, code, check, subject identity, container and item key, each length-prefixed; 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a question about a subject. `item` is the stable key of the item inside the subject
    /// (an environment variable's name, a volume's name), empty where the subject itself is asked about.
    pub fn of(source: &str, code: &str, check: &str, subject: &Subject, item: &str) -> Self {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        [VERSION, source, code, check].into_iter().for_each(&mut part);
        subject.identity_parts().into_iter().for_each(&mut part);
        part(subject.container().unwrap_or_default());
        part(item);
        Self(hex(&hash.finalize()))
    }

    /// Lower-case hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
