//! Private keys, from everywhere sops looks for them and from the configuration.

use std::path::{Path, PathBuf};

use portreeve_secrets::sops::Identities;

use super::super::args::GlobalArgs;
use super::{Refusal, exit_of, exits, file};
use crate::config::Use;

/// Sources of keys that sops has and this version does not ask: named, so that nobody looks for a mistake in vain.
const LATER: [&str; 3] = ["SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_CMD"];

/// All identities at hand.
pub(super) fn load(global: &GlobalArgs) -> Result<Identities, Refusal> {
    let mut identities = Identities::default();
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(keys) = set("SOPS_AGE_KEY") {
        add(&mut identities, &keys, "SOPS_AGE_KEY")?;
    }
    if let Some(path) = set("SOPS_AGE_KEY_FILE") {
        add_file(&mut identities, Path::new(&path))?;
    }
    if let Some(path) = user_file().filter(|path| path.is_file()) {
        add_file(&mut identities, &path)?;
    }
    let loaded =
        global.load_config_for(&[Use::Secrets]).map_err(|failure| Refusal::new(exits::CONFIG, failure.message))?;
    for path in &loaded.config.secrets.identities {
        add_file(&mut identities, path)?;
    }
    if identities.is_empty() {
        let later: Vec<&str> = LATER.into_iter().filter(|name| set(name).is_some()).collect();
        if !later.is_empty() {
            let message = format!("{} is set, which is not supported yet; use SOPS_AGE_KEY_FILE", later.join(", "));
            return Err(Refusal::new(exits::NO_IDENTITY, message));
        }
    }
    Ok(identities)
}

fn add(identities: &mut Identities, text: &str, origin: &str) -> Result<(), Refusal> {
    identities.add(text, origin).map_err(|error| Refusal::new(exit_of(error.kind), error))
}

fn add_file(identities: &mut Identities, path: &Path) -> Result<(), Refusal> {
    let bytes = file::read(path)?;
    let text = std::str::from_utf8(bytes.expose())
        .map_err(|_| Refusal::new(exits::GENERIC, format_args!("{}: not a text of age identities", path.display())))?;
    add(identities, text, &path.display().to_string())
}

/// `sops/age/keys.txt` in the configuration folder.
fn user_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("sops/age/keys.txt"))
}
