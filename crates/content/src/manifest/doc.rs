//! The manifest as bytes: a CBOR map with named fields, and the one way from there to a checked [`Manifest`].

use bytes::Bytes;
use packhorse_domain::agent::Timing;
use packhorse_domain::ids::PackageId;
use packhorse_domain::version::{self, VersionOrder};
use packhorse_wire::envelope::from_cbor_limited;
use serde::{Deserialize, Serialize};

use super::{
    CHUNK_RECORD_BYTES, Chunk, Deb, Entry, EntryKind, FORMAT, Install, Keep, Kind, Manifest, ManifestError,
    PLAIN_FORMAT, check_entries, check_line, check_name, field,
};
use crate::limits;
use crate::path::{self, RelPath};
use crate::timing;

/// How files were cut. Written down so that a later program cuts the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CdcDoc {
    /// `fastcdc-2020`, normalization level 1, no seed.
    pub method: String,
    /// Smallest chunk but the last of a file, in bytes.
    pub min: u32,
    /// Chunk aimed at, in bytes.
    pub avg: u32,
    /// Largest chunk, in bytes.
    pub max: u32,
}

/// A file, folder or symlink as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryDoc {
    /// Path below the package's folder.
    pub path: String,
    /// What it is.
    pub kind: EntryKindDoc,
    /// Permission bits.
    pub mode: u32,
    /// Files: length in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Files: how many of the next positions of `uses` are theirs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunks: u64,
    /// Symlinks: where they point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The kinds of entries as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKindDoc {
    /// A file.
    File,
    /// A folder.
    Dir,
    /// A symlink.
    Symlink,
}

/// `install` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallDoc {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub timeout_secs: u32,
    pub retry: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_at: Option<String>,
}

/// `check` as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckDoc {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// `deb` as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebDoc {
    pub package: String,
    pub architecture: String,
    pub depends: String,
    pub pre_depends: String,
}

/// `keep` as written: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepDoc {
    Days(u32),
    Date(String),
}

/// The whole manifest as written. Unknown fields are refused: what is signed is understood or not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestDoc {
    /// [`FORMAT`].
    pub format: u32,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `semver` or `deb`.
    pub version_order: String,
    /// One line.
    pub summary: String,
    /// `files` or `deb`.
    pub kind: String,
    /// Keeping time.
    pub(crate) keep: KeepDoc,
    /// How it is installed.
    pub(crate) install: InstallDoc,
    /// What must hold afterwards.
    pub(crate) check: CheckDoc,
    /// Kind deb: from the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deb: Option<DebDoc>,
    /// How files were cut.
    pub cdc: CdcDoc,
    /// Files, folders, symlinks.
    pub files: Vec<EntryDoc>,
    /// Different chunks in order of first use: hash and length, 36 bytes each.
    #[serde(with = "serde_bytes")]
    pub chunks: Vec<u8>,
    /// Chunk indices of all files, u32 little-endian each.
    #[serde(with = "serde_bytes")]
    pub uses: Vec<u8>,
}

/// Only the format, read first so that a future manifest is named as such and not as one with unknown fields.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

pub(super) fn parse(payload: &[u8]) -> Result<Manifest, ManifestError> {
    let FormatOnly { format } = from_cbor_limited(payload, limits::MANIFEST_BYTES)?;
    if !(PLAIN_FORMAT..=FORMAT).contains(&format) {
        return Err(ManifestError::Format(format));
    }
    let doc: ManifestDoc = from_cbor_limited(payload, limits::MANIFEST_BYTES)?;
    let id = PackageId(*blake3::hash(payload).as_bytes());
    check(id, doc)
}

fn check(id: PackageId, doc: ManifestDoc) -> Result<Manifest, ManifestError> {
    let format = doc.format;
    check_name(&doc.name).map_err(|problem| field("name", problem))?;
    check_line(&doc.summary, limits::SUMMARY_BYTES).map_err(|problem| field("summary", problem))?;
    let kind = kind_from(&doc.kind)?;
    let version_order = order_from(&doc.version_order)?;
    version::check(version_order, &doc.version).map_err(|error| field("version", error.to_string()))?;
    check_cdc(&doc.cdc)?;
    let chunks = Chunks::check(doc.chunks, &doc.uses)?;
    let (entries, plain_bytes) = entries_from(doc.files, &chunks)?;
    check_entries(&entries)?;
    let manifest = Manifest {
        id,
        name: doc.name,
        version: doc.version,
        version_order,
        summary: doc.summary,
        kind,
        keep: keep_from(doc.keep)?,
        install: install_from(doc.install, kind)?,
        check_file: check_file_from(doc.check)?,
        deb: deb_from(doc.deb, kind)?,
        entries,
        chunks: chunks.packed,
        uses: chunks.uses,
        plain_bytes,
        unique_bytes: chunks.unique_bytes,
    };
    check_kind(&manifest)?;
    // One package, one way to write it.
    if format != manifest.install.format() {
        return Err(field("format", format!("is {format}, which does not fit what it says")));
    }
    Ok(manifest)
}

fn check_cdc(cdc: &CdcDoc) -> Result<(), ManifestError> {
    let sane = cdc.min >= 64 && cdc.min <= cdc.avg && cdc.avg <= cdc.max && cdc.max <= limits::CHUNK_BYTES;
    if sane { Ok(()) } else { Err(field("cdc", "min, avg and max must ascend and be at most 1 MiB")) }
}

fn kind_from(text: &str) -> Result<Kind, ManifestError> {
    match text {
        "files" => Ok(Kind::Files),
        "deb" => Ok(Kind::Deb),
        other => Err(field("kind", format!("{other:?} is not supported by this version; files and deb are"))),
    }
}

fn order_from(text: &str) -> Result<VersionOrder, ManifestError> {
    match text {
        "semver" => Ok(VersionOrder::Semver),
        "deb" => Ok(VersionOrder::Deb),
        other => Err(field("version_order", format!("{other:?} is not supported; semver and deb are"))),
    }
}

/// The order as written.
pub(crate) fn order_text(order: VersionOrder) -> &'static str {
    match order {
        VersionOrder::Semver => "semver",
        VersionOrder::Deb => "deb",
    }
}

fn keep_from(keep: KeepDoc) -> Result<Keep, ManifestError> {
    match keep {
        KeepDoc::Days(days) if (1..=limits::KEEP_DAYS).contains(&days) => Ok(Keep::Days(days)),
        KeepDoc::Days(days) => {
            Err(field("keep", format!("{days} days: 1 to {} are possible", limits::KEEP_DAYS)))
        }
        KeepDoc::Date(text) => {
            text.parse().map(Keep::Date).map_err(|_| field("keep", format!("{text:?} is not a date")))
        }
    }
}

pub(crate) fn keep_doc(keep: Keep) -> KeepDoc {
    match keep {
        Keep::Days(days) => KeepDoc::Days(days),
        Keep::Date(date) => KeepDoc::Date(date.to_string()),
    }
}

fn install_from(doc: InstallDoc, kind: Kind) -> Result<Install, ManifestError> {
    if !(1..=limits::TIMEOUT_SECS).contains(&doc.timeout_secs) {
        return Err(field(
            "install.timeout_secs",
            format!("{} is not within 1 s to 7 days", doc.timeout_secs),
        ));
    }
    if doc.retry > limits::RETRIES {
        return Err(field("install.retry", format!("{} is more than {}", doc.retry, limits::RETRIES)));
    }
    match (&doc.to, kind) {
        (Some(to), Kind::Files) => {
            path::check_host_path(to).map_err(|error| field("install.to", error.to_string()))?;
        }
        (None, Kind::Deb) => {}
        (None, Kind::Files) => return Err(field("install.to", "is missing; kind files needs it")),
        (Some(_), Kind::Deb) => return Err(field("install.to", "is only for kind files")),
    }
    let wrong = |problem| field("install", problem);
    let timing = doc.timing.as_deref().map_or(Ok(Timing::Now), timing::parse).map_err(wrong)?;
    let install_at = doc.install_at.as_deref().map(timing::parse_install_at).transpose().map_err(wrong)?;
    timing::check_together(timing, install_at).map_err(wrong)?;
    Ok(Install { to: doc.to, timeout_secs: doc.timeout_secs, retry: doc.retry, timing, install_at })
}

fn check_file_from(doc: CheckDoc) -> Result<Option<String>, ManifestError> {
    if let Some(file) = &doc.file {
        path::check_host_path(file).map_err(|error| field("check.file", error.to_string()))?;
    }
    Ok(doc.file)
}

fn deb_from(doc: Option<DebDoc>, kind: Kind) -> Result<Option<Deb>, ManifestError> {
    let doc = match (doc, kind) {
        (None, Kind::Files) => return Ok(None),
        (Some(doc), Kind::Deb) => doc,
        (None, Kind::Deb) => return Err(field("deb", "is missing; kind deb needs it")),
        (Some(_), Kind::Files) => return Err(field("deb", "is only for kind deb")),
    };
    for (text, limit) in [
        (&doc.package, limits::NAME_BYTES),
        (&doc.architecture, limits::NAME_BYTES),
        (&doc.depends, limits::DEPENDS_BYTES),
        (&doc.pre_depends, limits::DEPENDS_BYTES),
    ] {
        check_line(text, limit).map_err(|problem| field("deb", problem))?;
    }
    if doc.package.is_empty() || doc.architecture.is_empty() {
        return Err(field("deb", "lacks package or architecture"));
    }
    let DebDoc { package, architecture, depends, pre_depends } = doc;
    Ok(Some(Deb { package, architecture, depends, pre_depends }))
}

fn check_kind(manifest: &Manifest) -> Result<(), ManifestError> {
    let files = manifest.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. })).count();
    match manifest.kind {
        Kind::Files if manifest.entries.is_empty() => {
            Err(field("files", "is empty: there is nothing to install"))
        }
        Kind::Deb if files != 1 || manifest.entries.len() != 1 => {
            Err(field("files", "holds more or less than the one .deb"))
        }
        Kind::Deb if !manifest.entries[0].path.as_str().ends_with(".deb") => {
            Err(field("files", "is not a .deb"))
        }
        _ => Ok(()),
    }
}

/// The chunk lists, checked on their own.
struct Chunks {
    packed: Bytes,
    uses: Vec<u32>,
    unique_bytes: u64,
}

impl Chunks {
    fn check(packed: Vec<u8>, uses: &[u8]) -> Result<Self, ManifestError> {
        if !packed.len().is_multiple_of(CHUNK_RECORD_BYTES) || !uses.len().is_multiple_of(4) {
            return Err(ManifestError::Chunks("the packed lists end in the middle of a record"));
        }
        let mut unique_bytes = 0;
        let mut seen = std::collections::HashSet::new();
        for chunk in packed.chunks_exact(CHUNK_RECORD_BYTES).filter_map(read_chunk) {
            if chunk.len == 0 || chunk.len > limits::CHUNK_BYTES {
                return Err(ManifestError::Chunks("a chunk has 1 byte to 1 MiB"));
            }
            if !seen.insert(chunk.hash) {
                return Err(ManifestError::Chunks("a chunk is listed twice"));
            }
            unique_bytes += u64::from(chunk.len);
        }
        let uses = uses.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let chunks = Self { packed: packed.into(), uses, unique_bytes };
        chunks.check_order()?;
        Ok(chunks)
    }

    /// Chunks are numbered in order of first use, so that every number is used and reading a package front to back asks
    /// for ascending numbers.
    fn check_order(&self) -> Result<(), ManifestError> {
        let mut next = 0;
        for &index in &self.uses {
            if index > next {
                return Err(ManifestError::Chunks("chunks are not numbered in order of first use"));
            }
            next += u32::from(index == next);
        }
        if next as usize == self.packed.len() / CHUNK_RECORD_BYTES {
            Ok(())
        } else {
            Err(ManifestError::Chunks("a chunk is listed that no file uses, or used that is not listed"))
        }
    }

    fn len_of(&self, index: u32) -> u64 {
        let start = index as usize * CHUNK_RECORD_BYTES;
        let record = self.packed.get(start..start + CHUNK_RECORD_BYTES);
        record.and_then(read_chunk).map_or(0, |chunk| u64::from(chunk.len))
    }
}

pub(super) fn read_chunk(record: &[u8]) -> Option<Chunk> {
    let (hash, len) = record.split_first_chunk::<32>()?;
    Some(Chunk { hash: *hash, len: u32::from_le_bytes(len.try_into().ok()?) })
}

fn entries_from(docs: Vec<EntryDoc>, chunks: &Chunks) -> Result<(Vec<Entry>, u64), ManifestError> {
    if docs.len() > limits::ENTRIES {
        return Err(field(
            "files",
            format!("has {} entries, at most {} are possible", docs.len(), limits::ENTRIES),
        ));
    }
    let mut position = 0;
    let mut total: u64 = 0;
    let mut entries = Vec::with_capacity(docs.len());
    for (nth, doc) in docs.into_iter().enumerate() {
        let entry = entry_from(nth, doc, position, chunks)?;
        if let EntryKind::File { size, uses } = &entry.kind {
            position = uses.end;
            total = total.saturating_add(*size);
        }
        entries.push(entry);
    }
    if position != chunks.uses.len() {
        return Err(ManifestError::Chunks("the files use fewer chunks than are listed as used"));
    }
    if total > limits::PACKAGE_BYTES {
        return Err(field("files", format!("have {total} bytes together, at most 1 TiB is possible")));
    }
    Ok((entries, total))
}

fn entry_from(nth: usize, doc: EntryDoc, position: usize, chunks: &Chunks) -> Result<Entry, ManifestError> {
    let path = RelPath::new(&doc.path).map_err(|source| ManifestError::Path { entry: nth, source })?;
    let refuse = |problem| ManifestError::Entry { path: doc.path.clone(), problem };
    let has_content = doc.size > 0 || doc.chunks > 0;
    let kind = match (doc.kind, doc.target) {
        (EntryKindDoc::File, None) => {
            let count = usize::try_from(doc.chunks).map_err(|_| refuse("has too many chunks"))?;
            let uses = position..position.checked_add(count).ok_or_else(|| refuse("has too many chunks"))?;
            let used =
                chunks.uses.get(uses.clone()).ok_or_else(|| refuse("uses more chunks than are listed"))?;
            let size: u64 = used.iter().map(|&index| chunks.len_of(index)).sum();
            if size != doc.size {
                return Err(refuse("has another size than its chunks together"));
            }
            EntryKind::File { size, uses }
        }
        (EntryKindDoc::Dir, None) if !has_content => EntryKind::Dir,
        (EntryKindDoc::Symlink, Some(target)) if !has_content => EntryKind::Symlink { target },
        _ => return Err(refuse("has fields that do not fit its kind")),
    };
    Ok(Entry { path, mode: doc.mode, kind })
}

/// Packs chunk records and uses the way [`ManifestDoc`] wants them.
pub(crate) fn push_chunk(packed: &mut Vec<u8>, hash: &[u8; 32], len: u32) {
    packed.extend_from_slice(hash);
    packed.extend_from_slice(&len.to_le_bytes());
}
