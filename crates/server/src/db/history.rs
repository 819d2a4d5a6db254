//! What happened: every report at the managing server, how earlier attempts of a line stood, and what is left of both when
//! they are old.

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::instruction::{State, Verdict};
use packhorse_domain::report::{Body, Report};
use packhorse_domain::time::Time;
use packhorse_wire::envelope::from_cbor_limited;
use packhorse_wire::messages::ReportMsg;
use rusqlite::{Connection, OptionalExtension, params};

use super::hosts::HostRow;
use super::jobs::JobRow;
use super::lines::LineRow;
use super::{Command, DbError, lines, views};

/// Most bytes of a stored report.
const REPORT_BYTES: usize = 64 << 10;
/// Most reports of one origin that are looked through.
const REPORTS_MAX: u32 = 20_000;
/// Lines that are folded at a time: others want to write too.
const LINES_AT_ONCE: u32 = 20_000;
/// Reports that are dropped at a time, likewise.
const REPORTS_AT_ONCE: u32 = 20_000;

/// A report as it was taken in.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The report.
    pub report: Report,
    /// When it was durable at the managing server.
    pub received: Time,
}

/// What an origin said, the newest last: reports that `wanted` wants, at most the newest `limit` of them.
///
/// # Errors
/// The database's.
pub fn of(
    connection: &Connection,
    origin: &HostId,
    limit: usize,
    wanted: impl Fn(&Body) -> bool,
) -> Result<Vec<Heard>, DbError> {
    let sql = "SELECT received, body FROM history WHERE origin = ?1 ORDER BY received DESC, no DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![origin.0, REPORTS_MAX])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes: Vec<u8> = row.get(1)?;
        // Words of a later version are passed over: what can be read is told.
        let Ok(message) = from_cbor_limited::<ReportMsg>(&bytes, REPORT_BYTES) else { continue };
        let Ok(report) = Report::try_from(&message) else { continue };
        if wanted(&report.body) {
            found.push(Heard { report, received: Time(row.get(0)?) });
            if found.len() >= limit {
                break;
            }
        }
    }
    found.reverse();
    Ok(found)
}

/// When relays took a package in, as they said: since `since`, the oldest first.
///
/// # Errors
/// The database's.
pub fn arrivals(
    connection: &Connection,
    relay: &HostId,
    package: &PackageId,
    since: Time,
) -> Result<Vec<Heard>, DbError> {
    let mut heard = of(connection, relay, 100, |body| match body {
        Body::Copy(copy) => copy.package == *package,
        _ => false,
    })?;
    heard.retain(|heard| heard.report.at >= since);
    Ok(heard)
}

/// An attempt that is over, as this system knew it when the next began.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which line.
    pub line: LineRow,
    /// Which attempt.
    pub attempt: u32,
    /// The state its host had come to.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// What a higher system had said of it.
    pub verdict: Option<(Verdict, Time)>,
}

/// Keeps what is known of attempts that are followed by another: `list` is JSON of (host, new attempt, …).
///
/// # Errors
/// The database's.
pub fn keep_attempts(tx: &Connection, job: JobRow, list: &str) -> Result<(), DbError> {
    let sql = "INSERT OR IGNORE INTO attempts (job, host, place, attempt, state, since, verdict, verdict_at)
               SELECT l.job, l.host, l.place, l.attempt, l.state, l.since, l.verdict, l.verdict_at
               FROM json_each(?2) e JOIN lines l ON l.job = ?1 AND l.host = e.value ->> '$[0]'
               WHERE l.attempt < e.value ->> '$[1]'";
    tx.prepare_cached(sql)?.execute(params![job, list])?;
    Ok(())
}

/// Earlier attempts of a host's lines, of one job or of all.
///
/// # Errors
/// The database's.
pub fn attempts(
    connection: &Connection,
    host: HostRow,
    only: Option<JobRow>,
) -> Result<Vec<Attempt>, DbError> {
    let sql = "SELECT job, host, place, attempt, state, since, verdict, verdict_at FROM attempts
               WHERE host = ?1 AND (?2 IS NULL OR job = ?2) ORDER BY job, place, attempt";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![host, only])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let state: String = row.get(4)?;
        let verdict: Option<String> = row.get(6)?;
        let at = Time(row.get::<_, Option<i64>>(7)?.unwrap_or(0));
        found.push(Attempt {
            line: LineRow { job: row.get(0)?, host: row.get(1)?, place: row.get(2)? },
            attempt: row.get(3)?,
            state: State::parse(&state).ok_or_else(|| DbError::damaged(format!("state '{state}'")))?,
            since: Time(row.get(5)?),
            verdict: verdict.as_deref().and_then(Verdict::parse).map(|verdict| (verdict, at)),
        });
    }
    Ok(found)
}

/// Keeps what a job was planned to do, as JSON.
///
/// # Errors
/// The database's.
pub fn keep_plan(tx: &Connection, job: JobRow, plan: &str) -> Result<(), DbError> {
    tx.prepare_cached("INSERT OR REPLACE INTO plans (job, plan) VALUES (?1, ?2)")?
        .execute(params![job, plan])?;
    Ok(())
}

/// What a job was planned to do, as JSON.
///
/// # Errors
/// The database's.
pub fn plan(connection: &Connection, job: JobRow) -> Result<Option<String>, DbError> {
    let mut statement = connection.prepare_cached("SELECT plan FROM plans WHERE job = ?1")?;
    Ok(statement.query_row([job], |row| row.get(0)).optional()?)
}

/// Folds results that are older than `before` into numbers. What says which version a host has stays: its newest good line of
/// each package.
pub struct Fold {
    /// What is older.
    pub before: Time,
}

/// What [`Fold`] did; if anything, there may be more to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FoldedAway {
    /// Lines that are numbers now.
    pub lines: u64,
    /// Reports that are gone.
    pub reports: u64,
}

impl Command for Fold {
    type Answer = FoldedAway;

    fn apply(self, tx: &Connection) -> Result<FoldedAway, DbError> {
        let old = old_lines(tx, self.before)?;
        let sql = format!(
            "INSERT INTO folded (job, place, state, lines)
             SELECT l.job, l.place, {}, COUNT(*) FROM json_each(?1) e
             JOIN lines l ON l.job = e.value ->> '$[0]' AND l.host = e.value ->> '$[1]' AND l.place = e.value ->> '$[2]'
             WHERE true GROUP BY 1, 2, 3
             ON CONFLICT (job, place, state) DO UPDATE SET lines = lines + excluded.lines",
            views::shown()
        );
        tx.prepare_cached(&sql)?.execute([&old])?;
        let mut lines = 0;
        for table in ["attempts", "lines"] {
            let sql = format!(
                "DELETE FROM {table} WHERE (job, host, place) IN
                   (SELECT e.value ->> '$[0]', e.value ->> '$[1]', e.value ->> '$[2]' FROM json_each(?1) e)"
            );
            lines = tx.prepare_cached(&sql)?.execute([&old])? as u64;
        }
        let sql = "DELETE FROM history WHERE (origin, incarnation, no) IN
                     (SELECT origin, incarnation, no FROM history WHERE received < ?1 LIMIT ?2)";
        let reports = tx.prepare_cached(sql)?.execute(params![self.before.0, REPORTS_AT_ONCE])? as u64;
        Ok(FoldedAway { lines, reports })
    }
}

/// Lines of jobs whose end is long past and that have all ended, but for the newest good one of each host and package.
fn old_lines(tx: &Connection, before: Time) -> Result<String, DbError> {
    let sql = format!(
        "WITH old AS (
           SELECT j.row FROM jobs j WHERE j.until < ?1 AND EXISTS (SELECT 1 FROM lines l WHERE l.job = j.row)
             AND NOT EXISTS (SELECT 1 FROM lines l WHERE l.job = j.row AND (l.since >= ?1 OR {} IN ({}))))
         SELECT l.job, l.host, l.place FROM lines l JOIN old ON old.row = l.job
         JOIN job_packages p ON p.job = l.job AND p.place = l.place
         WHERE l.state NOT IN ('done', 'already_installed') OR EXISTS (
           SELECT 1 FROM job_packages p2 JOIN lines l2 ON l2.job = p2.job AND l2.place = p2.place AND l2.host = l.host
           WHERE p2.cabinet = p.cabinet AND p2.name = p.name AND l2.state IN ('done', 'already_installed')
             AND (l2.since, l2.job) > (l.since, l.job))
         LIMIT ?2",
        views::shown(),
        lines::open_words()
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_map(params![before.0, LINES_AT_ONCE], |row| {
        Ok((row.get::<_, JobRow>(0)?, row.get::<_, HostRow>(1)?, row.get::<_, u32>(2)?))
    })?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    serde_json::to_string(&rows).map_err(DbError::internal)
}
