//! Controls: authored questions about Kubernetes objects.
//!
//! A control is a YAML file and nothing else. `policies/controls/*.yaml` are embedded when the crate is built; a
//! user's own are read with [`read_control`]. A control asks one or several questions ([`Check`]), each over the
//! items of a list inside an object ([`Each`]), in CEL. [`crate::engine::Engine`] compiles and asks them.

mod docs;
mod params;
pub(crate) mod path;
mod read;

use std::sync::Arc;

use portreeve_reports::finding::Source;
use portreeve_reports::source::{Node, Place, Problems};
use portreeve_reports::{Code, Confidence, Severity};

pub use docs::control_docs;
pub use params::Params;
pub use path::{Base, FieldPath};
pub(crate) use read::document as read_document;
pub use read::read_control;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Files of the built-in frameworks.
pub(crate) const FRAMEWORK_FILES: &[(&str, &[u8])] = FRAMEWORKS;

/// One authored control.
#[derive(Clone, Debug)]
pub struct Control {
    /// Name of the file it was read from, for messages.
    pub file: Arc<str>,
    /// [`Source::Builtin`] or [`Source::Custom`].
    pub source: Source,
    /// `C-0057`.
    pub code: Code,
    /// A few words, lower case, naming what a failure is.
    pub title: Arc<str>,
    /// Severity of a failure.
    pub severity: Severity,
    /// Weight in a score, 1 to 10.
    pub score: u8,
    /// How sure a failure is.
    pub confidence: Confidence,
    /// Published frameworks that ask the question.
    pub frameworks: Vec<Arc<str>>,
    /// Why it matters.
    pub why: Arc<str>,
    /// How to fix a failure, in words.
    pub fix: Arc<str>,
    /// Where to read more.
    pub references: Vec<Arc<str>>,
    /// Parameters by name, with their defaults: strings, numbers, booleans or lists of strings.
    pub params: Vec<(Arc<str>, Node)>,
    /// The questions; at least one, with different ids.
    pub checks: Vec<Check>,
    /// Inputs with known answers.
    pub examples: Examples,
}

/// One question of a control.
#[derive(Clone, Debug)]
pub struct Check {
    /// Name within the control; empty when the control asks one question only.
    pub id: Arc<str>,
    /// Which objects are asked.
    pub target: Target,
    /// Which items of an object are asked.
    pub each: Each,
    /// An item for which this is false does not count.
    pub when: Option<Expression>,
    /// The question: true is a pass.
    pub pass: Expression,
    /// Fields of the item that tell it from its siblings, whatever its position.
    pub key: Vec<Arc<str>>,
    /// Where a failure points to, and what is shown as evidence.
    pub paths: Vec<FieldPath>,
    /// A sentence about a failing item; `{container}`, `{item}`, `{kind}` and `{name}` are filled in.
    pub message: Arc<str>,
    /// Values that fix a failure.
    pub patches: Vec<(FieldPath, Node)>,
    /// Fields to delete to fix a failure.
    pub delete: Vec<FieldPath>,
    /// Parameters without which nobody can answer: while one is empty the verdict is `unknown`, cause `manual`.
    pub requires: Vec<Arc<str>>,
}

/// CEL source and where it stands.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The source.
    pub text: Arc<str>,
    /// Where it starts.
    pub place: Place,
}

/// Which objects a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everything with a pod template, and Pods.
    Pod,
    /// Objects of these kinds.
    Kinds(Vec<KindName>),
}

/// `ConfigMap` (core group) or `NetworkPolicy.networking.k8s.io`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindName {
    /// The kind.
    pub kind: Arc<str>,
    /// API group, empty for the core group.
    pub group: Arc<str>,
}

/// Which items of an object a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Each {
    /// The pod or object itself.
    Whole,
    /// Every container of every list of containers.
    Containers,
    /// The items below each container (`containers.ports`).
    InContainers(Items),
    /// The items below the pod's spec, or below the object (`volumes`, `data.*`).
    Below(Items),
}

/// A list, or the entries of a map, at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// Map keys down to the list or map.
    pub path: Vec<Arc<str>>,
    /// Whether the value at the path is a map whose entries are asked, as `{name, value}`.
    pub entries: bool,
}

impl Each {
    /// Whether the items are values that people put secrets into; such values are never shown as evidence.
    pub fn holds_values(&self) -> bool {
        match self {
            Self::Whole | Self::Containers => false,
            Self::InContainers(items) | Self::Below(items) => {
                items.entries || items.path.last().is_some_and(|last| matches!(&**last, "env" | "args" | "command"))
            }
        }
    }
}

/// Inputs with known answers; each is a test.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// Inputs that every check of the control lets pass.
    pub pass: Vec<Example>,
    /// Inputs that the control fails.
    pub fail: Vec<Example>,
}

/// One input with a known answer.
#[derive(Clone, Debug)]
pub struct Example {
    /// Where it stands in the control's file.
    pub place: Place,
    /// What is judged.
    pub input: ExampleInput,
    /// Other objects of the world.
    pub with: Vec<Node>,
    /// Parameters in place of the defaults.
    pub params: Option<Node>,
}

/// What an example judges.
#[derive(Clone, Debug)]
pub enum ExampleInput {
    /// A pod template: `metadata` (optional) and `spec`; to be wrapped in any workload kind.
    Pod {
        /// Labels and annotations.
        metadata: Option<Node>,
        /// The pod spec.
        spec: Node,
    },
    /// A whole object.
    Object(Node),
}

/// The embedded controls, in the order of their codes.
pub fn builtin_controls() -> Result<Vec<Control>, Problems> {
    CONTROLS.iter().map(|(file, bytes)| read::read_as(Source::Builtin, file, bytes)).collect()
}
