//! What an image has, as plain data.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::Deserializer;

use super::inspect::Sightings;
use super::packages::Packages;
use crate::layers::tree::Tree;
use crate::layers::{LayerSummary, Problem};

/// One image for one platform.
#[derive(Debug, Default)]
pub struct ImageContents {
    /// `linux/amd64`, as the configuration says.
    pub platform: Platform,
    /// As the index that lists it says.
    pub listed_platform: Option<Platform>,
    /// What it is started with and was built by.
    pub config: Config,
    /// Whether that could be read; where not, nothing could.
    pub has_config: bool,
    /// Its layers, lowest first, as far as they were read.
    pub layers: Vec<Layer>,
    /// How many it has.
    pub layer_count: usize,
    /// The files of those that were read.
    pub tree: Tree,
    /// What package managers say is in them.
    pub packages: Packages,
    /// What was noticed in files of any layer, hidden ones included.
    pub sightings: Sightings,
    /// What kept the layers from being read to their end; `None` when all of them were.
    pub problem: Option<Problem>,
    /// All platforms of the index it is from; empty when it is from none.
    pub platforms: Vec<Platform>,
}

/// A layer, and the line of the history that made it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What was read.
    pub summary: LayerSummary,
    /// Index into [`Config::history`]; `None` where the history does not say.
    pub history: Option<usize>,
}

/// A platform as people write it: `linux/arm64/v8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// `v8`, or nothing.
    #[serde(default)]
    pub variant: String,
}

/// A text that is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a platform such as linux/amd64 or linux/arm64/v8")]
pub struct InvalidPlatform(String);

impl Platform {
    /// Whether an image for `self` is what somebody means who asks for `wanted`. `linux/arm64` and `linux/arm64/v8` are
    /// one (containerd's normal form).
    pub fn is(&self, wanted: &Self) -> bool {
        let variant = |platform: &Self| match (platform.architecture.as_str(), platform.variant.as_str()) {
            ("arm64", "v8") | ("amd64", "v1") => String::new(),
            (_, variant) => variant.to_owned(),
        };
        self.os == wanted.os && self.architecture == wanted.architecture && variant(self) == variant(wanted)
    }

    /// How attestations beside the images of an index say that they are none.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

impl std::str::FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |word: &&str| {
            let is_of_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
            !word.is_empty() && word.bytes().all(is_of_word)
        };
        let platform = |variant: &str| Self {
            os: parts[0].to_owned(),
            architecture: parts[1].to_owned(),
            variant: variant.to_owned(),
        };
        match parts.as_slice() {
            words if !words.iter().all(is_word) => Err(InvalidPlatform(text.chars().take(60).collect())),
            [_, _] => Ok(platform("")),
            [_, _, variant] => Ok(platform(variant)),
            _ => Err(InvalidPlatform(text.chars().take(60).collect())),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.variant.is_empty() { "" } else { "/" };
        write!(f, "{}/{}{slash}{}", self.os, self.architecture, self.variant)
    }
}

/// The configuration of an image (OCI image-spec, config.md).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Config {
    /// Where it runs.
    #[serde(flatten)]
    pub platform: Platform,
    /// When it was made, as written.
    #[serde(default)]
    pub created: Option<String>,
    /// How it is started.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Execution,
    /// The layers by the digests of their archives.
    pub rootfs: RootFs,
    /// The steps of its build.
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<Step>,
}

impl Config {
    /// When it was made; `None` where the configuration does not say, or says a time that builds write which want to be
    /// reproducible.
    pub fn made(&self) -> Option<Timestamp> {
        const TOLD_FROM: i64 = 946_684_800;
        let time: Timestamp = self.created.as_deref()?.parse().ok()?;
        Some(time).filter(|time| time.as_second() > TOLD_FROM)
    }
}

/// How an image is started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// User, group.
    #[serde(default, deserialize_with = "or_default")]
    pub user: String,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// What is started.
    #[serde(default, deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// Its arguments.
    #[serde(default, deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Folder it is started in.
    #[serde(default, deserialize_with = "or_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// `8888/tcp`.
    #[serde(default, deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Paths of volumes.
    #[serde(default, deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
}

impl Execution {
    /// The value of a variable; the last one counts.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let pairs = self.env.iter().rev().filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// The layers of a configuration.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RootFs {
    /// Digests of their archives, lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

/// A step of the build.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Step {
    /// The command or instruction.
    #[serde(default, deserialize_with = "or_default")]
    pub created_by: String,
    /// Whether it made no layer.
    #[serde(default, deserialize_with = "or_default")]
    pub empty_layer: bool,
}

/// `null` is as good as nothing: Go writes empty lists so.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(data: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(data).map(Option::unwrap_or_default)
}
