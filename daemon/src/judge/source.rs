//! Where policies, exceptions, parameters and configuration are read from: the working tree, or a git ref, so that a
//! pull request cannot switch its own gate off.

mod base;

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::config::load::read_capped;

/// Largest policy file that is read.
const MAX_BYTES: usize = 16 << 20;

/// A tree of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// Files as they are on disk.
    WorkingTree,
    /// Files as they are in a commit.
    GitRef {
        /// The ref as given.
        reference: String,
        /// The commit it names.
        commit: String,
        /// Root of the repository.
        root: PathBuf,
    },
}

/// Why a file of a [`FileSource`] could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileSourceError {
    /// The system or git says no.
    #[error("{path} could not be read{from}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// ` from REF`, or nothing.
        from: String,
        /// Whose words.
        reason: String,
    },
    /// The file is larger than any policy.
    #[error("{0} is larger than 16 MiB, which no policy file is")]
    TooLarge(String),
    /// The ref does not exist in this clone.
    #[error("the git ref '{reference}' is not in this clone; fetch it first: {fetch}")]
    NoSuchRef {
        /// The ref as given.
        reference: String,
        /// The command that fetches it.
        fetch: String,
    },
    /// A short name that several refs have: who made the others decides what git takes it for.
    #[error("'{reference}' is ambiguous in this clone: {refs}; name the one you mean by its full name, as in {advice}")]
    Ambiguous {
        /// The name as given.
        reference: String,
        /// What has that name.
        refs: String,
        /// A name that is not ambiguous.
        advice: String,
    },
    /// A text that is no ref.
    #[error(
        "'--base {reference}' names no ref: one is not blank and does not start with '-'; write a branch or commit"
    )]
    NoRef {
        /// The ref as given.
        reference: String,
    },
    /// `--base` outside a repository, or no git program.
    #[error("'--base {reference}' needs a git repository and the git program: {reason}")]
    NoRepository {
        /// The ref as given.
        reference: String,
        /// Whose words.
        reason: String,
    },
}

impl FileSource {
    /// The commit that `reference` names in the repository around the working directory.
    pub fn git(reference: &str) -> Result<Self, FileSourceError> {
        let no_repository = |reason: String| FileSourceError::NoRepository { reference: reference.to_owned(), reason };
        if reference.trim().is_empty() || reference.starts_with('-') {
            return Err(FileSourceError::NoRef { reference: reference.to_owned() });
        }
        let root = git(&["rev-parse", "--show-toplevel"], None).map_err(no_repository)?;
        let root = PathBuf::from(String::from_utf8_lossy(&root).trim());
        Ok(Self::GitRef { reference: reference.to_owned(), commit: base::commit(reference)?, root })
    }

    /// The bytes of a file; a relative path is relative to the working directory.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, FileSourceError> {
        let shown = path.display().to_string();
        let unreadable =
            |from: String, reason: String| FileSourceError::Unreadable { path: shown.clone(), from, reason };
        match self {
            Self::WorkingTree => {
                let bytes = read_capped(path, MAX_BYTES);
                let bytes = bytes.map_err(|error| unreadable(String::new(), error.to_string()))?;
                if bytes.len() > MAX_BYTES { Err(FileSourceError::TooLarge(shown)) } else { Ok(bytes) }
            }
            Self::GitRef { reference, commit, root } => {
                let from = format!(" from {reference}");
                let inside = within(root, path).map_err(|reason| unreadable(from.clone(), reason))?;
                let bytes = blob(commit, &inside, root).map_err(|reason| unreadable(from, reason))?;
                if bytes.len() > MAX_BYTES { Err(FileSourceError::TooLarge(shown)) } else { Ok(bytes) }
            }
        }
    }

    /// Whether a file exists here. A git that cannot say is an error, never "no".
    pub fn has(&self, path: &Path) -> Result<bool, FileSourceError> {
        let Self::GitRef { reference, commit, root } = self else { return Ok(path.is_file()) };
        let unreadable = |reason| FileSourceError::Unreadable {
            path: path.display().to_string(),
            from: format!(" from {reference}"),
            reason,
        };
        let inside = within(root, path).map_err(unreadable)?;
        let listed = git(&["ls-tree", "--name-only", commit, "--", &inside], Some(root)).map_err(unreadable)?;
        Ok(!listed.is_empty())
    }

    /// Whether a path is one of this tree's: everything is in the working tree, a commit holds its repository.
    pub fn holds(&self, path: &Path) -> bool {
        match self {
            Self::WorkingTree => true,
            Self::GitRef { root, .. } => within(root, path).is_ok(),
        }
    }

    /// `working tree`, or the ref and its commit, for the report's inputs.
    pub fn describe(&self) -> String {
        match self {
            Self::WorkingTree => "working tree".to_owned(),
            Self::GitRef { reference, commit, .. } => format!("{reference} ({commit})"),
        }
    }
}

/// The folder with `.git` at or above the working directory.
pub fn repository_root() -> Option<PathBuf> {
    let working = std::env::current_dir().ok()?;
    working.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_path_buf)
}

/// A path relative to the repository, so that fingerprints and SARIF do not depend on where a command ran. Outside a
/// repository it is as given.
pub fn repository_path(file: &Path, root: Option<&Path>) -> String {
    let absolute = file.canonicalize().ok();
    let inside = absolute.as_deref().zip(root).and_then(|(absolute, root)| absolute.strip_prefix(root).ok());
    let path = inside.unwrap_or(file);
    let path = path.strip_prefix("./").unwrap_or(path);
    path.to_string_lossy().replace('\\', "/")
}

/// The path of a file inside the repository, with forward slashes.
fn within(root: &Path, path: &Path) -> Result<String, String> {
    let working = std::env::current_dir().map_err(|error| error.to_string())?;
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    let absolute = normalize(&working.canonicalize().map_err(|error| error.to_string())?.join(path));
    let inside = absolute.strip_prefix(&root).map_err(|_| "it is outside the repository".to_owned())?;
    let parts: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    Ok(parts.join("/"))
}

/// Resolves `.` and `..` by text: the file need not exist in the working tree.
fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// The bytes of a regular file of a commit. Git would show a link's target as if it were the text of a file, and a
/// folder as a list.
fn blob(commit: &str, inside: &str, root: &Path) -> Result<Vec<u8>, String> {
    let listed = git(&["ls-tree", commit, "--", inside], Some(root))?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    match listed.split_whitespace().next() {
        Some("120000") => Err("it is a symbolic link there; a base has files, so name its target".to_owned()),
        Some(mode) if mode.starts_with("100") => git(&["show", &format!("{commit}:{inside}")], Some(root)),
        Some(_) => Err("it is no file there".to_owned()),
        None => Err("it is not there".to_owned()),
    }
}

/// Runs git without its prompts and hooks; the error is git's own words.
fn git(arguments: &[&str], folder: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.arg("-C").arg(folder);
    }
    command.args(arguments).env("GIT_TERMINAL_PROMPT", "0").stdin(std::process::Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect())
    }
}
