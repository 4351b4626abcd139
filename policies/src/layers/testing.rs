//! Archives of tests, entry by entry, good and bad.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// An archive that is written.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// An entry as its header says, whatever that is.
    pub(crate) fn raw(
        mut self,
        (kind, name): (u8, &[u8]),
        (mode, owner): (u32, u64),
        content: &[u8],
        link: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.raw((b'0', name.as_bytes()), (mode, 0), content.as_ref(), b"")
    }

    pub(crate) fn folder(self, name: &str, mode: u32) -> Self {
        self.raw((b'5', name.as_bytes()), (mode, 0), b"", b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.raw((b'2', name.as_bytes()), (0o777, 0), b"", target.as_bytes())
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw((b'1', name.as_bytes()), (0o644, 0), b"", target.as_bytes())
    }

    /// PAX records before the next entry.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (key, value) in records {
            let rest = format!(" {key}={value}\n");
            let length =
                (1..).map(|digits| rest.len() + digits).find(|length| length.to_string().len() + rest.len() == *length);
            text.push_str(&format!("{}{rest}", length.unwrap_or_default()));
        }
        self.raw((b'x', b"pax"), (0o644, 0), text.as_bytes(), b"")
    }

    /// With the two blocks at its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// Without them.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A vector takes everything.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}
