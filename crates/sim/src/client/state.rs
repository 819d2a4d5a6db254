//! What an agent keeps durably: the jobs it knows, its journal, its cursors, and what is staged of packages.

use std::collections::BTreeMap;

use packhorse_domain::agent::{Entry, KnownJob};
use packhorse_domain::feed::Cursor;
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{Incarnation, JobKey, PackageId};
use packhorse_domain::job::Place;
use packhorse_domain::outbox::Hop;
use packhorse_domain::report::Report;

use crate::store::Durable;

/// The durable state.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// Which life of it this is.
    pub life: Incarnation,
    /// Where the host stands, as the managing server signed it.
    pub place: Option<Place>,
    /// Jobs in their newest revision.
    pub jobs: BTreeMap<JobKey, KnownJob>,
    /// Everything up to this report is durable at the managing server.
    pub base: u64,
    /// The journal.
    pub journal: Vec<Entry>,
    /// Reports that are not about a line, by number.
    pub alarms: BTreeMap<u64, Report>,
    /// Up to where the higher system's feed is stored.
    pub cursor: Option<Cursor>,
    /// Up to where the higher system has the reports.
    pub hop: Option<Hop>,
    /// Chunks of packages that are being taken in or wait to be installed.
    pub staged: BTreeMap<PackageId, RangeSet>,
}

/// A change.
#[derive(Debug, Clone)]
pub enum AgentWrite {
    /// A place.
    Place(Place),
    /// A job's newest revision.
    Job(KnownJob),
    /// A job is forgotten.
    Forget(JobKey),
    /// One more entry of the journal.
    Journal(Entry),
    /// Something was refused; a report out of the journal's row of numbers.
    Alarm(Report),
    /// The newest receipt.
    Base(u64),
    /// The place reached in the higher system's feed.
    Cursor(Cursor),
    /// The place reached in the higher system.
    Hop(Hop),
    /// A chunk.
    Chunk(PackageId, u32),
    /// What was staged of a package is not needed any more.
    Unstage(PackageId),
}

impl AgentState {
    /// An agent that knows nothing yet.
    pub fn new(life: Incarnation) -> AgentState {
        AgentState {
            life,
            place: None,
            jobs: BTreeMap::new(),
            base: 0,
            journal: Vec::new(),
            alarms: BTreeMap::new(),
            cursor: None,
            hop: None,
            staged: BTreeMap::new(),
        }
    }
}

impl Durable for AgentState {
    type Write = AgentWrite;

    fn apply(&mut self, write: &AgentWrite) {
        match write {
            AgentWrite::Place(place) => self.place = Some(place.clone()),
            AgentWrite::Job(known) => drop(self.jobs.insert(known.job.key.clone(), known.clone())),
            AgentWrite::Forget(key) => drop(self.jobs.remove(key)),
            AgentWrite::Journal(entry) => self.journal.push(entry.clone()),
            AgentWrite::Alarm(report) => drop(self.alarms.insert(report.no, report.clone())),
            AgentWrite::Base(base) => self.base = *base,
            AgentWrite::Cursor(cursor) => self.cursor = Some(*cursor),
            AgentWrite::Hop(hop) => self.hop = Some(*hop),
            AgentWrite::Chunk(package, chunk) => {
                self.staged.entry(*package).or_default().insert(*chunk..chunk + 1);
            }
            AgentWrite::Unstage(package) => drop(self.staged.remove(package)),
        }
    }
}
