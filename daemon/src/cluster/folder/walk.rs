//! Which manifests are in a folder: the one walk behind `check`, `gate` and the folder that is watched as a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use portreeve_reports::Cause;

use crate::runtime::files;

/// The most manifests of a folder.
const MAX_FILES: usize = 100_000;
/// The deepest folder below the watched one.
const MAX_DEPTH: usize = 64;
/// Version control's own files, of which none is applied.
const GIT: &str = ".git";

/// What tells versions of a file apart without reading it: size, time in nanoseconds, inode, and the inode's change
/// time, which no program sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(u64, i128, u64, i128);

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// The manifests, sorted.
    pub files: BTreeMap<PathBuf, Signature>,
    /// Folders that could not be read: nothing is known about what is below them.
    pub problems: Vec<(PathBuf, Cause, String)>,
    /// Links and pipes that may stand for manifests and are not followed.
    pub not_followed: BTreeSet<PathBuf>,
}

/// What is said of an entry that is not followed. A link could lead out of the folder or back into it, and a pipe may
/// never end. What applies the folder may read them all the same, so they are not passed over in silence.
pub const NOT_FOLLOWED: &str = "it is a link or no regular file, and is not followed; name its target too";

impl Walk {
    /// Whether a file is known not to be there.
    pub(super) fn proves_absent(&self, file: &Path) -> bool {
        let is_unknown = self.problems.iter().any(|(folder, ..)| file.starts_with(folder));
        !self.files.contains_key(file) && !self.not_followed.contains(file) && !is_unknown
    }

    fn problem(&mut self, path: &Path, cause: Cause, why: impl Into<String>) {
        self.problems.push((path.to_owned(), cause, why.into()));
    }
}

/// Finds the YAML and JSON files below a folder, hidden ones included, but those of `.git`. `roots` are all folders
/// that are walked together: a link to what lies in one of them says nothing new.
pub fn walk(folder: &Path, roots: &[PathBuf]) -> Walk {
    let mut walk = Walk::default();
    let roots: Vec<PathBuf> = roots.iter().filter_map(|root| root.canonicalize().ok()).collect();
    visit(folder, 0, (&mut walk, &roots));
    if walk.files.len() + walk.not_followed.len() > MAX_FILES {
        // All or nothing: which of them are left out would be chance.
        walk.files.clear();
        walk.not_followed.clear();
        walk.problem(folder, Cause::TooLarge, format!("there are more than {MAX_FILES} manifests in the folder"));
    }
    walk
}

fn visit(folder: &Path, depth: usize, (walk, roots): (&mut Walk, &[PathBuf])) {
    if depth > MAX_DEPTH {
        return walk.problem(folder, Cause::TooLarge, format!("it is more than {MAX_DEPTH} folders deep"));
    }
    let entries = match std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        // A folder that went away during the walk is gone like its files; the root may only be unmounted.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && depth > 0 => return,
        Err(error) => return walk.problem(folder, Cause::Unreadable, error.to_string()),
    };
    for entry in entries {
        if walk.files.len() + walk.not_followed.len() > MAX_FILES {
            return;
        }
        if entry.file_name() != GIT {
            visit_entry(&entry.path(), depth, (walk, roots));
        }
    }
}

fn visit_entry(path: &Path, depth: usize, (walk, roots): (&mut Walk, &[PathBuf])) {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => visit(path, depth + 1, (walk, roots)),
        Ok(metadata) if metadata.is_file() && is_manifest(path) => {
            walk.files.insert(path.to_owned(), signature(&metadata));
        }
        Ok(metadata) if !metadata.is_file() => {
            let is_folder = metadata.is_symlink() && path.is_dir();
            if (is_folder || is_manifest(path)) && !is_walked(path, roots) {
                walk.not_followed.insert(path.to_owned());
            }
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => walk.problem(path, Cause::Unreadable, error.to_string()),
    }
}

/// Whether a link leads to a folder or a manifest that is walked at its own place.
fn is_walked(link: &Path, roots: &[PathBuf]) -> bool {
    let Ok(target) = link.canonicalize() else { return false };
    let below = roots.iter().filter_map(|root| target.strip_prefix(root).ok());
    let is_inside = below.into_iter().any(|below| below.components().all(|part| part.as_os_str() != GIT));
    is_inside && (target.is_dir() || (target.is_file() && is_manifest(&target)))
}

fn signature(metadata: &std::fs::Metadata) -> Signature {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Signature(
        metadata.size(),
        nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        metadata.ino(),
        nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    )
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// The bytes of a regular file, never more than `most`.
pub fn bytes(file: &Path, most: usize) -> Result<Vec<u8>, (Cause, String)> {
    bytes_of(files::open(file), most)
}

/// The same of a file that a person named, which may be what the shell handed over.
pub fn named_bytes(file: &Path, most: usize) -> Result<Vec<u8>, (Cause, String)> {
    bytes_of(files::open_named(file), most)
}

fn bytes_of(opened: std::io::Result<File>, most: usize) -> Result<Vec<u8>, (Cause, String)> {
    let unreadable = |error: std::io::Error| (Cause::Unreadable, error.to_string());
    let opened = opened.map_err(unreadable)?;
    let mut bytes = Vec::new();
    let cap = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    opened.take(cap).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most {
        return Err((Cause::TooLarge, format!("the file is larger than {} MiB", most >> 20)));
    }
    Ok(bytes)
}
