//! What is set at relays below: one signed document each, in revisions. The managing server makes them; every relay on the way
//! keeps those of the relays below it, for feeds that are made anew, and its own. What is set at a relay also goes on to
//! everything below it: where a relay is suspended, transfers stop at any depth.

use std::collections::HashMap;
use std::sync::Arc;

use packhorse_domain::ids::HostId;
use packhorse_domain::report::Body;
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::{Envelope, from_cbor_limited};
use packhorse_wire::messages::Order;
use packhorse_wire::signed::ControlDoc;
use packhorse_wire::trust::Limits;
use rusqlite::{Connection, OptionalExtension, params};
use serde_bytes::ByteBuf;

use super::hosts::HostRow;
use super::{DbError, feeds, hosts, meta, outbox};
use crate::authority::Authority;

/// What a document is kept under among a relay's single values: its own.
const OWN: &str = "control";

/// What is set at a relay, as its newest document says; nothing, if there is none.
///
/// # Errors
/// The database's, or what is stored is damaged.
pub fn of(
    connection: &Connection,
    relay: &HostId,
    read: impl Fn(&[u8]) -> Option<ControlDoc>,
) -> Result<ControlDoc, DbError> {
    match envelope(connection, relay)? {
        Some(bytes) => read(&bytes).ok_or_else(|| DbError::damaged(format!("what is set at {relay}"))),
        None => Ok(ControlDoc::new(Fixed(relay.0))),
    }
}

fn envelope(connection: &Connection, relay: &HostId) -> Result<Option<Vec<u8>>, DbError> {
    let mut statement = connection.prepare_cached("SELECT envelope FROM controls WHERE relay = ?1")?;
    Ok(statement.query_row([relay.0], |row| row.get(0)).optional()?)
}

/// Sets something at a relay: its next revision is signed, stored and put into the feed that leads to it. Answers the
/// revision, and the lower system with something new.
///
/// # Errors
/// The document is none any more, or the database's.
pub fn set(
    tx: &Connection,
    authority: &Arc<Authority>,
    relay: &hosts::HostRecord,
    mut doc: ControlDoc,
    now: Time,
) -> Result<(u64, HostRow), DbError> {
    doc.revision = meta::next_revision(doc.revision, now);
    doc.name.clone_from(&relay.name);
    doc.validate().map_err(|error| DbError::refused("limit", error.to_string(), None))?;
    let signed = authority.sign_control(&doc).map_err(DbError::internal)?;
    store(tx, &doc, &signed, now)?;
    feeds::append(tx, &[(relay.via, Order::Control(ByteBuf::from(signed)))])?;
    Ok((doc.revision, relay.via))
}

fn store(tx: &Connection, doc: &ControlDoc, envelope: &[u8], now: Time) -> Result<bool, DbError> {
    let sql = "INSERT INTO controls (relay, revision, envelope, suspended_since) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (relay) DO UPDATE SET revision = excluded.revision, envelope = excluded.envelope,
                 suspended_since = CASE WHEN excluded.suspended_since IS NOT NULL
                   THEN COALESCE(controls.suspended_since, excluded.suspended_since) END
               WHERE excluded.revision > controls.revision";
    let since = doc.suspended.then_some(now.0);
    Ok(tx.prepare_cached(sql)?.execute(params![doc.relay.0, doc.revision as i64, envelope, since])? > 0)
}

/// A document of this system's own database: verified when it was stored.
pub fn read(envelope: &[u8]) -> Option<ControlDoc> {
    let envelope = Envelope::decode(envelope, Limits::CONTROL_BYTES).ok()?;
    from_cbor_limited(&envelope.payload, Limits::CONTROL_BYTES).ok()
}

/// What is set at a relay.
#[derive(Debug, Clone)]
pub struct SetAt {
    /// The newest document.
    pub doc: ControlDoc,
    /// Suspended, since then.
    pub suspended_since: Option<Time>,
    /// The newest revision that the relay says it has taken in; 0: none yet.
    pub applied: u64,
}

/// What is set at all relays, with one statement.
///
/// # Errors
/// The database's.
pub fn all(connection: &Connection) -> Result<HashMap<HostRow, SetAt>, DbError> {
    let sql = "SELECT h.row, c.envelope, c.suspended_since, COALESCE(a.revision, 0)
               FROM controls c JOIN hosts h ON h.id = c.relay
               LEFT JOIN applied a ON a.origin = c.relay AND a.what = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([OWN])?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        let Some(doc) = read(&row.get::<_, Vec<u8>>(1)?) else { continue };
        let suspended_since = row.get::<_, Option<i64>>(2)?.map(Time);
        found.insert(row.get(0)?, SetAt { doc, suspended_since, applied: row.get::<_, i64>(3)? as u64 });
    }
    Ok(found)
}

/// What hosts say they have taken in; other words are not written down.
const WHAT: [&str; 2] = [OWN, "delegation"];

/// What became of a document that came from above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It is this relay's own, and newer than what was known; these relays below have it in their feeds.
    Own(Vec<HostRow>),
    /// It is of a relay above this one, likewise.
    Above(Vec<HostRow>),
    /// It was put into the feed of this lower system.
    PassedOn(HostRow),
    /// It is known already, or of a relay that is not below.
    Nothing,
}

/// Takes in a verified document at a relay. A relay that takes in its own says so upwards.
///
/// # Errors
/// The database's.
pub fn take(
    tx: &Connection,
    own: &HostId,
    doc: &ControlDoc,
    envelope: &[u8],
    now: Time,
) -> Result<Came, DbError> {
    let relay = HostId(doc.relay.0);
    if relay == *own {
        let fresh = store(tx, doc, envelope, now)?;
        if fresh {
            meta::set(tx, OWN, envelope)?;
        }
        // Also for one that is known: a managing server that was restored asks again. What stands here is said, not what came.
        let stands: i64 = tx
            .prepare_cached("SELECT revision FROM controls WHERE relay = ?1")?
            .query_row([relay.0], |row| row.get(0))?;
        let applied = Body::Applied { what: OWN.to_owned(), revision: stands as u64 };
        outbox::say(tx, own, applied, now)?;
        return Ok(if fresh { Came::Own(pass_below(tx, own, envelope)?) } else { Came::Nothing });
    }
    if hosts::own_route(tx)?.contains(&relay) {
        let fresh = store(tx, doc, envelope, now)?;
        return Ok(if fresh { Came::Above(pass_below(tx, own, envelope)?) } else { Came::Nothing });
    }
    let Some(host) = hosts::by_id(tx, &relay)? else { return Ok(Came::Nothing) };
    if !store(tx, doc, envelope, now)? {
        return Ok(Came::Nothing);
    }
    feeds::append(tx, &[(host.via, Order::Control(ByteBuf::from(envelope.to_vec())))])?;
    Ok(Came::PassedOn(host.via))
}

/// Puts a document into the feeds of the relays that call this one.
fn pass_below(tx: &Connection, own: &HostId, envelope: &[u8]) -> Result<Vec<HostRow>, DbError> {
    let sql = "SELECT row FROM hosts WHERE role = 'relay' AND via = row AND id <> ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let lowers = statement.query_map([own.0], |row| row.get(0))?.collect::<Result<Vec<HostRow>, _>>()?;
    let order = Order::Control(ByteBuf::from(envelope.to_vec()));
    feeds::append(tx, &lowers.iter().map(|lower| (*lower, order.clone())).collect::<Vec<_>>())?;
    Ok(lowers)
}

/// The uppermost relay above this one that is suspended, by its name, and since when: then this one is, too.
///
/// # Errors
/// The database's.
pub fn suspended_above(connection: &Connection, own: &HostId) -> Result<Option<(String, Time)>, DbError> {
    let sql =
        "SELECT envelope, suspended_since FROM controls WHERE relay = ?1 AND suspended_since IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    for relay in hosts::own_route(connection)?.into_iter().filter(|relay| relay != own) {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, Time(row.get(1)?)));
        if let Some((envelope, since)) = statement.query_row([relay.0], row).optional()? {
            return Ok(Some((read(&envelope).map_or_else(|| relay.to_string(), |doc| doc.name), since)));
        }
    }
    Ok(None)
}

/// This relay's own document, as it was last taken in.
///
/// # Errors
/// The database's.
pub fn own(connection: &Connection) -> Result<Option<Vec<u8>>, DbError> {
    meta::bytes(connection, OWN)
}

/// The documents of relays that are reached by `lower`, and, for a relay, of those it is below: for a feed that is made anew.
///
/// # Errors
/// The database's.
pub fn by_way_of(connection: &Connection, lower: HostRow) -> Result<Vec<Order>, DbError> {
    let above: Vec<String> = hosts::own_route(connection)?.iter().map(ToString::to_string).collect();
    let above = serde_json::to_string(&above).map_err(DbError::internal)?;
    let sql = "SELECT c.envelope FROM controls c LEFT JOIN hosts h ON h.id = c.relay
               WHERE h.via = ?1 OR (c.relay IN (SELECT unhex(value) FROM json_each(?2))
                 AND EXISTS (SELECT 1 FROM hosts l WHERE l.row = ?1 AND l.role = 'relay'))
               ORDER BY c.relay";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![lower, above], |row| {
        Ok(Order::Control(ByteBuf::from(row.get::<_, Vec<u8>>(0)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How far hosts have taken in what was ordered of them (`control`, `delegation`).
///
/// # Errors
/// The database's.
pub fn applied(tx: &Connection, reports: &[(HostId, String, u64)]) -> Result<(), DbError> {
    for (origin, what, revision) in reports.iter().filter(|(_, what, _)| WHAT.contains(&what.as_str())) {
        let sql = "INSERT INTO applied (origin, what, revision) VALUES (?1, ?2, ?3)
                   ON CONFLICT (origin, what) DO UPDATE SET revision = MAX(revision, excluded.revision)";
        tx.prepare_cached(sql)?.execute(params![origin.0, what, *revision as i64])?;
    }
    Ok(())
}

/// The revision of `what` that a host said it has taken in; 0: none yet.
///
/// # Errors
/// The database's.
pub fn applied_by(connection: &Connection, origin: &HostId, what: &str) -> Result<u64, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT revision FROM applied WHERE origin = ?1 AND what = ?2")?;
    let found = statement.query_row(params![origin.0, what], |row| row.get::<_, i64>(0)).optional()?;
    Ok(found.unwrap_or(0) as u64)
}
