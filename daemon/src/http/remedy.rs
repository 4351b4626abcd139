//! What a person copies from a page: a patch and an exception, as YAML that is safe whatever the names in it.

use std::collections::BTreeMap;

use serde_json::Value;

/// A step of an object path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(u32),
}

/// A tree of what is to be set.
#[derive(Clone, Debug, Default)]
struct Tree {
    value: Option<Value>,
    children: BTreeMap<Step, Tree>,
}

/// The values to set, as one YAML document in the shape of the object. `None` when a path cannot be read.
/// `container` names the items of `containers` lists.
pub(super) fn patch_yaml(patches: &[(String, Value)], container: Option<&str>) -> Option<String> {
    let mut root = Tree::default();
    for (path, value) in patches {
        let mut tree = &mut root;
        for step in steps(path)? {
            tree = tree.children.entry(step).or_default();
        }
        tree.value = Some(value.clone());
    }
    let mut text = String::new();
    write_tree(&mut text, &root, &Place { depth: 0, container, is_containers: false });
    (!text.is_empty()).then_some(text)
}

/// `spec.containers[0].securityContext` and `metadata.labels['app.kubernetes.io/name']`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (step, later) = match rest.strip_prefix('[') {
            Some(inner) => bracketed(inner)?,
            None => {
                let name = rest.strip_prefix('.').unwrap_or(rest);
                let (name, later) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
                (Step::Key(name.to_owned()), later)
            }
        };
        steps.push(step);
        rest = later;
    }
    (!steps.is_empty() && steps.len() < 64).then_some(steps)
}

fn bracketed(inner: &str) -> Option<(Step, &str)> {
    match inner.strip_prefix('\'') {
        Some(quoted) => quoted.split_once("']").map(|(name, later)| (Step::Key(name.to_owned()), later)),
        None => {
            let (index, later) = inner.split_once(']')?;
            Some((Step::Index(index.parse().ok()?), later))
        }
    }
}

struct Place<'a> {
    depth: usize,
    container: Option<&'a str>,
    is_containers: bool,
}

fn write_tree(text: &mut String, tree: &Tree, place: &Place<'_>) {
    for (step, child) in &tree.children {
        let indent = "  ".repeat(place.depth);
        match step {
            Step::Key(name) => {
                text.push_str(&format!("{indent}{}:", scalar(name)));
                let is_containers = name.ends_with("ontainers");
                write_child(text, child, &Place { depth: place.depth + 1, is_containers, ..*place });
            }
            Step::Index(index) => {
                let head = if child.value.is_some() { String::new() } else { format!(" {}", item_head(*index, place)) };
                text.push_str(&format!("{indent}-{head}"));
                write_child(text, child, &Place { depth: place.depth + 1, is_containers: false, ..*place });
            }
        }
    }
}

/// An item's first line: the container's name, or which item it is.
fn item_head(index: u32, place: &Place<'_>) -> String {
    match place.container.filter(|_| place.is_containers) {
        Some(name) => format!("name: {}", scalar(name)),
        None => format!("# item {index}"),
    }
}

fn write_child(text: &mut String, child: &Tree, place: &Place<'_>) {
    if let Some(value) = &child.value {
        // JSON is YAML: a value of any shape stays on its line.
        text.push_str(&format!(" {value}\n"));
    } else {
        text.push('\n');
        write_tree(text, child, place);
    }
}

/// A YAML scalar: plain where that cannot be misread, else quoted as JSON.
fn scalar(text: &str) -> String {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/'));
    let is_word = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let is_typed =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_name && is_word && !is_typed { text.to_owned() } else { Value::from(text).to_string() }
}

/// An exception for exactly this finding, with the three parts that only a person can give left open: as it stands it
/// is invalid, so that nobody excepts by copying alone.
pub(super) fn exception_yaml(code: &str, finding: &Value) -> String {
    let subject = &finding["subject"];
    let field = |name: &str| subject[name].as_str().unwrap_or_default();
    let (kind, name) = selected(subject, field);
    let namespace = field("namespace");
    let scope = if namespace.is_empty() { "ClusterException" } else { "Exception" };
    let home = if namespace.is_empty() { String::new() } else { format!(", namespace: {}", scalar(namespace)) };
    let container = match field("container") {
        "" => String::new(),
        container => format!(", containers: [{}]", scalar(container)),
    };
    format!(
        "apiVersion: portreeve.dev/v1alpha1\nkind: {scope}\nmetadata: {{name: {}{home}}}\nspec:\n  codes: [{}]\n  \
         subjects: {{kinds: [{}], names: [{}]{container}}}\n  owner:     # the team that accepts the risk\n  \
         reason:    # why it is acceptable, in one sentence\n  expires:   # the day it is looked at again, YYYY-MM-DD\n",
        scalar(&format!("accept-{}", code.to_lowercase())),
        scalar(code),
        scalar(&kind),
        scalar(&name),
    )
}

/// Kind and name by which an exception selects the subject.
fn selected<'a>(subject: &'a Value, field: impl Fn(&'static str) -> &'a str) -> (String, String) {
    let (kind, name) = match field("type") {
        "image" => ("Image", repository(field("reference")).to_owned()),
        "file" => ("File", field("file").to_owned()),
        "credential" => ("Credential", field("holder").to_owned()),
        "component" => ("Component", format!("{}/{}", field("platform"), field("component"))),
        _ => (field("kind"), subject["name"].as_str().unwrap_or_default().to_owned()),
    };
    (kind.to_owned(), name)
}

/// The reference without digest and tag.
fn repository(reference: &str) -> &str {
    let untagged = reference.split('@').next().unwrap_or(reference);
    match untagged.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => untagged,
    }
}

#[cfg(test)]
mod tests {
    use portreeve_reports::source::{Limits, yaml};
    use serde_json::json;

    use super::*;

    fn patch(path: &str, value: Value) -> (String, Value) {
        (path.to_owned(), value)
    }

    #[test]
    fn patches_become_one_document_in_the_shape_of_the_object() {
        let patches = [
            patch("spec.template.spec.containers[0].securityContext.privileged", json!(false)),
            patch("spec.template.spec.containers[0].securityContext.capabilities", json!({"drop": ["ALL"]})),
            patch("metadata.labels['app.kubernetes.io/name']", json!("hub")),
        ];
        let expected = "\
metadata:
  labels:
    app.kubernetes.io/name: \"hub\"
spec:
  template:
    spec:
      containers:
        - name: app
          securityContext:
            capabilities: {\"drop\":[\"ALL\"]}
            privileged: false
";
        assert_eq!(patch_yaml(&patches, Some("app")).as_deref(), Some(expected));
    }

    #[test]
    fn an_item_without_a_name_says_which_it_is() {
        let text = patch_yaml(&[patch("spec.rules[2].host", json!("a"))], Some("app")).unwrap();
        assert_eq!(text, "spec:\n  rules:\n    - # item 2\n      host: \"a\"\n");
        assert_eq!(patch_yaml(&[patch("args[1]", json!("-q"))], None).unwrap(), "args:\n  - \"-q\"\n");
    }

    #[test]
    fn a_path_that_cannot_be_read_gives_no_patch() {
        for path in ["", "a[", "a[x]", "a['b"] {
            assert_eq!(patch_yaml(&[patch(path, json!(1))], None), None, "{path}");
        }
    }

    #[test]
    fn an_exception_names_the_subject_and_leaves_the_persons_part_open() {
        let finding = json!({"subject": {"type": "object", "kind": "Deployment", "namespace": "jhub", "name": "hub", "container": "app"}});
        let text = exception_yaml("C-0057", &finding);
        assert!(text.contains("kind: Exception\nmetadata: {name: accept-c-0057, namespace: jhub}\n"));
        assert!(text.contains("subjects: {kinds: [Deployment], names: [hub], containers: [app]}\n"));
        let image = json!({"subject": {"type": "image", "reference": "h:5000/a/b:1@sha256:00"}});
        let text = exception_yaml("PR-1001", &image);
        assert!(text.contains("kind: ClusterException") && text.contains("kinds: [Image], names: [\"h:5000/a/b\"]"));
        let component = json!({"subject": {"type": "component", "platform": "p", "component": "hub"}});
        let text = exception_yaml("PR-5002", &component);
        assert!(text.contains("kind: ClusterException\nmetadata: {name: accept-pr-5002}\n"), "{text}");
        assert!(text.contains("subjects: {kinds: [Component], names: [p/hub]}\n"), "{text}");
        let file = json!({"subject": {"type": "file", "file": "secrets/hub.yaml"}});
        let text = exception_yaml("PR-3008", &file);
        assert!(text.contains("kind: ClusterException") && text.contains("kinds: [File], names: [secrets/hub.yaml]"));
    }

    #[test]
    fn hostile_names_cannot_leave_their_quotes() {
        let name = "x]}\nspec: {codes: [C-0001]}\n\"'#";
        let finding = json!({"subject": {"type": "object", "kind": "Pod", "namespace": "true", "name": name}});
        let text = exception_yaml("C-0057", &finding);
        assert_eq!(text.matches("\nspec:").count(), 1, "{text}");
        assert!(text.contains("namespace: \"true\""));
        let patched = patch_yaml(&[patch("metadata.labels['a: b\n']", json!("\n- x"))], None).unwrap();
        assert_eq!(patched.lines().count(), 3, "{patched}");
        assert!(yaml::read(text.as_bytes(), &Limits::default()).iter().all(Result::is_ok));
    }
}
