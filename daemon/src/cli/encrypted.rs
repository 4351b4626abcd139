//! What could not be read of the paths of `check` and `gate`, and the encrypted files among them.

use portreeve_reports::Finding;

use super::{Failure, output};
use crate::config::Config;
use crate::judge::secrets::{EncryptedFile, Opening};
use crate::judge::{FileSource, Judge, JudgeOptions, Judged};

/// Judges both: files are opened with the identities of the configuration that are on this machine.
pub(super) fn judge(
    judge: &Judge,
    (unreadable, files): (Vec<Finding>, &[EncryptedFile]),
    (config, source): (&Config, &FileSource),
    options: &JudgeOptions,
) -> Result<Judged, Failure> {
    if files.is_empty() {
        return Ok(judge.excepted(unreadable, Vec::new(), options));
    }
    let opening = Opening::load(&config.secrets.identities, source).map_err(Failure::usage)?;
    if let Some(first) = opening.missing.as_ref().filter(|_| files.iter().any(|file| file.document.is_some())) {
        output::say(&format!("encrypted files were not opened: {} of secrets.identities is not here", first.display()));
    }
    let mut judged = judge.excepted(opening.still_unreadable(unreadable, files), Vec::new(), options);
    judged.merge(judge.encrypted(files, &opening, options));
    Ok(judged)
}
