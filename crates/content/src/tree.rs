//! The client's side: a package staged as the tree it will be.
//!
//! Chunks go straight to their places in the files of a new tree. There is no journal: after a restart every place is
//! hashed, and what fits is held. Files are sparse until complete. Nothing is synced until [`TreeIntake::finish`], which
//! sets modes, makes symlinks last and syncs everything before it answers with the tree's root.
//!
//! The staging folder is 0700 and ours, so nobody else puts anything into it; even so no symlink in it is followed.
//! All functions block on the disk.

mod beneath;
mod places;
mod reuse;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_domain::fetch::RangeSet;

use crate::fetch::AcceptError;
use crate::frame::Frame;
use crate::manifest::{Entry, EntryKind, Manifest};
use beneath::Beneath;
use places::{Place, Places};

/// The new tree's folder inside the staging folder.
const TREE: &str = "tree";

/// Why a tree could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The staging folder belongs to somebody else or is open to others.
    #[error("staging folder {} is not ours alone; remove it or give it mode 0700", .0.display())]
    NotOurs(PathBuf),
    /// `finish` before everything had come.
    #[error("{0} chunks of the package are missing")]
    Incomplete(u64),
}

impl TreeError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Is the disk full? Then making room helps, and nothing else.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// Where the bytes of a tree came from, plain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeStats {
    /// Copied out of installed files.
    pub reused_bytes: u64,
    /// Found verified in staging when the intake was opened.
    pub staged_bytes: u64,
    /// Arrived since.
    pub received_bytes: u64,
}

/// A package on its way into a tree.
#[derive(Debug)]
pub struct TreeIntake {
    manifest: Arc<Manifest>,
    staging: PathBuf,
    root: Beneath,
    places: Places,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    missing: RangeSet,
    stats: TreeStats,
    /// The file written last, kept open: neighbours in the list of chunks are mostly neighbours in a file.
    last: Option<(usize, Arc<File>)>,
}

impl TreeIntake {
    /// Opens a staging folder, making it if it is not there, and verifies what lies in it already. What does not belong to
    /// this package is removed. Errors: the disk, or a folder that is not ours alone.
    pub fn open(staging: &Path, manifest: &Arc<Manifest>) -> Result<Self, TreeError> {
        let root = Beneath::make_private(staging, TREE)?;
        beneath::keep_only(&staging.join(TREE), manifest)?;
        let intake = Self {
            manifest: manifest.clone(),
            staging: staging.to_owned(),
            root,
            places: Places::of(manifest),
            state: Mutex::new(State {
                missing: RangeSet::full(manifest.chunk_count()),
                stats: TreeStats::default(),
                last: None,
            }),
        };
        intake.make_dirs()?;
        intake.count_staged()?;
        Ok(intake)
    }

    /// What is being staged.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Chunks that are not in place yet.
    pub fn missing(&self) -> RangeSet {
        self.lock().missing.clone()
    }

    /// Where the bytes came from so far.
    pub fn stats(&self) -> TreeStats {
        self.lock().stats
    }

    /// See the note on poisoned locks in the store: the data is valid between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> impl Iterator<Item = (usize, &Entry, &std::ops::Range<usize>)> {
        self.manifest.entries().iter().enumerate().filter_map(|(nth, entry)| match &entry.kind {
            EntryKind::File { uses, .. } => Some((nth, entry, uses)),
            _ => None,
        })
    }

    fn make_dirs(&self) -> Result<(), TreeError> {
        let dirs = self.manifest.entries().iter().filter(|entry| entry.kind == EntryKind::Dir);
        dirs.into_iter().try_for_each(|entry| self.root.make_dir(&entry.path))
    }

    /// Hashes every place that holds data. A chunk found in one of its places is put into the others.
    fn count_staged(&self) -> Result<(), TreeError> {
        // Chunk → in how many places it is, and one of them.
        let mut found: HashMap<u32, (usize, Place)> = HashMap::new();
        for (nth, entry, uses) in self.files() {
            let Some(file) = self.root.open_existing(&entry.path)? else { continue };
            for (index, offset, len) in self.manifest.file_chunks(uses) {
                let is_here = !beneath::is_hole(&file, offset, u64::from(len))
                    && self.read_place(&file, index, offset).map_err(self.io_at(nth))?.is_some();
                if is_here {
                    let place = Place { entry: nth as u32, offset }; // at most a million entries
                    found.entry(index).or_insert((0, place)).0 += 1;
                }
            }
        }
        found.into_iter().try_for_each(|(index, (count, place))| self.hold_staged(index, count, place))
    }

    fn hold_staged(&self, index: u32, count: usize, place: Place) -> Result<(), TreeError> {
        let mut state = self.lock();
        if count < self.places.of_chunk(index).len() {
            let nth = place.entry as usize;
            let Some(file) = self.root.open_existing(&self.manifest.entries()[nth].path)? else {
                return Ok(());
            };
            let Some(bytes) = self.read_place(&file, index, place.offset).map_err(self.io_at(nth))? else {
                return Ok(());
            };
            self.write_everywhere(&mut state, index, &bytes)?;
        }
        state.missing.remove(index..index + 1);
        state.stats.staged_bytes += self.manifest.chunk(index).map_or(0, |chunk| u64::from(chunk.len));
        Ok(())
    }

    fn io_at(&self, entry: usize) -> impl Fn(io::Error) -> TreeError + '_ {
        move |source| TreeError::Io { path: self.root.path_of(&self.manifest.entries()[entry].path), source }
    }

    /// The chunk's bytes if they are in this place of this file.
    fn read_place(&self, file: &File, index: u32, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(chunk) = self.manifest.chunk(index) else { return Ok(None) };
        let mut bytes = vec![0; chunk.len as usize];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok((blake3::hash(&bytes) == chunk.hash).then_some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_everywhere(&self, state: &mut State, index: u32, bytes: &[u8]) -> Result<(), TreeError> {
        for place in self.places.of_chunk(index) {
            let nth = place.entry as usize;
            let file = match &state.last {
                Some((last, file)) if *last == nth => file.clone(),
                _ => Arc::new(self.root.open_to_write(&self.manifest.entries()[nth].path)?),
            };
            file.write_all_at(bytes, place.offset).map_err(self.io_at(nth))?;
            state.last = Some((nth, file));
        }
        Ok(())
    }

    /// Verifies a frame and writes its chunks to all their places. What is held is passed over. Errors: content that is
    /// not what the manifest says (nothing is written), or the disk.
    pub fn accept(&self, frame: &Frame) -> Result<(), AcceptError> {
        let verified = frame.verify(&self.manifest)?;
        let mut state = self.lock();
        for (index, plain) in verified.chunks() {
            if self.take(&mut state, index, &plain)? {
                state.stats.received_bytes += plain.len() as u64;
            }
        }
        Ok(())
    }

    /// Writes a chunk that is missing; `false` if it is not.
    fn take(&self, state: &mut State, index: u32, plain: &[u8]) -> Result<bool, TreeError> {
        if !state.missing.contains(index) {
            return Ok(false);
        }
        self.write_everywhere(state, index, plain)?;
        state.missing.remove(index..index + 1);
        Ok(true)
    }

    /// Completes the tree and makes it durable: sizes and modes, symlinks last, every file and folder synced. Returns its
    /// root, ready to be renamed into place. Errors: something is missing, or the disk.
    pub fn finish(self) -> Result<PathBuf, TreeError> {
        let missing = self.lock().missing.len();
        if missing > 0 {
            return Err(TreeError::Incomplete(missing));
        }
        self.lock().last = None;
        for (nth, entry, uses) in self.files() {
            let size = self.manifest.file_chunks(uses).map(|(_, _, len)| u64::from(len)).sum();
            let file = self.root.open_to_write(&entry.path)?;
            beneath::complete_file(&file, size, entry.mode).map_err(self.io_at(nth))?;
        }
        for entry in self.manifest.entries() {
            if let EntryKind::Symlink { target } = &entry.kind {
                self.root.make_symlink(&entry.path, target)?;
            }
        }
        // Innermost first: a folder that takes the right to enter away must be the last one entered.
        for entry in self.manifest.entries().iter().rev().filter(|entry| entry.kind == EntryKind::Dir) {
            self.root.complete_dir(&entry.path, entry.mode)?;
        }
        self.root.complete_root()?;
        let sync = File::open(&self.staging).and_then(|dir| dir.sync_all());
        sync.map_err(TreeError::io(&self.staging))?;
        Ok(self.staging.join(TREE))
    }
}

impl From<TreeError> for AcceptError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Io { path, source } => Self::Write { path, source },
            other => Self::Write { path: PathBuf::new(), source: io::Error::other(other) },
        }
    }
}
