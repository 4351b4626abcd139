//! The first two steps: the platform file, or the resource, to [`Validated`]; folders of manifests to [`Built`]. Reads
//! files, asks nobody.
//!
//! What cannot be read whole builds nothing: an object that is left out by a mistake would be deleted as no longer
//! declared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portreeve_api::Document;
use portreeve_api::platform::{Component, PlatformSpec};
use portreeve_policies::object::{Object, Read, ReadOptions, read_objects};
use portreeve_reports::Location;
use portreeve_reports::digest::sha256;
use portreeve_reports::source::{Limits, Place, Problems};
use serde_json::{Value, json};

use super::inventory::{COMPONENT_LABEL, Entry, PLATFORM_LABEL};
use super::secret;
use super::waves::Wave;
use crate::cluster::apply::Address;
use crate::cluster::folder::walk;
use crate::cluster::key::ObjectKey;
use crate::config::load::read_capped;
use crate::judge::explain::known_codes;
use crate::judge::source::{repository_path, repository_root};

/// Most objects of a platform.
pub const MAX_OBJECTS: usize = 5_000;
/// Largest platform file.
const MAX_FILE: usize = 1 << 20;
/// Largest file of manifests.
const MAX_MANIFEST: usize = 16 << 20;
/// Most bytes of the manifests of a component.
const MAX_BYTES: usize = 64 << 20;
/// Most mistakes that are told of a component.
const MAX_MISTAKES: usize = 50;

/// A platform without mistakes: names are unique and dependencies end.
#[derive(Clone, Debug)]
pub struct Validated {
    /// `metadata.name`.
    pub name: String,
    /// What it asks for.
    pub spec: PlatformSpec,
    /// The file as findings name it; a resource has none.
    shown: Option<String>,
    folder: PathBuf,
}

/// Why there is no platform.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPlatform {
    /// The file cannot be read.
    #[error("the platform file {file} could not be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// The file has mistakes; all of them.
    #[error("{0}")]
    Invalid(#[from] Problems),
    /// The file is not one platform.
    #[error("{0}: a platform file holds exactly one document, of kind Platform")]
    NotOne(String),
}

/// What is wrong with a component, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// File and line.
    pub location: Location,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.location.file {
            write!(f, "{file}:")?;
        }
        if let (Some(line), Some(column)) = (self.location.line, self.location.column) {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// An object as it is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where it goes.
    pub address: Address,
    /// As it was read, with places: what the gate judges.
    pub object: Object,
    /// As it is sent, with our labels.
    pub body: Value,
    /// Digest of the manifest. Of a Secret it stays in this process: values could be tried out on it.
    pub digest: String,
    /// What the inventory notes of it: the digest, or of a Secret that of all but its values.
    pub noted: String,
    /// When it is applied.
    pub wave: Wave,
}

impl Wanted {
    /// Whether this very manifest was applied, as far as the inventory tells: of a Secret it does not know the values.
    /// What it noted of Secrets before knew them, and counts until it is noted anew.
    pub fn is_noted(&self, entry: &Entry) -> bool {
        entry.digest.as_ref().is_some_and(|noted| *noted == self.noted || *noted == self.digest)
    }

    /// Whether the inventory tells other values from these.
    pub fn is_told_by(&self, entry: &Entry) -> bool {
        entry.digest.as_ref() == Some(&self.digest)
    }
}

/// The objects of a component, in the order they are applied.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component.
    pub component: Component,
    /// Its objects.
    pub objects: Vec<Arc<Wanted>>,
}

/// A component and what became of building it.
#[derive(Clone, Debug)]
pub struct Part {
    /// The component.
    pub component: Component,
    /// Its objects, or all that is wrong with them.
    pub built: Result<Built, Vec<Mistake>>,
}

impl Part {
    /// What it asks for, its own settings and its manifests, to tell whether that is still the same. Where it stands in
    /// the file is no part of it.
    pub fn digest(&self) -> String {
        let settings = Component { place: Place::default(), ..self.component.clone() };
        let manifests: String = match &self.built {
            Ok(built) => built.objects.iter().map(|wanted| wanted.digest.as_str()).collect(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        };
        sha256(format!("{settings:?} {manifests}").as_bytes())
    }
}

impl Validated {
    /// Reads and checks a platform file.
    pub fn load(file: &Path) -> Result<Self, InvalidPlatform> {
        let shown = repository_path(file, repository_root().as_deref());
        let unreadable = |reason: String| InvalidPlatform::Unreadable { file: shown.clone(), reason };
        let bytes = read_capped(file, MAX_FILE).map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() > MAX_FILE {
            return Err(unreadable("it is larger than 1 MiB".to_owned()));
        }
        let limits = Limits { bytes: MAX_FILE, nodes: 200_000, ..Limits::default() };
        let mut documents = portreeve_api::documents(&shown, &bytes, &limits, known_codes());
        let (name, spec) = match (documents.pop(), documents.is_empty()) {
            (Some(document), true) => match document? {
                Document::Platform { name, spec } => (name, *spec),
                _ => return Err(InvalidPlatform::NotOne(shown)),
            },
            _ => return Err(InvalidPlatform::NotOne(shown)),
        };
        Ok(Self { name, spec, folder: file.parent().unwrap_or(Path::new("")).to_owned(), shown: Some(shown) })
    }

    /// The platform of a resource; its folders are in this one.
    pub fn of_resource(name: String, spec: PlatformSpec, folder: PathBuf) -> Self {
        Self { name, spec, folder, shown: None }
    }

    /// Reads the manifests of every component, in the order that they are applied in.
    pub fn build(&self) -> Vec<Part> {
        let mut parts: Vec<Part> =
            self.spec.order.iter().map(|index| self.part(&self.spec.components[*index])).collect();
        refuse_shared(&mut parts);
        let total: usize = parts.iter().filter_map(|part| Some(part.built.as_ref().ok()?.objects.len())).sum();
        if total > MAX_OBJECTS {
            let message = format!("the platform has {total} objects, and {MAX_OBJECTS} at most are applied; split it");
            for part in &mut parts {
                part.built = Err(vec![self.mistake(&part.component, message.clone())]);
            }
        }
        parts
    }

    /// A mistake at a component's place in the platform file.
    pub fn mistake(&self, component: &Component, message: impl Into<String>) -> Mistake {
        Mistake { location: self.location(component.place), message: message.into() }
    }

    /// A place in the platform file.
    pub fn location(&self, place: Place) -> Location {
        self.shown.as_deref().map_or_else(Location::default, |file| location(file, place))
    }

    fn part(&self, component: &Component) -> Part {
        let folder = self.folder.join(&component.folder);
        let read = self.read(component, &folder);
        let built = read.and_then(|read| self.objects(component, read));
        Part { component: component.clone(), built }
    }

    fn read(&self, component: &Component, folder: &Path) -> Result<Read, Vec<Mistake>> {
        let root = repository_root();
        let walk = walk::walk(folder, &[folder.to_owned()]);
        let named = |path: &Path, why: &str| Mistake {
            location: location(&repository_path(path, root.as_deref()), Place { line: 1, column: 1 }),
            message: why.to_owned(),
        };
        let mut mistakes: Vec<Mistake> = walk.problems.iter().map(|(path, _, why)| named(path, why)).collect();
        mistakes.extend(walk.not_followed.iter().map(|path| named(path, walk::NOT_FOLLOWED)));
        let limits = Limits { bytes: MAX_MANIFEST, documents: MAX_OBJECTS + 1, ..Limits::default() };
        let options = ReadOptions { limits, default_namespace: component.namespace.clone() };
        let (mut whole, mut bytes_read) = (Read::default(), 0);
        for file in walk.files.keys() {
            match walk::bytes(file, MAX_MANIFEST) {
                Ok(bytes) => {
                    bytes_read += bytes.len();
                    let read = read_objects(Some(&repository_path(file, root.as_deref())), &bytes, &options);
                    whole.objects.extend(read.objects);
                    whole.unreadable.extend(read.unreadable);
                    if !read.reviews.is_empty() {
                        mistakes.push(named(file, "an AdmissionReview is no object to apply"));
                    }
                }
                Err((_, why)) => mistakes.push(named(file, &why)),
            }
            if bytes_read > MAX_BYTES || whole.objects.len() > MAX_OBJECTS {
                let message =
                    format!("more than {MAX_OBJECTS} objects or {} MiB; split the component", MAX_BYTES >> 20);
                return Err(vec![self.mistake(component, message)]);
            }
        }
        mistakes.extend(whole.unreadable.iter().map(|unreadable| Mistake {
            location:
                unreadable.file.as_deref().map_or_else(Location::default, |file| location(file, unreadable.place)),
            message: unreadable.message.clone(),
        }));
        if mistakes.is_empty() && whole.objects.is_empty() {
            let message = format!(
                "there are no objects in {}; to take the component down, remove it from the platform",
                folder.display()
            );
            mistakes.push(self.mistake(component, message));
        }
        mistakes.truncate(MAX_MISTAKES);
        if mistakes.is_empty() { Ok(whole) } else { Err(mistakes) }
    }

    fn objects(&self, component: &Component, read: Read) -> Result<Built, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut seen = BTreeSet::new();
        let mut objects = Vec::with_capacity(read.objects.len());
        for object in read.objects {
            let key = ObjectKey::of(&object);
            let problem = self.problem(component, &object).or_else(|| {
                (!seen.insert(key))
                    .then(|| format!("{} stands twice in the component", object.reference(None).display()))
            });
            match problem {
                Some(message) => {
                    mistakes.push(Mistake { location: object.location("", object.origin.place), message });
                }
                None => objects.push(Arc::new(self.wanted(component, object))),
            }
        }
        mistakes.truncate(MAX_MISTAKES);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        objects.sort_by(|a, b| (a.wave, &a.address.key).cmp(&(b.wave, &b.address.key)));
        Ok(Built { component: component.clone(), objects })
    }

    /// Why an object cannot be a part of this component.
    fn problem(&self, component: &Component, object: &Object) -> Option<String> {
        let shown = object.reference(None).display();
        let own = &component.namespace;
        if object.root.at(["metadata", "name"]).is_none_or(|name| name.as_str().is_none_or(str::is_empty)) {
            return Some(format!("{shown} has no name of its own (generateName); what is kept needs one"));
        }
        if object.group().is_empty() && &*object.kind == "Namespace" {
            let is_own = self.spec.components.iter().any(|other| other.namespace == *object.name);
            return (!is_own)
                .then(|| format!("{shown} is the namespace of no component; a platform makes its own only"));
        }
        let is_foreign = !object.namespace.is_empty() && *object.namespace != **own;
        is_foreign.then(|| format!("{shown} is in a foreign namespace; the component's is '{own}'"))
    }

    fn wanted(&self, component: &Component, object: Object) -> Wanted {
        let address = Address::of(&object);
        let mut body = object.root.to_json();
        if let Some(fields) = body.as_object_mut() {
            fields.shift_remove("status");
        }
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            for servers in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
                metadata.shift_remove(servers);
            }
            if !object.namespace.is_empty() {
                metadata.insert("namespace".to_owned(), json!(&*object.namespace));
            }
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            if !labels.is_object() {
                *labels = json!({});
            }
            labels[PLATFORM_LABEL] = json!(self.name);
            labels[COMPONENT_LABEL] = json!(component.name);
        }
        let digest = short_digest(&body);
        let mut noted = digest.clone();
        if secret::is_secret(&address.key) {
            secret::texts_as_data(&mut body);
            noted = short_digest(&secret::without_values(&body));
        }
        Wanted { wave: Wave::of(&address.key), address, object, body, digest, noted }
    }
}

fn short_digest(body: &Value) -> String {
    sha256(body.to_string().as_bytes()).trim_start_matches("sha256:").chars().take(16).collect()
}

/// Two components cannot keep one object.
fn refuse_shared(parts: &mut [Part]) {
    let mut holders: BTreeMap<ObjectKey, Vec<usize>> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        for wanted in part.built.iter().flat_map(|built| &built.objects) {
            holders.entry(wanted.address.key.clone()).or_default().push(index);
        }
    }
    let mut mistakes: BTreeMap<usize, Vec<Mistake>> = BTreeMap::new();
    for (key, holders) in holders.iter().filter(|(_, holders)| holders.len() > 1) {
        let names: Vec<&str> = holders.iter().map(|index| parts[*index].component.name.as_str()).collect();
        let message = format!("{key} is in several components: {}; leave it in one", names.join(", "));
        for index in holders {
            let wanted = parts[*index].built.iter().flat_map(|built| &built.objects);
            let place = wanted.into_iter().find(|wanted| wanted.address.key == *key);
            let location = place.map(|wanted| wanted.object.location("", wanted.object.origin.place));
            let mistake = Mistake { location: location.unwrap_or_default(), message: message.clone() };
            mistakes.entry(*index).or_default().push(mistake);
        }
    }
    for (index, mut list) in mistakes {
        list.truncate(MAX_MISTAKES);
        parts[index].built = Err(list);
    }
}

fn location(file: &str, place: Place) -> Location {
    let known = place.line > 0;
    Location {
        file: Some(Arc::from(file)),
        line: known.then_some(place.line),
        column: known.then_some(place.column),
        ..Location::default()
    }
}

#[cfg(test)]
mod tests;
