//! Which values are encrypted: at most one of six rules, by the keys on the way to a value or by comments before it.

use regex::Regex;

use super::error::{Error, Kind};

/// The rule that holds where a document names none.
const DEFAULT_SUFFIX: &str = "_unencrypted";

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Keys with this end stay clear.
    UnencryptedSuffix(String),
    /// Only keys with this end are encrypted.
    EncryptedSuffix(String),
    /// Keys that match stay clear.
    UnencryptedRegex(String),
    /// Only keys that match are encrypted.
    EncryptedRegex(String),
    /// What follows a comment that matches stays clear.
    UnencryptedCommentRegex(String),
    /// Only what follows a comment that matches is encrypted.
    EncryptedCommentRegex(String),
}

impl Rule {
    /// The keys of the six, as in documents and in `.sops.yaml`.
    pub const KEYS: [&str; 6] = [
        "encrypted_comment_regex",
        "encrypted_regex",
        "encrypted_suffix",
        "unencrypted_comment_regex",
        "unencrypted_regex",
        "unencrypted_suffix",
    ];

    /// The rule of a key.
    pub fn of(key: &str, text: &str) -> Option<Self> {
        let text = text.to_owned();
        Some(match key {
            "encrypted_comment_regex" => Self::EncryptedCommentRegex(text),
            "encrypted_regex" => Self::EncryptedRegex(text),
            "encrypted_suffix" => Self::EncryptedSuffix(text),
            "unencrypted_comment_regex" => Self::UnencryptedCommentRegex(text),
            "unencrypted_regex" => Self::UnencryptedRegex(text),
            "unencrypted_suffix" => Self::UnencryptedSuffix(text),
            _ => return None,
        })
    }

    /// Its key and its text.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::EncryptedCommentRegex(text) => ("encrypted_comment_regex", text),
            Self::EncryptedRegex(text) => ("encrypted_regex", text),
            Self::EncryptedSuffix(text) => ("encrypted_suffix", text),
            Self::UnencryptedCommentRegex(text) => ("unencrypted_comment_regex", text),
            Self::UnencryptedRegex(text) => ("unencrypted_regex", text),
            Self::UnencryptedSuffix(text) => ("unencrypted_suffix", text),
        }
    }
}

/// A rule, ready to be asked, and what the MAC covers.
#[derive(Clone, Debug)]
pub struct Selection {
    rule: Rule,
    test: Test,
    /// The MAC covers encrypted values only.
    pub mac_only_encrypted: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Suffix(String),
    Regex(Regex),
}

impl Selection {
    /// A rule; without one the default of sops, `unencrypted_suffix: _unencrypted`.
    pub fn new(rule: Option<Rule>, mac_only_encrypted: bool) -> Result<Self, Error> {
        let rule = rule.unwrap_or_else(|| Rule::UnencryptedSuffix(DEFAULT_SUFFIX.to_owned()));
        let (key, text) = rule.parts();
        let test = if key.ends_with("suffix") {
            Test::Suffix(text.to_owned())
        } else {
            let regex = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
            Test::Regex(regex.map_err(|_| Error::new(Kind::Rule, format!("{key} is not a regular expression")))?)
        };
        Ok(Self { rule, test, mac_only_encrypted })
    }

    /// The rule as written.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    fn matches(&self, text: &str) -> bool {
        match &self.test {
            Test::Suffix(suffix) => text.ends_with(suffix),
            Test::Regex(regex) => regex.is_match(text),
        }
    }

    /// Whether the value behind these keys is encrypted, as far as keys tell: not where comments do.
    pub(crate) fn encrypts<'keys>(&self, keys: impl IntoIterator<Item = &'keys str>) -> bool {
        let scope = keys.into_iter().fold(self.top(), |scope, key| self.below(&scope, key));
        !self.is_by_comment() && self.is_encrypted(&scope)
    }

    /// Whether comments tell what is encrypted.
    pub(crate) fn is_by_comment(&self) -> bool {
        matches!(self.rule, Rule::UnencryptedCommentRegex(_) | Rule::EncryptedCommentRegex(_))
    }

    /// Whether a match means that a value is encrypted.
    fn match_encrypts(&self) -> bool {
        matches!(self.rule, Rule::EncryptedSuffix(_) | Rule::EncryptedRegex(_) | Rule::EncryptedCommentRegex(_))
    }

    /// The state at the top of a document.
    pub(crate) fn top(&self) -> Scope {
        Scope::default()
    }

    /// The state of a value behind a key.
    pub(crate) fn below(&self, scope: &Scope, key: &str) -> Scope {
        let matched = scope.outer || scope.group || (!self.is_by_comment() && self.matches(key));
        Scope { outer: matched, group: false }
    }

    /// The state within a list.
    pub(crate) fn inside(&self, scope: &Scope) -> Scope {
        Scope { outer: scope.outer || scope.group, group: false }
    }

    /// Takes note of a comment, and says whether the comment itself is encrypted.
    pub(crate) fn comment(&self, scope: &mut Scope, text: &[u8]) -> bool {
        let before = scope.outer || scope.group;
        if self.is_by_comment() && std::str::from_utf8(text).is_ok_and(|text| self.matches(text)) {
            scope.group = true;
        }
        match self.rule {
            // The line that says so stays clear itself.
            Rule::EncryptedCommentRegex(_) => before,
            _ => self.is_encrypted(scope),
        }
    }

    /// Ends the effect of the comments before a value.
    pub(crate) fn after_value(scope: &mut Scope) {
        scope.group = false;
    }

    /// Whether a value is encrypted.
    pub(crate) fn is_encrypted(&self, scope: &Scope) -> bool {
        (scope.outer || scope.group) == self.match_encrypts()
    }
}

/// What is known on the way to a value: asked once a key or comment, never once a value.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    /// A key above, or a comment before something above, matched.
    outer: bool,
    /// A comment before the next value matched.
    group: bool,
}
