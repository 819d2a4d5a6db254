//! The store of a server or relay: packages as packs of frames, every chunk once.
//!
//! | where | what |
//! |---|---|
//! | `packs/<id>.pack` | the chunks a package brought along: frames one after the other, self-describing |
//! | `packs/<id>.index` | where each chunk lies in the pack; unsigned, made anew from the pack when it is lost |
//! | `manifests/<id>.env` | the signed manifest, the bytes as received |
//! | `staging/<id>.pack`, `.env` | a package still arriving; used again after a restart |
//! | `store.db` | chunk → where it lies; which packs a package uses; made anew from the rest when it is lost |
//! | `ballast` | room in which the database opens on a full disk |
//!
//! A chunk that several packages share lies in the pack of the first. A pack goes when no package uses it any more.
//! One way in: [`Store::begin`] → [`Intake::accept`] (limit, hash, append) → [`Intake::finish`] (one durability point).
//!
//! All functions here block on the disk: call them from a blocking thread.

mod db;
mod intake;
mod pack;
mod reader;
mod recover;
mod space;

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::PackageId;

use crate::manifest::{Manifest, ManifestError};
use db::Db;
pub use intake::{Intake, IntakeStats};
pub use reader::Reader;
use reader::{Reading, View};
pub(crate) use space::is_full;
pub use space::{CopySpace, Space};

/// A file that takes room, to be thrown off when a store is to be opened on a full disk.
const BALLAST: &str = "ballast";

/// Views of packages kept open for the next reader.
const VIEWS_KEPT: usize = 4;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database.
    #[error("{}: {source}", path.display())]
    Db {
        /// Which database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Written by a newer version.
    #[error("{}: store has format {found}, this program reads format {}; update packhorse", path.display(), db::SCHEMA)]
    Format {
        /// Which database.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// A package that is neither here nor arriving.
    #[error("package {0} is not in this store")]
    NotFound(PackageId),
    /// A package that is still arriving cannot be removed, only abandoned.
    #[error("package {0} is still arriving")]
    Arriving(PackageId),
    /// The envelope does not hold the manifest it was given with.
    #[error("envelope and manifest of package {0} do not belong together")]
    WrongEnvelope(PackageId),
    /// A manifest in the store cannot be read any more.
    #[error("stored manifest of package {id}: {source}")]
    Manifest {
        /// Which package.
        id: PackageId,
        /// Why.
        source: ManifestError,
    },
    /// `finish` before everything had come.
    #[error("package {id} lacks {missing} chunks")]
    Incomplete {
        /// Which package.
        id: PackageId,
        /// How many chunks.
        missing: u64,
    },
}

impl StoreError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Is the disk full? Then making room helps, and nothing else.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => space::is_full(source),
            Self::Db { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }
}

/// A package in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPackage {
    /// Which one.
    pub id: PackageId,
    /// Its different chunks together, plain, in bytes.
    pub unique_bytes: u64,
}

/// What re-hashing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Chunks that cannot be read or are not what the manifest says.
    pub damaged: RangeSet,
    /// Plain bytes that are in order.
    pub good_bytes: u64,
}

/// A store in a folder. Cheap to clone; one process opens a folder once.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    db: Mutex<Db>,
    /// One slot per package that ever began here: its lock makes intakes single-flight.
    slots: Mutex<HashMap<PackageId, Arc<Mutex<Weak<Intake>>>>>,
    /// Packs that arriving packages build on: how many of them. Taken only while `db` is held, so that no pack is
    /// deleted between being found and being pinned.
    pins: Mutex<HashMap<i64, usize>>,
    views: Mutex<VecDeque<Arc<View>>>,
    /// Who reads which package: alive while a reader of it is.
    reading: Mutex<HashMap<PackageId, Weak<Reading>>>,
}

/// A poisoned lock means a panic elsewhere; the data behind our locks is valid between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_db(dir: &Path) -> Result<Db, StoreError> {
    let (mut db, is_new) = Db::open(&dir.join("store.db"))?;
    recover::recover(dir, &mut db, is_new)?;
    Ok(db)
}

impl Store {
    /// Opens a store, making the folder if it is not there, and tidies up what a kill left behind. Errors: the disk, the
    /// database, a format of the future.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        for part in ["packs", "manifests", "staging"] {
            make_dir(&dir.join(part))?;
        }
        let db = match open_db(dir) {
            // A disk so full that the database cannot even be opened: the ballast is for this.
            Err(error) if error.is_no_space() => {
                tracing::warn!(%error, "the disk is full; the ballast is thrown off");
                remove_file(&dir.join(BALLAST))?;
                open_db(dir)?
            }
            other => other?,
        };
        space::lay_ballast(&dir.join(BALLAST));
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            db: Mutex::new(db),
            slots: Mutex::default(),
            pins: Mutex::default(),
            views: Mutex::default(),
            reading: Mutex::default(),
        })))
    }

    /// Is the package here, whole and durable?
    pub fn has(&self, id: &PackageId) -> Result<bool, StoreError> {
        lock(&self.0.db).has(id)
    }

    /// All packages here, whole and durable, ascending by id.
    pub fn list(&self) -> Result<Vec<StoredPackage>, StoreError> {
        lock(&self.0.db).packages()
    }

    /// Packages that began to arrive and are not whole yet; `begin` goes on with them.
    pub fn staged(&self) -> Result<Vec<PackageId>, StoreError> {
        let dir = self.0.dir.join("staging");
        let names = list_dir(&dir)?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".env")?.parse().ok()).collect())
    }

    /// The signed manifest of a package here or arriving, the bytes as received.
    pub fn manifest_envelope(&self, id: &PackageId) -> Result<Bytes, StoreError> {
        for path in [manifest_path(&self.0.dir, id), staged_path(&self.0.dir, id, "env")] {
            match fs::read(&path) {
                Ok(bytes) => return Ok(bytes.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(&path)(error)),
            }
        }
        Err(StoreError::NotFound(*id))
    }

    /// The manifest of a package here or arriving.
    pub fn manifest(&self, id: &PackageId) -> Result<Arc<Manifest>, StoreError> {
        let envelope = self.manifest_envelope(id)?;
        let manifest = Manifest::from_stored_envelope(&envelope)
            .map_err(|source| StoreError::Manifest { id: *id, source })?;
        Ok(Arc::new(manifest))
    }

    /// Begins to take a package in, or goes on: what other packages brought is used, what lay in staging is verified and
    /// used. Whoever calls this for a package that is arriving gets the same intake. A package that is here gives an
    /// intake with nothing missing. The caller has verified the envelope's signatures.
    pub fn begin(&self, envelope: &[u8], manifest: &Arc<Manifest>) -> Result<Arc<Intake>, StoreError> {
        let slot = lock(&self.0.slots).entry(manifest.id()).or_default().clone();
        let mut current = lock(&slot);
        // One that finished and was removed since is of no use any more.
        if let Some(intake) = current.upgrade()
            && !intake.is_given_up()
            && (!intake.is_finished() || self.has(&manifest.id())?)
        {
            return Ok(intake);
        }
        let intake = Arc::new(Intake::open(self.clone(), envelope, manifest.clone())?);
        *current = Arc::downgrade(&intake);
        Ok(intake)
    }

    /// The intake of a package that is arriving now, if somebody holds it.
    pub fn arriving(&self, id: &PackageId) -> Option<Arc<Intake>> {
        let slot = lock(&self.0.slots).get(id).cloned()?;
        let current = lock(&slot).upgrade();
        current.filter(|intake| !intake.is_finished() && !intake.is_given_up())
    }

    /// Throws away what has arrived of a package that is not whole. Errors: somebody still holds its intake.
    pub fn abandon(&self, id: &PackageId) -> Result<(), StoreError> {
        let slot = lock(&self.0.slots).entry(*id).or_default().clone();
        let current = lock(&slot);
        if current.strong_count() > 0 {
            return Err(StoreError::Arriving(*id));
        }
        for kind in ["pack", "env"] {
            remove_file(&staged_path(&self.0.dir, id, kind))?;
        }
        Ok(())
    }

    /// Removes a package and every pack that no other package uses. Readers that are reading it go on undisturbed.
    pub fn remove(&self, id: &PackageId) -> Result<(), StoreError> {
        if self.arriving(id).is_some() {
            return Err(StoreError::Arriving(*id));
        }
        let mut db = lock(&self.0.db);
        if !db.has(id)? {
            return Err(StoreError::NotFound(*id));
        }
        // A view that is kept for the next reader holds the bytes on the disk.
        lock(&self.0.views).retain(|view| view.manifest().id() != *id);
        // Forget first, then unlink: after a kill in between, opening the store removes the files nobody knows.
        let pinned = self.pinned();
        let packs = match db.remove(id, &pinned) {
            // A disk so full that it cannot even be written down what goes: then it goes first. After a kill in between,
            // opening the store finds the packs missing.
            Err(error) if error.is_no_space() => {
                tracing::warn!(%error, package = %id, "the disk is full; what goes is unlinked first");
                let going = db.unused_without(id, &pinned)?;
                self.unlink(id, &going)?;
                db.remove(id, &pinned)?
            }
            other => other?,
        };
        self.unlink(id, &packs)
    }

    fn unlink(&self, id: &PackageId, packs: &[String]) -> Result<(), StoreError> {
        remove_file(&manifest_path(&self.0.dir, id))?;
        packs.iter().try_for_each(|name| remove_pack(&self.0.dir, name))
    }

    fn pinned(&self) -> Vec<i64> {
        lock(&self.0.pins).keys().copied().collect()
    }

    /// Opens a package for reading, here or arriving. The reader keeps the bytes it may need, whatever is removed.
    pub fn reader(&self, id: &PackageId) -> Result<Reader, StoreError> {
        if let Some(intake) = self.arriving(id) {
            return Ok(self.read(intake.view().clone()));
        }
        let kept = lock(&self.0.views).iter().find(|view| view.manifest().id() == *id).cloned();
        match kept {
            Some(view) => Ok(self.read(view)),
            None => self.open_view(id).map(|view| self.read(view)),
        }
    }

    /// What is here of a package that is neither stored nor arriving: chunks that other packages brought. The rest of it
    /// is `None` to the reader, for ever.
    pub fn reader_of_parts(&self, manifest: &Arc<Manifest>) -> Result<Reader, StoreError> {
        let db = lock(&self.0.db);
        let (view, _) = View::of_stored(&self.0.dir, &db, manifest.clone())?;
        drop(db);
        Ok(self.read(Arc::new(view)))
    }

    fn open_view(&self, id: &PackageId) -> Result<Arc<View>, StoreError> {
        if !self.has(id)? {
            return Err(StoreError::NotFound(*id));
        }
        let manifest = self.manifest(id)?;
        let view = {
            // Found and opened under one lock: no pack is unlinked in between.
            let db = lock(&self.0.db);
            let (view, _) = View::of_stored(&self.0.dir, &db, manifest)?;
            Arc::new(view)
        };
        if !view.is_whole() {
            return Err(StoreError::NotFound(*id));
        }
        self.keep_view(view.clone());
        Ok(view)
    }

    fn keep_view(&self, view: Arc<View>) {
        let mut views = lock(&self.0.views);
        views.push_back(view);
        if views.len() > VIEWS_KEPT {
            views.pop_front();
        }
    }

    /// Reads and hashes every chunk of a package.
    pub fn verify(&self, id: &PackageId) -> Result<Verification, StoreError> {
        let reader = self.reader(id)?;
        let manifest = reader.manifest().clone();
        let mut found = Verification { damaged: RangeSet::new(), good_bytes: 0 };
        for index in 0..manifest.chunk_count() {
            let good =
                reader.frame(index).is_ok_and(|frame| frame.is_some_and(|f| f.verify(&manifest).is_ok()));
            match manifest.chunk(index) {
                Some(chunk) if good => found.good_bytes += u64::from(chunk.len),
                _ => found.damaged.insert(index..index + 1),
            }
        }
        Ok(found)
    }
}

fn manifest_path(dir: &Path, id: &PackageId) -> PathBuf {
    dir.join("manifests").join(format!("{id}.env"))
}

fn staged_path(dir: &Path, id: &PackageId, kind: &str) -> PathBuf {
    dir.join("staging").join(format!("{id}.{kind}"))
}

fn pack_path(dir: &Path, name: &str, kind: &str) -> PathBuf {
    dir.join("packs").join(format!("{name}.{kind}"))
}

fn make_dir(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io(dir))
}

fn list_dir(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for item in fs::read_dir(dir).map_err(StoreError::io(dir))? {
        let item = item.map_err(StoreError::io(dir))?;
        names.extend(item.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Unlinks a file; one that is not there is as good.
fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path)(error)),
        _ => Ok(()),
    }
}

fn remove_pack(dir: &Path, name: &str) -> Result<(), StoreError> {
    remove_file(&pack_path(dir, name, "pack"))?;
    remove_file(&pack_path(dir, name, "index"))
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io(dir))
}

/// A new file that is ours alone, in place of one that is there.
fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().create(true).truncate(true).write(true).mode(0o600).open(path)
}

/// Writes a file so that it is whole or not there, and durable once its folder is synced.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = path.with_extension("tmp");
    let write = || {
        let mut file = private_file(&beside)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| {
        // Half a file on a full disk would only take the room of what is to come.
        let _ = fs::remove_file(&beside);
        StoreError::io(path)(error)
    })
}
