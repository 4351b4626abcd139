//! Images in one file: what `docker save` and `crane pull` write, or an OCI layout in an archive; as it is, or
//! compressed. Members are found once and read where they lie.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use portreeve_policies::image_contract::read::{Blobs, DOCUMENT_BYTES, Descriptor, Manifest};
use portreeve_policies::layers::archive::{Archive, Kind};
use portreeve_policies::layers::compression::Stream;
use portreeve_policies::layers::{Caps, Problem};
use portreeve_reports::Cause;
use serde::Deserialize;

use super::layout::{self, IMAGES, blob_path};
use crate::runtime::files;

/// Most members of an archive.
const MEMBERS: usize = 20_000;
/// Annotation of ours with the member that a descriptor is read from.
const MEMBER: &str = "dev.portreeve.member";
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

    /// The images, of this name where one is given. Where an archive has both forms, the one with digests is believed.
    ///
    /// # Errors
    /// When it has no list of images that can be read.
    pub fn images(&self, name: Option<&str>) -> Result<Vec<ArchivedImage>, Problem> {
        if self.members.contains_key("index.json") && self.members.contains_key("oci-layout") {
            let listed = layout::listed(&self.document("index.json")?, name)?;
            let described = |image: Descriptor| {
                let name = layout::image_name(&image);
                ArchivedImage::Described(image, name)
            };
            return Ok(listed.into_iter().map(described).collect());
        }
        if !self.members.contains_key("manifest.json") {
            return Err(Problem::unreadable("it has neither index.json nor manifest.json, and so no image"));
        }
        let saved: Vec<Saved> = serde_json::from_slice(&self.document("manifest.json")?).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::unreadable(format!(
                "manifest.json is not the JSON that it should be (line {line} column {column})"
            ))
        })?;
        if saved.len() > IMAGES {
            return Err(Problem::too_large(format!("the archive has more than {IMAGES} images")));
        }
        let is_meant = |saved: &Saved| name.is_none_or(|name| saved.repo_tags.iter().flatten().any(|tag| tag == name));
        Ok(saved.into_iter().filter(is_meant).map(Saved::image).collect())
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
        // `docker save` links layers that are the same; a link to a link is nobody's.
        let found = match self.members.get(member) {
            Some(Member::Link(target)) => self.members.get(target),
            found => found,
        };
        let Some(Member::At { offset, size }) = found else { return Err(Problem::missing()) };
        let mut file = &self.file;
        file.seek(SeekFrom::Start(*offset)).map_err(of_file)?;
        Ok(Box::new(file.take(*size)))
    }
}

impl Blobs for ImageArchive {
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + '_>, Problem> {
        match blob.annotations.get(MEMBER) {
            Some(member) => self.read(member),
            None => self.read(&blob_path(&blob.digest)?),
        }
    }
}

impl Saved {
    fn image(self) -> ArchivedImage {
        let of = |media_type: &str, digest: &str, member: &str| {
            let annotations = BTreeMap::from([(MEMBER.to_owned(), plain(member))]);
            Descriptor { annotations, ..Descriptor::of(media_type, digest, None) }
        };
        let config = of(DOCKER_CONFIG, &digest_in(&self.config), &self.config);
        // What a layer is called says nothing that all writers mean alike; the configuration says what it must hold.
        let layers = self.layers.iter().map(|member| of("", "", member)).collect();
        let name = self.repo_tags.into_iter().flatten().next();
        ArchivedImage::Listed(Manifest { config, layers }, name)
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
mod tests {
    use super::*;

    #[test]
    fn names_of_configurations_tell_their_digest_and_other_names_tell_none() {
        let hex = "ab".repeat(32);
        for member in [format!("sha256:{hex}"), format!("{hex}.json"), format!("blobs/sha256/{hex}")] {
            assert_eq!(digest_in(&member), format!("sha256:{hex}"));
        }
        assert_eq!(digest_in("config.json"), "");
    }

    #[test]
    fn paths_of_members_stay_in_the_archive() {
        assert_eq!(plain("./a/../b//c"), "b/c");
        assert_eq!(plain("../../etc/passwd"), "etc/passwd");
    }
}
