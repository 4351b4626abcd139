//! The kinds of portreeve.dev: one schema for file and custom resource.
//!
//! The kinds wrap spec types that their own crates decode: [`Exception`] and `ClusterException` from
//! `portreeve-reports`, `ImagePolicy` from `portreeve-trust`; `Platform` is [`platform`]'s own. [`documents`] reads a
//! file of them, [`document`] takes one tree, from a file or from the API server.

pub mod crd;
mod header;
pub mod platform;
mod schema;

use std::sync::Arc;

use portreeve_reports::code::KnownCodes;
use portreeve_reports::exceptions::{Exception, ExceptionSpec, Origin, Scope};
use portreeve_reports::source::decode::did_you_mean;
use portreeve_reports::source::{Fields, Limits, Node, Place, Problems, yaml};

pub use header::{Header, InvalidName, Metadata, NameForm, dns_name};
use platform::PlatformSpec;

/// The group of all kinds.
pub const GROUP: &str = "portreeve.dev";
/// Their version.
pub const VERSION: &str = "v1alpha1";
/// Group and version of all kinds.
pub const API_VERSION: &str = "portreeve.dev/v1alpha1";

/// The kinds that are read here.
pub const KINDS: [&str; 4] = ["Exception", "ClusterException", "ImagePolicy", "Platform"];

/// A decoded document.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// An `Exception` or a `ClusterException`.
    Exception(Exception),
    /// An `ImagePolicy`.
    ImagePolicy {
        /// `metadata.name`.
        name: String,
        /// The `spec`, for `portreeve-trust` to decode.
        node: Node,
    },
    /// A `Platform`.
    Platform {
        /// `metadata.name`.
        name: String,
        /// The `spec`.
        spec: Box<PlatformSpec>,
    },
}

/// All documents of a YAML or JSON file, each with its own problems; empty documents are skipped. `file` is the path
/// that problems and findings name; `codes` are those that an exception may name.
pub fn documents(file: &str, bytes: &[u8], limits: &Limits, codes: &KnownCodes) -> Vec<Result<Document, Problems>> {
    let origin: Arc<str> = file.into();
    yaml::read(bytes, limits)
        .into_iter()
        .filter(|read| !matches!(read, Ok(node) if node.is_null()))
        .map(|read| match read {
            Ok(node) => document(Some(&origin), &node, codes),
            Err(error) => refuse(file, error.place, error.message),
        })
        .collect()
}

/// One document, of a file or (`None`) of the cluster.
pub fn document(file: Option<&Arc<str>>, node: &Node, codes: &KnownCodes) -> Result<Document, Problems> {
    manifest((file, None), node, codes)
}

/// The same of a manifest that is to be applied: where it names no namespace, who applies it does.
pub fn manifest(
    (file, namespace): (Option<&Arc<str>>, Option<&str>),
    node: &Node,
    codes: &KnownCodes,
) -> Result<Document, Problems> {
    let mut problems = Problems::new(file.map_or("cluster", |file| &**file));
    let decoded = decode((file, namespace), node, codes, &mut problems);
    match (problems.into_result(()), decoded) {
        (Err(problems), _) => Err(problems),
        (Ok(()), Some(document)) => Ok(document),
        // Whatever keeps a document from being decoded is a problem; a decoder that forgets one must not let it pass.
        (Ok(()), None) => refuse(file.map_or("cluster", |file| &**file), node.place, "the document cannot be decoded"),
    }
}

fn refuse<T>(file: &str, place: Place, message: impl Into<String>) -> Result<T, Problems> {
    let mut problems = Problems::new(file);
    problems.push(place, message);
    Err(problems)
}

fn decode(
    (file, namespace): (Option<&Arc<str>>, Option<&str>),
    node: &Node,
    codes: &KnownCodes,
    problems: &mut Problems,
) -> Option<Document> {
    Fields::of(node, "", problems)?.finish_with(|fields| {
        let header = Header::decode(fields);
        let spec = fields.required("spec");
        // What the API server and controllers add; it says nothing about what is asked for.
        fields.optional("status");
        let header = header.filter(|header| is_ours(header, fields))?;
        let spec = spec?;
        match header.kind {
            "ImagePolicy" => image_policy(&header, spec, fields),
            "Platform" => platform_document(&header, spec, fields),
            _ => exception((file, namespace, codes), header, spec, fields),
        }
    })
}

/// Whether version and kind are known; a problem for each that is not.
fn is_ours(header: &Header<'_>, fields: &mut Fields<'_, '_>) -> bool {
    let version = header.api_version == API_VERSION;
    if !version {
        let message = format!("apiVersion '{}' is not {API_VERSION}", header.api_version);
        fields.problem(header.api_version_place, message);
    }
    let kind = KINDS.contains(&header.kind);
    if !kind {
        let hint =
            did_you_mean(header.kind, &KINDS).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        let message = format!("kind '{}' is not one of {}{hint}", header.kind, KINDS.join(", "));
        fields.problem(header.kind_place, message);
    }
    version && kind
}

fn image_policy(header: &Header<'_>, spec: &Node, fields: &mut Fields<'_, '_>) -> Option<Document> {
    let name = cluster_scoped(header, fields)?;
    Some(Document::ImagePolicy { name, node: spec.clone() })
}

fn platform_document(header: &Header<'_>, spec: &Node, fields: &mut Fields<'_, '_>) -> Option<Document> {
    let name = cluster_scoped(header, fields);
    // It is the value of a label and a part of the names of inventories.
    if let Some(Err(error)) = name.as_deref().map(platform::label) {
        fields.problem(header.metadata.place, format!("'metadata.name': {error}"));
    }
    let spec = PlatformSpec::decode(spec, fields.problems());
    Some(Document::Platform { name: name?, spec: Box::new(spec?) })
}

fn exception(
    (file, namespace, codes): (Option<&Arc<str>>, Option<&str>, &KnownCodes),
    header: Header<'_>,
    spec: &Node,
    fields: &mut Fields<'_, '_>,
) -> Option<Document> {
    let place = header.place;
    let scoped = match header.kind {
        "Exception" => namespaced(&header, namespace, fields),
        _ => cluster_scoped(&header, fields).map(|name| (Scope::Cluster, name)),
    };
    let spec = ExceptionSpec::decode(spec, codes, fields.problems());
    let (scope, name) = scoped?;
    let origin = Origin { file: file.cloned(), place };
    Some(Document::Exception(Exception { name, scope, spec: spec?, origin }))
}

fn namespaced(header: &Header<'_>, given: Option<&str>, fields: &mut Fields<'_, '_>) -> Option<(Scope, String)> {
    let Some(namespace) = header.metadata.namespace.clone().or_else(|| given.map(str::to_owned)) else {
        let message = "'metadata.namespace' is missing: an Exception is for one namespace";
        fields.problem(header.metadata.place, message);
        return None;
    };
    Some((Scope::Namespace(namespace), header.metadata.name.clone()))
}

fn cluster_scoped(header: &Header<'_>, fields: &mut Fields<'_, '_>) -> Option<String> {
    if header.metadata.namespace.is_some() {
        let message = format!("'metadata.namespace' is not allowed: {} has no namespace", header.kind);
        fields.problem(header.metadata.place, message);
        return None;
    }
    Some(header.metadata.name.clone())
}

#[cfg(test)]
mod tests;
