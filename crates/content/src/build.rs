//! From a folder or a `.deb` to a manifest and packed chunks.
//!
//! Files are read once, front to back, and cut as they are read: memory holds one chunk, the list of files and the list of
//! chunks, never a file. The same folder gives the same manifest, byte for byte.

mod walk;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fastcdc::v2020::StreamCDC;
use packhorse_domain::agent::Timing;
use packhorse_domain::version::VersionOrder;
use packhorse_wire::envelope::{CborError, Envelope, EnvelopeError, SigningKey, to_cbor};

use crate::deb::{self, DebError, DebFacts};
use crate::frame::Frame;
use crate::limits;
use crate::manifest::{
    self, CdcDoc, CheckDoc, DebDoc, EntryDoc, EntryKindDoc, InstallDoc, Keep, Kind, Manifest, ManifestDoc,
    ManifestError, PAYLOAD_TYPE,
};
use crate::path::PathError;
use crate::recipe::{self, Recipe, RecipeError};
use crate::timing;
use walk::{Found, FoundKind};

/// Smallest chunk but the last of a file, in bytes.
pub const CHUNK_MIN_BYTES: usize = 16 * 1024;
/// Chunk aimed at, in bytes.
pub const CHUNK_AVG_BYTES: usize = 64 * 1024;
/// Largest chunk, in bytes.
pub const CHUNK_MAX_BYTES: usize = 256 * 1024;

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe is refused, with file and line.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file in the folder that no package can hold.
    #[error("{}: {problem}", path.display())]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// Why, and what to do.
        problem: String,
    },
    /// The `.deb` is none.
    #[error("{}: {source}", path.display())]
    Deb {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: DebError,
    },
    /// What came out is larger than a package may be, or contradicts itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It cannot be written as CBOR.
    #[error(transparent)]
    Cbor(#[from] CborError),
}

impl BuildError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    fn unfit(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_owned(), problem: problem.into() }
    }

    fn path(path: &Path, error: &PathError) -> Self {
        Self::unfit(path, error.to_string())
    }
}

/// How far a build is; given after every file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildStats {
    /// Files, folders and symlinks done.
    pub entries: u64,
    /// Their bytes.
    pub plain_bytes: u64,
    /// Bytes of different chunks.
    pub unique_bytes: u64,
    /// The same, packed, with headers.
    pub packed_bytes: u64,
}

/// A package built, not yet signed: the manifest and its chunks in a temporary file that has no name.
#[derive(Debug)]
pub struct Built {
    manifest: Arc<Manifest>,
    payload: Bytes,
    frames: File,
    stats: BuildStats,
}

impl Built {
    /// The manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The bytes to be signed.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Sizes.
    pub fn stats(&self) -> BuildStats {
        self.stats
    }

    /// Signs the manifest. Errors: the crypto library refuses.
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<Envelope, EnvelopeError> {
        Envelope::sign(PAYLOAD_TYPE, self.payload.clone(), keys)
    }

    /// Writes all frames, in order of chunk index.
    pub fn copy_frames(&self, to: &mut impl Write) -> io::Result<u64> {
        let mut frames = self.frames.try_clone()?;
        frames.rewind()?;
        io::copy(&mut frames, to)
    }
}

/// Builds from a folder with a `packhorse.toml`, or from a single `.deb`. `spool_dir` takes the packed chunks while
/// building; it needs room for the package. Errors: [`BuildError`]; nothing is left behind.
pub fn build(source: &Path, spool_dir: &Path, progress: impl FnMut(BuildStats)) -> Result<Built, BuildError> {
    let is_dir = std::fs::metadata(source).map_err(BuildError::io(source))?.is_dir();
    let plan = if is_dir { plan_folder(source)? } else { plan_deb(source)? };
    let mut packer = Packer::new(spool_dir, progress)?;
    let files = plan.found.iter().map(|found| packer.entry(found)).collect::<Result<Vec<_>, _>>()?;
    packer.finish(plan, files)
}

/// What will be built: the recipe (written or made up for a `.deb`) and the files, ascending by path.
struct Plan {
    recipe: Recipe,
    deb: Option<DebFacts>,
    found: Vec<Found>,
}

fn plan_folder(folder: &Path) -> Result<Plan, BuildError> {
    let file = folder.join(recipe::FILE_NAME);
    let text = read_recipe(&file)?;
    let recipe = recipe::parse(&file, &text)?;
    let found = walk::walk(folder)?;
    match recipe.kind {
        Kind::Files => Ok(Plan { recipe, deb: None, found }),
        Kind::Deb => plan_folder_with_deb(folder, recipe, found),
    }
}

fn read_recipe(file: &Path) -> Result<String, BuildError> {
    let open = File::open(file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => BuildError::unfit(file, "is missing; a package's folder needs one"),
        _ => BuildError::io(file)(source),
    })?;
    let mut text = String::new();
    // One byte more than the limit, so that the recipe's own check can refuse what is too long.
    open.take(limits::RECIPE_BYTES + 1).read_to_string(&mut text).map_err(BuildError::io(file))?;
    Ok(text)
}

fn plan_folder_with_deb(folder: &Path, recipe: Recipe, found: Vec<Found>) -> Result<Plan, BuildError> {
    let [only] = found.as_slice() else {
        return Err(BuildError::unfit(folder, "kind deb needs exactly one .deb beside packhorse.toml"));
    };
    let facts = read_deb(&only.source)?;
    if facts.version != recipe.version {
        let problem = format!("is version {}, but packhorse.toml says {}", facts.version, recipe.version);
        return Err(BuildError::unfit(&only.source, problem));
    }
    Ok(Plan { recipe, deb: Some(facts), found })
}

fn read_deb(path: &Path) -> Result<DebFacts, BuildError> {
    deb::read(path).map_err(|source| BuildError::Deb { path: path.to_owned(), source })
}

fn plan_deb(path: &Path) -> Result<Plan, BuildError> {
    let facts = read_deb(path)?;
    let recipe = Recipe {
        name: facts.deb.package.clone(),
        version: facts.version.clone(),
        version_order: VersionOrder::Deb,
        summary: facts.summary.chars().take(limits::SUMMARY_BYTES / 4).collect(),
        kind: Kind::Deb,
        keep: Keep::Days(recipe::KEEP_DAYS_DEFAULT),
        install: manifest::Install {
            to: None,
            timeout_secs: recipe::TIMEOUT_SECS_DEFAULT,
            retry: 0,
            timing: Timing::Now,
            install_at: None,
        },
        check_file: None,
    };
    let name = format!("{}.deb", facts.deb.package);
    let found = vec![walk::single(path, &name)?];
    Ok(Plan { recipe, deb: Some(facts), found })
}

/// Cuts, hashes and packs files one after the other.
struct Packer<P> {
    spool: BufWriter<File>,
    spool_dir: PathBuf,
    seen: HashMap<[u8; 32], u32>,
    chunks: Vec<u8>,
    uses: Vec<u8>,
    stats: BuildStats,
    progress: P,
}

impl<P: FnMut(BuildStats)> Packer<P> {
    fn new(spool_dir: &Path, progress: P) -> Result<Self, BuildError> {
        let spool = tempfile::tempfile_in(spool_dir).map_err(BuildError::io(spool_dir))?;
        Ok(Self {
            spool: BufWriter::new(spool),
            spool_dir: spool_dir.to_owned(),
            seen: HashMap::new(),
            chunks: Vec::new(),
            uses: Vec::new(),
            stats: BuildStats::default(),
            progress,
        })
    }

    fn entry(&mut self, found: &Found) -> Result<EntryDoc, BuildError> {
        let mut doc = EntryDoc {
            path: found.path.to_string(),
            kind: EntryKindDoc::Dir,
            mode: found.mode,
            size: 0,
            chunks: 0,
            target: None,
        };
        match &found.kind {
            FoundKind::Dir => {}
            FoundKind::Symlink(target) => {
                doc.kind = EntryKindDoc::Symlink;
                doc.target = Some(target.clone());
            }
            FoundKind::File => {
                doc.kind = EntryKindDoc::File;
                (doc.size, doc.chunks) = self.file(&found.source)?;
            }
        }
        self.stats.entries += 1;
        (self.progress)(self.stats);
        Ok(doc)
    }

    /// Cuts one file; returns its size in bytes and its number of chunk uses.
    fn file(&mut self, source: &Path) -> Result<(u64, u64), BuildError> {
        let file = walk::open_regular(source)?;
        let (mut size, mut count) = (0, 0);
        for chunk in StreamCDC::new(file, CHUNK_MIN_BYTES, CHUNK_AVG_BYTES, CHUNK_MAX_BYTES) {
            let chunk = chunk.map_err(|error| BuildError::io(source)(error.into()))?;
            self.chunk(&chunk.data)?;
            size += chunk.data.len() as u64;
            count += 1;
        }
        self.stats.plain_bytes += size;
        if self.stats.plain_bytes > limits::PACKAGE_BYTES {
            return Err(BuildError::unfit(source, "makes the package larger than 1 TiB"));
        }
        Ok((size, count))
    }

    fn chunk(&mut self, plain: &[u8]) -> Result<(), BuildError> {
        let hash = *blake3::hash(plain).as_bytes();
        let index = match self.seen.get(&hash) {
            Some(&index) => index,
            None => self.new_chunk(hash, plain)?,
        };
        self.uses.extend_from_slice(&index.to_le_bytes());
        Ok(())
    }

    fn new_chunk(&mut self, hash: [u8; 32], plain: &[u8]) -> Result<u32, BuildError> {
        if self.chunks.len() + self.uses.len() > limits::MANIFEST_BYTES {
            return Err(BuildError::unfit(
                &self.spool_dir,
                "the package has too many chunks for a 64 MiB manifest",
            ));
        }
        let index = self.seen.len() as u32; // bounded by the size of the manifest just checked
        let frame = Frame::pack(index, plain).map_err(BuildError::io(&self.spool_dir))?;
        self.spool
            .write_all(&frame.header.to_bytes())
            .and_then(|()| self.spool.write_all(&frame.body))
            .map_err(BuildError::io(&self.spool_dir))?;
        manifest::push_chunk(&mut self.chunks, &hash, plain.len() as u32); // at most 256 KiB
        self.seen.insert(hash, index);
        self.stats.unique_bytes += plain.len() as u64;
        self.stats.packed_bytes += frame.total_len() as u64;
        Ok(index)
    }

    fn finish(self, plan: Plan, files: Vec<EntryDoc>) -> Result<Built, BuildError> {
        let doc = document(plan, files, self.chunks, self.uses);
        let payload = Bytes::from(to_cbor(&doc)?);
        // The same way in as for everybody else: what this builds, every reader accepts.
        let manifest = Arc::new(Manifest::parse(&payload)?);
        let frames =
            self.spool.into_inner().map_err(|error| BuildError::io(&self.spool_dir)(error.into_error()))?;
        Ok(Built { manifest, payload, frames, stats: self.stats })
    }
}

fn document(plan: Plan, files: Vec<EntryDoc>, chunks: Vec<u8>, uses: Vec<u8>) -> ManifestDoc {
    let recipe = plan.recipe;
    ManifestDoc {
        format: recipe.install.format(),
        name: recipe.name,
        version: recipe.version,
        version_order: manifest::order_text(recipe.version_order).to_owned(),
        summary: recipe.summary,
        kind: recipe.kind.as_str().to_owned(),
        keep: manifest::keep_doc(recipe.keep),
        install: InstallDoc {
            to: recipe.install.to,
            timeout_secs: recipe.install.timeout_secs,
            retry: recipe.install.retry,
            timing: Some(recipe.install.timing)
                .filter(|timing| *timing != Timing::Now)
                .map(|timing| timing::word(timing).to_owned()),
            install_at: recipe.install.install_at.map(timing::install_at_text),
        },
        check: CheckDoc { file: recipe.check_file },
        deb: plan.deb.map(|facts| DebDoc {
            package: facts.deb.package,
            architecture: facts.deb.architecture,
            depends: facts.deb.depends,
            pre_depends: facts.deb.pre_depends,
        }),
        cdc: CdcDoc {
            method: "fastcdc-2020".to_owned(),
            min: CHUNK_MIN_BYTES as u32,
            avg: CHUNK_AVG_BYTES as u32,
            max: CHUNK_MAX_BYTES as u32,
        },
        files,
        chunks,
        uses,
    }
}
