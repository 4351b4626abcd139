//! What is noticed in files while the layers pass. A file that a later layer hides is seen here all the same: whoever
//! pulls the image has it.

use std::ops::Range;

use super::contents::Config;
use crate::layers::Inspector;
use crate::layers::tree::Path;

/// Most files with credentials that are told; all are counted.
const TOLD: usize = 200;

/// What tells credentials; the crate of secrets has it, which this one does not know.
#[derive(Clone, Copy, Debug)]
pub struct Detector {
    /// Those of a file, by its path and content.
    pub of_file: fn(&str, &[u8]) -> Vec<Noticed>,
    /// Those of a text.
    pub of_text: fn(&str) -> Vec<Noticed>,
}

/// A credential: of which kind and where, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// `private key`, `GitHub token`.
    pub kind: &'static str,
    /// Whether it is a private key.
    pub is_key: bool,
    /// Whether a passphrase or a device guards it.
    pub is_guarded: bool,
    /// Where it stands in its text.
    pub range: Range<usize>,
}

/// A credential in a file of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The layer.
    pub layer: usize,
    /// The file.
    pub path: Path,
    /// What it is.
    pub noticed: Noticed,
}

/// All that was noticed.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// The first of them.
    pub told: Vec<Sighting>,
    /// How many more there are.
    pub untold: usize,
}

/// Looks at files, and knows which are kept for the rules.
#[derive(Debug)]
pub struct Inspection {
    detector: Detector,
    /// Paths, and names that are looked for on the PATH.
    started: Vec<Vec<u8>>,
    sightings: Sightings,
}

impl Inspection {
    /// Of an image that is started like this.
    pub fn new(config: &Config, detector: Detector) -> Self {
        let words = config.config.entrypoint.iter().chain(&config.config.cmd).filter(|word| !word.starts_with('-'));
        let started = words.take(16).map(|word| word.trim_start_matches('/').as_bytes().to_vec()).collect();
        Self { detector, started, sightings: Sightings::default() }
    }

    /// What was noticed.
    pub fn into_sightings(self) -> Sightings {
        self.sightings
    }
}

impl Inspector for Inspection {
    fn keeps(&self, path: &[u8]) -> bool {
        let is_started = |started: &Vec<u8>| {
            let folder = path.strip_suffix(started.as_slice());
            folder.is_some_and(|folder| folder.is_empty() || folder.ends_with(b"bin/"))
        };
        std::str::from_utf8(path).is_ok_and(is_kept) || self.started.iter().any(is_started)
    }

    fn look(&mut self, layer: usize, path: &[u8], content: &[u8]) {
        let name = String::from_utf8_lossy(path);
        for noticed in (self.detector.of_file)(&name, content) {
            let told = &mut self.sightings.told;
            let is_known =
                |known: &Sighting| known.layer == layer && *known.path == *path && known.noticed.kind == noticed.kind;
            if told.last().is_some_and(is_known) {
                continue;
            }
            match told.len() < TOLD {
                true => told.push(Sighting { layer, path: path.into(), noticed }),
                false => self.sightings.untold += 1,
            }
        }
    }
}

/// Files whose content the rules read.
pub fn is_kept(path: &str) -> bool {
    const EXACT: [&str; 7] = [
        "etc/passwd",
        "etc/shadow",
        "etc/os-release",
        "usr/lib/os-release",
        "var/lib/dpkg/status",
        "lib/apk/db/installed",
        "usr/lib/apk/db/installed",
    ];
    const NAMES: [&str; 5] = [".condarc", "condarc", "pip.conf", ".npmrc", "npmrc"];
    let name = path.rsplit('/').next().unwrap_or(path);
    EXACT.contains(&path)
        || NAMES.contains(&name)
        || path.starts_with("var/lib/dpkg/status.d/")
        || is_jupyter_config(path)
        || is_of_npm(path)
}

/// Configuration that Jupyter programs read (jupyter_core, `jupyter_path` and `jupyter_config_path`).
pub fn is_jupyter_config(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_code = name.ends_with(".py") || name.ends_with(".json");
    let is_named = name.starts_with("jupyter_") && name.contains("config") && is_code;
    let is_part = folder.ends_with("_config.d") && is_code;
    let is_read = folder == "etc/jupyter"
        || folder.ends_with("/etc/jupyter")
        || folder.ends_with(".jupyter")
        || folder.contains("etc/jupyter/")
        || folder.contains(".jupyter/");
    (is_named || is_part) && is_read
}

/// The description of a package right below `node_modules`.
pub fn is_of_npm(path: &str) -> bool {
    let Some((folder, "package.json")) = path.rsplit_once('/') else { return false };
    let Some((_, package)) = folder.rsplit_once("node_modules/") else { return false };
    let parts = package.split('/').count();
    parts == 1 || (parts == 2 && package.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_what_jupyter_reads_and_not_what_only_has_its_name() {
        for kept in [
            "etc/jupyter/jupyter_server_config.py",
            "usr/local/etc/jupyter/jupyter_server_config.d/x.json",
            "opt/conda/envs/default/etc/jupyter/jupyter_notebook_config.json",
            "home/me/.jupyter/jupyter_lab_config.py",
        ] {
            assert!(is_kept(kept), "{kept}");
        }
        for left in ["opt/lib/jupyter_server/config.py", "etc/jupyter/logo.svg", "srv/jupyter_config.py"] {
            assert!(!is_kept(left), "{left}");
        }
    }

    #[test]
    fn packages_of_npm_are_those_right_below_their_folder() {
        assert!(is_of_npm("a/node_modules/x/package.json") && is_of_npm("node_modules/@s/x/package.json"));
        assert!(!is_of_npm("node_modules/x/lib/package.json") && !is_of_npm("x/package.json"));
    }
}
