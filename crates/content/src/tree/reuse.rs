//! Copying chunks out of what is installed, so that only what changed travels.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::beneath::Beneath;
use super::{TreeError, TreeIntake};
use crate::manifest::{EntryKind, Manifest};

impl TreeIntake {
    /// Copies what is missing out of installed packages, given as manifest and root folder. Every chunk is hashed as it is
    /// read: files that were changed, or cannot be read, give nothing. Returns the plain bytes copied. Errors: the disk of
    /// the staging folder.
    pub fn reuse(&self, previous: &[(Arc<Manifest>, PathBuf)]) -> Result<u64, TreeError> {
        let before = self.stats().reused_bytes;
        for (manifest, root) in previous {
            let wanted = self.wanted();
            if wanted.is_empty() {
                break;
            }
            match Beneath::existing(root) {
                Ok(root) => self.reuse_one(manifest, &root, &wanted)?,
                Err(error) => tracing::debug!(%error, "nothing to reuse"),
            }
        }
        Ok(self.stats().reused_bytes - before)
    }

    /// Hash → index of what is missing.
    fn wanted(&self) -> HashMap<[u8; 32], u32> {
        let missing = self.missing();
        missing.iter().filter_map(|index| Some((self.manifest.chunk(index)?.hash, index))).collect()
    }

    fn reuse_one(
        &self,
        manifest: &Manifest,
        root: &Beneath,
        wanted: &HashMap<[u8; 32], u32>,
    ) -> Result<(), TreeError> {
        for entry in manifest.entries() {
            let EntryKind::File { uses, .. } = &entry.kind else { continue };
            // Old chunk, new index, offset in the old file.
            let useful: Vec<(u32, u64)> = manifest
                .file_chunks(uses)
                .filter_map(|(old, offset, _)| Some((*wanted.get(&manifest.chunk(old)?.hash)?, offset)))
                .collect();
            if useful.is_empty() {
                continue;
            }
            let Ok(file) = root.open_to_read(&entry.path) else { continue };
            for (index, offset) in useful {
                let mut state = self.lock();
                if !state.missing.contains(index) {
                    continue;
                }
                let Ok(Some(bytes)) = self.read_place(&file, index, offset) else { continue };
                if self.take(&mut state, index, &bytes)? {
                    state.stats.reused_bytes += bytes.len() as u64;
                }
            }
        }
        Ok(())
    }
}
