//! From the blobs of an image to its contents. Every blob must have the digest and size that its descriptor says, and
//! every layer the digest that the configuration says of its archive.

use std::io::Read;

use portreeve_reports::Cause;
use portreeve_reports::digest::sha256;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::contents::{Config, ImageContents, Layer, Platform, or_default};
use super::inspect::{Detector, Inspection};
use super::packages::Packages;
use crate::layers::{Caps, Layers, Problem};

/// Largest index, manifest or configuration.
pub const DOCUMENT_BYTES: u64 = 4 << 20;
/// Most images of one index, indexes in it included.
const IMAGES: usize = 64;
/// How deep indexes lie in one another.
const DEPTH: usize = 4;

/// Media types of indexes.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Media types of manifests.
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Media types of configurations.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// Where blobs are: a registry, a folder, an archive.
pub trait Blobs {
    /// The bytes that a descriptor stands for, from their start. Whether they are the right ones is for the reader to
    /// say.
    ///
    /// # Errors
    /// When they are not there or cannot be had.
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, Problem>;
}

/// What a document says of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of bytes.
    #[serde(default)]
    pub media_type: String,
    /// Their digest; empty where an archive does not say it.
    pub digest: String,
    /// How many.
    pub size: Option<u64>,
    /// For which platform, in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// What it is, when it is no image.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Words beside it.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl Descriptor {
    /// Of a blob about which no more is known.
    pub fn of(media_type: &str, digest: &str, size: Option<u64>) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: digest.to_owned(),
            size,
            platform: None,
            artifact_type: None,
            annotations: std::collections::BTreeMap::new(),
        }
    }

    fn is_index(&self) -> bool {
        INDEXES.contains(&self.media_type.as_str())
    }

    /// Attestations and other referrers lie beside the images of an index.
    fn is_image(&self) -> bool {
        let is_attestation = self.annotations.contains_key("vnd.docker.reference.type");
        let is_unknown = self.platform.as_ref().is_some_and(Platform::is_unknown);
        MANIFESTS.contains(&self.media_type.as_str()) && self.artifact_type.is_none() && !is_attestation && !is_unknown
    }
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// What a manifest says.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// How it is started.
    pub config: Descriptor,
    /// Its files, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An image of an index, or one that stands alone.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// All platforms of the index; empty for one that stands alone.
    pub platforms: Vec<Platform>,
}

/// The images behind a descriptor: itself, or those of an index and the indexes in it.
///
/// # Errors
/// When an index cannot be read or has more than is read.
pub fn images(blobs: &dyn Blobs, root: &Descriptor) -> Result<Vec<Listed>, Problem> {
    if !root.is_index() {
        return Ok(vec![Listed { descriptor: root.clone(), platforms: Vec::new() }]);
    }
    let mut found = Vec::new();
    collect(blobs, root, DEPTH, &mut found)?;
    let platforms: Vec<Platform> = found.iter().filter_map(|found| found.platform.clone()).collect();
    Ok(found.into_iter().map(|descriptor| Listed { descriptor, platforms: platforms.clone() }).collect())
}

fn collect(blobs: &dyn Blobs, root: &Descriptor, depth: usize, found: &mut Vec<Descriptor>) -> Result<(), Problem> {
    if depth == 0 {
        return Err(Problem::too_large(format!("indexes lie in one another more than {DEPTH} deep")));
    }
    let index: Index = document(blobs, root, "index")?;
    for descriptor in index.manifests {
        if descriptor.is_index() {
            collect(blobs, &descriptor, depth - 1, found)?;
        } else if descriptor.is_image() {
            found.push(descriptor);
        }
        if found.len() > IMAGES {
            return Err(Problem::too_large(format!("the index has more than {IMAGES} images")));
        }
    }
    Ok(())
}

/// The manifest of an image.
///
/// # Errors
/// When it cannot be read, or is that of something else.
pub fn manifest(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Manifest, Problem> {
    let manifest: Manifest = document(blobs, descriptor, "manifest")?;
    if !CONFIGS.contains(&manifest.config.media_type.as_str()) {
        let kind: String = manifest.config.media_type.chars().take(100).collect();
        return Err(Problem::unreadable(format!("this is no container image: its configuration is of type '{kind}'")));
    }
    Ok(manifest)
}

/// What an image has. What keeps its layers from being read is in it; without a configuration there is no image.
///
/// # Errors
/// When the configuration cannot be read.
pub fn contents(
    blobs: &dyn Blobs,
    manifest: &Manifest,
    listed: Option<&Listed>,
    (caps, detector): (&Caps, Detector),
) -> Result<ImageContents, Problem> {
    let config: Config = document(blobs, &manifest.config, "configuration")?;
    let history = history_of_layers(&config, manifest.layers.len());
    let mut layers = Layers::new(caps, Inspection::new(&config, detector));
    let mut read = Vec::new();
    let mut problem = check_count(&config, manifest);
    for (index, descriptor) in manifest.layers.iter().enumerate() {
        if problem.is_some() {
            break;
        }
        let diff_id = config.rootfs.diff_ids.get(index).map_or("", String::as_str);
        match layer(blobs, descriptor, diff_id, &mut layers) {
            Ok(summary) => read.push(Layer { summary, history: history.get(index).copied() }),
            Err(stopped) => {
                let message = format!("layer {} ({}): {stopped}", index + 1, short(&descriptor.digest));
                problem = Some(Problem { message, ..stopped });
            }
        }
    }
    let (tree, inspection) = layers.finish();
    Ok(ImageContents {
        platform: config.platform.clone(),
        listed_platform: listed.and_then(|listed| listed.descriptor.platform.clone()),
        config,
        has_config: true,
        layers: read,
        layer_count: manifest.layers.len(),
        packages: Packages::of(&tree),
        tree,
        sightings: inspection.into_sightings(),
        problem,
        platforms: listed.map(|listed| listed.platforms.clone()).unwrap_or_default(),
    })
}

fn check_count(config: &Config, manifest: &Manifest) -> Option<Problem> {
    let (said, there) = (config.rootfs.diff_ids.len(), manifest.layers.len());
    (said != there)
        .then(|| Problem::unreadable(format!("the manifest has {there} layers and the configuration names {said}")))
}

fn layer(
    blobs: &dyn Blobs,
    descriptor: &Descriptor,
    diff_id: &str,
    layers: &mut Layers<'_, Inspection>,
) -> Result<crate::layers::LayerSummary, Problem> {
    let source = blobs.open(descriptor)?;
    let summary = match descriptor.size {
        Some(size) => layers.add(Sized { source, left: size }),
        None => layers.add(source),
    }?;
    check_digest(descriptor, &summary.digest, summary.stored)?;
    if summary.diff_id != diff_id {
        let message = format!("its archive has the digest {}, and the configuration says {diff_id}", summary.diff_id);
        return Err(Problem::unreadable(message));
    }
    Ok(summary)
}

/// A blob that is longer than it is said to be is not read to its end.
struct Sized<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Sized<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(Problem::unreadable("there are more bytes than its descriptor says").into()),
        }
        Ok(count)
    }
}

/// A JSON document, whole, by its digest.
fn document<T: DeserializeOwned>(blobs: &dyn Blobs, descriptor: &Descriptor, what: &str) -> Result<T, Problem> {
    let named = |problem: Problem| {
        let message = format!("the {what} {}: {problem}", short(&descriptor.digest));
        Problem { message, ..problem }
    };
    let bytes = bytes(blobs, descriptor).map_err(named)?;
    // The error of the parser could tell of the content.
    serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        named(Problem::unreadable(format!("it is not the JSON that it should be ({place})")))
    })
}

fn bytes(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::too_large(format!("it has more than the {DOCUMENT_BYTES} bytes that are read"));
    if descriptor.size.is_some_and(|size| size > DOCUMENT_BYTES) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let read = blobs.open(descriptor)?.take(DOCUMENT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| Problem::from(error).of_blob())?;
    if bytes.len() as u64 > DOCUMENT_BYTES {
        return Err(too_large());
    }
    check_digest(descriptor, &sha256(&bytes), bytes.len() as u64)?;
    Ok(bytes)
}

impl Problem {
    fn of_blob(self) -> Self {
        let message = self.message.replace("the layer breaks off or is damaged", "it breaks off");
        Self { message, ..self }
    }
}

fn check_digest(descriptor: &Descriptor, digest: &str, size: u64) -> Result<(), Problem> {
    if let Some(said) = descriptor.size.filter(|said| *said != size) {
        return Err(Problem::unreadable(format!("it has {size} bytes, and its descriptor says {said}")));
    }
    if !descriptor.digest.is_empty() && descriptor.digest != digest {
        let said: String = descriptor.digest.chars().take(80).collect();
        return Err(Problem::unreadable(format!("its bytes have the digest {digest}, and not {said}")));
    }
    Ok(())
}

/// Which step made which layer; empty where the history does not go with the layers.
fn history_of_layers(config: &Config, layers: usize) -> Vec<usize> {
    let made: Vec<usize> =
        config.history.iter().enumerate().filter(|(_, step)| !step.empty_layer).map(|(index, _)| index).collect();
    if made.len() == layers { made } else { Vec::new() }
}

fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

/// What stands for an image of which not even the configuration could be read.
pub fn unread(problem: Problem) -> ImageContents {
    ImageContents { problem: Some(problem), ..ImageContents::default() }
}

impl Problem {
    /// A blob that is not there.
    pub fn missing() -> Self {
        Self { cause: Cause::Unreadable, message: "it is not there".to_owned() }
    }
}

#[cfg(test)]
mod tests;
