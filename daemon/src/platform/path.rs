//! Paths into objects, and keeping what the cluster has at one. Pure.

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a map.
    Key(String),
    /// The item of a list whose field (`name`) has this value.
    Item(String, Value),
    /// The item at a position.
    Index(usize),
}

/// A path from the root of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// A path of these steps.
    pub fn of(steps: &[Step]) -> Self {
        Self(steps.to_vec())
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path one step further.
    pub fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Whether it starts with these keys.
    pub fn is_below(&self, keys: &[&str]) -> bool {
        let starts = |(step, key): (&Step, &&str)| matches!(step, Step::Key(own) if own == key);
        self.0.len() >= keys.len() && self.0.iter().zip(keys).all(starts)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if plain(key) && index == 0 => f.write_str(key)?,
                Step::Key(key) if plain(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "['{}']", portreeve_reports::source::shown(key))?,
                Step::Item(key, value) => write!(f, "[{key}={}]", portreeve_reports::source::shown(&text(value)))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The path of a JSON pointer (RFC 6901), numbers being positions where they stand in a list of the object.
pub fn of_pointer(pointer: &str, object: &Value) -> Path {
    let mut path = Path::default();
    let mut at = Some(object);
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let index = token.parse::<usize>().ok().filter(|_| at.is_some_and(Value::is_array));
        let step = index.map_or(Step::Key(token), Step::Index);
        at = at.and_then(|value| child(value, &step));
        path.0.push(step);
    }
    path
}

/// The value at a path.
pub fn get<'a>(object: &'a Value, path: &Path) -> Option<&'a Value> {
    path.0.iter().try_fold(object, child)
}

fn child<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.as_array()?.get(*index),
        Step::Item(key, wanted) => value.as_array()?.iter().find(|item| item.get(key) == Some(wanted)),
    }
}

fn child_mut<'a>(value: &'a mut Value, step: &Step) -> Option<&'a mut Value> {
    match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.as_array_mut()?.get_mut(*index),
        Step::Item(key, wanted) => value.as_array_mut()?.iter_mut().find(|item| item.get(key) == Some(wanted)),
    }
}

/// Makes what is asked for agree with what is there at a path, so that applying leaves the field as it is: a value
/// that equals the live one is shared with its owner and never taken from him.
pub fn keep_live(wanted: &mut Value, live: &Value, path: &Path) {
    let Some((last, parents)) = path.0.split_last() else { return };
    let found = get(live, path).cloned();
    let mut at = wanted;
    for step in parents {
        let is_missing = child_mut(at, step).is_none();
        if let (true, Some(_), Step::Key(key), Some(map)) = (is_missing, &found, step, at.as_object_mut()) {
            map.insert(key.clone(), Value::Object(serde_json::Map::new()));
        }
        match child_mut(at, step) {
            Some(next) => at = next,
            None => return,
        }
    }
    match (last, found) {
        (Step::Key(key), Some(value)) => {
            if let Some(map) = at.as_object_mut() {
                map.insert(key.clone(), value);
            }
        }
        (Step::Key(key), None) => {
            if let Some(map) = at.as_object_mut() {
                map.shift_remove(key);
            }
        }
        (step, Some(value)) => {
            if let Some(place) = child_mut(at, step) {
                *place = value;
            }
        }
        (_, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_live_is_kept_whether_it_is_there_other_or_gone() {
        let live =
            json!({"spec": {"replicas": 5, "template": {"spec": {"containers": [{"name": "a", "image": "x:2"}]}}}});
        let mut wanted = json!({"spec": {"replicas": 1, "paused": true,
            "template": {"spec": {"containers": [{"name": "b"}, {"name": "a", "image": "x:1"}]}}}});
        for pointer in ["/spec/replicas", "/spec/paused", "/status/seen"] {
            let path = of_pointer(pointer, &live);
            keep_live(&mut wanted, &live, &path);
        }
        let key = |text: &str| Step::Key(text.to_owned());
        let image = Path::of(&[
            key("spec"),
            key("template"),
            key("spec"),
            key("containers"),
            Step::Item("name".to_owned(), json!("a")),
            key("image"),
        ]);
        keep_live(&mut wanted, &live, &image);
        assert_eq!(
            wanted,
            json!({"spec": {"replicas": 5,
            "template": {"spec": {"containers": [{"name": "b"}, {"name": "a", "image": "x:2"}]}}}})
        );
        assert_eq!(image.to_string(), "spec.template.spec.containers[name=a].image");
    }

    #[test]
    fn pointers_escape_and_count() {
        let object = json!({"metadata": {"annotations": {"a/b": 1}}, "list": [{"x": 1}]});
        assert_eq!(get(&object, &of_pointer("/metadata/annotations/a~1b", &object)), Some(&json!(1)));
        assert_eq!(get(&object, &of_pointer("/list/0/x", &object)), Some(&json!(1)));
        assert_eq!(get(&object, &of_pointer("/list/7/x", &object)), None);
        assert_eq!(of_pointer("/metadata/annotations/a~1b", &object).to_string(), "metadata.annotations['a/b']");
    }
}
