//! Files that are there whole or not at all.

use std::fs::File;
use std::path::Path;

/// The folder of a path.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a file that is written and synced in the place of another one of its folder. The name is synced too, so that
/// it survives a power cut.
pub fn put_in_place(staged: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::rename(staged, target)?;
    File::open(folder_of(target))?.sync_all()
}
