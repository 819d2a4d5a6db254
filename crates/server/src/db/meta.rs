//! Single values.

use packhorse_domain::ids::Incarnation;
use packhorse_domain::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Command, DbError};

/// Reads a number.
///
/// # Errors
/// The database's.
pub fn number(connection: &Connection, key: &str) -> Result<Option<i64>, DbError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// Reads bytes.
///
/// # Errors
/// The database's.
pub fn bytes(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>, DbError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

/// Writes a value.
///
/// # Errors
/// The database's.
pub fn set(tx: &Connection, key: &str, value: impl rusqlite::ToSql) -> Result<(), DbError> {
    tx.prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
        .execute(params![key, value])?;
    Ok(())
}

/// Counts a number up and answers it; the first is 1.
///
/// # Errors
/// The database's.
pub fn next(tx: &Connection, key: &str) -> Result<i64, DbError> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, 1)
               ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value";
    Ok(tx.prepare_cached(sql)?.query_row([key], |row| row.get(0))?)
}

/// The revision of something signed that follows one: by the clock, so that a managing server that was restored from a backup
/// does not make one that hosts and relays take for an old one.
pub fn next_revision(known: u64, now: Time) -> u64 {
    known.saturating_add(1).max(u64::try_from(now.0 / 1_000_000).unwrap_or(0))
}

/// A random life, never 0.
pub fn random_incarnation() -> Incarnation {
    let chance = getrandom::u64().unwrap_or_else(|error| {
        // Without the system's randomness nothing here is safe to go on with.
        tracing::error!(%error, "the system gives no random numbers");
        std::process::abort()
    });
    Incarnation(chance.max(1))
}

/// The life of a system's own state, made when it is first asked for.
///
/// # Errors
/// The database's.
pub fn own_incarnation(tx: &Connection) -> Result<Incarnation, DbError> {
    if let Some(known) = number(tx, "incarnation")? {
        return Ok(Incarnation(known as u64));
    }
    let fresh = random_incarnation();
    set(tx, "incarnation", fresh.0 as i64)?;
    Ok(fresh)
}

/// Reads or makes what a system has to know of itself at its start.
pub struct Start {
    /// The trust document as it came at init or joining, taken only if there is none.
    pub trust: Vec<u8>,
}

/// What [`Start`] answers.
pub struct Started {
    /// The system's life.
    pub incarnation: Incarnation,
    /// Its epoch as an issuer.
    pub epoch: u64,
    /// The trust document.
    pub trust: Vec<u8>,
}

impl Command for Start {
    type Answer = Started;

    fn apply(self, tx: &Connection) -> Result<Started, DbError> {
        let trust = match bytes(tx, "trust")? {
            Some(known) => known,
            None => {
                set(tx, "trust", &self.trust)?;
                self.trust
            }
        };
        if number(tx, "epoch")?.is_none() {
            set(tx, "epoch", 1)?;
        }
        let epoch = number(tx, "epoch")?.unwrap_or(1) as u64;
        Ok(Started { incarnation: own_incarnation(tx)?, epoch, trust })
    }
}

/// The next number of a job of this system.
pub struct NextJobNumber;

impl Command for NextJobNumber {
    type Answer = u64;

    fn apply(self, tx: &Connection) -> Result<u64, DbError> {
        Ok(next(tx, "job_number")? as u64)
    }
}

/// The next epoch of this system's jobs: by the clock, so that none comes twice, whatever became of the database.
pub struct NewEpoch(pub Time);

impl Command for NewEpoch {
    type Answer = u64;

    fn apply(self, tx: &Connection) -> Result<u64, DbError> {
        let known = number(tx, "epoch")?.unwrap_or(0);
        let next = known.saturating_add(1).max(self.0.0 / 1_000_000);
        set(tx, "epoch", next)?;
        Ok(next as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_follow_the_clock() {
        assert_eq!(next_revision(7, Time(0)), 8);
        assert_eq!(next_revision(7, Time(50_000_000)), 50);
    }
}
