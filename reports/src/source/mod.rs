//! Reading what people and machines wrote: capped, with the place of every value.
//!
//! * [`node`]: the value tree. Cloning a subtree is cheap, and every node knows its line and column.
//! * [`yaml`], [`json`]: bytes to trees, within [`Limits`]; one bad document of many is data, not an abort.
//! * [`decode`]: trees to types. Unknown keys are problems with a did-you-mean; all problems come at once.

pub mod decode;
pub mod json;
pub mod node;
pub mod yaml;

pub use decode::{Fields, Problem, Problems};
pub use node::{Map, Node, Place, Value};

use crate::verdict::Cause;

/// Caps on what one read may cost. A document beyond a cap is unreadable with cause `too-large`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one input.
    pub bytes: usize,
    /// Nesting of maps and lists.
    pub depth: usize,
    /// Nodes of one document, aliases counted as often as they are used.
    pub nodes: usize,
    /// Documents of one input, items of Lists included.
    pub documents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, depth: 128, nodes: 2_000_000, documents: 100_000 }
    }
}

/// Why an input or a document could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// Where reading stopped.
    pub place: Place,
    /// `unreadable` or `too-large`.
    pub cause: Cause,
    /// What is wrong, in words.
    pub message: String,
}

impl SourceError {
    /// Bytes that do not parse.
    pub fn unreadable(place: Place, message: impl Into<String>) -> Self {
        Self { place, cause: Cause::Unreadable, message: message.into() }
    }

    /// A cap that was reached.
    pub fn too_large(place: Place, message: impl Into<String>) -> Self {
        Self { place, cause: Cause::TooLarge, message: message.into() }
    }
}
