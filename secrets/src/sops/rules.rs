//! What is found in an encrypted file: questions that are asked of every one.

use portreeve_reports::finding::BuildError;
use portreeve_reports::{Cause, CodeEntry, Finding, FindingBuilder, Location, Severity, Subject, Verdict};

use super::clear::ClearSecret;
use super::creation::CreationRule;
use super::document::Document;
use super::error::{Error, Kind};
use super::tree::find;

/// Whether the document is whole.
pub const INTACT: CodeEntry = CodeEntry {
    code: "PR-3001",
    title: "encrypted file is whole",
    severity: Severity::Critical,
    why: "The MAC says that all values are those that were encrypted, in their places. Without it somebody without the \
          key changed, moved or removed values, and what is decrypted is what they chose.",
    fix: "Restore the file from a commit whose MAC was right and find out who changed it; edit such files only with \
          `portreeve secrets edit` or sops.",
};
/// Whether it can be opened with the keys at hand.
pub const OPENS: CodeEntry = CodeEntry {
    code: "PR-3002",
    title: "encrypted file opens with the keys at hand",
    severity: Severity::High,
    why: "None of the identities opens the data key: what depends on the file cannot be kept up to date.",
    fix: "Give the identity of one of the recipients, or have somebody who can open the file encrypt it to yours too.",
};
/// Whether a Secret's name is protected.
pub const TARGET_BOUND: CodeEntry = CodeEntry {
    code: "PR-3003",
    title: "name and namespace of an encrypted Secret are protected",
    severity: Severity::High,
    why: "With mac_only_encrypted the MAC does not cover clear fields: whoever can write the file sends the values to \
          another namespace, where they may read them.",
    fix: "Encrypt the file again without mac_only_encrypted.",
};
/// Whether values end where they should.
pub const NO_TRAILING_BYTES: CodeEntry = CodeEntry {
    code: "PR-3004",
    title: "encrypted values end with their bracket",
    severity: Severity::Medium,
    why: "Bytes behind the bracket of an encrypted value are read by nobody and protected by nothing; a bad merge or a \
          hand left them there.",
    fix: "Remove what stands behind the `]`, or save the file once with `portreeve secrets edit`.",
};
/// Whether those can open it who should.
pub const RECIPIENTS_AS_RULED: CodeEntry = CodeEntry {
    code: "PR-3005",
    title: "recipients are those of the creation rule",
    severity: Severity::High,
    why: "The file can be opened by somebody whom the rule does not name (any more), or cannot be by somebody whom it \
          names. The list of recipients is protected by nothing.",
    fix: "Run `sops updatekeys FILE`, and rotate the file when somebody was removed: they know its data key.",
};
/// Whether Secrets are encrypted where a rule says so.
pub const SECRETS_SEALED: CodeEntry = CodeEntry {
    code: "PR-3013",
    title: "Secrets that .sops.yaml says to encrypt are encrypted",
    severity: Severity::High,
    why: "Values of a Secret lie in clear in a file that a creation rule is for: whoever can read the repository, its \
          history or a copy of it knows them.",
    fix: "Encrypt the file (`portreeve secrets encrypt --in-place FILE`), and change the values if it was ever committed: \
          the history keeps them.",
};

/// What is asked of every encrypted file.
const QUESTIONS: [CodeEntry; 5] = [INTACT, OPENS, TARGET_BOUND, NO_TRAILING_BYTES, RECIPIENTS_AS_RULED];
/// All codes of encrypted files, and of those that should be.
pub const CODES: &[CodeEntry] = &[INTACT, OPENS, TARGET_BOUND, NO_TRAILING_BYTES, RECIPIENTS_AS_RULED, SECRETS_SEALED];
/// Most Secrets that one finding names.
const NAMED: usize = 10;

/// What came of an attempt to open a file.
pub enum Checked<'a> {
    /// There were no keys to try.
    NotTried,
    /// The MAC was right.
    Whole,
    /// It did not open.
    Failed(&'a Error),
}

/// What is known of a file.
pub struct Facts<'a> {
    /// Its path, as findings show it.
    pub file: &'a str,
    /// The file, read.
    pub document: &'a Document,
    /// What came of opening it.
    pub checked: Checked<'a>,
    /// The creation rule for its path, where there is one.
    pub rule: Option<&'a CreationRule>,
}

type Answer = (Verdict, Option<Cause>, String);

/// The findings about an encrypted file, in the order of [`CODES`].
pub fn findings(facts: &Facts<'_>) -> Result<Vec<Finding>, BuildError> {
    let answers = [intact(facts), opens(facts), target_bound(facts), no_trailing(facts), as_ruled(facts)];
    QUESTIONS.iter().zip(answers).map(|(entry, answer)| finding(entry, answer, facts.file)).collect()
}

/// Whether Secrets of a file that a rule is for lie in clear; `clear` are those with clear values. Comments are not read
/// here, so a rule that goes by them leaves the question to a person.
pub fn secrets_sealed(file: &str, clear: &[ClearSecret], rule: &CreationRule) -> Result<Finding, BuildError> {
    if let (Some(first), true) = (clear.first(), rule.selection().is_by_comment()) {
        let message = format!(
            "values lie in clear in {}, and the creation rule tells by comments, which are not read, what to encrypt",
            named(clear.iter())
        );
        let unknown = finding(&SECRETS_SEALED, (Verdict::Unknown, Some(Cause::Manual), message), file)?;
        return Ok(at(first, unknown));
    }
    let found: Vec<&ClearSecret> = clear.iter().filter(|secret| secret.should_be_sealed(rule)).collect();
    let Some(first) = found.first() else {
        return finding(&SECRETS_SEALED, pass("no Secret has a clear value that its creation rule encrypts"), file);
    };
    let names = named(found.iter().copied());
    let message = format!(".sops.yaml says to encrypt this file, and values lie in clear in {names}");
    Ok(at(first, finding(&SECRETS_SEALED, (Verdict::Fail, None, message), file)?))
}

fn named<'s>(secrets: impl ExactSizeIterator<Item = &'s ClearSecret>) -> String {
    let more = secrets.len().saturating_sub(NAMED);
    let names: Vec<_> = secrets.take(NAMED).map(|secret| portreeve_reports::source::shown(&secret.name)).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

fn at(secret: &ClearSecret, mut finding: Finding) -> Finding {
    for location in &mut finding.locations {
        (location.line, location.column) = (Some(secret.place.line), Some(secret.place.column));
    }
    finding
}

fn finding(entry: &CodeEntry, (verdict, cause, message): Answer, file: &str) -> Result<Finding, BuildError> {
    let mut builder = FindingBuilder::new(entry.code(), entry.severity, verdict)
        .subject(Subject::File { path: file.to_owned() })
        .location(Location { file: Some(file.into()), ..Location::default() })
        .message(format!("{file}: {message}"));
    if let Some(cause) = cause {
        builder = builder.cause(cause);
    }
    builder.build()
}

fn pass(message: &str) -> Answer {
    (Verdict::Pass, None, message.to_owned())
}

fn not_applicable(message: &str) -> Answer {
    (Verdict::NotApplicable, None, message.to_owned())
}

fn intact(facts: &Facts<'_>) -> Answer {
    match &facts.checked {
        Checked::Whole if facts.document.selection().mac_only_encrypted => {
            pass("the MAC is right; mac_only_encrypted: it says nothing of clear values")
        }
        Checked::Whole => pass("the MAC is right"),
        Checked::NotTried => {
            (Verdict::Unknown, Some(Cause::NotVisible), "the MAC needs a key to be checked".to_owned())
        }
        Checked::Failed(error) => match error.kind {
            Kind::MacMismatch | Kind::MacMissing | Kind::Value => (Verdict::Fail, None, error.to_string()),
            Kind::NoIdentity => (Verdict::Unknown, Some(Cause::NotVisible), "the MAC could not be checked".to_owned()),
            Kind::NotYet => (Verdict::Unknown, Some(Cause::NotImplemented), error.to_string()),
            _ => (Verdict::Unknown, Some(Cause::Unreadable), error.to_string()),
        },
    }
}

fn opens(facts: &Facts<'_>) -> Answer {
    match &facts.checked {
        Checked::Whole => pass("an identity opens it"),
        Checked::NotTried => not_applicable("no identity was given"),
        Checked::Failed(error) => match error.kind {
            Kind::NoIdentity => (Verdict::Fail, None, error.to_string()),
            Kind::NotYet => (Verdict::Unknown, Some(Cause::NotImplemented), error.to_string()),
            // What fails behind the data key is the other question.
            _ => pass("an identity opens it"),
        },
    }
}

fn target_bound(facts: &Facts<'_>) -> Answer {
    let document = facts.document;
    let kind = document.branches.first().and_then(|branch| find(branch, "kind"));
    if kind.is_none() {
        return not_applicable("not a manifest");
    }
    if document.selection().mac_only_encrypted {
        let message = "mac_only_encrypted leaves name and namespace of a manifest unprotected";
        return (Verdict::Fail, None, message.to_owned());
    }
    pass("the MAC covers name and namespace")
}

fn no_trailing(facts: &Facts<'_>) -> Answer {
    match facts.document.trailing() {
        0 => pass("no value has bytes behind its bracket"),
        count => (Verdict::Fail, None, format!("{count} values have bytes behind their bracket")),
    }
}

fn as_ruled(facts: &Facts<'_>) -> Answer {
    let Some(rule) = facts.rule else { return not_applicable("no creation rule is for this file") };
    let held = facts.document.recipients();
    let ruled: Vec<&str> = rule.recipients().iter().map(super::keys::Recipient::as_str).collect();
    let beyond: Vec<&str> = held.iter().filter(|one| !ruled.contains(one)).copied().collect();
    let lacking: Vec<&str> = ruled.iter().filter(|one| !held.contains(one)).copied().collect();
    if beyond.is_empty() && lacking.is_empty() {
        return pass("the recipients are those of the rule");
    }
    let shown =
        |list: &[&str]| list.iter().map(|one| portreeve_reports::source::shown(one)).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if !beyond.is_empty() {
        parts.push(format!("not in the rule: {}", shown(&beyond)));
    }
    if !lacking.is_empty() {
        parts.push(format!("not in the file: {}", shown(&lacking)));
    }
    (Verdict::Fail, None, parts.join("; "))
}
