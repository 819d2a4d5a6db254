//! At a relay: room for copies, their dates, and what passes through where there is none. One chunk counts as one byte.

use std::collections::{BTreeMap, BTreeSet};

use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::PackageId;
use packhorse_domain::job::{Intent, Job, JobPackage, JobType};
use packhorse_domain::lease::{self, Dated, KeepOrder, Moved};
use packhorse_domain::report::{Body, CopyReport, Traffic};
use packhorse_domain::room::{Answer, Copy, Disk, Want};
use packhorse_domain::time::Time;
use packhorse_domain::transfer;

use super::copies::Serving;
use super::{Hub, HubWrite};
use crate::cx::{Cx, Seen};
use crate::download::{Download, Standing};
use crate::options::Plant;
use crate::sites::NodeId;

/// A day of the simulation, in microseconds, in a run at the usual pace: dates pass within a run.
const DAY_MICROS: i64 = 400_000_000;
/// Chunks that may be on their way through at once.
const WINDOW_CHUNKS: u64 = 8;
/// A reader that was not heard of for so long has gone, in seconds.
const SILENCE_SECS: i64 = 15;
/// The disk under every store: only the limits are ever reached.
const DISK_CHUNKS: u64 = 1_000_000;

/// When days of the simulation end, in a run of such a pace.
pub fn day_end(pace: i64) -> impl Fn(Time, u32) -> Time {
    let day = DAY_MICROS * pace;
    move |from: Time, days: u32| Time((from.0 / day + i64::from(days) + 1) * day - 1)
}

impl Hub {
    /// What this relay's store may take, in chunks: some have little, all have room for the largest package.
    pub fn limit(&self) -> Option<u64> {
        let chance = self.life().0;
        (!self.is_top() && !chance.is_multiple_of(3)).then_some(16 + chance % 25)
    }

    /// Whether a package that is wanted may be written here: reserved if so. What passes through goes on to do so as long as
    /// somebody waits for it.
    pub(super) fn has_room(&mut self, cx: &mut Cx<'_>, package: PackageId, missing: u64) -> bool {
        if self.limit().is_none() || cx.planted(Plant::WriteUnasked) {
            return true;
        }
        if self.passing.contains_key(&package) && !self.waited_for(&package, cx.now).is_empty() {
            return false;
        }
        if self.ledger.reserved(&package).is_some() && self.downloads.contains_key(&package) {
            return true;
        }
        let want = if self.is_transferred_here(&package) { Want::Keep } else { Want::Pass };
        loop {
            self.look(cx);
            match self.ledger.reserve(package, missing, want, cx.now) {
                Answer::Granted { drop } if drop.is_empty() => {
                    if self.passing.remove(&package).is_some() {
                        self.downloads.remove(&package);
                    }
                    return true;
                }
                Answer::Granted { drop } => drop.into_iter().for_each(|package| self.drop_copy(cx, package)),
                Answer::StreamThrough => return false,
                Answer::Wait(no_room) => {
                    self.transfer_waits(cx, package, &no_room);
                    return false;
                }
            }
        }
    }

    /// Measures what the ledger decides by.
    fn look(&mut self, cx: &Cx<'_>) {
        let state = self.store.now();
        let used_bytes = state.staged.values().map(RangeSet::len).sum();
        let disk = Disk { total_bytes: DISK_CHUNKS, free_bytes: DISK_CHUNKS - used_bytes, used_bytes };
        let missing = |package: &PackageId| {
            let chunks = cx.package(package).map_or(0, |package| u64::from(package.chunks));
            chunks - state.chunks(package).len()
        };
        let kept_back = self.downloads.keys().filter(|package| !self.passing.contains_key(package));
        let left: BTreeMap<PackageId, u64> = kept_back.map(|package| (*package, missing(package))).collect();
        let needed = self.needed(cx);
        let pushed_out = cx.planted(Plant::PushOutKept);
        let copies = state.copies.iter().zip(0..).map(|((package, kept), pack)| Copy {
            package: *package,
            keep_until: if pushed_out { Time(0) } else { kept.date.until },
            last_used: self.used.get(package).copied().unwrap_or_default(),
            pinned: !self.waited_for(package, cx.now).is_empty(),
            needed: needed.contains(package),
            packs: BTreeSet::from([pack]),
        });
        let copies: Vec<Copy> = copies.collect();
        let packs =
            state.copies.keys().zip(0..).map(|(package, pack)| (pack, state.chunks(package).len())).collect();
        self.ledger.limit_bytes = self.limit();
        self.ledger.measured(disk, &left);
        (self.ledger.copies, self.ledger.packs) = (copies, packs);
    }

    /// Packages that open lines at or below this relay need.
    fn needed(&self, cx: &Cx<'_>) -> BTreeSet<PackageId> {
        let state = self.store.now();
        let mut needed = BTreeSet::new();
        for (key, packages) in &state.open {
            let Some(job) = state.jobs.get(key).map(|row| row.doc.unverified()) else { continue };
            if job.intent != Intent::Cancelled {
                let in_need = packages.iter().filter(|(_, open)| {
                    open.in_need(job.job_type) > 0 && (cx.now < job.until || open.begun > 0)
                });
                needed.extend(in_need.map(|(package, _)| *package));
            }
        }
        needed
    }

    /// Chunks of a package that lower systems wait for.
    pub(super) fn waited_for(&self, package: &PackageId, now: Time) -> RangeSet {
        let mut all = RangeSet::new();
        let open = |serving: &Serving| now.secs_since(serving.heard) < SILENCE_SECS;
        for (_, serving) in self.serving.iter().filter(|((_, of), serving)| of == package && open(serving)) {
            serving.left.ranges().for_each(|range| all.insert(range));
        }
        all
    }

    fn drop_copy(&mut self, cx: &mut Cx<'_>, package: PackageId) {
        cx.stats.dropped_copies += 1;
        let was_kept = self.store.now().copies.contains_key(&package);
        self.store.put(HubWrite::Gone(package, cx.now));
        self.asked.remove(&package);
        if was_kept {
            let traffic = Traffic::default();
            let copy = CopyReport { package, keep_until: None, size_bytes: 0, traffic };
            self.say(cx, Body::Copy(copy));
        }
    }

    /// Lets go what is past its date, and what was staged and nobody waits for any more.
    pub(super) fn let_go(&mut self, cx: &mut Cx<'_>) {
        if self.is_top() {
            return;
        }
        let needed = self.needed(cx);
        let state = self.store.now();
        let past = state.copies.iter().filter(|(package, kept)| {
            let being_read = !self.waited_for(package, cx.now).is_empty();
            lease::lets_go(kept.date.until, kept.arrived, needed.contains(package), being_read, cx.now)
        });
        let mut going: Vec<PackageId> = past.map(|(package, _)| *package).collect();
        let staged = state.staged.keys().filter(|package| !state.copies.contains_key(package));
        let idle = |package: &&PackageId| !needed.contains(package) && !self.downloads.contains_key(package);
        going.extend(staged.filter(idle).copied());
        for package in going {
            self.downloads.remove(&package);
            self.ledger.release(&package);
            self.drop_copy(cx, package);
        }
    }

    /// Fetches for those who wait what passes through, a few chunks at a time.
    pub(super) fn pass_on(&mut self, cx: &mut Cx<'_>, parent: NodeId, package: PackageId, chunks: u32) {
        if !self.passing.contains_key(&package) {
            self.downloads.remove(&package);
            self.passing.insert(package, RangeSet::new());
        }
        let spool = self.passing.get(&package).cloned().unwrap_or_default();
        let here = self.store.now().chunks(&package);
        let wanted = self.waited_for(&package, cx.now).subtract(&here).subtract(&spool);
        if spool.len() >= WINDOW_CHUNKS || (wanted.is_empty() && !self.downloads.contains_key(&package)) {
            return;
        }
        let held = RangeSet::full(chunks).subtract(&wanted);
        let download = self.downloads.entry(package).or_insert_with(|| Download::new(package, chunks, &held));
        let (standing, asked) = download.go(cx, parent);
        if let Some(asked) = asked {
            let held = here.intersect(&asked).len() + spool.intersect(&asked).len();
            cx.seen.push(Seen::Asked { package, held, passing: Some(asked) });
        }
        if matches!(standing, Standing::Whole | Standing::BadSource) {
            self.downloads.remove(&package);
        }
    }

    /// Chunks came that pass through: for whoever wants them now.
    pub(super) fn passes(&mut self, cx: &mut Cx<'_>, package: PackageId, chunks: &[u32]) {
        let wanted = self.waited_for(&package, cx.now);
        if let Some(spool) = self.passing.get_mut(&package) {
            let of_use = chunks.iter().filter(|chunk| wanted.contains(**chunk));
            of_use.for_each(|chunk| spool.insert(*chunk..chunk + 1));
        }
        cx.stats.passed_chunks += chunks.len() as u64;
        cx.seen.push(Seen::Passed(package, chunks.to_vec()));
    }

    /// What everybody has who wanted it is forgotten.
    pub(super) fn forget_passed(&mut self, cx: &Cx<'_>) {
        let packages: Vec<PackageId> = self.passing.keys().copied().collect();
        for package in packages {
            let wanted = self.waited_for(&package, cx.now);
            if let Some(spool) = self.passing.get_mut(&package) {
                *spool =
                    if cx.planted(Plant::PassForEach) { RangeSet::new() } else { spool.intersect(&wanted) };
            }
        }
    }

    /// The date of a copy that is whole now.
    pub(super) fn date_on_arrival(&self, cx: &Cx<'_>, named: &JobPackage) -> Dated {
        let state = self.store.now();
        if let Some(standing) = state.copies.get(&named.id).filter(|kept| kept.date.until > cx.now) {
            return standing.date;
        }
        let orders: Vec<KeepOrder> = state
            .jobs
            .values()
            .map(|row| row.doc.unverified())
            .filter(|job| job.intent != Intent::Cancelled && names(job, named.id))
            .filter_map(|job| transfer::keep_order(job, false))
            .collect();
        lease::arrived(named.keep_until, &orders, cx.now, &day_end(cx.pace))
    }

    /// A job came by: the dates of the copies it names may move.
    pub(super) fn dates_move(&mut self, cx: &mut Cx<'_>, job: &Job) {
        let Some(order) = transfer::keep_order(job, false).filter(|_| job.job_type != JobType::Transfer)
        else {
            return;
        };
        for package in &job.packages {
            let Some(standing) = self.store.now().copies.get(&package.id).copied() else { continue };
            if let Moved::To(date) = lease::moved(&standing.date, &order, cx.now, &day_end(cx.pace)) {
                self.set_date(cx, package.id, date);
            }
        }
    }
}

fn names(job: &Job, package: PackageId) -> bool {
    job.packages.iter().any(|named| named.id == package)
}
