//! The package file, `.phk`: everything of one package in one file that can be carried.
//!
//! | part | content |
//! |---|---|
//! | magic | `PHKG`, then the version 1 as u32 little-endian |
//! | envelope | its length as u32 little-endian, then the signed manifest |
//! | frames | every chunk once, ascending by index, to the end of the file |

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::envelope::{Envelope, EnvelopeError, KeyId, PublicKey};

use crate::build::Built;
use crate::frame::{Frame, FrameError, FrameHeader, HEADER_BYTES};
use crate::limits;
use crate::manifest::{Manifest, ManifestError, PAYLOAD_TYPE};

const MAGIC: [u8; 8] = *b"PHKG\x01\0\0\0";

/// Why a file is no package file, or a damaged one. The text fits after the file's name.
#[derive(Debug, thiserror::Error)]
pub enum PhkError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another kind of file, or a version of the future.
    #[error("{}: is no package file this version reads; `packhorse package build` makes one", .0.display())]
    Magic(PathBuf),
    /// The envelope is larger than possible.
    #[error("{}: signed manifest of {len} bytes is larger than possible", path.display())]
    EnvelopeSize {
        /// Which file.
        path: PathBuf,
        /// The length it declares, in bytes.
        len: u32,
    },
    /// The manifest is refused.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// The signature is refused.
    #[error("{}: {source}", path.display())]
    Envelope {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: EnvelopeError,
    },
    /// A frame is not what the manifest says.
    #[error("{}: byte {offset}: {source}", path.display())]
    Frame {
        /// Which file.
        path: PathBuf,
        /// Where the frame begins, in bytes.
        offset: u64,
        /// Why.
        source: FrameError,
    },
}

/// Writes a package file: beside `out` first, then renamed, so that `out` is whole or not there. `envelope` is the encoded
/// envelope over the manifest of `built`.
pub fn write(out: &Path, built: &Built, envelope: &[u8]) -> Result<(), PhkError> {
    let io = |source| PhkError::Io { path: out.to_owned(), source };
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io)?;
    let envelope_len = u32::try_from(envelope.len()).map_err(|error| io(io::Error::other(error)))?;
    file.write_all(&MAGIC).map_err(io)?;
    file.write_all(&envelope_len.to_le_bytes()).map_err(io)?;
    file.write_all(envelope).map_err(io)?;
    built.copy_frames(file.as_file_mut()).map_err(io)?;
    make_readable(file.as_file()).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(out).map_err(|error| io(error.error))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

/// A temporary file is made 0600; a package file is for others to read.
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

/// An open package file.
#[derive(Debug)]
pub struct PhkReader {
    path: PathBuf,
    file: BufReader<File>,
    envelope: Bytes,
    manifest: Arc<Manifest>,
    frames_at: u64,
}

impl PhkReader {
    /// Opens a file and reads its manifest; signatures are not checked yet. Errors: not a package file.
    pub fn open(path: &Path) -> Result<Self, PhkError> {
        let io = |source| PhkError::Io { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let mut head = [0; 12];
        file.read_exact(&mut head).map_err(|_| PhkError::Magic(path.to_owned()))?;
        let [magic @ .., a, b, c, d] = head;
        if magic != MAGIC {
            return Err(PhkError::Magic(path.to_owned()));
        }
        let len = u32::from_le_bytes([a, b, c, d]);
        if len as usize > limits::ENVELOPE_BYTES {
            return Err(PhkError::EnvelopeSize { path: path.to_owned(), len });
        }
        let mut envelope = Vec::new();
        file.by_ref().take(u64::from(len)).read_to_end(&mut envelope).map_err(io)?;
        let manifest = Manifest::from_stored_envelope(&envelope)
            .map_err(|source| PhkError::Manifest { path: path.to_owned(), source })?;
        let frames_at = (head.len() + envelope.len()) as u64;
        Ok(Self {
            path: path.to_owned(),
            file,
            envelope: envelope.into(),
            manifest: Arc::new(manifest),
            frames_at,
        })
    }

    /// The envelope's bytes, as they stand in the file.
    pub fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// The manifest in it.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Checks that at least one key known to `keys` signed the manifest.
    pub fn verify_signature(&self, keys: impl Fn(&KeyId) -> Option<PublicKey>) -> Result<(), PhkError> {
        let fail = |source| PhkError::Envelope { path: self.path.clone(), source };
        let envelope = Envelope::decode(&self.envelope, limits::ENVELOPE_BYTES).map_err(fail)?;
        envelope.verify(PAYLOAD_TYPE, keys, 1).map(|_| ()).map_err(fail)
    }

    /// The frames of the chunks wanted, in order, read one by one; others are skipped. Each frame is within its limits and
    /// in its place; its hash is checked by whoever takes it (or with [`Frame::verify`]).
    pub fn frames(&mut self, wanted: RangeSet) -> Result<PhkFrames<'_>, PhkError> {
        let start = self.frames_at;
        self.file
            .seek(SeekFrom::Start(start))
            .map_err(|source| PhkError::Io { path: self.path.clone(), source })?;
        Ok(PhkFrames { reader: self, wanted, next: 0, offset: start, failed: false })
    }
}

/// See [`PhkReader::frames`].
#[derive(Debug)]
pub struct PhkFrames<'a> {
    reader: &'a mut PhkReader,
    wanted: RangeSet,
    next: u32,
    offset: u64,
    failed: bool,
}

impl PhkFrames<'_> {
    fn step(&mut self) -> Result<Option<Frame>, PhkError> {
        while self.next < self.reader.manifest.chunk_count() {
            let header = self.header()?;
            let wanted = header.chunks().any(|index| self.wanted.contains(index));
            let frame = if wanted { Some(self.body(header)?) } else { self.skip(header)? };
            self.offset += HEADER_BYTES as u64 + u64::from(header.wire_len);
            self.next = header.chunks().end;
            if frame.is_some() {
                return Ok(frame);
            }
        }
        self.end()
    }

    fn header(&mut self) -> Result<FrameHeader, PhkError> {
        let mut bytes = [0; HEADER_BYTES];
        self.reader.file.read_exact(&mut bytes).map_err(|source| self.cut(source))?;
        let header = FrameHeader::parse(&bytes).map_err(|source| self.refuse(source))?;
        if header.first != self.next {
            return Err(self.refuse(FrameError::NotAsked(header.chunks())));
        }
        Ok(header)
    }

    fn body(&mut self, header: FrameHeader) -> Result<Frame, PhkError> {
        let mut body = vec![0; header.wire_len as usize];
        self.reader.file.read_exact(&mut body).map_err(|source| self.cut(source))?;
        Ok(Frame { header, body: body.into() })
    }

    fn skip(&mut self, header: FrameHeader) -> Result<Option<Frame>, PhkError> {
        self.reader.file.seek_relative(i64::from(header.wire_len)).map_err(|source| self.cut(source))?;
        Ok(None)
    }

    /// Nothing may follow the last frame.
    fn end(&mut self) -> Result<Option<Frame>, PhkError> {
        let more = self.reader.file.read(&mut [0]).map_err(|source| self.cut(source))?;
        if more == 0 { Ok(None) } else { Err(self.refuse(FrameError::Endless)) }
    }

    fn cut(&self, source: io::Error) -> PhkError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                let total = self.reader.manifest.chunk_count();
                self.refuse(FrameError::Truncated(format!("{} of {total} chunks are there", self.next)))
            }
            _ => PhkError::Io { path: self.reader.path.clone(), source },
        }
    }

    fn refuse(&self, source: FrameError) -> PhkError {
        PhkError::Frame { path: self.reader.path.clone(), offset: self.offset, source }
    }
}

impl Iterator for PhkFrames<'_> {
    type Item = Result<Frame, PhkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

/// What a whole check found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// Were signatures checked (were keys given)?
    pub signature_checked: bool,
    /// Bytes of all frames.
    pub packed_bytes: u64,
}

/// Finds a trusted key by its id.
pub type KeyLookup<'a> = &'a dyn Fn(&KeyId) -> Option<PublicKey>;

/// Verifies everything: structure, every chunk's hash, and, with `keys`, the signature.
pub fn check(path: &Path, keys: Option<KeyLookup<'_>>) -> Result<Checked, PhkError> {
    let mut reader = PhkReader::open(path)?;
    if let Some(keys) = keys {
        reader.verify_signature(keys)?;
    }
    let manifest = reader.manifest.clone();
    let mut packed_bytes = 0;
    let mut offset = reader.frames_at;
    for frame in reader.frames(RangeSet::full(manifest.chunk_count()))? {
        let frame = frame?;
        frame.verify(&manifest).map_err(|source| PhkError::Frame {
            path: path.to_owned(),
            offset,
            source,
        })?;
        packed_bytes += frame.total_len() as u64;
        offset += frame.total_len() as u64;
    }
    Ok(Checked { manifest, signature_checked: keys.is_some(), packed_bytes })
}
