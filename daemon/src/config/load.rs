//! Finding, reading and overlaying the configuration.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use portreeve_reports::source::node::Entry;
use portreeve_reports::source::{Limits, Map, Node, Place, Problems, Value, yaml};

use super::files::{self, Look, NamedFile, Use};
use super::raw::RawConfig;
use super::valid::Config;
use crate::runtime::files::open_named;

/// Name of the file that is looked for from the working directory up to the repository root.
pub const FILE_NAME: &str = "portreeve.yaml";
/// Prefix of the environment variables that lay over the file; `__` goes one level down.
pub const ENVIRONMENT_PREFIX: &str = "PORTREEVE_";

/// Variables with the prefix that are not configuration: where the tests find their programs.
const NOT_CONFIGURATION: [&str; 1] = ["PORTREEVE_PARTS"];

/// Largest configuration.
const MAX_BYTES: usize = 1 << 20;

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The checked configuration.
    pub config: Config,
    /// The file, when one was found.
    pub file: Option<PathBuf>,
    /// The merged tree, for `config show`.
    pub tree: Node,
    /// Names of the environment variables, by the column of the nodes they made.
    pub variables: Vec<String>,
    /// The file's bytes; empty without a file.
    pub bytes: Vec<u8>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {file} could not be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// The file has mistakes; all of them.
    #[error("{0}")]
    Invalid(#[from] Problems),
}

/// Loads `explicit`, or the nearest file, or nothing; then the environment; then checks the whole, and that the files
/// of these uses are on disk.
pub fn load(
    explicit: Option<&Path>,
    environment: &BTreeMap<String, String>,
    uses: &[Use],
) -> Result<LoadedConfig, ConfigError> {
    let file = explicit.map(Path::to_path_buf).or_else(|| find(environment));
    let bytes = match &file {
        Some(file) => read_capped(file, MAX_BYTES)
            .map_err(|error| ConfigError::Unreadable { file: file.display().to_string(), reason: error.to_string() })?,
        None => Vec::new(),
    };
    let look = |file: &NamedFile| if uses.contains(&file.used_for) { files::on_disk(file) } else { Ok(()) };
    parse(file, bytes, environment, &look)
}

/// The same for bytes that were read elsewhere (a git ref), and files that are looked for by `look`.
pub fn parse(
    file: Option<PathBuf>,
    bytes: Vec<u8>,
    environment: &BTreeMap<String, String>,
    look: Look<'_>,
) -> Result<LoadedConfig, ConfigError> {
    let shown = file.as_ref().map_or_else(|| "environment".to_owned(), |file| file.display().to_string());
    let mut problems = Problems::new(&shown);
    let document = read_document(&bytes, &mut problems);
    let (tree, variables) = overlay(document, environment);
    let raw = RawConfig::decode(&tree, &mut problems);
    let base = file.as_deref().and_then(Path::parent).map_or_else(PathBuf::new, Path::to_path_buf);
    let config = Config::validate(&raw, &base, &mut problems);
    files::look_for_all(&raw, &base, look, &mut problems);
    let named = name_variables(problems, &variables);
    match (named.into_result(()), config) {
        (Ok(()), Some(config)) => Ok(LoadedConfig { config, file, tree, variables, bytes }),
        (Err(problems), _) => Err(problems.into()),
        (Ok(()), None) => {
            let mut problems = Problems::new(&shown);
            problems.push(Place::default(), "the configuration is not valid");
            Err(ConfigError::Invalid(problems))
        }
    }
}

/// At most one byte more than `cap` of a file. A pipe is one only where the shell handed it over.
pub fn read_capped(file: &Path, cap: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_named(file)?.take(cap as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_document(bytes: &[u8], problems: &mut Problems) -> Node {
    let empty = || Node { value: Value::Map(Map::default().into()), place: Place { line: 1, column: 1 } };
    let mut documents =
        yaml::read(bytes, &Limits { bytes: MAX_BYTES, nodes: 100_000, ..Limits::default() }).into_iter();
    let first = documents.next();
    if let Some(Ok(second)) = documents.next() {
        problems.push(second.place, "a configuration is one document; this is a second one");
    }
    match first {
        None => empty(),
        Some(Ok(node)) => node,
        Some(Err(error)) => {
            problems.push(error.place, error.message);
            empty()
        }
    }
}

/// The nearest `portreeve.yaml` upward, no further than a folder with `.git`; then the XDG configuration folder.
fn find(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let working = std::env::current_dir().ok()?;
    for folder in working.ancestors() {
        let candidate = folder.join(FILE_NAME);
        if candidate.is_file() {
            return Some(candidate);
        }
        if folder.join(".git").exists() {
            break;
        }
    }
    let xdg = environment.get("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = environment.get("HOME").map(|home| Path::new(home).join(".config"));
    Some(xdg.or(home)?.join("portreeve").join(FILE_NAME)).filter(|file| file.is_file())
}

/// Lays the variables over the tree. A node made of the n-th variable stands at line 0, column n.
fn overlay(document: Node, environment: &BTreeMap<String, String>) -> (Node, Vec<String>) {
    let mut tree = document;
    let mut variables = Vec::new();
    for (name, text) in environment {
        let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        if NOT_CONFIGURATION.contains(&name.as_str()) {
            continue;
        }
        let place = Place { line: 0, column: u32::try_from(variables.len()).unwrap_or(u32::MAX) };
        let keys: Vec<String> = path.split("__").map(camel_case).collect();
        tree = with_value(&tree, &keys, &environment_value(text, place), place);
        variables.push(name.clone());
    }
    (tree, variables)
}

/// A variable's text as YAML, so that `true`, numbers and `[a, b]` mean what they mean in the file.
fn environment_value(text: &str, place: Place) -> Node {
    let limits = Limits { bytes: 1 << 16, nodes: 1_000, ..Limits::default() };
    let parsed = yaml::read(text.as_bytes(), &limits).into_iter().next();
    let value = match parsed {
        Some(Ok(node)) if !matches!(node.value, Value::Map(_)) => node.value,
        _ => Value::String(text.into()),
    };
    at_place(Node { value, place }, place)
}

fn at_place(node: Node, place: Place) -> Node {
    let value = match node.value {
        Value::List(items) => {
            Value::List(items.iter().map(|item| at_place(item.clone(), place)).collect::<Vec<_>>().into())
        }
        value => value,
    };
    Node { value, place }
}

fn with_value(node: &Node, keys: &[String], value: &Node, place: Place) -> Node {
    let Some((key, rest)) = keys.split_first() else { return value.clone() };
    let mut entries: Vec<Entry> = node.as_map().map(|map| map.iter().cloned().collect()).unwrap_or_default();
    match entries.iter_mut().find(|entry| *entry.key == **key) {
        Some(entry) => entry.node = with_value(&entry.node, rest, value, place),
        None => entries.push(Entry {
            key: key.as_str().into(),
            key_place: place,
            node: with_value(&Node { value: Value::Null, place }, rest, value, place),
        }),
    }
    let map = Map::new(entries).unwrap_or_default();
    Node { value: Value::Map(map.into()), place: node.place }
}

/// `MAX_TOKEN_LIFETIME` is `maxTokenLifetime`.
fn camel_case(segment: &str) -> String {
    let mut words = segment.split('_').filter(|word| !word.is_empty()).map(str::to_ascii_lowercase);
    let mut text = words.next().unwrap_or_default();
    for word in words {
        let mut letters = word.chars();
        text.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        text.push_str(letters.as_str());
    }
    text
}

/// Problems of values that came from the environment name the variable.
fn name_variables(problems: Problems, variables: &[String]) -> Problems {
    let mut named = Problems::new(problems.file());
    for problem in problems.list() {
        let variable = variables.get(problem.place.column as usize).filter(|_| problem.place.line == 0);
        match variable {
            Some(variable) => named.push(problem.place, format!("{variable}: {}", problem.message)),
            None => named.push(problem.place, problem.message.clone()),
        }
    }
    named
}
