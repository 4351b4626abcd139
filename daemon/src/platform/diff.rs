//! What would change: the live object beside what the API server would make of it. Pure.

use serde_json::Value;

use super::path::{Path, Step};

/// Fields that tell the items of a list apart, the first that fits.
const ITEM_KEYS: [&str; 9] =
    ["name", "key", "mountPath", "devicePath", "containerPort", "port", "type", "ip", "topologyKey"];
/// What the server keeps for itself.
const SERVERS: [&str; 6] = ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];
/// Most changes that are told of one object.
pub const MAX_CHANGES: usize = 500;
/// Longest value that is shown.
const MAX_SHOWN: usize = 160;

/// One field that would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where.
    pub path: Path,
    /// What is there.
    pub before: Option<Value>,
    /// What would be.
    pub after: Option<Value>,
}

/// The fields that differ; metadata of the server and `status` left out.
pub fn diff(live: &Value, wanted: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&Path::default(), live, wanted, &mut changes);
    changes
}

fn is_servers(path: &Path, key: &str) -> bool {
    match path.steps() {
        [] => key == "status",
        [Step::Key(parent)] => parent == "metadata" && SERVERS.contains(&key),
        _ => false,
    }
}

fn compare(path: &Path, live: &Value, wanted: &Value, changes: &mut Vec<Change>) {
    if changes.len() >= MAX_CHANGES || live == wanted {
        return;
    }
    match (live, wanted) {
        (Value::Object(before), Value::Object(after)) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added).filter(|key| !is_servers(path, key)) {
                let below = path.then(Step::Key(key.clone()));
                side_by_side(&below, before.get(key), after.get(key), changes);
            }
        }
        (Value::Array(before), Value::Array(after)) => lists(path, before, after, changes),
        _ => push(path, Some(live), Some(wanted), changes),
    }
}

fn side_by_side(path: &Path, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    match (before, after) {
        (Some(before), Some(after)) => compare(path, before, after, changes),
        (before, after) => push(path, before, after, changes),
    }
}

fn push(path: &Path, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    changes.push(Change { path: path.clone(), before: before.cloned(), after: after.cloned() });
}

fn lists(path: &Path, before: &[Value], after: &[Value], changes: &mut Vec<Change>) {
    let found = changes.len();
    if let Some(key) = item_key(before, after) {
        let find = |items: &'_ [Value], value: &Value| items.iter().find(|item| item.get(key) == Some(value)).cloned();
        let values = |items: &[Value]| items.iter().filter_map(|item| item.get(key).cloned()).collect::<Vec<_>>();
        let (old, new) = (values(before), values(after));
        let added = new.iter().filter(|value| !old.contains(value));
        for value in old.iter().chain(added) {
            let below = path.then(Step::Item(key.to_owned(), value.clone()));
            side_by_side(&below, find(before, value).as_ref(), find(after, value).as_ref(), changes);
        }
    } else if before.len() == after.len() {
        for (index, (before, after)) in before.iter().zip(after).enumerate() {
            compare(&path.then(Step::Index(index)), before, after, changes);
        }
    }
    // Another order, or lists that cannot be set side by side.
    if changes.len() == found {
        changes.push(Change {
            path: path.clone(),
            before: Some(Value::Array(before.to_vec())),
            after: Some(Value::Array(after.to_vec())),
        });
    }
}

fn item_key(before: &[Value], after: &[Value]) -> Option<&'static str> {
    let tells_apart = |items: &[Value], key: &str| {
        let values: Vec<&Value> = items.iter().filter_map(|item| item.get(key)).collect();
        let is_unique = |(index, value): (usize, &&Value)| !values[..index].contains(value);
        values.len() == items.len() && values.iter().enumerate().all(is_unique)
    };
    // Long lists are compared as they are: finding each item anew would take its square.
    if before.len() > 256 || after.len() > 256 {
        return None;
    }
    ITEM_KEYS.into_iter().find(|key| tells_apart(before, key) && tells_apart(after, key))
}

/// A value for people: short, and nothing of a Secret.
pub fn shown(kind: &str, path: &Path, value: Option<&Value>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    let annotation = path.is_below(&["metadata", "annotations"]);
    if kind == "Secret" && (path.is_below(&["data"]) || path.is_below(&["stringData"]) || annotation) {
        return "(hidden)".to_owned();
    }
    let text = value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"));
    let cut: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(live: &Value, wanted: &Value) -> Vec<String> {
        diff(live, wanted).iter().map(|change| change.path.to_string()).collect()
    }

    #[test]
    fn only_what_differs_is_told_and_the_servers_own_is_not() {
        let live = json!({"metadata": {"resourceVersion": "1", "generation": 1, "labels": {"a": "1"}},
            "spec": {"replicas": 1, "gone": true}, "status": {"ready": 1}});
        let wanted = json!({"metadata": {"resourceVersion": "2", "generation": 2, "labels": {"a": "1"}},
            "spec": {"replicas": 2, "new": []}, "status": {}});
        assert_eq!(paths(&live, &wanted), ["spec.replicas", "spec.gone", "spec.new"]);
        assert!(diff(&live, &live).is_empty());
    }

    #[test]
    fn items_of_lists_are_matched_by_their_names() {
        let live = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
        let wanted = json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]});
        assert_eq!(paths(&live, &wanted), ["containers[name=b].image"]);
        let turned = json!({"containers": [{"name": "b", "image": "1"}, {"name": "a", "image": "1"}]});
        assert_eq!(paths(&live, &turned), ["containers"]);
        assert_eq!(paths(&json!({"args": ["a", "b"]}), &json!({"args": ["a", "c"]})), ["args[1]"]);
        assert_eq!(paths(&json!({"args": ["a"]}), &json!({"args": ["a", "c"]})), ["args"]);
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let path = Path::of(&[Step::Key("data".to_owned()), Step::Key("password".to_owned())]);
        assert_eq!(shown("Secret", &path, Some(&json!("aHVudGVyMg=="))), "(hidden)");
        let annotation = Path::of(&["metadata", "annotations", "x"].map(|key| Step::Key(key.to_owned())));
        assert_eq!(shown("Secret", &annotation, Some(&json!("{}"))), "(hidden)");
        assert_eq!(shown("ConfigMap", &path, Some(&json!("a\u{1b}[2J"))), "\"a\\u{1b}[2J\"");
        assert!(shown("ConfigMap", &path, Some(&json!("x".repeat(9_999)))).len() < 200);
    }

    #[test]
    fn the_number_of_changes_is_bounded() {
        let wide = |value: u32| Value::Object((0..5_000).map(|n| (format!("k{n}"), json!(value))).collect());
        assert_eq!(diff(&wide(1), &wide(2)).len(), MAX_CHANGES);
    }
}
