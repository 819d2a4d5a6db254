//! What is looked at: loaded at once, with as many statements for a thousand jobs and hosts as for one. How lines are spread
//! is counted anew only for jobs whose lines changed.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use packhorse_domain::instruction::{Line, State};
use packhorse_domain::report::Traffic;
use packhorse_domain::time::Time;
use rusqlite::Connection;

use crate::db::hosts::{Fleet, HostRow};
use crate::db::jobs::{JobRecord, JobRow};
use crate::db::lines::LineRow;
use crate::db::page::{self, Changed, Spread};
use crate::db::views::{self, AlarmRecord, JobPackageRecord, Scene};
use crate::db::{DbError, copies};

/// Most jobs that have not ended which are shown.
const OPEN_JOBS_MAX: usize = 30;
/// How many of the newest jobs are shown though they have ended.
const LAST_JOBS: u32 = 20;
/// Most lines that are asked why they wait.
pub const OPEN_LINES_MAX: u32 = 20_000;
/// Most lines that did not end well which are looked at.
const BAD_LINES_MAX: u32 = 500;
/// Things refused that are shown.
const ALARMS_SHOWN: u32 = 5;

/// A job that is shown.
pub struct JobLook {
    /// The job.
    pub job: JobRecord,
    /// Its packages with their sizes in bytes, by place.
    pub packages: Vec<(JobPackageRecord, u64)>,
    /// Where its lines are.
    pub spread: Vec<Spread>,
}

/// All that the page is made of, but for what is only true now (who is there, how far packages have come).
pub struct Look {
    /// Hosts and copies.
    pub scene: Scene,
    /// Counters and room of relays; 0 is this relay itself.
    pub traffic: HashMap<HostRow, Traffic>,
    /// Jobs, the newest first.
    pub jobs: Vec<JobLook>,
    /// Jobs that have not ended, all of them.
    pub open_jobs: u64,
    /// Lines that have not ended, all of them.
    pub open_total: u64,
    /// At most [`OPEN_LINES_MAX`] of these.
    pub open: Vec<(LineRow, Line)>,
    /// Lines of shown jobs that did not end well: some of them.
    pub bad: Vec<(LineRow, Line)>,
    /// What was refused last.
    pub alarms: Vec<AlarmRecord>,
}

/// How the lines of jobs are spread, as counted last.
#[derive(Default)]
pub struct Counted {
    fleet: u64,
    jobs: HashMap<JobRow, (u64, Vec<Spread>)>,
}

impl Counted {
    /// Counts the jobs that changed, and forgets those that are not asked for any more.
    fn count(&mut self, connection: &Connection, fleet: &Fleet, changed: &[Changed]) -> Result<(), DbError> {
        let mark = mark(fleet);
        if mark != self.fleet {
            self.jobs.clear();
            self.fleet = mark;
        }
        let known = |changed: &&Changed| self.jobs.get(&changed.job).map(|job| job.0) == Some(changed.change);
        let stale: Vec<JobRow> =
            changed.iter().filter(|changed| !known(changed)).map(|changed| changed.job).collect();
        let mut fresh = if stale.is_empty() { HashMap::new() } else { page::spread(connection, &stale)? };
        let wanted: HashSet<JobRow> = changed.iter().map(|changed| changed.job).collect();
        self.jobs.retain(|job, _| wanted.contains(job));
        for changed in changed {
            if let Some(spread) = fresh.remove(&changed.job) {
                self.jobs.insert(changed.job, (changed.change, spread));
            }
        }
        Ok(())
    }

    fn spread(&self, job: JobRow) -> &[Spread] {
        self.jobs.get(&job).map_or(&[], |(_, spread)| spread)
    }
}

/// Changes when hosts come, move or go: lines are counted by where their hosts stand.
fn mark(fleet: &Fleet) -> u64 {
    let mut hasher = DefaultHasher::new();
    for host in fleet.hosts() {
        (host.row, host.higher).hash(&mut hasher);
    }
    hasher.finish()
}

/// Lines of a spread that have not ended.
pub fn open_lines(spread: &[Spread]) -> u64 {
    let open = |word: &str| State::parse(word).is_none_or(|state| !state.is_end());
    spread.iter().filter(|spread| open(&spread.state)).map(|spread| spread.lines).sum()
}

/// Looks.
///
/// # Errors
/// The database's.
pub fn look(connection: &Connection, counted: &mut Counted, now: Time) -> Result<Look, DbError> {
    let scene = views::scene(connection)?;
    let changed = page::changed(connection, now, LAST_JOBS)?;
    counted.count(connection, &scene.fleet, &changed)?;
    let open: Vec<JobRow> = changed
        .iter()
        .map(|changed| changed.job)
        .filter(|job| open_lines(counted.spread(*job)) > 0)
        .collect();
    let shown: HashSet<JobRow> = open
        .iter()
        .take(OPEN_JOBS_MAX)
        .copied()
        .chain(changed.iter().take(LAST_JOBS as usize).map(|changed| changed.job))
        .collect();
    let rows: Vec<JobRow> = changed.iter().map(|c| c.job).filter(|job| shown.contains(job)).collect();
    let mut packages = page::packages(connection, &rows)?;
    let jobs = page::records(connection, &rows)?.into_iter().map(|job| JobLook {
        packages: packages.remove(&job.row).unwrap_or_default(),
        spread: counted.spread(job.row).to_vec(),
        job,
    });
    let waiting: Vec<JobRow> = open.iter().copied().filter(|job| shown.contains(job)).collect();
    let mut traffic = views::traffic(connection)?;
    if scene.fleet.own().is_some() {
        traffic.insert(0, copies::own_traffic(connection)?);
    }
    Ok(Look {
        jobs: jobs.collect(),
        open_jobs: open.len() as u64,
        open_total: open.iter().map(|job| open_lines(counted.spread(*job))).sum(),
        open: page::open_lines(connection, &waiting, OPEN_LINES_MAX)?,
        bad: page::bad_lines(connection, &rows, BAD_LINES_MAX)?,
        alarms: views::alarms(connection, ALARMS_SHOWN)?,
        traffic,
        scene,
    })
}
