//! Keeping time and room at a relay: the dates of its copies, and what the space ledger has to know of them. The rules are
//! `domain::lease`'s and `domain::room`'s.

use std::collections::HashSet;

use jiff::tz::TimeZone;
use packhorse_domain::ids::{HostId, PackageId, SERVER};
use packhorse_domain::job::{Job, JobType};
use packhorse_domain::lease::{self, Dated, Keep, KeepOrder, Moved};
use packhorse_domain::report::{Body, CopyReport};
use packhorse_domain::time::Time;
use packhorse_domain::transfer;
use packhorse_wire::signed::{ControlDoc, KeepDoc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Command, DbError, copies, lines, meta, outbox};
use crate::days::{end_of_day, zone};

/// A copy as the ledger and the dates need it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The package.
    pub package: PackageId,
    /// Its date.
    pub date: Dated,
    /// What it takes in the store, as was said upwards.
    pub size_bytes: u64,
    /// When it arrived.
    pub arrived: Time,
    /// When a byte of it was last read or written.
    pub last_used: Time,
    /// It was ordered to go: now, or when its last reader is done.
    pub dropping: bool,
}

const COLUMNS: &str = "id, keep_until, ordered, promised, size_bytes, arrived, last_used, dropping";

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        package: PackageId(row.get(0)?),
        date: Dated {
            until: Time(row.get(1)?),
            ordered: row.get::<_, Option<i64>>(2)?.map(Time),
            promised: row.get::<_, Option<i64>>(3)?.map(Time),
        },
        size_bytes: row.get::<_, i64>(4)? as u64,
        arrived: Time(row.get(5)?),
        last_used: Time(row.get(6)?),
        dropping: row.get(7)?,
    })
}

/// This relay's copies.
///
/// # Errors
/// The database's.
pub fn all(connection: &Connection) -> Result<Vec<Kept>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM copies ORDER BY id"))?;
    let rows = statement.query_map([], kept)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One of them.
///
/// # Errors
/// The database's.
pub fn of(connection: &Connection, package: &PackageId) -> Result<Option<Kept>, DbError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM copies WHERE id = ?1"))?;
    Ok(statement.query_row([package.0], kept).optional()?)
}

/// This relay's own id; `None` at the managing server.
///
/// # Errors
/// The database's.
pub fn own_id(connection: &Connection) -> Result<Option<HostId>, DbError> {
    let sql = "SELECT value FROM meta WHERE key = 'own_id'";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?.map(HostId))
}

/// Remembers this relay's own id.
///
/// # Errors
/// The database's.
pub fn set_own_id(tx: &Connection, own: &HostId) -> Result<(), DbError> {
    meta::set(tx, "own_id", own.0)
}

/// The zone in which days end: the managing server's, as its jobs and orders say.
///
/// # Errors
/// The database's.
pub fn zone_of(connection: &Connection) -> Result<TimeZone, DbError> {
    let sql = "SELECT value FROM meta WHERE key = 'zone'";
    let name: Option<String> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(zone(name.as_deref().unwrap_or_default()))
}

/// The packages that open jobs at or below this system need. An offer needs none as long as nobody chose.
///
/// # Errors
/// The database's.
pub fn needed(connection: &Connection, now: Time) -> Result<HashSet<PackageId>, DbError> {
    let sql = format!(
        "SELECT DISTINCT p.id FROM job_packages p JOIN jobs j ON j.row = p.job
         WHERE j.intent <> 'cancelled' AND EXISTS (
           SELECT 1 FROM lines l WHERE l.job = p.job AND l.place = p.place AND l.verdict IS NULL
             AND l.state IN ({}) AND (j.until > ?1 OR l.begun) AND {NOT_MERELY_OFFERED})",
        lines::open_words()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([now.0], |row| row.get(0).map(PackageId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Of an offer only the offer travels: a line that nobody chose needs no copy.
pub const NOT_MERELY_OFFERED: &str =
    "(j.job_type <> 'offer' OR l.state NOT IN ('registered', 'waiting', 'offered'))";

/// What open and ended jobs said of a package's date; those that were cancelled say nothing.
fn orders(tx: &Connection, package: &PackageId) -> Result<Vec<KeepOrder>, DbError> {
    let sql = "SELECT j.keep_days, j.keep_until, j.ordered, j.issuer FROM job_packages p JOIN jobs j ON j.row = p.job
               WHERE p.id = ?1 AND j.intent <> 'cancelled' AND (j.keep_days IS NOT NULL OR j.keep_until IS NOT NULL)";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([package.0], |row| {
        let keep = match row.get::<_, Option<u32>>(0)? {
            Some(days) => Keep::Days(days),
            None => Keep::Until(Time(row.get(1)?)),
        };
        Ok(KeepOrder { keep, ordered: Time(row.get(2)?), own: row.get::<_, String>(3)? != SERVER })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The package's own keeping time, as its jobs say. A relay below that tells of a job of its own says nothing of copies here.
fn package_until(tx: &Connection, package: &PackageId) -> Result<Option<Time>, DbError> {
    let sql = "SELECT MAX(p.keep_until) FROM job_packages p JOIN jobs j ON j.row = p.job WHERE p.id = ?1 AND NOT j.learned";
    let until: Option<i64> = tx.prepare_cached(sql)?.query_row([package.0], |row| row.get(0))?;
    Ok(until.map(Time))
}

/// The date of a copy that arrives now. One whose date stands keeps it.
///
/// # Errors
/// The database's.
pub fn on_arrival(tx: &Connection, package: &PackageId, now: Time) -> Result<Dated, DbError> {
    if let Some(standing) = of(tx, package)?.filter(|kept| kept.date.until > now && !kept.dropping) {
        return Ok(standing.date);
    }
    let zone = zone_of(tx)?;
    let own = package_until(tx, package)?.unwrap_or(now);
    Ok(lease::arrived(own, &orders(tx, package)?, now, &|from, days| end_of_day(&zone, from, days)))
}

/// Writes down what a job says of dates, and moves the dates of the copies that are here. A transfer moves them at its own
/// time: see [`super::transfers`].
///
/// # Errors
/// The database's.
pub fn job_came(tx: &Connection, row: i64, job: &Job, now: Time) -> Result<(), DbError> {
    let order = transfer::keep_order(job, false);
    let (days, until) = match job.terms.keep {
        Some(Keep::Days(days)) => (Some(days), None),
        Some(Keep::Until(until)) => (None, Some(until.0)),
        None => (None, None),
    };
    let ordered = job.rounds.first().map_or(job.created, |round| round.ordered);
    tx.prepare_cached("UPDATE jobs SET ordered = ?2, keep_days = ?3, keep_until = ?4 WHERE row = ?1")?
        .execute(params![row, ordered.0, days, until])?;
    let Some(own) = own_id(tx)? else { return Ok(()) };
    if job.key.issuer == SERVER && !job.terms.zone.is_empty() {
        meta::set(tx, "zone", &job.terms.zone)?;
    }
    let Some(order) = order.filter(|_| job.job_type != JobType::Transfer) else { return Ok(()) };
    let order = KeepOrder { own: job.key.issuer != SERVER, ..order };
    for package in &job.packages {
        move_date(tx, &own, &package.id, &order, now)?;
    }
    Ok(())
}

/// An order moves the date of a copy, if it is here and the order counts.
///
/// # Errors
/// The database's.
pub fn move_date(
    tx: &Connection,
    own: &HostId,
    package: &PackageId,
    order: &KeepOrder,
    now: Time,
) -> Result<Option<Moved>, DbError> {
    let Some(kept) = of(tx, package)? else { return Ok(None) };
    let zone = zone_of(tx)?;
    let moved = lease::moved(&kept.date, order, now, &|from, days| end_of_day(&zone, from, days));
    if let Moved::To(date) = moved {
        set_date(tx, own, &kept, date, now)?;
    }
    Ok(Some(moved))
}

/// Writes a copy's new date and says it upwards.
///
/// # Errors
/// The database's.
pub fn set_date(tx: &Connection, own: &HostId, kept: &Kept, date: Dated, now: Time) -> Result<(), DbError> {
    tx.prepare_cached(
        "UPDATE copies SET keep_until = ?2, ordered = ?3, promised = ?4, dropping = 0 WHERE id = ?1",
    )?
    .execute(params![
        kept.package.0,
        date.until.0,
        date.ordered.map(|at| at.0),
        date.promised.map(|at| at.0)
    ])?;
    if date.until == kept.date.until {
        return Ok(());
    }
    let copy = CopyReport {
        package: kept.package,
        keep_until: Some(date.until),
        size_bytes: kept.size_bytes,
        traffic: copies::own_traffic(tx)?,
    };
    outbox::say(tx, own, Body::Copy(copy), now)
}

/// Takes in what the managing server set for single copies. Each order counts once, for the copy that is here then.
///
/// # Errors
/// The database's.
pub fn control_came(tx: &Connection, own: &HostId, doc: &ControlDoc, now: Time) -> Result<(), DbError> {
    if !doc.zone.is_empty() {
        meta::set(tx, "zone", &doc.zone)?;
    }
    for order in &doc.copies {
        let package = PackageId(order.package.0);
        let sql = "INSERT INTO copy_orders (id, ordered) VALUES (?1, ?2)
                   ON CONFLICT (id) DO UPDATE SET ordered = excluded.ordered WHERE excluded.ordered > copy_orders.ordered";
        if tx.prepare_cached(sql)?.execute(params![package.0, order.ordered])? == 0 {
            continue;
        }
        let keep = match order.keep {
            Some(KeepDoc::Days(days)) => Keep::Days(days),
            Some(KeepDoc::Until(until)) => Keep::Until(Time(until)),
            None => {
                tx.prepare_cached("UPDATE copies SET dropping = 1 WHERE id = ?1")?.execute([package.0])?;
                continue;
            }
        };
        let order = KeepOrder { keep, ordered: Time(order.ordered), own: false };
        move_date(tx, own, &package, &order, now)?;
    }
    Ok(())
}

/// Copies that have gone from the store.
pub struct Gone {
    /// This relay.
    pub own: HostId,
    /// The packages.
    pub packages: Vec<PackageId>,
    /// Whether they were let go; else they were lost, and come again by themselves.
    pub let_go: bool,
    /// The counters.
    pub traffic: packhorse_domain::report::Traffic,
    /// When.
    pub now: Time,
}

impl Command for Gone {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        for package in self.packages {
            if tx.prepare_cached("DELETE FROM copies WHERE id = ?1")?.execute([package.0])? == 0 {
                continue;
            }
            if self.let_go {
                let sql = "INSERT INTO copies_gone (id, at) VALUES (?1, ?2)
                           ON CONFLICT (id) DO UPDATE SET at = excluded.at";
                tx.prepare_cached(sql)?.execute(params![package.0, self.now.0])?;
            }
            let copy = CopyReport { package, keep_until: None, size_bytes: 0, traffic: self.traffic };
            outbox::say(tx, &self.own, Body::Copy(copy), self.now)?;
        }
        Ok(())
    }
}

/// Copies of the same cabinet, name and version, in an earlier generation.
///
/// # Errors
/// The database's.
pub fn earlier_generations(connection: &Connection, package: &PackageId) -> Result<Vec<PackageId>, DbError> {
    let sql = "SELECT DISTINCT p.id FROM job_packages me
               JOIN job_packages p ON p.cabinet = me.cabinet AND p.name = me.name AND p.version = me.version
                 AND p.generation < me.generation
               JOIN copies c ON c.id = p.id JOIN jobs j ON j.row = me.job WHERE me.id = ?1 AND NOT j.learned";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([package.0], |row| row.get(0).map(PackageId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A package's label as people write it, without generation; its id where no job named it.
///
/// # Errors
/// The database's.
pub fn label(connection: &Connection, package: &PackageId) -> Result<String, DbError> {
    let sql = "SELECT cabinet || '/' || name || '@' || version FROM job_packages WHERE id = ?1 LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([package.0], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or_else(|| package.to_string()))
}
