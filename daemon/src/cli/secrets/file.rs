//! Files as these commands read and write them: whole or not at all, for their owner only.

use std::fs::{File, Permissions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use portreeve_secrets::sops::SecretBytes;

use super::super::output;
use super::{Refusal, exits};
use crate::runtime::files::{self, folder_of, put_in_place};

/// Most bytes that are read; what is a document is told by the reader, which has the same bound.
const MAX_BYTES: u64 = 33 << 20;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<SecretBytes, Refusal> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { exits::NO_FILE } else { exits::UNREADABLE };
        Refusal::new(exit, format_args!("{}: {error}", path.display()))
    };
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(Refusal::new(exits::NO_FILE, format_args!("{}: it is a folder, not a file", path.display())));
    }
    let file = files::open_named(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(SecretBytes::new(bytes))
}

/// Refuses what is not YAML by its name: sops would write another format.
pub(super) fn only_yaml(path: &Path) -> Result<(), Refusal> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => Ok(()),
        _ => Err(Refusal::new(
            exits::GENERIC,
            format_args!("{}: only .yaml and .yml files are supported yet; use sops for others", path.display()),
        )),
    }
}

/// Writes secret data to stdout.
pub(super) fn print(bytes: &SecretBytes) -> Result<(), Refusal> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes.expose()).and_then(|()| stdout.flush());
    written.map_err(|error| Refusal::new(exits::UNWRITABLE, format_args!("standard output: {error}")))
}

/// Bytes beside the file that they will replace: written and synced, not yet in its place.
pub(super) struct Staged {
    staged: PathBuf,
    target: PathBuf,
    /// Held while this process lives: what nobody holds was left by one that was killed.
    held: File,
}

/// How the names of staged files end.
const STAGED: &str = ".portreeve-staged";
/// Most files of a folder that are looked at for what a killed run left.
const MAX_FILES: usize = 100_000;

/// Creates a file that no other command has, for its owner only, and holds it.
fn create_held(folder: &Path, prefix: &str) -> std::io::Result<(File, PathBuf)> {
    let mut named = tempfile::Builder::new();
    named.prefix(prefix).suffix(STAGED).permissions(Permissions::from_mode(0o600));
    loop {
        let staged = named.tempfile_in(folder)?;
        // Another command may take it for one that was left, until it is held.
        let is_swept = matches!(staged.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !is_swept && staged.as_file().metadata()?.nlink() > 0 {
            return Ok(staged.keep()?);
        }
    }
}

/// Removes what runs that were killed left in a folder: it may be plaintext.
fn sweep(folder: &Path, prefix: &str) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(MAX_FILES).flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| name.starts_with(prefix) && name.ends_with(STAGED)) {
        let path = folder.join(name);
        if let Ok(left) = File::open(&path)
            && left.try_lock().is_ok()
        {
            // What cannot be removed is no reason not to write.
            let _gone = std::fs::remove_file(&path);
        }
    }
}

fn unwritable<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> Refusal + 'a {
    move |error| Refusal::new(exits::UNWRITABLE, format_args!("{} could not be written: {error}", path.display()))
}

impl Staged {
    /// Writes the bytes beside the file, with its mode and owner; a new file is for its owner only. A link stays a link:
    /// what it points to is replaced. No two commands write the same file there.
    pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<Self, Refusal> {
        let staged = Self::write_private(path, bytes)?;
        staged.dress_as_target()?;
        Ok(staged)
    }

    /// Whether a file could be written, told before anybody works on it.
    pub(super) fn would_be_written(path: &Path) -> Result<(), Refusal> {
        Self::write(path, &[]).map(drop)
    }

    /// The same for its owner only, whatever was there before.
    pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<Self, Refusal> {
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let prefix = format!(".{name}.");
        sweep(folder_of(&target), &prefix);
        let (file, staged) = create_held(folder_of(&target), &prefix).map_err(unwritable(&target))?;
        let staged = Self { staged, target, held: file };
        let written = (&staged.held).write_all(bytes).and_then(|()| staged.held.sync_all());
        written.map_err(unwritable(&staged.target))?;
        Ok(staged)
    }

    /// Gives it the mode and the owner of the file in whose place it will be.
    fn dress_as_target(&self) -> Result<(), Refusal> {
        let failed = unwritable(&self.target);
        let Ok(old) = std::fs::metadata(&self.target) else { return Ok(()) };
        if old.nlink() > 1 {
            return Err(self.refused(format_args!(
                "it has {} names (hard links), of which the others would keep what is in it now; make it a file of its \
                 own (cp it, and move the copy over it)",
                old.nlink()
            )));
        }
        let new = self.held.metadata().map_err(&failed)?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            let given = std::os::unix::fs::fchown(&self.held, Some(old.uid()), Some(old.gid()));
            given.map_err(|error| {
                self.refused(format_args!(
                    "it belongs to user {} and group {}, and a new file in its place could not be given to them \
                     ({error}); run this as its owner, or make it yours first (cp it, and move the copy over it)",
                    old.uid(),
                    old.gid()
                ))
            })?;
        }
        let mode = Permissions::from_mode(old.mode() & 0o7777);
        self.held.set_permissions(mode).and_then(|()| self.held.sync_all()).map_err(failed)
    }

    fn refused(&self, why: std::fmt::Arguments<'_>) -> Refusal {
        Refusal::new(exits::UNWRITABLE, format_args!("{} was not written: {why}", self.target.display()))
    }

    /// What was written, read from the disk again.
    pub(super) fn read(&self) -> Result<SecretBytes, Refusal> {
        read(&self.staged)
    }

    /// Puts it in the file's place.
    pub(super) fn commit(self) -> Result<(), Refusal> {
        put_in_place(&self.staged, &self.target).map_err(unwritable(&self.target))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing to remove.
        let _gone = std::fs::remove_file(&self.staged);
    }
}

/// The file, held against other commands of this kind until it is dropped.
pub(super) fn hold(path: &Path) -> Result<File, Refusal> {
    let file = files::open(path)
        .map_err(|error| Refusal::new(exits::UNREADABLE, format_args!("{}: {error}", path.display())))?;
    let is_held = file.try_lock();
    // Another command may have put a new file in its place before this one was held.
    let inode = |about: std::fs::Metadata| (about.dev(), about.ino());
    let is_the_same = file.metadata().ok().map(inode) == std::fs::metadata(path).ok().map(inode);
    match is_held {
        Ok(()) if is_the_same => Ok(file),
        Ok(()) | Err(TryLockError::WouldBlock) => Err(Refusal::new(
            exits::UNWRITABLE,
            format_args!("{}: another command is changing this file", path.display()),
        )),
        // A file system without locks has no other commands to tell of.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Refuses to write over a file that somebody else changed since it was read.
pub(super) fn unchanged(path: &Path, before: &SecretBytes) -> Result<(), Refusal> {
    if read(path)? == *before {
        return Ok(());
    }
    let message = format_args!("{}: was changed by somebody else meanwhile; nothing was written", path.display());
    Err(Refusal::new(exits::UNWRITABLE, message))
}

/// Writes over a file that is as it was read.
pub(super) fn replace(path: &Path, before: &SecretBytes, bytes: &[u8]) -> Result<(), Refusal> {
    let staged = Staged::write(path, bytes)?;
    unchanged(path, before)?;
    staged.commit()
}

/// Keeps what could not be put in the place of a file: beside it, else in the folder for temporary files. It is
/// encrypted. Gives where.
pub(super) fn keep_aside(path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // Shorter than the name: beside a long one there is no room for a longer one. A link may lead to any extension.
    let part = |part: Option<&std::ffi::OsStr>| -> String {
        part.unwrap_or_default().to_string_lossy().chars().take(40).collect()
    };
    let (prefix, suffix) = (format!("{}.edited-", part(target.file_stem())), format!(".{}", part(target.extension())));
    let mut named = tempfile::Builder::new();
    named.prefix(&prefix).suffix(&suffix).permissions(Permissions::from_mode(0o600));
    let mut kept = named.tempfile_in(folder_of(&target)).or_else(|_| named.tempfile())?;
    kept.write_all(bytes)?;
    kept.as_file().sync_all()?;
    Ok(kept.keep()?.1)
}

/// Says something beside the data.
pub(super) fn say(text: &str) {
    output::say(text);
}
