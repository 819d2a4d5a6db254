//! Reading a package, whole or still arriving.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use packhorse_domain::fetch::RangeSet;
use tokio::sync::watch;

use super::db::Db;
use super::{StoreError, pack_path};
use crate::frame::{Codec, Frame, FrameHeader, HEADER_BYTES};
use crate::manifest::Manifest;

/// Where a chunk's body lies, in one of a view's open files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub file: u32,
    pub codec: Codec,
    pub wire_len: u32,
    pub offset: u64,
}

/// A package's chunks in open files: what was unlinked meanwhile can still be read.
#[derive(Debug)]
pub(super) struct View {
    manifest: Arc<Manifest>,
    files: Vec<Arc<File>>,
    spots: RwLock<Vec<Option<Spot>>>,
    /// Counts arrivals, to wake who waits for them.
    arrivals: watch::Sender<u64>,
    /// Nothing more will arrive.
    closed: AtomicBool,
}

impl View {
    /// What the store holds of a package, and the numbers of the packs that is in. The caller holds the database, so no
    /// pack goes between being found and being opened.
    pub(super) fn of_stored(
        dir: &Path,
        db: &Db,
        manifest: Arc<Manifest>,
    ) -> Result<(Self, Vec<i64>), StoreError> {
        let places = db.locate(&manifest)?;
        let names: HashMap<i64, String> = db.packs()?.into_iter().collect();
        let (mut files, mut numbers, mut file_of) = (Vec::new(), Vec::new(), HashMap::new());
        for place in places.iter().flatten() {
            if file_of.contains_key(&place.pack) {
                continue;
            }
            let path = pack_path(dir, names.get(&place.pack).map_or("", String::as_str), "pack");
            let file = File::open(&path).map_err(StoreError::io(&path))?;
            file_of.insert(place.pack, files.len() as u32); // as many as packs: few
            files.push(Arc::new(file));
            numbers.push(place.pack);
        }
        let spot = |place: super::db::Place| {
            let file = file_of.get(&place.pack).copied()?;
            Some(Spot { file, codec: place.codec, wire_len: place.wire_len, offset: place.offset })
        };
        let spots = places.into_iter().map(|place| place.and_then(spot)).collect();
        Ok((
            Self {
                manifest,
                files,
                spots: RwLock::new(spots),
                arrivals: watch::Sender::new(0),
                closed: AtomicBool::new(false),
            },
            numbers,
        ))
    }

    /// Adds a file in which more chunks will lie; returns its number.
    pub(super) fn add_file(&mut self, file: Arc<File>) -> u32 {
        self.files.push(file);
        (self.files.len() - 1) as u32 // as many as packs: few
    }

    pub(super) fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    fn spots(&self) -> std::sync::RwLockReadGuard<'_, Vec<Option<Spot>>> {
        self.spots.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spot(&self, index: u32) -> Option<Spot> {
        self.spots().get(index as usize).copied().flatten()
    }

    pub(super) fn all_spots(&self) -> Vec<Option<Spot>> {
        self.spots().clone()
    }

    /// A chunk has arrived; wakes readers.
    pub(super) fn arrived(&self, index: u32, spot: Spot) {
        let mut spots = self.spots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = spots.get_mut(index as usize) {
            *slot = Some(spot);
        }
        drop(spots);
        self.arrivals.send_modify(|count| *count += 1);
    }

    /// Nothing more will arrive: who waits for it need not.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.arrivals.send_modify(|count| *count += 1);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Chunks that are nowhere yet.
    pub(super) fn missing(&self) -> RangeSet {
        let mut missing = RangeSet::new();
        for (index, spot) in (0..).zip(self.spots().iter()) {
            if spot.is_none() {
                missing.insert(index..index + 1);
            }
        }
        missing
    }

    pub(super) fn is_whole(&self) -> bool {
        self.spots().iter().all(Option::is_some)
    }

    fn read(&self, index: u32, spot: Spot) -> io::Result<Frame> {
        let mut body = vec![0; spot.wire_len as usize];
        let file = self.files.get(spot.file as usize).ok_or(io::ErrorKind::NotFound)?;
        file.read_exact_at(&mut body, spot.offset)?;
        let header = FrameHeader { first: index, count: 1, codec: spot.codec, wire_len: spot.wire_len };
        Ok(Frame { header, body: body.into() })
    }
}

/// As long as one of a package lives, somebody reads it.
#[derive(Debug)]
pub(super) struct Reading;

/// Reads one package; keeps its files open as long as it lives. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader(Arc<View>, #[expect(dead_code, reason = "it is held")] Arc<Reading>);

impl Reader {
    pub(super) fn new(view: Arc<View>, reading: Arc<Reading>) -> Self {
        Self(view, reading)
    }

    /// The package's manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        self.0.manifest()
    }

    /// Reads one chunk as a frame, `None` if it has not arrived yet. Blocks on the disk.
    pub fn frame(&self, index: u32) -> io::Result<Option<Frame>> {
        self.0.spot(index).map(|spot| self.0.read(index, spot)).transpose()
    }

    /// Chunks that are not here.
    pub fn missing(&self) -> RangeSet {
        self.0.missing()
    }

    /// Whether nothing more will arrive: the package was given up here before it was whole.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// The length of the frames of these chunks together, in bytes; `None` while one has not arrived yet.
    pub fn wire_bytes(&self, ranges: &RangeSet) -> Option<u64> {
        let spots = self.0.spots();
        ranges.iter().try_fold(0, |sum, index| {
            let spot = spots.get(index as usize).copied().flatten()?;
            Some(sum + HEADER_BYTES as u64 + u64::from(spot.wire_len))
        })
    }

    /// From `wanted`, beginning at `from`: chunks that are here, until their frames fill `limit_bytes` (at least one).
    pub(crate) fn ready(&self, wanted: &RangeSet, from: u32, limit_bytes: usize) -> Vec<u32> {
        let spots = self.0.spots();
        let (mut ready, mut total, mut at) = (Vec::new(), 0, from);
        while let Some(index) = wanted.next_from(at) {
            if let Some(Some(spot)) = spots.get(index as usize) {
                total += HEADER_BYTES + spot.wire_len as usize;
                if total > limit_bytes && !ready.is_empty() {
                    break;
                }
                ready.push(index);
            }
            at = index + 1;
        }
        ready
    }

    /// Wakes when chunks arrive.
    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        self.0.arrivals.subscribe()
    }
}
