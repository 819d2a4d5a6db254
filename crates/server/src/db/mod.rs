//! The state of a managing server or relay: SQLite in WAL mode with `synchronous = FULL`.
//!
//! All writes are typed commands to one writer: it takes what has come together (at most [`GROUP_MAX`] commands) into one
//! transaction and answers only after commit, so that the price of durability is shared. A command that fails is taken back
//! alone (savepoint). Reads go to a few read-only connections beside it.

pub mod access;
pub mod calling;
pub mod calls;
pub mod control;
pub mod copies;
pub mod delegations;
pub mod endings;
pub mod feeds;
pub mod groups;
pub mod history;
pub mod hosts;
pub mod jobs;
pub mod join;
pub mod keeping;
pub mod known;
pub mod late;
pub mod lines;
pub mod meta;
pub mod moving;
pub mod orders;
pub mod outbox;
pub mod packages;
pub mod page;
pub mod places;
pub mod rates;
pub mod rebuild;
pub mod relay_jobs;
pub mod reports;
pub mod retire;
pub mod retired;
mod schema;
pub mod standings;
pub mod tokens;
pub mod transfers;
pub mod views;

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use packhorse_wire::net::Refusal;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Most commands of one transaction.
pub const GROUP_MAX: usize = 512;
/// Commands that may wait for the writer.
const QUEUE_MAX: usize = 4096;
/// Read-only connections.
const READERS: usize = 4;

thread_local! {
    /// Statements this thread has executed: the writer has a thread of its own.
    static STATEMENTS: Cell<u64> = const { Cell::new(0) };
}

/// Why the database did not answer.
#[derive(Debug, Error)]
pub enum DbError {
    /// SQLite.
    #[error("the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A refusal for whoever asked: nothing was changed.
    #[error("{0}")]
    Refused(Refusal),
    /// What is stored cannot be read.
    #[error("the database holds what cannot be read: {0}")]
    Damaged(String),
    /// Signing or encoding.
    #[error("{0}")]
    Internal(String),
    /// The writer has ended.
    #[error("the database is closed")]
    Closed,
    /// A database of another version.
    #[error("the database has version {found}, this program knows up to {known}; update this program")]
    Version {
        /// Its version.
        found: i64,
        /// The newest version known.
        known: i64,
    },
}

impl DbError {
    /// A refusal with a word, a sentence and, where there is one, a hint.
    pub fn refused(code: &str, message: impl Into<String>, hint: Option<&str>) -> DbError {
        let refusal = Refusal::new(code, message);
        DbError::Refused(match hint {
            Some(hint) => refusal.with_hint(hint),
            None => refusal,
        })
    }

    /// Something that was stored by this program and cannot be read by it.
    pub fn damaged(error: impl std::fmt::Display) -> DbError {
        DbError::Damaged(error.to_string())
    }

    /// Something that went wrong while making what is to be stored.
    pub fn internal(error: impl std::fmt::Display) -> DbError {
        DbError::Internal(error.to_string())
    }
}

/// Makes the database's file, for this user alone, before SQLite opens it: the files that SQLite puts beside it have the
/// mode it finds on the first, and hold the same data.
fn make_private(path: &Path) -> Result<(), DbError> {
    let made = File::options().create(true).append(true).mode(0o600).open(path);
    made.map(|_| ()).map_err(|error| DbError::internal(format!("{}: {error}", path.display())))
}

/// A typed write: everything it does is in one transaction, with others or alone.
pub trait Command: Send + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// Does it.
    ///
    /// # Errors
    /// Why not; what it did is taken back.
    fn apply(self, tx: &Connection) -> Result<Self::Answer, DbError>;
}

type Boxed = Box<dyn FnOnce(&Connection) -> Finish + Send>;
type Finish = Box<dyn FnOnce(bool) + Send>;

/// The database.
#[derive(Clone)]
pub struct Db {
    writer: mpsc::Sender<Boxed>,
    written: Arc<AtomicU64>,
    readers: Arc<Readers>,
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    statements: AtomicU64,
}

impl Db {
    /// Opens the database, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, or is of a newer version.
    pub fn open(path: &Path) -> Result<Db, DbError> {
        make_private(path)?;
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "OFF")?;
        connection.set_prepared_statement_cache_capacity(128);
        connection.busy_timeout(Duration::from_secs(10))?;
        schema::migrate(&connection)?;
        count_statements(&mut connection);
        let readers = (0..READERS).map(|_| reader(path)).collect::<Result<Vec<_>, _>>()?;
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let written = Arc::new(AtomicU64::new(0));
        let counter = written.clone();
        thread::Builder::new()
            .name("db-writer".to_owned())
            .spawn(move || {
                let work = AssertUnwindSafe(|| write_all(&connection, receiver, &counter));
                if std::panic::catch_unwind(work).is_err() {
                    // A system that takes nothing in any more, and goes on answering, is worse than one that is started again.
                    tracing::error!("the database's writer died: this process ends");
                    std::process::abort();
                }
            })
            .map_err(DbError::internal)?;
        let readers = Arc::new(Readers {
            idle: Mutex::new(readers),
            permits: Arc::new(Semaphore::new(READERS)),
            statements: AtomicU64::new(0),
        });
        Ok(Db { writer: sender, written, readers })
    }

    /// Does a command and answers after it is durable.
    ///
    /// # Errors
    /// The command's, or the database's.
    pub async fn write<C: Command>(&self, command: C) -> Result<C::Answer, DbError> {
        let (sender, receiver) = oneshot::channel();
        let boxed: Boxed = Box::new(move |tx| {
            let result = savepoint(tx, |tx| command.apply(tx));
            Box::new(move |committed| {
                // Whoever asked may be gone; what was written stays written.
                let _ = sender.send(if committed { result } else { Err(DbError::Closed) });
            })
        });
        self.writer.send(boxed).await.map_err(|_| DbError::Closed)?;
        receiver.await.map_err(|_| DbError::Closed)?
    }

    /// Statements the writer has executed: "a job of 2,000 hosts needs as many as one of 10" is counted here.
    pub fn statements_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Statements executed by reads, likewise.
    pub fn statements_read(&self) -> u64 {
        self.readers.statements.load(Ordering::Relaxed)
    }

    /// Reads on one of the read-only connections.
    ///
    /// # Errors
    /// The reader's, or the database's.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let readers = self.readers.clone();
        let permit = self.readers.permits.clone().acquire_owned().await.map_err(|_| DbError::Closed)?;
        tokio::task::spawn_blocking(move || {
            let connection = lock(&readers.idle).pop().ok_or(DbError::Closed)?;
            let before = STATEMENTS.get();
            let result = read(&connection);
            readers.statements.fetch_add(STATEMENTS.get() - before, Ordering::Relaxed);
            lock(&readers.idle).push(connection);
            // Given back after the connection, also when whoever asked has gone meanwhile.
            drop(permit);
            result
        })
        .await
        .map_err(DbError::internal)?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while the list was held cannot leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reader(path: &Path) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    count_statements(&mut connection);
    Ok(connection)
}

fn count_statements(connection: &mut Connection) {
    // Counting is for tests and figures: without it the system works as well.
    let _ = connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count));
}

fn count(_: TraceEvent<'_>) {
    STATEMENTS.set(STATEMENTS.get() + 1);
}

fn savepoint<T>(tx: &Connection, work: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
    tx.execute_batch("SAVEPOINT command")?;
    // One command that panics is taken back like one that fails: without the writer nothing would be stored any more,
    // and nobody would be told.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(tx)))
        .unwrap_or_else(|_| Err(DbError::Internal("a command ended in a panic, which is a bug".to_owned())));
    tx.execute_batch(match result {
        Ok(_) => "RELEASE command",
        Err(_) => "ROLLBACK TO command; RELEASE command",
    })?;
    result
}

/// The writer: what has come together goes into one transaction.
fn write_all(connection: &Connection, mut queue: mpsc::Receiver<Boxed>, written: &AtomicU64) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX {
            match queue.try_recv() {
                Ok(next) => group.push(next),
                Err(_) => break,
            }
        }
        write_group(connection, group, written);
    }
}

fn write_group(connection: &Connection, group: Vec<Boxed>, written: &AtomicU64) {
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
        tracing::error!(%error, "the database does not begin a transaction");
        return;
    }
    let finishes: Vec<Finish> = group.into_iter().map(|command| command(connection)).collect();
    let committed = match connection.execute_batch("COMMIT") {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "the database does not commit");
            let _ = connection.execute_batch("ROLLBACK");
            false
        }
    };
    written.store(STATEMENTS.get(), Ordering::Relaxed);
    for finish in finishes {
        finish(committed);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Count(bool);

    impl Command for Count {
        type Answer = i64;

        fn apply(self, tx: &Connection) -> Result<i64, DbError> {
            let count = meta::next(tx, "count")?;
            assert!(self.0, "as a bug would");
            Ok(count)
        }
    }

    #[tokio::test]
    async fn a_command_that_panics_is_taken_back_and_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("x.db")).unwrap();
        assert_eq!(db.write(Count(true)).await.unwrap(), 1);
        assert!(matches!(db.write(Count(false)).await, Err(DbError::Internal(_))));
        assert_eq!(db.write(Count(true)).await.unwrap(), 2);
    }

    #[test]
    fn nobody_else_reads_the_database_nor_what_stands_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let _db = Db::open(&dir.path().join("server.db")).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", file.path().display());
        }
    }
}
