//! The bytes of a layer, decompressed within bounds. Which compression it is, its first bytes say, as container
//! runtimes have it; the media type is somebody's word.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use portreeve_reports::digest::Digesting;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Caps, Problem};

/// The most memory that a zstd frame may ask for.
const WINDOW: u64 = 128 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Frames to be skipped have one of sixteen magic numbers (RFC 8878 §3.1.2).
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// What was read of a layer.
pub(super) struct Finished {
    pub(super) digest: String,
    pub(super) diff_id: String,
    pub(super) stored: u64,
    pub(super) bytes: u64,
}

/// A layer's archive.
pub struct Stream<R> {
    decoder: Decoder<R>,
    digest: Digesting,
    bytes: u64,
    /// What may still come in all layers.
    left: u64,
    layer_bytes: u64,
    ratio: u64,
    ratio_from: u64,
}

enum Decoder<R> {
    Plain(Stored<R>),
    Gzip(Box<MultiGzDecoder<Stored<R>>>),
    Zstd(Box<Zstd<Stored<R>>>),
}

/// The bytes as stored, counted and hashed.
struct Stored<R> {
    inner: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    digest: Digesting,
    bytes: u64,
}

impl<R: Read> Stream<R> {
    /// Of these bytes, of which at most `left` may come.
    ///
    /// # Errors
    /// When not even their start can be read.
    pub fn new(mut source: R, caps: &Caps, left: u64) -> Result<Self, Problem> {
        let mut start = Vec::with_capacity(4);
        (&mut source).take(4).read_to_end(&mut start)?;
        let is_skipped = start.get(1..4) == Some(&ZSTD_SKIPPED[..]) && start[0] >> 4 == 5;
        let (is_gzip, is_zstd) = (start.starts_with(&GZIP), start.starts_with(&ZSTD) || is_skipped);
        let inner = BufReader::with_capacity(64 << 10, Cursor::new(start).chain(source));
        let stored = Stored { inner, digest: Digesting::default(), bytes: 0 };
        let decoder = if is_gzip {
            Decoder::Gzip(Box::new(MultiGzDecoder::new(stored)))
        } else if is_zstd {
            Decoder::Zstd(Box::new(Zstd::new(stored)))
        } else {
            Decoder::Plain(stored)
        };
        let Caps { layer_bytes, ratio, ratio_from, .. } = *caps;
        Ok(Self { decoder, digest: Digesting::default(), bytes: 0, left, layer_bytes, ratio, ratio_from })
    }

    /// What is behind the end of the archive belongs to both digests.
    pub(super) fn finish(mut self) -> Result<Finished, Problem> {
        io::copy(&mut self, &mut io::sink())?;
        let Self { decoder, digest, bytes, .. } = self;
        let mut stored = match decoder {
            Decoder::Plain(stored) => stored,
            Decoder::Gzip(gzip) => gzip.into_inner(),
            Decoder::Zstd(zstd) => zstd.source,
        };
        io::copy(&mut stored, &mut io::sink())?;
        Ok(Finished { digest: stored.digest.finish(), diff_id: digest.finish(), stored: stored.bytes, bytes })
    }

    fn stored_bytes(&self) -> u64 {
        match &self.decoder {
            Decoder::Plain(stored) => stored.bytes,
            Decoder::Gzip(gzip) => gzip.get_ref().bytes,
            Decoder::Zstd(zstd) => zstd.source.bytes,
        }
    }

    fn check(&self) -> Result<(), Problem> {
        if self.bytes > self.layer_bytes {
            return Err(Problem::too_large(format!("a layer has more than {} bytes", self.layer_bytes)));
        }
        if self.bytes > self.left {
            return Err(Problem::too_large("the layers have more bytes than are read of one image"));
        }
        if self.bytes > self.ratio_from && self.bytes / self.ratio > self.stored_bytes() {
            let message = format!("a layer becomes more than {} times as large as it is stored", self.ratio);
            return Err(Problem::too_large(message));
        }
        Ok(())
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::Plain(stored) => stored.read(buffer),
            Decoder::Gzip(gzip) => gzip.read(buffer),
            Decoder::Zstd(zstd) => zstd.read(buffer),
        }?;
        self.digest.update(&buffer[..count]);
        self.bytes += count as u64;
        self.check()?;
        Ok(count)
    }
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<R: Read> BufRead for Stored<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        let consumed = &self.inner.buffer()[..amount];
        self.digest.update(consumed);
        self.bytes += amount as u64;
        self.inner.consume(amount);
    }
}

/// All frames of a zstd stream; its decoder reads one.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Self { source, decoder, is_in_frame: false }
    }

    /// Begins the next frame; `false` at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.is_in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                    if skipped != u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                    return Err(Problem::too_large("a zstd frame asks for more than 128 MiB of memory").into());
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_in_frame {
                while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    let strategy = BlockDecodingStrategy::UptoBlocks(1);
                    self.decoder.decode_blocks(&mut self.source, strategy).map_err(io::Error::other)?;
                }
                let count = self.decoder.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
                self.is_in_frame = !self.decoder.is_finished();
            } else if !self.begin()? {
                return Ok(0);
            }
        }
    }
}
