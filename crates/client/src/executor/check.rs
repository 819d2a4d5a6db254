//! Whether what was installed is well.

use std::sync::Arc;

use super::{Busy, Task, Tools};

impl Tools {
    /// All files by their hashes, or dpkg's word; and the check of the package.
    pub(super) async fn check(self: &Arc<Self>, task: &Task, busy: &Busy) -> Result<(), String> {
        let manifest = self.known_manifest(task, busy).await.map_err(|trouble| trouble.text)?;
        match self.wrong(task, &manifest, busy).await {
            Ok(None) => Ok(()),
            Ok(Some(what)) => Err(what),
            Err(error) => Err(format!("it could not be checked: {error}")),
        }
    }
}
