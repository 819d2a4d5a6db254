//! Hosts below this system.

use std::collections::HashMap;

use packhorse_domain::ids::HostId;
use packhorse_domain::job::{HostRole, Place};
use packhorse_domain::place::Above;
use packhorse_domain::time::Time;
use packhorse_wire::signed::AboveDoc;
use packhorse_wire::trust::Trust;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Command, DbError};

/// A host's number in this database.
pub type HostRow = i64;

/// A host as it is stored.
#[derive(Debug, Clone)]
pub struct HostRecord {
    /// Its number here.
    pub row: HostRow,
    /// Its id.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: HostRole,
    /// The host it calls; `None`: this system.
    pub higher: Option<HostRow>,
    /// The direct lower system on the way to it.
    pub via: HostRow,
    /// Newest certificate issued.
    pub generation: u64,
    /// Oldest certificate accepted.
    pub oldest: u64,
    /// When it joined.
    pub joined: Time,
    /// Last heard before this start.
    pub last_seen: Option<Time>,
    /// Until when the memberships in its signed place count.
    pub groups_until: Time,
    /// When it joined, as its signed place says.
    pub place_joined: Time,
    /// The systems it may call, in the order in which it prefers them; empty: the one it joined.
    pub above: Vec<Above>,
    /// The newest change of whom it calls that it made by itself; 0: none.
    pub call_no: u64,
    /// Since when it calls whom it calls by that.
    pub called_since: Option<Time>,
    /// At relays: it calls a system that its place lists, and this is the route in its place.
    pub guest: Option<Vec<HostId>>,
    /// Its certificates count no more, its history is kept: since then.
    pub retired: Option<Time>,
}

/// The columns of [`HostRecord`], in its order.
pub const COLUMNS: &str = "row, id, name, role, higher, via, generation, oldest, joined, last_seen, \
                           groups_until, place_joined, above, call_no, called_since, guest_route, retired";

/// Reads [`COLUMNS`].
///
/// # Errors
/// The row is of another shape.
pub fn record(row: &Row<'_>) -> rusqlite::Result<HostRecord> {
    let role: String = row.get(3)?;
    Ok(HostRecord {
        row: row.get(0)?,
        id: HostId(row.get(1)?),
        name: row.get(2)?,
        role: HostRole::parse(&role).unwrap_or(HostRole::Client),
        higher: row.get(4)?,
        via: row.get(5)?,
        generation: row.get::<_, i64>(6)? as u64,
        oldest: row.get::<_, i64>(7)? as u64,
        joined: Time(row.get(8)?),
        last_seen: row.get::<_, Option<i64>>(9)?.map(Time),
        groups_until: Time(row.get(10)?),
        place_joined: Time(row.get(11)?),
        above: above(row.get_ref(12)?.as_str()?),
        call_no: row.get::<_, i64>(13)? as u64,
        called_since: row.get::<_, Option<i64>>(14)?.map(Time),
        guest: row.get::<_, Option<Vec<u8>>>(15)?.map(|bytes| route_of(&bytes)),
        retired: row.get::<_, Option<i64>>(16)?.map(Time),
    })
}

/// The stored list of systems a host may call. What cannot be read is as good as none: it is written anew by `host move`.
fn above(json: &str) -> Vec<Above> {
    if json == "[]" {
        return Vec::new();
    }
    let docs: Vec<AboveDoc> = serde_json::from_str(json).unwrap_or_default();
    docs.into_iter().filter_map(|doc| Above::try_from(doc).ok()).collect()
}

/// All hosts.
///
/// # Errors
/// The database's.
pub fn all(connection: &Connection) -> Result<Vec<HostRecord>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM hosts ORDER BY name"))?;
    let rows = statement.query_map([], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A host by its name.
///
/// # Errors
/// The database's.
pub fn by_name(connection: &Connection, name: &str) -> Result<Option<HostRecord>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM hosts WHERE name = ?1"))?;
    Ok(statement.query_row([name], record).optional()?)
}

/// A host by its id.
///
/// # Errors
/// The database's.
pub fn by_id(connection: &Connection, id: &HostId) -> Result<Option<HostRecord>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM hosts WHERE id = ?1"))?;
    Ok(statement.query_row([id.0], record).optional()?)
}

/// Hosts by their ids, with one statement.
///
/// # Errors
/// The database's.
pub fn rows_of(
    connection: &Connection,
    ids: &[HostId],
) -> Result<HashMap<HostId, (HostRow, HostRow)>, DbError> {
    let list = serde_json::to_string(&ids.iter().map(ToString::to_string).collect::<Vec<_>>())
        .map_err(DbError::internal)?;
    let sql = "SELECT h.id, h.row, h.via FROM json_each(?1) e JOIN hosts h ON h.id = unhex(e.value)";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([list], |row| Ok((HostId(row.get(0)?), (row.get(1)?, row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The hosts of a fleet with what follows from their `higher`: routes and order.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// Those that are in use, by name, and then those that were retired, by name: their past still names them.
    hosts: Vec<HostRecord>,
    in_use: usize,
    by_row: HashMap<HostRow, usize>,
    /// Where this system itself stands: empty at the managing server; a relay ends its own route.
    above: Vec<HostId>,
    /// At a relay: itself.
    own: Option<usize>,
}

impl Fleet {
    /// Loads all hosts, with one statement.
    ///
    /// # Errors
    /// The database's.
    pub fn load(connection: &Connection) -> Result<Fleet, DbError> {
        let mut hosts = all(connection)?;
        // They come by name; a stable sort keeps that.
        hosts.sort_by_key(|host| host.retired.is_some());
        let in_use = hosts.partition_point(|host| host.retired.is_none());
        let by_row = hosts.iter().enumerate().map(|(i, host)| (host.row, i)).collect();
        let above = own_route(connection)?;
        let own = above.last().and_then(|own| hosts.iter().position(|host| host.id == *own));
        Ok(Fleet { hosts, in_use, by_row, above, own })
    }

    /// All hosts that are in use, by name.
    pub fn hosts(&self) -> &[HostRecord] {
        &self.hosts[..self.in_use]
    }

    /// All hosts that were retired, by name.
    pub fn retired(&self) -> &[HostRecord] {
        &self.hosts[self.in_use..]
    }

    /// At a relay: its own host.
    pub fn own(&self) -> Option<&HostRecord> {
        self.own.map(|i| &self.hosts[i])
    }

    /// A host by its number, also one that was retired.
    pub fn get(&self, row: HostRow) -> Option<&HostRecord> {
        self.by_row.get(&row).map(|i| &self.hosts[*i])
    }

    /// A host in use by its name.
    pub fn named(&self, name: &str) -> Option<&HostRecord> {
        find(self.hosts(), name)
    }

    /// A host by its name, also one that was retired.
    pub fn any_named(&self, name: &str) -> Option<&HostRecord> {
        self.named(name).or_else(|| find(self.retired(), name))
    }

    /// The relays above a host, from this system down; a relay ends its own route.
    pub fn route<'a>(&'a self, host: &'a HostRecord) -> Vec<&'a HostRecord> {
        let mut route = Vec::new();
        let mut at =
            if host.role == HostRole::Relay { Some(host) } else { host.higher.and_then(|row| self.get(row)) };
        while let Some(relay) = at {
            route.push(relay);
            // A loop in what was stored cannot hang us: relays nest at most this deep.
            if route.len() > packhorse_wire::signed::ROUTE_MAX {
                break;
            }
            at = relay.higher.and_then(|row| self.get(row));
        }
        route.reverse();
        route
    }

    /// Where a host stands, from the managing server down. (`revision` is not that of the signed place, and its memberships
    /// are not loaded: see [`super::standings`].)
    pub fn place(&self, host: &HostRecord) -> Place {
        let route = host.guest.clone().unwrap_or_else(|| {
            let below = self.route(host).into_iter().map(|relay| relay.id);
            let below = below.filter(|relay| !self.above.contains(relay));
            self.above.iter().copied().chain(below).collect()
        });
        Place {
            route,
            called: host.call_no,
            groups_until: host.groups_until,
            joined: host.place_joined,
            above: host.above.clone(),
            ..Place::new(host.id, &host.name, host.role)
        }
    }

    /// Sorts hosts so that those below one system are together: the order of the leaves of a signed list.
    pub fn in_route_order(&self, mut rows: Vec<HostRow>) -> Vec<HostRow> {
        let key = |row: &HostRow| {
            self.get(*row).map(|host| {
                let mut path: Vec<&str> = self.route(host).iter().map(|relay| relay.name.as_str()).collect();
                if host.role != HostRole::Relay {
                    path.push(host.name.as_str());
                }
                path.into_iter().map(str::to_owned).collect::<Vec<_>>()
            })
        };
        rows.sort_by_cached_key(key);
        rows.dedup();
        rows
    }
}

fn find<'a>(hosts: &'a [HostRecord], name: &str) -> Option<&'a HostRecord> {
    // They are in the order of names, by bytes, as SQLite's BINARY collation sorts them.
    hosts.binary_search_by(|host| host.name.as_str().cmp(name)).ok().map(|i| &hosts[i])
}

/// Where this system itself stands: empty at the managing server; a relay ends its own route.
///
/// # Errors
/// The database's.
pub fn own_route(connection: &Connection) -> Result<Vec<HostId>, DbError> {
    Ok(super::meta::bytes(connection, "route")?.map_or_else(Vec::new, |bytes| route_of(&bytes)))
}

/// A route as it is stored.
fn route_of(bytes: &[u8]) -> Vec<HostId> {
    bytes.chunks_exact(16).filter_map(|id| id.try_into().ok()).map(HostId).collect()
}

/// A route as it is stored.
pub(super) fn route_bytes(route: &[HostId]) -> Vec<u8> {
    route.iter().flat_map(|id| id.0).collect()
}

/// Writes where this relay itself stands.
///
/// # Errors
/// The database's.
pub fn set_own_route(tx: &Connection, place: &Place) -> Result<(), DbError> {
    super::meta::set(tx, "route", route_bytes(&place.route))
}

/// A relay learns of hosts below it, from its higher system's feed or from a join that passed through.
pub struct Learned {
    /// The host's signed place (envelope), as verified by `place`.
    pub envelope: Vec<u8>,
    /// The verified place.
    pub place: Place,
    /// Oldest certificate accepted.
    pub oldest: u64,
}

/// Writes a learned host, with this relay's own id to find its part of the route; answers its row, or `None` if it is not
/// below this relay (and is therefore forgotten). One that calls by itself a system that its place lists, of which the
/// managing server did not know when it signed the place, stays where it calls.
///
/// # Errors
/// The database's.
pub fn learn(
    tx: &Connection,
    own: &HostId,
    learned: &Learned,
    now: Time,
) -> Result<Option<HostRow>, DbError> {
    let place = &learned.place;
    if super::retired::is_over(tx, place)? {
        return Ok(None);
    }
    if let Some(row) = super::calling::stays(tx, own, learned)? {
        return Ok(Some(row));
    }
    let Some(at) = place.route.iter().position(|relay| relay == own) else {
        super::moving::went(tx, learned, now)?;
        return Ok(None);
    };
    super::moving::came(tx, &place.host)?;
    if place.host == *own {
        set_own_route(tx, place)?;
    }
    // The part of the route below this relay; a relay ends its own route and does not call itself.
    let below: Vec<HostId> =
        place.route[at + 1..].iter().copied().filter(|relay| *relay != place.host).collect();
    let rows = rows_of(tx, &below)?;
    let higher = below.last().and_then(|relay| rows.get(relay)).map(|(row, _)| *row);
    let first = below.first().and_then(|relay| rows.get(relay)).map(|(row, _)| *row);
    if first.is_none() && !below.is_empty() {
        // Lists come relays first, so this is a host whose relay was forgotten meanwhile: it will come again.
        tracing::warn!(host = %place.name, "the relay above this host is not known here yet");
        return Ok(None);
    }
    seat(tx, own, learned, Seat { higher, via: first, guest: None }, now).map(Some)
}

/// Where a learned host stands below this relay.
pub(super) struct Seat<'a> {
    /// The relay it calls; `None`: this one.
    pub higher: Option<HostRow>,
    /// The direct lower system on the way to it; `None`: itself.
    pub via: Option<HostRow>,
    /// It calls by itself: the route in its place.
    pub guest: Option<&'a [HostId]>,
}

/// Writes a host where it stands.
///
/// # Errors
/// The database's.
pub(super) fn seat(
    tx: &Connection,
    own: &HostId,
    learned: &Learned,
    seat: Seat<'_>,
    now: Time,
) -> Result<HostRow, DbError> {
    let place = &learned.place;
    let sql = "INSERT INTO hosts (id, name, role, higher, via, generation, oldest, place, place_revision, joined, guest_route)
               VALUES (?1, ?2, ?3, ?4, COALESCE(?5, 0), ?6, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, higher = excluded.higher,
                 via = excluded.via, oldest = MAX(oldest, excluded.oldest), place = excluded.place,
                 place_revision = excluded.place_revision, guest_route = excluded.guest_route,
                 retired = NULL
               RETURNING row";
    // A name that passed to another id: the old holder is gone.
    if let Some(old) = by_name(tx, &place.name)?.filter(|old| old.id != place.host) {
        forget(tx, &old.id)?;
    }
    let before = by_id(tx, &place.host)?;
    super::moving::from(tx, before.as_ref(), seat.via)?;
    let row: HostRow = tx.prepare_cached(sql)?.query_row(
        params![
            place.host.0,
            place.name,
            place.role.as_str(),
            seat.higher,
            seat.via,
            learned.oldest as i64,
            learned.envelope,
            place.revision as i64,
            now.0,
            seat.guest.map(route_bytes)
        ],
        |row| row.get(0),
    )?;
    if place.host == *own {
        super::meta::set(tx, "own_row", row)?;
    }
    let belongs = |until: Time, joined: Time| until != Time(0) || joined != Time(0);
    let belonged = before.as_ref().is_some_and(|host| belongs(host.groups_until, host.place_joined));
    if belonged || belongs(place.groups_until, place.joined) {
        super::standings::store_memberships(tx, &[(row, place)])?;
    }
    if seat.via.is_none() {
        tx.prepare_cached("UPDATE hosts SET via = row WHERE row = ?1")?.execute([row])?;
        super::feeds::ensure(tx, row)?;
    } else {
        super::feeds::end(tx, row)?;
    }
    if before.as_ref().is_some_and(|before| before.oldest < learned.oldest) {
        begins_anew(tx, row)?;
    }
    if before.is_some_and(|before| before.retired.is_some()) {
        super::retired::came_back(tx, row)?;
    }
    Ok(row)
}

/// Another machine took the name over: what the one before it kept is not there.
///
/// # Errors
/// The database's.
pub fn begins_anew(tx: &Connection, host: HostRow) -> Result<(), DbError> {
    keeps_nothing(tx, &[host])
}

/// What hosts keep is forgotten.
///
/// # Errors
/// The database's.
pub fn keeps_nothing(tx: &Connection, hosts: &[HostRow]) -> Result<(), DbError> {
    delete_of(tx, hosts, &[("relay_copies", "relay"), ("traffic", "relay")])
}

/// Deletes from tables what is stored under these hosts' numbers, which stand in these columns.
fn delete_of(tx: &Connection, hosts: &[HostRow], tables: &[(&str, &str)]) -> Result<(), DbError> {
    let list = serde_json::to_string(hosts).map_err(DbError::internal)?;
    for (table, column) in tables {
        let sql = format!("DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?1))");
        tx.prepare_cached(&sql)?.execute([&list])?;
    }
    Ok(())
}

/// Ends the feeds of hosts that do not call this system (any more).
///
/// # Errors
/// The database's.
pub fn end_feeds(tx: &Connection, hosts: &[HostRow]) -> Result<(), DbError> {
    delete_of(tx, hosts, &[("feed_entries", "lower"), ("feeds", "lower")])
}

/// Forgets a host, with all that is stored under its number.
///
/// # Errors
/// The database's.
pub fn forget(tx: &Connection, id: &HostId) -> Result<(), DbError> {
    match by_id(tx, id)? {
        Some(host) => forget_all(tx, &[host.row]),
        None => Ok(()),
    }
}

/// Forgets hosts, with all that is stored under their numbers.
///
/// # Errors
/// The database's.
pub fn forget_all(tx: &Connection, hosts: &[HostRow]) -> Result<(), DbError> {
    end_feeds(tx, hosts)?;
    keeps_nothing(tx, hosts)?;
    let under_host = ["lines", "attempts", "rates", "facts", "memberships", "group_hosts", "host_events"];
    let tables = under_host.map(|table| (table, "host"));
    delete_of(tx, hosts, &[("stored", "lower")])?;
    delete_of(tx, hosts, &tables)?;
    delete_of(tx, hosts, &[("hosts", "row")])
}

/// Verifies a place that came from above.
///
/// # Errors
/// It is not trusted.
pub fn verified(
    trust: &Trust,
    envelope: Vec<u8>,
    oldest: u64,
) -> Result<Learned, packhorse_wire::trust::Distrust> {
    let place = trust.place(&envelope)?;
    Ok(Learned { envelope, place, oldest })
}

/// Writes when hosts were last heard.
pub struct Seen(pub Vec<(HostId, Time)>);

impl Command for Seen {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        let list: Vec<(String, i64)> = self.0.iter().map(|(id, at)| (id.to_string(), at.0)).collect();
        let list = serde_json::to_string(&list).map_err(DbError::internal)?;
        let sql = "UPDATE hosts SET last_seen = MAX(COALESCE(last_seen, 0), e.value ->> '$[1]')
                   FROM json_each(?1) e
                   WHERE hosts.id = unhex(e.value ->> '$[0]')";
        tx.prepare_cached(sql)?.execute([list])?;
        Ok(())
    }
}
