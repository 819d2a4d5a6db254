//! The store's own database: which chunk lies where, which package uses which pack.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use packhorse_domain::ids::PackageId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, StoredPackage};
use crate::frame::Codec;
use crate::manifest::Manifest;

/// The schema's version.
pub(super) const SCHEMA: i64 = 1;

const TABLES: &str = "
CREATE TABLE package (id BLOB PRIMARY KEY, unique_bytes INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE pack (n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE chunk (
    hash BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, wire_len INTEGER NOT NULL,
    codec INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX chunk_by_pack ON chunk (pack);
CREATE TABLE uses (package BLOB NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (package, pack)) WITHOUT ROWID, STRICT;
CREATE INDEX uses_by_pack ON uses (pack);
PRAGMA user_version = 1;
";

/// Where a chunk's body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The pack's number.
    pub pack: i64,
    /// Where the body begins in the pack, in bytes.
    pub offset: u64,
    /// Length of the body, in bytes.
    pub wire_len: u32,
    pub codec: Codec,
}

/// A chunk that a pack brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedChunk {
    pub hash: [u8; 32],
    pub offset: u64,
    pub wire_len: u32,
    pub codec: Codec,
}

#[derive(Debug)]
pub(super) struct Db {
    path: PathBuf,
    connection: Connection,
}

type Answer<T> = Result<T, rusqlite::Error>;

impl Db {
    /// Opens or makes the database; says whether it is new.
    pub(super) fn open(path: &Path) -> Result<(Self, bool), StoreError> {
        let fail = |source| StoreError::Db { path: path.to_owned(), source };
        // There with its mode before SQLite opens it, which gives what it makes beside it the same.
        let made = File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
        made.map_err(StoreError::io(path))?;
        let connection = Connection::open(path).map_err(fail)?;
        let version = prepare(&connection).map_err(fail)?;
        match version {
            0 => connection.execute_batch(&format!("BEGIN; {TABLES} COMMIT;")).map_err(fail)?,
            SCHEMA => {}
            found => return Err(StoreError::Format { path: path.to_owned(), found }),
        }
        Ok((Self { path: path.to_owned(), connection }, version == 0))
    }

    fn run<T>(&self, query: impl FnOnce(&Connection) -> Answer<T>) -> Result<T, StoreError> {
        query(&self.connection).map_err(|source| StoreError::Db { path: self.path.clone(), source })
    }

    fn change<T>(&mut self, change: impl FnOnce(&Connection) -> Answer<T>) -> Result<T, StoreError> {
        let result = self.connection.transaction().and_then(|transaction| {
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        result.map_err(|source| StoreError::Db { path: self.path.clone(), source })
    }

    pub(super) fn has(&self, id: &PackageId) -> Result<bool, StoreError> {
        self.run(|sql| sql.prepare_cached("SELECT 1 FROM package WHERE id = ?")?.exists([id.0]))
    }

    pub(super) fn packages(&self) -> Result<Vec<StoredPackage>, StoreError> {
        self.run(|sql| {
            let mut statement = sql.prepare_cached("SELECT id, unique_bytes FROM package ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(StoredPackage {
                    id: PackageId(row.get(0)?),
                    unique_bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                })
            })?;
            rows.collect()
        })
    }

    /// All packs as (number, name).
    pub(super) fn packs(&self) -> Result<Vec<(i64, String)>, StoreError> {
        self.run(|sql| {
            let mut statement = sql.prepare_cached("SELECT n, name FROM pack ORDER BY n")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// All packages with the numbers of the packs they use, ascending by id.
    pub(super) fn uses(&self) -> Result<Vec<(PackageId, Vec<i64>)>, StoreError> {
        self.run(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT p.id, u.pack FROM package p LEFT JOIN uses u ON u.package = p.id ORDER BY p.id, u.pack",
            )?;
            let mut rows = statement.query([])?;
            let mut all: Vec<(PackageId, Vec<i64>)> = Vec::new();
            while let Some(row) = rows.next()? {
                let id = PackageId(row.get(0)?);
                if all.last().is_none_or(|(last, _)| *last != id) {
                    all.push((id, Vec::new()));
                }
                if let (Some((_, packs)), Some(pack)) = (all.last_mut(), row.get(1)?) {
                    packs.push(pack);
                }
            }
            Ok(all)
        })
    }

    /// Where each chunk of a package lies, by index; `None` for what is not here.
    pub(super) fn locate(&self, manifest: &Manifest) -> Result<Vec<Option<Place>>, StoreError> {
        self.run(|sql| locate(sql, manifest))
    }

    /// Records a package and the pack it brought along, in one transaction. Returns `false`, having changed nothing, if a
    /// chunk of the package would then still be nowhere.
    pub(super) fn add(
        &mut self,
        manifest: &Manifest,
        pack: Option<(&str, &[PackedChunk])>,
    ) -> Result<bool, StoreError> {
        let result = self.connection.transaction().and_then(|transaction| {
            if let Some((name, chunks)) = pack {
                add_pack(&transaction, name, chunks)?;
            }
            let whole = add_package(&transaction, manifest)?;
            if whole {
                transaction.commit()?;
            }
            Ok(whole)
        });
        result.map_err(|source| StoreError::Db { path: self.path.clone(), source })
    }

    /// Records a pack by itself, for making the database anew.
    pub(super) fn add_pack(&mut self, name: &str, chunks: &[PackedChunk]) -> Result<(), StoreError> {
        self.change(|sql| add_pack(sql, name, chunks))
    }

    /// Forgets a package and the packs nobody needs any more; returns their names.
    pub(super) fn remove(&mut self, id: &PackageId, pinned: &[i64]) -> Result<Vec<String>, StoreError> {
        self.change(|sql| {
            sql.prepare_cached("DELETE FROM uses WHERE package = ?")?.execute([id.0])?;
            sql.prepare_cached("DELETE FROM package WHERE id = ?")?.execute([id.0])?;
            forget_unused(sql, pinned)
        })
    }

    /// The names of the packs that [`Db::remove`] would forget.
    pub(super) fn unused_without(&self, id: &PackageId, pinned: &[i64]) -> Result<Vec<String>, StoreError> {
        self.run(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT n, name FROM pack WHERE n NOT IN (SELECT pack FROM uses WHERE package <> ?) ORDER BY n",
            )?;
            let rows =
                statement.query_map([id.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            let all = rows.collect::<Answer<Vec<_>>>()?;
            Ok(all.into_iter().filter(|(n, _)| !pinned.contains(n)).map(|(_, name)| name).collect())
        })
    }

    /// A pack is not there any more: neither are the packages that use it.
    pub(super) fn lost_pack(&mut self, n: i64) -> Result<(), StoreError> {
        self.change(|sql| {
            sql.prepare_cached("DELETE FROM package WHERE id IN (SELECT package FROM uses WHERE pack = ?)")?
                .execute([n])?;
            sql.prepare_cached("DELETE FROM uses WHERE package NOT IN (SELECT id FROM package)")?
                .execute([])?;
            sql.prepare_cached("DELETE FROM chunk WHERE pack = ?")?.execute([n])?;
            sql.prepare_cached("DELETE FROM pack WHERE n = ?")?.execute([n])?;
            Ok(())
        })
    }

    /// Forgets packs that no package uses and nobody builds on; returns their names.
    pub(super) fn forget_unused(&mut self, pinned: &[i64]) -> Result<Vec<String>, StoreError> {
        self.change(|sql| forget_unused(sql, pinned))
    }
}

fn prepare(connection: &Connection) -> Answer<i64> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn locate(sql: &Connection, manifest: &Manifest) -> Answer<Vec<Option<Place>>> {
    let mut statement =
        sql.prepare_cached("SELECT pack, offset, wire_len, codec FROM chunk WHERE hash = ?")?;
    manifest
        .chunks()
        .map(|chunk| statement.query_row([chunk.hash], place).optional().map(Option::flatten))
        .collect()
}

/// `None` for a codec this version does not know: the chunk is then fetched again rather than misread.
fn place(row: &rusqlite::Row<'_>) -> Answer<Option<Place>> {
    let codec: u8 = row.get(3)?;
    let (pack, offset, wire_len) = (row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?);
    Ok(Codec::from_byte(codec).map(|codec| Place { pack, offset, wire_len, codec }))
}

fn add_pack(sql: &Connection, name: &str, chunks: &[PackedChunk]) -> Answer<()> {
    sql.prepare_cached("INSERT INTO pack (name) VALUES (?)")?.execute([name])?;
    let pack = sql.last_insert_rowid();
    // A chunk that two packages brought at the same time stays where it was first.
    let mut insert = sql.prepare_cached("INSERT OR IGNORE INTO chunk VALUES (?, ?, ?, ?, ?)")?;
    for chunk in chunks {
        let offset = chunk.offset.cast_signed();
        insert.execute(params![chunk.hash, pack, offset, chunk.wire_len, chunk.codec as u8])?;
    }
    Ok(())
}

/// Records a package and the packs it uses; `false` if it is not whole.
fn add_package(sql: &Connection, manifest: &Manifest) -> Answer<bool> {
    let places = locate(sql, manifest)?;
    let packs: std::collections::BTreeSet<i64> = places.iter().flatten().map(|place| place.pack).collect();
    if places.iter().any(Option::is_none) {
        return Ok(false);
    }
    let (id, unique_bytes) = (manifest.id().0, manifest.unique_bytes().cast_signed());
    sql.prepare_cached("INSERT OR REPLACE INTO package VALUES (?, ?)")?.execute(params![id, unique_bytes])?;
    let mut uses = sql.prepare_cached("INSERT OR IGNORE INTO uses VALUES (?, ?)")?;
    for pack in packs {
        uses.execute(params![id, pack])?;
    }
    Ok(true)
}

fn forget_unused(sql: &Connection, pinned: &[i64]) -> Answer<Vec<String>> {
    let mut unused =
        sql.prepare_cached("SELECT n, name FROM pack WHERE n NOT IN (SELECT pack FROM uses) ORDER BY n")?;
    let rows = unused.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let mut names = Vec::new();
    for row in rows.collect::<Answer<Vec<_>>>()? {
        if pinned.contains(&row.0) {
            continue;
        }
        sql.prepare_cached("DELETE FROM chunk WHERE pack = ?")?.execute([row.0])?;
        sql.prepare_cached("DELETE FROM pack WHERE n = ?")?.execute([row.0])?;
        names.push(row.1);
    }
    Ok(names)
}
