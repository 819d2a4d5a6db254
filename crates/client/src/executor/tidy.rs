//! Forgetting what was staged.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use packhorse_domain::ids::PackageId;

use super::{Busy, Task, Tools};
use crate::files::{Root, staging_name};
use crate::store::{forget_staged, staged};

impl Tools {
    /// Removes what a line staged; what cannot be removed is left to the next start.
    pub(super) async fn tidy(self: &Arc<Self>, task: &Task, keeps_manifest: bool, busy: &Busy) {
        let (package, spool) = (task.line.package, self.spool(task));
        let outcome = self
            .blocking(busy, move |tools| {
                spool.remove()?;
                tools.forget(package, keeps_manifest)
            })
            .await;
        if let Err(error) = outcome {
            tracing::warn!(%package, %error, "what was staged could not be removed");
        }
    }

    fn forget(&self, package: PackageId, keeps_manifest: bool) -> io::Result<()> {
        let places = self.db.run_blocking(|connection| staged(connection)).map_err(io::Error::other)?;
        for (_, beside) in places.into_iter().filter(|(found, _)| *found == package) {
            remove_staged(&self.root, &self.data, package, &beside)?;
            let forget =
                move |connection: &mut rusqlite::Connection| forget_staged(connection, package, &beside);
            self.db.run_blocking(forget).map_err(io::Error::other)?;
        }
        if keeps_manifest {
            return Ok(());
        }
        for path in [self.manifest_path(package), self.manifest_path(package).with_extension("part")] {
            gone(std::fs::remove_file(path))?;
        }
        Ok(())
    }
}

fn remove_staged(root: &Root, data: &Path, package: PackageId, beside: &str) -> io::Result<()> {
    if beside.is_empty() {
        return gone(std::fs::remove_dir_all(data.join("staging").join(package.to_string())));
    }
    match root.folder(beside)? {
        Some(folder) => folder.remove(OsStr::new(&staging_name(&package))),
        None => Ok(()),
    }
}

fn gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// At a start: removes what was staged for packages that nobody waits for. Blocks.
pub(crate) fn sweep(tools: &Tools, wanted: &[PackageId]) {
    let places = tools.db.run_blocking(|connection| staged(connection)).unwrap_or_default();
    for (package, _) in places.into_iter().filter(|(package, _)| !wanted.contains(package)) {
        if let Err(error) = tools.forget(package, false) {
            tracing::warn!(%package, %error, "what was left in staging could not be removed");
        }
    }
}
