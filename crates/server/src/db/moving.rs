//! Hosts are moved from one higher system to another. At the managing server a move is the host's next signed place; the
//! systems on the old way forget the host, but keep the place for when it asks them once more.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::instruction::State;
use packhorse_domain::job::{HostRole, VALID_DAYS};
use packhorse_domain::place::{ABOVE_MAX, Above};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{BelowHost, Order};
use packhorse_wire::signed::{AboveDoc, ROUTE_MAX};
use rusqlite::{Connection, OptionalExtension, params};
use serde_bytes::ByteBuf;

use super::hosts::{self, Fleet, HostRecord, HostRow, Learned};
use super::jobs::{self, JobRow};
use super::{Command, DbError, delegations, feeds, lines, meta, outbox, places, retire};
use crate::authority::Authority;
use crate::capability::Capabilities;

/// The word for the managing server among the systems a host may call.
pub const SERVER: &str = "server";

/// A host is to call another system from now on.
pub struct MoveHost {
    /// The keys.
    pub authority: Arc<Authority>,
    /// For locators.
    pub capabilities: Capabilities,
    /// The host's name.
    pub host: String,
    /// The systems it may call, by name; the first it calls now.
    pub above: Vec<String>,
    /// This system, as hosts may call it.
    pub own: Above,
    /// Now.
    pub now: Time,
}

/// What [`MoveHost`] answers.
pub struct Moved {
    /// The host.
    pub host: String,
    /// The systems it may call, by name.
    pub above: Vec<String>,
    /// Whether it calls another system than before.
    pub changed: bool,
    /// Lower systems with something new in their feeds, or that are to hear where the host went.
    pub lowers: Vec<HostRow>,
}

impl Command for MoveHost {
    type Answer = Moved;

    fn apply(self, tx: &Connection) -> Result<Moved, DbError> {
        let fleet = Fleet::load(tx)?;
        let host = fleet.any_named(&self.host).ok_or_else(|| unknown_host(&self.host))?;
        self.may_move(host)?;
        let (above, first) = self.resolve(tx, &fleet)?;
        let higher = first.map(|relay| relay.row);
        let changed = higher != host.higher;
        if !changed && above == host.above {
            return Ok(Moved { host: host.name.clone(), above: names(&above), changed, lowers: Vec::new() });
        }
        let way = Way { authority: &self.authority, capabilities: &self.capabilities, now: self.now };
        // Where it went by itself before says nothing any more.
        tx.prepare_cached("UPDATE hosts SET called_since = NULL WHERE row = ?1")?.execute([host.row])?;
        let lowers = way.change(tx, host, &above, first)?;
        Ok(Moved { host: host.name.clone(), above: names(&above), changed, lowers })
    }
}

/// With what a host's way is changed, at the managing server.
pub struct Way<'a> {
    /// The keys.
    pub authority: &'a Arc<Authority>,
    /// For locators.
    pub capabilities: &'a Capabilities,
    /// Now.
    pub now: Time,
}

impl Way<'_> {
    /// Writes the list and whom the host calls from now on (`None`: this system), signs its place anew, lets the old way
    /// forget it and hands over what it still has to do. Answers the lower systems with something new.
    ///
    /// # Errors
    /// The database's or the encoder's.
    pub fn change(
        &self,
        tx: &Connection,
        host: &HostRecord,
        above: &[Above],
        higher: Option<&HostRecord>,
    ) -> Result<Vec<HostRow>, DbError> {
        let changed = higher.map(|relay| relay.row) != host.higher;
        store(tx, host, above, higher)?;
        let mut lowers = places::sign_anew(tx, self.authority, self.capabilities, &[host.row], self.now)?;
        if changed {
            let via = higher.map_or(host.row, |relay| relay.via);
            lowers.extend(tell_old_way(tx, host, via)?);
            lowers.extend(hand_over(tx, host.row, via, self.capabilities, self.now)?);
        } else {
            // It may have called a relay by itself that is not among those it may call any more.
            delegations::left(tx, host.row, self.now)?;
        }
        Ok(lowers)
    }
}

/// The systems a host may call, as people write them.
pub fn names(above: &[Above]) -> Vec<String> {
    above.iter().map(|above| if above.relay { above.name.clone() } else { SERVER.to_owned() }).collect()
}

/// Refuses a host that is not there.
pub fn unknown_host(name: &str) -> DbError {
    let shown: String = name.chars().take(80).collect();
    let hint = "packhorse host list shows the names";
    DbError::refused("unknown_host", format!("there is no host {shown}"), Some(hint))
}

impl MoveHost {
    fn may_move(&self, host: &HostRecord) -> Result<(), DbError> {
        retire::in_use(host)?;
        if host.role == HostRole::Client {
            return Ok(());
        }
        let message = format!("{} is a relay system: what is below it stands where it stands", host.name);
        let hint = "move the hosts below it one by one, and let a new relay join where it is to stand";
        Err(DbError::refused("is_a_relay", message, Some(hint)))
    }

    /// The systems by their names; the first as a relay, `None` for the managing server.
    fn resolve<'a>(
        &self,
        tx: &Connection,
        fleet: &'a Fleet,
    ) -> Result<(Vec<Above>, Option<&'a HostRecord>), DbError> {
        if self.above.is_empty() || self.above.len() > ABOVE_MAX {
            let message = format!("a host calls 1 to {ABOVE_MAX} systems, not {}", self.above.len());
            return Err(DbError::refused("limit", message, Some("--to RELAY [--then RELAY…]")));
        }
        let mut found: Vec<Above> = Vec::new();
        for name in &self.above {
            let above = self.one(tx, fleet, name)?;
            if found.iter().any(|other| other.id == above.id) {
                let message = format!("{name} is named twice");
                return Err(DbError::refused("bad_request", message, Some("name each system once")));
            }
            found.push(above);
        }
        let first = found.first().filter(|above| above.relay).and_then(|above| fleet.named(&above.name));
        Ok((found, first))
    }

    fn one(&self, tx: &Connection, fleet: &Fleet, name: &str) -> Result<Above, DbError> {
        if name == SERVER {
            return Ok(self.own.clone());
        }
        let relay = fleet.named(name).filter(|host| host.role == HostRole::Relay).ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            let hint = "packhorse relay list shows the relay systems; the managing server is called server";
            DbError::refused("unknown_relay", format!("there is no relay system {shown}"), Some(hint))
        })?;
        if fleet.route(relay).len() > ROUTE_MAX {
            return Err(DbError::refused("too_deep", format!("relays nest at most {ROUTE_MAX} deep"), None));
        }
        let urls = urls(tx, relay.row)?;
        if urls.is_empty() {
            let message = format!("where {name} is to be called is not known yet");
            let hint = format!("start {name}: it says so by itself");
            return Err(DbError::refused("no_address", message, Some(&hint)));
        }
        Ok(Above { id: relay.id, relay: true, name: relay.name.clone(), urls })
    }
}

fn urls(tx: &Connection, relay: HostRow) -> Result<Vec<String>, DbError> {
    let json: String =
        tx.prepare_cached("SELECT urls FROM hosts WHERE row = ?1")?.query_row([relay], |row| row.get(0))?;
    serde_json::from_str(&json).map_err(DbError::damaged)
}

fn store(
    tx: &Connection,
    host: &HostRecord,
    above: &[Above],
    first: Option<&HostRecord>,
) -> Result<(), DbError> {
    let docs: Vec<AboveDoc> = above.iter().map(AboveDoc::from).collect();
    let docs = serde_json::to_string(&docs).map_err(DbError::internal)?;
    let via = first.map_or(host.row, |relay| relay.via);
    let sql = "UPDATE hosts SET above = ?2, higher = ?3, via = ?4,
                 moved_from = CASE WHEN higher IS ?3 THEN moved_from ELSE via END WHERE row = ?1";
    let higher = first.map(|relay| relay.row);
    tx.prepare_cached(sql)?.execute(params![host.row, docs, higher, via])?;
    if via == host.row { feeds::ensure(tx, host.row) } else { feeds::end(tx, host.row) }
}

/// The systems on the old way forget the host. One that called this system directly hears where it went when it asks.
fn tell_old_way(tx: &Connection, host: &HostRecord, via: HostRow) -> Result<Vec<HostRow>, DbError> {
    if host.via == host.row || host.via == via {
        return Ok(vec![host.via]);
    }
    tell_place(tx, host, host.via)?;
    Ok(vec![host.via])
}

/// Tells a direct lower relay the host's newest place.
///
/// # Errors
/// The database's or the encoder's.
pub fn tell_place(tx: &Connection, host: &HostRecord, lower: HostRow) -> Result<(), DbError> {
    let place: Vec<u8> = tx
        .prepare_cached("SELECT place FROM hosts WHERE row = ?1")?
        .query_row([host.row], |row| row.get(0))?;
    let below = BelowHost { host: Fixed(host.id.0), place: ByteBuf::from(place), generation: host.oldest };
    feeds::append(tx, &[(lower, Order::Below(vec![below]))])
}

/// What the host still has to do goes by the new way; the number of statements depends on its jobs. The same at the managing
/// server and at a relay below which a host moves.
///
/// # Errors
/// The database's or the encoder's.
pub fn hand_over(
    tx: &Connection,
    host: HostRow,
    via: HostRow,
    capabilities: &Capabilities,
    now: Time,
) -> Result<Vec<HostRow>, DbError> {
    // The same transition as the table's `Moved`: what the relay before kept says nothing of the new one.
    let change = meta::next(tx, "change")?;
    let sql = "UPDATE lines SET state = ?2, since = ?3, change = ?4 WHERE host = ?1 AND state = ?5";
    let (waiting, at_relay) = (State::Waiting.as_str(), State::AtRelay.as_str());
    tx.prepare_cached(sql)?.execute(params![host, waiting, now.0, change, at_relay])?;
    let remembered = Time(0).plus_days(VALID_DAYS).0;
    let sql = "SELECT DISTINCT l.job FROM lines l JOIN jobs j ON j.row = l.job
               WHERE l.host = ?1 AND j.until + ?3 > ?2 ORDER BY 1";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params![host, now.0, remembered], |row| row.get(0))?;
    let mut lowers = Vec::new();
    for job in rows.collect::<Result<Vec<JobRow>, _>>()? {
        lines::at_relay(tx, job, now)?;
        lowers.extend(jobs::dispatch(tx, job, Some(&[via]), capabilities)?);
    }
    delegations::left(tx, host, now)?;
    Ok(lowers)
}

/// At a relay: a host that was below it is so no more. What it had to say and has not gone up it says again elsewhere.
///
/// # Errors
/// The database's.
pub fn went(tx: &Connection, learned: &Learned, now: Time) -> Result<(), DbError> {
    let id = &learned.place.host;
    if hosts::by_id(tx, id)?.is_some() {
        outbox::drop_of(tx, id)?;
        let sql = "INSERT INTO moved (id, place, oldest, at) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (id) DO UPDATE SET place = excluded.place, oldest = excluded.oldest, at = excluded.at";
        tx.prepare_cached(sql)?.execute(params![id.0, learned.envelope, learned.oldest as i64, now.0])?;
    }
    hosts::forget(tx, id)
}

/// How long it is remembered where a host went, in days: whoever was off for longer asks at the managing server.
const MOVED_DAYS: i64 = 400;
/// Most hosts of which that is remembered; those that went first are forgotten first.
const MOVED_MAX: i64 = 100_000;

/// At a relay: forgets where hosts went long ago.
///
/// # Errors
/// The database's.
pub fn prune(tx: &Connection, now: Time) -> Result<u64, DbError> {
    let sql =
        "DELETE FROM moved WHERE at < ?1 OR id IN (SELECT id FROM moved ORDER BY at DESC LIMIT -1 OFFSET ?2)";
    let before = now.plus_days(-MOVED_DAYS).0;
    Ok(tx.prepare_cached(sql)?.execute(params![before, MOVED_MAX])? as u64)
}

/// At a relay: a host is (again) below it.
///
/// # Errors
/// The database's.
pub fn came(tx: &Connection, id: &HostId) -> Result<(), DbError> {
    tx.prepare_cached("DELETE FROM moved WHERE id = ?1")?.execute([id.0])?;
    Ok(())
}

/// At a relay: notes by which way a host was reached that is reached by another from now on (`None`: it calls this relay).
///
/// # Errors
/// The database's.
pub fn from(tx: &Connection, before: Option<&HostRecord>, via: Option<HostRow>) -> Result<(), DbError> {
    if let Some(host) = before.filter(|host| host.via != via.unwrap_or(host.row)) {
        tx.prepare_cached("UPDATE hosts SET moved_from = via WHERE row = ?1")?.execute([host.row])?;
    }
    Ok(())
}

/// At a relay: the direct lower system by way of which a host was reached before.
///
/// # Errors
/// The database's.
pub fn before(tx: &Connection, host: HostRow) -> Result<Option<HostRow>, DbError> {
    let sql = "SELECT moved_from FROM hosts WHERE row = ?1 AND moved_from <> via";
    Ok(tx.prepare_cached(sql)?.query_row([host], |row| row.get(0)).optional()?)
}

/// Hosts of these that were reached by way of `lower` before they were moved, or that may call a relay there: what it still
/// says of them is late, not a lie.
///
/// # Errors
/// The database's.
pub fn were_below(tx: &Connection, lower: HostRow, ids: &[HostId]) -> Result<HashSet<HostId>, DbError> {
    let list = serde_json::to_string(&ids.iter().map(ToString::to_string).collect::<Vec<_>>())
        .map_err(DbError::internal)?;
    let sql =
        "SELECT h.id FROM json_each(?2) e JOIN hosts h ON h.id = unhex(e.value)
               WHERE h.moved_from = ?1 OR EXISTS (
                 SELECT 1 FROM json_each(h.above) a JOIN hosts r ON r.id = unhex(a.value ->> '$.id') AND r.via = ?1)";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params![lower, list], |row| Ok(HostId(row.get(0)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The signed place of a host that does not call this system (any more), if it is known here.
///
/// # Errors
/// The database's.
pub fn elsewhere(
    connection: &Connection,
    id: &HostId,
    generation: u64,
) -> Result<Option<(Incarnation, Vec<u8>)>, DbError> {
    let sql = "SELECT place, oldest FROM hosts WHERE id = ?1 AND retired IS NULL UNION ALL SELECT place, oldest FROM moved WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let found: Option<(Vec<u8>, i64)> =
        statement.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((place, _)) = found.filter(|(_, oldest)| *oldest as u64 <= generation) else { return Ok(None) };
    // Whoever has read this place once is held the next time.
    let mut life = [0; 8];
    life.copy_from_slice(&blake3::hash(&place).as_bytes()[..8]);
    Ok(Some((Incarnation(u64::from_be_bytes(life)), place)))
}

/// Writes down the addresses relays say they are called by, with one statement.
///
/// # Errors
/// The database's.
pub fn called(tx: &Connection, relays: &BTreeMap<HostId, Vec<String>>) -> Result<(), DbError> {
    if relays.is_empty() {
        return Ok(());
    }
    let list: Vec<(String, String)> = relays
        .iter()
        .map(|(id, urls)| Ok((id.to_string(), serde_json::to_string(urls).map_err(DbError::internal)?)))
        .collect::<Result<_, DbError>>()?;
    let list = serde_json::to_string(&list).map_err(DbError::internal)?;
    let sql = "UPDATE hosts SET urls = e.value ->> '$[1]' FROM json_each(?1) e
               WHERE hosts.id = unhex(e.value ->> '$[0]') AND hosts.role = 'relay'";
    tx.prepare_cached(sql)?.execute([list])?;
    Ok(())
}
