//! Copies: this relay's own, and those of relays below as reported.

use std::collections::BTreeMap;

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::job::HostRole;
use packhorse_domain::lease;
use packhorse_domain::report::{Body, CopyReport, Traffic};
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Command, DbError, hosts, lines, outbox};

/// Takes in what relays said of their copies and counters.
///
/// # Errors
/// The database's.
pub fn reported(
    tx: &Connection,
    copies: &[(HostId, CopyReport)],
    traffic: &BTreeMap<HostId, Traffic>,
    now: Time,
) -> Result<(), DbError> {
    for (relay, copy) in copies {
        let Some(relay) = hosts::by_id(tx, relay)?.filter(is_relay) else { continue };
        match copy.keep_until {
            Some(until) => {
                let sql =
                    "INSERT INTO relay_copies (relay, id, keep_until, size_bytes) VALUES (?1, ?2, ?3, ?4)
                           ON CONFLICT (relay, id) DO UPDATE SET keep_until = excluded.keep_until,
                             size_bytes = excluded.size_bytes";
                tx.prepare_cached(sql)?.execute(params![
                    relay.row,
                    copy.package.0,
                    until.0,
                    copy.size_bytes as i64
                ])?;
                lines::reached_relay(tx, Some(relay.row), &copy.package, now)?;
            }
            None => {
                tx.prepare_cached("DELETE FROM relay_copies WHERE relay = ?1 AND id = ?2")?
                    .execute(params![relay.row, copy.package.0])?;
            }
        }
    }
    for (relay, traffic) in traffic {
        let Some(relay) = hosts::by_id(tx, relay)?.filter(is_relay) else { continue };
        write_traffic(tx, relay.row, traffic)?;
    }
    Ok(())
}

/// A client keeps no copies: what it says of some is not written down, however much that is.
fn is_relay(host: &hosts::HostRecord) -> bool {
    host.role == HostRole::Relay
}

fn write_traffic(tx: &Connection, relay: i64, traffic: &Traffic) -> Result<(), DbError> {
    let sql = "INSERT INTO traffic (relay, received_bytes, sent_bytes, used_bytes, free_bytes) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (relay) DO UPDATE SET received_bytes = excluded.received_bytes,
                 sent_bytes = excluded.sent_bytes, used_bytes = excluded.used_bytes, free_bytes = excluded.free_bytes";
    tx.prepare_cached(sql)?.execute(params![
        relay,
        traffic.received_bytes as i64,
        traffic.sent_bytes as i64,
        traffic.used_bytes as i64,
        traffic.free_bytes as i64
    ])?;
    Ok(())
}

/// This relay's own counters as last written down: row 0 of the same table.
///
/// # Errors
/// The database's.
pub fn own_traffic(connection: &Connection) -> Result<Traffic, DbError> {
    let sql = "SELECT received_bytes, sent_bytes, used_bytes, free_bytes FROM traffic WHERE relay = 0";
    let found = connection
        .prepare_cached(sql)?
        .query_row([], |row| {
            Ok(Traffic {
                received_bytes: row.get::<_, i64>(0)? as u64,
                sent_bytes: row.get::<_, i64>(1)? as u64,
                used_bytes: row.get::<_, i64>(2)? as u64,
                free_bytes: row.get::<_, i64>(3)? as u64,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// A copy this relay keeps.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The package.
    pub package: PackageId,
    /// Kept until.
    pub keep_until: Time,
    /// What it takes in the store.
    pub size_bytes: u64,
}

/// This relay's copies.
///
/// # Errors
/// The database's.
pub fn own(connection: &Connection) -> Result<Vec<Copy>, DbError> {
    let mut statement = connection.prepare_cached("SELECT id, keep_until, size_bytes FROM copies")?;
    let rows = statement.query_map([], |row| {
        Ok(Copy {
            package: PackageId(row.get(0)?),
            keep_until: Time(row.get(1)?),
            size_bytes: row.get::<_, i64>(2)? as u64,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A package arrived at this relay, whole and durable.
pub struct Arrived {
    /// This relay.
    pub own: HostId,
    /// The package.
    pub package: PackageId,
    /// What it takes in the store.
    pub size_bytes: u64,
    /// The counters.
    pub traffic: Traffic,
    /// When.
    pub now: Time,
}

impl Command for Arrived {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        let standing: Option<i64> = tx
            .prepare_cached("SELECT keep_until FROM copies WHERE id = ?1")?
            .query_row([self.package.0], |row| row.get(0))
            .optional()?;
        let ordered: Option<i64> = tx
            .prepare_cached("SELECT MAX(keep_until) FROM job_packages WHERE id = ?1")?
            .query_row([self.package.0], |row| row.get(0))?;
        let day_end = |from: Time, days: u32| from.plus_days(i64::from(days) + 1);
        let package = Time(ordered.unwrap_or(self.now.0));
        let keep_until =
            standing.map_or_else(|| lease::arrived(package, &[], self.now, &day_end).until, Time);
        let sql = "INSERT INTO copies (id, keep_until, size_bytes, arrived) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (id) DO UPDATE SET keep_until = excluded.keep_until, size_bytes = excluded.size_bytes";
        tx.prepare_cached(sql)?.execute(params![
            self.package.0,
            keep_until.0,
            self.size_bytes as i64,
            self.now.0
        ])?;
        lines::reached_relay(tx, None, &self.package, self.now)?;
        write_traffic(tx, 0, &self.traffic)?;
        let copy = CopyReport {
            package: self.package,
            keep_until: Some(keep_until),
            size_bytes: self.size_bytes,
            traffic: self.traffic,
        };
        outbox::say(tx, &self.own, Body::Copy(copy), self.now)
    }
}

/// The counters moved.
pub struct Moved {
    /// This relay.
    pub own: HostId,
    /// The counters.
    pub traffic: Traffic,
    /// When.
    pub now: Time,
}

impl Command for Moved {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        write_traffic(tx, 0, &self.traffic)?;
        outbox::say(tx, &self.own, Body::Traffic(self.traffic), self.now)
    }
}

/// A package some open line at or below this relay waits for, and what the relay needs to take it in.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The package.
    pub package: PackageId,
    /// Its cabinet: whose packagers' keys count.
    pub cabinet: String,
    /// Shown to the higher system.
    pub capability: Vec<u8>,
    /// When it may be taken in.
    pub starts: Time,
}

/// Packages that open lines wait for and this relay does not keep, by when they may be taken in; one statement for all jobs.
/// The rule is `planner::copy_due`'s; of an offer only what somebody below has chosen.
///
/// # Errors
/// The database's.
pub fn wanted(connection: &Connection, now: Time) -> Result<Vec<Wanted>, DbError> {
    let sql = format!(
        "SELECT p.id, p.cabinet, p.capability, MIN(j.starts) FROM job_packages p JOIN jobs j ON j.row = p.job
         WHERE p.capability IS NOT NULL AND j.intent = 'open' AND j.until > ?1
           AND p.id NOT IN (SELECT id FROM copies)
           AND EXISTS (SELECT 1 FROM lines l WHERE l.job = p.job AND l.place = p.place AND l.verdict IS NULL
                       AND l.state IN ({}) AND (j.job_type <> 'offer' OR l.state IN ({})))
         GROUP BY p.id ORDER BY MIN(j.starts), p.id",
        lines::open_words(),
        lines::chosen_words()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([now.0], |row| {
        Ok(Wanted {
            package: PackageId(row.get(0)?),
            cabinet: row.get(1)?,
            capability: row.get(2)?,
            starts: Time(row.get(3)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a package is wanted by suspended jobs only: it is not taken in then, even if a lower system asks for it.
///
/// # Errors
/// The database's.
pub fn suspended(connection: &Connection, package: &PackageId) -> Result<bool, DbError> {
    let sql = format!(
        "SELECT COALESCE(MAX(j.intent = 'suspended'), 0) > COALESCE(MAX(j.intent = 'open'), 0)
         FROM job_packages p JOIN jobs j ON j.row = p.job
         WHERE p.id = ?1 AND EXISTS (SELECT 1 FROM lines l WHERE l.job = p.job AND l.place = p.place
                                       AND l.verdict IS NULL AND l.state IN ({}))",
        lines::open_words()
    );
    Ok(connection.prepare_cached(&sql)?.query_row([package.0], |row| row.get(0))?)
}

/// What is needed to take in one package that a lower system asks for, whatever its time. Of several jobs one that is still
/// open counts: only its capability comes anew when the higher system is replaced. Nothing for a package that only suspended
/// jobs want.
///
/// # Errors
/// The database's.
pub fn source(connection: &Connection, package: &PackageId) -> Result<Option<Wanted>, DbError> {
    if suspended(connection, package)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT p.id, p.cabinet, p.capability, j.starts FROM job_packages p JOIN jobs j ON j.row = p.job
         WHERE p.id = ?1 AND p.capability IS NOT NULL
         ORDER BY EXISTS (SELECT 1 FROM lines l WHERE l.job = p.job AND l.place = p.place AND l.state IN ({})) DESC,
           j.until DESC LIMIT 1",
        lines::open_words()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row([package.0], |row| {
        Ok(Wanted {
            package: PackageId(row.get(0)?),
            cabinet: row.get(1)?,
            capability: row.get(2)?,
            starts: Time(row.get(3)?),
        })
    });
    Ok(found.optional()?)
}
