//! Paths to fields, as control files write them and as findings show them.

use std::fmt::Write as _;
use std::sync::Arc;

use portreeve_reports::source::{Node, Place};

/// What a path starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The item that is asked.
    Item,
    /// The container that the item belongs to (`container.` in front).
    Container,
    /// The pod's spec (`pod.spec.` in front).
    PodSpec,
    /// The pod's metadata (`pod.metadata.` in front).
    PodMetadata,
}

/// A path of map keys to a field that may or may not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    /// What the path starts from.
    pub base: Base,
    /// Map keys.
    pub keys: Vec<Arc<str>>,
}

impl FieldPath {
    /// Reads `securityContext.privileged`, `pod.spec.hostNetwork`, `metadata.labels['app.kubernetes.io/name']`;
    /// `.` alone is the item itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "." {
            return Ok(Self { base: Base::Item, keys: Vec::new() });
        }
        let bases =
            [("pod.spec.", Base::PodSpec), ("pod.metadata.", Base::PodMetadata), ("container.", Base::Container)];
        let based = bases.into_iter().find_map(|(prefix, base)| Some((base, text.strip_prefix(prefix)?)));
        if based.is_none() && text.starts_with("pod.") {
            return Err(format!("'{text}' is neither below pod.spec nor below pod.metadata"));
        }
        let (base, rest) = based.unwrap_or((Base::Item, text));
        Ok(Self { base, keys: split(rest)? })
    }

    /// Whether the field holds what people put secrets into; such values are never shown as evidence.
    pub fn holds_values(&self) -> bool {
        self.keys.iter().any(|key| matches!(&**key, "env" | "args" | "command" | "data" | "stringData" | "binaryData"))
    }

    /// The path as written, without its base.
    pub fn text(&self) -> String {
        join("", &self.keys)
    }
}

/// The keys of a dotted path; a key that is no identifier stands in `['…']`.
pub(crate) fn split(text: &str) -> Result<Vec<Arc<str>>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = match rest.strip_prefix("['") {
            Some(quoted) => quoted.split_once("']").ok_or_else(|| format!("'{text}' has a [' without a ']"))?,
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        if key.is_empty() {
            return Err(format!("'{text}' is not a path of fields"));
        }
        keys.push(key.into());
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    if keys.is_empty() || text.ends_with('.') {
        return Err(format!("'{text}' is not a path of fields"));
    }
    Ok(keys)
}

/// `base` continued by `keys`, in the notation of findings.
pub(crate) fn join(base: &str, keys: &[impl AsRef<str>]) -> String {
    let mut path = base.to_owned();
    for key in keys {
        push_key(&mut path, key.as_ref());
    }
    path
}

/// Continues a path by one map key.
pub(crate) fn push_key(path: &mut String, key: &str) {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !plain || key.is_empty() {
        let _ = write!(path, "['{key}']");
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

/// The node at a path, and the place of the deepest node on the way that has one.
pub(crate) fn walk<'a>(start: &'a Node, keys: &[Arc<str>]) -> (Option<&'a Node>, Place) {
    let mut node = start;
    let mut place = start.place;
    for key in keys {
        let Some(next) = node.get(key) else { return (None, place) };
        node = next;
        if node.place.line > 0 {
            place = node.place;
        }
    }
    (Some(node), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_and_print_the_same() {
        for text in ["securityContext.privileged", "metadata.labels['app.kubernetes.io/name']", "a['b.c'].d"] {
            assert_eq!(FieldPath::parse(text).unwrap().text(), text);
        }
        assert_eq!(FieldPath::parse("pod.spec.hostPID").unwrap().base, Base::PodSpec);
        assert_eq!(FieldPath::parse(".").unwrap().keys.len(), 0);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a..b", "a['b", ".a", "a."] {
            assert!(FieldPath::parse(text).is_err(), "{text}");
        }
    }
}
