//! What a managing server or relay keeps durably, and the typed writes that change it.

use std::collections::BTreeMap;

use packhorse_domain::facts::Facts;
use packhorse_domain::feed::{Cursor, Head};
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{HostId, Incarnation, JobKey, PackageId};
use packhorse_domain::instruction::{Line, LineKey, State};
use packhorse_domain::job::{Job, JobType, Place, Proof};
use packhorse_domain::lease::Dated;
use packhorse_domain::outbox::Hop;
use packhorse_domain::report::{Receipt, Report};
use packhorse_domain::time::Time;

use super::control::Control;
use crate::msg::Order;
use crate::signed::Signed;
use crate::sites::Lower;
use crate::store::Durable;

/// A feed for one lower system.
#[derive(Debug, Clone)]
pub struct Feed {
    /// How far it goes and what is left of it.
    pub head: Head,
    /// The entries.
    pub entries: BTreeMap<u64, Order>,
}

/// A job as a system knows it.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its newest revision.
    pub doc: Signed<Job>,
    /// Proofs for hosts at or below this system; at the managing server the whole lists.
    pub proofs: Vec<Proof>,
}

/// A whole copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its date.
    pub date: Dated,
    /// When it came.
    pub arrived: Time,
}

/// How many lines of a job's package have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenLines {
    /// Of which the end was not reported.
    pub unsaid: u64,
    /// Which are not ended by a verdict either.
    pub all: u64,
    /// Those of them that have begun.
    pub begun: u64,
    /// Those of them that, if it is an offer, nobody chose.
    pub unchosen: u64,
}

impl OpenLines {
    /// How many need the package: of an offer only the offer travels until it is chosen.
    pub fn in_need(&self, job_type: JobType) -> u64 {
        if job_type == JobType::Offer { self.all - self.unchosen } else { self.all }
    }

    fn of(line: &Line) -> [u64; 4] {
        let open = !line.shown().is_end();
        let begun = line.begun || line.state.has_begun();
        [!line.state.is_end(), open, open && begun, open && is_unchosen(line)].map(u64::from)
    }

    fn count(&mut self, line: &Line) {
        let counts = [&mut self.unsaid, &mut self.all, &mut self.begun, &mut self.unchosen];
        counts.into_iter().zip(OpenLines::of(line)).for_each(|(count, more)| *count += more);
    }

    fn uncount(&mut self, line: &Line) {
        let counts = [&mut self.unsaid, &mut self.all, &mut self.begun, &mut self.unchosen];
        counts.into_iter().zip(OpenLines::of(line)).for_each(|(count, less)| *count -= less);
    }
}

/// As far as a system knows, nobody has chosen it.
pub fn is_unchosen(line: &Line) -> bool {
    matches!(line.state, State::Registered | State::Waiting | State::Offered)
}

/// Which reports of a lower system are stored: those of one life of it, for one life of the managing server.
pub type SenderKey = (Lower, Incarnation, Incarnation);

/// The durable state.
#[derive(Debug, Clone)]
pub struct HubState {
    /// Which life of it this is.
    pub life: Incarnation,
    /// Whether it has known, once, all that is below it.
    pub ready: bool,
    /// The managing server's life, once it is known.
    pub server: Option<Incarnation>,
    /// Where hosts stand.
    pub places: BTreeMap<HostId, Signed<Place>>,
    /// What hosts say of themselves.
    pub facts: BTreeMap<HostId, (Time, Facts)>,
    /// Jobs.
    pub jobs: BTreeMap<JobKey, JobRow>,
    /// Whom a job names: in which attempt, as which leaf.
    pub named: BTreeMap<(JobKey, HostId), (u32, Option<u32>)>,
    /// Lines.
    pub lines: BTreeMap<LineKey, Line>,
    /// Jobs and packages that have lines which have not ended: an index of `lines`.
    pub open: BTreeMap<JobKey, BTreeMap<PackageId, OpenLines>>,
    /// What is set at this relay and at those below.
    pub controls: BTreeMap<HostId, Signed<Control>>,
    /// Feeds of the direct lower systems.
    pub feeds: BTreeMap<Lower, Feed>,
    /// Up to where reports are stored.
    pub stored: BTreeMap<SenderKey, u64>,
    /// What is durable at the managing server, per origin.
    pub marks: BTreeMap<(HostId, Incarnation), u64>,
    /// At the managing server: every report there ever was.
    pub history: BTreeMap<(HostId, Incarnation, u64), Report>,
    /// At a relay: reports to send up.
    pub outbox: BTreeMap<u64, Report>,
    /// The newest number of the outbox.
    pub outbox_last: u64,
    /// The newest number of the relay's own reports.
    pub reported: u64,
    /// Up to where the higher system's feed is stored.
    pub cursor: Option<Cursor>,
    /// Up to where the higher system has the outbox.
    pub hop: Option<Hop>,
    /// Chunks that are written down.
    pub staged: BTreeMap<PackageId, RangeSet>,
    /// Whole copies and their dates.
    pub copies: BTreeMap<PackageId, Kept>,
    /// When copies were let go.
    pub gone: BTreeMap<PackageId, Time>,
    /// At the managing server: which relays said that they keep which package.
    pub copies_below: BTreeMap<(HostId, PackageId), Time>,
}

/// A change.
#[derive(Debug, Clone)]
pub enum HubWrite {
    /// A place.
    Place(Signed<Place>),
    /// What a host says of itself.
    Facts(HostId, Time, Facts),
    /// A job's newest revision.
    Job(Signed<Job>, Vec<Proof>),
    /// Whom it names.
    Named(JobKey, HostId, (u32, Option<u32>)),
    /// A line.
    Line(LineKey, Line),
    /// What is set at a relay.
    Control(Signed<Control>),
    /// A new, empty feed.
    FeedNew(Lower, Incarnation),
    /// One more entry.
    FeedAppend(Lower, Order),
    /// Entries up to here are acknowledged.
    FeedPrune(Lower, u64),
    /// Reports stored up to here.
    Stored(SenderKey, u64),
    /// A receipt, made or heard of: what it covers need not be kept.
    Mark(Receipt),
    /// A report for the history, and through whom it came.
    History(Lower, Report),
    /// A report for the outbox, and through whom it came; `None`: the relay's own.
    Outbox(Option<Lower>, Report),
    /// The place reached in the higher system's feed.
    Cursor(Cursor),
    /// The higher system's feed was read to its end.
    Ready,
    /// The managing server's life, as last heard.
    Server(Incarnation),
    /// The place reached in the higher system.
    Hop(Hop),
    /// A chunk.
    Chunk(PackageId, u32),
    /// A copy is whole since then, or its date moved.
    Copy(PackageId, Kept),
    /// A copy, or what was staged of one, was let go at that time.
    Gone(PackageId, Time),
    /// A relay said that it keeps a copy, or not any more.
    CopyBelow(HostId, PackageId, Option<Time>),
}

impl HubState {
    /// A system that knows nothing yet.
    pub fn new(life: Incarnation, server: Option<Incarnation>) -> HubState {
        HubState {
            life,
            ready: server.is_some(),
            server,
            places: BTreeMap::new(),
            facts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            named: BTreeMap::new(),
            lines: BTreeMap::new(),
            open: BTreeMap::new(),
            controls: BTreeMap::new(),
            feeds: BTreeMap::new(),
            stored: BTreeMap::new(),
            marks: BTreeMap::new(),
            history: BTreeMap::new(),
            outbox: BTreeMap::new(),
            outbox_last: 0,
            reported: 0,
            cursor: None,
            hop: None,
            staged: BTreeMap::new(),
            copies: BTreeMap::new(),
            gone: BTreeMap::new(),
            copies_below: BTreeMap::new(),
        }
    }

    /// Chunks of a package that are here.
    pub fn chunks(&self, package: &PackageId) -> RangeSet {
        self.staged.get(package).cloned().unwrap_or_default()
    }

    /// The lines of a job.
    pub fn lines_of(&self, job: &JobKey) -> impl Iterator<Item = (&LineKey, &Line)> {
        // They lie one after the other.
        let first = LineKey { job: job.clone(), package: PackageId([0; 32]), host: HostId([0; 16]) };
        let job = first.job.clone();
        self.lines.range(first..).take_while(move |(key, _)| key.job == job)
    }

    /// The lines that have not ended.
    pub fn open_lines(&self) -> impl Iterator<Item = (&LineKey, &Line)> {
        self.open.keys().flat_map(|job| self.lines_of(job)).filter(|(_, line)| !line.shown().is_end())
    }

    fn put_line(&mut self, key: &LineKey, line: &Line) {
        let before = match self.lines.get_mut(key) {
            Some(known) => Some(std::mem::replace(known, line.clone())),
            None => self.lines.insert(key.clone(), line.clone()),
        };
        let is_open = |line: &Line| !line.state.is_end();
        if !is_open(line) && !before.as_ref().is_some_and(is_open) {
            return;
        }
        if !self.open.contains_key(&key.job) {
            self.open.insert(key.job.clone(), BTreeMap::new());
        }
        let Some(packages) = self.open.get_mut(&key.job) else { return };
        let counts = packages.entry(key.package).or_default();
        counts.count(line);
        before.iter().for_each(|before| counts.uncount(before));
        if counts.unsaid == 0 {
            packages.remove(&key.package);
        }
        if packages.is_empty() {
            self.open.remove(&key.job);
        }
    }

    fn append(&mut self, lower: &Lower, order: &Order) {
        if let Some(feed) = self.feeds.get_mut(lower) {
            feed.head.last += 1;
            feed.entries.insert(feed.head.last, order.clone());
        }
    }

    fn prune(&mut self, lower: &Lower, upto: u64) {
        if let Some(feed) = self.feeds.get_mut(lower) {
            feed.head.pruned = feed.head.pruned.max(upto);
            feed.entries = feed.entries.split_off(&(upto + 1));
        }
    }

    fn mark(&mut self, receipt: &Receipt) {
        let mark = self.marks.entry((receipt.origin, receipt.incarnation)).or_insert(0);
        *mark = (*mark).max(receipt.upto);
        let covered =
            |report: &Report| (report.origin, report.incarnation) == (receipt.origin, receipt.incarnation);
        self.outbox.retain(|_, report| !covered(report) || report.no > receipt.upto);
    }

    fn enqueue(&mut self, own: bool, report: &Report) {
        self.outbox_last += 1;
        self.reported += u64::from(own);
        self.outbox.insert(self.outbox_last, report.clone());
    }
}

impl Durable for HubState {
    type Write = HubWrite;

    fn apply(&mut self, write: &HubWrite) {
        match write {
            HubWrite::Place(place) => drop(self.places.insert(place.unverified().host, place.clone())),
            HubWrite::Facts(host, at, facts) => drop(self.facts.insert(*host, (*at, facts.clone()))),
            HubWrite::Job(doc, proofs) => {
                let row = JobRow { doc: doc.clone(), proofs: proofs.clone() };
                self.jobs.insert(doc.unverified().key.clone(), row);
            }
            HubWrite::Named(job, host, how) => drop(self.named.insert((job.clone(), *host), *how)),
            HubWrite::Line(key, line) => self.put_line(key, line),
            HubWrite::Control(control) => {
                self.controls.insert(control.unverified().relay, control.clone());
            }
            HubWrite::FeedNew(lower, incarnation) => {
                let head = Head { incarnation: *incarnation, pruned: 0, last: 0 };
                self.feeds.insert(*lower, Feed { head, entries: BTreeMap::new() });
            }
            HubWrite::FeedAppend(lower, order) => self.append(lower, order),
            HubWrite::FeedPrune(lower, upto) => self.prune(lower, *upto),
            HubWrite::Stored(key, upto) => drop(self.stored.insert(*key, *upto)),
            HubWrite::Mark(receipt) => self.mark(receipt),
            HubWrite::History(_, report) => {
                let key = (report.origin, report.incarnation, report.no);
                self.history.insert(key, report.clone());
            }
            HubWrite::Outbox(via, report) => self.enqueue(via.is_none(), report),
            HubWrite::Cursor(cursor) => self.cursor = Some(*cursor),
            HubWrite::Ready => self.ready = true,
            HubWrite::Server(life) => self.server = Some(*life),
            HubWrite::Hop(hop) => self.hop = Some(*hop),
            HubWrite::Chunk(package, chunk) => {
                self.staged.entry(*package).or_default().insert(*chunk..chunk + 1);
            }
            HubWrite::Copy(package, date) => drop(self.copies.insert(*package, *date)),
            HubWrite::Gone(package, at) => {
                if self.copies.remove(package).is_some() {
                    self.gone.insert(*package, *at);
                }
                self.staged.remove(package);
            }
            HubWrite::CopyBelow(host, package, until) => match until {
                Some(until) => drop(self.copies_below.insert((*host, *package), *until)),
                None => drop(self.copies_below.remove(&(*host, *package))),
            },
        }
    }
}
