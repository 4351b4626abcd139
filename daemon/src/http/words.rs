//! Words and shapes of the pages: escaping of what is hostile, times, glyphs.

use std::fmt::Write as _;

use jiff::{Timestamp, Unit};
use portreeve_reports::formats::text::{plain, shorten};
use portreeve_reports::{Severity, Verdict};

/// The longest text of a page's one place.
const MAX_SHOWN: usize = 4_000;

/// Text from outside, harmless in a page once the template has escaped its HTML.
pub(super) fn shown(text: &str) -> String {
    plain(&shorten(text, MAX_SHOWN)).into_owned()
}

/// Like [`shown`], for texts of several lines.
pub(super) fn shown_lines(text: &str) -> String {
    shorten(text, MAX_SHOWN).lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// A shape that tells severities apart without colour.
pub(super) fn severity_glyph(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "◆",
        Severity::High => "▲",
        Severity::Medium => "■",
        Severity::Low => "●",
        Severity::Info => "○",
    }
}

/// A shape that tells verdicts apart without colour.
pub(super) fn verdict_glyph(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => "✕",
        Verdict::Error => "!",
        Verdict::Unknown => "?",
        Verdict::Excepted => "~",
        Verdict::Pass => "✓",
        Verdict::NotApplicable => "–",
    }
}

/// A moment for people and for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// `2027-01-15T08:00:00Z`.
    pub(super) exact: String,
    /// `3 min ago`.
    pub(super) ago: String,
}

/// A moment as seen from `now`.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> Moment {
    let exact = at.round(Unit::Second).unwrap_or(at).to_string();
    Moment { exact, ago: ago(now.duration_since(at).as_secs()) }
}

fn ago(seconds: i64) -> String {
    match seconds {
        ..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// 12345 as `12 345`, with a narrow no-break space.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        let _ = write!(text, "{digit}");
    }
    text
}

/// `1 finding`, `2 findings`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let spaced = |number| grouped(number).replace('\u{202f}', " ");
        assert_eq!([0, 999, 1_000, 1_234_567].map(spaced), ["0", "999", "1 000", "1 234 567"]);
    }

    #[test]
    fn times_read_as_distance() {
        let texts = [-3, 4, 59, 61, 7_200, 200_000].map(ago);
        assert_eq!(texts, ["just now", "just now", "59 s ago", "1 min ago", "2 h ago", "2 d ago"]);
    }

    #[test]
    fn deceptive_characters_are_spelled_out() {
        assert_eq!(shown("a\u{202e}b\0c\u{1b}[31m"), "a\\u{202e}b\\u{0}c\\u{1b}[31m");
        assert_eq!(shown_lines("a\nb\u{200b}"), "a\nb\\u{200b}");
    }
}
