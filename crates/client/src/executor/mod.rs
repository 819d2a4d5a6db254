//! Effects: what the machine says is to be done, done. No choices are made here; the answer is what happened.
//!
//! One effect is worked on at a time: each holds the one permit, and what it hands to a blocking thread holds it too, so
//! that an effect that was given up is out of the way before the next begins.

mod check;
mod install;
mod obtain;
mod probe;
mod recover;
mod tidy;

pub(crate) use tidy::sweep;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use packhorse_content::manifest::Manifest;
use packhorse_domain::agent::{Input, LineId, Trouble};
use packhorse_domain::ids::{HostId, PackageId, PackageLabel};
use packhorse_domain::job::Job;
use packhorse_domain::reason::Code;
use packhorse_wire::envelope::PublicKey;
use packhorse_wire::messages::CopyHint;
use packhorse_wire::net::Link;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::clock::Clock;
use crate::files::Root;
use crate::installer::Spool;
use crate::judge::short_hash;
use crate::store::{Db, Installed};

/// What effects are done with.
pub(crate) struct Tools {
    /// The host.
    pub me: HostId,
    /// Its name.
    pub name: String,
    /// Its higher system's name.
    pub higher: String,
    /// Its id.
    pub higher_id: String,
    /// Whether it may be moved to another: not the agent of a relay.
    pub may_move: bool,
    /// What is installed below it.
    pub root: Root,
    /// The data folder.
    pub data: PathBuf,
    /// The database.
    pub db: Db,
    /// The link to the higher system.
    pub link: Link,
    /// The clock.
    pub clock: Arc<Clock>,
    /// One permit.
    pub gate: Arc<Semaphore>,
    /// How far the package has come that is being taken in.
    pub progress: watch::Sender<Option<Percent>>,
}

/// How far a package has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Percent {
    /// For which line.
    pub line: LineId,
    /// 0 to 100.
    pub percent: u8,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Look whether it is installed, and whether it can be.
    Probe,
    /// Take the package in.
    Obtain,
    /// Start its installer, once.
    Install,
    /// Look whether it is installed well.
    Check,
    /// Find out what became of an installer.
    Recover,
    /// Forget what was staged.
    Drop,
    /// Forget what was staged, but not the manifest.
    Unstage,
}

/// For which line, with all that is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// The line.
    pub line: LineId,
    /// The package's label.
    pub label: PackageLabel,
    /// Its job.
    pub job: Job,
    /// The attempt.
    pub attempt: u32,
    /// Starts of the installer in it.
    pub starts: u32,
    /// The keys that count for the package, and how many have to have signed; or why there are none.
    pub keys: Result<(Vec<PublicKey>, usize), String>,
    /// Where the package is to be had.
    pub hint: Option<CopyHint>,
}

/// Held while an effect is worked on.
pub(crate) type Busy = Arc<OwnedSemaphorePermit>;

impl Tools {
    /// Does it; the answer for the machine, if it waits for one.
    pub async fn perform(self: Arc<Self>, task: Task, what: What) -> Option<Input> {
        // The gate is never closed.
        let busy: Busy = Arc::new(Arc::clone(&self.gate).acquire_owned().await.ok()?);
        let line = task.line.clone();
        Some(match what {
            What::Probe => Input::Probed(line, self.probe(&task, &busy).await),
            What::Obtain => {
                let outcome = self.obtain(&task, &busy).await;
                self.progress.send_replace(None);
                Input::Obtained(line, outcome)
            }
            What::Install => self.install(&task, &busy).await,
            What::Check => Input::Checked(line, self.check(&task, &busy).await),
            What::Recover => self.recover(&task, &busy).await,
            What::Drop | What::Unstage => {
                self.tidy(&task, what == What::Unstage, &busy).await;
                return None;
            }
        })
    }

    /// Work that blocks; it holds the permit to its end.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        busy: &Busy,
        work: impl FnOnce(&Tools) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (tools, busy) = (Arc::clone(self), Arc::clone(busy));
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work(&tools);
            drop(busy);
            outcome
        });
        done.await.map_err(io::Error::other)?
    }

    /// What is installed under the task's cabinet and name.
    pub(super) async fn installed(&self, task: &Task) -> Result<Option<Installed>, Trouble> {
        let (cabinet, name) = (task.label.cabinet.clone(), task.label.name.clone());
        let found = self.db.run(move |connection| Installed::find(connection, &cabinet, &name)).await;
        found.map_err(|error| self.disk(&error))
    }

    /// Trouble with this host's disk.
    pub(super) fn disk(&self, error: &dyn std::fmt::Display) -> Trouble {
        Trouble { code: Code::Disk, system: self.name.clone(), text: error.to_string() }
    }

    /// Trouble with what the higher system gives.
    pub(super) fn above(&self, code: Code, error: &dyn std::fmt::Display) -> Trouble {
        Trouble { code, system: self.higher.clone(), text: error.to_string() }
    }

    /// The spool folder of the task's newest start.
    pub(super) fn spool(&self, task: &Task) -> Spool {
        Spool::at(&self.data.join("spool"), &task.start())
    }

    /// Where a package's manifest is kept while it is needed.
    pub(super) fn manifest_path(&self, package: PackageId) -> PathBuf {
        self.data.join("manifests").join(format!("{package}.env"))
    }

    /// The staging folder of a deb.
    pub(super) fn deb_staging(&self, package: PackageId) -> PathBuf {
        self.data.join("staging").join(package.to_string())
    }
}

impl Task {
    /// Names this start of this line among all there ever were.
    pub fn start(&self) -> String {
        let job = &self.line.job;
        let line = format!("{}\0{}\0{}\0{}", job.issuer, job.epoch, job.number, self.line.place);
        format!("{}-{}-{}", short_hash(line.as_bytes()), self.attempt, self.starts)
    }
}

/// A manifest with the envelope it came in.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// What it says.
    pub manifest: Arc<Manifest>,
    /// The envelope.
    pub envelope: Vec<u8>,
}
