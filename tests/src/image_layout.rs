//! Images that a test builds byte by byte, as OCI layouts: real layers, their history, and what is wrong with them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::OrFail;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An archive of a layer.
#[derive(Default)]
pub struct Layer(Vec<u8>);

impl Layer {
    /// A file of root's.
    #[must_use]
    pub fn file(self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.entry((tar::EntryType::Regular, name.as_bytes()), mode, content.as_ref(), b"")
    }

    /// A folder of root's.
    #[must_use]
    pub fn folder(self, name: &str, mode: u32) -> Self {
        self.entry((tar::EntryType::Directory, name.as_bytes()), mode, b"", b"")
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry((tar::EntryType::Symlink, name.as_bytes()), 0o777, b"", target.as_bytes())
    }

    /// Any entry, as its header says, whatever that is.
    #[must_use]
    pub fn entry(mut self, (kind, name): (tar::EntryType, &[u8]), mode: u32, content: &[u8], link: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn archive(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Bytes in gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).or_fail("compressing");
    encoder.finish().or_fail("compressing")
}

/// An image that is built.
pub struct Image {
    config: Value,
    layers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Image {
    /// For `linux/amd64` and user 1000, with nothing in it.
    pub fn new() -> Self {
        let config = json!({
            "os": "linux", "architecture": "amd64", "created": "2026-11-01T00:00:00Z",
            "config": {"User": "1000:100", "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": []}, "history": [],
        });
        Self { config, layers: Vec::new() }
    }

    /// Sets a field of the configuration's execution part.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.config["config"][key] = value;
        self
    }

    /// Sets the processor that it is for.
    #[must_use]
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.config["architecture"] = architecture.into();
        self
    }

    /// A step of the build and the layer that it made.
    #[must_use]
    pub fn layer(self, step: &str, layer: Layer) -> Self {
        let archive = layer.archive();
        let stored = gzip(&archive);
        self.stored(step, archive, stored)
    }

    /// A step and a layer that is stored as these bytes, whatever they are.
    #[must_use]
    pub fn stored(mut self, step: &str, archive: Vec<u8>, stored: Vec<u8>) -> Self {
        push(&mut self.config["rootfs"]["diff_ids"], digest(&archive).into());
        push(&mut self.config["history"], json!({"created_by": step}));
        self.layers.push((archive, stored));
        self
    }

    /// A step that made no layer.
    #[must_use]
    pub fn step(mut self, step: &str) -> Self {
        push(&mut self.config["history"], json!({"created_by": step, "empty_layer": true}));
        self
    }

    /// Writes the image into a layout; the descriptor of its manifest.
    pub fn write(self, layout: &Layout) -> Value {
        let layers: Vec<Value> = self.layers.iter().map(|(_, stored)| layout.blob(LAYER, stored)).collect();
        let config = layout.blob(CONFIG, self.config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut descriptor = layout.blob(MANIFEST, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({"os": "linux", "architecture": self.config["architecture"]});
        descriptor
    }

    /// Writes it alone into a new layout.
    pub fn layout(self, folder: &Path) -> Layout {
        let layout = Layout::new(folder);
        let descriptor = self.write(&layout);
        layout.index(&[descriptor]);
        layout
    }
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

fn push(list: &mut Value, value: Value) {
    list.as_array_mut().or_fail("a list").push(value);
}

/// A folder with images.
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// With nothing in it.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("blobs/sha256")).or_fail("the folders of a layout");
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).or_fail("the mark of a layout");
        Self { folder: folder.to_owned() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a blob is.
    pub fn path_of(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// Stores a blob; its descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        fs::write(self.path_of(&digest), bytes).or_fail("a blob");
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Writes the list of its images.
    pub fn index(&self, images: &[Value]) {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images});
        fs::write(self.folder.join("index.json"), index.to_string()).or_fail("the index of a layout");
    }

    /// Stores an index of images as one image; its descriptor.
    pub fn nested_index(&self, images: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images});
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// A document by its descriptor.
    pub fn document(&self, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().or_fail("a digest");
        serde_json::from_slice(&fs::read(self.path_of(digest)).or_fail("a blob")).or_fail("a document")
    }
}
