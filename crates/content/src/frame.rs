//! Chunks on the wire and in a store: frames.
//!
//! A frame is a header of fixed layout and a body. It carries one or more consecutive chunks of a manifest's list, and
//! says nothing that is believed: the manifest says which bytes they must be.
//!
//! | bytes | header field |
//! |---|---|
//! | 0..4 | index of the first chunk, u32 little-endian |
//! | 4..6 | number of chunks, u16, at least 1 |
//! | 6 | codec: 0 raw, 1 zstd |
//! | 7..11 | length of the body, u32, 1 to 1 MiB |

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use packhorse_domain::fetch::RangeSet;

use crate::limits;
use crate::manifest::Manifest;

/// Length of a header in bytes.
pub const HEADER_BYTES: usize = 11;
/// The zstd level of what is written: quick, and most of what can be had.
const ZSTD_LEVEL: i32 = 3;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// The plain bytes.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    /// From its byte, `None` if this version does not know it.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why bytes are not the frames they should be. All but [`FrameError::Truncated`] mean that the sender lies or memory or
/// line flips bits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A header field is out of its limits.
    #[error("frame header: {0}")]
    Header(&'static str),
    /// A chunk that is not in the manifest or was not asked for.
    #[error("chunks {first} to {last} arrived, which were not asked for", first = .0.start, last = .0.end.saturating_sub(1))]
    NotAsked(Range<u32>),
    /// The bytes do not hash to what the manifest says.
    #[error("chunk {0} is not what the manifest says: its hash differs")]
    WrongHash(u32),
    /// The body does not unpack to the declared length.
    #[error("chunk {0} does not unpack to its declared length")]
    WrongLength(u32),
    /// The body ended early.
    #[error("content ended in the middle: {0}")]
    Truncated(String),
    /// The body went on after everything asked for had come.
    #[error("content goes on after everything asked for had come")]
    Endless,
}

/// The header of a frame, within its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Index of the first chunk.
    pub first: u32,
    /// Number of consecutive chunks, at least 1.
    pub count: u16,
    /// How the body is packed.
    pub codec: Codec,
    /// Length of the body, in bytes.
    pub wire_len: u32,
}

impl FrameHeader {
    /// Reads a header. Errors: a field out of its limits.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, e, f, codec, w, x, y, z] = *bytes;
        let header = Self {
            first: u32::from_le_bytes([a, b, c, d]),
            count: u16::from_le_bytes([e, f]),
            codec: Codec::from_byte(codec).ok_or(FrameError::Header("unknown codec"))?,
            wire_len: u32::from_le_bytes([w, x, y, z]),
        };
        if header.count == 0 || header.first.checked_add(u32::from(header.count)).is_none() {
            return Err(FrameError::Header("no chunk has these numbers"));
        }
        if header.wire_len == 0 || header.wire_len > limits::FRAME_WIRE_BYTES {
            return Err(FrameError::Header("body is empty or larger than 1 MiB"));
        }
        Ok(header)
    }

    /// Writes the header.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d] = self.first.to_le_bytes();
        let [e, f] = self.count.to_le_bytes();
        let [w, x, y, z] = self.wire_len.to_le_bytes();
        [a, b, c, d, e, f, self.codec as u8, w, x, y, z]
    }

    /// The chunk indices it names.
    pub fn chunks(self) -> Range<u32> {
        self.first..self.first + u32::from(self.count)
    }
}

/// A frame as received: within limits, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: FrameHeader,
    /// Its body, `wire_len` bytes.
    pub body: Bytes,
}

/// The plain bytes of a frame, every chunk verified by its hash.
#[derive(Clone, Debug)]
pub struct Verified {
    plain: Bytes,
    chunks: Vec<(u32, Range<usize>)>,
}

impl Verified {
    /// Each chunk as (index, plain bytes).
    pub fn chunks(&self) -> impl Iterator<Item = (u32, Bytes)> + '_ {
        self.chunks.iter().map(|(index, range)| (*index, self.plain.slice(range.clone())))
    }
}

impl Frame {
    /// Packs one chunk: zstd, or raw if that is not shorter. `plain` has 1 byte to 1 MiB.
    pub fn pack(index: u32, plain: &[u8]) -> std::io::Result<Self> {
        let packed = zstd::bulk::compress(plain, ZSTD_LEVEL)?;
        let (codec, body) = if packed.len() < plain.len() {
            (Codec::Zstd, Bytes::from(packed))
        } else {
            (Codec::Raw, Bytes::copy_from_slice(plain))
        };
        let wire_len = u32::try_from(body.len()).map_err(std::io::Error::other)?;
        Ok(Self { header: FrameHeader { first: index, count: 1, codec, wire_len }, body })
    }

    /// Header and body together, in bytes.
    pub fn total_len(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// Unpacks and verifies every chunk under its declared length and hash. Never allocates more than the manifest
    /// declares for these chunks, whatever the body says.
    pub fn verify(&self, manifest: &Manifest) -> Result<Verified, FrameError> {
        let mut total: u64 = 0;
        let mut expected = Vec::with_capacity(usize::from(self.header.count));
        for index in self.header.chunks() {
            let chunk = manifest.chunk(index).ok_or(FrameError::NotAsked(self.header.chunks()))?;
            total += u64::from(chunk.len);
            if total > limits::FRAME_PLAIN_BYTES {
                return Err(FrameError::Header("carries more than 4 MiB of chunks"));
            }
            expected.push((index, chunk));
        }
        let plain = self.unpack(total as usize)?; // at most 4 MiB: fits
        let mut start = 0;
        let mut chunks = Vec::with_capacity(expected.len());
        for (index, chunk) in expected {
            let range = start..start + chunk.len as usize;
            if blake3::hash(&plain[range.clone()]) != chunk.hash {
                return Err(FrameError::WrongHash(index));
            }
            start = range.end;
            chunks.push((index, range));
        }
        Ok(Verified { plain, chunks })
    }

    fn unpack(&self, plain_len: usize) -> Result<Bytes, FrameError> {
        let plain = match self.header.codec {
            Codec::Raw => self.body.clone(),
            Codec::Zstd => zstd::bulk::decompress(&self.body, plain_len)
                .map(Bytes::from)
                .map_err(|_| FrameError::WrongLength(self.header.first))?,
        };
        if plain.len() == plain_len { Ok(plain) } else { Err(FrameError::WrongLength(self.header.first)) }
    }
}

/// Cuts a stream of bytes into frames. It holds at most one frame and the bytes last pushed, accepts only chunks that were
/// asked for, each once, and knows a truncated and an endless body.
#[derive(Debug)]
pub struct FrameDecoder {
    waiting: RangeSet,
    buffer: BytesMut,
    header: Option<FrameHeader>,
}

impl FrameDecoder {
    /// Expects the chunks asked for.
    pub fn new(asked: RangeSet) -> Self {
        Self { waiting: asked, buffer: BytesMut::new(), header: None }
    }

    /// Takes bytes as they come. Call [`FrameDecoder::next_frame`] until it returns `None` before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` if more bytes are needed. Errors: a lie in a header; the decoder is then useless.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.next_header()? else {
            return Ok(None);
        };
        let wire_len = header.wire_len as usize;
        if self.buffer.len() < wire_len {
            self.buffer.reserve(wire_len - self.buffer.len());
            return Ok(None);
        }
        self.header = None;
        self.waiting.remove(header.chunks());
        Ok(Some(Frame { header, body: self.buffer.split_to(wire_len).freeze() }))
    }

    fn next_header(&mut self) -> Result<Option<FrameHeader>, FrameError> {
        if self.header.is_none() {
            if self.is_complete() && !self.buffer.is_empty() {
                return Err(FrameError::Endless);
            }
            let Some(bytes) = self.buffer.first_chunk::<HEADER_BYTES>() else {
                return Ok(None);
            };
            let header = FrameHeader::parse(bytes)?;
            if !self.waiting.contains_range(&header.chunks()) {
                return Err(FrameError::NotAsked(header.chunks()));
            }
            self.buffer.advance(HEADER_BYTES);
            self.header = Some(header);
        }
        Ok(self.header)
    }

    /// Has everything asked for come?
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Length of the frame being received, in bytes, once its header is known.
    pub fn pending_wire_len(&self) -> Option<u32> {
        self.header.map(|header| header.wire_len)
    }

    /// The stream ended. Errors: something asked for did not come whole.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.is_complete() && self.buffer.is_empty() {
            return Ok(());
        }
        Err(FrameError::Truncated(format!("{} chunks had not come", self.waiting.len())))
    }
}
