//! SOPS documents: read, checked, decrypted, edited, encrypted and written as sops 3.13 does.
//!
//! ```text
//! bytes ─ Document::read ─→ Document ─ open(identities) ─→ Opened ─ plain() ─→ Plain (secret)
//!                                        (MAC checked)       └ seal(plain) / rotate() ─→ Document ─ to_yaml() ─→ bytes
//! ```
//!
//! Nothing is given out before the MAC was verified over everything that was read. Plaintext lives in types that are
//! neither printed nor serialized and are overwritten when dropped. What differs from sops on purpose is listed in
//! `docs/secrets.md`.

mod cipher;
mod clear;
mod creation;
mod document;
mod error;
mod extract;
mod keys;
mod kubernetes;
mod metadata;
mod rules;
mod same;
mod seal;
mod secret;
mod select;
mod stamp;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod yaml;

pub use clear::ClearSecret;
pub use creation::{CreationRule, CreationRules};
pub use document::{Document, Opened, Plain, Recipe};
pub use error::{Error, Kind};
pub use extract::{Extracted, KeyPath};
pub use keys::{Identities, Recipient, public_key_of};
pub use kubernetes::{KubernetesSecret, Target};
pub use rules::{
    CODES, Checked, Facts, INTACT, NO_TRAILING_BYTES, OPENS, RECIPIENTS_AS_RULED, SECRETS_SEALED, TARGET_BOUND,
    findings, secrets_sealed,
};
pub use seal::Random;
pub use secret::SecretBytes;
pub use select::{Rule, Selection};

/// Bounds on what is read. A document beyond one is refused with its name.
pub(crate) mod limits {
    /// Bytes of a document.
    pub(crate) const BYTES: usize = 32 << 20;
    /// Values of a document, aliases counted at each use, keys and comments included.
    pub(crate) const NODES: usize = 2_000_000;
    /// Maps and lists within each other.
    pub(crate) const DEPTH: usize = 128;
    /// YAML documents in one file.
    pub(crate) const DOCUMENTS: usize = 1000;
    /// Recipients of one document.
    pub(crate) const RECIPIENTS: usize = 256;
    /// Bytes of one recipient's encrypted data key.
    pub(crate) const STANZA: usize = 16 << 10;
}
