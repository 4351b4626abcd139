//! Images in a folder, as an OCI layout has them (OCI image-spec, image-layout.md).

use std::io::Read;
use std::path::{Path, PathBuf};

use portreeve_policies::image::Digest;
use portreeve_policies::image_contract::read::{Blobs, DOCUMENT_BYTES, Descriptor};
use portreeve_policies::layers::Problem;
use portreeve_reports::Cause;
use serde::Deserialize;

use crate::runtime::files;

/// Annotation with the name, or the tag, that an image has in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the whole name, by containerd and docker.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Most images that are looked at.
pub(super) const IMAGES: usize = 64;

/// A folder with images.
pub struct ImageLayout {
    folder: PathBuf,
}

/// `index.json`.
#[derive(Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
}

impl ImageLayout {
    /// The layout and the images of its index, of this name where one is given.
    ///
    /// # Errors
    /// When the folder has no index that can be read.
    pub fn open(folder: &Path, name: Option<&str>) -> Result<(Self, Vec<Descriptor>), Problem> {
        let layout = Self { folder: folder.to_owned() };
        let mut bytes = Vec::new();
        let file = layout.file("index.json")?;
        file.take(DOCUMENT_BYTES + 1).read_to_end(&mut bytes).map_err(Problem::from)?;
        Ok((layout, listed(&bytes, name)?))
    }

    fn file(&self, path: &str) -> Result<std::fs::File, Problem> {
        files::open(&self.folder.join(path)).map_err(|error| {
            let cause =
                if error.kind() == std::io::ErrorKind::PermissionDenied { Cause::Forbidden } else { Cause::Unreadable };
            Problem { cause, message: format!("{path}: {error}") }
        })
    }
}

/// The images that an `index.json` lists under a name, or all of them.
pub(super) fn listed(bytes: &[u8], name: Option<&str>) -> Result<Vec<Descriptor>, Problem> {
    if bytes.len() as u64 > DOCUMENT_BYTES {
        return Err(Problem::too_large(format!("index.json has more than {DOCUMENT_BYTES} bytes")));
    }
    let index: Index = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::unreadable(format!("index.json is not the JSON that it should be (line {line} column {column})"))
    })?;
    let is_meant = |image: &Descriptor| name.is_none_or(|name| names(image).any(|known| known == name));
    let meant: Vec<Descriptor> = index.manifests.into_iter().filter(is_meant).collect();
    match meant.len() > IMAGES {
        true => Err(Problem::too_large(format!("there are more than {IMAGES} images; name one of them"))),
        false => Ok(meant),
    }
}

fn names(image: &Descriptor) -> impl Iterator<Item = &str> {
    [REF_NAME, IMAGE_NAME].into_iter().filter_map(|key| image.annotations.get(key)).map(String::as_str)
}

/// The whole name of an image of a layout, where it has one.
pub(super) fn image_name(image: &Descriptor) -> Option<String> {
    image.annotations.get(IMAGE_NAME).cloned()
}

/// Where a blob is. Only what is a digest gets into a path.
pub(super) fn blob_path(digest: &str) -> Result<String, Problem> {
    let digest = Digest::parse(digest).map_err(|error| Problem::unreadable(error.to_string()))?;
    Ok(format!("blobs/sha256/{}", digest.hex()))
}

impl Blobs for ImageLayout {
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, Problem> {
        Ok(Box::new(self.file(&blob_path(&blob.digest)?)?))
    }
}
