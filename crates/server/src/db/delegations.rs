//! What is delegated to relays: one signed document each, in revisions. The managing server makes them; they go to the relay,
//! to everybody below it, who judge its jobs by them, and to the relays on the way, who pass such jobs' reports on.

use packhorse_domain::delegated::{Delegation, Lapsed};
use packhorse_domain::ids::HostId;
use packhorse_domain::instruction::Verdict;
use packhorse_domain::report::Body;
use packhorse_domain::time::Time;
use packhorse_wire::envelope::{Envelope, from_cbor_limited};
use packhorse_wire::messages::Order;
use packhorse_wire::signed::DelegationDoc;
use packhorse_wire::trust::{Limits, Trust};
use rusqlite::{Connection, OptionalExtension, params};
use serde_bytes::ByteBuf;

use super::hosts::{self, Fleet, HostRow};
use super::jobs::JobRow;
use super::join::read_own_job;
use super::{Command, DbError, feeds, lines, meta, orders, outbox};
use crate::authority::Authority;

/// What a relay says it has taken in.
pub const WHAT: &str = "delegation";

/// The envelope of a relay's delegation, if something was ever delegated to it.
///
/// # Errors
/// The database's.
pub fn of(connection: &Connection, relay: &HostId) -> Result<Option<Vec<u8>>, DbError> {
    let mut statement = connection.prepare_cached("SELECT envelope FROM delegations WHERE relay = ?1")?;
    Ok(statement.query_row([relay.0], |row| row.get(0)).optional()?)
}

/// The envelopes of all delegations.
///
/// # Errors
/// The database's.
pub fn all(connection: &Connection) -> Result<Vec<Vec<u8>>, DbError> {
    let mut statement = connection.prepare_cached("SELECT envelope FROM delegations ORDER BY relay")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A delegation of this database: verified when it was stored.
///
/// # Errors
/// It cannot be read.
pub fn read(envelope: &[u8]) -> Result<DelegationDoc, DbError> {
    let envelope = Envelope::decode(envelope, Limits::DELEGATION_BYTES).map_err(DbError::damaged)?;
    from_cbor_limited(&envelope.payload, Limits::DELEGATION_BYTES).map_err(DbError::damaged)
}

/// The relay that issues under a name; nothing is below it that is not below this relay.
///
/// # Errors
/// The database's.
pub fn scope(connection: &Connection, issuer: &str) -> Result<Option<HostId>, DbError> {
    let mut statement = connection.prepare_cached("SELECT relay FROM delegations WHERE name = ?1")?;
    Ok(statement.query_row([issuer], |row| row.get(0).map(HostId)).optional()?)
}

/// What became of a delegation that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It is newer than what was known.
    Taken {
        /// Lower systems with something new in their feeds.
        lowers: Vec<HostRow>,
        /// Jobs that the end of the one before had stopped, and that go on.
        resumed: Vec<JobRow>,
    },
    /// It is known.
    Known,
    /// It is older than what is known.
    Older,
}

/// Signs and stores a relay's next delegation, and puts it into the feeds of everybody who needs it.
///
/// # Errors
/// It is none, or the database's.
pub fn set(
    tx: &Connection,
    authority: &Authority,
    doc: &DelegationDoc,
    now: Time,
) -> Result<Vec<HostRow>, DbError> {
    doc.validate().map_err(|error| DbError::refused("limit", error.to_string(), None))?;
    let envelope = authority.sign_delegation(doc).map_err(DbError::internal)?;
    match take(tx, doc, &envelope, now)? {
        Came::Taken { lowers, .. } => Ok(lowers),
        Came::Known | Came::Older => Err(DbError::internal("a delegation that is not newer")),
    }
}

/// Takes in a verified delegation, and passes it on; the relay's jobs that it does not cover (any more) are stopped.
///
/// # Errors
/// The database's.
pub fn take(tx: &Connection, doc: &DelegationDoc, envelope: &[u8], now: Time) -> Result<Came, DbError> {
    let relay = HostId(doc.relay.0);
    let known: Option<i64> = tx
        .prepare_cached("SELECT MAX(revision) FROM delegations WHERE relay = ?1 OR name = ?2")?
        .query_row(params![relay.0, doc.name], |row| row.get(0))?;
    match known.map(|known| known as u64) {
        Some(known) if doc.revision < known => return Ok(Came::Older),
        Some(known) if doc.revision == known => return Ok(Came::Known),
        _ => {}
    }
    // A name may have passed to another relay: what is older than its delegation is as old as an older one of its own.
    tx.prepare_cached("DELETE FROM delegations WHERE name = ?1 AND relay <> ?2")?
        .execute(params![doc.name, relay.0])?;
    let sql = "INSERT INTO delegations (relay, name, revision, envelope) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (relay) DO UPDATE SET name = excluded.name, revision = excluded.revision,
                 envelope = excluded.envelope";
    tx.prepare_cached(sql)?.execute(params![relay.0, doc.name, doc.revision as i64, envelope])?;
    let resumed = resume_ended(tx, &doc.name, &doc.delegation(), now)?;
    stop_lapsed(tx, &doc.name, &doc.delegation(), now)?;
    let order = Order::Delegation(ByteBuf::from(envelope.to_vec()));
    if hosts::own_route(tx)?.contains(&relay) {
        return Ok(Came::Taken { lowers: orders::for_everybody(tx, &order)?, resumed });
    }
    let via: Vec<HostRow> = hosts::by_id(tx, &relay)?.into_iter().map(|host| host.via).collect();
    feeds::append(tx, &via.iter().map(|via| (*via, order.clone())).collect::<Vec<_>>())?;
    Ok(Came::Taken { lowers: via, resumed })
}

/// The relay itself says that it has taken its delegation in: also one that is known, for a managing server that was restored
/// asks again.
///
/// # Errors
/// The database's or the encoder's.
pub fn acknowledge(tx: &Connection, own: &HostId, doc: &DelegationDoc, now: Time) -> Result<(), DbError> {
    outbox::say(tx, own, Body::Applied { what: WHAT.to_owned(), revision: doc.revision }, now)
}

/// Jobs of an issuer that are not what is delegated to it (any more) are stopped: what they have not begun does not begin;
/// what has begun goes on. Answers whether there are any.
///
/// # Errors
/// The database's.
pub fn stop_lapsed(
    tx: &Connection,
    issuer: &str,
    delegation: &Delegation,
    now: Time,
) -> Result<bool, DbError> {
    let open = open_jobs(tx, issuer, now)?;
    if open.is_empty() {
        return Ok(false);
    }
    let cabinets = own_trust(tx)?;
    let is_servers = |cabinet: &str| cabinets.doc().cabinets.contains_key(cabinet);
    let mut any = false;
    for (row, envelope) in open {
        let Some(job) = read_own_job(&envelope) else { continue };
        if let Err(lapsed) = delegation.covers(&job, is_servers, now) {
            any = true;
            let sql = "UPDATE jobs SET intent = 'cancelled', stopped = ?2,
                         stopped_by_end = CASE WHEN ?3 THEN COALESCE(stopped_by_end, ?4) END WHERE row = ?1";
            let by_end = lapsed == Lapsed::Ended;
            tx.prepare_cached(sql)?.execute(params![row, lapsed.told(issuer), by_end, now.0])?;
            lines::judge_job(tx, row, Verdict::Cancelled, now)?;
        }
    }
    Ok(any)
}

/// Jobs that were stopped because their delegation's end had come go on when it turns out to have been renewed: hosts that did
/// not hear of the end either have not ended them. What a newer delegation withdraws stays stopped for that reason.
fn resume_ended(
    tx: &Connection,
    issuer: &str,
    delegation: &Delegation,
    now: Time,
) -> Result<Vec<JobRow>, DbError> {
    let stopped = stopped_by_end(tx, issuer, now)?;
    if stopped.is_empty() {
        return Ok(Vec::new());
    }
    let cabinets = own_trust(tx)?;
    let is_servers = |cabinet: &str| cabinets.doc().cabinets.contains_key(cabinet);
    let mut resumed = Vec::new();
    for (row, envelope, at) in stopped {
        let Some(job) = read_own_job(&envelope) else { continue };
        match delegation.covers(&job, is_servers, now) {
            Ok(()) => {
                let sql = "UPDATE jobs SET intent = ?2, stopped = NULL, stopped_by_end = NULL WHERE row = ?1";
                tx.prepare_cached(sql)?.execute(params![row, job.intent.as_str()])?;
                lines::lift_cancel(tx, row, at)?;
                resumed.push(row);
            }
            Err(Lapsed::Ended) => {}
            Err(lapsed) => {
                let sql = "UPDATE jobs SET stopped = ?2, stopped_by_end = NULL WHERE row = ?1";
                tx.prepare_cached(sql)?.execute(params![row, lapsed.told(issuer)])?;
            }
        }
    }
    Ok(resumed)
}

fn stopped_by_end(tx: &Connection, issuer: &str, now: Time) -> Result<Vec<(JobRow, Vec<u8>, Time)>, DbError> {
    let sql = "SELECT row, envelope, stopped_by_end FROM jobs
               WHERE issuer = ?1 AND stopped IS NOT NULL AND stopped_by_end IS NOT NULL AND until > ?2";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![issuer, now.0], |row| Ok((row.get(0)?, row.get(1)?, Time(row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The trust document of this system: verified when it was stored.
fn own_trust(tx: &Connection) -> Result<Trust, DbError> {
    let trust = meta::bytes(tx, "trust")?.ok_or_else(|| DbError::damaged("no trust document"))?;
    Trust::own(&trust).map_err(DbError::damaged)
}

fn open_jobs(tx: &Connection, issuer: &str, now: Time) -> Result<Vec<(JobRow, Vec<u8>)>, DbError> {
    let sql = "SELECT row, envelope FROM jobs WHERE issuer = ?1 AND intent <> 'cancelled' AND until > ?2";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params![issuer, now.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The issuers that have open jobs, and whose delegation's end has come.
fn ended(connection: &Connection, now: Time) -> Result<Vec<DelegationDoc>, DbError> {
    let sql = "SELECT envelope FROM delegations d WHERE EXISTS (
                 SELECT 1 FROM jobs j WHERE j.issuer = d.name AND j.intent <> 'cancelled' AND j.until > ?1)";
    let mut statement = connection.prepare_cached(sql)?;
    let envelopes = statement.query_map([now.0], |row| row.get(0))?.collect::<Result<Vec<Vec<u8>>, _>>()?;
    let docs = envelopes.iter().map(|envelope| read(envelope)).collect::<Result<Vec<_>, _>>()?;
    Ok(docs.into_iter().filter(|doc| doc.expires <= now.0).collect())
}

/// Whether a delegation's end has come that has open jobs.
///
/// # Errors
/// The database's.
pub fn any_ended(connection: &Connection, now: Time) -> Result<bool, DbError> {
    Ok(!ended(connection, now)?.is_empty())
}

/// Delegations whose end has come stop their relays' jobs.
pub struct StopEnded(pub Time);

impl Command for StopEnded {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        for doc in ended(tx, self.0)? {
            stop_lapsed(tx, &doc.name, &doc.delegation(), self.0)?;
        }
        Ok(())
    }
}

/// A host that stands elsewhere than before, or may call others: jobs of relays that it has left are nothing for it that they
/// have not begun to be. A relay that it may come back to by itself it has not left. The host says the same of itself.
///
/// # Errors
/// The database's.
pub fn left(tx: &Connection, host: HostRow, now: Time) -> Result<(), DbError> {
    let fleet = Fleet::load(tx)?;
    let Some(place) = fleet.get(host).map(|record| fleet.place(record)) else { return Ok(()) };
    let above = hosts::own_route(tx)?;
    let mut statement = tx.prepare_cached("SELECT name, relay FROM delegations")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, HostId(row.get(1)?))))?;
    let relays = rows.collect::<Result<Vec<(String, HostId)>, _>>()?;
    let left = relays.iter().filter(|(_, relay)| !place.may_be_below(relay) && !above.contains(relay));
    let left = serde_json::to_string(&left.map(|(name, _)| name).collect::<Vec<_>>());
    let change = meta::next(tx, "change")?;
    let sql = format!(
        "UPDATE lines SET verdict = 'cancelled', verdict_at = ?2, change = ?3
         WHERE host = ?1 AND verdict IS NULL AND NOT begun AND state IN ({})
           AND job IN (SELECT row FROM jobs WHERE issuer IN (SELECT value FROM json_each(?4)))",
        lines::unbegun_words()
    );
    tx.prepare_cached(&sql)?.execute(params![host, now.0, change, left.map_err(DbError::internal)?])?;
    Ok(())
}

/// The delegations that concern a direct lower system: of relays it is below, and of those that are reached by it. For a
/// feed that is made anew.
///
/// # Errors
/// The database's.
pub fn for_lower(connection: &Connection, lower: HostRow) -> Result<Vec<Order>, DbError> {
    let above = hosts::own_route(connection)?;
    let sql = "SELECT d.relay, d.envelope, h.via FROM delegations d LEFT JOIN hosts h ON h.id = d.relay
               ORDER BY d.relay";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (relay, via): (_, Option<HostRow>) = (HostId(row.get(0)?), row.get(2)?);
        if above.contains(&relay) || via == Some(lower) {
            found.push(Order::Delegation(ByteBuf::from(row.get::<_, Vec<u8>>(1)?)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use packhorse_wire::bytes::Fixed;
    use packhorse_wire::signed::DELEGATION_VERSION;

    use super::*;

    fn doc(revision: u64, revoked: bool) -> DelegationDoc {
        DelegationDoc {
            v: DELEGATION_VERSION,
            relay: Fixed([2; 16]),
            name: "osaka".into(),
            key: Fixed([3; 32]),
            job_types: vec!["install".into()],
            cabinets: Vec::new(),
            revision,
            expires: 99,
            revoked,
        }
    }

    #[test]
    fn a_delegation_goes_down_the_way_to_its_relay_and_to_everybody_below() {
        let connection = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&connection).unwrap();
        let sql = "INSERT INTO hosts (row, id, name, role, higher, via, generation, oldest, place, place_revision, joined)
                   VALUES (?1, ?2, ?3, 'relay', ?4, ?5, 1, 1, x'', 1, 0)";
        for (row, name, higher, via) in
            [(1, "osaka", None, 1), (2, "namba", Some(1), 1), (3, "sendai", None, 3i64)]
        {
            let id = [u8::try_from(row).unwrap() + 1; 16];
            connection.execute(sql, params![row, id, name, higher, via]).unwrap();
            feeds::ensure(&connection, row).unwrap();
        }
        let taken = take(&connection, &doc(2, false), &[1], Time(5)).unwrap();
        assert_eq!(taken, Came::Taken { lowers: vec![1], resumed: vec![] }, "the way to osaka");
        assert_eq!(take(&connection, &doc(2, false), &[1], Time(5)).unwrap(), Came::Known);
        assert_eq!(take(&connection, &doc(1, false), &[1], Time(5)).unwrap(), Came::Older);
        assert_eq!(
            (for_lower(&connection, 1).unwrap().len(), for_lower(&connection, 3).unwrap().len()),
            (1, 0)
        );
        assert_eq!(scope(&connection, "osaka").unwrap(), Some(HostId([2; 16])));
        // At osaka itself, and below it: to everybody.
        super::super::meta::set(&connection, "route", [2u8; 16].to_vec()).unwrap();
        let Came::Taken { mut lowers, .. } = take(&connection, &doc(3, true), &[1], Time(5)).unwrap() else {
            panic!("it is newer")
        };
        lowers.sort_unstable();
        assert_eq!(lowers, vec![1, 2, 3]);
        assert_eq!(for_lower(&connection, 3).unwrap().len(), 1);
    }
}
