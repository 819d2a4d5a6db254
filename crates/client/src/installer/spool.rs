//! The folder in which an installer's start and end are written down.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::process::Process;

/// Largest file in it that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Held by whoever runs the installer.
const LOCK: &str = "lock";

/// How an installer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Its exit code; `None`: by a signal, or it never ran.
    pub code: Option<i32>,
    /// It took longer than allowed and was killed.
    pub timed_out: bool,
    /// Why there is no exit code.
    pub why: String,
    /// The end of its output.
    pub tail: String,
}

impl End {
    /// Of one that was killed together with what watched it.
    pub fn lost() -> End {
        let why = "the installer was killed from outside; how far it came is not known".to_owned();
        End { code: None, timed_out: false, why, tail: String::new() }
    }
}

/// What the folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// It ended.
    Ended(End),
    /// It runs.
    Running,
    /// It never started, or is gone and left nothing behind.
    Gone,
}

/// The folder of one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spool(PathBuf);

impl Spool {
    /// The folder named `start` in `spools`.
    pub fn at(spools: &Path, start: &str) -> Spool {
        Spool(spools.join(start))
    }

    /// The folder at a path.
    pub(super) fn of(path: PathBuf) -> Spool {
        Spool(path)
    }

    /// Its path.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// Makes it, empty.
    ///
    /// # Errors
    /// What the system says.
    pub fn make(&self) -> io::Result<()> {
        self.remove()?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        File::create(self.0.join(LOCK))?.sync_all()?;
        File::open(&self.0)?.sync_all()?;
        self.sync_parent()
    }

    /// Removes it: a later look finds nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Ok(()) => self.sync_parent(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_parent(&self) -> io::Result<()> {
        match self.0.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    /// What became of it. A start that is found gone can never begin any more, not even one that was on its way.
    ///
    /// # Errors
    /// A file in it cannot be read.
    pub fn look(&self) -> io::Result<Look> {
        if let Some(end) = self.read("exit")? {
            return Ok(Look::Ended(end));
        }
        let lock = match File::open(self.0.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Gone),
            Err(error) => return Err(error),
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(Look::Running);
        }
        // Nobody watches it any more: it ended in this moment, or its watcher was killed and it may run on alone.
        if let Some(end) = self.read("exit")? {
            return Ok(Look::Ended(end));
        }
        if self.runs("started")? || self.runs("child")? {
            return Ok(Look::Running);
        }
        self.write("abandoned", &true)?;
        Ok(Look::Gone)
    }

    fn runs(&self, name: &str) -> io::Result<bool> {
        Ok(self.read::<Process>(name)?.is_some_and(|process| process.is_alive()))
    }

    /// For the process that is to run the installer: nobody else may. The lock is held as long as the file is open.
    ///
    /// # Errors
    /// Another one runs it, or it was given up.
    pub(super) fn hold(&self) -> io::Result<File> {
        let lock = File::open(self.0.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        if self.read::<bool>("abandoned")?.is_some() || self.read::<End>("exit")?.is_some() {
            return Err(io::Error::other("this start was given up"));
        }
        Ok(lock)
    }

    pub(super) fn started(&self, process: &Process) -> io::Result<()> {
        self.write("started", process)
    }

    pub(super) fn child(&self, process: &Process) -> io::Result<()> {
        self.write("child", process)
    }

    pub(super) fn ended(&self, end: &End) -> io::Result<()> {
        self.write("exit", end)
    }

    /// The installer could not be started, and why.
    pub(super) fn refused(&self, why: &str) -> io::Result<()> {
        self.write("refused", &why)
    }

    /// Why the installer could not be started, if that is so.
    pub(super) fn why_refused(&self) -> io::Result<Option<String>> {
        self.read("refused")
    }

    /// Whole or not at all, and durable.
    fn write(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let beside = self.0.join(format!("{name}.new"));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&beside, self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let path = self.0.join(name);
        match fs::metadata(&path) {
            Ok(found) if found.len() > FILE_BYTES_MAX => Err(io::Error::other("a spool file is too large")),
            Ok(_) => Ok(Some(serde_json::from_slice(&fs::read(&path)?)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
