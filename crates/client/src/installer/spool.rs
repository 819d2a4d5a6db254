//! The folder in which an installer's start and end are written down.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::process::Process;

/// Largest file in it that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

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

    /// What became of it.
    ///
    /// # Errors
    /// A file in it cannot be read.
    pub fn look(&self) -> io::Result<Look> {
        // Who runs is read before the end: one that ends in between has written its end by then.
        let runs = self.runs("started")? || self.runs("child")?;
        match self.read("exit")? {
            Some(end) => Ok(Look::Ended(end)),
            None if runs => Ok(Look::Running),
            // Again, for one that ended between the two.
            None => Ok(self.read("exit")?.map_or(Look::Gone, Look::Ended)),
        }
    }

    fn runs(&self, name: &str) -> io::Result<bool> {
        Ok(self.read::<Process>(name)?.is_some_and(|process| process.is_alive()))
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
