//! Cabinets and registered packages.

use std::cmp::Ordering;

use packhorse_domain::ids::{PackageId, PackageLabel, PackageQuery};
use packhorse_domain::time::Time;
use packhorse_domain::version::{self, VersionOrder};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Command, DbError, jobs};

/// A registered package.
#[derive(Debug, Clone)]
pub struct PackageRecord {
    /// Its identity.
    pub id: PackageId,
    /// Cabinet, name, version, generation.
    pub label: PackageLabel,
    /// How its versions are ordered: `semver` or `deb`.
    pub version_order: String,
    /// `files` or `deb`.
    pub kind: String,
    /// What it is.
    pub summary: String,
    /// For kind deb: its dependencies.
    pub depends: Option<String>,
    /// `90d` or a date.
    pub keep: String,
    /// Until when relays keep it.
    pub keep_until: Time,
    /// Plain content, bytes.
    pub size_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// Entries.
    pub entries: u64,
    /// Ids of the keys that signed it, separated by spaces.
    pub signed_by: String,
    /// When it was registered.
    pub registered: Time,
}

const COLUMNS: &str =
    "id, cabinet, name, version, generation, version_order, kind, summary, depends, keep, keep_until,
                       size_bytes, chunks, entries, signed_by, registered";

/// A package's label, of four columns from `first` on: cabinet, name, version, generation.
///
/// # Errors
/// They are no label.
pub fn label(row: &Row<'_>, first: usize) -> rusqlite::Result<PackageLabel> {
    Ok(PackageLabel {
        cabinet: row.get(first)?,
        name: row.get(first + 1)?,
        version: row.get(first + 2)?,
        generation: row.get(first + 3)?,
    })
}

fn record(row: &Row<'_>) -> rusqlite::Result<PackageRecord> {
    Ok(PackageRecord {
        id: PackageId(row.get(0)?),
        label: label(row, 1)?,
        version_order: row.get(5)?,
        kind: row.get(6)?,
        summary: row.get(7)?,
        depends: row.get(8)?,
        keep: row.get(9)?,
        keep_until: Time(row.get(10)?),
        size_bytes: row.get::<_, i64>(11)? as u64,
        chunks: row.get::<_, i64>(12)? as u64,
        entries: row.get::<_, i64>(13)? as u64,
        signed_by: row.get(14)?,
        registered: Time(row.get(15)?),
    })
}

/// The scheme of a stored word.
pub fn order_of(word: &str) -> VersionOrder {
    if word == "deb" { VersionOrder::Deb } else { VersionOrder::Semver }
}

/// The word of a scheme.
pub fn order_word(order: VersionOrder) -> &'static str {
    match order {
        VersionOrder::Deb => "deb",
        VersionOrder::Semver => "semver",
    }
}

/// Packages, of one cabinet or of all.
///
/// # Errors
/// The database's.
pub fn list(connection: &Connection, cabinet: Option<&str>) -> Result<Vec<PackageRecord>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM packages WHERE ?1 IS NULL OR cabinet = ?1 ORDER BY cabinet, name, registered, generation"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([cabinet], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The package a query means: version and generation left out mean the newest.
///
/// # Errors
/// A refusal that says what is not there.
pub fn resolve(connection: &Connection, query: &PackageQuery) -> Result<PackageRecord, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM packages WHERE cabinet = ?1 AND name = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![query.cabinet, query.name], record)?;
    let all = rows.collect::<Result<Vec<_>, _>>()?;
    let hint = Some("packhorse package list shows what is there");
    if all.is_empty() {
        let message = format!("there is no package {}/{}", query.cabinet, query.name);
        return Err(DbError::refused("unknown_package", message, hint));
    }
    let fits = |package: &&PackageRecord| {
        query.version.as_ref().is_none_or(|version| same_version(package, version))
            && query.generation.is_none_or(|generation| package.label.generation == generation)
    };
    all.iter().filter(fits).max_by(|a, b| newer(a, b)).cloned().ok_or_else(|| {
        let version = query.version.as_deref().unwrap_or("any version");
        let message = format!("there is no {}/{} {version}", query.cabinet, query.name);
        DbError::refused("unknown_package", message, hint)
    })
}

fn same_version(package: &PackageRecord, version: &str) -> bool {
    package.label.version == version
        || version::compare(order_of(&package.version_order), &package.label.version, version)
            .is_ok_and(|order| order == Ordering::Equal)
}

fn newer(a: &PackageRecord, b: &PackageRecord) -> Ordering {
    version::compare(order_of(&b.version_order), &a.label.version, &b.label.version)
        // Versions of different schemes cannot be compared: the one registered later counts.
        .unwrap_or_else(|_| a.registered.cmp(&b.registered))
        .then(a.label.generation.cmp(&b.label.generation))
}

/// Registers a package whose content is in the store.
pub struct Register(pub PackageRecord);

/// What [`Register`] answers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The label it has now.
    pub label: PackageLabel,
    /// Whether this very manifest was there already.
    pub already: bool,
}

/// The registration of this very manifest in a cabinet, if there is one.
///
/// # Errors
/// The database's.
pub fn registered(
    connection: &Connection,
    cabinet: &str,
    id: &PackageId,
) -> Result<Option<PackageRecord>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM packages WHERE cabinet = ?1 AND id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![cabinet, id.0], record).optional()?)
}

/// Writes a package down under the label it has; what is there already stays.
///
/// # Errors
/// The database's.
pub fn note(tx: &Connection, package: &PackageRecord) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO packages ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT DO NOTHING"
    );
    tx.prepare_cached(&sql)?.execute(params![
        package.id.0,
        package.label.cabinet,
        package.label.name,
        package.label.version,
        package.label.generation,
        package.version_order,
        package.kind,
        package.summary,
        package.depends,
        package.keep,
        package.keep_until.0,
        package.size_bytes as i64,
        package.chunks as i64,
        package.entries as i64,
        package.signed_by,
        package.registered.0
    ])?;
    Ok(())
}

impl Command for Register {
    type Answer = Registration;

    fn apply(self, tx: &Connection) -> Result<Registration, DbError> {
        let mut package = self.0;
        if let Some(known) = registered(tx, &package.label.cabinet, &package.id)? {
            return Ok(Registration { label: known.label, already: true });
        }
        let label = &mut package.label;
        let newest: Option<u32> = tx
            .prepare_cached(
                "SELECT MAX(generation) FROM packages WHERE cabinet = ?1 AND name = ?2 AND version = ?3",
            )?
            .query_row(params![label.cabinet, label.name, label.version], |row| row.get(0))?;
        label.generation = newest.unwrap_or(0) + 1;
        note(tx, &package)?;
        Ok(Registration { label: package.label, already: false })
    }
}

/// Removes a registration; refused while a job needs it. Answers it, and whether its content is used by no other.
pub struct Unregister(pub PackageQuery);

impl Command for Unregister {
    type Answer = (PackageRecord, bool);

    fn apply(self, tx: &Connection) -> Result<(PackageRecord, bool), DbError> {
        let package = resolve(tx, &self.0)?;
        let needed = jobs::needing(tx, &package.id)?;
        if needed > 0 {
            let message = format!("{needed} instructions of open jobs still need {}", package.label);
            return Err(DbError::refused(
                "in_use",
                message,
                Some("packhorse job list shows the jobs; cancel them, or wait"),
            ));
        }
        tx.prepare_cached("DELETE FROM packages WHERE cabinet = ?1 AND id = ?2")?
            .execute(params![package.label.cabinet, package.id.0])?;
        let others: i64 = tx
            .prepare_cached("SELECT COUNT(*) FROM packages WHERE id = ?1")?
            .query_row([package.id.0], |row| row.get(0))?;
        Ok((package, others == 0))
    }
}

/// Makes a cabinet.
pub struct MakeCabinet {
    /// Its name.
    pub name: String,
    /// Now.
    pub now: Time,
}

impl Command for MakeCabinet {
    type Answer = ();

    fn apply(self, tx: &Connection) -> Result<(), DbError> {
        let sql = "INSERT INTO cabinets (name, created) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        if tx.prepare_cached(sql)?.execute(params![self.name, self.now.0])? == 0 {
            let hint = format!("packhorse cabinet trust {} --key KEY adds a key to it", self.name);
            return Err(DbError::refused(
                "exists",
                format!("there is a cabinet {} already", self.name),
                Some(&hint),
            ));
        }
        Ok(())
    }
}

/// All cabinets with the number of packages in each.
///
/// # Errors
/// The database's.
pub fn cabinets(connection: &Connection) -> Result<Vec<(String, u64)>, DbError> {
    let sql = "SELECT c.name, COUNT(p.row) FROM cabinets c LEFT JOIN packages p ON p.cabinet = c.name
               GROUP BY c.name ORDER BY c.name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
