//! `related`: what else is known about the pod that is asked, read only when an expression asks for it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{CelString, Type};
use cel::common::value::{CowVal, Val};
use portreeve_reports::source::Node;
use portreeve_reports::{Cause, ObjectRef, Subject};

use super::value::Bound;
use crate::object::Object;
use crate::world::{Known, World, selector_matches};

/// What can be asked for.
const FIELDS: [(&str, Field); 3] = [
    ("serviceAccount", Field::ServiceAccount),
    ("networkPolicies", Field::NetworkPolicies),
    ("namespaceLabels", Field::NamespaceLabels),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ServiceAccount = 0,
    NetworkPolicies = 1,
    NamespaceLabels = 2,
}

/// The relations of one object. Each is read at most once.
#[derive(Debug)]
pub(crate) struct Relations<'a> {
    world: &'a World,
    object: &'a Object,
    account: &'a str,
    labels: Option<&'a Node>,
    read: [OnceLock<Known<Relation>>; 3],
    touched: AtomicU8,
}

/// A relation's value, and the objects it was read from.
#[derive(Debug)]
struct Relation {
    value: Bound<'static>,
    subjects: Vec<ObjectRef>,
}

impl<'a> Relations<'a> {
    /// The relations of an object whose pod template has this spec and metadata.
    pub(crate) fn new(
        world: &'a World,
        object: &'a Object,
        spec: Option<&'a Node>,
        metadata: Option<&'a Node>,
    ) -> Self {
        // Empty text counts as absent, as it does to the API server.
        let named = |key| spec?.get(key)?.as_str().filter(|name| !name.is_empty());
        Self {
            world,
            object,
            account: named("serviceAccountName").or_else(|| named("serviceAccount")).unwrap_or("default"),
            labels: metadata.and_then(|metadata| metadata.get("labels")),
            read: [const { OnceLock::new() }; 3],
            touched: AtomicU8::new(0),
        }
    }

    /// Forgets which relations were read, before the next check.
    pub(crate) fn forget(&self) {
        self.touched.store(0, Ordering::Relaxed);
    }

    /// Why a relation that was read since [`Relations::forget`] is not known.
    pub(crate) fn hidden(&self) -> Option<Cause> {
        self.touched_values().find_map(|relation| match relation {
            Known::Hidden(cause) => Some(*cause),
            _ => None,
        })
    }

    /// The objects that were read since [`Relations::forget`].
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let found = self.touched_values().filter_map(|relation| match relation {
            Known::Found(relation) => Some(&relation.subjects),
            _ => None,
        });
        found.flatten().cloned().map(Subject::Object).collect()
    }

    fn touched_values(&self) -> impl Iterator<Item = &Known<Relation>> {
        let touched = self.touched.load(Ordering::Relaxed);
        self.read
            .iter()
            .enumerate()
            .filter(move |(index, _)| touched & (1 << index) != 0)
            .filter_map(|(_, cell)| cell.get())
    }

    fn get(&self, field: Field) -> &Known<Relation> {
        self.touched.fetch_or(1 << field as u8, Ordering::Relaxed);
        self.read[field as usize].get_or_init(|| match field {
            Field::ServiceAccount => self.service_account(),
            Field::NetworkPolicies => self.network_policies(),
            Field::NamespaceLabels => self.namespace_labels(),
        })
    }

    fn service_account(&self) -> Known<Relation> {
        map_known(self.world.service_account(&self.object.namespace, self.account), |account| Relation {
            value: Bound::owned(&account),
            subjects: vec![self.neighbour("v1", "ServiceAccount", self.account)],
        })
    }

    /// The policies of the namespace that select the pod.
    fn network_policies(&self) -> Known<Relation> {
        map_known(self.world.network_policies(&self.object.namespace), |policies| {
            let everything = Node::null();
            let selects = |policy: &&Node| {
                let selector = policy.at(["spec", "podSelector"]).unwrap_or(&everything);
                selector_matches(selector, self.labels)
            };
            let selected: Vec<&Node> = policies.iter().filter(selects).collect();
            let name =
                |policy: &Node| policy.at(["metadata", "name"]).and_then(Node::as_str).unwrap_or_default().to_owned();
            Relation {
                value: Bound::list(selected.iter().map(|policy| Bound::owned(policy)).collect()),
                subjects: selected
                    .iter()
                    .map(|policy| self.neighbour("networking.k8s.io/v1", "NetworkPolicy", &name(policy)))
                    .collect(),
            }
        })
    }

    fn namespace_labels(&self) -> Known<Relation> {
        map_known(self.world.namespace_labels(&self.object.namespace), |labels| Relation {
            value: Bound::owned(&labels),
            subjects: Vec::new(),
        })
    }

    fn neighbour(&self, api_version: &str, kind: &str, name: &str) -> ObjectRef {
        ObjectRef {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: self.object.namespace.to_string(),
            name: name.to_owned(),
            container: None,
            owner: None,
        }
    }
}

fn map_known<T, U>(known: Known<T>, found: impl FnOnce(T) -> U) -> Known<U> {
    match known {
        Known::Found(value) => Known::Found(found(value)),
        Known::Absent => Known::Absent,
        Known::Hidden(cause) => Known::Hidden(cause),
    }
}

/// `related` as a CEL value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelatedVal<'a>(pub(crate) &'a Relations<'a>);

static RELATED: Type = Type::new_unspecified_type("portreeve.Related");
static NULL: Bound<'static> = Bound::Null(cel::common::types::CelNull);

impl<'a> Val for RelatedVal<'a> {
    fn get_type(&self) -> &Type {
        &RELATED
    }

    fn cel_type() -> &'static Type {
        &RELATED
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl<'a> Indexer for RelatedVal<'a> {
    /// A relation that is hidden fails every use; one that is absent is `null`.
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = name.downcast_ref::<CelString>().map_or("", CelString::inner);
        let field = FIELDS.iter().find(|(known, _)| *known == name);
        let (_, field) = field.ok_or_else(|| ExecutionError::no_such_key(name))?;
        match self.0.get(*field) {
            Known::Found(relation) => Ok(CowVal::Borrowed(relation.value.val())),
            Known::Absent => Ok(CowVal::Borrowed(NULL.val())),
            Known::Hidden(cause) => Err(ExecutionError::function_error("related", cause)),
        }
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(name).map(CowVal::into_owned)
    }
}
