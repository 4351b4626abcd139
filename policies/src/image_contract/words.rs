//! Names and values that look like credentials, by the words that C-0012 has for manifests: what is one in a manifest is
//! one in an image. And texts that may hold some, made fit to be shown.

use std::ops::Range;
use std::sync::LazyLock;

use portreeve_reports::source::Node;
use regex::{Regex, RegexSet, RegexSetBuilder};

use super::inspect::Detector;
use crate::control::builtin_controls;

/// Most characters of a text that are shown.
const SHOWN: usize = 240;
/// What stands for a value.
const MASK: &str = "***";
/// Public halves and names of keys, in images that everybody builds on.
const HARMLESS: [&str; 7] =
    ["GPG_KEY", "GPG_KEYS", "GPG_KEYSERVER", "KEYRING", "TOKENIZERS_PARALLELISM", "KEYBOARD", "KEYMAP"];

/// The patterns of one parameter of C-0012.
fn patterns(parameter: &str) -> Option<RegexSet> {
    let controls = builtin_controls().ok()?;
    let control = controls.iter().find(|control| control.code.as_str() == "C-0012")?;
    let (_, list) = control.params.iter().find(|(name, _)| **name == *parameter)?;
    let words: Vec<&str> = list.as_list()?.iter().filter_map(Node::as_str).collect();
    RegexSetBuilder::new(words).case_insensitive(true).build().ok()
}

static NAMES: LazyLock<Option<RegexSet>> = LazyLock::new(|| patterns("sensitiveKeyNames"));
/// `NAME=value` and `--name value`, quoted or not.
static ASSIGNMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?:^|[\s;&|('"])-{0,2}([A-Za-z_][A-Za-z0-9_.-]{0,63})(?:=|:\s|\s)("[^"]*"|'[^']*'|[^\s;&|)]+)"#).ok()
});
static URL_LOGIN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"://[^/\s@]{1,300}@").ok());

/// Whether a variable of this name with this value looks like a credential.
pub(super) fn is_credential(name: &str, value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let is_switch =
        ["true", "false", "yes", "no", "none", "null", "0", "1"].contains(&value.to_ascii_lowercase().as_str());
    let is_reference = value.starts_with(['/', '$', '.', '%']) || value.contains("/run/secrets/");
    let is_harmless = HARMLESS.contains(&name) || name.ends_with("_FILE") || name.ends_with("_PATH");
    let is_version = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    !(value.is_empty() || is_switch || is_reference || is_harmless || is_version)
        && NAMES.as_ref().is_some_and(|names| names.is_match(name))
}

/// Whether a value looks drawn by dice: long, of all kinds of characters, hardly any of them twice. Digests are of hex
/// digits and no secrets.
pub(super) fn is_random(value: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"+=_-".contains(&byte);
    let has = |kind: fn(&u8) -> bool| value.as_bytes().iter().filter(|byte| kind(byte)).count() >= 2;
    let is_long = (24..=512).contains(&value.len()) && value.bytes().all(is_word);
    is_long
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        && entropy(value) > 4.0
}

/// Shannon entropy in bits a character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let share = |count: &u32| f64::from(*count) / value.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| -share(count) * share(count).log2()).sum()
}

/// Names in a text that a value is given to which looks like a credential, with the place of the value.
pub(super) fn assigned(text: &str) -> Vec<(String, Range<usize>)> {
    let Some(assignment) = ASSIGNMENT.as_ref() else { return Vec::new() };
    let mut found = Vec::new();
    let mut from = 0;
    // The end of one can be the start of the next.
    while let Some(groups) = text.get(from..).and_then(|rest| assignment.captures(rest)) {
        let (Some(name), Some(value)) = (groups.get(1), groups.get(2)) else { break };
        let is_flag_or_pair =
            !text[from + name.end()..].starts_with(' ') || text[from..from + name.start()].ends_with('-');
        if is_flag_or_pair && is_credential(name.as_str(), value.as_str()) {
            found.push((name.as_str().to_owned(), from + value.start()..from + value.end()));
            from += value.end();
        } else {
            from += name.end();
        }
    }
    found
}

/// A text without what may be the value of a credential, in one line and cut.
pub(super) fn shown(text: &str, detector: &Detector) -> String {
    let mut hidden: Vec<Range<usize>> = (detector.of_text)(text).into_iter().map(|noticed| noticed.range).collect();
    hidden.extend(assigned(text).into_iter().map(|(_, range)| range));
    let logins = URL_LOGIN.as_ref().into_iter().flat_map(|login| login.find_iter(text));
    hidden.extend(logins.map(|login| login.start() + 3..login.end() - 1));
    hidden.extend(bearers(text));
    let words = text.split(|c: char| c.is_whitespace() || "=,;\"'()|&".contains(c));
    let start = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
    hidden.extend(words.filter(|word| is_random(word)).map(|word| start(word)..start(word) + word.len()));
    hidden.sort_by_key(|range| range.start);
    let mut told = String::new();
    let mut at = 0;
    for range in hidden.into_iter().filter(|range| !range.is_empty()) {
        if range.start >= at {
            told.push_str(&text[at..range.start]);
            told.push_str(MASK);
        }
        at = at.max(range.end);
    }
    told.push_str(&text[at..]);
    let line: Vec<&str> = told.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What stands behind `Bearer`, `Basic` or `token` in a header.
fn bearers(text: &str) -> Vec<Range<usize>> {
    static HEADER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"(?i)(?:bearer|basic|authorization:\s*token|-u|--user)\s+([^\s'"]+)"#).ok());
    let found = HEADER.as_ref().into_iter().flat_map(|header| header.captures_iter(text));
    found.filter_map(|groups| Some(groups.get(1)?.range())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLIND: Detector = Detector { of_file: |_, _| Vec::new(), of_text: |_| Vec::new() };

    #[test]
    fn names_are_those_of_the_control_for_manifests() {
        for (name, value) in [("DB_PASSWORD", "hunter2"), ("API_TOKEN", "abc"), ("AWS_SECRET_ACCESS_KEY", "x9")] {
            assert!(is_credential(name, value), "{name}");
        }
        for (name, value) in [
            ("DB_PASSWORD", ""),
            ("DB_PASSWORD", "$DB_PASSWORD"),
            ("PASSWORD_FILE", "x"),
            ("GPG_KEY", "E3FF2839C048B25C084DEBE9B26995E310250568"),
            ("TOKEN", "/run/secrets/token"),
            ("USE_TOKEN", "false"),
            ("MODE", "production"),
        ] {
            assert!(!is_credential(name, value), "{name}={value}");
        }
    }

    #[test]
    fn what_is_drawn_by_dice_is_told_from_words_and_digests() {
        assert!(is_random("x9Kd82hQzP0vLmW7rTbY4cEf"));
        for plain in
            ["a-long-name-of-a-package-or-so", "2a81f3c0f1e24ac9b1f6d8f0b0c1d2e3f4a5b6c7", "/opt/conda/envs/default"]
        {
            assert!(!is_random(plain), "{plain}");
        }
    }

    #[test]
    fn a_text_is_shown_without_values() {
        let text = "|2 PASSWORD=hunter2 MODE=x /bin/sh -c curl -H 'Authorization: Bearer abc.def' --token s3cr3t \
                    https://me:pw1@example.org/x x9Kd82hQzP0vLmW7rTbY4cEf && echo \"API_KEY='q w'\"";
        let told = shown(text, &BLIND);
        for value in ["hunter2", "abc.def", "s3cr3t", "pw1", "x9Kd", "q w"] {
            assert!(!told.contains(value), "{value} in {told}");
        }
        assert!(told.starts_with("|2 PASSWORD=*** MODE=x /bin/sh -c curl"), "{told}");
        assert!(shown(&"ä ".repeat(1_000), &BLIND).ends_with('…'));
    }

    #[test]
    fn a_flag_and_a_pair_are_assignments_and_a_sentence_is_none() {
        let names = |text: &str| assigned(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("export A=1 DB_PASSWORD=x; run --token y"), ["DB_PASSWORD", "token"]);
        assert_eq!(names("apt-get install token thing"), [""; 0]);
    }
}
