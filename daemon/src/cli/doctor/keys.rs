//! Keys: of the image policy, and those that decrypt.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use portreeve_secrets::sops::Identities;

use super::{Check, words};
use crate::config::Config;
use crate::config::load::read_capped;
use crate::judge::{FileSource, JudgeSettings, Rules};

const AREA: &str = "keys";
/// Largest file of identities.
const MAX_BYTES: usize = 1 << 20;

/// Whether the keys can be used, and only by us.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let policy = config.image_policy.as_deref().map(image_policy);
    policy.into_iter().chain(config.secrets.identities.iter().flat_map(|file| identity(file))).collect()
}

fn image_policy(file: &Path) -> Check {
    let settings = JudgeSettings { image_policy: Some(file.to_owned()), ..JudgeSettings::default() };
    match Rules::load(&settings, &FileSource::WorkingTree) {
        Ok(_) => Check::ok(AREA, format!("the image policy {} and its keys can be used", file.display())),
        Err(error) => Check::fail(AREA, words(&error), "correct the image policy or the key file that it names"),
    }
}

fn identity(file: &Path) -> Vec<Check> {
    let shown = file.display();
    let read = read_capped(file, MAX_BYTES).and_then(|bytes| Ok((bytes, std::fs::metadata(file)?)));
    let (bytes, about) = match read {
        Ok(read) => read,
        Err(error) => {
            let remedy = "create it with age-keygen -o, or correct secrets.identities";
            return vec![Check::fail(AREA, format!("{shown} could not be read: {error}"), remedy)];
        }
    };
    let mut checks = vec![usable(&bytes, &shown.to_string())];
    if about.permissions().mode() & 0o077 != 0 {
        let mode = about.permissions().mode() & 0o777;
        checks.push(Check::fail(
            AREA,
            format!("{shown} may be read or written by others (mode {mode:03o})"),
            format!("chmod 600 {shown}"),
        ));
    }
    checks
}

/// Whether decryption would take the file.
fn usable(bytes: &[u8], shown: &str) -> Check {
    let remedy = "write one identity of age-keygen a line; other lines are comments with '#'";
    let mut identities = Identities::default();
    match std::str::from_utf8(bytes).map(|text| identities.add(text, shown)) {
        Ok(Ok(())) if !identities.is_empty() => Check::ok(AREA, format!("the identities in {shown} can be used")),
        Ok(Err(error)) => Check::fail(AREA, error.to_string(), remedy),
        _ => Check::fail(AREA, format!("{shown} has no age identity"), remedy),
    }
}
