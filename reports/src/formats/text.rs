//! Untrusted text on its way to a terminal or a file that people open.

use std::borrow::Cow;

/// Whether a character can move a cursor, reorder a line, hide text or end a line: C0 and C1 controls, DEL, line and
/// paragraph separators, bidirectional controls, invisible characters, tags, and what XML has no word for.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{fffe}'
            | '\u{ffff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text with every deceptive character spelled out (`\u{1b}`, `\n`), so that it stays on its line, does nothing,
/// and is still seen to be there.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_deceptive(character) {
            spelled.extend(character.escape_default());
        } else {
            spelled.push(character);
        }
    }
    Cow::Owned(spelled)
}

/// The first `limit` characters, with `…` where more followed.
pub fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_a_terminal_are_spelled_out() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc\0"), "a\\u{1b}[31mb\\r\\nc\\u{0}");
        assert_eq!(plain("\u{202e}gnp.exe\u{9b}2J"), "\\u{202e}gnp.exe\\u{9b}2J");
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in ["hub", "Grüße, 世界 🙂", "<b>&amp;</b>", ""] {
            assert!(matches!(plain(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn shortening_counts_characters_and_says_so() {
        assert_eq!(shorten("世界", 1), "世…");
        assert_eq!(shorten("世界", 2), "世界");
    }
}
