//! Reading what a command line names: files, folders, standard input.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use portreeve_policies::object::{Object, ReadOptions, Unreadable, read_objects};
use portreeve_reports::source::Limits;
use portreeve_reports::{Cause, Finding};

use super::Failure;
use crate::config::load::read_capped;
use crate::judge::review::object_of_document;
use crate::judge::source::{repository_path, repository_root};

/// Most files that one call reads.
const MAX_FILES: usize = 100_000;
/// Deepest folder below a named one.
const MAX_DEPTH: usize = 64;

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Objects in the order of their files; of an AdmissionReview, the object it asks about.
    pub objects: Vec<Object>,
    /// What could not be read, as findings.
    pub unreadable: Vec<Finding>,
}

/// Reads all paths; `-` is standard input. A named path that does not exist is a usage error; a file that is there
/// and cannot be read is a finding.
pub(super) fn read(paths: &[PathBuf], namespace: &str) -> Result<Inputs, Failure> {
    let options = ReadOptions { limits: Limits::default(), default_namespace: namespace.to_owned() };
    let root = repository_root();
    let mut inputs = Inputs::default();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let cap = options.limits.bytes as u64 + 1;
            std::io::stdin().lock().take(cap).read_to_end(&mut bytes).map_err(Failure::other)?;
            inputs.add("stdin", &bytes, &options);
            continue;
        }
        for file in files(path)? {
            if file != *path && !is_regular(&file) {
                inputs.unreadable.push(not_followed(&repository_path(&file, root.as_deref())));
                continue;
            }
            inputs.add_file(&file, &repository_path(&file, root.as_deref()), &options);
        }
    }
    Ok(inputs)
}

impl Inputs {
    fn add(&mut self, name: &str, bytes: &[u8], options: &ReadOptions) {
        let read = read_objects(Some(name), bytes, options);
        self.objects.extend(read.objects);
        for document in &read.reviews {
            // A deletion has no object to judge.
            match object_of_document(document) {
                Ok(object) => self.objects.extend(object),
                Err(unreadable) => self.unreadable.push(*unreadable),
            }
        }
        self.unreadable.extend(read.unreadable.iter().map(Unreadable::finding));
    }

    fn add_file(&mut self, file: &Path, name: &str, options: &ReadOptions) {
        let unreadable = |cause, message: String| Unreadable::of_file(name, cause, message).finding();
        match read_capped(file, options.limits.bytes) {
            Ok(bytes) if bytes.len() > options.limits.bytes => {
                let most = options.limits.bytes >> 20;
                self.unreadable.push(unreadable(Cause::TooLarge, format!("the file is larger than {most} MiB")));
            }
            Ok(bytes) => self.add(name, &bytes, options),
            Err(error) => self.unreadable.push(unreadable(Cause::Unreadable, error.to_string())),
        }
    }
}

/// The manifests of a path: the file itself, or the YAML and JSON files below a folder in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    walk(path, 0, &mut found)?;
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::other(format!("{}: {error}", folder.display()));
    let mut entries = std::fs::read_dir(folder).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(fail)?;
        if entry.file_name() == ".git" {
            continue;
        }
        if kind.is_dir() {
            if depth == MAX_DEPTH {
                return Err(Failure::usage(format!("{}: more than {MAX_DEPTH} folders deep", path.display())));
            }
            walk(&path, depth + 1, found)?;
        } else if is_manifest(&path) {
            if found.len() == MAX_FILES {
                return Err(Failure::usage(format!("more than {MAX_FILES} manifests; name fewer folders")));
            }
            found.push(path);
        }
    }
    Ok(())
}

fn is_regular(file: &Path) -> bool {
    std::fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_file())
}

/// A link in a folder could lead out of it or back into it, and a pipe may never end. What applies the folder may read
/// them all the same, so they are not passed over in silence.
fn not_followed(name: &str) -> Finding {
    let message = "it is a link or no regular file, and is not followed; name its target instead";
    Unreadable::of_file(name, Cause::Unreadable, message).finding()
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}
