//! What an agent finds at its start.

use packhorse_domain::agent::{Entry, KnownJob};
use packhorse_domain::calling::Call;
use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::Incarnation;
use packhorse_domain::job::Job;
use packhorse_domain::outbox::Hop;
use packhorse_domain::time::Time;
use packhorse_wire::envelope::{CborError, Envelope, from_cbor_limited};
use packhorse_wire::messages::{JobOrder, RESPONSE_BYTES_MAX};
use packhorse_wire::signed::JobDoc;
use packhorse_wire::trust::Limits;
use rusqlite::{Connection, OptionalExtension};

use super::Told;
use super::entry::{decode, unreadable};
use super::outbox::facts;
use super::schema::{get, get_blob, put};
use crate::zone::ahead_secs;

/// A job as it was kept: what it asks, and the order it came in.
#[derive(Debug, Clone)]
pub(crate) struct KeptJob {
    /// For the machine.
    pub known: KnownJob,
    /// Proofs, and where the packages are to be had.
    pub order: JobOrder,
}

/// An agent's durable state.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Which life of this state.
    pub incarnation: Incarnation,
    /// Receipted up to here.
    pub base: u64,
    /// The jobs.
    pub jobs: Vec<KeptJob>,
    /// The journal in order.
    pub entries: Vec<Entry>,
    /// How far the feed is stored.
    pub cursor: Option<Cursor>,
    /// How far the outbox is stored above.
    pub hop: Option<Hop>,
    /// Whom it calls, if that was ever decided here.
    pub call: Option<Call>,
    /// The newest trust document, if one came after joining.
    pub trust: Option<Vec<u8>>,
    /// The newest place, if one came after joining.
    pub place: Option<Vec<u8>>,
    /// Delegations.
    pub delegations: Vec<Vec<u8>>,
    /// Alarms told: code and what.
    pub told: Vec<(String, String)>,
    /// The newest alarm's number.
    pub newest_alarm: u64,
    /// What was told last of the host.
    pub facts: Option<Told>,
    /// The word that it was retired.
    pub retired: Option<Vec<u8>>,
}

impl Kept {
    /// Reads it all.
    ///
    /// # Errors
    /// What the database says, or what in it cannot be understood.
    pub fn load(connection: &mut Connection) -> rusqlite::Result<Kept> {
        let tx = connection.transaction()?;
        let number = |key| get(&tx, key).map(|text| text.and_then(|text| text.parse().ok()).unwrap_or(0));
        let kept = Kept {
            incarnation: Incarnation(number("incarnation")?),
            base: number("base")?,
            jobs: jobs(&tx)?,
            entries: entries(&tx)?,
            cursor: cursor(&tx)?,
            hop: hop(&tx)?,
            call: call(&tx)?,
            trust: get_blob(&tx, "trust")?,
            place: get_blob(&tx, "place")?,
            delegations: column(&tx, "SELECT envelope FROM delegations", |row| row.get(0))?,
            told: column(&tx, "SELECT code, what FROM alarms", |row| Ok((row.get(0)?, row.get(1)?)))?,
            newest_alarm: tx
                .query_row("SELECT coalesce(max(report), 0) FROM alarms", [], |row| row.get::<_, i64>(0))?
                .unsigned_abs(),
            facts: facts_told(&tx)?,
            retired: get_blob(&tx, "retired")?,
        };
        tx.commit()?;
        Ok(kept)
    }
}

fn facts_told(connection: &Connection) -> rusqlite::Result<Option<Told>> {
    let sql = "SELECT report, at, body FROM facts ORDER BY report DESC LIMIT 1";
    let told = connection.query_row(sql, [], |row| {
        Ok(Told {
            report: row.get::<_, i64>(0)?.unsigned_abs(),
            at: Time(row.get(1)?),
            facts: facts(&row.get::<_, String>(2)?),
        })
    });
    told.optional()
}

fn column<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

fn jobs(connection: &Connection) -> rusqlite::Result<Vec<KeptJob>> {
    let rows: Vec<(Option<u32>, Vec<u8>)> =
        column(connection, "SELECT attempt, body FROM jobs", |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.into_iter()
        .map(|(attempt, body)| {
            let order: JobOrder = from_cbor_limited(&body, RESPONSE_BYTES_MAX).map_err(unreadable)?;
            let job = job_of(&order).map_err(unreadable)?;
            let ahead_secs = ahead_secs(&job);
            Ok(KeptJob { known: KnownJob { job, attempt, ahead_secs }, order })
        })
        .collect()
}

/// The job in an order that was verified before it was kept.
///
/// # Errors
/// It cannot be read.
pub(crate) fn job_of(order: &JobOrder) -> Result<Job, CborError> {
    let bad = |error: &dyn std::fmt::Display| CborError::Malformed(error.to_string());
    let envelope = Envelope::decode(&order.job, Limits::JOB_BYTES).map_err(|error| bad(&error))?;
    let doc: JobDoc = from_cbor_limited(&envelope.payload, Limits::JOB_BYTES)?;
    Job::try_from(doc).map_err(|error| bad(&error))
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let rows: Vec<Vec<u8>> = column(connection, "SELECT entry FROM journal ORDER BY seq", |row| row.get(0))?;
    rows.iter().map(|bytes| decode(bytes).map_err(unreadable)).collect()
}

fn cursor(connection: &Connection) -> rusqlite::Result<Option<Cursor>> {
    let numbers = numbers(connection, "cursor")?;
    Ok(match numbers[..] {
        [incarnation, n] => Some(Cursor { incarnation: Incarnation(incarnation), n }),
        _ => None,
    })
}

pub(super) fn put_cursor(connection: &Connection, cursor: Cursor) -> rusqlite::Result<()> {
    put(connection, "cursor", &format!("{} {}", cursor.incarnation.0, cursor.n))
}

fn hop(connection: &Connection) -> rusqlite::Result<Option<Hop>> {
    let numbers = numbers(connection, "hop")?;
    Ok(match numbers[..] {
        [server, higher, stored] => {
            Some(Hop { server: Incarnation(server), higher: Incarnation(higher), stored })
        }
        _ => None,
    })
}

/// What cannot be read is as good as none: the host calls whom its place says.
fn call(connection: &Connection) -> rusqlite::Result<Option<Call>> {
    let text = get(connection, "call")?.unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let read = |words: &[&str]| -> Option<Call> {
        let [to, number, since, relapses] = words else { return None };
        Some(Call {
            to: to.parse().ok()?,
            number: number.parse().ok()?,
            since: Time(since.parse().ok()?),
            relapses: relapses.parse().ok()?,
        })
    };
    Ok(read(&words))
}

pub(super) fn put_call(connection: &Connection, call: Call) -> rusqlite::Result<()> {
    let Call { to, number, since, relapses } = call;
    put(connection, "call", &format!("{to} {number} {} {relapses}", since.0))
}

pub(super) fn hop_text(hop: Hop) -> String {
    format!("{} {} {}", hop.server.0, hop.higher.0, hop.stored)
}

fn numbers(connection: &Connection, key: &str) -> rusqlite::Result<Vec<u64>> {
    let text = get(connection, key)?.unwrap_or_default();
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}
