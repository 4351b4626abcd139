//! Object trees as CEL values.
//!
//! An object is bound once: strings are borrowed from its [`Node`]s, lists and maps are shared by `Arc`, so that
//! binding a variable, entering a loop or putting a value into a list copies a pointer.

use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{self, Container, Indexer, Iterable, Sizer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, Kind, LIST_TYPE, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use portreeve_reports::source::{Node, Value};

/// A node bound as a CEL value.
#[derive(Clone, Debug)]
pub(crate) enum Bound<'n> {
    Null(CelNull),
    Bool(CelBool),
    Int(CelInt),
    Double(CelDouble),
    String(CelString<'n>),
    List(ListVal<'n>),
    Map(MapVal<'n>),
}

impl<'n> Bound<'n> {
    /// `null`.
    pub(crate) fn null() -> Self {
        Self::Null(CelNull)
    }

    /// A borrowed string.
    pub(crate) fn text(text: &'n str) -> Self {
        Self::String(CelString::from(text))
    }

    /// Binds a tree; its strings are borrowed. Depth is capped by the readers.
    pub(crate) fn of(node: &'n Node) -> Self {
        Self::with(node, &|text| CelString::from(text))
    }

    fn with(node: &'n Node, string: &impl Fn(&'n str) -> CelString<'n>) -> Self {
        match &node.value {
            Value::Null => Self::null(),
            Value::Bool(truth) => Self::Bool((*truth).into()),
            Value::Int(number) => Self::Int((*number).into()),
            Value::Float(number) => Self::Double((*number).into()),
            Value::String(text) => Self::String(string(text)),
            Value::List(items) => Self::list(items.iter().map(|item| Self::with(item, string)).collect()),
            Value::Map(map) => {
                Self::map(map.iter().map(|entry| (string(&entry.key), Self::with(&entry.node, string))).collect())
            }
        }
    }

    /// A list.
    pub(crate) fn list(items: Arc<[Self]>) -> Self {
        Self::List(ListVal(items))
    }

    /// A map; keys are unique.
    pub(crate) fn map(entries: Vec<(CelString<'n>, Self)>) -> Self {
        Self::Map(MapVal::new(entries))
    }

    /// The value as the interpreter sees it.
    pub(crate) fn val(&self) -> &(dyn Val + 'n) {
        match self {
            Self::Null(value) => value,
            Self::Bool(value) => value,
            Self::Int(value) => value,
            Self::Double(value) => value,
            Self::String(value) => value,
            Self::List(value) => value,
            Self::Map(value) => value,
        }
    }

    /// The value of a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.find(key),
            _ => None,
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(&list.0),
            _ => None,
        }
    }

    /// The entries of a map.
    pub(crate) fn entries(&self) -> Option<&[(CelString<'n>, Self)]> {
        match self {
            Self::Map(map) => Some(&map.0.entries),
            _ => None,
        }
    }

    /// Whether the value is `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null(_))
    }

    /// Whether the value is `null`, an empty string or an empty list.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Null(_) => true,
            Self::String(text) => text.is_empty(),
            Self::List(list) => list.0.is_empty(),
            _ => false,
        }
    }
}

impl Bound<'static> {
    /// Binds a tree with strings of its own.
    pub(crate) fn owned(node: &Node) -> Self {
        match &node.value {
            Value::String(text) => Self::String(CelString::from(text.to_string())),
            Value::List(items) => Self::list(items.iter().map(Self::owned).collect()),
            Value::Map(map) => Self::map(
                map.iter().map(|entry| (CelString::from(entry.key.to_string()), Self::owned(&entry.node))).collect(),
            ),
            Value::Null => Self::null(),
            Value::Bool(truth) => Self::Bool((*truth).into()),
            Value::Int(number) => Self::Int((*number).into()),
            Value::Float(number) => Self::Double((*number).into()),
        }
    }
}

/// Equality that sees through every kind of list and map: the interpreter's own lists equal only their own kind.
pub(crate) fn deep_equal(left: &dyn Val, right: &dyn Val) -> bool {
    match (left.get_type().kind(), right.get_type().kind()) {
        (Kind::List, Kind::List) => equal_lists(left, right),
        (Kind::Map, Kind::Map) => equal_maps(left, right),
        (Kind::List | Kind::Map, _) => false,
        _ => left.equals(right),
    }
}

fn equal_lists(left: &dyn Val, right: &dyn Val) -> bool {
    let (Some(left), Some(right)) = (left.as_iterable(), right.as_iterable()) else { return false };
    let (mut left, mut right) = (left.iter(), right.iter());
    loop {
        match (left.next(), right.next()) {
            (Some(left), Some(right)) if deep_equal(left, right) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

fn equal_maps(left: &dyn Val, right: &dyn Val) -> bool {
    let size = |map: &dyn Val| map.as_sizer().map(|sizer| sizer.size().into_inner());
    let (Some(keys), Some(values), Some(others)) = (left.as_iterable(), left.as_indexer(), right.as_indexer()) else {
        return false;
    };
    if size(left) != size(right) {
        return false;
    }
    let mut keys = keys.iter();
    while let Some(key) = keys.next() {
        match (values.get(key), others.get(key)) {
            (Ok(left), Ok(right)) if deep_equal(left.as_ref(), right.as_ref()) => {}
            _ => return false,
        }
    }
    true
}

/// What lists and maps are to the interpreter: the same, but for their type.
macro_rules! collection {
    ($name:ident, $type:ident) => {
        impl<'n> Val for $name<'n> {
            fn get_type(&self) -> &Type {
                &$type
            }

            fn cel_type() -> &'static Type {
                &$type
            }

            fn as_container(&self) -> Option<&dyn Container> {
                Some(self)
            }

            fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
            where
                Self: 'v,
            {
                Some(self)
            }

            fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
            where
                Self: 'v,
            {
                Some(self)
            }

            fn as_sizer(&self) -> Option<&dyn Sizer> {
                Some(self)
            }

            fn equals(&self, other: &dyn Val) -> bool {
                deep_equal(self, other)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
            where
                Self: 'v,
            {
                Box::new(self.clone())
            }
        }
    };
}

collection!(ListVal, LIST_TYPE);
collection!(MapVal, MAP_TYPE);

/// A list that is cloned by its pointer.
#[derive(Clone, Debug)]
pub(crate) struct ListVal<'n>(Arc<[Bound<'n>]>);

impl Container for ListVal<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.0.iter().any(|item| deep_equal(item.val(), value)))
    }
}

impl<'n> Indexer for ListVal<'n> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(index) = index.downcast_ref::<CelInt>() else {
            return Err(ExecutionError::UnexpectedType {
                got: index.get_type().name().to_owned(),
                want: "int".to_owned(),
            });
        };
        usize::try_from(*index.inner())
            .ok()
            .and_then(|index| self.0.get(index))
            .map(|item| CowVal::Borrowed(item.val()))
            .ok_or_else(|| ExecutionError::IndexOutOfBounds((*index.inner()).into()))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl<'n> Iterable for ListVal<'n> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Items(self.0.iter()))
    }
}

impl Sizer for ListVal<'_> {
    fn size(&self) -> CelInt {
        count(self.0.len())
    }
}

struct Items<'b, 'n>(std::slice::Iter<'b, Bound<'n>>);

impl<'b, 'n: 'v, 'v> traits::Iterator<'b, 'v> for Items<'b, 'n> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|item| item.val() as &'b (dyn Val + 'v))
    }
}

fn count(length: usize) -> CelInt {
    i64::try_from(length).unwrap_or(i64::MAX).into()
}

/// Maps with more entries are looked up by a sorted index.
const SCANNED: usize = 16;

/// A map that is cloned by its pointer.
#[derive(Clone, Debug)]
pub(crate) struct MapVal<'n>(Arc<MapInner<'n>>);

#[derive(Debug)]
struct MapInner<'n> {
    entries: Vec<(CelString<'n>, Bound<'n>)>,
    sorted: Vec<u32>,
}

impl<'n> MapVal<'n> {
    fn new(entries: Vec<(CelString<'n>, Bound<'n>)>) -> Self {
        let mut sorted = Vec::new();
        if entries.len() > SCANNED {
            sorted = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
            sorted.sort_by(|left, right| entries[*left as usize].0.inner().cmp(entries[*right as usize].0.inner()));
        }
        Self(Arc::new(MapInner { entries, sorted }))
    }

    fn find(&self, key: &str) -> Option<&Bound<'n>> {
        let entries = &self.0.entries;
        if self.0.sorted.is_empty() {
            return entries.iter().find(|(name, _)| name.inner() == key).map(|(_, value)| value);
        }
        let found = self.0.sorted.binary_search_by(|index| entries[*index as usize].0.inner().cmp(key)).ok()?;
        Some(&entries[self.0.sorted[found] as usize].1)
    }
}

impl Container for MapVal<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(key.downcast_ref::<CelString>().is_some_and(|key| self.find(key.inner()).is_some()))
    }
}

impl<'n> Indexer for MapVal<'n> {
    /// A field that is `null` is a field that is absent, as the API server reads it.
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(key) = key.downcast_ref::<CelString>() else {
            return Err(ExecutionError::UnexpectedType {
                got: key.get_type().name().to_owned(),
                want: "string".to_owned(),
            });
        };
        self.find(key.inner())
            .filter(|value| !value.is_null())
            .map(|value| CowVal::Borrowed(value.val()))
            .ok_or_else(|| ExecutionError::no_such_key(key.inner()))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl<'n> Iterable for MapVal<'n> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Keys(self.0.entries.iter()))
    }
}

impl Sizer for MapVal<'_> {
    fn size(&self) -> CelInt {
        count(self.0.entries.len())
    }
}

struct Keys<'b, 'n>(std::slice::Iter<'b, (CelString<'n>, Bound<'n>)>);

impl<'b, 'n: 'v, 'v> traits::Iterator<'b, 'v> for Keys<'b, 'n> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|(key, _)| key as &'b (dyn Val + 'v))
    }
}
