//! Reading what a command line names: files, folders, standard input.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use portreeve_policies::object::{Object, ReadOptions, Unreadable};
use portreeve_reports::source::Limits;
use portreeve_reports::{Cause, Finding};

use super::Failure;
use crate::cluster::folder::walk;
use crate::config::Config;
use crate::judge::content::{Content, is_own, own_files};
use crate::judge::resources::mistake;
use crate::judge::secrets::EncryptedFile;
use crate::judge::source::{repository_path, repository_root};

/// Everything that was read.
#[derive(Default)]
pub(super) struct Inputs {
    /// Objects in the order of their files; of an AdmissionReview, the object it asks about.
    pub objects: Vec<Object>,
    /// What could not be read, and mistakes in our own kinds, as findings.
    pub unreadable: Vec<Finding>,
    /// Files that sops encrypted, manifests among the objects included.
    pub encrypted: Vec<EncryptedFile>,
    /// Files that the configuration names.
    own: Vec<PathBuf>,
    /// What was looked at, by its own path: what is named twice is judged once.
    seen: BTreeSet<PathBuf>,
}

/// Reads all paths; `-` is standard input. A named path that does not exist is a usage error; a file that is there
/// and cannot be read is a finding. Files that the configuration names are no manifests of a folder.
pub(super) fn read(paths: &[PathBuf], namespace: &str, config: &Config) -> Result<Inputs, Failure> {
    let options = ReadOptions { limits: Limits::default(), default_namespace: namespace.to_owned() };
    let root = repository_root();
    let mut inputs = Inputs { own: own_files(config), ..Inputs::default() };
    let roots: Vec<PathBuf> = paths.iter().filter(|path| path.is_dir()).cloned().collect();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let cap = options.limits.bytes as u64 + 1;
            std::io::stdin().lock().take(cap).read_to_end(&mut bytes).map_err(Failure::other)?;
            let content = Content::read("stdin", None, &bytes, &options);
            inputs.unreadable.extend(content.objects.iter().filter_map(mistake));
            inputs.add(content);
            continue;
        }
        let metadata = std::fs::metadata(path);
        let metadata = metadata.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        if metadata.is_dir() {
            if inputs.is_new(path) {
                inputs.add_folder(path, &roots, (root.as_deref(), &options));
            }
        } else {
            let bytes = walk::named_bytes(path, options.limits.bytes);
            inputs.add_file((path, &repository_path(path, root.as_deref())), bytes, &options);
        }
    }
    Ok(inputs)
}

impl Inputs {
    fn add(&mut self, content: Content) {
        self.objects.extend(content.objects);
        self.unreadable.extend(content.unreadable.iter().map(Unreadable::finding));
        self.encrypted.extend(content.encrypted);
    }

    fn is_new(&mut self, path: &Path) -> bool {
        self.seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    }

    /// The manifests of a folder, in the order of their names.
    fn add_folder(&mut self, folder: &Path, roots: &[PathBuf], (root, options): (Option<&Path>, &ReadOptions)) {
        let found = walk::walk(folder, roots);
        for (folder, cause, why) in &found.problems {
            self.unread(&repository_path(folder, root), *cause, why);
        }
        for link in &found.not_followed {
            self.unread(&link_path(link, root), Cause::Unreadable, walk::NOT_FOLLOWED);
        }
        for file in found.files.keys() {
            let bytes = walk::bytes(file, options.limits.bytes);
            if !bytes.as_ref().is_ok_and(|bytes| is_own(file, &self.own, bytes, &options.limits)) {
                self.add_file((file, &repository_path(file, root)), bytes, options);
            }
        }
    }

    fn add_file(
        &mut self,
        (file, name): (&Path, &str),
        bytes: Result<Vec<u8>, (Cause, String)>,
        options: &ReadOptions,
    ) {
        if !self.is_new(file) {
            return;
        }
        match bytes {
            Ok(bytes) => {
                let is_named = file.canonicalize().is_ok_and(|file| self.own.contains(&file));
                let content = Content::read(name, Some(file), &bytes, options);
                // What the configuration names is read, and said, as rules.
                let mistakes = content.objects.iter().filter(|_| !is_named).filter_map(mistake);
                self.unreadable.extend(mistakes);
                self.add(content);
            }
            Err((cause, why)) => self.unread(name, cause, &why),
        }
    }

    fn unread(&mut self, name: &str, cause: Cause, why: &str) {
        self.add(Content::unread(name, cause, why));
    }
}

/// The name of a link: its own place, not that of what it leads to.
fn link_path(link: &Path, root: Option<&Path>) -> String {
    let folder = repository_path(link.parent().unwrap_or(Path::new(".")), root);
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    match folder.as_str() {
        "" | "." => name.into_owned(),
        folder => format!("{folder}/{name}"),
    }
}
