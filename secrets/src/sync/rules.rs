//! What is found about declared files and their Secrets: `PR-3006` to `PR-3012`.

use portreeve_reports::finding::BuildError;
use portreeve_reports::{Cause, CodeEntry, Finding, FindingBuilder, Location, ObjectRef, Severity, Subject, Verdict};

use super::{Difference, Origin, State};
use crate::sops::Target;

/// Whether file and identities are there.
pub const READABLE: CodeEntry = CodeEntry {
    code: "PR-3006",
    title: "declared file and its identities can be read",
    severity: Severity::High,
    why: "A file of `secrets.sync` that is missing or is no encrypted YAML declares nothing: its Secret stays as it is, and \
          nobody corrects it.",
    fix: "Put the file where the configuration says, encrypted, and give the daemon the right to read it and the files of \
          `secrets.identities`.",
};
/// Whether the file is for the Secret that the configuration says.
pub const DECLARED: CodeEntry = CodeEntry {
    code: "PR-3007",
    title: "declared file says which Secret it is",
    severity: Severity::High,
    why: "Name, namespace and type bind values to their target. A file that is for another Secret, or that somebody could \
          send elsewhere, is not written anywhere.",
    fix: "Name the Secret in `secrets.sync` for a plain map, or make the manifest and the configuration agree.",
};
/// Whether the Secret is like its file.
pub const EQUAL: CodeEntry = CodeEntry {
    code: "PR-3008",
    title: "Secret is like its file",
    severity: Severity::High,
    why: "What runs with this Secret does not run with what was reviewed: somebody changed or deleted it in the cluster.",
    fix: "Change the file with `portreeve secrets edit`; in mode `correct` the Secret follows, and what is done to it by \
          hand is undone. In mode `detect`, apply the file or take the change over into it.",
};
/// Whether the Secret is ours.
pub const OWNED: CodeEntry = CodeEntry {
    code: "PR-3009",
    title: "declared Secret belongs to nobody else",
    severity: Severity::High,
    why: "There is a Secret of this name that Portreeve did not write and that holds something else. Writing over it could \
          break what relies on it, so it is left alone.",
    fix: "Delete the other Secret, or put its values into the file: a Secret that is equal is taken over.",
};
/// Whether the fields that differ can be changed.
pub const CHANGEABLE: CodeEntry = CodeEntry {
    code: "PR-3010",
    title: "declared Secret can be changed",
    severity: Severity::High,
    why: "An immutable Secret and the type of a Secret cannot be changed; Portreeve does not delete Secrets, since Pods may \
          use them.",
    fix: "Delete the Secret when nothing needs it: it is made again from the file. Or declare another name.",
};
/// Whether the API server does what it is asked.
pub const REACHED: CodeEntry = CodeEntry {
    code: "PR-3011",
    title: "declared Secret can be read and written",
    severity: Severity::High,
    why: "The API server refuses or does not answer: the Secret may differ from its file without anybody knowing.",
    fix: "Create the namespace, and grant `get`, `patch` and `create` on the Secret (the chart's `secrets.sync` does).",
};
/// Whether corrections last.
pub const CORRECTIONS_LAST: CodeEntry = CodeEntry {
    code: "PR-3012",
    title: "corrections of a declared Secret last",
    severity: Severity::High,
    why: "Somebody changes the Secret as often as it is corrected. Portreeve has stopped for a while, so that nothing flaps.",
    fix: "Find who else writes it (managedFields of the Secret says), and leave the Secret to one of the two.",
};

/// All codes of declared Secrets.
pub const CODES: &[CodeEntry] = &[READABLE, DECLARED, EQUAL, OWNED, CHANGEABLE, REACHED, CORRECTIONS_LAST];

/// What came of one look at a Secret.
#[derive(Debug)]
pub enum Kept<'a> {
    /// It was looked at and left as it is.
    Seen(&'a State),
    /// It is like its file now; what it was before.
    Written(&'a State),
    /// It differs, and was corrected too often.
    Stalled(&'a State),
    /// The API server said no; what was seen before.
    Refused(Option<&'a State>, String),
    /// Nothing is known.
    Unknown(Cause, String),
}

type Answer = (Verdict, Option<Cause>, String);

/// The Secret of a target, as findings name it.
pub fn object(target: &Target) -> ObjectRef {
    ObjectRef {
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        ..ObjectRef::default()
    }
}

/// Whether file and identities could be read; `problem` says why not.
pub fn readable(file: &str, problem: Option<&str>) -> Result<Finding, BuildError> {
    let answer = problem.map_or_else(|| pass("it can be read"), fail);
    finding(&READABLE, answer, file, None)
}

/// Whether the file says which Secret it is; `problem` says why not. `declared` is what the configuration says.
pub fn declared(file: &str, declared: Option<&Target>, problem: Option<&str>) -> Result<Finding, BuildError> {
    let answer = problem.map_or_else(|| pass("it says which Secret it is"), fail);
    finding(&DECLARED, answer, file, declared)
}

/// The findings about a Secret. What was not found out is not answered, and stays as it was. The subject is the file,
/// so that a Secret that is gone, or of which nothing may be read, has its findings all the same.
pub fn secret_findings(target: &Target, file: &str, kept: &Kept<'_>) -> Result<Vec<Finding>, BuildError> {
    let asked: [(&CodeEntry, Option<Answer>); 5] = [
        (&EQUAL, equal(kept)),
        (
            &OWNED,
            of_state(
                kept,
                |state| matches!(state, State::Foreign),
                || "somebody else's Secret has this name and other content; it is left alone".to_owned(),
            ),
        ),
        (&CHANGEABLE, changeable(kept)),
        (&REACHED, Some(reached(kept))),
        (&CORRECTIONS_LAST, corrections_last(kept)),
    ];
    let answered = asked.into_iter().filter_map(|(entry, answer)| Some((entry, answer?)));
    answered.map(|(entry, answer)| finding(entry, answer, file, Some(target))).collect()
}

fn finding(
    entry: &CodeEntry,
    (verdict, cause, message): Answer,
    file: &str,
    target: Option<&Target>,
) -> Result<Finding, BuildError> {
    let secret = target.map(object);
    let shown = secret.as_ref().map_or_else(|| file.to_owned(), ObjectRef::display);
    let mut builder = FindingBuilder::new(entry.code(), entry.severity, verdict)
        .subject(Subject::File { path: file.to_owned() })
        .location(Location { file: Some(file.into()), ..Location::default() })
        .message(format!("{shown}: {message}"));
    if let Some(secret) = secret {
        // One plain map may be declared for several Secrets.
        builder = builder.item(secret.display()).related(Subject::Object(secret));
    }
    if let Some(cause) = cause {
        builder = builder.cause(cause);
    }
    builder.build()
}

fn pass(message: &str) -> Answer {
    (Verdict::Pass, None, message.to_owned())
}

fn fail(message: &str) -> Answer {
    (Verdict::Fail, None, message.to_owned())
}

/// What was seen, where something was.
fn seen<'a>(kept: &Kept<'a>) -> Option<&'a State> {
    match kept {
        Kept::Seen(state) | Kept::Written(state) | Kept::Stalled(state) => Some(state),
        Kept::Refused(state, _) => *state,
        Kept::Unknown(..) => None,
    }
}

fn of_state(kept: &Kept<'_>, is_wrong: impl Fn(&State) -> bool, message: impl Fn() -> String) -> Option<Answer> {
    let state = seen(kept)?;
    Some(if is_wrong(state) { fail(&message()) } else { pass("nothing stands in the way") })
}

fn equal(kept: &Kept<'_>) -> Option<Answer> {
    if matches!(kept, Kept::Written(_)) {
        return Some(pass("it is like its file"));
    }
    Some(match seen(kept)? {
        State::Same | State::Adoptable => pass("it is like its file"),
        // What is in the way is the other questions'.
        State::Foreign | State::OtherType(_) | State::Immutable => return None,
        State::Missing => fail("it is not there"),
        State::Differs(Difference { origin, fields, .. }) => {
            let who = match origin {
                Origin::File => "the file was changed since it was written",
                Origin::Cluster => "it is not as its file says",
            };
            fail(&format!("{who}: {} differ", fields.join(", ")))
        }
    })
}

fn changeable(kept: &Kept<'_>) -> Option<Answer> {
    Some(match seen(kept)? {
        State::Immutable => fail("it is immutable and differs from its file"),
        State::OtherType(kind) => fail(&format!("it is of type {kind}, and the type of a Secret cannot be changed")),
        _ => pass("nothing stands in the way"),
    })
}

fn reached(kept: &Kept<'_>) -> Answer {
    match kept {
        Kept::Refused(_, why) => fail(why),
        Kept::Unknown(cause, why) => (Verdict::Unknown, Some(*cause), why.clone()),
        Kept::Seen(_) | Kept::Written(_) | Kept::Stalled(_) => pass("the API server answers"),
    }
}

fn corrections_last(kept: &Kept<'_>) -> Option<Answer> {
    match kept {
        Kept::Stalled(_) => Some(fail("it changes as often as it is corrected; it is left alone for a while")),
        Kept::Seen(State::Same) => Some(pass("nobody undoes the corrections")),
        _ => None,
    }
}
