//! What is in a file of manifests: the one reading behind `check`, `gate` and the folder that is watched as a cluster.

use std::path::{Path, PathBuf};

use portreeve_policies::object::{Object, ReadOptions, Unreadable, read_objects};
use portreeve_reports::Cause;
use portreeve_reports::source::{Limits, Node, yaml};
use portreeve_secrets::sops::{self, ClearSecret, Document};

use super::review::object_of_document;
use super::secrets::{self, EncryptedFile};
use crate::config::Config;
use crate::config::load::FILE_NAME;

/// Names of files that are not manifests wherever they are.
const OWN: [&str; 2] = [secrets::RULES, FILE_NAME];

/// What was read of one file.
#[derive(Default)]
pub struct Content {
    /// Objects in their order; then those that AdmissionReviews ask about.
    pub objects: Vec<Object>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
    /// The file as one that sops encrypted, or should have; a manifest is among the objects too.
    pub encrypted: Option<EncryptedFile>,
}

impl Content {
    /// Reads bytes that findings call `name`. `path` is where they are on disk; without one no creation rule is for
    /// them.
    pub fn read(name: &str, path: Option<&Path>, bytes: &[u8], options: &ReadOptions) -> Self {
        let document = match encrypted(bytes) {
            Ok(document) => document,
            Err(error) => return Self::unread(name, Cause::Unreadable, &error.to_string()),
        };
        let is_manifest = document.as_ref().is_none_or(Document::is_manifest);
        let mut content = if is_manifest { Self::manifests(name, bytes, options) } else { Self::default() };
        if document.as_ref().is_some_and(Document::hides_kind) {
            content.unreadable.iter_mut().for_each(secrets::say_hidden_kind);
        }
        if document.is_some() {
            content.unreadable.extend(content.objects.iter().filter_map(|object| secrets::hidden_part(name, object)));
        }
        let clear: Vec<ClearSecret> = content.objects.iter().filter_map(secrets::in_clear).collect();
        let file = EncryptedFile { shown: name.to_owned(), path: path.map(Path::to_owned), document, clear };
        content.encrypted = (file.document.is_some() || !file.clear.is_empty()).then_some(file);
        content
    }

    /// A file that could not be read at all.
    pub fn unread(name: &str, cause: Cause, why: &str) -> Self {
        Self { unreadable: vec![Unreadable::of_file(name, cause, why)], ..Self::default() }
    }

    fn manifests(name: &str, bytes: &[u8], options: &ReadOptions) -> Self {
        let read = read_objects(Some(name), bytes, options);
        let mut content = Self { objects: read.objects, unreadable: read.unreadable, encrypted: None };
        for review in &read.reviews {
            // A deletion has no object to judge.
            match object_of_document(name, review) {
                Ok(object) => content.objects.extend(object),
                Err(unreadable) => content.unreadable.push(*unreadable),
            }
        }
        content
    }
}

/// The files that a configuration names, by their own paths.
pub fn own_files(config: &Config) -> Vec<PathBuf> {
    config.files_of_rules().filter_map(|file| file.canonicalize().ok()).collect()
}

/// Whether a file of a folder is one of those that say how the others are judged, and no manifest: a `.sops.yaml`, a
/// configuration, or one of the files that it names. By its name alone none is passed over: what says of itself that it
/// is an object may be applied.
pub fn is_own(file: &Path, named: &[PathBuf], bytes: &[u8], limits: &Limits) -> bool {
    let is_by_name = file.file_name().is_some_and(|name| OWN.iter().any(|own| name == *own));
    let is_named = || file.canonicalize().is_ok_and(|file| named.contains(&file));
    let is_none = |node: &Node| node.get("apiVersion").is_none() && node.get("kind").is_none();
    (is_by_name || is_named())
        && yaml::read(bytes, limits)
            .iter()
            .all(|read| read.as_ref().is_ok_and(|node| node.as_map().is_some() && is_none(node)))
}

/// The file, when sops encrypted it. Looking for its block first spares most files a second reading.
fn encrypted(bytes: &[u8]) -> Result<Option<Document>, sops::Error> {
    let has_block = bytes.starts_with(b"sops:") || bytes.windows(6).any(|window| window == b"\nsops:");
    has_block.then(|| Document::read(bytes)).transpose()
}
