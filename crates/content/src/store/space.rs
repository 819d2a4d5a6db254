//! How much room the store takes, what each copy has part in, and who reads what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use packhorse_domain::ids::PackageId;
use packhorse_domain::room::Disk;
use rustix::fs::FallocateFlags;

use super::reader::{Reader, Reading, View};
use super::{Store, StoreError, lock, pack_path};

/// What SQLite needs at least to open a database and change a few pages of it, several times over.
const BALLAST_BYTES: u64 = 256 * 1024;
/// Blocks are counted in these, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// A package in the store and the packs its chunks lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySpace {
    /// The package.
    pub id: PackageId,
    /// The packs' numbers.
    pub packs: BTreeSet<u64>,
    /// Somebody reads it, or what is arriving builds on one of its packs.
    pub pinned: bool,
}

/// What is in the store, and what it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Packages, whole and durable.
    pub copies: Vec<CopySpace>,
    /// What each pack takes on the disk, in bytes.
    pub packs: BTreeMap<u64, u64>,
}

impl Store {
    /// Bytes that the store's files take on the disk: packs, manifests, what is arriving (what is reserved for it
    /// included), the database.
    pub fn used_bytes(&self) -> Result<u64, StoreError> {
        let mut total = 0;
        for part in ["", "packs", "manifests", "staging"] {
            let dir = self.0.dir.join(part);
            for item in fs::read_dir(&dir).map_err(StoreError::io(&dir))? {
                // A file may go between being listed and being asked.
                let metadata = item.and_then(|item| item.metadata());
                total += metadata.map_or(0, |metadata| if metadata.is_file() { taken(&metadata) } else { 0 });
            }
        }
        Ok(total)
    }

    /// Bytes the file system of the store has free for this user.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        self.file_system().map(|(_, free)| free)
    }

    /// The disk as it is now.
    pub fn disk(&self) -> Result<Disk, StoreError> {
        let (total_bytes, free_bytes) = self.file_system()?;
        Ok(Disk { total_bytes, free_bytes, used_bytes: self.used_bytes()? })
    }

    /// Size and free bytes of the file system.
    fn file_system(&self) -> Result<(u64, u64), StoreError> {
        let stat =
            rustix::fs::statvfs(&self.0.dir).map_err(|error| StoreError::io(&self.0.dir)(error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok((bytes(stat.f_blocks), bytes(stat.f_bavail)))
    }

    /// What is here and what it takes.
    pub fn space(&self) -> Result<Space, StoreError> {
        let (uses, packs, pinned) = {
            let db = lock(&self.0.db);
            (db.uses()?, db.packs()?, self.pinned())
        };
        let size = |name: &str| {
            let of = |kind| fs::metadata(pack_path(&self.0.dir, name, kind)).map_or(0, |file| taken(&file));
            of("pack") + of("index")
        };
        let mut space = Space::default();
        for (number, name) in packs {
            space.packs.insert(number.cast_unsigned(), size(&name));
        }
        for (id, packs) in uses {
            let pinned = self.is_read(&id) || packs.iter().any(|pack| pinned.contains(pack));
            let packs = packs.into_iter().map(i64::cast_unsigned).collect();
            space.copies.push(CopySpace { id, packs, pinned });
        }
        Ok(space)
    }

    /// Whether somebody reads a package now.
    pub fn is_read(&self, id: &PackageId) -> bool {
        lock(&self.0.reading).get(id).is_some_and(|reading| reading.strong_count() > 0)
    }

    /// Begins to read.
    pub(super) fn read(&self, view: Arc<View>) -> Reader {
        let id = view.manifest().id();
        let mut all = lock(&self.0.reading);
        let reading = all.get(&id).and_then(std::sync::Weak::upgrade).unwrap_or_else(|| Arc::new(Reading));
        all.retain(|_, reading| reading.strong_count() > 0);
        all.insert(id, Arc::downgrade(&reading));
        Reader::new(view, reading)
    }
}

/// Lays the ballast if it is not there. Without room for it the store works as well, as long as it is not opened anew.
pub(super) fn lay_ballast(path: &Path) {
    if fs::metadata(path).is_ok_and(|file| file.len() == BALLAST_BYTES) {
        return;
    }
    let lay = || {
        let file = super::private_file(path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES).map_err(io::Error::from)
    };
    if lay().is_err() {
        let _ = fs::remove_file(path);
    }
}

fn taken(metadata: &fs::Metadata) -> u64 {
    metadata.blocks().saturating_mul(BLOCK_BYTES)
}

/// Is this what a full disk, or a used-up quota, says?
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
