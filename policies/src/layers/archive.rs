//! The framing of tar archives, as the readers of container runtimes have it (Go's `archive/tar`): ustar, GNU long
//! names, PAX records. The fields of a header are the tar crate's; its own iterator reads names without a bound.

use std::io::{ErrorKind, Read};

use super::Problem;

const BLOCK: usize = 512;
/// Most bytes of the PAX records of an entry (what Go's reader allows).
const RECORDS: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, with its target as written.
    SymbolicLink(Vec<u8>),
    /// Another name of a file before it.
    HardLink(Vec<u8>),
    /// A block or character device.
    Device,
    /// A named pipe.
    Pipe,
}

/// The header of an entry, extensions applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name as written.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Bytes of content.
    pub size: u64,
    /// Whether it has file capabilities.
    pub has_capabilities: bool,
}

/// Reads entries one after the other.
pub struct Archive<R> {
    source: R,
    name_bytes: usize,
    /// Content of the current entry that is still to come, and the padding behind it.
    left: u64,
    padding: u64,
    buffer: Vec<u8>,
}

/// What the entries before an entry say about it.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    link_path: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    has_capabilities: bool,
}

impl<R: Read> Archive<R> {
    /// At the start of an archive.
    pub fn new(source: R, name_bytes: usize) -> Self {
        Self { source, name_bytes, left: 0, padding: 0, buffer: Vec::new() }
    }

    /// The source, behind the header of the current entry.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// The source, wherever the archive ended.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// The header of the next entry. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// When the archive breaks off, is damaged, or has what its readers do not agree about.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend the content")]
    pub fn next(&mut self) -> Result<Option<Header>, Problem> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(block) = self.block()? else { return Ok(None) };
            if block.iter().all(|byte| *byte == 0) {
                return self.end();
            }
            let header = checked(&block)?;
            let size = header.entry_size().map_err(|_| broken("a size that is no number"))?;
            match header.entry_type().as_byte() {
                b'L' => extensions.long_name = Some(self.long_name(size)?),
                b'K' => extensions.long_link = Some(self.long_name(size)?),
                b'x' => {
                    let records = self.special(size, RECORDS)?;
                    extensions.read(&records)?;
                }
                // Runtimes ignore them.
                b'g' => self.begin(size),
                _ => return self.entry(header, size, extensions).map(Some),
            }
        }
    }

    /// The content of the current entry, whole.
    ///
    /// # Errors
    /// When the archive breaks off.
    pub fn content(&mut self) -> Result<&[u8], Problem> {
        self.start(u64::MAX)
    }

    /// The content of the current entry, so many bytes of it.
    ///
    /// # Errors
    /// When the archive breaks off.
    pub fn start(&mut self, most: u64) -> Result<&[u8], Problem> {
        self.buffer.clear();
        let wanted = self.left.min(most);
        let read = (&mut self.source).take(wanted).read_to_end(&mut self.buffer)? as u64;
        if read != wanted {
            return Err(broken("a file that breaks off"));
        }
        self.left -= wanted;
        Ok(&self.buffer)
    }

    fn entry(&mut self, header: &tar::Header, size: u64, extensions: Extensions) -> Result<Header, Problem> {
        let name = extensions.long_name.or(extensions.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let link = extensions.long_link.or(extensions.link_path).unwrap_or_else(link);
        for name in [&name, &link] {
            self.check_name(name)?;
        }
        let kind = match header.entry_type().as_byte() {
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink(link),
            b'2' => Kind::SymbolicLink(link),
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Pipe,
            b'S' => return Err(broken("a sparse file, whose form its readers do not agree about")),
            _ => return Err(broken("an entry of a kind that nobody knows")),
        };
        // The others have no content, whatever their size says.
        let size = if kind == Kind::File { extensions.size.unwrap_or(size) } else { 0 };
        self.begin(size);
        let number = |field: std::io::Result<u64>| field.map_err(|_| broken("an owner or a mode that is no number"));
        Ok(Header {
            name,
            kind,
            mode: number(header.mode().map(u64::from))? as u32 & 0o7777,
            uid: extensions.uid.map_or_else(|| number(header.uid()), Ok)?,
            gid: extensions.gid.map_or_else(|| number(header.gid()), Ok)?,
            size,
            has_capabilities: extensions.has_capabilities,
        })
    }

    fn check_name(&self, name: &[u8]) -> Result<(), Problem> {
        if name.len() > self.name_bytes {
            return Err(Problem::too_large(format!("a name has more than {} bytes", self.name_bytes)));
        }
        if name.contains(&0) {
            return Err(broken("a name with a zero byte, whose end its readers do not agree about"));
        }
        Ok(())
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, Problem> {
        // With the zero byte at its end.
        let mut name = self.special(size, self.name_bytes as u64 + 1)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn special(&mut self, size: u64, most: u64) -> Result<Vec<u8>, Problem> {
        if size > most {
            return Err(Problem::too_large(format!("a name or the attributes of a file have more than {most} bytes")));
        }
        self.begin(size);
        self.content().map(<[u8]>::to_vec)
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip(&mut self) -> Result<(), Problem> {
        let left = self.left.saturating_add(self.padding);
        let skipped = std::io::copy(&mut (&mut self.source).take(left), &mut std::io::sink())?;
        // Some writers leave out the padding of the last file.
        if skipped < self.left {
            return Err(broken("a file that breaks off"));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next block; `None` where there is not a single byte more.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Problem> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(broken("a header that breaks off")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(block))
    }

    /// Two empty blocks end an archive; what follows one or two, some read and some do not. Padding is empty.
    fn end(&mut self) -> Result<Option<Header>, Problem> {
        match self.block()? {
            Some(block) if block.iter().any(|byte| *byte != 0) => Err(broken("a single empty block with more behind")),
            None => Ok(None),
            Some(_) => self.only_padding().map(|()| None),
        }
    }

    fn only_padding(&mut self) -> Result<(), Problem> {
        let mut padding = [0; 8192];
        loop {
            match self.source.read(&mut padding) {
                Ok(0) => return Ok(()),
                Ok(count) if padding[..count].iter().any(|byte| *byte != 0) => {
                    return Err(broken("more behind its end, which some unpack"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Extensions {
    /// Records of the form `LENGTH KEY=VALUE\n` (POSIX pax, "pax Extended Header").
    fn read(&mut self, mut records: &[u8]) -> Result<(), Problem> {
        let damaged = || broken("attributes that are no PAX records");
        while !records.is_empty() {
            let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|length| *length > space + 1).ok_or_else(damaged)?;
            let (record, rest) = records.split_at_checked(length).ok_or_else(damaged)?;
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        let number = || match std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None if value.is_empty() => Ok(None),
            None => Err(broken("a PAX record that is no number")),
        };
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link_path = text(),
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"SCHILY.xattr.security.capability" => self.has_capabilities = !value.is_empty(),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(broken("a sparse file, whose form its readers do not agree about"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The header of a block, whose sum must be right: counted of bytes, or of signed ones as some have done.
fn checked(block: &[u8; BLOCK]) -> Result<&tar::Header, Problem> {
    let header = tar::Header::from_byte_slice(block);
    let fields = || block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    let unsigned: i64 = fields().map(i64::from).sum();
    let signed: i64 = fields().map(|byte| i64::from(byte as i8)).sum();
    match header.cksum().map(i64::from) {
        Ok(sum) if sum == unsigned || sum == signed => Ok(header),
        _ => Err(broken("a header whose sum is wrong, or no tar archive at all")),
    }
}

fn broken(what: &str) -> Problem {
    Problem::unreadable(format!("the layer's archive has {what}"))
}
