//! Characters that YAML readers disagree about.
//!
//! YAML 1.1 readers, Kubernetes' among them, take U+0085, U+2028 and U+2029 for line breaks; YAML 1.2 readers do not.
//! Outside of quotes such a character can hide a field from one of them. Control characters are allowed by neither.

use std::ops::Range;

use crate::source::{Place, SourceError};

/// Hazards remembered of one input; an input with more is not text.
const MOST: usize = 100_000;

#[derive(Clone, Copy)]
struct Hazard {
    offset: usize,
    place: Place,
    character: char,
}

impl Hazard {
    /// Within quotes, a line break changes the text and nothing else.
    fn is_harmless_when_quoted(self) -> bool {
        self.character >= '\u{80}'
    }

    fn error(self) -> SourceError {
        let code = u32::from(self.character);
        let message = if self.is_harmless_when_quoted() {
            format!("U+{code:04X} is a line break to some readers and not to others; remove or quote it")
        } else {
            format!("control character U+{code:04X}; remove it or write it as an escape within double quotes")
        };
        SourceError::unreadable(self.place, message)
    }
}

/// The hazards of an input, visited in the order of the input.
#[derive(Default)]
pub(super) struct Hazards {
    found: Vec<Hazard>,
    next: usize,
    /// The first hazard of the document at hand.
    pending: Option<Hazard>,
}

impl Hazards {
    /// All hazards of a text; an error when there are too many for it to be one.
    pub(super) fn of(text: &str) -> Result<Self, SourceError> {
        // Nearly all input has none: one pass that the compiler vectorizes says so.
        if !text.bytes().any(may_be_hazard) {
            return Ok(Self::default());
        }
        let mut found = Vec::new();
        let mut place = Place { line: 1, column: 0 };
        for (offset, character) in text.char_indices() {
            place.column = place.column.saturating_add(1);
            if character == '\n' {
                place = Place { line: place.line.saturating_add(1), column: 0 };
            } else if is_hazard(character) {
                if found.len() == MOST {
                    return Err(SourceError::unreadable(place, "too many control characters; this is not YAML"));
                }
                found.push(Hazard { offset, place, character });
            }
        }
        Ok(Self { found, next: 0, pending: None })
    }

    /// Passes a quoted scalar, in which line breaks are harmless.
    pub(super) fn pass_quoted(&mut self, bytes: Range<usize>) {
        self.advance(bytes.start, |_| true);
        self.advance(bytes.end, |hazard| !hazard.is_harmless_when_quoted());
    }

    /// The first hazard of the document that ends here.
    pub(super) fn before(&mut self, end: usize) -> Option<SourceError> {
        self.advance(end, |_| true);
        self.pending.take().map(Hazard::error)
    }

    /// The first hazard that no document has accounted for.
    pub(super) fn rest(&mut self) -> Option<SourceError> {
        self.before(usize::MAX)
    }

    /// Passes what belongs to a document that was reported for another reason.
    pub(super) fn forget_before(&mut self, start: usize) {
        self.advance(start, |_| false);
        self.pending = None;
    }

    fn advance(&mut self, until: usize, counts: impl Fn(Hazard) -> bool) {
        while let Some(hazard) = self.found.get(self.next).copied().filter(|hazard| hazard.offset < until) {
            self.next += 1;
            if self.pending.is_none() && counts(hazard) {
                self.pending = Some(hazard);
            }
        }
    }
}

/// Control characters, and the first bytes of U+0085, U+2028 and U+2029.
fn may_be_hazard(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t' && byte != b'\n' && byte != b'\r') || byte == 0xc2 || byte == 0xe2
}

fn is_hazard(character: char) -> bool {
    matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
