//! Answers as findings: subject, exact path, place in the file, evidence and fix.

use std::borrow::Cow;
use std::sync::Arc;

use portreeve_reports::finding::BuildError;
use portreeve_reports::source::{Node, Place, Value};
use portreeve_reports::{Finding, FindingBuilder, Fix, Location, Patch, Subject, Verdict};

use super::frame::{Frame, Item, Step};
use super::judge::{Answer, Asked};
use crate::control::path::{join, push_key, walk};
use crate::control::{Base, Each, FieldPath};

/// Longest value shown as evidence, in characters.
const EVIDENCE: usize = 200;

/// The finding about an object without a failing item.
pub(super) fn whole(frame: &Frame<'_>, asked: &Asked<'_>, answer: &Answer) -> Option<Finding> {
    let title = &asked.control.title;
    let (verdict, cause, message) = match answer {
        Answer::NotApplicable => (Verdict::NotApplicable, None, "not asked of this object".to_owned()),
        Answer::Pass | Answer::Fail => (Verdict::Pass, None, format!("not found: {title}")),
        Answer::Unknown(cause, why) => (Verdict::Unknown, Some(*cause), format!("cannot tell ({title}): {why}")),
        Answer::Error(why) => (Verdict::Error, None, format!("the control does not work ({title}): {why}")),
    };
    let mut builder = start(frame, asked, verdict)
        .subject(Subject::Object(frame.reference.clone()))
        .location(location(frame, String::new(), frame.object.origin.place))
        .message(message);
    if let Some(cause) = cause {
        builder = builder.cause(cause);
    }
    built(builder)
}

/// The finding about a failing item.
pub(super) fn failure(frame: &Frame<'_>, asked: &Asked<'_>, item: Item<'_, '_>) -> Option<Finding> {
    let site = Site::of(frame, &asked.check.each, item);
    let key = site.key(asked);
    let mut reference = frame.reference.clone();
    reference.container = item.container.map(|container| container.name.to_owned());
    let mut builder = start(frame, asked, Verdict::Fail)
        .message(message(frame, asked, item, &key))
        .item(key)
        .subject(Subject::Object(reference))
        .fix(site.fix(asked));
    for path in &asked.check.paths {
        let (object_path, node, place) = site.resolve(path);
        builder = builder.location(location(frame, object_path, place));
        let private = asked.check.each.holds_values() || path.holds_values();
        if !private && !path.keys.is_empty() {
            builder = builder.evidence(path.text(), node.map_or_else(|| "not set".to_owned(), shown));
        }
    }
    for subject in frame.relations.subjects() {
        builder = builder.related(subject);
    }
    built(builder)
}

fn start(frame: &Frame<'_>, asked: &Asked<'_>, verdict: Verdict) -> FindingBuilder {
    FindingBuilder::new(asked.control.code.clone(), asked.control.severity, verdict)
        .source(asked.control.source)
        .confidence(asked.control.confidence)
        .check(Arc::clone(&asked.check.id))
        .frameworks(asked.control.frameworks.clone())
        .owner(frame.owner.clone())
}

/// A builder from [`start`] has subject, place and a cause exactly when it is unknown.
fn built(builder: FindingBuilder) -> Option<Finding> {
    let built: Result<Finding, BuildError> = builder.build();
    debug_assert!(built.is_ok(), "a finding of the engine does not build");
    built.ok()
}

fn location(frame: &Frame<'_>, object_path: String, place: Place) -> Location {
    let place = if place.line > 0 { place } else { frame.object.origin.place };
    let known = frame.object.origin.file.is_some() && place.line > 0;
    Location {
        object_path,
        object: None,
        file: frame.object.origin.file.clone(),
        line: known.then_some(place.line),
        column: known.then_some(place.column),
    }
}

/// Where an item stands in the object, defaults included.
struct Site<'s> {
    item: Option<&'s Node>,
    item_path: String,
    fallback: Place,
    container: Option<(&'s Node, &'s str)>,
    spec: Option<(&'s Node, &'s str)>,
    metadata: Option<&'s Node>,
    entry: Option<&'s str>,
}

impl<'s> Site<'s> {
    fn of(frame: &'s Frame<'_>, each: &Each, item: Item<'s, '_>) -> Self {
        let container = item.container.map(|container| (container.node, container.path.as_str()));
        let spec = frame.pod.as_ref().map(|pod| (pod.spec, pod.path));
        let (start, base) = match (each, container, spec) {
            (Each::Containers | Each::InContainers(_), Some(container), _) => container,
            (Each::Below(_), _, Some(spec)) => spec,
            (Each::Whole, _, Some(spec)) => spec,
            _ => (&frame.object.root, ""),
        };
        let metadata = frame.pod.as_ref().and_then(|pod| pod.metadata);
        let (fallback, item_path) = (start.place, base.to_owned());
        let mut site = Self { item: Some(start), item_path, fallback, container, spec, metadata, entry: None };
        if let Each::InContainers(items) | Each::Below(items) = each {
            let (list, place) = walk(start, &items.path);
            site.item_path = join(base, &items.path);
            site.fallback = place;
            site.enter(list, item.step);
        }
        site
    }

    fn enter(&mut self, list: Option<&'s Node>, step: Step<'s>) {
        match step {
            Step::Whole => self.item = list,
            Step::Index(index) => {
                self.item = list.and_then(|list| list.as_list()?.get(index));
                self.item_path.push_str(&format!("[{index}]"));
            }
            Step::Key(key) => {
                self.item = list.and_then(|list| list.get(key));
                self.entry = Some(key);
                push_key(&mut self.item_path, key);
            }
        }
        if let Some(item) = self.item.filter(|item| item.place.line > 0) {
            self.fallback = item.place;
        }
    }

    /// Object path of a field, its node, and the place of the deepest node on the way to it. The path is the same
    /// whether the field is written, defaulted by the API server or missing, so that all doors agree on it.
    fn resolve(&self, path: &FieldPath) -> (String, Option<&'s Node>, Place) {
        let (start, base) = match path.base {
            Base::Item => (self.item, self.item_path.as_str()),
            Base::Container => self.container.map_or((None, ""), |(node, base)| (Some(node), base)),
            Base::PodSpec => self.spec.map_or((None, ""), |(node, base)| (Some(node), base)),
            Base::PodMetadata => (self.metadata, self.spec.map_or("", |(_, base)| base)),
        };
        let (node, place) = start.map_or((None, self.fallback), |start| walk(start, &path.keys));
        // The metadata of a pod stands beside its spec.
        let base = match (path.base, base.strip_suffix("spec")) {
            (Base::PodMetadata, Some(template)) => Cow::Owned(format!("{template}metadata")),
            _ => Cow::Borrowed(base),
        };
        (join(&base, &path.keys), node, if place.line > 0 { place } else { self.fallback })
    }

    /// What tells the item from its siblings; a container is told by the subject already.
    fn key(&self, asked: &Asked<'_>) -> String {
        if let Some(entry) = self.entry {
            return entry.to_owned();
        }
        let field = |name: &Arc<str>| self.item.and_then(|item| item.get(name)).map(shown).unwrap_or_default();
        asked.check.key.iter().map(field).collect::<Vec<_>>().join("/")
    }

    fn fix(&self, asked: &Asked<'_>) -> Fix {
        let path = |path: &FieldPath| self.resolve(path).0;
        Fix {
            patches: asked
                .check
                .patches
                .iter()
                .map(|(field, value)| Patch { path: path(field), value: value.to_json() })
                .collect(),
            delete: asked.check.delete.iter().map(path).collect(),
            commands: Vec::new(),
        }
    }
}

fn message(frame: &Frame<'_>, asked: &Asked<'_>, item: Item<'_, '_>, key: &str) -> String {
    let mut text = String::with_capacity(asked.check.message.len() + 32);
    let mut rest = &*asked.check.message;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else { break };
        text.push_str(match name {
            "container" => item.container.map_or("", |container| container.name),
            "item" => key,
            "kind" => &frame.object.kind,
            "name" => &frame.object.name,
            _ => "",
        });
        rest = after;
    }
    text.push_str(rest);
    text
}

/// A value as evidence.
fn shown(node: &Node) -> String {
    let text = match &node.value {
        Value::String(text) => text.to_string(),
        _ => node.to_json().to_string(),
    };
    match text.char_indices().nth(EVIDENCE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
