//! A folder by its descriptor: everything in it is reached by its name, and no symlink is followed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid};
use rustix::io::Errno;

/// Folders in folders that are followed; deeper ones are refused, for each level costs a descriptor.
const DEPTH_MAX: usize = 200;

const OPEN: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

/// Something in a folder.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its name.
    pub name: OsString,
    /// What it is, itself and not what it points to.
    pub stat: Stat,
}

impl Found {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        is_folder(&self.stat)
    }
}

/// Whether it is a folder.
pub(crate) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

impl Folder {
    /// Of a descriptor of a folder.
    pub fn of(fd: OwnedFd) -> Folder {
        Folder(fd)
    }

    /// A path that leads here whatever is renamed or linked meanwhile, as long as this is open.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// The descriptor.
    pub fn fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// A folder in it.
    pub fn open(&self, name: &OsStr) -> io::Result<Folder> {
        Ok(Folder(rustix::fs::openat(&self.0, name, OPEN, Mode::empty())?))
    }

    /// What is there under a name.
    pub fn stat(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What it is itself.
    pub fn own_stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.0)?)
    }

    /// All that is in it.
    pub fn entries(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            // What went away since it was listed is not there.
            if let Some(stat) = self.stat(name)? {
                found.push(Found { name: name.to_owned(), stat });
            }
        }
        Ok(found)
    }

    /// Makes a folder like another one: mode, and owner where that is allowed. One that is there is taken.
    pub fn make_like(&self, name: &OsStr, like: &Stat) -> io::Result<Folder> {
        match rustix::fs::mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.open(name),
            Err(errno) => return Err(errno.into()),
        }
        let made = self.open(name)?;
        if rustix::process::geteuid().is_root() {
            let (owner, group) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
            rustix::fs::fchown(&made.0, Some(owner), Some(group))?;
        }
        rustix::fs::fchmod(&made.0, Mode::from_raw_mode(like.st_mode))?;
        Ok(made)
    }

    /// Gives what is under a name here the same name there too. A symlink itself is linked, not what it points to.
    pub fn link(&self, name: &OsStr, to: &Folder) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.0, name, &to.0, name, AtFlags::empty())?)
    }

    /// Renames, also into another folder of the same filesystem.
    pub fn rename(&self, name: &OsStr, to: &Folder, to_name: &OsStr, how: RenameFlags) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(&self.0, name, &to.0, to_name, how)?)
    }

    /// Removes what is under a name, with all that is in it; nothing there is well too.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        self.remove_at(name, 0)
    }

    fn remove_at(&self, name: &OsStr, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        let inner = self.open(name)?;
        // What takes the right to write away from its owner would be in the way.
        rustix::fs::fchmod(&inner.0, Mode::RWXU)?;
        for found in inner.entries()? {
            inner.remove_at(&found.name, depth + 1)?;
        }
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Makes what was made, renamed and removed in it durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

/// Folders in folders beyond what is followed.
pub(crate) fn too_deep() -> io::Error {
    io::Error::other(format!("folders lie more than {DEPTH_MAX} deep in each other"))
}

/// Checks a depth against what is followed.
pub(crate) fn check_depth(depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX { Err(too_deep()) } else { Ok(()) }
}
