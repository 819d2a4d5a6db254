//! Packages a relay knows: those it keeps, by the names that jobs called them. Its administrator finds them like registered
//! ones.

use packhorse_domain::ids::{PackageId, PackageLabel};
use packhorse_domain::time::Time;
use rusqlite::Connection;

use super::packages::{self, PackageRecord};
use super::{Command, DbError};

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
               FROM copies c JOIN job_packages p ON p.id = c.id
               WHERE NOT EXISTS (SELECT 1 FROM packages k WHERE k.cabinet = p.cabinet AND k.id = p.id)";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let label = PackageLabel {
            cabinet: row.get(1)?,
            name: row.get(2)?,
            version: row.get(3)?,
            generation: row.get(4)?,
        };
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
