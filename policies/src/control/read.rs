//! Control files: YAML to [`Control`], all mistakes at once with their places.

use std::sync::Arc;

use portreeve_reports::finding::Source;
use portreeve_reports::source::{Fields, Limits, Node, Problems, yaml};
use portreeve_reports::{Code, Confidence, Severity};

use super::{
    Check, Control, Each, Example, ExampleInput, Examples, Expression, FieldPath, Items, KindName, Target, path,
};

/// A control file is a page of text.
const LIMITS: Limits = Limits { bytes: 256 << 10, depth: 64, nodes: 20_000, documents: 1 };

/// Reads a user's control file.
pub fn read_control(file: &str, bytes: &[u8]) -> Result<Control, Problems> {
    read_as(Source::Custom, file, bytes)
}

/// Reads a control file as one of the given source.
pub(super) fn read_as(source: Source, file: &str, bytes: &[u8]) -> Result<Control, Problems> {
    let mut problems = Problems::new(file);
    let control = document(bytes, &mut problems)
        .and_then(|node| Fields::of(&node, "", &mut problems)?.finish_with(|fields| control(source, file, fields)));
    match control {
        Some(control) => problems.into_result(control),
        None => Err(problems),
    }
}

/// The one document of a file; a problem when there is none, several, or it cannot be read.
pub(crate) fn document(bytes: &[u8], problems: &mut Problems) -> Option<Node> {
    let mut documents = yaml::read(bytes, &LIMITS);
    if documents.len() > 1 {
        problems.push(portreeve_reports::source::Place { line: 1, column: 1 }, "one document a file");
        return None;
    }
    match documents.pop() {
        Some(Ok(node)) => Some(node),
        Some(Err(error)) => {
            problems.push(error.place, error.message);
            None
        }
        None => {
            problems.push(portreeve_reports::source::Place { line: 1, column: 1 }, "the file is empty");
            None
        }
    }
}

fn control(source: Source, file: &str, fields: &mut Fields) -> Option<Control> {
    let code = fields.required_parsed("id", Code::parse);
    let title = fields.required_str("title");
    let severity = fields.required_parsed("severity", severity);
    let score = score(fields);
    let confidence = fields.optional_parsed("confidence", confidence).unwrap_or(Confidence::High);
    let frameworks = texts(fields, "frameworks");
    let why = fields.required_str("why");
    let fix = fields.required_str("fix");
    let references = texts(fields, "references");
    let params = params(fields);
    let target = target(fields);
    let checks = checks(fields, target.as_ref());
    let examples = fields.optional_map("examples", |fields| Some(examples(fields))).unwrap_or_default();
    Some(Control {
        file: file.into(),
        source,
        code: code?,
        title: title?.into(),
        severity: severity?,
        score: score?,
        confidence,
        frameworks,
        why: why?.trim().into(),
        fix: fix?.trim().into(),
        references,
        params,
        checks: checks?,
        examples,
    })
}

fn severity(word: &str) -> Result<Severity, String> {
    Severity::parse(word).ok_or_else(|| format!("'{word}' is not one of critical, high, medium, low, info"))
}

fn confidence(word: &str) -> Result<Confidence, String> {
    Confidence::parse(word).ok_or_else(|| format!("'{word}' is not one of high, medium, low"))
}

fn score(fields: &mut Fields) -> Option<u8> {
    let place = fields.required("score")?.place;
    let score = fields.optional_int("score")?;
    let valid = u8::try_from(score).ok().filter(|score| (1..=10).contains(score));
    if valid.is_none() {
        fields.problem(place, "'score' must be 1 to 10");
    }
    valid
}

fn texts(fields: &mut Fields, key: &'static str) -> Vec<Arc<str>> {
    fields.optional_strings(key).unwrap_or_default().into_iter().map(Arc::from).collect()
}

fn params(fields: &mut Fields) -> Vec<(Arc<str>, Node)> {
    let Some(node) = fields.optional("params") else { return Vec::new() };
    let Some(map) = node.as_map() else {
        fields.problem(node.place, "'params' must be a map");
        return Vec::new();
    };
    map.iter().map(|entry| (Arc::clone(&entry.key), entry.node.clone())).collect()
}

fn target(fields: &mut Fields) -> Option<Target> {
    let node = fields.optional("for")?;
    if node.as_str() == Some("pod") {
        return Some(Target::Pod);
    }
    let kinds: Option<Vec<KindName>> =
        node.as_list().and_then(|list| list.iter().map(|kind| kind.as_str().map(kind_name)).collect());
    if kinds.as_ref().is_none_or(Vec::is_empty) {
        fields.problem(
            node.place,
            "'for' must be pod or a list of kinds, like [ConfigMap, NetworkPolicy.networking.k8s.io]",
        );
        return None;
    }
    kinds.map(Target::Kinds)
}

fn kind_name(text: &str) -> KindName {
    let (kind, group) = text.split_once('.').unwrap_or((text, ""));
    KindName { kind: kind.into(), group: group.into() }
}

fn checks(fields: &mut Fields, default: Option<&Target>) -> Option<Vec<Check>> {
    let place = fields.required("checks")?.place;
    let checks = fields.maps("checks", |fields| check(fields, default));
    if checks.is_empty() {
        fields.problem(place, "'checks' needs at least one check that can be read");
        return None;
    }
    for (index, check) in checks.iter().enumerate() {
        if checks.iter().take(index).any(|earlier| earlier.id == check.id) {
            fields.problem(place, format!("two checks have the id '{}'", check.id));
        }
    }
    Some(checks)
}

fn check(fields: &mut Fields, default: Option<&Target>) -> Option<Check> {
    let id = fields.optional_str("id").unwrap_or_default();
    let target = target(fields).or_else(|| default.cloned());
    if target.is_none() {
        fields.problem(fields.place(), "neither the check nor the control says what it is 'for'");
    }
    let over_pod = matches!(target, None | Some(Target::Pod));
    let each = fields.required_parsed("each", |text| each(text, over_pod));
    let when = expression(fields, "when");
    let has_pass = fields.required("pass").is_some();
    let pass = expression(fields, "pass").filter(|_| has_pass);
    let key = key(fields);
    let paths = field_paths(fields, "paths");
    let message = fields.required_str("message");
    let patches = fields.maps("patch", patch);
    let delete = field_paths(fields, "delete");
    Some(Check {
        id: id.into(),
        target: target?,
        each: each?,
        when,
        pass: pass?,
        key,
        paths: if paths.is_empty() { vec![FieldPath { base: path::Base::Item, keys: Vec::new() }] } else { paths },
        message: message?.into(),
        patches,
        delete,
        requires: texts(fields, "requires"),
    })
}

fn each(text: &str, over_pod: bool) -> Result<Each, String> {
    let items = |text: &str| {
        let (path, entries) = text.strip_suffix(".*").map_or((text, false), |path| (path, true));
        path::split(path).map(|path| Items { path, entries })
    };
    match (text, over_pod) {
        ("pod", true) | ("object", false) => Ok(Each::Whole),
        ("containers", true) => Ok(Each::Containers),
        (_, true) if text.starts_with("containers.") => {
            items(text.trim_start_matches("containers.")).map(Each::InContainers)
        }
        _ => items(text).map(Each::Below),
    }
}

fn expression(fields: &mut Fields, key: &'static str) -> Option<Expression> {
    let place = fields.optional(key)?.place;
    fields.optional_str(key).map(|text| Expression { text: text.trim().into(), place })
}

fn key(fields: &mut Fields) -> Vec<Arc<str>> {
    match fields.optional("key") {
        Some(node) if node.as_str().is_some() => fields.optional_str("key").map(Arc::from).into_iter().collect(),
        Some(_) => texts(fields, "key"),
        None => Vec::new(),
    }
}

fn field_paths(fields: &mut Fields, key: &'static str) -> Vec<FieldPath> {
    let Some(node) = fields.optional(key) else { return Vec::new() };
    let place = node.place;
    let texts = fields.optional_strings(key).unwrap_or_default();
    let mut paths = Vec::with_capacity(texts.len());
    for text in texts {
        match FieldPath::parse(text) {
            Ok(path) => paths.push(path),
            Err(message) => fields.problem(place, message),
        }
    }
    paths
}

fn patch(fields: &mut Fields) -> Option<(FieldPath, Node)> {
    let path = fields.required_parsed("path", FieldPath::parse);
    let value = fields.required("value").cloned();
    Some((path?, value?))
}

fn examples(fields: &mut Fields) -> Examples {
    Examples { pass: fields.maps("pass", example), fail: fields.maps("fail", example) }
}

fn example(fields: &mut Fields) -> Option<Example> {
    let place = fields.place();
    let pod = fields.optional("pod").cloned();
    let metadata = fields.optional("metadata").cloned();
    let object = fields.optional("object").cloned();
    let with = fields.optional_list("with").unwrap_or_default().to_vec();
    let params = fields.optional("params").cloned();
    let input = match (pod, object) {
        (Some(spec), None) => ExampleInput::Pod { metadata, spec },
        (None, Some(object)) => ExampleInput::Object(object),
        _ => {
            fields.problem(place, "an example has either a 'pod' (a pod spec) or an 'object'");
            return None;
        }
    };
    Some(Example { place, input, with, params })
}
