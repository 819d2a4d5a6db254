//! Taking a package in: its manifest, verified; then its content, verified, into a staged tree.

mod manifest;
mod source;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packhorse_content::fetch::{self, AcceptError, FetchError, Progress, Target};
use packhorse_content::frame::Frame;
use packhorse_content::manifest::{Kind, Manifest};
use packhorse_content::tree::TreeIntake;
use packhorse_domain::agent::{Ready, Trouble};
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::PackageId;
use packhorse_domain::reason::Code;
use tokio::sync::Notify;

use super::{Busy, Percent, Task, Tools};
use crate::files::{Folder, split, staging_name};
use crate::store::{Installed, note_rate, note_staged};
use crate::zone;
use source::LinkSource;

/// Failures in a row after which the line waits, with its reason, and lets others go first.
const FAILURES_MAX: u32 = 3;
/// Least that has to come for its time to say something about the line.
const MEASURED_BYTES_MIN: u64 = 64 << 10;

impl Tools {
    /// Takes it in; what is there already is not asked for again.
    pub(super) async fn obtain(self: &Arc<Self>, task: &Task, busy: &Busy) -> Result<Ready, Trouble> {
        let manifest = self.manifest(task, busy).await?.manifest;
        let hint = task.hint.clone().ok_or_else(|| {
            self.above(Code::Network, &"the order does not say where the package is to be had")
        })?;
        let (opening, own) = (Arc::clone(&manifest), task.label.clone());
        let staged = self
            .blocking(busy, move |tools| {
                let staged = tools.open_staged(&opening)?;
                tools.reuse(&staged.intake, &own.cabinet, &own.name)?;
                Ok(staged)
            })
            .await
            .map_err(|error| self.disk(&error))?;
        let target = Arc::new(Guarded { staged, busy: Arc::clone(busy) });
        self.fetch(task, &target, &LinkSource { link: self.link.clone(), hint }).await?;
        let Some(target) = Arc::into_inner(target) else {
            return Err(self.disk(&"a piece is still being written"));
        };
        let finish = move |_: &Tools| {
            let Guarded { staged: Staged { intake, beside }, busy } = target;
            let outcome = intake.finish().map(|_| ()).map_err(io::Error::other);
            drop((beside, busy));
            outcome
        };
        self.blocking(busy, finish).await.map_err(|error| self.disk(&error))?;
        let install = manifest.install();
        let install_at = install.install_at.and_then(|shown| zone::install_at(shown, &task.job));
        Ok(Ready { timing: install.timing, install_at })
    }

    fn open_staged(&self, manifest: &Arc<Manifest>) -> io::Result<Staged> {
        let (beside, folder, staging) = match (manifest.kind(), manifest.install().to.as_deref()) {
            (Kind::Files, Some(to)) => {
                let (beside, _) = split(to)?;
                self.note(manifest.id(), beside)?;
                let folder = self.root.make(beside)?;
                // Through the descriptor: whatever the names on the way become, it is this folder.
                let staging = folder.path().join(staging_name(&manifest.id()));
                (beside, Some(folder), staging)
            }
            _ => {
                self.note(manifest.id(), "")?;
                // What lies in the data folder is nobody else's to see.
                DirBuilder::new().recursive(true).mode(0o700).create(self.data.join("staging"))?;
                ("", None, self.deb_staging(manifest.id()))
            }
        };
        tracing::debug!(beside, package = %manifest.id(), "staging");
        let inner = folder.as_ref().map(|folder: &Folder| folder.path().display().to_string());
        let intake = open_private(staging, manifest).map_err(|error| match inner {
            // The way through the descriptor tells nobody which folder it is.
            Some(inner) => {
                io::Error::new(error.kind(), error.to_string().replace(&inner, &format!("/{beside}")))
            }
            None => error,
        })?;
        Ok(Staged { intake, beside: folder })
    }

    fn note(&self, package: PackageId, beside: &str) -> io::Result<()> {
        let beside = if beside.is_empty() { "".to_owned() } else { beside.to_owned() };
        let noting = move |connection: &mut rusqlite::Connection| note_staged(connection, package, &beside);
        self.db.run_blocking(noting).map_err(io::Error::other)
    }

    /// Copies what is missing out of what is installed: first of the same name, then of any other.
    fn reuse(&self, intake: &TreeIntake, cabinet: &str, name: &str) -> io::Result<()> {
        let labels =
            self.db.run_blocking(|connection| Installed::labels(connection)).map_err(io::Error::other)?;
        let mut names: Vec<(String, String)> =
            labels.into_iter().map(|label| (label.cabinet, label.name)).collect();
        names
            .sort_by_key(|(found_cabinet, found)| (found_cabinet != cabinet || found != name, found.clone()));
        for (cabinet, name) in names {
            if intake.missing().is_empty() {
                return Ok(());
            }
            let finding =
                move |connection: &mut rusqlite::Connection| Installed::find(connection, &cabinet, &name);
            let Ok(Some(found)) = self.db.run_blocking(finding) else { continue };
            // What cannot be read gives nothing; it will come over the line.
            let Ok(manifest) = Manifest::from_stored_envelope(&found.manifest) else { continue };
            let tree = manifest.install().to.as_deref().and_then(|to| self.root.folder(to).ok().flatten());
            if let Some(tree) = tree {
                intake.reuse(&[(Arc::new(manifest), tree.path())]).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, task: &Task, target: &Arc<Guarded>, source: &LinkSource) -> Result<(), Trouble> {
        let manifest = Arc::clone(target.manifest());
        let mut have = manifest.unique_bytes().saturating_sub(manifest.bytes_of(&target.missing()));
        let (enough, mut failures, mut last) = (Notify::new(), 0, None);
        self.tell(task, have, manifest.unique_bytes());
        let (began, mut came_bytes) = (Instant::now(), 0u64);
        let fetching = fetch::obtain(target, source, |event| match event {
            Progress::Received { plain_bytes, .. } => {
                failures = 0;
                have = have.saturating_add(plain_bytes);
                came_bytes = came_bytes.saturating_add(plain_bytes);
                self.tell(task, have, manifest.unique_bytes());
            }
            Progress::Waiting { error, .. } => {
                failures += 1;
                last = Some(self.trouble(error));
                if failures >= FAILURES_MAX {
                    enough.notify_one();
                }
            }
        });
        let outcome = tokio::select! {
            outcome = fetching => Some(outcome),
            () = enough.notified() => None,
        };
        self.measured(came_bytes, began.elapsed()).await;
        match outcome {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.trouble(&error)),
            None => Err(last.unwrap_or_else(|| self.above(Code::Network, &"the line broke"))),
        }
    }

    /// Notes how fast content came, for saying how long it will take. Too little says nothing.
    async fn measured(&self, bytes: u64, took: Duration) {
        if bytes < MEASURED_BYTES_MIN {
            return;
        }
        let micros = took.as_micros().max(1);
        let rate = u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX).max(1);
        if let Err(error) = self.db.run(move |connection| note_rate(connection, rate)).await {
            tracing::warn!(%error, "the measured rate could not be noted");
        }
    }

    fn tell(&self, task: &Task, have: u64, all: u64) {
        // At most 100 by the minimum.
        let percent = (have.min(all) * 100).checked_div(all).unwrap_or(100) as u8;
        let now = Some(Percent { line: task.line.clone(), percent });
        self.progress.send_if_modified(|known| {
            let news = *known != now;
            known.clone_from(&now);
            news
        });
    }

    fn trouble(&self, error: &FetchError) -> Trouble {
        match error {
            FetchError::Content(_) | FetchError::BadSource { .. } => self.above(Code::Content, error),
            FetchError::Write(_) => self.disk(error),
            _ => self.above(Code::Network, error),
        }
    }
}

/// Opens a staging folder. One that is not ours alone is a left-over of somebody else and is named.
fn open_private(staging: PathBuf, manifest: &Arc<Manifest>) -> io::Result<TreeIntake> {
    TreeIntake::open(&staging, manifest).map_err(|error| {
        let full = error.is_no_space();
        let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        io::Error::new(kind, error)
    })
}

/// A tree that is being staged, and the folder it is reached through.
struct Staged {
    intake: TreeIntake,
    beside: Option<Folder>,
}

/// An intake that holds the permit as long as anything is written.
struct Guarded {
    staged: Staged,
    busy: Busy,
}

impl Target for Guarded {
    fn manifest(&self) -> &Arc<Manifest> {
        self.staged.intake.manifest()
    }

    fn missing(&self) -> RangeSet {
        self.staged.intake.missing()
    }

    fn accept(&self, frame: &Frame) -> Result<(), AcceptError> {
        self.staged.intake.accept(frame)
    }
}
