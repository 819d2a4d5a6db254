//! What the live page shows: reads that stay small however many jobs and hosts there are, and who may look.

use std::collections::HashMap;

use packhorse_domain::ids::PackageId;
use packhorse_domain::instruction::Line;
use packhorse_domain::time::Time;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::hosts::HostRow;
use super::jobs::{self, JobRecord, JobRow};
use super::lines::{self, LineRow};
use super::views::{self, JobPackageRecord};
use super::{Command, DbError, meta, packages};

/// A job's newest change, for knowing which jobs have to be counted anew.
#[derive(Debug, Clone, Copy)]
pub struct Changed {
    /// The job.
    pub job: JobRow,
    /// Newest change of its lines; 0: it has none.
    pub change: u64,
}

/// Jobs that may still move (their end has not come), and the newest `last` of the others; the newest first.
///
/// # Errors
/// The database's.
pub fn changed(connection: &Connection, now: Time, last: u32) -> Result<Vec<Changed>, DbError> {
    // `MAX` over the index is one look for each job.
    let sql = "SELECT j.row, COALESCE((SELECT MAX(change) FROM lines WHERE job = j.row), 0) FROM jobs j
               WHERE j.until > ?1 OR j.row IN (SELECT row FROM jobs ORDER BY created DESC, row DESC LIMIT ?2)
               ORDER BY j.created DESC, j.row DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![now.0, last], |row| {
        Ok(Changed { job: row.get(0)?, change: row.get::<_, i64>(1)? as u64 })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many lines of one place of a job, below one relay, are shown in one state.
#[derive(Debug, Clone)]
pub struct Spread {
    /// Which package of the job.
    pub place: u32,
    /// The relay the hosts call (a relay's own host counts as below itself); `None`: this system.
    pub relay: Option<HostRow>,
    /// The state that is shown.
    pub state: String,
    /// They ended because their hosts were retired: they are left out of what is counted.
    pub retired: bool,
    /// How many.
    pub lines: u64,
}

/// How the lines of these jobs are spread, with one statement.
///
/// # Errors
/// The database's or the encoder's.
pub fn spread(connection: &Connection, jobs: &[JobRow]) -> Result<HashMap<JobRow, Vec<Spread>>, DbError> {
    let sql = format!(
        "SELECT l.job, l.place, CASE WHEN h.role = 'relay' THEN h.row ELSE h.higher END, {},
           l.verdict IS 'retired' AND l.state IN ({}), COUNT(*)
         FROM lines l LEFT JOIN hosts h ON h.row = l.host
         WHERE l.job IN (SELECT value FROM json_each(?1)) GROUP BY 1, 2, 3, 4, 5",
        views::shown(),
        lines::open_words()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([list(jobs)?])?;
    let mut found: HashMap<JobRow, Vec<Spread>> = jobs.iter().map(|job| (*job, Vec::new())).collect();
    while let Some(row) = rows.next()? {
        let spread = Spread {
            place: row.get(1)?,
            relay: row.get(2)?,
            state: row.get(3)?,
            retired: row.get(4)?,
            lines: row.get::<_, i64>(5)? as u64,
        };
        found.entry(row.get(0)?).or_default().push(spread);
    }
    Ok(found)
}

fn list(jobs: &[JobRow]) -> Result<String, DbError> {
    serde_json::to_string(jobs).map_err(DbError::internal)
}

/// These jobs, the newest first.
///
/// # Errors
/// The database's or the encoder's.
pub fn records(connection: &Connection, rows: &[JobRow]) -> Result<Vec<JobRecord>, DbError> {
    let sql = format!(
        "SELECT {} FROM jobs WHERE row IN (SELECT value FROM json_each(?1)) ORDER BY created DESC, row DESC",
        jobs::JOB_COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([list(rows)?], jobs::job_record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Packages of these jobs, each job's in its order, with their sizes in bytes.
///
/// # Errors
/// The database's or the encoder's.
pub fn packages(
    connection: &Connection,
    jobs: &[JobRow],
) -> Result<HashMap<JobRow, Vec<(JobPackageRecord, u64)>>, DbError> {
    let sql = "SELECT job, id, cabinet, name, version, generation, size_bytes FROM job_packages
               WHERE job IN (SELECT value FROM json_each(?1)) ORDER BY job, place";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([list(jobs)?])?;
    let mut packages: HashMap<JobRow, Vec<(JobPackageRecord, u64)>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let label = packages::label(row, 2)?;
        let record = JobPackageRecord { id: PackageId(row.get(1)?), label };
        packages.entry(row.get(0)?).or_default().push((record, row.get::<_, i64>(6)? as u64));
    }
    Ok(packages)
}

/// Lines of these jobs that have not ended, at most `limit`, the newest jobs' first.
///
/// # Errors
/// The database's or the encoder's.
pub fn open_lines(
    connection: &Connection,
    jobs: &[JobRow],
    limit: u32,
) -> Result<Vec<(LineRow, Line)>, DbError> {
    let wanted = format!("{} IN ({})", views::shown(), lines::open_words());
    some_lines(connection, jobs, &wanted, limit)
}

/// Lines of these jobs that did not end well, at most `limit`, likewise.
///
/// # Errors
/// The database's or the encoder's.
pub fn bad_lines(
    connection: &Connection,
    jobs: &[JobRow],
    limit: u32,
) -> Result<Vec<(LineRow, Line)>, DbError> {
    // What ended with a retired host needs nobody.
    let wanted =
        format!("{} IN ('failed', 'missed', 'cancelled') AND l.verdict IS NOT 'retired'", views::shown());
    some_lines(connection, jobs, &wanted, limit)
}

fn some_lines(
    connection: &Connection,
    jobs: &[JobRow],
    wanted: &str,
    limit: u32,
) -> Result<Vec<(LineRow, Line)>, DbError> {
    let columns = lines::COLUMNS.split(", ").map(|column| format!("l.{column}")).collect::<Vec<_>>();
    let sql = format!(
        "SELECT l.job, l.host, l.place, {} FROM lines l
         WHERE l.job IN (SELECT value FROM json_each(?1)) AND ({wanted}) ORDER BY l.job DESC LIMIT ?2",
        columns.join(", ")
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![list(jobs)?, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let at = LineRow { job: row.get(0)?, host: row.get(1)?, place: row.get(2)? };
        found.push((at, lines::line(row, 3)?));
    }
    Ok(found)
}

/// A permission to look at the page; of its secret only the hash is known.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Pass {
    /// Hash of the secret.
    pub hash: [u8; 32],
    /// It is the one in the address, which is good for one opening; else the browser's.
    pub opens: bool,
    /// Its end, as [`Time`] counts.
    pub ends: i64,
}

/// The key they are kept under: a short list, read and written as one.
const PASSES: &str = "page_passes";

/// Who may look.
///
/// # Errors
/// The database's.
pub fn passes(connection: &Connection) -> Result<Vec<Pass>, DbError> {
    let Some(bytes) = meta::bytes(connection, PASSES)? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).map_err(DbError::damaged)
}

/// Writes down who may look.
pub struct SavePasses(pub Vec<Pass>);

impl Command for SavePasses {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        meta::set(tx, PASSES, serde_json::to_vec(&self.0).map_err(DbError::internal)?)
    }
}
