//! What package managers say is installed, from their own records in the image.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::tree::Tree;

use super::inspect::is_of_npm;

/// Most packages that are listed of one manager; all are counted.
pub const LISTED: usize = 20_000;

/// A manager of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manager {
    /// Debian, Ubuntu.
    Dpkg,
    /// Alpine.
    Apk,
    /// conda, by `conda-meta`.
    Conda,
    /// pip and others, by `dist-info` and `egg-info`.
    Python,
    /// npm.
    Npm,
}

impl Manager {
    /// Its name in evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Conda => "conda",
            Self::Python => "python",
            Self::Npm => "npm",
        }
    }
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name; of Python packages in the normal form.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The environment that it is in: `opt/conda/envs/default`. Empty for the system's.
    pub prefix: String,
    /// The record that says so.
    pub record: String,
}

/// All packages of an image.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    by_manager: BTreeMap<Manager, BTreeSet<Package>>,
    /// Records that could not be read: the path, and why.
    pub unread: Vec<(String, &'static str)>,
}

impl Packages {
    /// Reads all records.
    pub fn of(tree: &Tree) -> Self {
        let mut packages = Self::default();
        for (path, entry) in tree.iter() {
            let Ok(path) = std::str::from_utf8(path) else { continue };
            if let Some((manager, package)) = by_name(path) {
                packages.add(manager, package);
            } else if let Some(manager) = record_of(path) {
                match entry.content.as_deref() {
                    Some(content) => packages.read(manager, path, &String::from_utf8_lossy(content)),
                    None => packages.unread.push((path.to_owned(), "it is larger than what is kept in memory")),
                }
            } else if is_of_rpm(path) {
                packages.unread.push((path.to_owned(), "databases of rpm are not read"));
            }
        }
        packages
    }

    /// How many packages each manager has.
    pub fn counts(&self) -> impl Iterator<Item = (Manager, usize)> {
        self.by_manager.iter().map(|(manager, packages)| (*manager, packages.len()))
    }

    /// The packages of all managers, at most [`LISTED`] of each.
    pub fn list(&self) -> impl Iterator<Item = (Manager, &Package)> {
        self.by_manager.iter().flat_map(|(manager, all)| all.iter().take(LISTED).map(|package| (*manager, package)))
    }

    /// A Python package, whoever installed it; the one in this environment before those in others.
    pub fn python(&self, name: &str, prefix: Option<&str>) -> Option<&Package> {
        let of = |manager| self.by_manager.get(&manager).into_iter().flatten();
        let named = of(Manager::Python).chain(of(Manager::Conda)).filter(|package| package.name == name);
        let named: Vec<&Package> = named.collect();
        let inside = |package: &&&Package| prefix.is_some_and(|prefix| is_in(&package.prefix, prefix));
        named.iter().find(inside).or_else(|| named.first()).copied()
    }

    fn add(&mut self, manager: Manager, package: Package) {
        self.by_manager.entry(manager).or_default().insert(package);
    }

    fn read(&mut self, manager: Manager, record: &str, content: &str) {
        let of = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            prefix: String::new(),
            record: record.to_owned(),
        };
        match manager {
            Manager::Npm => match npm(content) {
                Some((name, version)) => self.add(manager, of(&name, &version)),
                None => self.unread.push((record.to_owned(), "it is not the description of a package")),
            },
            _ => {
                let keys = if manager == Manager::Apk { ["P:", "V:"] } else { ["Package: ", "Version: "] };
                // Line by line, because some writers leave empty lines inside.
                for paragraph in content.split("\n\n") {
                    let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
                    let is_gone = field("Status: ").is_some_and(|status| !status.ends_with(" installed"));
                    if let (Some(name), Some(version), false) = (field(keys[0]), field(keys[1]), is_gone) {
                        self.add(manager, of(name, version));
                    }
                }
            }
        }
    }
}

/// Whether a prefix of packages is this environment. The system's packages are in `usr`, and what is called through a
/// link in `usr/local/bin` may be elsewhere.
fn is_in(package: &str, prefix: &str) -> bool {
    package == prefix
}

/// Packages that the name of their record tells whole.
fn by_name(path: &str) -> Option<(Manager, Package)> {
    let (folder, file) = path.rsplit_once('/')?;
    let package = |name: &str, version: &str, prefix: &str| Package {
        name: normal(name),
        version: version.to_owned(),
        prefix: prefix.to_owned(),
        record: path.to_owned(),
    };
    if let Some(prefix) = folder.strip_suffix("conda-meta") {
        let mut parts = file.strip_suffix(".json")?.rsplitn(3, '-');
        let (_build, version, name) = (parts.next()?, parts.next()?, parts.next()?);
        return Some((Manager::Conda, package(name, version, prefix.trim_end_matches('/'))));
    }
    let (site, info) = match file {
        "METADATA" | "PKG-INFO" => folder.rsplit_once('/')?,
        _ => (folder, file),
    };
    let suffix = if file == "METADATA" { ".dist-info" } else { ".egg-info" };
    let (name, rest) = info.strip_suffix(suffix)?.split_once('-')?;
    // `name-1.0-py3.12.egg-info`
    let version = rest.split_once("-py").map_or(rest, |(version, _)| version);
    let prefix = site.split_once("lib/python").map_or(site, |(prefix, _)| prefix.trim_end_matches('/'));
    Some((Manager::Python, package(name, version, prefix)))
}

fn record_of(path: &str) -> Option<Manager> {
    match path {
        "var/lib/dpkg/status" => Some(Manager::Dpkg),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => Some(Manager::Apk),
        _ if path.starts_with("var/lib/dpkg/status.d/") && !path.ends_with(".md5sums") => Some(Manager::Dpkg),
        _ => is_of_npm(path).then_some(Manager::Npm),
    }
}

fn is_of_rpm(path: &str) -> bool {
    let folder = ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];
    let name = folder.iter().find_map(|folder| path.strip_prefix(folder));
    name.is_some_and(|name| ["rpmdb.sqlite", "Packages", "Packages.db"].contains(&name))
}

fn npm(content: &str) -> Option<(String, String)> {
    let package: serde_json::Value = serde_json::from_str(content).ok()?;
    let text = |key: &str| package.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    Some((text("name")?, text("version").unwrap_or_default()))
}

/// PEP 503.
fn normal(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// Major and minor version: `5.3` of `5.3.0rc1`.
pub fn major_minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.trim_start_matches('v').split('.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records_tell_the_package() {
        let told = |path: &str| by_name(path).map(|(_, package)| (package.name, package.version, package.prefix));
        let of = |name: &str, version: &str, prefix: &str| Some((name.into(), version.into(), prefix.into()));
        let cases = [
            (
                "opt/conda/conda-meta/jupyterhub-base-5.3.0-pyh31011fe_0.json",
                of("jupyterhub-base", "5.3.0", "opt/conda"),
            ),
            (
                "usr/local/lib/python3.12/site-packages/jupyter_server-2.14.1.dist-info/METADATA",
                of("jupyter-server", "2.14.1", "usr/local"),
            ),
            ("usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO", of("six", "1.16.0", "usr")),
            ("usr/lib/python3/dist-packages/a-1.0-py3.12.egg-info", of("a", "1.0", "usr")),
            ("opt/conda/conda-meta/history", None),
            ("x/METADATA", None),
        ];
        for (path, expected) in cases {
            assert_eq!(told(path), expected, "{path}");
        }
    }

    #[test]
    fn versions_are_told_by_their_numbers() {
        assert_eq!(major_minor("5.3.0rc1"), Some((5, 3)));
        assert_eq!(major_minor("v2"), Some((2, 0)));
        assert_eq!(major_minor("unknown"), None);
    }

    #[test]
    fn paragraphs_of_packages_that_are_gone_do_not_count() {
        let mut packages = Packages::default();
        let status = "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: deinstall ok \
                      config-files\nVersion: 2\n";
        packages.read(Manager::Dpkg, "var/lib/dpkg/status", status);
        packages.read(Manager::Apk, "lib/apk/db/installed", "P:c\nV:3-r0\n");
        packages.read(Manager::Npm, "node_modules/d/package.json", r#"{"name":"d","version":"4"}"#);
        let all: Vec<_> = packages.list().map(|(_, package)| format!("{} {}", package.name, package.version)).collect();
        assert_eq!(all, ["a 1", "c 3-r0", "d 4"]);
        packages.read(Manager::Npm, "node_modules/e/package.json", "{");
        assert_eq!(packages.unread.len(), 1);
    }
}
