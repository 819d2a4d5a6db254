//! Content: a relay takes in each package once and serves it while it arrives; the managing server has everything.

use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::instruction::LineKey;
use packhorse_domain::job::Job;
use packhorse_domain::lease::Dated;
use packhorse_domain::planner::{Due, copy_due};
use packhorse_domain::report::{Body, CopyReport, Traffic};

use super::{Hub, HubWrite};
use crate::cx::{Cx, Seen};
use crate::download::{Download, Standing};
use crate::msg::Msg;
use crate::options::Plant;
use crate::sites::NodeId;

/// Chunks in one piece: what may be fetched twice when a line or a system fails.
pub const PIECE_CHUNKS: usize = 2;

/// A stream to a lower system.
#[derive(Debug, Clone)]
pub struct Serving {
    request: u64,
    pub(super) left: RangeSet,
    in_flight: bool,
}

impl Hub {
    /// A lower system wants chunks; its earlier stream for the package is over.
    pub(super) fn content_asked(
        &mut self,
        cx: &mut Cx<'_>,
        who: (NodeId, PackageId),
        request: u64,
        chunks: RangeSet,
    ) {
        if cx.package(&who.1).is_none() {
            return;
        }
        self.serving.insert(who, Serving { request, left: chunks, in_flight: false });
        if let Some(parent) = self.parent {
            self.take_in_copies(cx, parent);
        }
    }

    /// A piece is written down below: the next one may go.
    pub(super) fn frame_stored(&mut self, _cx: &mut Cx<'_>, who: (NodeId, PackageId), request: u64) {
        if let Some(serving) = self.serving.get_mut(&who).filter(|serving| serving.request == request) {
            serving.in_flight = false;
            if serving.left.is_empty() {
                self.serving.remove(&who);
            }
        }
    }

    /// Sends the next piece of every stream that waits for one, of what is here.
    pub(super) fn go_on_serving(&mut self, cx: &mut Cx<'_>) {
        let top = self.is_top();
        let lies = self.evil.is_some();
        let state = self.store.now();
        for ((node, package), serving) in self.serving.iter_mut().filter(|(_, serving)| !serving.in_flight) {
            let mut here =
                if top { serving.left.clone() } else { state.chunks(package).intersect(&serving.left) };
            // What passes through is there for a moment.
            if let Some(passing) = self.passing.get(package) {
                passing.intersect(&serving.left).ranges().for_each(|range| here.insert(range));
            }
            let piece: Vec<u32> = here.iter().take(PIECE_CHUNKS).collect();
            if piece.is_empty() {
                continue;
            }
            piece.iter().for_each(|chunk| serving.left.remove(*chunk..chunk + 1));
            serving.in_flight = true;
            cx.stats.served_while_arriving += u64::from(!top && !state.copies.contains_key(package));
            let chunks = piece.iter().map(|chunk| (*chunk, !(lies && cx.rng.per_mille(200)))).collect();
            cx.send(*node, Msg::Frame { request: serving.request, package: *package, chunks });
            self.used.insert(*package, cx.now);
        }
        self.forget_passed();
    }

    /// Takes in what open jobs below need and is not here.
    pub(super) fn take_in_copies(&mut self, cx: &mut Cx<'_>, parent: NodeId) {
        let wanted: Vec<PackageId> = self.wanted_copies(cx);
        self.downloads.retain(|package, _| wanted.contains(package));
        self.passing.retain(|package, _| wanted.contains(package));
        for package in wanted {
            let Some(chunks) = cx.package(&package).map(|package| package.chunks) else { continue };
            let forgets = cx.planted(Plant::ForgetStaging) || cx.planted(Plant::FetchKept);
            let held = if forgets { RangeSet::new() } else { self.store.now().chunks(&package) };
            if !self.has_room(cx, package, u64::from(chunks) - held.len()) {
                self.pass_on(cx, parent, package, chunks);
                continue;
            }
            let download =
                self.downloads.entry(package).or_insert_with(|| Download::new(package, chunks, &held));
            let (standing, asked) = download.go(cx, parent);
            if let Some(asked) = asked {
                let held = self.store.now().chunks(&package).intersect(&asked).len();
                cx.seen.push(Seen::Asked { package, held });
            }
            match standing {
                Standing::Whole => self.copy_whole(cx, package),
                // Begun anew, it asks again; the pause before is that of the next look.
                Standing::BadSource => drop(self.downloads.remove(&package)),
                Standing::Goes | Standing::NoLine => {}
            }
        }
    }

    fn wanted_copies(&self, cx: &Cx<'_>) -> Vec<PackageId> {
        let state = self.store.now();
        let mut wanted = Vec::new();
        for row in state.jobs.values() {
            let job = row.doc.unverified();
            // Lines are counted only where that decides anything.
            let kept = |id: &PackageId| state.copies.contains_key(id) && !cx.planted(Plant::FetchKept);
            let missing = job.packages.iter().any(|package| !kept(&package.id));
            if missing && copy_due(job, self.open_lines_of(job), cx.now) == Due::Now {
                let missing = job.packages.iter().map(|package| package.id);
                wanted.extend(missing.filter(|id| !kept(id)));
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    fn open_lines_of(&self, job: &Job) -> u64 {
        // Lines are kept in the order of their jobs.
        let first = LineKey { job: job.key.clone(), package: PackageId([0; 32]), host: HostId([0; 16]) };
        let lines = self.store.now().lines.range(first..).take_while(|(key, _)| key.job == job.key);
        lines.filter(|(_, line)| !line.shown().is_end()).count() as u64
    }

    /// A piece came from the higher system.
    pub(super) fn frame_came(
        &mut self,
        cx: &mut Cx<'_>,
        request: u64,
        package: PackageId,
        chunks: &[(u32, bool)],
    ) {
        let (Some(parent), Some(download)) = (self.parent, self.downloads.get_mut(&package)) else { return };
        let good = download.frame(cx, request, chunks);
        if good.is_empty() {
            return;
        }
        if self.passing.contains_key(&package) {
            self.passes(cx, package, &good);
            cx.send(parent, Msg::FrameStored { request, package });
            return self.take_in_copies(cx, parent);
        }
        let had_copy = self.store.now().copies.contains_key(&package);
        cx.seen.push(Seen::Received { package, chunks: good.len() as u64, had_copy });
        for chunk in good {
            self.store.put(HubWrite::Chunk(package, chunk));
        }
        cx.send(parent, Msg::FrameStored { request, package });
        self.transfer_begun(cx, package);
        self.take_in_copies(cx, parent);
    }

    fn copy_whole(&mut self, cx: &mut Cx<'_>, id: PackageId) {
        self.downloads.remove(&id);
        self.ledger.release(&id);
        let Some(named) = cx.package(&id).map(|package| package.named.clone()) else { return };
        let date = self.date_on_arrival(cx, &named);
        self.set_date(cx, id, date);
        cx.stats.copies += 1;
        self.settle_transfers(cx);
    }

    /// Writes a copy's date and says it upwards.
    pub(super) fn set_date(&mut self, cx: &mut Cx<'_>, id: PackageId, date: Dated) {
        self.store.put(HubWrite::Copy(id, date));
        let size_bytes = self.store.now().chunks(&id).len();
        let traffic = Traffic { received_bytes: size_bytes, ..Traffic::default() };
        let copy = CopyReport { package: id, keep_until: Some(date.until), size_bytes, traffic };
        self.say(cx, Body::Copy(copy));
    }
}
