//! Where the real programs are. `make parts` puts them into `$PORTREEVE_PARTS/bin`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail;

/// A program that the tests start.
pub struct Part;

impl Part {
    /// The path of a program; one that is missing fails the test with the line that says how to get it.
    #[track_caller]
    pub fn path(name: &str) -> PathBuf {
        match Self::find(&Self::folder(), name) {
            Some(path) => path,
            None => fail(format!("part {name} is missing: run `make parts`")),
        }
    }

    /// `$PORTREEVE_PARTS`, or the cache folder of the user.
    pub fn folder() -> PathBuf {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        set("PORTREEVE_PARTS").or_else(|| cache().map(|cache| cache.join("portreeve/parts"))).unwrap_or_default()
    }

    /// A Python that has the OpenMetrics parser (`prometheus_client`), ready for a script.
    #[track_caller]
    pub fn python() -> Command {
        let packages = Self::folder().join("python");
        if !packages.join("prometheus_client").is_dir() {
            fail("part prometheus_client is missing: run `make parts`");
        }
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", packages);
        command
    }

    fn find(folder: &Path, name: &str) -> Option<PathBuf> {
        let path = folder.join("bin").join(name);
        path.is_file().then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_is_not_found_and_a_present_one_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Part::find(folder.path(), "etcd"), None);
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::fs::write(folder.path().join("bin/etcd"), "").unwrap();
        assert_eq!(Part::find(folder.path(), "etcd"), Some(folder.path().join("bin/etcd")));
    }

    #[test]
    #[should_panic(expected = "part no-such-program is missing: run `make parts`")]
    fn a_missing_part_fails_the_test_with_how_to_get_it() {
        Part::path("no-such-program");
    }
}
