//! Hosts' places as the managing server signs them: route, memberships, when they joined. A change is a new revision, which
//! goes down the feeds to the host and to the relays on the way; memberships end by themselves and are signed anew before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use packhorse_domain::place::{GROUPS_MAX, HostRole, Place};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{BelowHost, Order};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde_bytes::ByteBuf;

use super::hosts::{Fleet, HostRecord, HostRow};
use super::join::read_own_job;
use super::late::{self, Why};
use super::{Command, DbError, feeds, groups, meta, standings};
use crate::authority::Authority;
use crate::capability::Capabilities;

/// How long memberships count.
pub const VALID_DAYS: i64 = 30;
/// They are signed anew when less than this is left.
const RENEW_DAYS: i64 = 15;
/// Most hosts whose memberships are signed anew in one transaction.
const RENEW_MAX: usize = 1000;
/// Rows of one multi-row update.
const ROWS_MAX: usize = 250;
/// Most hosts in one order.
const HOSTS_MAX: usize = 1000;

/// Completes a place that is about to be signed: what a known host belongs to, and when it joined, if a job was closed before.
///
/// # Errors
/// The database's, or it belongs to too much.
pub fn complete(
    tx: &Connection,
    place: Place,
    known: Option<&HostRecord>,
    now: Time,
) -> Result<Place, DbError> {
    match known {
        Some(host) => {
            let groups = groups::belonging(tx, &[host.row])?.remove(&host.row).unwrap_or_default();
            belongs(Place { groups, joined: host.place_joined, called: host.call_no, ..place }, now)
        }
        None => {
            let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE closed IS NOT NULL AND until > ?1)";
            let closed: bool = tx.prepare_cached(sql)?.query_row([now.0], |row| row.get(0))?;
            Ok(Place { joined: if closed { now } else { Time(0) }, ..place })
        }
    }
}

fn belongs(place: Place, now: Time) -> Result<Place, DbError> {
    if place.groups.len() > GROUPS_MAX {
        let message = format!(
            "{} would be in {} groups, at most {GROUPS_MAX} are possible",
            place.name,
            place.groups.len()
        );
        return Err(DbError::refused("limit", message, None));
    }
    let groups_until = if place.groups.is_empty() { Time(0) } else { now.plus_days(VALID_DAYS) };
    Ok(Place { groups_until, ..place })
}

/// Signs the places of hosts anew, after what they belong to has changed, puts them into the feeds, and takes the hosts into
/// the open jobs that name them now. Answers the lower systems with something new.
///
/// # Errors
/// The database's, the encoder's, or a host belongs to too much.
pub fn sign_anew(
    tx: &Connection,
    authority: &Arc<Authority>,
    capabilities: &Capabilities,
    hosts: &[HostRow],
    now: Time,
) -> Result<Vec<HostRow>, DbError> {
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let fleet = Fleet::load(tx)?;
    let signed = signed(tx, authority, &fleet, hosts, now)?;
    store(tx, &signed)?;
    let mut lowers = tell(tx, &signed)?;
    // As it is now: until when memberships count was just written.
    let fleet = Fleet::load(tx)?;
    lowers.extend(late::take_in(tx, &fleet, hosts, Why::Place, capabilities, read_own_job, now)?);
    Ok(lowers)
}

struct Signed<'a> {
    host: &'a HostRecord,
    place: Place,
    envelope: Vec<u8>,
}

fn signed<'a>(
    tx: &Connection,
    authority: &Authority,
    fleet: &'a Fleet,
    hosts: &[HostRow],
    now: Time,
) -> Result<Vec<Signed<'a>>, DbError> {
    let mut groups = groups::belonging(tx, hosts)?;
    let revisions = revisions(tx, hosts)?;
    let mut signed = Vec::with_capacity(hosts.len());
    for host in hosts.iter().filter_map(|row| fleet.get(*row)).filter(|host| host.retired.is_none()) {
        let revision = meta::next_revision(revisions.get(&host.row).copied().unwrap_or(0), now);
        let groups = groups.remove(&host.row).unwrap_or_default();
        let place = belongs(Place { groups, revision, ..fleet.place(host) }, now)?;
        let envelope = authority.sign_place(&place).map_err(DbError::internal)?;
        signed.push(Signed { host, place, envelope });
    }
    Ok(signed)
}

/// The revisions of hosts' places.
///
/// # Errors
/// The database's.
pub fn revisions(tx: &Connection, hosts: &[HostRow]) -> Result<HashMap<HostRow, u64>, DbError> {
    let hosts = serde_json::to_string(hosts).map_err(DbError::internal)?;
    let sql = "SELECT h.row, h.place_revision FROM json_each(?1) e JOIN hosts h ON h.row = e.value";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([hosts], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn store(tx: &Connection, signed: &[Signed<'_>]) -> Result<(), DbError> {
    for group in signed.chunks(ROWS_MAX) {
        let sql = format!(
            "WITH fresh (host, place, revision) AS (VALUES {})
             UPDATE hosts SET place = fresh.place, place_revision = fresh.revision
             FROM fresh WHERE hosts.row = fresh.host",
            vec!["(?, ?, ?)"; group.len()].join(", ")
        );
        let values: Vec<Box<dyn ToSql + '_>> = group
            .iter()
            .flat_map(|signed| {
                [
                    Box::new(signed.host.row) as Box<dyn ToSql>,
                    Box::new(&signed.envelope),
                    Box::new(signed.place.revision as i64),
                ]
            })
            .collect();
        tx.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    }
    let places: Vec<(HostRow, &Place)> =
        signed.iter().map(|signed| (signed.host.row, &signed.place)).collect();
    standings::store_memberships(tx, &places)
}

/// A host that calls this system gets its place, a relay also what it hands to its own agent; of others the relay on the way
/// is told.
fn tell(tx: &Connection, signed: &[Signed<'_>]) -> Result<Vec<HostRow>, DbError> {
    let mut below: BTreeMap<HostRow, Vec<BelowHost>> = BTreeMap::new();
    let mut direct: Vec<(HostRow, Order)> = Vec::new();
    for Signed { host, envelope, .. } in signed {
        let is_direct = host.via == host.row;
        if is_direct {
            direct.push((host.row, Order::Place(ByteBuf::from(envelope.clone()))));
        }
        if !is_direct || host.role == HostRole::Relay {
            below.entry(host.via).or_default().push(BelowHost {
                host: Fixed(host.id.0),
                place: ByteBuf::from(envelope.clone()),
                generation: host.oldest,
            });
        }
    }
    let mut lowers: Vec<HostRow> = direct.iter().map(|(lower, _)| *lower).collect();
    feeds::append(tx, &direct)?;
    // At most one order for each lower system at a time: the first run of each, then the second, …
    for n in 0.. {
        let run = |(lower, hosts): (&HostRow, &Vec<BelowHost>)| {
            hosts.chunks(HOSTS_MAX).nth(n).map(|hosts| (*lower, Order::Below(hosts.to_vec())))
        };
        let orders: Vec<(HostRow, Order)> = below.iter().filter_map(run).collect();
        if orders.is_empty() {
            break;
        }
        feeds::append(tx, &orders)?;
    }
    lowers.extend(below.into_keys());
    Ok(lowers)
}

/// Signs memberships anew that end before long; answers the lower systems with something new, and whether there is more.
pub struct RenewMemberships {
    /// The keys.
    pub authority: Arc<Authority>,
    /// For locators of jobs that hosts are taken into.
    pub capabilities: Capabilities,
    /// Now.
    pub now: Time,
}

impl Command for RenewMemberships {
    type Answer = (Vec<HostRow>, bool);

    fn apply(self, tx: &Connection) -> Result<(Vec<HostRow>, bool), DbError> {
        let sql = "SELECT row FROM hosts WHERE groups_until > 0 AND groups_until < ?1 AND retired IS NULL ORDER BY groups_until LIMIT ?2";
        let due = self.now.plus_days(RENEW_DAYS).0;
        let mut statement = tx.prepare_cached(sql)?;
        let rows = statement.query_map([due, RENEW_MAX as i64], |row| row.get(0))?;
        let hosts = rows.collect::<Result<Vec<HostRow>, _>>()?;
        let lowers = sign_anew(tx, &self.authority, &self.capabilities, &hosts, self.now)?;
        Ok((lowers, hosts.len() == RENEW_MAX))
    }
}
