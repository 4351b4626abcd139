//! One object as the checks see it: bound once, with its containers listed.

use std::sync::OnceLock;

use cel::common::types::CelString;
use portreeve_reports::ObjectRef;
use portreeve_reports::source::node::Entry;
use portreeve_reports::source::{Node, Value};

use super::related::Relations;
use super::value::Bound;
use crate::control::{Check, Each, Items, Target};
use crate::object::Object;
use crate::workload::{self, ContainerKind, PodTemplate};
use crate::world::World;

/// The pod template of an object with the API's defaults filled in; outlives the [`Frame`] that borrows it.
pub(crate) struct Defaulted<'a> {
    template: Option<PodTemplate<'a>>,
    spec: Option<Node>,
}

impl<'a> Defaulted<'a> {
    pub(crate) fn of(object: &'a Object) -> Self {
        let template = workload::pod_template(object);
        let spec = template.as_ref().map(workload::defaulted);
        Self { template, spec }
    }
}

/// An object, bound.
pub(crate) struct Frame<'a> {
    pub(crate) object: &'a Object,
    pub(crate) kind: Bound<'a>,
    pub(crate) reference: ObjectRef,
    pub(crate) owner: Option<String>,
    pub(crate) pod: Option<PodFrame<'a>>,
    pub(crate) relations: Relations<'a>,
    root: OnceLock<Bound<'a>>,
    oversized: OnceLock<bool>,
}

/// Most bytes of one object that an API server stores (etcd's default limit of a request).
const MOST_STORED: usize = 1_536 << 10;

/// The pod template of an object, bound.
pub(crate) struct PodFrame<'a> {
    /// `pod`: `metadata` and `spec`, with defaults.
    pub(crate) value: Bound<'a>,
    /// The metadata, as written.
    pub(crate) metadata: Option<&'a Node>,
    /// The spec with defaults; a default stands at the place of what it belongs to.
    pub(crate) spec: &'a Node,
    /// Object path of the spec.
    pub(crate) path: &'static str,
    pub(crate) containers: Vec<ContainerFrame<'a>>,
    /// A place where the spec has another type than the API's.
    pub(crate) mistyped: Option<String>,
}

/// A container, bound.
pub(crate) struct ContainerFrame<'a> {
    pub(crate) name: &'a str,
    /// `container`, `init`, `sidecar` or `ephemeral`.
    pub(crate) kind: Bound<'a>,
    pub(crate) value: Bound<'a>,
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

/// An item that a check asks about.
#[derive(Clone, Copy)]
pub(crate) struct Item<'f, 'a> {
    pub(crate) container: Option<&'f ContainerFrame<'a>>,
    pub(crate) value: &'f Bound<'a>,
    pub(crate) step: Step<'f>,
}

/// The last step of the path to an item.
#[derive(Clone, Copy)]
pub(crate) enum Step<'f> {
    /// The item is what `each` names.
    Whole,
    /// The item of a list.
    Index(usize),
    /// The entry of a map.
    Key(&'f str),
}

impl<'a> Frame<'a> {
    pub(crate) fn new(object: &'a Object, world: &'a World, defaulted: &'a Defaulted<'a>) -> Self {
        let pod = match (&defaulted.template, &defaulted.spec) {
            (Some(template), Some(spec)) => Some(PodFrame::new(template, spec)),
            _ => None,
        };
        let template = defaulted.template.as_ref();
        let metadata = template.and_then(|template| template.metadata);
        Self {
            object,
            kind: Bound::text(&object.kind),
            reference: object.reference(world.top_owner(object)),
            owner: owning_team(object),
            pod,
            relations: Relations::new(world, object, template.map(|template| template.spec), metadata),
            root: OnceLock::new(),
            oversized: OnceLock::new(),
        }
    }

    /// The whole object, bound when it is first asked for.
    pub(crate) fn root(&self) -> &Bound<'a> {
        self.root.get_or_init(|| Bound::of(&self.object.root))
    }

    /// Whether the object is larger than any that an API server stores.
    pub(crate) fn is_oversized(&self) -> bool {
        *self.oversized.get_or_init(|| left_of(MOST_STORED, &self.object.root).is_none())
    }

    /// Whether a check asks about objects of this kind.
    pub(crate) fn is_target(&self, check: &Check) -> bool {
        match &check.target {
            Target::Pod => self.pod.is_some(),
            Target::Kinds(kinds) => {
                kinds.iter().any(|name| *name.kind == *self.object.kind && *name.group == *self.object.group())
            }
        }
    }

    /// Calls `visit` with each item of a check; an error names the path that has another type than the API's.
    pub(crate) fn items<'f>(&'f self, check: &Check, visit: &mut dyn FnMut(Item<'f, 'a>)) -> Result<(), String> {
        let whole = |container, value| Item { container, value, step: Step::Whole };
        match (&check.each, &self.pod) {
            (Each::Whole, Some(pod)) => visit(whole(None, &pod.value)),
            (Each::Whole, None) => visit(whole(None, self.root())),
            (Each::Containers | Each::InContainers(_), None) => {}
            (Each::Containers, Some(pod)) => pod.containers.iter().for_each(|container| {
                visit(whole(Some(container), &container.value));
            }),
            (Each::InContainers(items), Some(pod)) => {
                for container in &pod.containers {
                    below(&container.value, items, Some(container), visit)?;
                }
            }
            (Each::Below(items), Some(pod)) => {
                if let Some(spec) = pod.value.get("spec") {
                    below(spec, items, None, visit)?;
                }
            }
            (Each::Below(items), None) => below(self.root(), items, None, visit)?,
        }
        Ok(())
    }
}

fn below<'f, 'a>(
    start: &'f Bound<'a>,
    items: &Items,
    container: Option<&'f ContainerFrame<'a>>,
    visit: &mut dyn FnMut(Item<'f, 'a>),
) -> Result<(), String> {
    let mut value = start;
    for key in &items.path {
        if value.entries().is_none() {
            return Err(items.path.join("."));
        }
        let Some(next) = value.get(key).filter(|next| !next.is_null()) else { return Ok(()) };
        value = next;
    }
    match (items.entries, value.items(), value.entries()) {
        (false, Some(list), _) => {
            for (index, value) in list.iter().enumerate() {
                visit(Item { container, value, step: Step::Index(index) });
            }
        }
        (true, _, Some(entries)) => {
            for (key, value) in entries {
                visit(Item { container, value, step: Step::Key(key.inner()) });
            }
        }
        _ => return Err(items.path.join(".")),
    }
    Ok(())
}

/// Metadata, bound.
fn metadata(node: &Node) -> Bound<'_> {
    let Some(fields) = node.as_map() else { return Bound::of(node) };
    Bound::map(fields.iter().map(|field| (CelString::from(&*field.key), metadata_field(field))).collect())
}

/// The API server reads the `null` of a label or annotation as an empty text.
fn metadata_field(field: &Entry) -> Bound<'_> {
    match (&*field.key, field.node.as_map()) {
        ("labels" | "annotations", Some(texts)) => {
            Bound::map(texts.iter().map(|entry| (CelString::from(&*entry.key), text(&entry.node))).collect())
        }
        _ => Bound::of(&field.node),
    }
}

fn text(node: &Node) -> Bound<'_> {
    if matches!(node.value, Value::Null) { Bound::text("") } else { Bound::of(node) }
}

impl<'a> PodFrame<'a> {
    fn new(template: &PodTemplate<'a>, defaulted: &'a Node) -> Self {
        let spec = Bound::of(defaulted);
        let containers = workload::containers(defaulted, template.path)
            .into_iter()
            .filter_map(|container| {
                let value = spec.get(container.kind.list())?.items()?.get(container.index)?.clone();
                let kind = Bound::text(kind_word(container.kind, container.node));
                Some(ContainerFrame { name: container.name, kind, value, node: container.node, path: container.path })
            })
            .collect();
        let metadata = template.metadata.map_or_else(|| Bound::map(Vec::new()), metadata);
        Self {
            metadata: template.metadata,
            mistyped: mistyped(template.spec),
            value: Bound::map(vec![("metadata".into(), metadata), ("spec".into(), spec)]),
            spec: defaulted,
            path: template.path,
            containers,
        }
    }
}

/// A list of containers that is no list of maps would hide what runs.
fn mistyped(spec: &Node) -> Option<String> {
    if spec.as_map().is_none() {
        return Some("spec".to_owned());
    }
    let is_wrong = |list: &Node| match list.as_list() {
        Some(items) => items.iter().any(|item| item.as_map().is_none()),
        None => !list.is_null(),
    };
    let mut lists = ContainerKind::ALL.iter().map(|kind| kind.list());
    lists.find(|key| spec.get(key).is_some_and(is_wrong)).map(str::to_owned)
}

/// An init container that is restarted is a sidecar (Kubernetes: restartable init containers).
fn kind_word(kind: ContainerKind, node: &Node) -> &'static str {
    let restarted = node.get("restartPolicy").and_then(Node::as_str) == Some("Always");
    match kind {
        ContainerKind::Container => "container",
        ContainerKind::Init if restarted => "sidecar",
        ContainerKind::Init => "init",
        ContainerKind::Ephemeral => "ephemeral",
    }
}

/// The team by the object's labels.
fn owning_team(object: &Object) -> Option<String> {
    let labels = object.root.at(["metadata", "labels"])?;
    let label = labels.get("portreeve.dev/owner").or_else(|| labels.get("app.kubernetes.io/part-of"))?;
    label.as_str().filter(|team| !team.is_empty()).map(str::to_owned)
}

/// What is left of so many bytes once a tree is written as JSON; `None` when it is longer. What is shared counts at
/// each use, and the walk ends with the bytes.
fn left_of(bytes: usize, node: &Node) -> Option<usize> {
    match &node.value {
        Value::String(text) => bytes.checked_sub(text.len() + 3),
        Value::List(items) => items.iter().try_fold(bytes.checked_sub(2)?, left_of),
        Value::Map(map) => map.iter().try_fold(bytes.checked_sub(2)?, |left, entry| {
            left_of(left.checked_sub(entry.key.len() + 4)?, &entry.node)
        }),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => bytes.checked_sub(5),
    }
}
