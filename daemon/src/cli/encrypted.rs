//! Encrypted files among the paths of `check` and `gate`.

use super::{Failure, output};
use crate::config::Config;
use crate::judge::secrets::{EncryptedFile, Ruled, identities};
use crate::judge::{FileSource, Judge, JudgeOptions, Judged};

/// Judges them, opened with the identities of the configuration that are on this machine: in CI there is usually none,
/// and what needs one is then unknown.
pub(super) fn judge(
    judge: &Judge,
    files: &[EncryptedFile],
    (config, source): (&Config, &FileSource),
    options: &JudgeOptions,
) -> Result<Judged, Failure> {
    if files.is_empty() {
        return Ok(Judged::default());
    }
    let (here, missing): (Vec<_>, Vec<_>) = config.secrets.identities.iter().cloned().partition(|file| file.exists());
    if let Some(first) = missing.first().filter(|_| here.is_empty()) {
        output::say(&format!("encrypted files were not opened: {} of secrets.identities is not here", first.display()));
    }
    let identities = identities(&here).map_err(|why| Failure::usage(format!("secrets.identities: {why}")))?;
    let ruled = Ruled::find(source).map_err(Failure::usage)?;
    Ok(judge.encrypted(files, (&identities, ruled.as_ref()), options))
}
