//! Instructions: many at a time, always with one statement for all of them.

use std::collections::HashMap;

use packhorse_domain::ids::{HostId, Incarnation, JobKey, PackageId};
use packhorse_domain::instruction::{Line, LineKey, State, Verdict};
use packhorse_domain::time::Time;
use packhorse_domain::version::not_above;
use packhorse_wire::envelope::{from_cbor_limited, to_cbor};
use packhorse_wire::messages::{OutcomeMsg, ReasonMsg};
use rusqlite::{Connection, Row, ToSql, params, params_from_iter};

use super::hosts::HostRow;
use super::jobs::JobRow;
use super::{DbError, meta};

/// Columns that [`line()`] reads.
pub const COLUMNS: &str =
    "attempt, state, since, seen_incarnation, seen_no, verdict, verdict_at, reason, outcome, begun";
/// Most bytes of a stored reason or outcome.
const BLOB_BYTES: usize = 64 << 10;
/// Rows of one multi-row statement.
const ROWS_MAX: usize = 250;

/// Lines that are stored.
pub type KnownLines = HashMap<LineKey, Line>;
/// Where lines are or would be stored.
pub type KnownRows = HashMap<LineKey, LineRow>;

/// Where a line is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineRow {
    /// The job's row.
    pub job: JobRow,
    /// The host's row.
    pub host: HostRow,
    /// The package's place in the job.
    pub place: u32,
}

/// Reads a line from [`COLUMNS`] that begin at `at`.
///
/// # Errors
/// What is stored cannot be read.
pub fn line(row: &Row<'_>, at: usize) -> Result<Line, DbError> {
    let state: String = row.get(at + 1)?;
    let verdict: Option<String> = row.get(at + 5)?;
    let reason: Option<Vec<u8>> = row.get(at + 7)?;
    let outcome: Option<Vec<u8>> = row.get(at + 8)?;
    let seen = (row.get::<_, Option<i64>>(at + 3)?, row.get::<_, Option<i64>>(at + 4)?);
    let read = |bytes: Vec<u8>| from_cbor_limited::<OutcomeMsg>(&bytes, BLOB_BYTES).map_err(DbError::damaged);
    Ok(Line {
        attempt: row.get(at)?,
        state: State::parse(&state).ok_or_else(|| DbError::damaged(format!("state '{state}'")))?,
        since: Time(row.get(at + 2)?),
        seen: match seen {
            (Some(life), Some(no)) => Some((Incarnation(life as u64), no as u64)),
            _ => None,
        },
        begun: row.get(at + 9)?,
        verdict: match verdict.as_deref().and_then(Verdict::parse) {
            Some(verdict) => Some((verdict, Time(row.get::<_, Option<i64>>(at + 6)?.unwrap_or(0)))),
            None => None,
        },
        reason: match reason {
            Some(bytes) => {
                from_cbor_limited::<ReasonMsg>(&bytes, BLOB_BYTES).map_err(DbError::damaged)?.to_reason()
            }
            None => None,
        },
        outcome: outcome.map(read).transpose()?.and_then(|outcome| outcome.to_outcome()),
    })
}

/// Loads the lines that reports speak of, with one statement, and where they are stored.
///
/// # Errors
/// The database's.
pub fn known(tx: &Connection, keys: &[LineKey]) -> Result<(KnownLines, KnownRows), DbError> {
    let wanted: Vec<(&str, u64, u64, String, String)> = keys
        .iter()
        .map(|key| {
            (
                key.job.issuer.as_str(),
                key.job.epoch,
                key.job.number,
                key.package.to_string(),
                key.host.to_string(),
            )
        })
        .collect();
    let wanted = serde_json::to_string(&wanted).map_err(DbError::internal)?;
    // The join goes out from the keys asked for: a job of any size costs the same.
    let sql = format!(
        "SELECT j.issuer, j.epoch, j.number, p.id, h.id, j.row, h.row, p.place, l.host, {}
         FROM json_each(?1) e
         JOIN jobs j ON j.issuer = e.value ->> '$[0]' AND j.epoch = e.value ->> '$[1]' AND j.number = e.value ->> '$[2]'
         JOIN job_packages p ON p.job = j.row AND p.id = unhex(e.value ->> '$[3]')
         JOIN hosts h ON h.id = unhex(e.value ->> '$[4]')
         LEFT JOIN lines l ON l.job = j.row AND l.host = h.row AND l.place = p.place",
        COLUMNS.split(", ").map(|column| format!("l.{column}")).collect::<Vec<_>>().join(", ")
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query([wanted])?;
    let (mut lines, mut places) = (HashMap::new(), HashMap::new());
    while let Some(row) = rows.next()? {
        let job = JobKey {
            issuer: row.get(0)?,
            epoch: row.get::<_, i64>(1)? as u64,
            number: row.get::<_, i64>(2)? as u64,
        };
        let key = LineKey { job, package: PackageId(row.get(3)?), host: HostId(row.get(4)?) };
        places.insert(key.clone(), LineRow { job: row.get(5)?, host: row.get(6)?, place: row.get(7)? });
        if row.get::<_, Option<i64>>(8)?.is_some() {
            lines.insert(key, line(row, 9)?);
        }
    }
    Ok((lines, places))
}

/// Writes lines, a few hundred with one statement. `leaf` of a stored line stays.
///
/// # Errors
/// The database's or the encoder's.
pub fn write(tx: &Connection, lines: &[(LineRow, Line)]) -> Result<(), DbError> {
    if lines.is_empty() {
        return Ok(());
    }
    let change = meta::next(tx, "change")?;
    for group in lines.chunks(ROWS_MAX) {
        let sql = format!(
            "INSERT INTO lines (job, host, place, {COLUMNS}, change) VALUES {}
             ON CONFLICT (job, host, place) DO UPDATE SET attempt = excluded.attempt, state = excluded.state,
               since = excluded.since, seen_incarnation = excluded.seen_incarnation, seen_no = excluded.seen_no,
               verdict = excluded.verdict, verdict_at = excluded.verdict_at, reason = excluded.reason,
               outcome = excluded.outcome, begun = excluded.begun, change = excluded.change",
            vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; group.len()].join(", ")
        );
        let mut values: Vec<Box<dyn ToSql>> = Vec::with_capacity(group.len() * 14);
        for (at, line) in group {
            let reason = line.reason.as_ref().map(|reason| to_cbor(&ReasonMsg::from(reason)));
            let outcome = line.outcome.as_ref().map(|outcome| to_cbor(&OutcomeMsg::from(outcome)));
            values.extend([
                Box::new(at.job) as Box<dyn ToSql>,
                Box::new(at.host),
                Box::new(at.place),
                Box::new(line.attempt),
                Box::new(line.state.as_str()),
                Box::new(line.since.0),
                Box::new(line.seen.map(|(life, _)| life.0 as i64)),
                Box::new(line.seen.map(|(_, no)| no as i64)),
                Box::new(line.verdict.map(|(verdict, _)| verdict.as_str())),
                Box::new(line.verdict.map(|(_, at)| at.0)),
                Box::new(reason.transpose().map_err(DbError::internal)?),
                Box::new(outcome.transpose().map_err(DbError::internal)?),
                Box::new(line.begun),
                Box::new(change),
            ]);
        }
        tx.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    }
    Ok(())
}

/// The words of states, as an SQL list: those `keep` keeps.
fn words(keep: impl Fn(State) -> bool) -> String {
    let words: Vec<String> =
        State::ALL.into_iter().filter(|state| keep(*state)).map(|state| format!("'{state}'")).collect();
    words.join(", ")
}

/// States in which a verdict may still be made, as an SQL list (see [`Line::judge`]).
pub fn unbegun_words() -> String {
    words(|state| !state.is_end() && !state.has_begun())
}

/// States that are ends, as an SQL list.
pub fn end_words() -> String {
    words(State::is_end)
}

/// States that are no ends, as an SQL list.
pub fn open_words() -> String {
    words(|state| !state.is_end())
}

/// Ends that nothing follows, as an SQL list: of what was rejected the host may say more in the same attempt.
pub fn closed_words() -> String {
    words(|state| state.is_end() && !state.may_come_back())
}

/// States of an offer that nobody has chosen, as an SQL list.
pub fn unchosen_words() -> &'static str {
    "'registered', 'waiting', 'offered'"
}

/// At a relay: lines that were opened for hosts of which the higher system says that they have nothing left to do, as for one
/// that was moved here, and of which nothing was heard. Nobody waits for them. Answers how many.
///
/// # Errors
/// The database's.
pub fn let_go(tx: &Connection, job: JobRow, ended: &[HostId]) -> Result<usize, DbError> {
    if ended.is_empty() {
        return Ok(0);
    }
    let ids: Vec<String> = ended.iter().map(ToString::to_string).collect();
    let ids = serde_json::to_string(&ids).map_err(DbError::internal)?;
    let sql = "DELETE FROM lines WHERE job = ?1 AND seen_no IS NULL AND host IN (
                 SELECT h.row FROM json_each(?2) e JOIN hosts h ON h.id = unhex(e.value))";
    Ok(tx.prepare_cached(sql)?.execute(params![job, ids])?)
}

/// A verdict over all lines of a job that have not begun; answers how many. The same rule as [`Line::judge`], for all lines
/// at once.
///
/// # Errors
/// The database's.
pub fn judge_job(tx: &Connection, job: JobRow, verdict: Verdict, now: Time) -> Result<u64, DbError> {
    let change = meta::next(tx, "change")?;
    let sql = format!(
        "UPDATE lines SET verdict = ?2, verdict_at = ?3, change = ?4
         WHERE job = ?1 AND verdict IS NULL AND NOT begun AND state IN ({})",
        unbegun_words()
    );
    Ok(tx.prepare_cached(&sql)?.execute(params![job, verdict.as_str(), now.0, change])? as u64)
}

/// Takes back what [`judge_job`] said since a time of a job that was cancelled and goes on after all.
///
/// # Errors
/// The database's.
pub fn lift_cancel(tx: &Connection, job: JobRow, since: Time) -> Result<u64, DbError> {
    let change = meta::next(tx, "change")?;
    let sql = format!(
        "UPDATE lines SET verdict = NULL, verdict_at = NULL, change = ?3
         WHERE job = ?1 AND verdict = 'cancelled' AND verdict_at >= ?2 AND NOT begun AND state IN ({})",
        unbegun_words()
    );
    Ok(tx.prepare_cached(&sql)?.execute(params![job, since.0, change])? as u64)
}

/// The verdict over lines of older jobs of the same issuer whose package (same cabinet and name) a newer job brings to the
/// same host: jobs of the same type, of offers what nobody has chosen; and an install also takes the place of offers of the
/// same or a lower version that nobody has chosen. The same rule as the host's (`domain::agent`). (A retry of an older job
/// may also supersede, and a user who chooses a later offer too; that the host says itself.)
///
/// # Errors
/// The database's.
pub fn supersede(tx: &Connection, newer: JobRow, now: Time) -> Result<u64, DbError> {
    let (unbegun, unchosen) = superseded(tx, newer, now)?;
    let change = meta::next(tx, "change")?;
    let mut changed = 0;
    for (places, states) in [(unbegun, unbegun_words()), (unchosen, unchosen_words().to_owned())] {
        if places.is_empty() {
            continue;
        }
        let places = serde_json::to_string(&places).map_err(DbError::internal)?;
        let sql = format!(
            "UPDATE lines SET verdict = 'superseded', verdict_at = ?2, change = ?3
             WHERE verdict IS NULL AND NOT begun AND state IN ({states})
               AND (job, place) IN (SELECT value ->> '$[0]', value ->> '$[1]' FROM json_each(?4))
               AND host IN (SELECT host FROM lines WHERE job = ?1)"
        );
        changed += tx.prepare_cached(&sql)?.execute(params![newer, now.0, change, places])? as u64;
    }
    Ok(changed)
}

/// A package of a job, by its place.
type Places = Vec<(JobRow, u32)>;

/// The packages of older jobs whose place a newer job takes: at lines that have not begun, and at those that nobody has
/// chosen.
fn superseded(tx: &Connection, newer: JobRow, now: Time) -> Result<(Places, Places), DbError> {
    let sql = "SELECT p.job, p.place, p.version, mine.version, j.job_type, me.job_type
               FROM jobs me JOIN job_packages mine ON mine.job = me.row
               JOIN job_packages p ON p.cabinet = mine.cabinet AND p.name = mine.name AND p.job <> me.row
               JOIN jobs j ON j.row = p.job AND j.issuer = me.issuer
               WHERE me.row = ?1 AND j.created < me.created AND j.until > ?2
                 AND (j.job_type = me.job_type OR (j.job_type = 'offer' AND me.job_type = 'install'))";
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query(params![newer, now.0])?;
    let (mut unbegun, mut unchosen) = (Places::new(), Places::new());
    while let Some(row) = rows.next()? {
        let at = (row.get(0)?, row.get(1)?);
        let (theirs, mine): (String, String) = (row.get(2)?, row.get(3)?);
        let (older, newer): (String, String) = (row.get(4)?, row.get(5)?);
        match older.as_str() {
            "offer" if newer == "offer" || not_above(&theirs, &mine) => unchosen.push(at),
            "offer" => {}
            _ => unbegun.push(at),
        }
    }
    Ok((unbegun, unchosen))
}

/// The verdict over all lines whose job's end has come: an offer that nobody chose has ended, anything else was missed.
/// Answers how many.
///
/// # Errors
/// The database's.
pub fn miss(tx: &Connection, now: Time) -> Result<u64, DbError> {
    let change = meta::next(tx, "change")?;
    let sql = format!(
        "UPDATE lines SET verdict_at = ?1, change = ?2,
           verdict = CASE WHEN state IN ({})
                           AND (SELECT job_type FROM jobs WHERE row = lines.job) = 'offer'
                     THEN 'offer_ended' ELSE 'missed' END
         WHERE verdict IS NULL AND NOT begun AND state IN ({}) AND job IN (SELECT row FROM jobs WHERE until <= ?1)",
        unchosen_words(),
        unbegun_words()
    );
    Ok(tx.prepare_cached(&sql)?.execute(params![now.0, change])? as u64)
}

/// Lines of hosts that call `relay` (a host's row; `None`: this system itself) and wait for a package that the relay keeps
/// now: they are at the relay. (A relay's own copy is what its transfers are about.) The same transition as the table's
/// `ReachedRelay`. For an offer that nobody has chosen the copy means nothing.
///
/// # Errors
/// The database's.
pub fn reached_relay(
    tx: &Connection,
    relay: Option<HostRow>,
    package: &PackageId,
    now: Time,
) -> Result<u64, DbError> {
    let change = meta::next(tx, "change")?;
    let sql = "UPDATE lines SET state = 'at_relay', since = ?3, change = ?4
               WHERE (state = 'chosen' OR (state IN ('registered', 'waiting')
                   AND (SELECT job_type FROM jobs WHERE row = lines.job) <> 'offer'))
                 AND host IN (SELECT row FROM hosts WHERE higher IS ?1 AND row IS NOT ?1)
                 AND (job, place) IN (SELECT p.job, p.place FROM job_packages p JOIN jobs j ON j.row = p.job
                                      WHERE p.id = ?2 AND j.job_type <> 'transfer')";
    Ok(tx.prepare_cached(sql)?.execute(params![relay, package.0, now.0, change])? as u64)
}

/// Lines of a job that just came, whose host's own relay keeps the package already, as it reported: they are at the relay.
/// The same transition as [`reached_relay`], seen from the job.
///
/// # Errors
/// The database's.
pub fn at_relay(tx: &Connection, job: JobRow, now: Time) -> Result<u64, DbError> {
    let change = meta::next(tx, "change")?;
    let sql = "UPDATE lines SET state = 'at_relay', since = ?2, change = ?3
               WHERE job = ?1 AND state IN ('registered', 'waiting')
                 AND (SELECT job_type FROM jobs WHERE row = ?1) NOT IN ('transfer', 'offer')
                 AND EXISTS (SELECT 1 FROM hosts h JOIN relay_copies c ON c.relay = h.higher
                             JOIN job_packages p ON p.job = lines.job AND p.place = lines.place AND p.id = c.id
                             WHERE h.row = lines.host)";
    Ok(tx.prepare_cached(sql)?.execute(params![job, now.0, change])? as u64)
}
