//! `client.db`: everything durable of an agent. One thread holds the connection; whoever reads or writes sends it a closure
//! and waits for the answer, so that there is one writer and nothing blocks the runtime.

mod entry;
mod kept;
mod outbox;
mod packages;
mod rates;
mod schema;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use kept::{Kept, job_of};
pub(crate) use outbox::{Batch, Reporter};
pub(crate) use packages::{Installed, Switching, forget_staged, note_staged, staged};
pub(crate) use rates::{note_rate, rate};
pub(crate) use write::{Alarm, Commit, Told};

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use crate::ClientError;
use crate::error::file_error;

/// How long a start waits for the agent before it to let go of the folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_STEP: Duration = Duration::from_millis(20);

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database of one agent. Clones share it; the thread ends with the last.
#[derive(Clone)]
pub(crate) struct Db {
    path: PathBuf,
    work: mpsc::Sender<Work>,
}

impl Db {
    /// Opens or makes the database in a data folder, which no other agent may be using.
    ///
    /// # Errors
    /// Another agent runs there, or the database cannot be used.
    pub fn open(data: &Path) -> Result<Db, ClientError> {
        let lock = lock(data)?;
        let path = data.join("client.db");
        let bad = |error| ClientError::Database { path: path.clone(), error };
        // There with its mode before SQLite opens it, which gives what it makes beside it the same.
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(file_error(&path))?;
        private(&path)?;
        let mut connection = Connection::open(&path).map_err(bad)?;
        schema::prepare(&mut connection, &path)?;
        let (work, todo) = mpsc::channel::<Work>();
        std::thread::Builder::new()
            .name("client-db".to_owned())
            .spawn(move || {
                for work in todo {
                    work(&mut connection);
                }
                drop((connection, lock));
            })
            .map_err(file_error(&path))?;
        Ok(Db { path, work })
    }

    /// Runs `work` on the database thread.
    ///
    /// # Errors
    /// What the database says.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ClientError> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |connection| {
            // Nobody waits any more if the agent is shutting down; what was written is written.
            let _ = answer.send(work(connection));
        }))?;
        self.outcome(answered.await.ok())
    }

    /// As [`Db::run`], for threads that may block.
    ///
    /// # Errors
    /// What the database says.
    pub fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ClientError> {
        let (answer, answered) = mpsc::channel();
        self.send(Box::new(move |connection| {
            let _ = answer.send(work(connection));
        }))?;
        self.outcome(answered.recv().ok())
    }

    fn send(&self, work: Work) -> Result<(), ClientError> {
        self.work.send(work).map_err(|_| self.gone())
    }

    fn outcome<T>(&self, outcome: Option<rusqlite::Result<T>>) -> Result<T, ClientError> {
        let outcome = outcome.ok_or_else(|| self.gone())?;
        outcome.map_err(|error| ClientError::Database { path: self.path.clone(), error })
    }

    fn gone(&self) -> ClientError {
        ClientError::Ended(format!("the thread of {} is gone", self.path.display()))
    }
}

fn lock(data: &Path) -> Result<File, ClientError> {
    let path = data.join("agent.lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(file_error(&path))?;
    private(&path)?;
    let tries = LOCK_PATIENCE.as_millis() / LOCK_STEP.as_millis();
    for _ in 0..tries {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(file);
        }
        std::thread::sleep(LOCK_STEP);
    }
    Err(ClientError::Running(data.to_owned()))
}

fn private(path: &Path) -> Result<(), ClientError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(file_error(path))
}
