//! Keys: of the image policy, and those that decrypt.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use portreeve_secrets::sops::{Document, Identities, Target};

use super::{Check, words};
use crate::config::Config;
use crate::config::load::read_capped;
use crate::config::valid::{SecretSync, SecretsConfig};
use crate::judge::secrets::identities;
use crate::judge::{FileSource, JudgeSettings, Rules};

const AREA: &str = "keys";
/// Largest file of identities.
const MAX_BYTES: usize = 1 << 20;
/// Largest file of `secrets.sync`.
const MAX_DOCUMENT: usize = 32 << 20;

/// Whether the keys can be used, and only by us.
pub(super) fn check(config: &Config) -> Vec<Check> {
    let policy = config.image_policy.as_deref().map(image_policy);
    let identities = config.secrets.identities.iter().flat_map(|file| identity(file));
    policy.into_iter().chain(identities).chain(declared(&config.secrets)).collect()
}

/// Whether each file of `secrets.sync` opens, and says which Secret it is.
fn declared(secrets: &SecretsConfig) -> Vec<Check> {
    // That they cannot be read is told of each of them.
    let Ok(identities) = identities(&secrets.identities) else { return Vec::new() };
    secrets.sync.iter().map(|sync| opens(sync, &identities)).collect()
}

fn opens(sync: &SecretSync, identities: &Identities) -> Check {
    let shown = sync.file.display();
    let target = sync.target.as_ref();
    let target = target.map(|target| Target { namespace: target.namespace.clone(), name: target.name.clone() });
    let opened = read_capped(&sync.file, MAX_DOCUMENT).map_err(|error| error.to_string()).and_then(|bytes| {
        let secret = || {
            let document = Document::read(&bytes)?;
            document.kubernetes_secret(&document.decrypt(identities)?, target.as_ref())
        };
        secret().map_err(|error| error.to_string())
    });
    match opened {
        Ok(secret) => {
            let Target { namespace, name } = secret.target;
            Check::ok(AREA, format!("{shown} of secrets.sync opens, for the Secret {namespace}/{name}"))
        }
        Err(why) => Check::fail(AREA, format!("{shown} of secrets.sync: {why}"), "see docs/secrets.md"),
    }
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
