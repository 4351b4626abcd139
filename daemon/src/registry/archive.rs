//! Images in one file: what `docker save` and `crane pull` write, or an OCI layout in an archive; as it is, or
//! compressed. Members are found once and read where they lie.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use portreeve_policies::image_contract::read::{self, Blobs, DOCUMENT_BYTES, Descriptor, Manifest};
use portreeve_policies::layers::archive::{Archive, Kind};
use portreeve_policies::layers::compression::Stream;
use portreeve_policies::layers::{Caps, Problem};
use portreeve_reports::Cause;
use serde::Deserialize;

use super::layout::{self, IMAGES, blob_path};
use crate::runtime::files;

/// Most members of an archive.
const MEMBERS: usize = 20_000;
/// What `docker save` writes, and `docker load` reads.
const LIST: &str = "manifest.json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// An archive with images.
pub struct ImageArchive {
    file: File,
    members: BTreeMap<String, Member>,
}

/// Where a member is.
#[derive(Clone, Debug)]
enum Member {
    At {
        offset: u64,
        size: u64,
    },
    /// The same as another one.
    Link(String),
}

/// An image of an archive.
pub enum ArchivedImage {
    /// By a descriptor, as in a layout, and its name where it has one.
    Described(Descriptor, Option<String>),
    /// By the list of members that `docker save` writes.
    Listed(Manifest, Option<String>),
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl ImageArchive {
    /// Finds the members. A compressed archive is decompressed into a nameless file of this machine, within the bounds
    /// of an image.
    ///
    /// # Errors
    /// When it is no archive, breaks off, or has more than is read.
    pub fn open(path: &Path, caps: &Caps) -> Result<Self, Problem> {
        let mut file = files::open_named(path).map_err(of_file)?;
        if is_compressed(&mut file)? {
            let mut plain = tempfile::tempfile().map_err(of_file)?;
            let mut stream = Stream::new(BufReader::new(file), caps, caps.total_bytes)?;
            io::copy(&mut stream, &mut plain).map_err(|error| of_archive(error.into()))?;
            plain.rewind().map_err(of_file)?;
            file = plain;
        }
        let members = members(&file, caps).map_err(of_archive)?;
        Ok(Self { file, members })
    }

    /// The images. Where an archive has both forms, the one with digests is judged and the other must mean the same.
    ///
    /// # Errors
    /// When it has no list of images that can be read, or two that do not agree.
    pub fn images(&self) -> Result<Vec<ArchivedImage>, Problem> {
        let has_list = self.members.contains_key(LIST);
        if self.members.contains_key("index.json") && self.members.contains_key("oci-layout") {
            let listed = layout::listed(&self.document("index.json")?, None)?;
            if has_list {
                self.check_list(&listed)?;
            }
            let described = |image: Descriptor| {
                let name = layout::image_name(&image);
                ArchivedImage::Described(image, name)
            };
            return Ok(listed.into_iter().map(described).collect());
        }
        if !has_list {
            return Err(Problem::unreadable("it has neither index.json nor manifest.json, and so no image"));
        }
        Ok(self.saved()?.into_iter().map(Saved::image).collect())
    }

    /// The images of `manifest.json`.
    fn saved(&self) -> Result<Vec<Saved>, Problem> {
        let saved: Vec<Saved> = serde_json::from_slice(&self.document(LIST)?).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::unreadable(format!("{LIST} is not the JSON that it should be (line {line} column {column})"))
        })?;
        if saved.len() > IMAGES {
            return Err(Problem::too_large(format!("the archive has more than {IMAGES} images")));
        }
        Ok(saved)
    }

    /// What `docker load` reads of an archive must be what is judged: each image of `manifest.json` has the
    /// configuration and the layers of one that `index.json` leads to.
    fn check_list(&self, listed: &[Descriptor]) -> Result<(), Problem> {
        let mut judged = Vec::new();
        for root in listed {
            // An image that is listed and not there is told where it is judged.
            let images = read::images(self, root).unwrap_or_default();
            let manifests = images.iter().filter_map(|image| read::manifest(self, &image.descriptor).ok());
            judged.extend(manifests.filter_map(|manifest| self.places(&manifest)));
        }
        for (index, saved) in self.saved()?.iter().enumerate() {
            if !self.places(&saved.manifest()).is_some_and(|places| judged.contains(&places)) {
                let message = format!(
                    "image {} of {LIST} is none of index.json: what is loaded depends on the reader",
                    index + 1
                );
                return Err(Problem::unreadable(message));
            }
        }
        Ok(())
    }

    /// Where the configuration and the layers of an image lie; `None` where one is not there.
    fn places(&self, manifest: &Manifest) -> Option<Vec<(u64, u64)>> {
        let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
        blobs.map(|blob| self.find(&member_of(blob).ok()?)).collect()
    }

    /// Offset and size of a member.
    fn find(&self, member: &str) -> Option<(u64, u64)> {
        // `docker save` links layers that are the same; a link to a link is nobody's.
        let found = match self.members.get(member) {
            Some(Member::Link(target)) => self.members.get(target),
            found => found,
        };
        let Some(Member::At { offset, size }) = found else { return None };
        Some((*offset, *size))
    }

    fn document(&self, member: &str) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        self.read(member)?.take(DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > DOCUMENT_BYTES {
            true => Err(Problem::too_large(format!("{member} has more than {DOCUMENT_BYTES} bytes"))),
            false => Ok(bytes),
        }
    }

    fn read(&self, member: &str) -> Result<Box<dyn Read + '_>, Problem> {
        let (offset, size) = self.find(member).ok_or_else(Problem::missing)?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset)).map_err(of_file)?;
        Ok(Box::new(file.take(size)))
    }
}

/// The member with the bytes of a blob.
fn member_of(blob: &Descriptor) -> Result<String, Problem> {
    blob.member.clone().map_or_else(|| blob_path(&blob.digest), Ok)
}

impl Blobs for ImageArchive {
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, Problem> {
        self.read(&member_of(blob)?)
    }
}

impl Saved {
    fn image(self) -> ArchivedImage {
        let name = self.repo_tags.iter().flatten().next().cloned();
        ArchivedImage::Listed(self.manifest(), name)
    }

    fn manifest(&self) -> Manifest {
        let of = |media_type: &str, digest: &str, member: &str| {
            let member = Some(plain(member));
            Descriptor { member, ..Descriptor::of(media_type, digest, None) }
        };
        let config = of(DOCKER_CONFIG, &digest_in(&self.config), &self.config);
        // What a layer is called says nothing that all writers mean alike; the configuration says what it must hold.
        let layers = self.layers.iter().map(|member| of("", "", member)).collect();
        Manifest { config, layers }
    }
}

/// Members of configurations are called by their digest: `sha256:…`, `….json`, `blobs/sha256/…`.
fn digest_in(member: &str) -> String {
    let name = member.rsplit('/').next().unwrap_or(member);
    let hex = name.trim_start_matches("sha256:").trim_end_matches(".json");
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if is_digest { format!("sha256:{hex}") } else { String::new() }
}

fn is_compressed(file: &mut File) -> Result<bool, Problem> {
    let mut start = Vec::new();
    let read = Read::by_ref(file).take(4).read_to_end(&mut start).and_then(|_| file.rewind());
    read.map_err(of_file)?;
    Ok(start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]))
}

fn members(file: &File, caps: &Caps) -> Result<BTreeMap<String, Member>, Problem> {
    let mut archive = Archive::new(Counted { source: BufReader::new(file), count: 0 }, caps.name_bytes);
    let mut members = BTreeMap::new();
    while let Some(header) = archive.next()? {
        let name = plain(&String::from_utf8_lossy(&header.name));
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let member = match &header.kind {
            Kind::File => Member::At { offset: archive.source().count, size: header.size },
            Kind::SymbolicLink(target) => Member::Link(plain(&format!("{folder}/{}", String::from_utf8_lossy(target)))),
            Kind::HardLink(target) => Member::Link(plain(&String::from_utf8_lossy(target))),
            _ => continue,
        };
        members.insert(name, member);
        if members.len() > MEMBERS {
            return Err(Problem::too_large(format!("the archive has more than {MEMBERS} members")));
        }
    }
    Ok(members)
}

/// A path of the archive: `./` and `..` resolved.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Counts what was read: where a member begins.
struct Counted<R> {
    source: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

fn of_file(error: io::Error) -> Problem {
    let cause = if error.kind() == io::ErrorKind::PermissionDenied { Cause::Forbidden } else { Cause::Unreadable };
    Problem { cause, message: error.to_string() }
}

/// A problem with the archive of an image, told as such.
fn of_archive(problem: Problem) -> Problem {
    let message =
        problem.message.replace("the layer's archive", "the archive").replace("the layer breaks", "the archive breaks");
    Problem { message, ..problem }
}

#[cfg(test)]
mod tests;
