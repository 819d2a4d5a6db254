//! Packages a relay knows: those it keeps, by the names that jobs called them. Its administrator finds them like registered
//! ones.

use packhorse_domain::ids::{HostId, PackageId, PackageLabel};
use packhorse_domain::report::{Body, CopyReport, Traffic};
use packhorse_domain::time::Time;
use rusqlite::{Connection, params};

use super::packages::{self, PackageRecord, Register, Registration};
use super::{Command, DbError, lines, outbox};

/// A kept package under a name that is not written down yet.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The package.
    pub id: PackageId,
    /// Its name.
    pub label: PackageLabel,
    /// Kept until.
    pub keep_until: Time,
}

/// What is kept and not written down yet, and whether something is written down that is not kept any more.
///
/// # Errors
/// The database's.
pub fn changed(connection: &Connection) -> Result<(Vec<Kept>, bool), DbError> {
    let sql = "SELECT DISTINCT p.id, p.cabinet, p.name, p.version, p.generation, c.keep_until
               FROM copies c JOIN job_packages p ON p.id = c.id JOIN jobs j ON j.row = p.job AND NOT j.learned
               WHERE NOT c.dropping AND NOT EXISTS (SELECT 1 FROM packages k WHERE k.cabinet = p.cabinet AND k.id = p.id)";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let label = packages::label(row, 1)?;
        Ok(Kept { id: PackageId(row.get(0)?), label, keep_until: Time(row.get(5)?) })
    })?;
    let kept = rows.collect::<Result<Vec<_>, _>>()?;
    let sql = "SELECT EXISTS (SELECT 1 FROM packages WHERE id NOT IN (SELECT id FROM copies))";
    Ok((kept, connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?))
}

/// Writes down what is kept, and forgets what is not.
pub struct Know(pub Vec<PackageRecord>);

impl Command for Know {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        tx.prepare_cached("DELETE FROM packages WHERE id NOT IN (SELECT id FROM copies)")?.execute([])?;
        for record in &self.0 {
            packages::note(tx, record)?;
        }
        Ok(())
    }
}

/// A package of a relay's own is kept until it is removed: this long, in days.
const OWN_DAYS: i64 = 36_500;

/// Registers a package in a cabinet of this relay's own: it is one of its copies, and nobody's but its own.
pub struct RegisterOwn {
    /// This relay.
    pub own: HostId,
    /// The registration.
    pub record: PackageRecord,
    /// What it takes in the store.
    pub size_bytes: u64,
    /// The counters.
    pub traffic: Traffic,
    /// Now.
    pub now: Time,
}

impl Command for RegisterOwn {
    type Answer = Registration;

    fn apply(self, tx: &Connection) -> Result<Registration, DbError> {
        let (package, until) = (self.record.id, self.now.plus_days(OWN_DAYS));
        let registration = Register(self.record).apply(tx)?;
        let sql = "INSERT INTO copies (id, keep_until, size_bytes, arrived, last_used)
                   VALUES (?1, ?2, ?3, ?4, ?4)
                   ON CONFLICT (id) DO UPDATE SET keep_until = MAX(keep_until, excluded.keep_until), dropping = 0";
        tx.prepare_cached(sql)?.execute(params![package.0, until.0, self.size_bytes as i64, self.now.0])?;
        lines::reached_relay(tx, None, &package, self.now)?;
        let copy = CopyReport {
            package,
            keep_until: Some(until),
            size_bytes: self.size_bytes,
            traffic: self.traffic,
        };
        outbox::say(tx, &self.own, Body::Copy(copy), self.now)?;
        Ok(registration)
    }
}

/// A package of this relay's own was removed: its copy goes when its last reader is done, unless a higher system promised to
/// keep it; then it stays until that date.
///
/// # Errors
/// The database's.
pub fn withdraw(tx: &Connection, package: &PackageId, now: Time) -> Result<(), DbError> {
    let sql = "UPDATE copies SET keep_until = promised WHERE id = ?1 AND promised > ?2";
    match tx.prepare_cached(sql)?.execute(params![package.0, now.0])? {
        0 => let_go(tx, package),
        _ => Ok(()),
    }
}

/// A copy goes: now, or when its last reader is done.
///
/// # Errors
/// The database's.
pub fn let_go(tx: &Connection, package: &PackageId) -> Result<(), DbError> {
    tx.prepare_cached("UPDATE copies SET dropping = 1 WHERE id = ?1")?.execute([package.0])?;
    Ok(())
}
