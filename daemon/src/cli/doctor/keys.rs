//! Keys: of the image policy, and those that decrypt.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

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
    let mut checks = Vec::new();
    checks.push(match String::from_utf8(bytes).as_deref().map(identities) {
        Ok(Some(count)) if count > 0 => Check::ok(AREA, format!("{shown} has {count} age identities")),
        _ => {
            let remedy = "a line of it reads AGE-SECRET-KEY-1… or AGE-PLUGIN-…, all others are comments with '#'";
            Check::fail(AREA, format!("{shown} is not a file of age identities"), remedy)
        }
    });
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

/// How many identities a file has; `None` when a line is neither one nor a comment. What they are is not said.
fn identities(text: &str) -> Option<usize> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_identity = |line: &str| {
        let known = ["AGE-SECRET-KEY-1", "AGE-PLUGIN-"].iter().any(|prefix| line.starts_with(prefix));
        known && line.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
    };
    lines.map(|line| is_identity(line).then_some(1)).sum()
}
