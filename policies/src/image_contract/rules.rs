//! The questions that are asked of an image. Each is answered every time; one that needs files which could not be read
//! is `unknown` with the cause.

mod build;
mod jupyter;
mod named;
mod secrets;
mod start;
mod user;
mod whole;

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use portreeve_reports::{Cause, CodeEntry};
use regex::Regex;

use super::answer::Answer;
use super::contents::{Config, ImageContents, Platform};
use super::inspect::Detector;
use super::packages::Packages;
use crate::layers::tree::{Entry, Node, Path, Tree};

/// Label that says what an image is for.
pub const KIND_LABEL: &str = "dev.portreeve.image.kind";
/// Where programs are looked for in an image that does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// User and group that the platform runs servers and workers as.
const PLATFORM_USER: (u64, u64) = (1000, 100);

/// What an image is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The server of a user.
    Jupyterlab,
    /// The hub.
    Jupyterhub,
    /// A worker or scheduler of Dask.
    DaskWorker,
    /// Anything else.
    #[default]
    Generic,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Jupyterlab, Self::Jupyterhub, Self::DaskWorker, Self::Generic];

    /// Its name on the command line and in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jupyterlab => "jupyterlab",
            Self::Jupyterhub => "jupyterhub",
            Self::DaskWorker => "dask-worker",
            Self::Generic => "generic",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How large and old an image may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Bytes of all layers as stored: what a node pulls.
    pub size: u64,
    /// Bytes of one layer as stored.
    pub layer: u64,
    /// Layers.
    pub layers: usize,
    /// Time since it was made.
    pub age: SignedDuration,
}

impl Default for Budgets {
    /// What a node with 50 MB/s pulls and unpacks within half of the platform's 600 s, and a quarter of a year.
    fn default() -> Self {
        Self { size: 8 << 30, layer: 4 << 30, layers: 100, age: SignedDuration::from_hours(90 * 24) }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the image is for.
    pub kind: Kind,
    /// Version of the hub that its servers speak to.
    pub hub_version: Option<String>,
    /// Platforms that must be there.
    pub platforms: Vec<Platform>,
    /// Bounds.
    pub budgets: Budgets,
    /// When it is.
    pub now: Timestamp,
    /// What tells credentials.
    pub detector: Detector,
}

/// One image and what is asked of it.
pub struct Case<'a> {
    image: &'a ImageContents,
    wanted: &'a Wanted,
    packages: &'a Packages,
}

/// A question.
pub type Rule = fn(&Case<'_>) -> Vec<Answer>;

/// All questions, in the order of their codes.
pub const ALL: &[Rule] = &[
    whole::readable,
    whole::inside,
    whole::platforms,
    whole::budgets,
    whole::labels,
    user::user,
    user::accounts,
    user::setuid,
    user::writable,
    user::home,
    start::starts,
    start::search_path,
    start::openings,
    start::tools,
    user::access,
    secrets::private_keys,
    secrets::credentials,
    secrets::environment,
    secrets::history,
    secrets::repository,
    build::piped,
    build::added_urls,
    build::sudo,
    build::upgrades,
    build::chmod,
    build::base,
    build::channels,
    jupyter::config,
    jupyter::singleuser,
    jupyter::hub_version,
    jupyter::server,
    jupyter::nss_wrapper,
    jupyter::mounts,
    jupyter::companions,
    jupyter::hub,
    jupyter::dask,
    whole::inventory,
];

impl<'a> Case<'a> {
    /// This image, asked for this.
    pub fn new(image: &'a ImageContents, wanted: &'a Wanted) -> Self {
        Self { image, wanted, packages: &image.packages }
    }

    /// All files; an answer where they could not all be read.
    fn files(&self, entry: &'static CodeEntry) -> Result<&'a Tree, Answer> {
        match &self.image.problem {
            None => Ok(&self.image.tree),
            Some(problem) => Err(Answer::unread(entry, problem)),
        }
    }

    /// The configuration; an answer where it could not be read.
    fn config(&self, entry: &'static CodeEntry) -> Result<&'a Config, Answer> {
        match &self.image.problem {
            Some(problem) if !self.image.has_config => Err(Answer::unread(entry, problem)),
            _ => Ok(&self.image.config),
        }
    }

    /// Nothing but an answer where the image is of none of these kinds.
    fn is_of(&self, kinds: &[Kind], entry: &'static CodeEntry) -> Result<(), Answer> {
        let kind = self.wanted.kind;
        let other = || Answer::not_applicable(entry, format!("nobody asks it of an image of kind {}", kind.as_str()));
        kinds.contains(&kind).then_some(()).ok_or_else(other)
    }

    /// The folders of PATH as written.
    fn search_path(&self) -> Vec<&'a str> {
        self.image.config.config.variable("PATH").unwrap_or(DEFAULT_PATH).split(':').collect()
    }

    /// Where a program is that is called by its name, or by its path.
    fn program(&self, name: &str) -> Option<(Path, &'a Entry)> {
        let is_program = |found: &(Path, &Entry)| found.1.node == Node::File && found.1.mode & 0o111 != 0;
        if name.contains('/') {
            let folder = if name.starts_with('/') { "" } else { self.image.config.config.working_dir.as_str() };
            return self.image.tree.get(&format!("{folder}/{name}")).filter(is_program);
        }
        let folders = self.search_path();
        folders.iter().find_map(|folder| self.image.tree.get(&format!("{folder}/{name}")).filter(is_program))
    }

    /// The environment that a program on the PATH is from: `opt/conda/envs/default` of its `bin/NAME`, as called.
    fn environment_of(&self, name: &str) -> Option<String> {
        let folders = self.search_path();
        let folder = folders.iter().find(|folder| self.image.tree.get(&format!("{folder}/{name}")).is_some())?;
        let prefix = folder.trim_matches('/').strip_suffix("bin")?;
        Some(prefix.trim_end_matches('/').to_owned())
    }

    /// The kept text of a file; `Err` where it is there and was too large to be kept, or is a link that leads nowhere.
    fn text(&self, path: &str) -> Result<Option<(&'a Entry, String)>, Answer> {
        match self.image.tree.get(path) {
            Some((_, entry)) if entry.node == Node::File => Ok(Some((entry, self.content(path, entry)?))),
            None if self.image.tree.entry(path).is_some() => {
                let message = format!("/{path} is a link to what is not in the image");
                Err(Answer::unknown(&super::codes::READABLE, Cause::Unreadable, message))
            }
            _ => Ok(None),
        }
    }

    fn content(&self, path: &str, entry: &Entry) -> Result<String, Answer> {
        let too_large = || {
            let message = format!("/{} is larger than what is kept in memory", path.trim_start_matches('/'));
            Answer::unknown(&super::codes::READABLE, Cause::TooLarge, message)
        };
        entry.content.as_deref().map(|content| String::from_utf8_lossy(content).into_owned()).ok_or_else(too_large)
    }
}

/// The answers of a rule that may end early with one.
fn answered(entry: &'static CodeEntry, answers: Result<Vec<Answer>, Answer>) -> Vec<Answer> {
    answers.unwrap_or_else(|answer| vec![answer.about(entry)])
}

/// A pattern that is written in the code.
macro_rules! pattern {
    ($pattern:expr) => {{
        static PATTERN: std::sync::LazyLock<Option<regex::Regex>> =
            std::sync::LazyLock::new(|| regex::Regex::new($pattern).ok());
        &PATTERN
    }};
}
use pattern;

/// Whether a pattern is in a text.
fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests;
