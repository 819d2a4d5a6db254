//! Packs and their indexes: frames in a file, and the list of where each chunk lies.
//!
//! An index is `PHKX`, version 1 as u32, then one record per chunk (hash 32, offset u64, body length u32, codec u8, all
//! little-endian), then the BLAKE3 of all that. It holds nothing that scanning the pack does not yield.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use super::db::PackedChunk;
use crate::frame::{Codec, Frame, FrameHeader, HEADER_BYTES};

const MAGIC: &[u8; 8] = b"PHKX\x01\0\0\0";
/// Bytes of one chunk in an index.
pub(super) const RECORD_BYTES: usize = 45;

/// A frame found in a pack and the offset of its body in bytes.
pub(super) struct FoundFrame {
    pub frame: Frame,
    pub body_offset: u64,
}

/// Reads frames front to back, stopping at the first that is broken or at the end; `keep` may refuse one, which ends the
/// scan before it. Returns the offset after the last good frame, in bytes. Errors: the disk.
pub(super) fn scan(file: &File, mut keep: impl FnMut(FoundFrame) -> bool) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(128 * 1024, FileFrom { file, offset: 0 });
    let mut end = 0;
    while let Some(frame) = next_frame(&mut reader)? {
        let next = end + frame.total_len() as u64;
        if !keep(FoundFrame { frame, body_offset: end + HEADER_BYTES as u64 }) {
            break;
        }
        end = next;
    }
    Ok(end)
}

fn next_frame(reader: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut bytes = [0; HEADER_BYTES];
    if !read_whole(reader, &mut bytes)? {
        return Ok(None);
    }
    let Ok(header) = FrameHeader::parse(&bytes) else { return Ok(None) };
    let mut body = vec![0; header.wire_len as usize];
    if !read_whole(reader, &mut body)? {
        return Ok(None);
    }
    Ok(Some(Frame { header, body: body.into() }))
}

/// `false` if the file ends first.
fn read_whole(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a shared file by offset, leaving its cursor alone.
struct FileFrom<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for FileFrom<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Lists a pack's chunks from the pack alone: every single-chunk frame, its hash computed from what it unpacks to.
pub(super) fn index_by_scanning(file: &File) -> io::Result<Vec<PackedChunk>> {
    let mut chunks = Vec::new();
    scan(file, |found| {
        let header = found.frame.header;
        let Some(hash) = plain_hash(&found.frame) else { return false };
        chunks.push(PackedChunk {
            hash,
            offset: found.body_offset,
            wire_len: header.wire_len,
            codec: header.codec,
        });
        true
    })?;
    Ok(chunks)
}

fn plain_hash(frame: &Frame) -> Option<[u8; 32]> {
    match frame.header.codec {
        Codec::Raw => Some(*blake3::hash(&frame.body).as_bytes()),
        Codec::Zstd => {
            let plain = zstd::bulk::decompress(&frame.body, crate::limits::CHUNK_BYTES as usize).ok()?;
            Some(*blake3::hash(&plain).as_bytes())
        }
    }
}

/// Writes an index.
pub(super) fn encode_index(chunks: &[PackedChunk]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + chunks.len() * RECORD_BYTES + 32);
    bytes.extend_from_slice(MAGIC);
    for chunk in chunks {
        bytes.extend_from_slice(&chunk.hash);
        bytes.extend_from_slice(&chunk.offset.to_le_bytes());
        bytes.extend_from_slice(&chunk.wire_len.to_le_bytes());
        bytes.push(chunk.codec as u8);
    }
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

/// Reads an index; `None` if it is damaged or of another version: then the pack is scanned.
pub(super) fn decode_index(bytes: &[u8]) -> Option<Vec<PackedChunk>> {
    let (content, sum) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(content) != *sum {
        return None;
    }
    let records = content.strip_prefix(MAGIC)?;
    if !records.len().is_multiple_of(RECORD_BYTES) {
        return None;
    }
    records.chunks_exact(RECORD_BYTES).map(decode_record).collect()
}

fn decode_record(record: &[u8]) -> Option<PackedChunk> {
    let (hash, rest) = record.split_first_chunk::<32>()?;
    let (offset, rest) = rest.split_first_chunk::<8>()?;
    let (wire_len, rest) = rest.split_first_chunk::<4>()?;
    Some(PackedChunk {
        hash: *hash,
        offset: u64::from_le_bytes(*offset),
        wire_len: u32::from_le_bytes(*wire_len),
        codec: Codec::from_byte(*rest.first()?)?,
    })
}
