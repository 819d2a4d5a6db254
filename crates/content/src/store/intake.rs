//! Taking a package into the store: staged, verified, then made durable at one point.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::PackageId;
use packhorse_wire::envelope::Envelope;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::db::{Db, PackedChunk};
use super::reader::{Reader, Spot, View};
use super::{
    Store, StoreError, lock, manifest_path, pack, pack_path, remove_file, remove_pack, staged_path, sync_dir,
    write_whole,
};
use crate::fetch::AcceptError;
use crate::frame::{Frame, HEADER_BYTES};
use crate::limits;
use crate::manifest::Manifest;

/// What a package takes at most beside its chunks, its index and its manifest: the ends of four files and a few pages of
/// the database, in bytes.
const EXTRA_BYTES: u64 = 64 * 1024;

/// Where the bytes of a package came from; plain bytes unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntakeStats {
    /// Chunks other packages had brought.
    pub reused_bytes: u64,
    /// Chunks found verified in staging when this intake was opened.
    pub staged_bytes: u64,
    /// Chunks that arrived since.
    pub received_bytes: u64,
    /// The same as they came over the wire, with headers.
    pub received_wire_bytes: u64,
}

/// A package on its way into the store. Shared by all who wait for it.
#[derive(Debug)]
pub struct Intake {
    store: Store,
    view: Arc<View>,
    /// Packs of other packages this one builds on.
    pinned: Vec<i64>,
    /// Length of the signed manifest.
    envelope_bytes: u64,
    /// The staged file, and its number in the view; `None` for a package that was whole from the start.
    staged: Option<(Arc<File>, u32)>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where the next frame goes in the staged file, in bytes.
    end: u64,
    missing: RangeSet,
    stats: IntakeStats,
    finished: bool,
}

impl Intake {
    pub(super) fn open(store: Store, envelope: &[u8], manifest: Arc<Manifest>) -> Result<Self, StoreError> {
        check_belongs(envelope, &manifest)?;
        let id = manifest.id();
        let is_whole = store.has(&id)?;
        if !is_whole {
            write_whole(&staged_path(&store.0.dir, &id, "env"), envelope)?;
        }
        let (mut view, pinned) = pinned_view(&store, manifest)?;
        let stats = IntakeStats {
            reused_bytes: view.manifest().unique_bytes() - view.manifest().bytes_of(&view.missing()),
            ..IntakeStats::default()
        };
        let mut state = State { end: 0, missing: view.missing(), stats, finished: is_whole };
        let staged = if is_whole { None } else { Some(resume(&store, &mut view, &mut state)?) };
        let envelope_bytes = envelope.len() as u64;
        Ok(Self { store, view: Arc::new(view), pinned, envelope_bytes, staged, state: Mutex::new(state) })
    }

    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The package.
    pub fn id(&self) -> PackageId {
        self.view.manifest().id()
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        self.view.manifest()
    }

    /// Chunks that are neither in the store nor staged.
    pub fn missing(&self) -> RangeSet {
        lock(&self.state).missing.clone()
    }

    /// Bytes that its being whole will take at most beyond what is written: what is missing of the pack, the index, the
    /// manifest and the files' ends.
    pub fn needed_bytes(&self) -> u64 {
        let state = lock(&self.state);
        let missing = self.manifest().bytes_of(&state.missing) + state.missing.len() * HEADER_BYTES as u64;
        let index = u64::from(self.manifest().chunk_count()) * pack::RECORD_BYTES as u64;
        missing + index + self.envelope_bytes + EXTRA_BYTES
    }

    /// Takes the room for what is missing from the file system, so that nobody else has it when the bytes come. Answers
    /// whether the file system knows how to; one that does not is not asked again. Errors: the disk is full. Blocks.
    pub fn reserve(&self) -> Result<bool, StoreError> {
        let state = lock(&self.state);
        let bytes = self.manifest().bytes_of(&state.missing) + state.missing.len() * HEADER_BYTES as u64;
        let Some((file, _)) = self.staged.as_ref().filter(|_| bytes > 0) else { return Ok(true) };
        let path = staged_path(&self.store.0.dir, &self.id(), "pack");
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, state.end, bytes) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(error) => Err(StoreError::io(&path)(error.into())),
        }
    }

    /// Gives reserved room that was not written back to the file system. Blocks.
    pub fn give_back(&self) -> Result<(), StoreError> {
        let state = lock(&self.state);
        let Some((file, _)) = self.staged.as_ref().filter(|_| !state.finished) else { return Ok(()) };
        file.set_len(state.end).map_err(StoreError::io(&staged_path(&self.store.0.dir, &self.id(), "pack")))
    }

    /// The package does not arrive any more, for want of room. What came stays staged; whoever waits for the rest is told
    /// to ask again, and the next [`Store::begin`] begins anew.
    pub fn give_up(&self) {
        self.view.close();
    }

    /// Was it given up?
    pub fn is_given_up(&self) -> bool {
        self.view.is_closed()
    }

    /// What is here of it, to read from as long as one likes.
    pub fn reader(&self) -> Reader {
        self.store.read(self.view.clone())
    }

    /// Where the bytes came from so far.
    pub fn stats(&self) -> IntakeStats {
        lock(&self.state).stats
    }

    /// Is the package whole and durable?
    pub fn is_finished(&self) -> bool {
        lock(&self.state).finished
    }

    /// Verifies a frame and appends what is missing of it to the staged file. What is already held is passed over.
    /// Errors: content that is not what the manifest says (nothing is written), or the disk. Blocks.
    pub fn accept(&self, frame: &Frame) -> Result<(), AcceptError> {
        let verified = frame.verify(self.manifest())?;
        // Outside the lock: hashing and packing may run beside another frame's writing.
        let single = frame.header.count == 1;
        for (index, plain) in verified.chunks() {
            let packed =
                if single { frame.clone() } else { Frame::pack(index, &plain).map_err(|e| self.wrap(e))? };
            self.append(index, &packed, plain.len() as u64)?;
        }
        Ok(())
    }

    fn append(&self, index: u32, frame: &Frame, plain_bytes: u64) -> Result<(), AcceptError> {
        let mut state = lock(&self.state);
        let Some((file, number)) = self.staged.as_ref().filter(|_| state.missing.contains(index)) else {
            return Ok(());
        };
        // One write, so that a kill leaves a frame whole or as a tail that is cut off.
        let mut bytes = Vec::with_capacity(frame.total_len());
        bytes.extend_from_slice(&frame.header.to_bytes());
        bytes.extend_from_slice(&frame.body);
        file.write_all_at(&bytes, state.end).map_err(|error| self.wrap(error))?;
        let spot = Spot {
            file: *number,
            codec: frame.header.codec,
            wire_len: frame.header.wire_len,
            offset: state.end + HEADER_BYTES as u64,
        };
        state.end += bytes.len() as u64;
        state.missing.remove(index..index + 1);
        state.stats.received_bytes += plain_bytes;
        state.stats.received_wire_bytes += bytes.len() as u64;
        self.view.arrived(index, spot);
        Ok(())
    }

    fn wrap(&self, source: io::Error) -> AcceptError {
        AcceptError::Write { path: staged_path(&self.store.0.dir, &self.id(), "pack"), source }
    }

    /// Makes the package durable: pack, index, manifest, folders, then the database. A second call does nothing.
    /// Errors: something is missing, or the disk; the package then stays staged. Blocks.
    pub fn finish(&self) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        if state.finished {
            return Ok(());
        }
        if !state.missing.is_empty() {
            return Err(StoreError::Incomplete { id: self.id(), missing: state.missing.len() });
        }
        self.publish(state.end)?;
        state.finished = true;
        drop(state);
        self.store.keep_view(self.view.clone());
        Ok(())
    }

    fn publish(&self, pack_bytes: u64) -> Result<(), StoreError> {
        let dir = &self.store.0.dir;
        let name = free_name(dir, &self.id());
        let chunks = self.brought();
        let envelope = self.store.manifest_envelope(&self.id())?;
        write_whole(&manifest_path(dir, &self.id()), &envelope)?;
        let staged = staged_path(dir, &self.id(), "pack");
        let placed = pack_path(dir, &name, "pack");
        let file = self.staged.as_ref().filter(|_| pack_bytes > 0);
        if let Some((file, _)) = file {
            file.set_len(pack_bytes).and_then(|()| file.sync_all()).map_err(StoreError::io(&staged))?;
            write_whole(&pack_path(dir, &name, "index"), &pack::encode_index(&chunks))?;
            fs::rename(&staged, &placed).map_err(StoreError::io(&staged))?;
        }
        let recorded = sync_dir(&dir.join("packs"))
            .and_then(|()| sync_dir(&dir.join("manifests")))
            .and_then(|()| self.record(&name, &chunks, file.is_some()));
        if let Err(error) = recorded {
            // Back to where a second `finish`, or the next start, looks for it.
            if file.is_some() {
                fs::rename(&placed, &staged).map_err(StoreError::io(&placed))?;
            }
            return Err(error);
        }
        remove_file(&staged_path(dir, &self.id(), "env"))?;
        remove_file(&staged)
    }

    /// Writes the database; whatever fails here failed before the commit.
    fn record(&self, name: &str, chunks: &[PackedChunk], has_pack: bool) -> Result<(), StoreError> {
        let mut db = lock(&self.store.0.db);
        let whole = db.add(self.manifest(), has_pack.then_some((name, chunks)))?;
        if !whole {
            return Err(StoreError::Incomplete { id: self.id(), missing: 1 });
        }
        self.tidy(&mut db);
        Ok(())
    }

    /// What two packages brought at the same time may have left a pack without use. Failing here is no failure: the next
    /// removal or start tidies up again.
    fn tidy(&self, db: &mut Db) {
        let unused = db.forget_unused(&self.store.pinned()).unwrap_or_default();
        for name in unused {
            if let Err(error) = remove_pack(&self.store.0.dir, &name) {
                tracing::warn!(%error, "an unused pack stays until the next start");
            }
        }
    }

    /// The chunks in the staged file.
    fn brought(&self) -> Vec<PackedChunk> {
        let Some((_, number)) = self.staged.as_ref() else { return Vec::new() };
        let spots = self.view.all_spots();
        let chunks = self.manifest().chunks().zip(spots);
        let here = |spot: &Spot| spot.file == *number;
        chunks
            .filter_map(|(chunk, spot)| spot.filter(here).map(|spot| (chunk, spot)))
            .map(|(chunk, spot)| PackedChunk {
                hash: chunk.hash,
                offset: spot.offset,
                wire_len: spot.wire_len,
                codec: spot.codec,
            })
            .collect()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let mut pins = lock(&self.store.0.pins);
        for pack in &self.pinned {
            if let Some(count) = pins.get_mut(pack) {
                *count -= 1;
            }
        }
        pins.retain(|_, count| *count > 0);
    }
}

fn check_belongs(envelope: &[u8], manifest: &Manifest) -> Result<(), StoreError> {
    let decoded = Envelope::decode(envelope, limits::ENVELOPE_BYTES);
    match decoded {
        Ok(decoded) if PackageId(*blake3::hash(&decoded.payload).as_bytes()) == manifest.id() => Ok(()),
        _ => Err(StoreError::WrongEnvelope(manifest.id())),
    }
}

/// What other packages brought; their packs stay as long as this intake lives.
fn pinned_view(store: &Store, manifest: Arc<Manifest>) -> Result<(View, Vec<i64>), StoreError> {
    let db = lock(&store.0.db);
    let (view, packs) = View::of_stored(&store.0.dir, &db, manifest)?;
    let mut pins: std::sync::MutexGuard<'_, HashMap<i64, usize>> = lock(&store.0.pins);
    for pack in &packs {
        *pins.entry(*pack).or_default() += 1;
    }
    Ok((view, packs))
}

/// Opens the staged file, verifies every frame in it and cuts off what is broken.
fn resume(store: &Store, view: &mut View, state: &mut State) -> Result<(Arc<File>, u32), StoreError> {
    let path = staged_path(&store.0.dir, &view.manifest().id(), "pack");
    let file = Arc::new(open_staged(&path).map_err(StoreError::io(&path))?);
    let number = view.add_file(file.clone());
    let manifest = view.manifest().clone();
    let end = pack::scan(&file, |found| {
        let header = found.frame.header;
        if header.count != 1 || found.frame.verify(&manifest).is_err() {
            return false;
        }
        if state.missing.contains(header.first) {
            state.missing.remove(header.chunks());
            state.stats.staged_bytes += manifest.chunk(header.first).map_or(0, |chunk| u64::from(chunk.len));
            let (codec, wire_len, offset) = (header.codec, header.wire_len, found.body_offset);
            view.arrived(header.first, Spot { file: number, codec, wire_len, offset });
        }
        true
    })
    .map_err(StoreError::io(&path))?;
    file.set_len(end).map_err(StoreError::io(&path))?;
    state.end = end;
    Ok((file, number))
}

fn open_staged(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The package's own name, or the next free one if an older pack of it is still used by others.
fn free_name(dir: &Path, id: &PackageId) -> String {
    let names = std::iter::once(id.to_string()).chain((2..).map(|nth| format!("{id}.{nth}")));
    let taken = |name: &String| -> PathBuf { pack_path(dir, name, "pack") };
    names.into_iter().find(|name| !taken(name).exists()).unwrap_or_default()
}
