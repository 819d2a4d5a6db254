//! The signed description of a package: what it is, how it is installed, which files it has, which chunks they are.
//!
//! A [`Manifest`] exists only in checked form: [`Manifest::parse`] is the one way to get one, for builders too.
//! Its identity is the BLAKE3 of the payload bytes it was parsed from, so two systems that hold the same bytes agree.

mod doc;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use packhorse_domain::agent::Timing;
use packhorse_domain::ids::PackageId;
use packhorse_domain::version::VersionOrder;

pub(crate) use doc::{
    CdcDoc, CheckDoc, DebDoc, EntryDoc, EntryKindDoc, InstallDoc, ManifestDoc, keep_doc, order_text,
    push_chunk,
};

use crate::limits;
use crate::path::{self, PathError, RelPath};

/// The type under which manifests are signed.
pub const PAYLOAD_TYPE: &str = "application/vnd.packhorse.manifest.v1+cbor";
/// The newest version of the format this code writes and reads. A package that needs nothing of it is written as
/// [`PLAIN_FORMAT`], which programs of the version before read.
pub const FORMAT: u32 = 2;
/// The format without a time of installing.
pub const PLAIN_FORMAT: u32 = 1;
/// Bytes of one chunk in the packed list: hash (32), plain length (u32, little-endian).
pub const CHUNK_RECORD_BYTES: usize = 36;

/// What kind of thing a package installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A folder of files, put in place as a tree.
    Files,
    /// One `.deb`, installed by dpkg.
    Deb,
}

impl Kind {
    /// As written in recipes, manifests and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Deb => "deb",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// How long relays promise to keep a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Days after registration.
    Days(u32),
    /// To the end of this day, in the server's zone.
    Date(jiff::civil::Date),
}

impl fmt::Display for Keep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(out, "{days}d"),
            Self::Date(date) => write!(out, "{date}"),
        }
    }
}

/// How it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// Kind files: the absolute folder the tree becomes.
    pub to: Option<String>,
    /// Longest run of an installer, in seconds.
    pub timeout_secs: u32,
    /// How often a failed installer is started again.
    pub retry: u32,
    /// At once, or when the system starts or stops.
    pub timing: Timing,
    /// Not before the clock shows this; see [`crate::timing::parse_install_at`].
    pub install_at: Option<jiff::civil::DateTime>,
}

impl Install {
    /// The format that a manifest with this needs.
    pub(crate) fn format(&self) -> u32 {
        if self.timing == Timing::Now && self.install_at.is_none() { PLAIN_FORMAT } else { FORMAT }
    }
}

/// What a `.deb` says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deb {
    /// Its name for dpkg.
    pub package: String,
    /// Its architecture, as dpkg writes it (`amd64`, `all`).
    pub architecture: String,
    /// Its `Depends` field, empty if there is none.
    pub depends: String,
    /// Its `Pre-Depends` field, empty if there is none.
    pub pre_depends: String,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file; the range is its part of [`Manifest::uses`].
    File {
        /// Its length in bytes.
        size: u64,
        /// Positions in the list of chunk uses.
        uses: Range<usize>,
    },
    /// A folder.
    Dir,
    /// A symlink inside the package.
    Symlink {
        /// Where it points, relative to its own folder.
        target: String,
    },
}

/// A file, folder or symlink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies below the package's folder.
    pub path: RelPath,
    /// Permission bits, at most 0o1777.
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// A chunk as the manifest knows it: plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// BLAKE3 of its plain bytes.
    pub hash: [u8; 32],
    /// Its plain length in bytes, 1 to 1 MiB.
    pub len: u32,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Too large, no CBOR, a missing or an unknown field.
    #[error("manifest: {0}")]
    Cbor(#[from] packhorse_wire::envelope::CborError),
    /// The envelope around it.
    #[error("manifest: {0}")]
    Envelope(#[from] packhorse_wire::envelope::EnvelopeError),
    /// A format of the future.
    #[error("manifest has format {0}, this program reads format {FORMAT}; update packhorse")]
    Format(u32),
    /// A field with a value it cannot have.
    #[error("manifest field `{field}`: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A path that leaves the package, or a symlink that does.
    #[error("manifest entry {entry}: {source}")]
    Path {
        /// Position in the list of entries, from 0.
        entry: usize,
        /// What is wrong with it.
        source: PathError,
    },
    /// An entry that contradicts another or itself.
    #[error("manifest entry {path:?}: {problem}")]
    Entry {
        /// Its path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The chunk lists contradict each other or the sizes.
    #[error("manifest chunks: {0}")]
    Chunks(&'static str),
}

/// A checked manifest. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    id: PackageId,
    name: String,
    version: String,
    version_order: VersionOrder,
    summary: String,
    kind: Kind,
    keep: Keep,
    install: Install,
    check_file: Option<String>,
    deb: Option<Deb>,
    entries: Vec<Entry>,
    chunks: Bytes,
    uses: Vec<u32>,
    plain_bytes: u64,
    unique_bytes: u64,
}

impl Manifest {
    /// Reads and checks a payload. Whether it is signed by anyone is the envelope's matter. Errors: [`ManifestError`].
    pub fn parse(payload: &[u8]) -> Result<Self, ManifestError> {
        doc::parse(payload)
    }

    /// Reads an envelope *without checking signatures* and parses what it holds: for what this system verified before
    /// it was stored, and for builders. Errors: too large, another type, no manifest.
    pub fn from_stored_envelope(envelope: &[u8]) -> Result<Self, ManifestError> {
        let envelope = packhorse_wire::envelope::Envelope::decode(envelope, limits::ENVELOPE_BYTES)?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(field(
                "payload_type",
                format!("is {:?}, not {PAYLOAD_TYPE:?}", envelope.payload_type),
            ));
        }
        Self::parse(&envelope.payload)
    }

    /// The package's identity: BLAKE3 of the payload.
    pub fn id(&self) -> PackageId {
        self.id
    }
    /// The package's name, without cabinet.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The version's text.
    pub fn version(&self) -> &str {
        &self.version
    }
    /// Which scheme orders its versions.
    pub fn version_order(&self) -> VersionOrder {
        self.version_order
    }
    /// One line for people, possibly empty.
    pub fn summary(&self) -> &str {
        &self.summary
    }
    /// What kind of package.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// Keeping time at relays.
    pub fn keep(&self) -> Keep {
        self.keep
    }
    /// Whether another manifest says the same but for its keeping time.
    pub fn differs_in_keep_only(&self, other: &Self) -> bool {
        let as_this = Self { id: self.id, keep: self.keep, ..other.clone() };
        self.id != other.id && *self == as_this
    }
    /// How it is installed.
    pub fn install(&self) -> &Install {
        &self.install
    }
    /// The absolute path of a file that must be there after installing.
    pub fn check_file(&self) -> Option<&str> {
        self.check_file.as_deref()
    }
    /// Kind deb: what the `.deb` says about itself.
    pub fn deb(&self) -> Option<&Deb> {
        self.deb.as_ref()
    }
    /// Files, folders and symlinks, ascending by path; a folder comes before what lies in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// The chunk index at every position of all files, one file after the other.
    pub fn uses(&self) -> &[u32] {
        &self.uses
    }
    /// How many different chunks the package has.
    pub fn chunk_count(&self) -> u32 {
        (self.chunks.len() / CHUNK_RECORD_BYTES) as u32 // at most 64 MiB of records: fits
    }
    /// The chunk with this index, `None` past the end.
    pub fn chunk(&self, index: u32) -> Option<Chunk> {
        let start = index as usize * CHUNK_RECORD_BYTES;
        doc::read_chunk(self.chunks.get(start..start + CHUNK_RECORD_BYTES)?)
    }
    /// All chunks in order of index.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> + '_ {
        self.chunks.chunks_exact(CHUNK_RECORD_BYTES).filter_map(doc::read_chunk)
    }
    /// The plain length of every chunk, in bytes.
    pub fn chunk_lengths(&self) -> Vec<u32> {
        self.chunks().map(|chunk| chunk.len).collect()
    }
    /// All files together, in bytes.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }
    /// All different chunks together, plain, in bytes: what travels at most, before compression.
    pub fn unique_bytes(&self) -> u64 {
        self.unique_bytes
    }
    /// Each chunk of a file as (chunk index, offset in the file in bytes, length in bytes).
    pub fn file_chunks(&self, uses: &Range<usize>) -> impl Iterator<Item = (u32, u64, u32)> + '_ {
        let mut offset = 0;
        self.uses.get(uses.clone()).unwrap_or(&[]).iter().map(move |&index| {
            let len = self.chunk(index).map_or(0, |chunk| chunk.len);
            offset += u64::from(len);
            (index, offset - u64::from(len), len)
        })
    }
    /// The plain bytes of the chunks in these ranges together.
    pub fn bytes_of(&self, ranges: &packhorse_domain::fetch::RangeSet) -> u64 {
        ranges.iter().filter_map(|index| self.chunk(index)).map(|chunk| u64::from(chunk.len)).sum()
    }
}

fn field(field: &'static str, problem: impl Into<String>) -> ManifestError {
    ManifestError::Field { field, problem: problem.into() }
}

/// Checks a package's name: `[a-z0-9][a-z0-9._+-]{0,62}`. Errors: a sentence that says the rule.
pub fn check_name(name: &str) -> Result<(), String> {
    let first = name.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._+-".contains(&c));
    if first && rest && name.len() <= limits::NAME_BYTES {
        return Ok(());
    }
    let shown: String = name.chars().take(limits::NAME_BYTES).collect();
    Err(format!(
        "{shown:?} is no package name: lower-case letters, digits and `._+-`, at most 63, first a letter or digit"
    ))
}

/// Checks a one-line text. Errors: too long, or holds control characters.
pub fn check_line(text: &str, limit_bytes: usize) -> Result<(), String> {
    if text.len() > limit_bytes {
        return Err(format!("has {} bytes, at most {limit_bytes} are possible", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character or a line break".to_owned());
    }
    Ok(())
}

/// Checks that entries are in order, have their folder before them, and keep inside the package.
fn check_entries(entries: &[Entry]) -> Result<(), ManifestError> {
    let mut dirs = HashSet::new();
    let mut last: Option<&RelPath> = None;
    for (nth, entry) in entries.iter().enumerate() {
        let refuse = |problem| ManifestError::Entry { path: entry.path.to_string(), problem };
        if last.is_some_and(|last| *last >= entry.path) {
            return Err(refuse("comes twice or out of order"));
        }
        if entry.path.parent().is_some_and(|parent| !dirs.contains(parent)) {
            return Err(refuse("lies in a folder the manifest does not list as one"));
        }
        if entry.mode > 0o1777 {
            return Err(refuse("has setuid, setgid or unknown mode bits, which packages may not set"));
        }
        match &entry.kind {
            EntryKind::Dir => {
                dirs.insert(entry.path.as_str());
            }
            EntryKind::Symlink { target } => path::check_target(&entry.path, target)
                .map_err(|source| ManifestError::Path { entry: nth, source })?,
            EntryKind::File { .. } => {}
        }
        last = Some(&entry.path);
    }
    Ok(())
}
