//! Who owns which fields: `metadata.managedFields` of the API server, read. Pure.

use serde_json::{Map, Value, json};

use super::path::{Path, Step};
use crate::cluster::request::FIELD_MANAGER;

/// Managers that stand for a person's tool: what they own is taken over with an object, or removals would never take
/// effect.
const TOOLS: [&str; 4] = ["kubectl", "helm", "Helm", "Terraform"];

/// The data of a Secret, and its texts, as `managedFields` name them.
const DATA: &str = "f:data";
const TEXTS: &str = "f:stringData";

/// One entry of `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The manager's name.
    pub manager: String,
    /// Whether it declares the value (server-side apply), rather than having written it once.
    pub declares: bool,
    /// The subresource it wrote through: `scale`, `status`.
    pub subresource: String,
}

impl Owner {
    fn of(entry: &Value) -> Self {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { manager: text("manager"), declares: text("operation") == "Apply", subresource: text("subresource") }
    }

    /// Whether this is us.
    pub fn is_ours(&self) -> bool {
        self.manager == FIELD_MANAGER && self.declares && self.subresource.is_empty()
    }

    /// Whether it will write the field again: it declares it, or is a controller behind a subresource. Writing over it
    /// would be a fight.
    pub fn insists(&self) -> bool {
        !self.is_ours() && (self.declares || !self.subresource.is_empty())
    }

    /// Whether it is a tool of a person.
    pub fn is_tool(&self) -> bool {
        self.subresource.is_empty()
            && !self.is_ours()
            && TOOLS.iter().any(|tool| {
                self.manager == *tool
                    || self.manager.strip_prefix(tool).is_some_and(|rest| rest.starts_with(['-', '_']))
            })
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let manager = portreeve_reports::source::shown(&self.manager);
        match self.subresource.as_str() {
            "" => f.write_str(&manager),
            subresource => write!(f, "{manager} ({subresource})"),
        }
    }
}

/// All managers of an object.
pub fn owners(object: &Value) -> Vec<Owner> {
    entries(object).iter().map(Owner::of).collect()
}

/// Whether we have applied the object.
pub fn is_managed(object: &Value) -> bool {
    owners(object).iter().any(Owner::is_ours)
}

/// The managers of the field at a path. Who declares a text of a Secret owns the data that it becomes.
pub fn owners_of(object: &Value, path: &Path) -> Vec<Owner> {
    let text = match path.steps() {
        [Step::Key(data), Step::Key(key)] if data == "data" => {
            vec![Step::Key("stringData".to_owned()), Step::Key(key.clone())]
        }
        _ => path.steps().to_vec(),
    };
    let is_owner =
        |entry: &&Value| entry.get("fieldsV1").is_some_and(|fields| owns(fields, path.steps()) || owns(fields, &text));
    entries(object).iter().filter(is_owner).map(Owner::of).collect()
}

/// Whether our next apply removes a key of a map when it lacks it: nobody else owns it.
pub fn is_ours_alone(object: &Value, field: &str, key: &str) -> bool {
    let steps = [field, key].map(|key| Step::Key(key.to_owned()));
    let is_owner = |entry: &&Value| entry.get("fieldsV1").is_some_and(|fields| owns(fields, &steps));
    let mut owners = entries(object).iter().filter(is_owner).map(Owner::of).peekable();
    owners.peek().is_some() && owners.all(|owner| owner.is_ours())
}

fn entries(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a set of fields holds the one at the path, something above it as a whole, or something below it.
fn owns(fields: &Value, steps: &[Step]) -> bool {
    let Some(map) = fields.as_object() else { return false };
    let Some((step, rest)) = steps.split_first() else { return true };
    match step {
        Step::Key(key) => match map.get(&format!("f:{key}")) {
            Some(below) => owns(below, rest),
            None => is_leaf(map),
        },
        Step::Item(key, value) => {
            let mut items = map.iter().filter(|(name, _)| is_item(name, key, value)).peekable();
            if items.peek().is_none() { is_leaf(map) } else { items.any(|(_, below)| owns(below, rest)) }
        }
        Step::Index(_) => is_leaf(map),
    }
}

fn is_leaf(map: &Map<String, Value>) -> bool {
    map.keys().all(|key| key == ".")
}

fn is_item(name: &str, key: &str, value: &Value) -> bool {
    let parsed = name.strip_prefix("k:").and_then(|text| serde_json::from_str::<Value>(text).ok());
    parsed.is_some_and(|keys| keys.get(key) == Some(value))
}

/// `managedFields` in which what people's tools own of the fields that applying declares has become ours; what it does
/// not declare stays theirs. `None` when there is nothing to take. `after` is what applying makes of the object. A text of
/// a Secret is taken with the data that it becomes: applying the data could never take it away.
pub fn taken_over(object: &Value, after: &Value) -> Option<Value> {
    let mine = |object: &Value| -> Option<Value> {
        entries(object).iter().find(|entry| Owner::of(entry).is_ours())?.get("fieldsV1").cloned()
    };
    let mut declared = mine(after)?;
    if let Some(data) = declared.get(DATA).filter(|_| is_secret(after)).and_then(Value::as_object) {
        let mut texts = data.clone();
        texts.entry(".").or_insert_with(|| json!({}));
        declared[TEXTS] = Value::Object(texts);
    }
    let mut ours = mine(object).unwrap_or_else(|| json!({}));
    let (mut kept, mut taken_from) = (Vec::new(), None);
    for entry in entries(object) {
        let fields = entry.get("fieldsV1").filter(|_| Owner::of(entry).is_tool());
        let (taken, left) = fields.map_or_else(|| (None, None), |fields| split(fields, &declared));
        let Some(taken) = taken else {
            kept.push(entry.clone());
            continue;
        };
        unite(&mut ours, &as_data(taken));
        taken_from.get_or_insert(entry);
        kept.extend(left.map(|left| {
            let mut entry = entry.clone();
            entry["fieldsV1"] = left;
            entry
        }));
    }
    let first = taken_from?;
    kept.retain(|entry| !Owner::of(entry).is_ours());
    kept.push(json!({"manager": FIELD_MANAGER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": ours,
        "apiVersion": first.get("apiVersion"), "time": first.get("time")}));
    Some(Value::Array(kept))
}

fn is_secret(object: &Value) -> bool {
    object.get("kind").is_some_and(|kind| kind == "Secret") && object.get("apiVersion").is_some_and(|it| it == "v1")
}

/// The set in which texts are the data that they become.
fn as_data(mut fields: Value) -> Value {
    if let Some(texts) = fields.as_object_mut().and_then(|fields| fields.remove(TEXTS)) {
        unite(&mut fields, &json!({DATA: texts}));
    }
    fields
}

/// A set of fields as what is in another one too, and what is not. Who owns a map as it is has nothing below it in
/// common with who owns what is in it.
fn split(fields: &Value, other: &Value) -> (Option<Value>, Option<Value>) {
    let map = fields.as_object().filter(|map| !map.is_empty());
    let (Some(map), Some(other)) = (map, other.as_object()) else { return (None, Some(fields.clone())) };
    let (mut both, mut rest) = (Map::new(), Map::new());
    for (key, below) in map {
        let (in_both, left) = match other.get(key) {
            None => (None, Some(below.clone())),
            Some(theirs) if below == theirs => (Some(below.clone()), None),
            Some(theirs) => split(below, theirs),
        };
        both.extend(in_both.map(|below| (key.clone(), below)));
        rest.extend(left.map(|below| (key.clone(), below)));
    }
    let some = |map: Map<String, Value>| (!map.is_empty()).then_some(Value::Object(map));
    (some(both), some(rest))
}

/// `managedFields` in which everything below one field of the object is ours alone, whoever wrote it: what our next
/// apply does not have goes away.
pub fn claimed(object: &Value, field: &str) -> Value {
    let below = object.get(field).and_then(Value::as_object).into_iter().flatten();
    let whole: Map<String, Value> = below.map(|(key, _)| (format!("f:{key}"), json!({}))).collect();
    let mut kept: Vec<Value> = entries(object).to_vec();
    for entry in &mut kept {
        let is_ours = Owner::of(entry).is_ours();
        if let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) {
            fields.remove(&format!("f:{field}"));
            if is_ours {
                fields.insert(format!("f:{field}"), Value::Object(whole.clone()));
            }
        }
    }
    kept.retain(|entry| entry.get("fieldsV1").and_then(Value::as_object).is_some_and(|fields| !fields.is_empty()));
    Value::Array(kept)
}

/// A set of fields is a tree of keys: the union has the keys of both.
fn unite(into: &mut Value, from: &Value) {
    let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) else { return };
    for (key, below) in from {
        unite(into.entry(key.clone()).or_insert_with(|| json!({})), below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": "portreeve", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {"f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"app\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale",
                "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z",
                "fieldsV1": {"f:spec": {"f:selector": {}, "f:paused": {}}}},
        ]}})
    }

    fn names(pointer: &[Step]) -> Vec<String> {
        owners_of(&object(), &Path::of(pointer)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_owner_of_a_field_is_found_through_maps_items_and_whole_values() {
        let key = |text: &str| Step::Key(text.to_owned());
        let container = Step::Item("name".to_owned(), json!("app"));
        let containers = [key("spec"), key("template"), key("spec"), key("containers"), container];
        assert_eq!(names(&[&containers[..], &[key("image")]].concat()), ["portreeve"]);
        assert!(names(&[&containers[..], &[key("command")]].concat()).is_empty());
        assert_eq!(names(&[key("spec"), key("replicas")]), ["kube-controller-manager (scale)"]);
        assert_eq!(names(&[key("spec"), key("selector"), key("matchLabels")]), ["kubectl-edit"]);
    }

    #[test]
    fn controllers_and_appliers_insist_and_tools_do_not() {
        let insists: Vec<bool> = owners(&object()).iter().map(Owner::insists).collect();
        assert_eq!(insists, [false, true, false]);
        let other = json!({"manager": "portreeve-tests", "operation": "Apply"});
        assert!(Owner::of(&other).insists());
    }

    #[test]
    fn the_fields_of_tools_become_ours_and_those_of_controllers_do_not() {
        let declaring = json!({"metadata": {"managedFields": [{"manager": "portreeve", "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:paused": {}, "f:new": {}}}}]}});
        let mut after = object();
        after["metadata"]["managedFields"] = taken_over(&object(), &declaring).unwrap();
        let managers: Vec<String> = owners(&after).iter().map(|owner| owner.manager.clone()).collect();
        assert_eq!(managers, ["kube-controller-manager", "kubectl-edit", "portreeve"]);
        let of = |keys: &[&str]| {
            let steps: Vec<Step> = keys.iter().map(|&key| Step::Key(key.to_owned())).collect();
            owners_of(&after, &Path::of(&steps)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&["spec", "paused"]), ["portreeve"]);
        assert_eq!(of(&["spec", "selector"]), ["kubectl-edit"], "what is not declared stays theirs");
        assert_eq!(of(&["metadata", "labels", "app"]), ["portreeve"], "what was ours stays ours");
        assert!(of(&["spec", "new"]).is_empty(), "what is not there is nobody's");
        assert_eq!(taken_over(&after, &declaring), None);
        assert_eq!(taken_over(&object(), &json!({})), None);
    }

    #[test]
    fn what_is_in_another_set_too_is_told_from_what_is_not() {
        let container = |fields: &[&str]| -> Value {
            let fields: Map<String, Value> = fields.iter().map(|&key| (key.to_owned(), json!({}))).collect();
            json!({"k:{\"name\":\"app\"}": fields})
        };
        let theirs = container(&[".", "f:name", "f:env"]);
        let (both, left) = split(&theirs, &container(&[".", "f:name", "f:image"]));
        assert_eq!((both, left), (Some(container(&[".", "f:name"])), Some(container(&["f:env"]))));
        assert_eq!(split(&theirs, &json!({})), (None, Some(theirs.clone())));
        assert_eq!(split(&theirs, &theirs), (Some(theirs.clone()), None));
        let (whole, nested) = (json!({"f:limits": {}}), json!({"f:limits": {"f:cpu": {}}}));
        assert_eq!(split(&whole, &nested), (None, Some(whole.clone())), "it is lost to nobody");
        assert_eq!(split(&nested, &whole), (None, Some(nested.clone())));
    }

    #[test]
    fn a_tools_text_of_a_secret_is_taken_over_with_the_data_that_it_becomes() {
        let entry =
            |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let object = |kind: &str, entries: &[Value]| json!({"apiVersion": "v1", "kind": kind, "metadata": {"managedFields": entries}});
        let texts = json!({"f:stringData": {".": {}, "f:p": {}, "f:more": {}}});
        let mine = entry("portreeve", json!({"f:data": {"f:p": {}}}));
        let after = |kind: &str| object(kind, std::slice::from_ref(&mine));
        let theirs = |manager: &str| object("Secret", &[entry(manager, texts.clone())]);
        let taken = taken_over(&theirs("kubectl"), &after("Secret")).unwrap();
        assert_eq!(taken[0]["fieldsV1"], json!({"f:stringData": {"f:more": {}}}));
        assert_eq!(taken[1]["fieldsV1"]["f:data"]["f:p"], json!({}));
        assert!(taken[1]["fieldsV1"].get("f:stringData").is_none());
        assert_eq!(taken_over(&theirs("argocd"), &after("Secret")), None);
        assert_eq!(taken_over(&theirs("kubectl"), &after("Other")), None, "texts are a Secret's");
    }

    #[test]
    fn who_declares_a_text_of_a_secret_owns_the_data_that_it_becomes() {
        let secret = json!({"metadata": {"managedFields": [
            {"manager": "argocd", "operation": "Apply", "fieldsV1": {"f:stringData": {"f:password": {}}}}]}});
        let owned =
            |key: &str| !owners_of(&secret, &Path::of(&["data", key].map(|key| Step::Key(key.to_owned())))).is_empty();
        assert!(owned("password") && !owned("other"));
    }

    #[test]
    fn a_claimed_field_is_ours_alone_and_what_others_own_elsewhere_stays() {
        let mut object = object();
        object["spec"] = json!({"replicas": 1, "paused": true});
        object["metadata"]["managedFields"] = claimed(&object, "spec");
        let managers: Vec<String> = owners(&object).iter().map(|owner| owner.manager.clone()).collect();
        assert_eq!(managers, ["portreeve"], "who owned nothing else is gone");
        let paused = Path::of(&["spec", "paused"].map(|key| Step::Key(key.to_owned())));
        assert!(owners_of(&object, &paused).iter().all(Owner::is_ours));
        let label = Path::of(&["metadata", "labels", "app"].map(|key| Step::Key(key.to_owned())));
        assert!(owners_of(&object, &label).iter().any(Owner::is_ours));
    }

    #[test]
    fn a_name_that_begins_like_a_tools_is_not_one() {
        let tool = |manager: &str| Owner { manager: manager.to_owned(), declares: false, subresource: String::new() };
        assert!(tool("kubectl-client-side-apply").is_tool() && tool("helm").is_tool() && tool("Terraform").is_tool());
        assert!(!tool("helm4operator").is_tool() && !tool("kubelet").is_tool());
    }
}
