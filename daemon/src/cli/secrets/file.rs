//! Files as these commands read and write them: whole or not at all, for their owner only.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use portreeve_secrets::sops::SecretBytes;

use super::super::output;
use super::{Refusal, exits};

/// Most bytes that are read; what is a document is told by the reader, which has the same bound.
const MAX_BYTES: u64 = 33 << 20;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<SecretBytes, Refusal> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { exits::NO_FILE } else { exits::UNREADABLE };
        Refusal::new(exit, format_args!("{}: {error}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Refusal::new(exits::NO_FILE, format_args!("{}: not a file", path.display())));
    }
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
}

fn unwritable<'a>(path: &'a Path) -> impl Fn(std::io::Error) -> Refusal + 'a {
    move |error| Refusal::new(exits::UNWRITABLE, format_args!("{} could not be written: {error}", path.display()))
}

impl Staged {
    /// Writes the bytes beside the file, with its mode and owner; a new file is for its owner only. What a run that was
    /// killed left there is replaced. A link stays a link: what it points to is replaced.
    pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<Self, Refusal> {
        let staged = Self::write_private(path, bytes)?;
        staged.dress_as_target().map_err(unwritable(&staged.target))?;
        Ok(staged)
    }

    /// The same for its owner only, whatever was there before.
    pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<Self, Refusal> {
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let staged = Self { staged: target.with_file_name(format!(".{name}.portreeve-staged")), target };
        let failed = unwritable(&staged.target);
        match std::fs::remove_file(&staged.staged) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged.staged);
        let mut file = file.map_err(&failed)?;
        file.write_all(bytes).map_err(&failed)?;
        file.sync_all().map_err(&failed)?;
        drop(failed);
        Ok(staged)
    }

    /// Gives it the mode and the owner of the file in whose place it will be.
    fn dress_as_target(&self) -> std::io::Result<()> {
        let Ok(old) = std::fs::metadata(&self.target) else { return Ok(()) };
        let file = File::open(&self.staged)?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        file.sync_all()
    }

    /// What was written, read from the disk again.
    pub(super) fn read(&self) -> Result<SecretBytes, Refusal> {
        read(&self.staged)
    }

    /// Puts it in the file's place.
    pub(super) fn commit(self) -> Result<(), Refusal> {
        let failed = unwritable(&self.target);
        std::fs::rename(&self.staged, &self.target).map_err(&failed)?;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(&failed)
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
    let file = File::open(path)
        .map_err(|error| Refusal::new(exits::UNREADABLE, format_args!("{}: {error}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Refusal::new(
            exits::UNWRITABLE,
            format_args!("{}: another command is changing this file", path.display()),
        )),
        // A file system without locks has no other commands to tell of.
        Err(std::fs::TryLockError::Error(_)) => Ok(file),
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

/// Says something beside the data.
pub(super) fn say(text: &str) {
    output::say(text);
}
