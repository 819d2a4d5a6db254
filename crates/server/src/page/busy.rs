//! Lines that have not ended, each with its host, its package and its reason: looked up once for all parts of the page.

use std::collections::HashMap;

use packhorse_domain::instruction::{Line, State};
use packhorse_domain::reason::Reason;

use super::look::{JobLook, Look};
use crate::admin::around::{Around, JobFacts};
use crate::db::hosts::{HostRecord, HostRow};
use crate::db::jobs::JobRow;
use crate::db::views::JobPackageRecord;

/// A line that has not ended.
pub struct Busy<'a> {
    /// Its job.
    pub job: &'a JobLook,
    /// Which package of the job.
    pub place: u32,
    /// The package.
    pub package: &'a JobPackageRecord,
    /// Its host.
    pub host: Option<&'a HostRecord>,
    /// The state that is shown.
    pub state: State,
    /// How much of the package the host has.
    pub percent: Option<u8>,
    /// Why it waits.
    pub reason: Reason,
}

/// All of them.
pub fn busy<'a>(around: &Around<'a>, look: &'a Look) -> Vec<Busy<'a>> {
    let jobs: HashMap<JobRow, (&JobLook, JobFacts)> =
        look.jobs.iter().map(|job| (job.job.row, (job, JobFacts::from(&job.job)))).collect();
    let one = |(at, line): &'a (crate::db::lines::LineRow, Line)| {
        let (job, facts) = jobs.get(&at.job)?;
        let (package, _) = job.packages.get(at.place as usize)?;
        let host = around.host(at.host);
        let percent = host.and_then(|host| around.percent(host, &package.id));
        let reason = around.reason(facts, host, &package.id, line)?;
        Some(Busy { job, place: at.place, package, host, state: line.shown(), percent, reason })
    };
    look.open.iter().filter_map(one).collect()
}

/// The system that a host's package comes from, as lines are counted by: the relay it calls, a relay itself; `None`: the
/// system that answers.
pub fn below(host: &HostRecord, own: Option<HostRow>) -> Option<HostRow> {
    use packhorse_domain::job::HostRole;
    let relay = if host.role == HostRole::Relay { Some(host.row) } else { host.higher };
    relay.filter(|relay| Some(*relay) != own)
}
