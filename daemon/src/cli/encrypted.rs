//! Encrypted files among the paths of `check` and `gate`.

use super::{Failure, output};
use crate::config::Config;
use crate::judge::secrets::{EncryptedFile, Opening};
use crate::judge::{FileSource, Judge, JudgeOptions, Judged};

/// Judges them, opened with the identities of the configuration that are on this machine.
pub(super) fn judge(
    judge: &Judge,
    files: &[EncryptedFile],
    (config, source): (&Config, &FileSource),
    options: &JudgeOptions,
) -> Result<Judged, Failure> {
    if files.is_empty() {
        return Ok(Judged::default());
    }
    let opening = Opening::load(&config.secrets.identities, source).map_err(Failure::usage)?;
    if let Some(first) = &opening.missing {
        output::say(&format!("encrypted files were not opened: {} of secrets.identities is not here", first.display()));
    }
    Ok(judge.encrypted(files, &opening, options))
}
