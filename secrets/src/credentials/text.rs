//! Credentials in any text or file, for who looks into images: where they are and of which kind, never what they are.
//! Keys, tokens, kubeconfigs and logins are told by the parsers that look into Secrets.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::keys::{self, Guard};
use super::{jwt, kubeconfig, registry};

/// Bytes in which a zero byte says that a file is no text.
const START: usize = 8_000;
/// The most that is told of one text.
const MOST: usize = 64;
/// Least base64 characters between the lines of a key; names of such lines stand in programs, too.
const KEY_CHARACTERS: usize = 64;
/// How the words begin that are looked at. One pass tells that a text has none of them.
const BEGINNINGS: &str = r"-----BEGIN |AGE-SECRET-KEY-|eyJ|gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|xox[abprs]-|pypi-AgE|npm_|hf_|AIza|dckr_pat_|sk-(?:proj|ant)-";

/// Tokens whose issuers gave them a form: what they are called, and the form.
const TOKENS: [(&str, &str); 12] = [
    ("GitHub token", r"^gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("GitHub token", r"^github_pat_[A-Za-z0-9_]{60,255}"),
    ("GitLab token", r"^glpat-[A-Za-z0-9_.-]{20,255}"),
    ("AWS access key", r"^(?:AKIA|ASIA)[A-Z2-7]{16}"),
    ("Slack token", r"^xox[abprs]-[0-9A-Za-z-]{20,255}"),
    ("PyPI token", r"^pypi-AgE[A-Za-z0-9_-]{50,512}"),
    ("npm token", r"^npm_[A-Za-z0-9]{36}"),
    ("Hugging Face token", r"^hf_[A-Za-z0-9]{34,64}"),
    ("Google API key", r"^AIza[0-9A-Za-z_-]{35}"),
    ("Docker Hub token", r"^dckr_pat_[A-Za-z0-9_-]{27,64}"),
    ("API key", r"^sk-(?:proj|ant)-[A-Za-z0-9_-]{40,255}"),
    ("password in a URL", r"^://[^/\s:@'\x22<>{}$()]{1,128}:[^/\s@'\x22<>{}$()]{3,255}@[A-Za-z0-9]"),
];

type Beginning = LazyLock<Result<regex::bytes::Regex, regex::Error>>;
static BEGINNING: Beginning = LazyLock::new(|| beginning(BEGINNINGS));
static BEGINNING_OR_URL: Beginning = LazyLock::new(|| beginning(&format!("{BEGINNINGS}|://")));
static FORMS: LazyLock<Vec<(&str, Regex)>> =
    LazyLock::new(|| TOKENS.iter().filter_map(|(kind, form)| Some((*kind, Regex::new(form).ok()?))).collect());
/// Tokens of channels of Anaconda stand in the path.
static CHANNEL: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"https?://[^/\s'\x22]{1,255}/t/[A-Za-z0-9-]{8,255}/"));

fn beginning(words: &str) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(words).unicode(false).build()
}

/// A credential in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InText {
    /// What it is: `private key`, `GitHub token`.
    pub kind: &'static str,
    /// Whether it is a private key or an age identity.
    pub is_key: bool,
    /// Whether a passphrase or a device guards it.
    pub is_guarded: bool,
    /// Where it stands.
    pub range: Range<usize>,
}

/// The credentials of a text, in its order.
pub fn in_text(text: &str) -> Vec<InText> {
    found(text, &BEGINNING_OR_URL)
}

/// The credentials of a file: those of its text, and what its name says that it holds. Passwords in URLs count in files
/// of configuration only; documentation is full of them.
pub fn in_file(path: &str, content: &[u8]) -> Vec<InText> {
    let is_binary = content.iter().take(START).any(|byte| *byte == 0);
    if is_binary || content.is_empty() {
        return Vec::new();
    }
    let form = Form::of(path);
    let beginning = if form == Form::Any { &BEGINNING } else { &BEGINNING_OR_URL };
    let has_beginning = beginning.as_ref().is_ok_and(|beginning| beginning.is_match(content));
    if !has_beginning && form == Form::Any {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(content);
    let mut all = if has_beginning { found(&text, beginning) } else { Vec::new() };
    all.extend(form.login(&text).map(|kind| whole(kind, &text)));
    all
}

/// What the name of a file says about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Netrc,
    Docker { is_wrapped: bool },
    Kubeconfig,
    Password,
    Urls,
    Any,
}

impl Form {
    fn of(path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match name {
            ".netrc" | "_netrc" => Self::Netrc,
            "config.json" if folder.ends_with(".docker") => Self::Docker { is_wrapped: true },
            ".dockerconfigjson" => Self::Docker { is_wrapped: true },
            ".dockercfg" => Self::Docker { is_wrapped: false },
            "config" if folder.ends_with(".kube") => Self::Kubeconfig,
            "kubeconfig" => Self::Kubeconfig,
            ".pypirc" | ".npmrc" | "npmrc" => Self::Password,
            "credentials" if folder.ends_with(".aws") => Self::Password,
            ".condarc" | "condarc" | "pip.conf" | ".git-credentials" | ".gitconfig" | "uv.toml" => Self::Urls,
            "config" if folder.ends_with(".git") => Self::Urls,
            "sources.list" | "environment.yml" | "environment.yaml" | "requirements.txt" => Self::Urls,
            _ => Self::Any,
        }
    }

    /// The login that the file holds.
    fn login(self, text: &str) -> Option<&'static str> {
        match self {
            Self::Netrc => {
                let mut words = text.split_whitespace();
                words.any(|word| word == "password").then_some(())?;
                words.next().map(|_| "login in a .netrc file")
            }
            Self::Docker { is_wrapped } => {
                let logins = registry::logins(text.as_bytes(), is_wrapped)?;
                (!logins.is_empty()).then_some("registry login")
            }
            Self::Kubeconfig => kubeconfig::logins(text).filter(|all| !all.is_empty()).map(|_| "kubeconfig login"),
            Self::Password => {
                const KEYS: [&str; 5] = ["password", "_authtoken", "_password", "_auth", "aws_secret_access_key"];
                let is_login = |line: &str| {
                    let Some((key, value)) = line.split_once('=').or_else(|| line.split_once(": ")) else {
                        return false;
                    };
                    let key = key.trim().rsplit(':').next().unwrap_or_default().to_ascii_lowercase();
                    let value = value.trim().trim_matches('"');
                    KEYS.contains(&key.as_str()) && !value.is_empty() && !value.starts_with('$')
                };
                text.lines().any(is_login).then_some("login of a package index or a cloud")
            }
            Self::Urls => {
                let channel = CHANNEL.as_ref().ok()?;
                channel.is_match(text).then_some("token in the URL of a channel")
            }
            Self::Any => None,
        }
    }
}

fn whole(kind: &'static str, text: &str) -> InText {
    InText { kind, is_key: false, is_guarded: false, range: 0..text.len() }
}

fn found(text: &str, beginning: &Beginning) -> Vec<InText> {
    let Ok(beginning) = beginning.as_ref() else { return Vec::new() };
    let mut all: Vec<InText> = Vec::new();
    // A word that is no token holds none that begins in it: one pass, however the text is made.
    let mut looked_at = 0;
    for start in beginning.find_iter(text.as_bytes()).map(|found| found.start()) {
        let is_seen = text[start..].starts_with("eyJ") && start < looked_at;
        if all.len() >= MOST || is_seen || all.last().is_some_and(|last| start < last.range.end) {
            continue;
        }
        if text[start..].starts_with("eyJ") {
            looked_at = start + word(&text[start..]).len();
        }
        all.extend(at(text, start));
    }
    all
}

/// The characters of a token from here.
fn word(rest: &str) -> &str {
    &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(rest.len())]
}

/// The credential that begins here.
fn at(text: &str, start: usize) -> Option<InText> {
    let rest = &text[start..];
    if rest.starts_with("-----BEGIN ") {
        return key(rest, start);
    }
    let is_inside = text[..start].chars().next_back().is_some_and(|before| before.is_ascii_alphanumeric());
    if is_inside && !rest.starts_with("://") {
        return None;
    }
    let of_word =
        |kind, is_key, word: &str| InText { kind, is_key, is_guarded: false, range: start..start + word.len() };
    if rest.starts_with("AGE-SECRET-KEY-") {
        return keys::age_identities(word(rest)).map(|_| of_word("age identity", true, word(rest)));
    }
    if rest.starts_with("eyJ") {
        return jwt::parse(word(rest)).map(|_| of_word("JSON Web Token", false, word(rest)));
    }
    let (kind, length) = FORMS.iter().find_map(|(kind, form)| Some((*kind, form.find(rest)?.end())))?;
    // The issuers' own examples stand in the documentation of their libraries.
    let is_example = rest[..length].contains("EXAMPLE");
    (!is_example).then(|| InText { kind, is_key: false, is_guarded: false, range: start..start + length })
}

/// A private key in PEM: with a body, because the lines around one stand in programs, too.
fn key(rest: &str, start: usize) -> Option<InText> {
    let (_, block) = rest.split_once("-----BEGIN ")?;
    let (label, block) = block.split_once("-----")?;
    let body = block.split("-----").next().unwrap_or_default();
    let is_of_key = |c: &char| c.is_ascii_alphanumeric() || "+/=".contains(*c);
    let characters = unescaped(body).chars().filter(|c| !c.is_whitespace()).collect::<Vec<_>>();
    let of_key = characters.iter().filter(|c| is_of_key(c)).count();
    if label.len() > 40 || of_key < KEY_CHARACTERS || of_key * 10 < characters.len() * 9 {
        return None;
    }
    let end = rest.len() - block.len() + body.len();
    // A block that breaks off is none to the parser, and a key all the same to who has most of it.
    let guard = keys::private_key(&format!("{}-----", unescaped(&rest[..end])))?;
    let is_guarded = matches!(guard, Guard::Passphrase | Guard::Device);
    Some(InText { kind: "private key", is_key: true, is_guarded, range: start..start + end })
}

/// Keys in JSON have their line breaks as two characters.
fn unescaped(text: &str) -> Cow<'_, str> {
    if text.contains("\\n") { text.replace("\\n", "\n").into() } else { text.into() }
}

#[cfg(test)]
mod tests;
