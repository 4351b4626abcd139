//! Layers of an image: archives in, one table of files out, without writing anything anywhere.
//!
//! * [`compression`]: gzip, zstd or neither, within bounds, with the digests of what went in and what came out.
//! * [`archive`]: the tar framing; names are bounded before they are kept.
//! * [`tree`]: what all layers come to, whiteouts honoured; links are resolved inside the image and never left.
//!
//! Everything read here is hostile. Whatever stops the reading is a [`Problem`] with its cause, never an empty layer.

pub mod archive;
pub mod compression;
pub mod tree;

use std::io::Read;
use std::sync::Arc;

use portreeve_reports::Cause;

use archive::{Archive, Header, Kind};
use compression::Stream;
use tree::{Entry, Node, Oddity, Tree};

/// What is read at most. The defaults are for whole images of data science; tests use small ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Layers of an image.
    pub layers: usize,
    /// Entries in all layers of an image.
    pub entries: usize,
    /// Bytes of one layer, decompressed.
    pub layer_bytes: u64,
    /// Bytes of all layers, decompressed.
    pub total_bytes: u64,
    /// Bytes that come of one compressed byte, judged beyond [`Caps::ratio_from`].
    pub ratio: u64,
    /// Decompressed bytes of a layer from which on the ratio counts.
    pub ratio_from: u64,
    /// Bytes of a name.
    pub name_bytes: usize,
    /// Folders in one another.
    pub depth: usize,
    /// Bytes of all names, folders that no layer describes included.
    pub table_bytes: usize,
    /// Bytes of a file that is looked into.
    pub file_bytes: u64,
    /// Bytes of all files that are kept.
    pub kept_bytes: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            layers: 512,
            entries: 1_000_000,
            layer_bytes: 20 << 30,
            total_bytes: 20 << 30,
            ratio: 500,
            ratio_from: 64 << 20,
            name_bytes: 4096,
            depth: 256,
            table_bytes: 512 << 20,
            file_bytes: 4 << 20,
            kept_bytes: 64 << 20,
        }
    }
}

/// Why a layer could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The cause of the verdicts that needed it.
    pub cause: Cause,
    /// What happened.
    pub message: String,
}

impl Problem {
    /// What is broken.
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self { cause: Cause::Unreadable, message: message.into() }
    }

    /// What is more than is read.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self { cause: Cause::TooLarge, message: message.into() }
    }
}

impl From<std::io::Error> for Problem {
    /// Sources and decoders put a [`Problem`] inside where they know the cause.
    fn from(error: std::io::Error) -> Self {
        match Self::inside(&error) {
            Some(known) => known.clone(),
            None => Self::unreadable(format!("the layer breaks off or is damaged: {error}")),
        }
    }
}

impl Problem {
    /// The problem that an error carries, however deep decoders have wrapped it.
    fn inside(error: &std::io::Error) -> Option<&Self> {
        let mut error: &(dyn std::error::Error + 'static) = error.get_ref()?;
        loop {
            if let Some(problem) = error.downcast_ref() {
                return Some(problem);
            }
            // An I/O error passes over what it wraps.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            error = match wrapped {
                Some(wrapped) => wrapped,
                None => error.source()?,
            };
        }
    }
}

impl From<Problem> for std::io::Error {
    fn from(problem: Problem) -> Self {
        Self::other(problem)
    }
}

/// Who looks at the files while they pass.
pub trait Inspector {
    /// Whether the content of this file is kept in the table.
    fn keeps(&self, path: &[u8]) -> bool;
    /// A file of at most [`Caps::file_bytes`], as its layer has it.
    fn look(&mut self, layer: usize, path: &[u8], content: &[u8]);
}

/// What a layer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// Digest of its bytes as stored.
    pub digest: String,
    /// Digest of its archive, decompressed.
    pub diff_id: String,
    /// Bytes as stored.
    pub stored: u64,
    /// Bytes of its archive.
    pub bytes: u64,
    /// Entries of its archive.
    pub entries: usize,
}

/// Reads the layers of one image, lowest first.
pub struct Layers<'a, I> {
    caps: &'a Caps,
    inspector: I,
    tree: Tree,
    entries: usize,
    bytes: u64,
    kept: u64,
    layers: usize,
}

impl<'a, I: Inspector> Layers<'a, I> {
    /// No layer yet.
    pub fn new(caps: &'a Caps, inspector: I) -> Self {
        Self { caps, inspector, tree: Tree::default(), entries: 0, bytes: 0, kept: 0, layers: 0 }
    }

    /// The table and who looked.
    pub fn finish(self) -> (Tree, I) {
        (self.tree, self.inspector)
    }

    /// Lays one more layer over those before it.
    ///
    /// # Errors
    /// When it cannot be read to its end; the table then has a part of it and is no answer to what is absent.
    pub fn add(&mut self, source: impl Read) -> Result<LayerSummary, Problem> {
        if self.layers >= self.caps.layers {
            return Err(Problem::too_large(format!("there are more than {} layers", self.caps.layers)));
        }
        let layer = self.layers;
        self.layers += 1;
        self.tree.begin_layer(layer);
        let stream = Stream::new(source, self.caps, self.caps.total_bytes.saturating_sub(self.bytes))?;
        let mut archive = Archive::new(stream, self.caps.name_bytes);
        let before = self.entries;
        while let Some(header) = archive.next()? {
            self.entries += 1;
            if self.entries > self.caps.entries {
                return Err(Problem::too_large(format!("there are more than {} files", self.caps.entries)));
            }
            if tree::depth(&header.name) > self.caps.depth {
                return Err(Problem::too_large(format!(
                    "folders lie in one another more than {} deep",
                    self.caps.depth
                )));
            }
            self.entry(layer, &header, &mut archive)?;
            if self.tree.table_bytes() > self.caps.table_bytes {
                return Err(Problem::too_large(format!("all names have more than {} bytes", self.caps.table_bytes)));
            }
        }
        let read = archive.into_inner().finish()?;
        self.bytes += read.bytes;
        let entries = self.entries - before;
        Ok(LayerSummary { digest: read.digest, diff_id: read.diff_id, stored: read.stored, bytes: read.bytes, entries })
    }

    fn entry<R: Read>(&mut self, layer: usize, header: &Header, archive: &mut Archive<R>) -> Result<(), Problem> {
        let Some(path) = self.tree.place(&header.name) else { return Ok(()) };
        if let Some(whiteout) = tree::whiteout(&path) {
            self.tree.white_out(whiteout, &header.name);
            return Ok(());
        }
        let node = match &header.kind {
            Kind::File => Node::File,
            Kind::Directory => Node::Directory,
            Kind::SymbolicLink(target) => Node::Link(target.clone().into()),
            Kind::HardLink(target) => {
                self.tree.hard_link(&path, target, &header.name);
                return Ok(());
            }
            Kind::Device => Node::Device,
            Kind::Pipe => Node::Pipe,
        };
        if node == Node::Device {
            self.tree.odd(Oddity::Device, &header.name);
        }
        let content = if node == Node::File { self.content(layer, &path, header, archive)? } else { None };
        let entry = Entry {
            layer,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            size: header.size,
            has_capabilities: header.has_capabilities,
            node,
            content,
        };
        self.tree.put(path, entry);
        Ok(())
    }

    /// Shows the inspector a file, and keeps it where it is wanted and there is room.
    fn content<R: Read>(
        &mut self,
        layer: usize,
        path: &[u8],
        header: &Header,
        archive: &mut Archive<R>,
    ) -> Result<Option<Arc<[u8]>>, Problem> {
        if header.size > self.caps.file_bytes {
            return Ok(None);
        }
        let content = archive.content()?;
        self.inspector.look(layer, path, content);
        if !self.inspector.keeps(path) || self.kept + header.size > self.caps.kept_bytes {
            return Ok(None);
        }
        self.kept += header.size;
        Ok(Some(content.into()))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
