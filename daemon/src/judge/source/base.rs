//! Which commit a base names. Whoever opens a pull request may push tags and branches of any name, and git takes
//! `origin/main` for a tag of that name before it takes it for the branch of the remote. So a name means one ref, or
//! nothing.

use super::{FileSourceError, git};

/// Where git looks for a short name, in its order.
const PLACES: [(&str, &str); 5] =
    [("refs/", ""), ("refs/tags/", ""), ("refs/heads/", ""), ("refs/remotes/", ""), ("refs/remotes/", "/HEAD")];
/// Fewer digits of a hash name no commit.
const MIN_HASH: usize = 4;
/// Digits of a whole hash (SHA-1, SHA-256).
const WHOLE_HASH: [usize; 2] = [40, 64];

/// The hash of the commit that `reference` names.
pub(super) fn commit(reference: &str) -> Result<String, FileSourceError> {
    let missing = || FileSourceError::NoSuchRef { reference: reference.to_owned(), fetch: fetch_command(reference) };
    let (name, steps) = parts(reference);
    let exact = match refs(name)?.as_slice() {
        _ if name.is_empty() => return Err(missing()),
        found if name.starts_with("refs/") => found.iter().find(|found| *found == name).ok_or_else(missing)?.clone(),
        // Git takes a whole hash for nothing else.
        _ if is_hash(name) && WHOLE_HASH.contains(&name.len()) => name.to_owned(),
        [] => name.to_owned(),
        [one] if !is_also_a_commit(name)? => one.clone(),
        found => return Err(ambiguous(reference, found)),
    };
    let commit = git(&["rev-parse", "--verify", "--quiet", &format!("{exact}{steps}^{{commit}}")], None);
    commit.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).map_err(|_| missing())
}

/// A name, and the steps from it: `main~1` is one step from `main`.
fn parts(reference: &str) -> (&str, &str) {
    let end = reference.find(['~', '^', ':']).unwrap_or(reference.len());
    let end = reference.find("@{").map_or(end, |at| at.min(end));
    reference.split_at(end)
}

/// The refs that git could take the name for.
fn refs(name: &str) -> Result<Vec<String>, FileSourceError> {
    let places: Vec<String> = PLACES.iter().map(|(before, after)| format!("{before}{name}{after}")).collect();
    let itself = name.starts_with("refs/").then(|| name.to_owned());
    let wanted: Vec<&str> = itself.iter().chain(&places).map(String::as_str).collect();
    let listed = git(&[&["for-each-ref", "--format=%(refname)", "--"], wanted.as_slice()].concat(), None);
    let listed = listed.map_err(|reason| FileSourceError::NoRepository { reference: name.to_owned(), reason })?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    Ok(listed.lines().filter(|found| wanted.contains(found)).map(str::to_owned).collect())
}

/// Whether the name is git's own (`HEAD`), or digits of a hash too (`1a2b3c4`, `v1.0-2-g1a2b3c4`).
fn is_also_a_commit(name: &str) -> Result<bool, FileSourceError> {
    let digits = name.rsplit_once("-g").map_or(name, |(_, digits)| digits);
    if !is_hash(digits) {
        return Ok(name == "HEAD" || name.ends_with("_HEAD"));
    }
    let objects = git(&["rev-parse", &format!("--disambiguate={digits}")], None);
    objects
        .map(|objects| !objects.is_empty())
        .map_err(|reason| FileSourceError::NoRepository { reference: name.to_owned(), reason })
}

fn is_hash(text: &str) -> bool {
    text.len() >= MIN_HASH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn ambiguous(reference: &str, found: &[String]) -> FileSourceError {
    let refs = if found.len() == 1 { vec![found.concat(), "a commit".to_owned()] } else { found.to_vec() };
    let advice = found.iter().find(|found| found.starts_with("refs/remotes/")).or(found.first());
    FileSourceError::Ambiguous {
        reference: reference.to_owned(),
        refs: refs.join(", "),
        advice: advice.cloned().unwrap_or_default(),
    }
}

/// What brings the ref into this clone, for a shell.
fn fetch_command(reference: &str) -> String {
    let (name, _) = parts(reference);
    let refspec = if is_hash(name) && WHOLE_HASH.contains(&name.len()) {
        name.to_owned()
    } else if name.starts_with("refs/tags/") {
        format!("+{name}:{name}")
    } else {
        let starts = ["refs/remotes/origin/", "refs/heads/", "origin/"];
        let branch = starts.iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name);
        format!("+refs/heads/{branch}:refs/remotes/origin/{branch}")
    };
    format!("git fetch --depth=1 origin {}", shell_word(&refspec))
}

/// A text as one word of a POSIX shell.
fn shell_word(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "+-./:_".contains(character);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_and_steps_from_it() {
        assert_eq!(parts("origin/main"), ("origin/main", ""));
        assert_eq!(parts("main~1^2"), ("main", "~1^2"));
        assert_eq!(parts("main@{u}~1"), ("main", "@{u}~1"));
        assert_eq!(parts(":/words of a commit"), ("", ":/words of a commit"));
    }

    #[test]
    fn the_command_that_fetches_a_ref_is_one_that_a_shell_can_be_given() {
        let command = |reference: &str| fetch_command(reference).replace("git fetch --depth=1 origin ", "");
        for name in ["release/1", "origin/release/1", "refs/heads/release/1", "refs/remotes/origin/release/1"] {
            assert_eq!(command(name), "+refs/heads/release/1:refs/remotes/origin/release/1");
        }
        assert_eq!(command("refs/tags/v1"), "+refs/tags/v1:refs/tags/v1");
        assert_eq!(command(&"0a".repeat(20)), "0a".repeat(20));
        assert_eq!(
            command("x;$(touch it)'"),
            "'+refs/heads/x;$(touch it)'\\'':refs/remotes/origin/x;$(touch it)'\\'''"
        );
    }
}
