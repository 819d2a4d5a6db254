//! The tables. Later versions add steps; a database is brought forward at its opening.

use std::path::Path;

use packhorse_domain::ids::Incarnation;
use rusqlite::{Connection, OptionalExtension, params};

use crate::ClientError;
use crate::clock::chance;

/// The newest schema known. Version 2 has the tables of version 1; its journal knows choices, so that a program that knows
/// only version 1 must not read it.
const SCHEMA: i64 = 2;

/// Version 1. Blobs are CBOR or envelopes as they were received; times are microseconds.
const V1: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE jobs (
        issuer TEXT NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL,
        attempt INTEGER,
        -- The order as it came: the signed job, proofs, where the packages are to be had.
        body BLOB NOT NULL,
        PRIMARY KEY (issuer, epoch, number)
    ) STRICT, WITHOUT ROWID;
    -- Append-only. What has a report number is the outbox, together with the alarms.
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        report INTEGER UNIQUE,
        issuer TEXT NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL,
        entry BLOB NOT NULL,
        receipted INTEGER
    ) STRICT;
    CREATE TABLE alarms (
        report INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        code TEXT NOT NULL, what TEXT NOT NULL, text TEXT NOT NULL,
        receipted INTEGER,
        UNIQUE (code, what)
    ) STRICT;
    CREATE TABLE delegations (name TEXT PRIMARY KEY, envelope BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE installed (
        cabinet TEXT NOT NULL, name TEXT NOT NULL,
        version TEXT NOT NULL, generation INTEGER NOT NULL,
        package BLOB NOT NULL, manifest BLOB NOT NULL,
        -- Which start installed it.
        start TEXT NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (cabinet, name)
    ) STRICT;
    -- A tree that is about to be switched in, or was: its inode at its destination says which.
    CREATE TABLE switching (
        cabinet TEXT NOT NULL, name TEXT NOT NULL,
        version TEXT NOT NULL, generation INTEGER NOT NULL,
        package BLOB NOT NULL, manifest BLOB NOT NULL,
        start TEXT NOT NULL, dev INTEGER NOT NULL, ino INTEGER NOT NULL,
        PRIMARY KEY (cabinet, name)
    ) STRICT;
    -- Staging folders that are, or may be, there: the package, and the folder below the root they lie beside.
    CREATE TABLE staged (package BLOB NOT NULL, beside TEXT NOT NULL, PRIMARY KEY (package, beside)) STRICT;
";

/// What the host said of itself. A table more does not trouble the version before, so it is none of the versions above.
const FACTS: &str = "
    CREATE TABLE IF NOT EXISTS facts (
        report INTEGER PRIMARY KEY, at INTEGER NOT NULL,
        -- A JSON list of name and value.
        body TEXT NOT NULL,
        receipted INTEGER
    ) STRICT;
";

pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), ClientError> {
    let bad = |error| ClientError::Database { path: path.to_owned(), error };
    let found = open(connection).map_err(bad)?;
    if found > SCHEMA {
        return Err(ClientError::Schema { path: path.to_owned(), found, known: SCHEMA });
    }
    Ok(())
}

/// Sets the connection up, makes what is missing, and answers the schema's version.
fn open(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let tx = connection.transaction()?;
    let there: bool =
        tx.query_row("SELECT count(*) FROM sqlite_master WHERE name = 'meta'", [], |row| row.get(0))?;
    if !there {
        tx.execute_batch(V1)?;
        put(&tx, "schema", &SCHEMA.to_string())?;
        put(&tx, "incarnation", &Incarnation(chance()).0.to_string())?;
        put(&tx, "base", "0")?;
    }
    tx.execute_batch(FACTS)?;
    if get(&tx, "schema")?.as_deref() == Some("1") {
        put(&tx, "schema", &SCHEMA.to_string())?;
    }
    let found = get(&tx, "schema")?.and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    tx.commit()?;
    Ok(found)
}

/// A number in `meta`, as text.
pub(super) fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    Ok(get_blob(connection, key)?.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// A value in `meta`.
pub(super) fn get_blob(connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Sets a number in `meta`.
pub(super) fn put(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    put_blob(connection, key, value.as_bytes())
}

/// Sets a value in `meta`.
pub(super) fn put_blob(connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection
        .execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", params![key, value])
        .map(|_| ())
}
