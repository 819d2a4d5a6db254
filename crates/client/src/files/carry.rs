//! What is in the old tree and not ours is kept: linked into the new tree before the switch, and looked at once more after
//! it. Linked and not moved, so that an end in the middle takes nothing from the tree that is in use.

use std::ffi::OsStr;
use std::io;

use packhorse_content::manifest::{EntryKind, Manifest};
use packhorse_content::path::RelPath;
use rustix::fs::RenameFlags;

use super::folder::{Folder, Found, check_depth, is_folder};

/// Most names of replaced files that are told.
const TOLD_MAX: usize = 20;

/// When it is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The new tree is not seen by anybody yet: what cannot be kept stops the switch.
    Before,
    /// It was switched in: only what changed meanwhile is left to do, and nothing stops it.
    After,
}

/// What was carried over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Files kept.
    pub kept: u64,
    /// Files that were there, not ours, and stand where the new package has a file.
    pub replaced: u64,
    /// The first of them.
    pub names: Vec<String>,
}

impl Carried {
    /// For the result; empty if nothing was replaced.
    pub fn told(&self) -> String {
        if self.replaced == 0 {
            return String::new();
        }
        let more = if self.replaced > self.names.len() as u64 { ", …" } else { "" };
        format!(
            "replaced {} files that were there and not of this package: {}{more}",
            self.replaced,
            self.names.join(", ")
        )
    }
}

/// Carries what is not ours from `from` to `to`.
#[derive(Debug)]
pub(crate) struct Carry<'a> {
    /// What the package was.
    pub old: Option<&'a Manifest>,
    /// What it is now.
    pub new: &'a Manifest,
    /// When.
    pub when: When,
}

impl Carry<'_> {
    /// Carries the whole tree over. `to` is durable then.
    ///
    /// # Errors
    /// The disk; before the switch also a folder of others where the package has a file, or a file where it has a folder.
    pub fn tree(&self, from: &Folder, to: &Folder) -> io::Result<Carried> {
        let mut carried = Carried::default();
        self.folder(from, to, "", 0, &mut carried)?;
        Ok(carried)
    }

    fn folder(
        &self,
        from: &Folder,
        to: &Folder,
        path: &str,
        depth: usize,
        carried: &mut Carried,
    ) -> io::Result<()> {
        check_depth(depth)?;
        let mut changed = false;
        for found in from.entries()? {
            let path = join(path, &found.name);
            if found.is_folder() {
                changed |= self.inner(from, to, &found, (&path, depth), carried)?;
            } else {
                changed |= self.file(from, to, &found, &path, carried)?;
            }
        }
        if changed { to.sync() } else { Ok(()) }
    }

    /// A folder in the old tree; answers whether one was made for it.
    fn inner(
        &self,
        from: &Folder,
        to: &Folder,
        found: &Found,
        (path, depth): (&str, usize),
        carried: &mut Carried,
    ) -> io::Result<bool> {
        let inner = from.open(&found.name)?;
        let ours = matches!(find(self.old, path), Some(EntryKind::Dir));
        if matches!(find(Some(self.new), path), Some(EntryKind::Dir)) {
            self.folder(&inner, &to.open(&found.name)?, path, depth + 1, carried)?;
            return Ok(false);
        }
        if ours && !self.has_foreign(&inner, path, depth + 1)? {
            return Ok(false);
        }
        if find(Some(self.new), path).is_some() {
            return self.clash(from, to, found, path).map(|()| true);
        }
        let there = to.stat(&found.name)?;
        if there.is_some_and(|stat| !is_folder(&stat)) {
            return self.clash(from, to, found, path).map(|()| true);
        }
        let made = to.make_like(&found.name, &found.stat)?;
        self.folder(&inner, &made, path, depth + 1, carried)?;
        made.sync()?;
        Ok(true)
    }

    fn file(
        &self,
        from: &Folder,
        to: &Folder,
        found: &Found,
        path: &str,
        carried: &mut Carried,
    ) -> io::Result<bool> {
        let ours = matches!(find(self.old, path), Some(EntryKind::File { .. } | EntryKind::Symlink { .. }));
        match find(Some(self.new), path) {
            _ if ours => Ok(false),
            Some(EntryKind::Dir) => self.clash(from, to, found, path).map(|()| true),
            Some(_) => {
                carried.replaced += 1;
                if carried.names.len() < TOLD_MAX {
                    carried.names.push(path.to_owned());
                }
                Ok(false)
            }
            None => {
                carried.kept += 1;
                keep(from, to, found)
            }
        }
    }

    fn has_foreign(&self, folder: &Folder, path: &str, depth: usize) -> io::Result<bool> {
        check_depth(depth)?;
        for found in folder.entries()? {
            let path = join(path, &found.name);
            let ours = find(self.old, &path);
            let foreign = match (found.is_folder(), ours) {
                (true, Some(EntryKind::Dir)) => {
                    self.has_foreign(&folder.open(&found.name)?, &path, depth + 1)?
                }
                (false, Some(EntryKind::File { .. } | EntryKind::Symlink { .. })) => false,
                _ => true,
            };
            if foreign {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Something of others stands where the package has something of another kind.
    fn clash(&self, from: &Folder, to: &Folder, found: &Found, path: &str) -> io::Result<()> {
        if self.when == When::Before {
            return Err(io::Error::other(format!(
                "{path} is there, not of this package, and of another kind than the package's; move it away"
            )));
        }
        // It appeared in the moment of the switch: it is kept beside.
        let mut aside = found.name.clone();
        aside.push(".packhorse-kept");
        tracing::warn!(
            path,
            "something appeared during the switch where the package has another kind; kept beside"
        );
        from.rename(&found.name, to, &aside, RenameFlags::NOREPLACE)
    }
}

/// Gives the new tree the file too. After the switch the later of two files under one name counts.
fn keep(from: &Folder, to: &Folder, found: &Found) -> io::Result<bool> {
    let Some(there) = to.stat(&found.name)? else {
        return from.link(&found.name, to).map(|()| true);
    };
    let same = (there.st_dev, there.st_ino) == (found.stat.st_dev, found.stat.st_ino);
    let later = (found.stat.st_ctime, found.stat.st_ctime_nsec) > (there.st_ctime, there.st_ctime_nsec);
    if same || !later || is_folder(&there) {
        return Ok(false);
    }
    from.rename(&found.name, to, &found.name, RenameFlags::empty()).map(|()| true)
}

fn join(path: &str, name: &OsStr) -> String {
    // A name that is not UTF-8 is never one of a manifest; what it is shown as does not matter.
    let name = name.to_string_lossy();
    if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") }
}

/// What a manifest has at a path.
fn find<'a>(manifest: Option<&'a Manifest>, path: &str) -> Option<&'a EntryKind> {
    let path = RelPath::new(path).ok()?;
    let entries = manifest?.entries();
    let place = entries.binary_search_by(|entry| entry.path.cmp(&path)).ok()?;
    entries.get(place).map(|entry| &entry.kind)
}

/// The staging folder of a package beside its destination.
pub(crate) fn staging_name(package: &packhorse_domain::ids::PackageId) -> String {
    let hex = package.to_string();
    format!(".packhorse-{}", hex.get(..16).unwrap_or(&hex))
}
