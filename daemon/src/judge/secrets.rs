//! Encrypted files and declared Secrets, judged. What opens and compares them is the doors'.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use portreeve_policies::object::{Object, Unreadable};
use portreeve_reports::code::UNREADABLE_INPUT;
use portreeve_reports::finding::BuildError;
use portreeve_reports::source::{Node, Place, Value};
use portreeve_reports::{Cause, Finding, FindingBuilder, Location, Subject, Verdict};
use portreeve_secrets::sops::{
    self, Checked, ClearSecret, CreationRule, CreationRules, Document, Error, Facts, Identities, Plain, SecretBytes,
    Target,
};
use portreeve_secrets::sync::{self, Kept};

use super::{FileSource, Judge, JudgeOptions, Judged};
use crate::runtime::files::open_named;

/// Most bytes of a file of identities or of creation rules.
const MAX_BYTES: u64 = 1 << 20;
/// The file of creation rules, from the working folder upward.
pub(super) const RULES: &str = ".sops.yaml";

/// Said of an object whose kind is encrypted. It may be anything, so it counts as what cannot be read; a Secret alone is
/// let through, by whoever can open it.
const HIDDEN_KIND: &str = "its kind is encrypted, so what it asks of the cluster cannot be judged; encrypt the values \
                           alone, as in sops encrypt --encrypted-regex '^(data|stringData)$'. A v1 Secret may stay \
                           so where check, gate and serve have an identity (secrets.identities)";

/// An encrypted file among those that are judged, or one that may have to be: Secrets lie in clear in it.
pub struct EncryptedFile {
    /// Its path, as findings show it.
    pub shown: String,
    /// Where it is; `None` of standard input.
    pub path: Option<PathBuf>,
    /// The file, read; `None` when nothing in it is encrypted.
    pub document: Option<Document>,
    /// Its Secrets with clear values.
    pub clear: Vec<ClearSecret>,
}

/// Without the document: it has clear values too.
impl std::fmt::Debug for EncryptedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptedFile").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// What lies in clear of an object that is a Secret.
pub(super) fn in_clear(object: &Object) -> Option<ClearSecret> {
    let is_secret = (&*object.api_version, &*object.kind) == ("v1", "Secret");
    is_secret.then(|| ClearSecret::of(format!("{}/{}", object.namespace, object.name), &object.root)).flatten()
}

/// What of an object of Kubernetes is encrypted where controls look: nobody can say what it is, and what reads the file
/// may decrypt and apply it. Data of Secrets and ConfigMaps are looked at by none.
pub(super) fn hidden_part(file: &str, object: &Object) -> Option<Unreadable> {
    let group = object.group();
    if group.contains('.') && !group.ends_with(".k8s.io") {
        return None;
    }
    let looked_at = object.root.as_map()?.iter().filter(|entry| !NOT_LOOKED_AT.contains(&&*entry.key));
    let (path, place) = looked_at.filter_map(|entry| encrypted_below(&entry.node, entry.key.to_string())).next()?;
    let message = format!(
        "'{path}' is encrypted, so nobody can judge it: encrypt Secrets only, as in --encrypted-regex '^(data|stringData)$'"
    );
    Some(Unreadable { place, object_path: path, ..Unreadable::of_file(file, Cause::Unreadable, message) })
}

/// Where values are not for controls; the last is the block of sops itself.
const NOT_LOOKED_AT: [&str; 4] = ["data", "stringData", "binaryData", "sops"];

/// The first value of sops' form in a tree, with its path.
fn encrypted_below(node: &Node, path: String) -> Option<(String, Place)> {
    match &node.value {
        Value::String(text) if text.starts_with("ENC[AES256_GCM,") => Some((path, node.place)),
        Value::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| encrypted_below(item, format!("{path}[{index}]")))
        }
        Value::Map(map) => map.iter().find_map(|entry| encrypted_below(&entry.node, format!("{path}.{}", entry.key))),
        _ => None,
    }
}

/// Says of an object that it has no kind that can be read because it is encrypted.
pub(super) fn say_hidden_kind(unreadable: &mut Unreadable) {
    if matches!(unreadable.object_path.as_str(), "apiVersion" | "kind") {
        HIDDEN_KIND.clone_into(&mut unreadable.message);
    }
}

/// What encrypted files are judged with.
#[derive(Default)]
pub struct Opening {
    identities: Identities,
    ruled: Option<Ruled>,
    /// The first file of identities that is not on this machine, when none is.
    pub missing: Option<PathBuf>,
}

impl Opening {
    /// The identities of the configuration that are on this machine, and the creation rules of `source`. In CI there is
    /// usually no identity, and what needs one is then unknown.
    pub fn load(identity_files: &[PathBuf], source: &FileSource) -> Result<Self, String> {
        let (mut here, mut missing) = (Vec::new(), None);
        for file in identity_files {
            match file.try_exists() {
                Ok(true) => here.push(file.clone()),
                Ok(false) => missing = missing.or_else(|| Some(file.clone())),
                Err(error) => return Err(format!("secrets.identities: {}: {error}", file.display())),
            }
        }
        let missing = missing.filter(|_| here.is_empty());
        let identities = identities(&here).map_err(|why| format!("secrets.identities: {why}"))?;
        Ok(Self { identities, ruled: Ruled::find(source)?, missing })
    }

    /// The findings about an encrypted file.
    fn findings(
        &self,
        shown: &str,
        document: &Document,
        rule: Option<&CreationRule>,
    ) -> Result<Vec<Finding>, BuildError> {
        let opened = (!self.identities.is_empty()).then(|| document.decrypt(&self.identities));
        let checked = match &opened {
            None => Checked::NotTried,
            Some(Ok(_)) => Checked::Whole,
            Some(Err(error)) => Checked::Failed(error),
        };
        sops::findings(&Facts { file: shown, document, checked, rule })
    }

    /// What of `unreadable` stays so when files are opened: not that the kind of a Secret is encrypted.
    pub fn still_unreadable<'a>(
        &self,
        mut unreadable: Vec<Finding>,
        files: impl IntoIterator<Item = &'a EncryptedFile>,
    ) -> Vec<Finding> {
        let is_of_secrets =
            |document: &Document| document.decrypt(&self.identities).is_ok_and(|plain| plain.is_of_secrets());
        let mut of_secrets: BTreeMap<&'a str, bool> = BTreeMap::new();
        for file in files {
            if let Some(document) = file.document.as_ref().filter(|document| document.hides_kind()) {
                // A name that two files are shown by is that of Secrets when both are.
                *of_secrets.entry(&file.shown).or_insert(true) &= is_of_secrets(document);
            }
        }
        unreadable.retain(|finding| {
            let Subject::File { path } = &finding.subject else { return true };
            finding.message != HIDDEN_KIND || !of_secrets.get(path.as_str()).copied().unwrap_or(false)
        });
        unreadable
    }
}

/// Creation rules, and the folder that their paths are relative to.
struct Ruled {
    folder: PathBuf,
    rules: CreationRules,
}

impl Ruled {
    /// The next `.sops.yaml` from the working folder upward, as the source has it; `None` without one.
    fn find(source: &FileSource) -> Result<Option<Self>, String> {
        let working = std::env::current_dir().map_err(|error| format!("the working folder cannot be told: {error}"))?;
        for folder in working.ancestors() {
            let file = folder.join(RULES);
            // What is above the repository is not in a git ref.
            if !source.holds(&file) || !source.has(&file).map_err(|error| error.to_string())? {
                continue;
            }
            let bytes = source.read(&file).map_err(|error| error.to_string())?;
            let rules = CreationRules::read(&bytes, &file.display().to_string()).map_err(|error| error.to_string())?;
            return Ok(Some(Self { folder: folder.to_owned(), rules }));
        }
        Ok(None)
    }

    /// The rule for a file: by the name that it was given, as sops has it, else by its own, since links give a file names
    /// that no rule thinks of.
    fn of(&self, path: &Path) -> Option<&CreationRule> {
        let folder = self.folder.canonicalize();
        let named = std::path::absolute(path).map(|path| (path, self.folder.as_path()));
        let own = path.canonicalize().map(|path| (path, folder.as_deref().unwrap_or(&self.folder)));
        [named, own].into_iter().flatten().find_map(|(path, folder)| {
            self.rules.for_path(&path.strip_prefix(folder).unwrap_or(&path).to_string_lossy())
        })
    }
}

/// Reads files of age identities.
pub fn identities(files: &[PathBuf]) -> Result<Identities, String> {
    let mut identities = Identities::default();
    for path in files {
        let unreadable = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = open_named(path).map_err(|error| unreadable(&error))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
        let bytes = SecretBytes::new(bytes);
        read.map_err(|error| unreadable(&error))?;
        let text = std::str::from_utf8(bytes.expose()).map_err(|_| unreadable(&"not a text of age identities"))?;
        identities.add(text, &path.display().to_string()).map_err(|error| error.to_string())?;
    }
    Ok(identities)
}

/// The findings about a file and what came of opening it.
pub fn opened(shown: &str, document: &Document, opened: Result<&Plain, &Error>) -> Result<Vec<Finding>, BuildError> {
    let checked = opened.map_or_else(Checked::Failed, |_| Checked::Whole);
    sops::findings(&Facts { file: shown, document, checked, rule: None })
}

/// Whether a declared file and the identities could be read; `problem` says why not.
pub fn readable(shown: &str, problem: Option<&str>) -> Result<Finding, BuildError> {
    sync::readable(shown, problem)
}

/// Whether a declared file says which Secret it is; `problem` says why not.
pub fn declared(shown: &str, target: Option<&Target>, problem: Option<&str>) -> Result<Finding, BuildError> {
    sync::declared(shown, target, problem)
}

/// What came of one look at a declared Secret.
pub fn kept(shown: &str, target: &Target, kept: &Kept<'_>) -> Result<Vec<Finding>, BuildError> {
    sync::secret_findings(target, shown, kept)
}

/// A judgement that makes no findings is a bug, and says so instead of saying nothing.
fn broken(file: &EncryptedFile, error: &BuildError) -> Vec<Finding> {
    let finding = FindingBuilder::new(UNREADABLE_INPUT.code(), UNREADABLE_INPUT.severity, Verdict::Error)
        .subject(Subject::File { path: file.shown.clone() })
        .location(Location { file: Some(file.shown.as_str().into()), ..Location::default() })
        .message(format!("portreeve is broken here: {error}"));
    finding.build().into_iter().collect()
}

impl Judge {
    /// Encrypted files among those that are judged. None is asked about where single controls were chosen. Without
    /// identities nothing is opened.
    pub fn encrypted<'a>(
        &self,
        files: impl IntoIterator<Item = &'a EncryptedFile>,
        opening: &Opening,
        options: &JudgeOptions,
    ) -> Judged {
        if self.rules.credentials.is_none() {
            return Judged::default();
        }
        let about = |file: &EncryptedFile| {
            let rule = opening.ruled.as_ref().zip(file.path.as_ref()).and_then(|(ruled, path)| ruled.of(path));
            let mut findings = match &file.document {
                Some(document) => opening.findings(&file.shown, document, rule)?,
                None => Vec::new(),
            };
            if let Some(rule) = rule {
                findings.push(sops::secrets_sealed(&file.shown, &file.clear, rule)?);
            }
            Ok(findings)
        };
        let judged = |file: &EncryptedFile| about(file).unwrap_or_else(|error| broken(file, &error));
        let findings = files.into_iter().flat_map(judged).collect();
        self.excepted(findings, Vec::new(), options)
    }
}

#[cfg(test)]
mod tests;
