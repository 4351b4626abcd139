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
        Self { bytes: 64 << 20, depth: 128, nodes: 2_000_000, documents: 20_000 }
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

/// A name from an input as messages show it: at most 120 characters, and none that moves a cursor, hides text or
/// turns its direction.
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 120;
    let mut text = String::new();
    for character in name.chars().take(LONGEST) {
        let is_hidden =
            matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        if character.is_control() || is_hidden {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn names_are_shown_without_what_moves_a_cursor_and_cut() {
        assert_eq!(shown("app.kubernetes.io/name"), "app.kubernetes.io/name");
        assert_eq!(shown("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
        assert_eq!(shown(&"x".repeat(500)), format!("{}…", "x".repeat(120)));
    }
}
