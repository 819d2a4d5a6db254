//! Where in the files of a tree each chunk belongs.

use crate::manifest::{EntryKind, Manifest};

/// One place of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Position in the manifest's entries.
    pub entry: u32,
    /// Where in that file, in bytes.
    pub offset: u64,
}

/// All places, grouped by chunk: two flat lists, so that a million places stay small.
#[derive(Debug)]
pub(super) struct Places {
    /// Where each chunk's group begins; one more than there are chunks.
    starts: Vec<usize>,
    places: Vec<Place>,
}

impl Places {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let mut starts = vec![0; manifest.chunk_count() as usize + 1];
        for &index in manifest.uses() {
            starts[index as usize + 1] += 1;
        }
        for nth in 1..starts.len() {
            starts[nth] += starts[nth - 1];
        }
        let mut next = starts.clone();
        let mut places = vec![Place { entry: 0, offset: 0 }; manifest.uses().len()];
        for (entry, uses) in (0..).zip(manifest.entries()).filter_map(|(nth, entry)| match &entry.kind {
            EntryKind::File { uses, .. } => Some((nth, uses)),
            _ => None,
        }) {
            for (index, offset, _) in manifest.file_chunks(uses) {
                places[next[index as usize]] = Place { entry, offset };
                next[index as usize] += 1;
            }
        }
        Self { starts, places }
    }

    pub(super) fn of_chunk(&self, index: u32) -> &[Place] {
        let at = index as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(&start), Some(&end)) => &self.places[start..end],
            _ => &[],
        }
    }
}
