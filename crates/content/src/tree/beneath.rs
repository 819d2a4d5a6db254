//! Files below a folder, reached part by part without following a symlink.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, SeekFrom};

use super::TreeError;
use crate::manifest::{EntryKind, Manifest};
use crate::path::RelPath;

/// An open folder under which everything is reached by [`RelPath`].
#[derive(Debug)]
pub(super) struct Beneath {
    path: PathBuf,
    dir: OwnedFd,
}

const DIR: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

impl Beneath {
    /// Makes `folder` (0700) and `name` in it, or opens them. Errors: the folder is not ours alone.
    pub(super) fn make_private(folder: &Path, name: &str) -> Result<Self, TreeError> {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(TreeError::io(parent))?;
        }
        make_0700(folder).map_err(TreeError::io(folder))?;
        let metadata = fs::symlink_metadata(folder).map_err(TreeError::io(folder))?;
        let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || !is_ours || metadata.mode() & 0o077 != 0 {
            return Err(TreeError::NotOurs(folder.to_owned()));
        }
        let path = folder.join(name);
        make_0700(&path).map_err(TreeError::io(&path))?;
        let dir = rustix::fs::open(&path, DIR, Mode::empty()).map_err(|e| TreeError::io(&path)(e.into()))?;
        Ok(Self { path, dir })
    }

    /// Opens an installed tree. The root itself may be a symlink: an administrator may have moved it.
    pub(super) fn existing(root: &Path) -> Result<Self, TreeError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let dir = rustix::fs::open(root, flags, Mode::empty()).map_err(|e| TreeError::io(root)(e.into()))?;
        Ok(Self { path: root.to_owned(), dir })
    }

    /// For messages.
    pub(super) fn path_of(&self, path: &RelPath) -> PathBuf {
        path.below(&self.path)
    }

    fn fail<'a>(&'a self, path: &'a RelPath) -> impl Fn(rustix::io::Errno) -> TreeError + 'a {
        move |errno| TreeError::Io { path: self.path_of(path), source: errno.into() }
    }

    /// The folder `path` lies in.
    fn parent(&self, path: &RelPath) -> Result<OwnedFd, rustix::io::Errno> {
        let mut dir = rustix::io::fcntl_dupfd_cloexec(&self.dir, 0)?;
        let Some(parent) = path.parent() else { return Ok(dir) };
        for part in parent.split('/') {
            dir = rustix::fs::openat(&dir, part, DIR, Mode::empty())?;
        }
        Ok(dir)
    }

    fn open(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, rustix::io::Errno> {
        let dir = self.parent(path)?;
        rustix::fs::openat(&dir, path.name(), FILE | flags, Mode::RUSR | Mode::WUSR)
    }

    /// Makes a folder (0700), or takes the one that is there.
    pub(super) fn make_dir(&self, path: &RelPath) -> Result<(), TreeError> {
        let made = self.parent(path).and_then(|dir| rustix::fs::mkdirat(&dir, path.name(), Mode::RWXU));
        match made {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(errno) => Err(self.fail(path)(errno)),
        }
    }

    /// Opens a file to read and write, making it if it is not there.
    pub(super) fn open_to_write(&self, path: &RelPath) -> Result<File, TreeError> {
        self.open(path, OFlags::RDWR | OFlags::CREATE).map(File::from).map_err(self.fail(path))
    }

    /// Opens a file to read and write if it is there.
    pub(super) fn open_existing(&self, path: &RelPath) -> Result<Option<File>, TreeError> {
        match self.open(path, OFlags::RDWR) {
            Ok(fd) => Ok(Some(fd.into())),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fail(path)(errno)),
        }
    }

    /// Opens a regular file to read; anything else (a pipe would hang, a device answer for ever) is an error.
    pub(super) fn open_to_read(&self, path: &RelPath) -> Result<File, TreeError> {
        let file: File = self.open(path, OFlags::RDONLY).map_err(self.fail(path))?.into();
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_file { Ok(file) } else { Err(self.fail(path)(rustix::io::Errno::INVAL)) }
    }

    /// Makes a symlink, in place of one that is there.
    pub(super) fn make_symlink(&self, path: &RelPath, target: &str) -> Result<(), TreeError> {
        let make = || {
            let dir = self.parent(path)?;
            match rustix::fs::unlinkat(&dir, path.name(), AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            rustix::fs::symlinkat(target, &dir, path.name())
        };
        make().map_err(self.fail(path))
    }

    /// Gives a folder its mode and syncs it.
    pub(super) fn complete_dir(&self, path: &RelPath, mode: u32) -> Result<(), TreeError> {
        let open = || {
            let parent = self.parent(path)?;
            rustix::fs::openat(&parent, path.name(), DIR, Mode::empty())
        };
        let dir = open().map_err(self.fail(path))?;
        set_mode_and_sync(&dir, mode).map_err(self.fail(path))
    }

    /// Gives the root mode 0755 and syncs it.
    pub(super) fn complete_root(&self) -> Result<(), TreeError> {
        set_mode_and_sync(&self.dir, 0o755).map_err(|errno| TreeError::io(&self.path)(errno.into()))
    }
}

fn set_mode_and_sync(fd: impl AsFd, mode: u32) -> Result<(), rustix::io::Errno> {
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    rustix::fs::fsync(&fd)
}

/// Gives a file its size and mode and syncs it.
pub(super) fn complete_file(file: &File, size: u64, mode: u32) -> io::Result<()> {
    file.set_len(size)?;
    set_mode_and_sync(file, mode).map_err(io::Error::from)
}

/// Is there nothing but a hole from `offset` for `len` bytes? Saves hashing what was never written.
pub(super) fn is_hole(file: &File, offset: u64, len: u64) -> bool {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data >= offset + len,
        Err(errno) => errno == rustix::io::Errno::NXIO,
    }
}

fn make_0700(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Removes from a staged tree what the manifest does not have, and all symlinks, and makes the rest ours to write.
/// Paths are safe here: the folder around is 0700 and ours, and every name is looked at before it is entered.
pub(super) fn keep_only(tree: &Path, manifest: &Manifest) -> Result<(), TreeError> {
    let wanted = manifest.entries().iter().map(|entry| (entry.path.as_str(), &entry.kind)).collect();
    tidy(tree, "", &wanted)
}

fn tidy(dir: &Path, prefix: &str, wanted: &HashMap<&str, &EntryKind>) -> Result<(), TreeError> {
    set_mode(dir, 0o700)?;
    for item in fs::read_dir(dir).map_err(TreeError::io(dir))? {
        let item = item.map_err(TreeError::io(dir))?;
        let path = item.path();
        let metadata = fs::symlink_metadata(&path).map_err(TreeError::io(&path))?;
        let below = format!("{prefix}{}", item.file_name().to_string_lossy());
        match wanted.get(below.as_str()) {
            Some(EntryKind::Dir) if metadata.is_dir() => tidy(&path, &format!("{below}/"), wanted)?,
            Some(EntryKind::File { .. }) if metadata.is_file() && metadata.nlink() == 1 => {
                set_mode(&path, 0o600)?
            }
            _ => remove_any(&path, metadata.is_dir())?,
        }
    }
    Ok(())
}

fn remove_any(path: &Path, is_dir: bool) -> Result<(), TreeError> {
    if !is_dir {
        return fs::remove_file(path).map_err(TreeError::io(path));
    }
    set_mode(path, 0o700)?;
    for item in fs::read_dir(path).map_err(TreeError::io(path))? {
        let item = item.map_err(TreeError::io(path))?;
        let is_dir = item.file_type().map_err(TreeError::io(path))?.is_dir();
        remove_any(&item.path(), is_dir)?;
    }
    fs::remove_dir(path).map_err(TreeError::io(path))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), TreeError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(TreeError::io(path))
}
