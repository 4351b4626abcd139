//! Parser events to a tree, with an explicit stack.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, ScalarStyle, Tag};

use super::scalar;
use crate::source::node::{Entry, Map, Node, Place, Value};
use crate::source::{Limits, SourceError, shown};

/// A finished subtree, and what it costs to use it once more.
#[derive(Clone)]
struct Subtree {
    node: Node,
    nodes: usize,
    height: usize,
}

struct Scalar<'event> {
    text: &'event str,
    style: ScalarStyle,
    anchor: usize,
    tag: Option<&'event Tag>,
}

enum Key {
    Text(Arc<str>, Place),
    /// `<<`.
    Merge(Place),
}

/// The value of `<<`, and how many entries were written before it.
struct Merge {
    key_place: Place,
    position: usize,
    source: Node,
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    key: Option<Key>,
    merge: Option<Merge>,
}

enum Content {
    List(Vec<Node>),
    Map(OpenMap),
}

struct Frame {
    content: Content,
    place: Place,
    anchor: usize,
    nodes: usize,
    height: usize,
}

/// Most texts that are shared, and the longest of them in bytes.
const MOST_SHARED: usize = 10_000;
const LONGEST_SHARED: usize = 64;

/// Builds one document after the other.
pub(super) struct Builder<'limits> {
    limits: &'limits Limits,
    /// Keys seen so far: manifests repeat a few hundred.
    keys: HashSet<Arc<str>>,
    /// Short texts seen so far, at most [`MOST_SHARED`]: manifests repeat their values too.
    texts: HashSet<Arc<str>>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Subtree>,
    nodes: usize,
    root: Option<Node>,
}

/// A document that is nested beyond the cap.
pub(super) fn too_deep(place: Place, limits: &Limits) -> SourceError {
    SourceError::too_large(place, format!("nested deeper than {} levels", limits.depth))
}

impl<'limits> Builder<'limits> {
    pub(super) fn new(limits: &'limits Limits) -> Self {
        Self {
            limits,
            keys: HashSet::new(),
            texts: HashSet::new(),
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            root: None,
        }
    }

    /// Begins a document.
    pub(super) fn start(&mut self) {
        self.stack.clear();
        self.anchors.clear();
        self.nodes = 0;
        self.root = None;
    }

    /// The document that ended; `None` for one without a node.
    pub(super) fn finish(&mut self) -> Option<Node> {
        self.root.take()
    }

    pub(super) fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), SourceError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&Scalar { text: &text, style, anchor, tag: tag.as_deref() }, place)
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "seq", place)?;
                self.open(Content::List(Vec::new()), anchor, place)
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "map", place)?;
                self.open(Content::Map(OpenMap::default()), anchor, place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(id, place),
            _ => Ok(()),
        }
    }

    fn open(&mut self, content: Content, anchor: usize, place: Place) -> Result<(), SourceError> {
        if self.stack.len() >= self.limits.depth {
            return Err(too_deep(place, self.limits));
        }
        self.stack.push(Frame { content, place, anchor, nodes: self.nodes, height: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SourceError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(mut items) => {
                items.shrink_to_fit();
                Value::List(Arc::new(items))
            }
            Content::Map(map) => Value::Map(Arc::new(map.finish()?)),
        };
        let node = Node { value, place: frame.place };
        self.count(1, frame.place)?;
        let subtree = Subtree { node, nodes: self.nodes - frame.nodes, height: frame.height };
        self.attach(subtree, frame.anchor)
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, place: Place) -> Result<(), SourceError> {
        let Scalar { text, style, anchor, tag } = *scalar;
        let is_plain = style == ScalarStyle::Plain && tag.is_none();
        let is_key = self.expects_key();
        if is_key {
            if is_plain && text == "<<" && anchor == 0 {
                return self.set_key(Key::Merge(place));
            }
            // Most keys are plain words or quoted text that has been seen before.
            if let Some(key) = self.keys.get(text).filter(|_| tag.is_none() && anchor == 0) {
                let key = Arc::clone(key);
                return self.set_key(Key::Text(key, place));
            }
        }
        let value = match tag {
            None if is_plain => self.shared(scalar::plain(text)),
            None => self.shared(Value::String(text.into())),
            Some(tag) => tagged(tag, text, place)?,
        };
        self.count(usize::from(!is_key), place)?;
        self.attach(Subtree { node: Node { value, place }, nodes: 1, height: 0 }, anchor)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), SourceError> {
        let Some(subtree) = self.anchors.get(&id).cloned() else {
            return Err(SourceError::unreadable(place, "this alias is part of what it stands for"));
        };
        if self.stack.len() + subtree.height > self.limits.depth {
            return Err(too_deep(place, self.limits));
        }
        self.count(subtree.nodes, place)?;
        self.attach(subtree, 0)
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), SourceError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.limits.nodes {
            return Ok(());
        }
        let message = format!("more than {} values, aliases counted at each use", self.limits.nodes);
        Err(SourceError::too_large(place, message))
    }

    /// The value with its text shared, where it is short.
    fn shared(&mut self, value: Value) -> Value {
        let Value::String(text) = value else { return value };
        if text.len() > LONGEST_SHARED {
            return Value::String(text);
        }
        if let Some(known) = self.texts.get(&text) {
            return Value::String(Arc::clone(known));
        }
        if self.texts.len() < MOST_SHARED {
            self.texts.insert(Arc::clone(&text));
        }
        Value::String(text)
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Map(OpenMap { key: None, .. }), .. }))
    }

    fn set_key(&mut self, key: Key) -> Result<(), SourceError> {
        if let Some(Frame { content: Content::Map(map), .. }) = self.stack.last_mut() {
            map.key = Some(key);
        }
        Ok(())
    }

    /// Puts a finished subtree where it belongs.
    fn attach(&mut self, subtree: Subtree, anchor: usize) -> Result<(), SourceError> {
        if anchor != 0 {
            self.anchors.insert(anchor, subtree.clone());
        }
        if self.expects_key() {
            let key = self.key_of(&subtree.node)?;
            return self.set_key(key);
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(subtree.node);
            return Ok(());
        };
        frame.height = frame.height.max(subtree.height + 1);
        match &mut frame.content {
            Content::List(items) => {
                items.push(subtree.node);
                Ok(())
            }
            Content::Map(map) => map.set(subtree.node),
        }
    }

    fn key_of(&mut self, node: &Node) -> Result<Key, SourceError> {
        let Some(text) = scalar::key_text(&node.value) else {
            let message = format!("a key must be a string, a number or a boolean, not {}", node.kind_name());
            return Err(SourceError::unreadable(node.place, message));
        };
        let key: Arc<str> = text.into();
        // What resolves to something else than its own text (`on`, `0644`) must be resolved each time.
        if node.as_str().is_some_and(|text| matches!(scalar::plain(text), Value::String(_)) && text != "<<") {
            self.keys.insert(Arc::clone(&key));
        }
        Ok(Key::Text(key, node.place))
    }
}

impl OpenMap {
    fn set(&mut self, node: Node) -> Result<(), SourceError> {
        match self.key.take() {
            Some(Key::Text(key, key_place)) => self.entries.push(Entry { key, key_place, node }),
            Some(Key::Merge(key_place)) if self.merge.is_some() => return Err(duplicate("<<", key_place)),
            Some(Key::Merge(key_place)) => {
                self.merge = Some(Merge { key_place, position: self.entries.len(), source: node });
            }
            None => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Map, SourceError> {
        let map = Map::new(self.entries).map_err(|entry| duplicate(&entry.key, entry.key_place))?;
        let Some(merge) = self.merge else { return Ok(map) };
        merge.into(map)
    }
}

impl Merge {
    /// The map with what it does not define itself. Earlier maps of a list win over later ones.
    fn into(self, map: Map) -> Result<Map, SourceError> {
        let mut entries: Vec<Entry> = map.iter().cloned().collect();
        let mut defined: HashMap<Arc<str>, usize> =
            map.iter().enumerate().map(|(index, entry)| (Arc::clone(&entry.key), index)).collect();
        for source in self.sources()? {
            for entry in source.iter() {
                match defined.get(&entry.key) {
                    // Some readers let the merge win over a key that stands before it, Kubernetes' among them.
                    Some(&index) if index < self.position => return Err(self.ambiguous(&entry.key)),
                    Some(_) => {}
                    None => {
                        defined.insert(Arc::clone(&entry.key), entries.len());
                        entries.push(entry.clone());
                    }
                }
            }
        }
        Map::new(entries).map_err(|entry| duplicate(&entry.key, entry.key_place))
    }

    fn sources(&self) -> Result<Vec<&Map>, SourceError> {
        let nodes = match &self.source.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&self.source),
        };
        let maps: Option<Vec<&Map>> = nodes.iter().map(Node::as_map).collect();
        maps.ok_or_else(|| SourceError::unreadable(self.key_place, "'<<' merges a map or a list of maps, nothing else"))
    }

    fn ambiguous(&self, key: &str) -> SourceError {
        let message = format!(
            "'{}' stands before the '<<' that also defines it, and readers disagree on which counts; write '<<' first",
            shown(key)
        );
        SourceError::unreadable(self.key_place, message)
    }
}

fn duplicate(key: &str, place: Place) -> SourceError {
    SourceError::unreadable(place, format!("key '{}' is written twice in this map; keep one", shown(key)))
}

fn check_tag(tag: Option<&Tag>, wanted: &str, place: Place) -> Result<(), SourceError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(wanted) => Err(foreign_tag(tag, place)),
        _ => Ok(()),
    }
}

fn tagged(tag: &Tag, text: &str, place: Place) -> Result<Value, SourceError> {
    let Some(name) = tag.core_suffix() else { return Err(foreign_tag(tag, place)) };
    scalar::tagged(name, text)
        .ok_or_else(|| SourceError::unreadable(place, format!("the value is not what its tag !!{name} says")))
}

fn foreign_tag(tag: &Tag, place: Place) -> SourceError {
    SourceError::unreadable(place, format!("tag '{}' has no meaning in a manifest; remove it", shown(&tag.original())))
}
