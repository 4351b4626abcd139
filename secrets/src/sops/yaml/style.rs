//! How a text is written: plain, quoted, or as a block, as go-yaml v3 chooses.

use base64::Engine as _;

use super::super::cipher::{BASE64, looks_sealed};
use super::scalar;

/// The notation of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// A scalar as it will be written.
pub(super) struct Written {
    pub(super) tag: Option<&'static str>,
    pub(super) text: zeroize::Zeroizing<String>,
    pub(super) style: Style,
}

/// Characters of one line of base64.
const BASE64_LINE: usize = 70;

/// The notation for text bytes; a key is never a block.
pub(super) fn of_text(bytes: &[u8], is_key: bool) -> Written {
    let Ok(text) = std::str::from_utf8(bytes) else { return binary(bytes, is_key) };
    let style = if looks_sealed(text) && !text.contains('\n') { Style::Plain } else { choose(text, is_key) };
    let tag = (text == "<<").then_some("!!merge");
    Written { tag, text: text.to_owned().into(), style }
}

fn binary(bytes: &[u8], is_key: bool) -> Written {
    let encoded = zeroize::Zeroizing::new(BASE64.encode(bytes));
    let mut text = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE + 1);
    let is_long = encoded.len() >= BASE64_LINE;
    for line in encoded.as_bytes().chunks(BASE64_LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        if is_long {
            text.push('\n');
        }
    }
    let style = match (is_long, is_key) {
        (false, _) => Style::Plain,
        (true, false) => Style::Literal,
        (true, true) => Style::Double,
    };
    Written { tag: Some("!!binary"), text: text.into(), style }
}

fn choose(text: &str, is_key: bool) -> Style {
    let found = Found::of(text);
    if text.contains('\n') {
        return if found.block_allowed() && !is_key { Style::Literal } else { Style::Double };
    }
    let is_ambiguous = text.is_empty() || scalar::resolves_elsewhere(text) || is_base60(text) || is_old_boolean(text);
    // Breaks that only old readers know do not survive in other notations.
    if is_ambiguous || found.breaks {
        Style::Double
    } else if found.plain_allowed() {
        Style::Plain
    } else if found.single_allowed() {
        Style::Single
    } else {
        Style::Double
    }
}

/// What YAML 1.1 took for a boolean.
fn is_old_boolean(text: &str) -> bool {
    const WORDS: [&str; 16] =
        ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"];
    WORDS.contains(&text)
}

/// What YAML 1.1 took for a number of base 60: `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`.
fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) || !unsigned.contains(':') {
        return false;
    }
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let mut parts = whole.split(':');
    let is_sixtieth = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    digits(fraction) && parts.next().is_some_and(digits) && parts.clone().next().is_some() && parts.all(is_sixtieth)
}

/// Whether a character is written as it is.
pub(super) fn is_printable(letter: char) -> bool {
    matches!(letter, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Whether a character ends a line for a reader of YAML 1.1.
pub(super) fn is_break(letter: char) -> bool {
    matches!(letter, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What a text has that a notation cannot hold.
#[derive(Default)]
struct Found {
    indicators: bool,
    breaks: bool,
    special: bool,
    tabs: bool,
    /// Spaces or breaks at either end.
    loose_ends: bool,
    trailing_space: bool,
    break_space: bool,
    space_break: bool,
}

impl Found {
    fn of(text: &str) -> Self {
        let mut found = Self { indicators: text.starts_with("---") || text.starts_with("..."), ..Self::default() };
        let mut letters = text.chars().peekable();
        let mut before = None;
        while let Some(letter) = letters.next() {
            found.look(before, letter, letters.peek().copied());
            before = Some(letter);
        }
        found
    }

    fn look(&mut self, before: Option<char>, letter: char, after: Option<char>) {
        let is_blank = |letter: char| letter == ' ' || letter == '\t';
        let blank_after = after.is_none_or(|letter| is_blank(letter) || is_break(letter));
        self.indicators |= match (before, letter) {
            (None, '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`') => {
                true
            }
            (None, '?' | '-') | (_, ':') => blank_after,
            (Some(before), '#') => is_blank(before) || is_break(before),
            _ => false,
        };
        let at_end = before.is_none() || after.is_none();
        let previous_break = before.is_some_and(is_break);
        if letter == '\t' {
            self.tabs = true;
        } else if !is_printable(letter) {
            self.special = true;
        }
        if letter == ' ' {
            self.loose_ends |= at_end;
            self.trailing_space |= after.is_none();
            self.break_space |= previous_break;
        } else if is_break(letter) {
            self.breaks = true;
            self.loose_ends |= at_end;
            self.space_break |= before == Some(' ');
        }
    }

    fn plain_allowed(&self) -> bool {
        self.single_allowed() && !self.loose_ends && !self.breaks && !self.indicators
    }

    fn single_allowed(&self) -> bool {
        !(self.break_space || self.space_break || self.tabs || self.special)
    }

    fn block_allowed(&self) -> bool {
        !(self.trailing_space || self.space_break || self.special)
    }
}
