//! Which manifests are in a folder.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use portreeve_reports::Cause;

/// The most manifests of a folder.
const MAX_FILES: usize = 100_000;
/// The deepest folder below the watched one.
const MAX_DEPTH: usize = 64;

/// What tells versions of a file apart without reading it: size, time in nanoseconds, inode, and the inode's change
/// time, which no program sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature(u64, i128, u64, i128);

/// What a walk found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The manifests, sorted.
    pub(crate) files: BTreeMap<PathBuf, Signature>,
    /// Links, and manifests that are no regular files. They are not followed; whom that concerns must say so.
    pub(crate) not_followed: Vec<PathBuf>,
    /// Folders that could not be read: nothing is known about what is below them.
    pub(crate) problems: Vec<(PathBuf, Cause, String)>,
}

impl Walk {
    /// Whether a file is known not to be there.
    pub(crate) fn proves_absent(&self, file: &Path) -> bool {
        !self.files.contains_key(file) && !self.problems.iter().any(|(folder, ..)| file.starts_with(folder))
    }

    fn problem(&mut self, path: &Path, cause: Cause, why: impl Into<String>) {
        self.problems.push((path.to_owned(), cause, why.into()));
    }
}

/// Finds the YAML and JSON files below a folder. Hidden files are editors' and version control's; links could lead
/// out of the folder or back into it. Both are left out.
pub(crate) fn walk(root: &Path) -> Walk {
    let mut walk = Walk::default();
    visit(root, 0, &mut walk);
    if walk.files.len() > MAX_FILES {
        // All or nothing: which of them are left out would be chance.
        walk.files.clear();
        walk.problem(root, Cause::TooLarge, format!("there are more than {MAX_FILES} manifests in the folder"));
    }
    walk
}

fn visit(folder: &Path, depth: usize, walk: &mut Walk) {
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
        if walk.files.len() > MAX_FILES {
            return;
        }
        if entry.file_name().as_encoded_bytes().first() == Some(&b'.') {
            continue;
        }
        visit_entry(&entry.path(), depth, walk);
    }
}

fn visit_entry(path: &Path, depth: usize, walk: &mut Walk) {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => visit(path, depth + 1, walk),
        Ok(metadata) if metadata.is_file() && is_manifest(path) => {
            walk.files.insert(path.to_owned(), signature(&metadata));
        }
        Ok(metadata) if metadata.is_symlink() || is_manifest(path) => walk.not_followed.push(path.to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => walk.problem(path, Cause::Unreadable, error.to_string()),
    }
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

/// The bytes of a file, never more than `most`.
pub(crate) fn bytes(file: &Path, most: usize) -> Result<Vec<u8>, (Cause, String)> {
    let unreadable = |error: std::io::Error| (Cause::Unreadable, error.to_string());
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let cap = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    opened.take(cap).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most {
        return Err((Cause::TooLarge, format!("the file is larger than {most} bytes")));
    }
    Ok(bytes)
}
