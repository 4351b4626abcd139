//! Every image that an object names, and the images that its pods run.

use portreeve_reports::source::{Node, Place};
use portreeve_reports::{Location, ObjectRef};

use super::custom::{at_pattern, custom_kind};
use super::{ContainerKind, containers, pod_template};
use crate::image::{Digest, ImageReference, InvalidReference};
use crate::object::Object;

/// One use of an image by an object.
#[derive(Clone, Debug)]
pub struct ImageUse {
    /// The reference as written; empty where a container names no image.
    pub text: String,
    /// The reference, normalized.
    pub reference: Result<ImageReference, InvalidReference>,
    /// Namespace of the object.
    pub namespace: String,
    /// The object, with the container that uses the image (none for image volumes); `None` for an image that a
    /// person named.
    pub object: Option<ObjectRef>,
    /// Where the reference stands.
    pub location: Location,
}

impl ImageUse {
    /// An image that a person named: no object uses it, and it is in no namespace.
    pub fn named(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            reference: ImageReference::parse(text),
            namespace: String::new(),
            object: None,
            location: Location::default(),
        }
    }
}

/// The images of all containers (init and ephemeral ones included) and image volumes of an object.
pub fn image_uses(object: &Object, subject: &ObjectRef) -> Vec<ImageUse> {
    let mut found = Found { object, subject, uses: Vec::new() };
    if let Some(template) = pod_template(object) {
        found.pod_spec(template.spec, template.path);
    }
    if let Some(custom) = custom_kind(object.group(), &object.kind) {
        for (path, spec) in custom.pod_specs.iter().flat_map(|pattern| at_pattern(&object.root, pattern)) {
            found.pod_spec(spec, &path);
        }
        for (path, container) in custom.containers.iter().flat_map(|pattern| at_pattern(&object.root, pattern)) {
            found.container(container, &path);
        }
    }
    found.uses
}

struct Found<'a> {
    object: &'a Object,
    subject: &'a ObjectRef,
    uses: Vec<ImageUse>,
}

impl Found<'_> {
    fn pod_spec(&mut self, spec: &Node, path: &str) {
        for container in containers(spec, path) {
            self.container(container.node, &container.path);
        }
        let volumes = spec.get("volumes").and_then(Node::as_list).unwrap_or_default();
        for (index, volume) in volumes.iter().enumerate() {
            let Some(image) = volume.get("image").filter(|image| !image.is_null()) else { continue };
            self.image(image.get("reference"), image.place, format!("{path}.volumes[{index}].image.reference"), None);
        }
    }

    fn container(&mut self, container: &Node, path: &str) {
        if container.as_map().is_none() {
            return;
        }
        let name = container.get("name").and_then(Node::as_str).filter(|name| !name.is_empty());
        self.image(container.get("image"), container.place, format!("{path}.image"), name);
    }

    /// `holder` is the place to name when there is no reference.
    fn image(&mut self, node: Option<&Node>, holder: Place, path: String, container: Option<&str>) {
        let text = node.and_then(Node::as_str).unwrap_or_default();
        self.uses.push(ImageUse {
            text: text.to_owned(),
            reference: ImageReference::parse(text),
            namespace: self.object.namespace.to_string(),
            object: Some(ObjectRef { container: container.map(Into::into), ..self.subject.clone() }),
            location: self.object.location(path, node.map_or(holder, |node| node.place)),
        });
    }
}

/// An image as a kubelet says it runs.
#[derive(Clone, Debug)]
pub struct RunningImage {
    /// Name of the container.
    pub container: String,
    /// The reference of the pod spec, as written.
    pub text: String,
    /// The reference of the pod spec, pinned to the digest that runs where that is known.
    pub reference: Result<ImageReference, InvalidReference>,
    /// The manifest digest that runs. `None` when the kubelet names the image by its configuration (`sha256:…` alone,
    /// an image that was loaded and never pulled): that is no digest a registry knows.
    pub digest: Option<Digest>,
    /// Path of the `imageID`.
    pub object_path: String,
}

/// What the status of a Pod says its containers run; containers that have not started are left out.
pub fn running_images(pod: &Object) -> Vec<RunningImage> {
    let Some(template) = pod_template(pod).filter(|_| &*pod.kind == "Pod") else { return Vec::new() };
    let declared = containers(template.spec, template.path);
    let mut running = Vec::new();
    for kind in ContainerKind::ALL {
        let list = kind.status_list();
        let statuses = pod.root.at(["status", list]).and_then(Node::as_list).unwrap_or_default();
        for (index, status) in statuses.iter().enumerate() {
            let text_of = |key| status.get(key).and_then(Node::as_str).filter(|text| !text.is_empty());
            let (Some(id), Some(name)) = (text_of("imageID"), text_of("name")) else { continue };
            let container = declared.iter().find(|container| container.kind == kind && container.name == name);
            let image = container.and_then(|container| container.node.get("image")?.as_str()).unwrap_or_default();
            let digest = digest_of(id);
            let pin = |reference: ImageReference| match &digest {
                Some(digest) => reference.pinned(digest.clone()),
                None => reference,
            };
            running.push(RunningImage {
                container: name.to_owned(),
                text: image.to_owned(),
                reference: ImageReference::parse(image).map(pin),
                object_path: format!("status.{list}[{index}].imageID"),
                digest,
            });
        }
    }
    running
}

/// The digest of `docker-pullable://repository@sha256:…` and `repository@sha256:…`.
fn digest_of(id: &str) -> Option<Digest> {
    Digest::parse(id.rsplit_once('@')?.1).ok()
}
