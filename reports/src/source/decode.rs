//! From trees to types: unknown keys, wrong types and missing values become [`Problems`], all of them at once.
//!
//! ```
//! use portreeve_reports::source::{Fields, Limits, Problems, yaml};
//!
//! let text = b"name: hub\nreplics: 2\n";
//! let document = yaml::read(text, &Limits::default()).remove(0).unwrap();
//! let mut problems = Problems::new("hub.yaml");
//! let mut fields = Fields::of(&document, "", &mut problems).unwrap();
//! assert_eq!(fields.required_str("name"), Some("hub"));
//! assert_eq!(fields.optional_int("replicas"), None);
//! fields.finish();
//! let said = problems.into_result(()).unwrap_err().to_string();
//! assert_eq!(said, "hub.yaml:2:1: unknown key 'replics'; did you mean 'replicas'?");
//! ```

use super::node::{Entry, Map, Node, Place};

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what would be right.
    pub message: String,
}

/// All mistakes found in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    problems: Vec<Problem>,
}

impl Problems {
    /// No problem yet in this file.
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), problems: Vec::new() }
    }

    /// Adds one.
    pub fn push(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into() });
    }

    /// Name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The problems in the order of the file.
    pub fn list(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The value when there is no problem.
    pub fn into_result<T>(mut self, value: T) -> Result<T, Self> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        self.problems.sort_by_key(|problem| problem.place);
        Err(self)
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            // Line 0 is no place: the value is missing, or came from the environment.
            match problem.place.line {
                0 => write!(f, "{}: {}", self.file, problem.message)?,
                _ => write!(f, "{}:{}: {}", self.file, problem.place, problem.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The fields of one map while it is decoded. Keys that were never asked for are problems at [`Fields::finish`].
#[derive(Debug)]
pub struct Fields<'node, 'problems> {
    map: &'node Map,
    place: Place,
    path: String,
    asked: Vec<&'static str>,
    problems: &'problems mut Problems,
}

impl<'node, 'problems> Fields<'node, 'problems> {
    /// The fields of a map at `path` (empty for the document itself); a problem and `None` when it is not one.
    pub fn of(node: &'node Node, path: &str, problems: &'problems mut Problems) -> Option<Self> {
        match node.as_map() {
            Some(map) => Some(Self { map, place: node.place, path: path.to_owned(), asked: Vec::new(), problems }),
            None => {
                let whole = if path.is_empty() { "the document" } else { path };
                problems.push(node.place, format!("{whole} must be a map, not {}", node.kind_name()));
                None
            }
        }
    }

    /// Place of the map.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Where the map stands: `secrets.sync[2]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Path of a field, for messages.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key; `null` counts as absent.
    pub fn optional(&mut self, key: &'static str) -> Option<&'node Node> {
        self.asked.push(key);
        self.map.get(key).filter(|node| !node.is_null())
    }

    /// The value of a key that must be there.
    pub fn required(&mut self, key: &'static str) -> Option<&'node Node> {
        let found = self.optional(key);
        if found.is_none() {
            let message = format!("'{}' is missing", self.path_of(key));
            self.problems.push(self.place, message);
        }
        found
    }

    /// Adds a problem.
    pub fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(place, message);
    }

    /// The problems, for decoding a value below this map.
    pub fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        node: Option<&'node Node>,
        wanted: &str,
        read: impl FnOnce(&'node Node) -> Option<T>,
    ) -> Option<T> {
        let node = node?;
        let value = read(node);
        if value.is_none() {
            let message = format!("'{}' must be {wanted}, not {}", self.path_of(key), node.kind_name());
            self.problems.push(node.place, message);
        }
        value
    }

    /// A string.
    pub fn optional_str(&mut self, key: &'static str) -> Option<&'node str> {
        let node = self.optional(key);
        self.typed(key, node, "a string", Node::as_str)
    }

    /// A string that must be there and not be empty.
    pub fn required_str(&mut self, key: &'static str) -> Option<&'node str> {
        let node = self.required(key);
        self.typed(key, node, "a string that is not empty", |node| node.as_str().filter(|text| !text.is_empty()))
    }

    /// A boolean.
    pub fn optional_bool(&mut self, key: &'static str) -> Option<bool> {
        let node = self.optional(key);
        self.typed(key, node, "true or false", Node::as_bool)
    }

    /// A whole number.
    pub fn optional_int(&mut self, key: &'static str) -> Option<i64> {
        let node = self.optional(key);
        self.typed(key, node, "a whole number", Node::as_int)
    }

    /// A list.
    pub fn optional_list(&mut self, key: &'static str) -> Option<&'node [Node]> {
        let node = self.optional(key);
        self.typed(key, node, "a list", Node::as_list)
    }

    /// A list of strings; an item of another type is a problem at its place.
    pub fn optional_strings(&mut self, key: &'static str) -> Option<Vec<&'node str>> {
        let items = self.optional_list(key)?;
        let path = self.path_of(key);
        let mut strings = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => strings.push(text),
                None => {
                    let message = format!("'{path}[{index}]' must be a string, not {}", item.kind_name());
                    self.problems.push(item.place, message);
                }
            }
        }
        Some(strings)
    }

    /// A string that `parse` understands; its error is a problem at the value's place.
    pub fn optional_parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.optional(key);
        self.parsed(key, node, parse)
    }

    /// The same for a value that must be there.
    pub fn required_parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.required(key);
        self.parsed(key, node, parse)
    }

    fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &'static str,
        node: Option<&'node Node>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let place = node?.place;
        let text = self.typed(key, node, "a string", Node::as_str)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("'{}': {error}", self.path_of(key));
                self.problems.push(place, message);
                None
            }
        }
    }

    /// Decodes the map at a key with `decode`; `None` when the key is absent or the value not a map.
    pub fn optional_map<T>(
        &mut self,
        key: &'static str,
        decode: impl FnOnce(&mut Fields<'node, '_>) -> Option<T>,
    ) -> Option<T> {
        let node = self.optional(key)?;
        let path = self.path_of(key);
        Fields::of(node, &path, self.problems)?.finish_with(decode)
    }

    /// Decodes each map of the list at a key; an empty vector when the key is absent.
    pub fn maps<T>(
        &mut self,
        key: &'static str,
        mut decode: impl FnMut(&mut Fields<'node, '_>) -> Option<T>,
    ) -> Vec<T> {
        let path = self.path_of(key);
        let Some(items) = self.optional_list(key) else { return Vec::new() };
        let mut decoded = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let fields = Fields::of(item, &path, self.problems);
            decoded.extend(fields.and_then(|fields| fields.finish_with(&mut decode)));
        }
        decoded
    }

    /// Runs `decode`, then reports the keys that it never asked for.
    pub fn finish_with<T>(mut self, decode: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let decoded = decode(&mut self);
        self.finish();
        decoded
    }

    /// Reports the keys that were never asked for.
    pub fn finish(self) {
        let unknown: Vec<&Entry> = self.map.iter().filter(|entry| !self.asked.contains(&&*entry.key)).collect();
        for entry in unknown {
            let path = self.path_of(&entry.key);
            let hint = did_you_mean(&entry.key, &self.asked)
                .map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
            self.problems.push(entry.key_place, format!("unknown key '{path}'{hint}"));
        }
    }
}

/// A duration such as `30s`, `5m`, `1h30m` or `14d` (a day has 24 hours); `None` for anything else.
pub fn duration(text: &str) -> Option<std::time::Duration> {
    let span = text.parse::<jiff::Span>().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

/// The known word nearest to a mistyped one, when it is near enough to be meant.
pub fn did_you_mean<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(similarity, candidate)| *similarity > 0.8 || strsim::osa_distance(word, candidate) == 1)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}
