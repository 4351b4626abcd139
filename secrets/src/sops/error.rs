//! What can be wrong with a document, without a word of what it holds.

use portreeve_reports::source::Place;

/// Why a document cannot be read, opened or written. Keys may be named in it, values never are.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of problem it is; the exit codes follow from it.
    pub kind: Kind,
    message: String,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not YAML, or not what sops writes.
    Unreadable,
    /// Beyond a bound.
    TooLarge,
    /// Nothing in it.
    Empty,
    /// No `sops` block, or one with mistakes.
    NotEncrypted,
    /// There is a `sops` key already.
    AlreadyEncrypted,
    /// Something that this version does not do.
    NotYet,
    /// A recipient or an identity that is none.
    Key,
    /// No identity opens the data key.
    NoIdentity,
    /// A value that does not decrypt.
    Value,
    /// The MAC is missing.
    MacMissing,
    /// The MAC is there and is not the document's.
    MacMismatch,
    /// A value that cannot be encrypted or written.
    Unwritable,
    /// A path that is none.
    Path,
    /// A path that leads nowhere.
    PathNotFound,
    /// Selection rules that contradict each other, or are none.
    Rule,
    /// Not the Secret that was asked for.
    Target,
    /// Random bytes could not be had.
    Random,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Random bytes could not be had: what an implementation of [`super::Random`] fails with.
    pub fn no_random() -> Self {
        Self::new(Kind::Random, "the operating system gave no random bytes")
    }

    pub(crate) fn at(kind: Kind, place: Place, message: impl std::fmt::Display) -> Self {
        Self { kind, message: format!("line {}, column {}: {message}", place.line, place.column) }
    }
}
