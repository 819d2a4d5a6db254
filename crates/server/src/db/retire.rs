//! Hosts are retired at the managing server: their certificates count no more, their history is kept; or removed: they are
//! forgotten, and their names are free. What the others hear of it: see [`super::retired`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use packhorse_domain::ids::{HostId, SERVER};
use packhorse_domain::job::HostRole;
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{BelowHost, Order};
use packhorse_wire::signed::{RETIRED_VERSION, RetiredDoc};
use rusqlite::{Connection, params};
use serde_bytes::ByteBuf;

use super::hosts::{self, Fleet, HostRecord, HostRow};
use super::retired::{WORDS_MAX, Word, end_lines, list, mark, publish};
use super::{Command, DbError, delegations, feeds, meta, moving, views};
use crate::authority::Authority;

/// Most hosts of one command.
pub const HOSTS_MAX: usize = 10_000;

/// It was retired.
pub const RETIRED: &str = "retired";
/// A machine with a token that replaces it is back.
pub const RETURNED: &str = "returned";

/// Hosts are retired: all of them or none.
pub struct Leave {
    /// The keys.
    pub authority: Arc<Authority>,
    /// Their names.
    pub hosts: Vec<String>,
    /// And forgotten.
    pub remove: bool,
    /// Who says so.
    pub by: String,
    /// The managing server's name.
    pub own: String,
    /// Now.
    pub now: Time,
}

/// A host that was retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftHost {
    /// Its name.
    pub host: String,
    /// Its id.
    pub id: HostId,
    /// Open lines that ended by it.
    pub lines: u64,
    /// Whether it was in use before.
    pub changed: bool,
}

/// What [`Leave`] answers.
pub struct Left {
    /// In the order of the command.
    pub hosts: Vec<LeftHost>,
    /// Lower systems with something new in their feeds, or whose requests are held no more.
    pub lowers: Vec<HostRow>,
}

impl Command for Leave {
    type Answer = Left;

    fn apply(self, tx: &Connection) -> Result<Left, DbError> {
        let fleet = Fleet::load(tx)?;
        let named = self.find(&fleet)?;
        let in_use: Vec<&HostRecord> = named.iter().copied().filter(|host| host.retired.is_none()).collect();
        nothing_below(&fleet, &in_use)?;
        let mut lowers = self.revoke(tx, &in_use)?;
        let open = self.retire(tx, &in_use, &mut lowers)?;
        // One that was retired before is told of again when it is forgotten.
        let told = if self.remove { named.as_slice() } else { in_use.as_slice() };
        let words = self.sign(tx, told)?;
        lowers.extend(publish(tx, &words)?);
        if self.remove {
            forget(tx, &named)?;
        }
        let left = |host: &&HostRecord| LeftHost {
            host: host.name.clone(),
            id: host.id,
            lines: open.get(&host.row).copied().unwrap_or(0),
            changed: host.retired.is_none(),
        };
        Ok(Left { hosts: named.iter().map(left).collect(), lowers })
    }
}

impl Leave {
    /// The hosts by their names.
    fn find<'a>(&self, fleet: &'a Fleet) -> Result<Vec<&'a HostRecord>, DbError> {
        if self.hosts.is_empty() || self.hosts.len() > HOSTS_MAX {
            let message = format!("1 to {HOSTS_MAX} hosts at once, not {}", self.hosts.len());
            return Err(DbError::refused(
                "limit",
                message,
                Some("name the hosts, in several commands if need be"),
            ));
        }
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(self.hosts.len());
        for name in &self.hosts {
            let host = match fleet.any_named(name) {
                Some(host) => host,
                None if *name == self.own || name == SERVER => return Err(self.is_the_server(name)),
                None => return Err(moving::unknown_host(name)),
            };
            if !seen.insert(host.row) {
                let message = format!("{name} is named twice");
                return Err(DbError::refused("bad_request", message, Some("name each host once")));
            }
            found.push(host);
        }
        Ok(found)
    }

    fn is_the_server(&self, name: &str) -> DbError {
        let message = format!("{name} is the managing server itself: it is not retired");
        let hint =
            "packhorse host list shows what can be; the managing server ends when its process is ended";
        DbError::refused("is_the_server", message, Some(hint))
    }

    /// What was delegated to a relay ends with it.
    fn revoke(&self, tx: &Connection, hosts: &[&HostRecord]) -> Result<Vec<HostRow>, DbError> {
        let mut lowers = Vec::new();
        for relay in hosts.iter().filter(|host| host.role == HostRole::Relay) {
            let Some(envelope) = delegations::of(tx, &relay.id)? else { continue };
            let mut doc = delegations::read(&envelope)?;
            if !doc.revoked {
                doc.revision = meta::next_revision(doc.revision, self.now);
                doc.revoked = true;
                lowers.extend(delegations::set(tx, &self.authority, &doc, self.now)?);
            }
        }
        Ok(lowers)
    }

    /// Answers how many open lines ended, by host.
    fn retire(
        &self,
        tx: &Connection,
        hosts: &[&HostRecord],
        lowers: &mut Vec<HostRow>,
    ) -> Result<HashMap<HostRow, u64>, DbError> {
        let rows: Vec<HostRow> = hosts.iter().map(|host| host.row).collect();
        let open = end_lines(tx, &rows, self.now)?;
        // A relay of the version before does not know the word: it refuses certificates that are older than this one.
        let mut below: BTreeMap<HostRow, Vec<BelowHost>> = BTreeMap::new();
        let places = places(tx, &rows)?;
        for host in hosts.iter().filter(|host| host.via != host.row) {
            let place = places.get(&host.row).cloned().unwrap_or_default();
            let told = BelowHost {
                host: Fixed(host.id.0),
                place: ByteBuf::from(place),
                generation: host.generation + 1,
            };
            below.entry(host.via).or_default().push(told);
        }
        for n in 0.. {
            let run = |(lower, hosts): (&HostRow, &Vec<BelowHost>)| {
                hosts.chunks(WORDS_MAX).nth(n).map(|hosts| (*lower, Order::Below(hosts.to_vec())))
            };
            let orders: Vec<(HostRow, Order)> = below.iter().filter_map(run).collect();
            if orders.is_empty() {
                break;
            }
            feeds::append(tx, &orders)?;
        }
        mark(tx, &rows, self.now)?;
        note(tx, &rows, RETIRED, &self.by, self.now)?;
        lowers.extend(hosts.iter().map(|host| host.via));
        Ok(open)
    }

    fn sign(&self, tx: &Connection, hosts: &[&HostRecord]) -> Result<Vec<Word>, DbError> {
        let rows: Vec<HostRow> = hosts.iter().map(|host| host.row).collect();
        let revisions = super::places::revisions(tx, &rows)?;
        let mut words = Vec::with_capacity(hosts.len());
        for host in hosts {
            let doc = RetiredDoc {
                v: RETIRED_VERSION,
                host: Fixed(host.id.0),
                name: host.name.clone(),
                generation: host.generation,
                revision: meta::next_revision(revisions.get(&host.row).copied().unwrap_or(0), self.now),
                at: host.retired.unwrap_or(self.now).0,
                removed: self.remove,
            };
            let envelope = self.authority.sign_retired(&doc).map_err(DbError::internal)?;
            words.push(Word { doc, envelope });
        }
        // The place that brings a host back comes after this word.
        let list: Vec<(HostRow, u64)> =
            rows.iter().zip(&words).map(|(row, word)| (*row, word.doc.revision)).collect();
        let list = serde_json::to_string(&list).map_err(DbError::internal)?;
        let sql = "UPDATE hosts SET place_revision = e.value ->> '$[1]' FROM json_each(?1) e
                   WHERE hosts.row = e.value ->> '$[0]'";
        tx.prepare_cached(sql)?.execute([list])?;
        Ok(words)
    }
}

/// The command at the managing server that lets a machine be a host (again).
pub fn replace_command(name: &str, role: HostRole) -> String {
    let relay = if role == HostRole::Relay { " --relay" } else { "" };
    format!("packhorse token new{relay} --replace {name}")
}

/// Refuses a host that was retired.
///
/// # Errors
/// It was.
pub fn in_use(host: &HostRecord) -> Result<(), DbError> {
    if host.retired.is_none() {
        return Ok(());
    }
    let hint = format!("{} lets a machine be it again", replace_command(&host.name, host.role));
    Err(DbError::refused(RETIRED, format!("{} was retired", host.name), Some(&hint)))
}

/// Refuses whoever shows a certificate of a host of which nothing is known (any more).
pub fn forgotten(name: &str) -> DbError {
    let hint = "packhorse token new, and join anew";
    DbError::refused(RETIRED, format!("{name} is not known any more"), Some(hint))
}

/// Whoever serves others is not retired before these are served elsewhere, or retired with it.
fn nothing_below(fleet: &Fleet, hosts: &[&HostRecord]) -> Result<(), DbError> {
    let going: HashSet<HostRow> = hosts.iter().map(|host| host.row).collect();
    let relays: Vec<&&HostRecord> = hosts.iter().filter(|host| host.role == HostRole::Relay).collect();
    if relays.is_empty() {
        return Ok(());
    }
    let mut below: HashMap<HostRow, Vec<&str>> = HashMap::new();
    for host in fleet.hosts().iter().filter(|host| !going.contains(&host.row)) {
        if let Some(higher) = host.higher {
            below.entry(higher).or_default().push(&host.name);
        }
    }
    for relay in relays {
        let Some(names) = below.get(&relay.row) else { continue };
        let (first, more) = (names[0], names.len() - 1);
        let others = if more == 0 { String::new() } else { format!(" and {more} more") };
        let message = format!("{first}{others} would be below {} with nobody to call", relay.name);
        let hint = "packhorse host tree shows them; packhorse host move HOST --to another system first";
        return Err(DbError::refused("has_lower", message, Some(hint)));
    }
    Ok(())
}

fn places(tx: &Connection, hosts: &[HostRow]) -> Result<HashMap<HostRow, Vec<u8>>, DbError> {
    let sql = "SELECT row, place FROM hosts WHERE row IN (SELECT value FROM json_each(?1))";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([list(hosts)?], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes down what became of hosts.
///
/// # Errors
/// The database's.
pub fn note(tx: &Connection, hosts: &[HostRow], event: &str, by: &str, now: Time) -> Result<(), DbError> {
    let sql = "INSERT INTO host_events (host, at, event, by) SELECT value, ?2, ?3, ?4 FROM json_each(?1)";
    tx.prepare_cached(sql)?.execute(params![list(hosts)?, now.0, event, by])?;
    Ok(())
}

/// What became of a host: when, what, by whom; the oldest first.
///
/// # Errors
/// The database's.
pub fn events(connection: &Connection, host: HostRow) -> Result<Vec<(Time, String, String)>, DbError> {
    let sql = "SELECT at, event, by FROM host_events WHERE host = ?1 ORDER BY row";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([host], |row| Ok((Time(row.get(0)?), row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Results of hosts that are forgotten stay in their jobs as numbers; nothing else stays of them.
fn forget(tx: &Connection, hosts: &[&HostRecord]) -> Result<(), DbError> {
    let rows: Vec<HostRow> = hosts.iter().map(|host| host.row).collect();
    let sql = format!(
        "INSERT INTO folded (job, place, state, lines)
         SELECT l.job, l.place, {}, COUNT(*) FROM lines l WHERE l.host IN (SELECT value FROM json_each(?1))
         GROUP BY 1, 2, 3
         ON CONFLICT (job, place, state) DO UPDATE SET lines = lines + excluded.lines",
        views::shown()
    );
    tx.prepare_cached(&sql)?.execute([list(&rows)?])?;
    let ids = list(&hosts.iter().map(|host| host.id.to_string()).collect::<Vec<_>>())?;
    for (table, column) in [
        ("controls", "relay"),
        ("delegations", "relay"),
        ("applied", "origin"),
        ("history", "origin"),
        ("marks", "origin"),
    ] {
        let sql = format!("DELETE FROM {table} WHERE {column} IN (SELECT unhex(value) FROM json_each(?1))");
        tx.prepare_cached(&sql)?.execute([&ids])?;
    }
    // A token that was to replace one of them would let its machine be the next host of that name.
    let names = list(&hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>())?;
    let sql = "UPDATE tokens SET revoked = 1 WHERE replaces IN (SELECT value FROM json_each(?1))";
    tx.prepare_cached(sql)?.execute([names])?;
    hosts::forget_all(tx, &rows)
}
