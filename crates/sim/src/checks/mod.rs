//! What always holds: one file for each rule of the design's section 5 that is checked here, and what the checks remember.
//!
//! The ledger is told of everything at the moment it becomes durable or happens in truth; no node can read it.

mod below_only;
mod choice;
mod goes_on;
mod has_reason;
mod never_backwards;
mod one_copy;
mod one_start;
mod reaches_the_absent;
mod results;
mod room_first;
mod two_signatures;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use packhorse_domain::agent::{KnownJob, LineId};
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{HostId, Incarnation, JobKey, PackageId};
use packhorse_domain::job::{Clause, HostRole, Job, Place, Proof};
use packhorse_domain::lease::Dated;
use packhorse_domain::report::Report;
use packhorse_domain::time::Time;

use crate::sites::{NodeId, Sites};

pub use goes_on::{View, goes_on, hosts_end, nobody_is_held};
pub use has_reason::every_line_has_a_reason;
pub use one_start::one_start;
pub use reaches_the_absent::{
    all_know, asks_within_limits, control_told, host_took_notice, job_told_to_all, relay_took_notice,
};
pub use results::{no_result_lost, not_taken_twice};
pub use room_first::{kept_stay, within_limit};
pub use window::Truth;

/// The rules that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Rule 1.
    OneCopy,
    /// Rule 2.
    OneStart,
    /// Rule 3.
    NoResultLostOrDoubled,
    /// Rule 4.
    NoChoiceNoInstall,
    /// Rule 5.
    BelowOnly,
    /// Rule 6.
    TwoSignatures,
    /// Rule 7.
    RoomFirst,
    /// Rule 8.
    ReachesTheAbsent,
    /// Rule 9.
    GoesOn,
    /// Rule 10.
    InItsWindow,
    /// Rule 11.
    NeverBackwards,
    /// Section 4: what has not ended has a reason.
    HasReason,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::OneCopy => "rule 1, one copy",
            Rule::OneStart => "rule 2, one start",
            Rule::NoResultLostOrDoubled => "rule 3, no result lost or doubled",
            Rule::NoChoiceNoInstall => "rule 4, no choice, no install",
            Rule::BelowOnly => "rule 5, below only",
            Rule::TwoSignatures => "rule 6, two signatures",
            Rule::RoomFirst => "rule 7, room first",
            Rule::ReachesTheAbsent => "rule 8, reaches the absent",
            Rule::GoesOn => "rule 9, goes on",
            Rule::InItsWindow => "rule 10, in its window",
            Rule::NeverBackwards => "rule 11, never backwards",
            Rule::HasReason => "every line that has not ended has a reason",
        })
    }
}

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// What happened.
    pub what: String,
}

/// The answer of a check.
pub type Checked = Result<(), Violation>;

/// Fails unless `holds`.
fn require(rule: Rule, holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { rule, what: what() }) }
}

/// A report's name: origin, its life, number.
pub type ReportName = (HostId, Incarnation, u64);

/// A node in one life of its state.
pub type Life = (NodeId, Incarnation);

/// What the checks remember of a run.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Every revision the managing server signed.
    signed: BTreeMap<(JobKey, u64), Job>,
    /// Whom the rounds name.
    named: BTreeMap<(JobKey, u32), BTreeSet<HostId>>,
    /// Every report as its origin made it durable.
    made: BTreeMap<ReportName, Report>,
    /// The ends among them, by life, line and attempt.
    ends: BTreeMap<(HostId, Incarnation, JobKey, PackageId, u32), u64>,
    /// Every report in the managing server's history.
    arrived: BTreeSet<ReportName>,
    /// Up to where receipts were found to cover only what is there.
    covered: BTreeMap<(HostId, Incarnation), u64>,
    /// The newest revision durable at a node in a life of it.
    revisions: BTreeMap<(NodeId, Incarnation, JobKey), u64>,
    /// The newest revision durable at a host, with the attempt it is in.
    known: BTreeMap<(Life, JobKey), KnownJob>,
    /// INTENTs less those of which nothing was started.
    begun: BTreeMap<(Life, LineId, u32), i64>,
    /// Chunks received by a relay in a life of it.
    received: BTreeMap<(NodeId, Incarnation, PackageId), u64>,
    /// What users chose in truth, in a life of their host.
    chosen: BTreeSet<(Life, LineId)>,
    /// What passed through relays and nobody asked for again since.
    passed: BTreeMap<(NodeId, Incarnation, PackageId), RangeSet>,
    /// When relays let copies go that nobody below asked for since.
    let_go: BTreeMap<(NodeId, Incarnation, PackageId), Time>,
    /// The dates of relays' copies.
    dated: BTreeMap<(NodeId, Incarnation, PackageId), Dated>,
    /// How often a relay crashed in a life of it.
    crashes: BTreeMap<(NodeId, Incarnation), u64>,
    /// Lives of which the store is no more.
    dead: BTreeSet<Incarnation>,
}

impl Ledger {
    /// A store is gone for good.
    pub fn died(&mut self, life: Incarnation) {
        self.dead.insert(life);
    }

    /// A copy has this date; answers the one it had.
    pub fn dated(&mut self, copy: (NodeId, Incarnation, PackageId), date: Dated) -> Option<Dated> {
        self.dated.insert(copy, date)
    }

    /// The date of a copy, as it was last written down.
    pub fn date_of(&self, copy: (NodeId, Incarnation, PackageId)) -> Option<Dated> {
        self.dated.get(&copy).copied()
    }

    /// A system crashed.
    pub fn crashed(&mut self, node: NodeId, life: Incarnation) {
        *self.crashes.entry((node, life)).or_insert(0) += 1;
    }

    /// The managing server made a revision durable, with the whole lists its rounds sign. Whom a round names is worked out
    /// here from the true tree, not by the machines.
    pub fn signed(&mut self, sites: &Sites, job: &Job, lists: &[Proof]) {
        self.signed.insert((job.key.clone(), job.revision), job.clone());
        for round in &job.rounds {
            let named = self.named.entry((job.key.clone(), round.attempt)).or_default();
            for clause in &round.to {
                named.extend(named_by(sites, clause, round.attempt, lists));
            }
        }
    }
}

impl Ledger {
    /// A host was put into the group: it is named by jobs that are to it.
    pub fn put_in(&mut self, host: HostId) {
        for job in self.signed.values() {
            for round in job
                .rounds
                .iter()
                .filter(|round| round.to.iter().any(|clause| matches!(clause, Clause::Group(_))))
            {
                self.named.entry((job.key.clone(), round.attempt)).or_default().insert(host);
            }
        }
    }
}

fn named_by(sites: &Sites, clause: &Clause, attempt: u32, lists: &[Proof]) -> Vec<HostId> {
    let clients = |place: &&Place| place.role == HostRole::Client;
    match clause {
        Clause::All { relays: true } => sites.places().map(|place| place.host).collect(),
        Clause::All { relays: false } => sites.places().filter(clients).map(|place| place.host).collect(),
        Clause::Below(relay) => {
            let below = sites.places().filter(clients).filter(|place| place.route.contains(relay));
            below.map(|place| place.host).collect()
        }
        Clause::Relays => {
            sites.places().filter(|place| place.role == HostRole::Relay).map(|place| place.host).collect()
        }
        Clause::Group(_) => {
            let members = sites.places().filter(|place| !place.groups.is_empty());
            members.map(|place| place.host).collect()
        }
        // Each of them says at some time or other that it is red.
        Clause::Condition(_) => sites.places().filter(clients).map(|place| place.host).collect(),
        Clause::Hosts { .. } => {
            let of_round = lists.iter().filter(|list| list.attempt == attempt);
            of_round.flat_map(|list| list.slice.leaves.iter().copied()).collect()
        }
    }
}
