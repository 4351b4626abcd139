//! Files, Lists and AdmissionReviews to objects.

use std::sync::Arc;

use portreeve_reports::source::node::{Entry, Map};
use portreeve_reports::source::{Limits, Node, Place, SourceError, Value, yaml};
use portreeve_reports::{Cause, Owner};

use super::scope::is_cluster_scoped;
use super::{Object, Origin, Unreadable, builtin, group_of};

/// Lists in Lists are followed this far.
const LIST_DEPTH: usize = 4;

/// How objects are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Caps; `documents` counts the items of Lists too.
    pub limits: Limits,
    /// Namespace of namespaced objects that name none.
    pub default_namespace: String,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), default_namespace: "default".to_owned() }
    }
}

/// What an input held.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Objects, those of Lists included.
    pub objects: Vec<Object>,
    /// `admission.k8s.io` AdmissionReview documents, undecoded.
    pub reviews: Vec<Node>,
    /// Everything else: nothing of an input is left out in silence, but empty documents.
    pub unreadable: Vec<Unreadable>,
}

/// Reads a YAML or JSON input. `file` is the path that findings name.
pub fn read_objects(file: Option<&str>, bytes: &[u8], options: &ReadOptions) -> Read {
    let mut reader = Reader { file: file.map(Into::into), options, read: Read::default(), index: 0, is_full: false };
    for document in yaml::read(bytes, &options.limits) {
        match document {
            Ok(node) => reader.document(node, 0),
            Err(error) => reader.failed(error),
        }
        reader.index += 1;
    }
    reader.read
}

struct Reader<'options> {
    file: Option<Arc<str>>,
    options: &'options ReadOptions,
    read: Read,
    /// Position of the document or item at hand.
    index: usize,
    is_full: bool,
}

impl Reader<'_> {
    fn failed(&mut self, error: SourceError) {
        self.read.unreadable.push(Unreadable {
            file: self.file.clone(),
            place: error.place,
            cause: error.cause,
            message: error.message,
            index: self.index,
            identity: None,
            object_path: String::new(),
        });
    }

    fn document(&mut self, node: Node, depth: usize) {
        if self.index >= self.options.limits.documents {
            if !std::mem::replace(&mut self.is_full, true) {
                let message = format!("more than {} objects; the rest is not read", self.options.limits.documents);
                self.failed(SourceError::too_large(node.place, message));
            }
            return;
        }
        if is_review(&node) {
            self.read.reviews.push(node);
            return;
        }
        match list_items(&node) {
            None => self.object(node),
            Some(_) if depth == LIST_DEPTH => {
                let message = format!("Lists in Lists deeper than {LIST_DEPTH}; write the items as documents");
                self.failed(SourceError::too_large(node.place, message));
            }
            Some(Ok(items)) => {
                for item in items {
                    self.document(item, depth + 1);
                    self.index += 1;
                }
            }
            Some(Err(error)) => self.failed(error),
        }
    }

    fn object(&mut self, node: Node) {
        let origin = Origin { file: self.file.clone(), place: node.place };
        match Object::from_node(node, origin, &self.options.default_namespace) {
            Ok(object) => self.read.objects.push(object),
            Err(unreadable) => self.read.unreadable.push(Unreadable { index: self.index, ..unreadable }),
        }
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key)?.as_str()
}

fn is_review(node: &Node) -> bool {
    text(node, "kind") == Some("AdmissionReview")
        && text(node, "apiVersion").is_some_and(|version| group_of(version) == "admission.k8s.io")
}

/// The items of a List; `None` for all else.
fn list_items(node: &Node) -> Option<Result<Vec<Node>, SourceError>> {
    let kind = text(node, "kind")?.strip_suffix("List")?;
    let version = text(node, "apiVersion")?;
    let items = match node.get("items") {
        Some(items) if !items.is_null() => items,
        Some(_) => return Some(Ok(Vec::new())),
        None if kind.is_empty() => return Some(Ok(Vec::new())),
        None => return None,
    };
    let message = || format!("'items' must be a list, not {}", items.kind_name());
    let list = items.as_list().ok_or_else(|| SourceError::unreadable(items.place, message()));
    Some(list.map(|list| list.iter().map(|item| typed_item(item, version, kind)).collect()))
}

/// Items of an API server's typed Lists (`PodList`) do not repeat their type.
fn typed_item(item: &Node, version: &str, kind: &str) -> Node {
    let Some(map) = item.as_map().filter(|map| !kind.is_empty() && map.get("kind").is_none()) else {
        return item.clone();
    };
    let field = |key: &str, value: &str| Entry {
        key: key.into(),
        key_place: item.place,
        node: Node { value: Value::String(value.into()), place: item.place },
    };
    let mut entries = vec![field("kind", kind)];
    if map.get("apiVersion").is_none() {
        entries.push(field("apiVersion", version));
    }
    entries.extend(map.iter().cloned());
    Map::new(entries).map_or_else(|_| item.clone(), |map| Node { value: Value::Map(Arc::new(map)), place: item.place })
}

/// The identity of an object; the types of its other fields are not yet checked.
pub(super) fn identify(root: &Node, origin: &Origin, default_namespace: &str) -> Result<Object, Unreadable> {
    let problem = |path: &str, place: Place, message: String| Unreadable {
        file: origin.file.clone(),
        place,
        cause: Cause::Unreadable,
        message,
        index: 0,
        identity: None,
        object_path: path.to_owned(),
    };
    if root.as_map().is_none() {
        let message = format!("a Kubernetes object is a map, not {}", root.kind_name());
        return Err(problem("", root.place, message));
    }
    let required = |path: &'static str, is_valid: fn(&str) -> bool| match root.at(path.split('.')) {
        Some(node) if !node.is_null() => match node.as_str().filter(|text| is_valid(text)) {
            Some(text) => Ok(text),
            None => Err(problem(path, node.place, format!("'{path}' is not one that Kubernetes accepts; correct it"))),
        },
        _ => Err(problem(path, root.place, format!("'{path}' is missing; this is not a Kubernetes object"))),
    };
    let api_version = required("apiVersion", is_api_version)?;
    let kind = required("kind", is_kind)?;
    if let Some(advice) = builtin::advice(group_of(api_version), kind) {
        let message = format!("'{kind}' is no kind of {api_version}; {advice}");
        return Err(problem("kind", root.get("kind").map_or(root.place, |node| node.place), message));
    }
    let name = match root.at(["metadata", "name"]).filter(|node| !node.is_null() && node.as_str() != Some("")) {
        None if text_at(root, &["metadata", "generateName"]).is_some() => {
            Arc::from(format!("{}*", required("metadata.generateName", is_name)?))
        }
        _ => Arc::from(required("metadata.name", is_name)?),
    };
    let given = match root.at(["metadata", "namespace"]).filter(|node| !node.is_null() && node.as_str() != Some("")) {
        Some(_) => Some(required("metadata.namespace", is_name)?),
        None => None,
    };
    let is_cluster_scoped = is_cluster_scoped(group_of(api_version), kind);
    Ok(Object {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: if is_cluster_scoped { "" } else { given.unwrap_or(default_namespace) }.into(),
        name,
        uid: text_at(root, &["metadata", "uid"]).map(Into::into),
        controller: controller(root),
        root: root.clone(),
        origin: origin.clone(),
    })
}

fn text_at<'a>(root: &'a Node, keys: &[&str]) -> Option<&'a str> {
    root.at(keys.iter().copied())?.as_str().filter(|text| !text.is_empty())
}

fn controller(root: &Node) -> Option<Owner> {
    let references = root.at(["metadata", "ownerReferences"])?.as_list()?;
    let controls = |node: &&Node| node.get("controller").and_then(Node::as_bool) == Some(true);
    let reference = references.iter().find(controls)?;
    Some(Owner {
        group: group_of(text(reference, "apiVersion")?).to_owned(),
        kind: text(reference, "kind")?.to_owned(),
        name: text(reference, "name")?.to_owned(),
    })
}

/// What any name may be (apimachinery's path segment names, RBAC's included): no `/`, no `%`, nothing invisible.
fn is_name(text: &str) -> bool {
    let is_visible = |character: char| !character.is_control() && !character.is_whitespace();
    (1..=253).contains(&text.len())
        && text != "."
        && text != ".."
        && text.chars().all(|character| is_visible(character) && character != '/' && character != '%')
}

fn is_kind(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_api_version(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    text.len() <= 253 && text.split('/').count() <= 2 && text.split('/').all(is_part)
}
