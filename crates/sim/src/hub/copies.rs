//! Content: a relay takes in each package once and serves it while it arrives; the managing server has everything.

use std::collections::BTreeSet;

use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{JobKey, PackageId};
use packhorse_domain::instruction::LineKey;
use packhorse_domain::job::{Intent, Job, JobType};
use packhorse_domain::lease::{self, Dated};
use packhorse_domain::planner::{Due, copy_due};
use packhorse_domain::report::{Body, CopyReport, Traffic};
use packhorse_domain::time::Time;

use super::state::JobRow;
use super::{Hub, HubWrite, Kept};
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
    /// When the reader was last heard of.
    pub(super) heard: Time,
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
        let wanted = chunks.clone();
        self.serving.insert(who, Serving { request, left: chunks, in_flight: false, heard: cx.now });
        if !self.store.now().copies.contains_key(&who.1) {
            self.asked.insert(who.1);
        }
        cx.seen.push(Seen::AskedBelow(who.1, wanted));
        if let Some(parent) = self.parent {
            self.take_in_copies(cx, parent);
        }
    }

    /// A piece is written down below: the next one may go.
    pub(super) fn frame_stored(&mut self, cx: &mut Cx<'_>, who: (NodeId, PackageId), request: u64) {
        if let Some(serving) = self.serving.get_mut(&who).filter(|serving| serving.request == request) {
            serving.in_flight = false;
            serving.heard = cx.now;
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
        self.forget_passed(cx);
    }

    /// Takes in what open jobs below need and is not here.
    pub(super) fn take_in_copies(&mut self, cx: &mut Cx<'_>, parent: NodeId) {
        if self.is_shut(cx.now) {
            cx.stats.shut_lines += u64::from(!self.downloads.is_empty());
            return self.downloads.clear();
        }
        let wanted = self.wanted_copies(cx);
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
                cx.seen.push(Seen::Asked { package, held, passing: None });
            }
            match standing {
                Standing::Whole => self.copy_whole(cx, package),
                // Begun anew, it asks again; the pause before is that of the next look.
                Standing::BadSource => drop(self.downloads.remove(&package)),
                Standing::Goes | Standing::NoLine => {}
            }
        }
    }

    /// What is to be taken in and is not here: what open lines at or below this relay need, if it comes unasked; and what a
    /// lower system asks for.
    fn wanted_copies(&self, cx: &Cx<'_>) -> BTreeSet<PackageId> {
        let state = self.store.now();
        let kept = |package: &PackageId| state.copies.contains_key(package) && !cx.planted(Plant::FetchKept);
        let mut wanted = BTreeSet::new();
        let mut suspended = BTreeSet::new();
        for (key, packages) in &state.open {
            let Some(job) = state.jobs.get(key).map(|row| row.doc.unverified()) else { continue };
            for (package, open) in packages.iter().filter(|(package, _)| !kept(package)) {
                if job.intent == Intent::Suspended && open.all > 0 {
                    suspended.insert(*package);
                }
                // Lines are looked at only where that decides anything.
                let due = copy_due(job, open.in_need(job.job_type), open.begun, cx.now) == Due::Now;
                if due && (self.comes_unasked(cx, job, package) || self.asked.contains(package)) {
                    wanted.insert(*package);
                }
            }
        }
        // Another life of a relay below may need what the lines here say it has.
        let asked = self.asked.iter().filter(|package| !kept(package) && !suspended.contains(package));
        wanted.extend(asked.filter(|package| !self.waited_for(package, cx.now).is_empty()));
        wanted
    }

    fn comes_unasked(&self, cx: &Cx<'_>, job: &Job, package: &PackageId) -> bool {
        let gone = self.store.now().gone.get(package).copied().filter(|_| !cx.planted(Plant::FetchGone));
        lease::comes_unasked(gone, job.starts(), cx.now)
            || (job.job_type == JobType::Transfer && self.own_line_is_open(&job.key, package))
    }

    fn own_line_is_open(&self, job: &JobKey, package: &PackageId) -> bool {
        let Some(host) = self.me else { return false };
        let key = LineKey { job: job.clone(), package: *package, host };
        self.store.now().lines.get(&key).is_some_and(|line| !line.shown().is_end())
    }

    /// Whether a transfer to this relay wants it: where there is no room it waits.
    pub(super) fn is_transferred_here(&self, package: &PackageId) -> bool {
        let state = self.store.now();
        state.open.iter().filter(|(_, packages)| packages.contains_key(package)).any(|(key, _)| {
            let transfer = |row: &JobRow| row.doc.unverified().job_type == JobType::Transfer;
            state.jobs.get(key).is_some_and(transfer) && self.own_line_is_open(key, package)
        })
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
        self.asked.remove(&id);
        self.ledger.release(&id);
        let Some(named) = cx.package(&id).map(|package| package.named.clone()) else { return };
        let date = self.date_on_arrival(cx, &named);
        self.put_copy(cx, id, Kept { date, arrived: cx.now });
        cx.stats.copies += 1;
        self.settle_transfers(cx);
    }

    /// Moves a copy's date.
    pub(super) fn set_date(&mut self, cx: &mut Cx<'_>, id: PackageId, date: Dated) {
        let arrived = self.store.now().copies.get(&id).map_or(cx.now, |kept| kept.arrived);
        self.put_copy(cx, id, Kept { date, arrived });
    }

    /// Writes a copy down and says it upwards.
    fn put_copy(&mut self, cx: &mut Cx<'_>, id: PackageId, kept: Kept) {
        self.store.put(HubWrite::Copy(id, kept));
        let size_bytes = self.store.now().chunks(&id).len();
        let traffic = Traffic { received_bytes: size_bytes, ..Traffic::default() };
        let copy = CopyReport { package: id, keep_until: Some(kept.date.until), size_bytes, traffic };
        self.say(cx, Body::Copy(copy));
    }
}
