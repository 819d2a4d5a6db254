//! Kind files: a tree below the root, switched in by rename, so that a reader sees the old or the new, never a mixture.

mod carry;
mod folder;
mod root;
mod switch;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use carry::staging_name;
pub(crate) use folder::Folder;
pub(crate) use root::{Root, split};
pub(crate) use switch::{finish_all, install};
pub(crate) use verify::difference;
