//! Switching a tree in.
//!
//! Order of work: what is not ours is linked into the new tree → the switch is noted with the new tree's inode → one rename
//! → what changed meanwhile is carried over → the package is noted as installed → the old tree goes. A start that finds the
//! note looks at the inode at the destination: is it the new tree's, the switch was made and is finished; else it was not,
//! and the staged tree is only staged.

use std::ffi::OsStr;
use std::io;

use packhorse_content::manifest::Manifest;
use packhorse_domain::time::Time;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::carry::{Carried, Carry, When, staging_name};
use super::folder::Folder;
use super::root::{Root, Spot, split};
use crate::store::{Db, Installed, Switching, forget_staged};

/// The tree's name in its staging folder.
const TREE: &str = "tree";

/// Why a tree was not switched in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwitchError {
    /// The disk, or what is there. Nothing was changed.
    #[error("{what}: {error}")]
    Before {
        /// What was being done.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// The switch was made; what follows it is finished at the next start.
    #[error("after the switch: {0}")]
    After(String),
}

impl SwitchError {
    fn before(what: &str) -> impl Fn(io::Error) -> SwitchError + '_ {
        move |error| SwitchError::Before { what: what.to_owned(), error }
    }

    /// Whether the disk is full and nothing was changed: then it is worth another try.
    pub fn is_no_space(&self) -> bool {
        matches!(self, SwitchError::Before { error, .. } if error.kind() == io::ErrorKind::StorageFull)
    }
}

/// Switches a staged package in; answers what was carried over. Blocks.
///
/// # Errors
/// See [`SwitchError`].
pub(crate) fn install(
    db: &Db,
    root: &Root,
    new: Installed,
    manifest: &Manifest,
    now: Time,
) -> Result<Carried, SwitchError> {
    let to = destination(manifest).map_err(SwitchError::before("the manifest"))?;
    let old = previous(db, &new, to)?;
    let place = Places::find(root, &new, to).map_err(SwitchError::before(to))?;
    let tree = place.spot.tree().map_err(SwitchError::before(to))?;
    let carry = Carry { old: old.as_ref(), new: manifest, when: When::Before };
    let mut carried = Carried::default();
    if let Some(tree) = &tree {
        carried = carry.tree(tree, &place.staged).map_err(SwitchError::before(to))?;
    }
    note(db, &new, &place.staged).map_err(SwitchError::before("noting the switch"))?;
    switch(&place, tree.is_some()).map_err(|errno| SwitchError::before(to)(explain(errno)))?;
    finish(db, root, &place, new, old.as_ref(), manifest, now)?;
    Ok(carried)
}

/// Finishes what was cut off. Blocks. What cannot be finished is logged and stays for the next start.
///
/// # Errors
/// The database.
pub(crate) fn finish_all(db: &Db, root: &Root, now: Time) -> Result<(), crate::ClientError> {
    for switching in db.run_blocking(Switching::all)? {
        let label = switching.new.label.clone();
        if let Err(error) = resume(db, root, switching, now) {
            tracing::warn!(package = %label, %error, "an interrupted switch could not be finished");
        }
    }
    Ok(())
}

fn resume(db: &Db, root: &Root, switching: Switching, now: Time) -> Result<(), SwitchError> {
    let what = SwitchError::before("an interrupted switch");
    let manifest = Manifest::from_stored_envelope(&switching.new.manifest)
        .map_err(|error| what(io::Error::other(error)))?;
    let to = destination(&manifest).map_err(&what)?;
    let spot = root.spot(to, false).map_err(&what)?;
    let there = match &spot {
        Some(spot) => spot.parent.stat(&spot.name).map_err(&what)?,
        None => None,
    };
    let made = there.is_some_and(|stat| (stat.st_dev, stat.st_ino) == (switching.dev, switching.ino));
    let (Some(spot), true) = (spot, made) else {
        let (cabinet, name) = (switching.new.label.cabinet, switching.new.label.name);
        return db
            .run_blocking(move |connection| Switching::end(connection, &cabinet, &name))
            .map_err(|error| what(io::Error::other(error)));
    };
    tracing::info!(package = %switching.new.label, "finishing an interrupted switch");
    let old = previous(db, &switching.new, to)?;
    let staging = spot.parent.open(OsStr::new(&staging_name(&switching.new.package)));
    let left = staging.and_then(|staging| staging.open(OsStr::new(TREE))).ok();
    carry_rest(&spot, left.as_ref(), old.as_ref(), &manifest)?;
    record(db, root, &spot, switching.new, to, now)
}

fn destination(manifest: &Manifest) -> io::Result<&str> {
    manifest.install().to.as_deref().ok_or_else(|| io::Error::other("the package names no destination"))
}

/// The manifest of what is installed at the same destination under the same name.
fn previous(db: &Db, new: &Installed, to: &str) -> Result<Option<Manifest>, SwitchError> {
    let what = SwitchError::before("what is installed");
    let (cabinet, name) = (new.label.cabinet.clone(), new.label.name.clone());
    let found = db
        .run_blocking(move |connection| Installed::find(connection, &cabinet, &name))
        .map_err(|error| what(io::Error::other(error)))?;
    let Some(found) = found else { return Ok(None) };
    let manifest =
        Manifest::from_stored_envelope(&found.manifest).map_err(|error| what(io::Error::other(error)))?;
    Ok(Some(manifest).filter(|manifest| manifest.install().to.as_deref() == Some(to)))
}

/// Where the staged tree is, and where it goes.
struct Places {
    spot: Spot,
    staging: Folder,
    staged: Folder,
}

impl Places {
    fn find(root: &Root, new: &Installed, to: &str) -> io::Result<Places> {
        let spot = root.spot(to, true)?.ok_or(Errno::NOENT)?;
        let staging = spot.parent.open(OsStr::new(&staging_name(&new.package)))?;
        let staged = staging.open(OsStr::new(TREE))?;
        Ok(Places { spot, staging, staged })
    }
}

fn note(db: &Db, new: &Installed, staged: &Folder) -> io::Result<()> {
    let stat = staged.own_stat()?;
    let switching = Switching { new: new.clone(), dev: stat.st_dev, ino: stat.st_ino };
    db.run_blocking(move |connection| switching.begin(connection)).map_err(io::Error::other)
}

/// The one rename.
fn switch(place: &Places, exchange: bool) -> io::Result<()> {
    let how = if exchange { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    place.staging.rename(OsStr::new(TREE), &place.spot.parent, &place.spot.name, how)?;
    place.spot.parent.sync()?;
    place.staging.sync()
}

fn explain(error: io::Error) -> io::Error {
    let why = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::BUSY) => "it is a mount point or in use as one, which cannot be switched",
        Some(Errno::INVAL | Errno::XDEV | Errno::NOSYS) => {
            "its filesystem cannot exchange two folders, without which a reader would see a mixture"
        }
        _ => return error,
    };
    io::Error::other(why)
}

fn finish(
    db: &Db,
    root: &Root,
    place: &Places,
    new: Installed,
    old: Option<&Manifest>,
    manifest: &Manifest,
    now: Time,
) -> Result<(), SwitchError> {
    let left = place.staging.open(OsStr::new(TREE)).ok();
    carry_rest(&place.spot, left.as_ref(), old, manifest)?;
    let to = destination(manifest).map_err(|error| SwitchError::After(error.to_string()))?;
    record(db, root, &place.spot, new, to, now)
}

/// Carries over what appeared in the old tree between the linking and the switch.
fn carry_rest(
    spot: &Spot,
    left: Option<&Folder>,
    old: Option<&Manifest>,
    manifest: &Manifest,
) -> Result<(), SwitchError> {
    let Some(left) = left else { return Ok(()) };
    let carry = Carry { old, new: manifest, when: When::After };
    let carried = spot.parent.open(&spot.name).and_then(|tree| carry.tree(left, &tree));
    carried.map(|_| ()).map_err(|error| SwitchError::After(error.to_string()))
}

/// Notes it as installed; then the old tree may go.
fn record(db: &Db, root: &Root, spot: &Spot, new: Installed, to: &str, now: Time) -> Result<(), SwitchError> {
    let after = |error: &dyn std::fmt::Display| SwitchError::After(error.to_string());
    let package = new.package;
    db.run_blocking(move |connection| new.put(connection, now)).map_err(|error| after(&error))?;
    let (beside, _) = split(to).map_err(|error| after(&error))?;
    match spot.parent.remove(OsStr::new(&staging_name(&package))) {
        Ok(()) => {
            let beside = beside.to_owned();
            db.run_blocking(move |connection| forget_staged(connection, package, &beside))
                .map_err(|error| after(&error))
        }
        Err(error) => {
            // It is tried again at the next start; what is installed is installed.
            tracing::warn!(root = %root.path().display(), to, %error, "the old tree could not be removed");
            Ok(())
        }
    }
}
