//! What is installed, what is being switched in, and which staging folders there may be.

use packhorse_domain::ids::{PackageId, PackageLabel};
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A package that this agent installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Its label.
    pub label: PackageLabel,
    /// Its identity.
    pub package: PackageId,
    /// Its manifest's envelope, verified when it was installed.
    pub manifest: Vec<u8>,
    /// Which start installed it: job, place, attempt.
    pub start: String,
}

/// A tree at the moment of its switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Switching {
    /// What will be installed then.
    pub new: Installed,
    /// The device of the new tree's folder.
    pub dev: u64,
    /// Its inode: found at the destination, the switch was made.
    pub ino: u64,
}

const INSTALLED: &str = "cabinet, name, version, generation, package, manifest, start";

fn read(row: &Row<'_>) -> rusqlite::Result<Installed> {
    Ok(Installed {
        label: PackageLabel {
            cabinet: row.get(0)?,
            name: row.get(1)?,
            version: row.get(2)?,
            generation: row.get(3)?,
        },
        package: PackageId(row.get(4)?),
        manifest: row.get(5)?,
        start: row.get(6)?,
    })
}

impl Installed {
    /// What is installed under a cabinet and name.
    pub fn find(connection: &Connection, cabinet: &str, name: &str) -> rusqlite::Result<Option<Installed>> {
        let sql = format!("SELECT {INSTALLED} FROM installed WHERE cabinet = ?1 AND name = ?2");
        connection.query_row(&sql, [cabinet, name], read).optional()
    }

    /// The labels of all that is installed.
    pub fn labels(connection: &Connection) -> rusqlite::Result<Vec<PackageLabel>> {
        let sql = "SELECT cabinet, name, version, generation FROM installed ORDER BY cabinet, name";
        let label = |row: &Row<'_>| {
            Ok(PackageLabel {
                cabinet: row.get(0)?,
                name: row.get(1)?,
                version: row.get(2)?,
                generation: row.get(3)?,
            })
        };
        connection.prepare(sql)?.query_map([], label)?.collect()
    }

    /// The manifests of all that is installed.
    pub fn manifests(connection: &Connection) -> rusqlite::Result<Vec<Vec<u8>>> {
        connection.prepare("SELECT manifest FROM installed")?.query_map([], |row| row.get(0))?.collect()
    }

    /// Stores it, and that its switch is over.
    pub fn put(&self, connection: &mut Connection, at: Time) -> rusqlite::Result<()> {
        let tx = connection.transaction()?;
        let label = &self.label;
        tx.execute(
            &format!(
                "INSERT OR REPLACE INTO installed ({INSTALLED}, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            ),
            params![
                label.cabinet,
                label.name,
                label.version,
                label.generation,
                self.package.0,
                self.manifest,
                self.start,
                at.0
            ],
        )?;
        Switching::end(&tx, &label.cabinet, &label.name)?;
        tx.commit()
    }
}

impl Switching {
    /// Stores it before the switch is made.
    pub fn begin(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let label = &self.new.label;
        connection
            .execute(
                &format!(
                    "INSERT OR REPLACE INTO switching ({INSTALLED}, dev, ino)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                ),
                params![
                    label.cabinet,
                    label.name,
                    label.version,
                    label.generation,
                    self.new.package.0,
                    self.new.manifest,
                    self.new.start,
                    self.dev.cast_signed(),
                    self.ino.cast_signed()
                ],
            )
            .map(|_| ())
    }

    /// All that were begun and not ended.
    pub fn all(connection: &mut Connection) -> rusqlite::Result<Vec<Switching>> {
        let sql = format!("SELECT {INSTALLED}, dev, ino FROM switching");
        let row = |row: &Row<'_>| {
            let (dev, ino): (i64, i64) = (row.get(7)?, row.get(8)?);
            Ok(Switching { new: read(row)?, dev: dev.cast_unsigned(), ino: ino.cast_unsigned() })
        };
        connection.prepare(&sql)?.query_map([], row)?.collect()
    }

    /// It is over, made or not.
    pub fn end(connection: &Connection, cabinet: &str, name: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM switching WHERE cabinet = ?1 AND name = ?2";
        connection.execute(sql, [cabinet, name]).map(|_| ())
    }
}

/// Notes a staging folder before it is made. `beside` is the folder below the root it lies in, empty for the data folder.
pub(crate) fn note_staged(connection: &Connection, package: PackageId, beside: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO staged (package, beside) VALUES (?1, ?2)";
    connection.execute(sql, params![package.0, beside]).map(|_| ())
}

/// The staging folders that may be there.
pub(crate) fn staged(connection: &Connection) -> rusqlite::Result<Vec<(PackageId, String)>> {
    let row = |row: &Row<'_>| Ok((PackageId(row.get(0)?), row.get(1)?));
    connection.prepare("SELECT package, beside FROM staged")?.query_map([], row)?.collect()
}

/// A staging folder is gone.
pub(crate) fn forget_staged(
    connection: &Connection,
    package: PackageId,
    beside: &str,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM staged WHERE package = ?1 AND beside = ?2";
    connection.execute(sql, params![package.0, beside]).map(|_| ())
}
