//! Copies: this relay's own, and those of relays below as reported.

use std::collections::BTreeMap;

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::job::HostRole;
use packhorse_domain::report::{Body, CopyReport, Traffic};
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Command, DbError, hosts, keeping, lines, outbox, rates, transfers};

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
        rates::measure(tx, relay.row, traffic, now)?;
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

/// Whether this relay keeps a package.
///
/// # Errors
/// The database's.
pub fn has(connection: &Connection, package: &PackageId) -> Result<bool, DbError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM copies WHERE id = ?1)";
    Ok(connection.prepare_cached(sql)?.query_row([package.0], |row| row.get(0))?)
}

/// A package arrived at this relay, whole and durable.
pub struct Arrived {
    /// This relay.
    pub own: HostId,
    /// The package.
    pub package: PackageId,
    /// What it takes in the store.
    pub size_bytes: u64,
    /// Earlier generations of it here that differ from it in their keeping time alone.
    pub same_content: Vec<PackageId>,
    /// The counters.
    pub traffic: Traffic,
    /// When.
    pub now: Time,
}

impl Command for Arrived {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        let date = keeping::on_arrival(tx, &self.package, self.now)?;
        let sql = "INSERT INTO copies (id, keep_until, size_bytes, arrived, ordered, promised, last_used)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4)
                   ON CONFLICT (id) DO UPDATE SET keep_until = excluded.keep_until, size_bytes = excluded.size_bytes,
                     ordered = excluded.ordered, promised = excluded.promised, dropping = 0";
        tx.prepare_cached(sql)?.execute(params![
            self.package.0,
            date.until.0,
            self.size_bytes as i64,
            self.now.0,
            date.ordered.map(|at| at.0),
            date.promised.map(|at| at.0)
        ])?;
        for earlier in &self.same_content {
            // The same package ordered with another keeping time: the date moves, either way.
            if let Some(kept) = keeping::of(tx, earlier)? {
                keeping::set_date(tx, &self.own, &kept, date, self.now)?;
            }
        }
        lines::reached_relay(tx, None, &self.package, self.now)?;
        write_traffic(tx, 0, &self.traffic)?;
        let copy = CopyReport {
            package: self.package,
            keep_until: Some(date.until),
            size_bytes: self.size_bytes,
            traffic: self.traffic,
        };
        outbox::say(tx, &self.own, Body::Copy(copy), self.now)?;
        transfers::settle(tx, self.now)?;
        Ok(())
    }
}

/// The counters moved.
pub struct Moved {
    /// This relay.
    pub own: HostId,
    /// The counters.
    pub traffic: Traffic,
    /// Copies of which bytes were read, and when.
    pub used: Vec<(PackageId, Time)>,
    /// When.
    pub now: Time,
}

impl Command for Moved {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        for (package, at) in &self.used {
            tx.prepare_cached("UPDATE copies SET last_used = MAX(last_used, ?2) WHERE id = ?1")?
                .execute(params![package.0, at.0])?;
        }
        moved(tx, &self.own, self.traffic, self.now)
    }
}

/// This relay's counters are written down and told above. Two may be on their way to the writer: they never go back.
///
/// # Errors
/// The database's.
pub fn moved(tx: &Connection, own: &HostId, traffic: Traffic, now: Time) -> Result<(), DbError> {
    let before = own_traffic(tx)?;
    if traffic.received_bytes < before.received_bytes || traffic.sent_bytes < before.sent_bytes {
        return Ok(());
    }
    write_traffic(tx, 0, &traffic)?;
    rates::measure(tx, 0, &traffic, now)?;
    outbox::say(tx, own, Body::Traffic(traffic), now)
}

/// A package some open line at or below this relay waits for, and what the relay needs to take it in.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The package.
    pub package: PackageId,
    /// Its cabinet: whose packagers' keys count.
    pub cabinet: String,
    /// Who made the job that wants it: a relay's own cabinets count in its own jobs.
    pub issuer: String,
    /// Shown to the higher system.
    pub capability: Vec<u8>,
    /// When it may be taken in.
    pub starts: Time,
    /// Whether a transfer to this relay wants it: where there is no room it waits.
    pub keep: bool,
    /// Whether it is taken in before anybody asks: see [`packhorse_domain::lease::comes_unasked`].
    pub unasked: bool,
}

/// Whether a job `j` is a transfer to this relay whose line is open, in SQL.
const OWN_TRANSFER: &str = "j.job_type = 'transfer' AND EXISTS (
  SELECT 1 FROM lines o JOIN hosts h ON h.row = o.host WHERE o.job = p.job AND o.place = p.place
    AND h.id = (SELECT value FROM meta WHERE key = 'own_id') AND o.verdict IS NULL AND o.outcome IS NULL)";

/// Packages that open lines wait for and this relay does not keep, by when they may be taken in; one statement for all jobs.
/// The rules are `planner::copy_due`'s and `lease::comes_unasked`'s. Of several jobs that want one package the first counts,
/// cabinet and issuer together.
///
/// # Errors
/// The database's.
pub fn wanted(connection: &Connection, now: Time) -> Result<Vec<Wanted>, DbError> {
    let sql = format!(
        "SELECT id, cabinet, capability, starts, keep, issuer, unasked FROM (
         SELECT p.id, p.cabinet, p.capability, j.starts, j.issuer, MAX({OWN_TRANSFER}) OVER one AS keep,
           MAX(j.starts <= ?1 AND (g.at IS NULL OR g.at < j.starts OR ({OWN_TRANSFER}))) OVER one AS unasked,
           ROW_NUMBER() OVER (one ORDER BY j.starts, j.row) AS nth
         FROM job_packages p JOIN jobs j ON j.row = p.job LEFT JOIN copies_gone g ON g.id = p.id
         WHERE p.capability IS NOT NULL AND j.intent = 'open'
           AND p.id NOT IN (SELECT id FROM copies)
           AND EXISTS (SELECT 1 FROM lines l WHERE l.job = p.job AND l.place = p.place AND l.verdict IS NULL
                       AND l.state IN ({}) AND (j.until > ?1 OR l.begun) AND {})
         WINDOW one AS (PARTITION BY p.id)) WHERE nth = 1 ORDER BY starts, id",
        lines::open_words(),
        keeping::NOT_MERELY_OFFERED
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([now.0], |row| {
        Ok(Wanted {
            package: PackageId(row.get(0)?),
            cabinet: row.get(1)?,
            capability: row.get(2)?,
            starts: Time(row.get(3)?),
            keep: row.get(4)?,
            issuer: row.get(5)?,
            unasked: row.get(6)?,
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
        "SELECT p.id, p.cabinet, p.capability, j.starts, {OWN_TRANSFER}, j.issuer FROM job_packages p JOIN jobs j ON j.row = p.job
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
            keep: row.get(4)?,
            issuer: row.get(5)?,
            unasked: false,
        })
    });
    Ok(found.optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay with a job that started at 10 and another that starts at 50, both of them for hosts that are away.
    const SCENE: &str = "
        INSERT INTO hosts (row, id, name, role, via, generation, oldest, place, place_revision, joined)
          VALUES (1, x'01', 'pc', 'client', 1, 1, 1, x'', 1, 0);
        INSERT INTO jobs (row, issuer, epoch, number, revision, job_type, envelope, created, starts, until, intent, asked, grows)
          VALUES (1, 'server', 1, 1, 1, 'install', x'', 0, 10, 1000, 'open', '[]', 0),
                 (2, 'server', 1, 2, 1, 'install', x'', 0, 50, 1000, 'open', '[]', 0);
        INSERT INTO job_packages (job, place, id, cabinet, name, version, generation, keep_until, size_bytes, capability)
          SELECT row, 0, zeroblob(32), 'main', 'p', '1', 1, 20, 5, x'01' FROM jobs;
        INSERT INTO lines (job, host, place, attempt, state, since, change) SELECT row, 1, 0, 1, 'waiting', 0, 0 FROM jobs;";

    #[test]
    fn what_went_does_not_come_again_for_those_who_are_away() {
        let connection = Connection::open_in_memory().unwrap();
        crate::db::schema::migrate(&connection).unwrap();
        connection.execute_batch(SCENE).unwrap();
        let unasked = |now: i64| {
            let wanted = super::wanted(&connection, Time(now)).unwrap();
            wanted.iter().map(|wanted| wanted.unasked).collect::<Vec<_>>()
        };
        assert_eq!((unasked(9), unasked(10)), (vec![false], vec![true]));
        // It came, was past its date and went: the host is still away. It stays wanted for whoever asks.
        connection.execute_batch("INSERT INTO copies_gone (id, at) VALUES (zeroblob(32), 30)").unwrap();
        assert_eq!((unasked(30), unasked(49), unasked(50)), (vec![false], vec![false], vec![true]));
    }
}
