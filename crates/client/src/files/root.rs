//! The folder below which the agent installs. Every path on the host is resolved below it by the kernel (`openat2` with
//! `RESOLVE_IN_ROOT`): a symlink in it, absolute or not, leads to a place below it, as it would for a program that runs there.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::folder::{Folder, is_folder};

/// A race with a rename makes the kernel give up on a path; then it is asked again, this often.
const TRIES: usize = 32;

/// The open root.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// Where a tree goes: the folder it lies in, and its name there.
#[derive(Debug)]
pub(crate) struct Spot {
    /// The folder.
    pub parent: Folder,
    /// The name.
    pub name: OsString,
}

impl Root {
    /// Opens it, making it if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Root> {
        std::fs::create_dir_all(path)?;
        let path = path.canonicalize()?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root { fd: rustix::fs::openat(CWD, &path, flags, Mode::empty())?, path })
    }

    /// Its path, for programs that take one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn resolve(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = match path.trim_matches('/') {
            "" => ".",
            path => path,
        };
        let mut outcome = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            outcome = rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), how);
            if !matches!(outcome, Err(Errno::AGAIN)) {
                break;
            }
        }
        outcome
    }

    /// An existing folder on the host; `None` if there is none.
    ///
    /// # Errors
    /// What the system says, also for something that is no folder.
    pub fn folder(&self, path: &str) -> io::Result<Option<Folder>> {
        match self.resolve(path, OFlags::DIRECTORY) {
            Ok(fd) => Ok(Some(Folder::of(fd))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether something is at a path on the host.
    ///
    /// # Errors
    /// What the system says.
    pub fn exists(&self, path: &str) -> io::Result<bool> {
        match self.resolve(path, OFlags::PATH) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A folder on the host, made (0755) with those it lies in if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn make(&self, path: &str) -> io::Result<Folder> {
        let mut made = String::new();
        let mut here = self.folder("")?.ok_or(Errno::NOENT)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let inner = format!("{made}/{part}");
            // From the root each time: a symlink on the way is resolved as a whole.
            let next = match self.folder(&inner)? {
                Some(next) => next,
                None => {
                    rustix::fs::mkdirat(here.fd(), part, Mode::from_raw_mode(0o755))?;
                    here.sync()?;
                    self.folder(&inner)?.ok_or(Errno::NOENT)?
                }
            };
            (made, here) = (inner, next);
        }
        Ok(here)
    }

    /// Where the tree `to` goes. The folder it lies in is made if it is not there and `make` says so; `None` if it is not
    /// there and stays so.
    ///
    /// # Errors
    /// What the system says; `to` is the root itself.
    pub fn spot(&self, to: &str, make: bool) -> io::Result<Option<Spot>> {
        let (parent, name) = split(to)?;
        let folder = if make { Some(self.make(parent)?) } else { self.folder(parent)? };
        Ok(folder.map(|parent| Spot { parent, name: name.into() }))
    }
}

impl Spot {
    /// The tree that is there; `None` if nothing is.
    ///
    /// # Errors
    /// What is there is no folder, or a filesystem of its own.
    pub fn tree(&self) -> io::Result<Option<Folder>> {
        let Some(stat) = self.parent.stat(&self.name)? else { return Ok(None) };
        if !is_folder(&stat) {
            return Err(io::Error::other("what is there is no folder"));
        }
        let tree = self.parent.open(&self.name)?;
        if is_mount(&tree, &self.parent)? {
            return Err(io::Error::other(
                "it is a mount point, which cannot be switched; install into a folder in it",
            ));
        }
        Ok(Some(tree))
    }
}

/// Folder and name of an absolute path.
pub(crate) fn split(to: &str) -> io::Result<(&str, &str)> {
    match to.trim_end_matches('/').rsplit_once('/') {
        Some((parent, name)) if !name.is_empty() => Ok((parent, name)),
        _ => Err(io::Error::other("the root itself cannot be switched; install into a folder in it")),
    }
}

fn is_mount(tree: &Folder, parent: &Folder) -> io::Result<bool> {
    if tree.own_stat()?.st_dev != parent.own_stat()?.st_dev {
        return Ok(true);
    }
    let said = rustix::fs::statx(tree.fd(), "", rustix::fs::AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    // A kernel that does not know the attribute refuses the switch itself, later.
    Ok(said.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
        && said.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Opens a file for reading by its path in a tree, no symlink on the way.
pub(crate) fn open_file(tree: &Folder, path: &str) -> io::Result<File> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::openat2(tree.fd(), path, flags, Mode::empty(), how)?))
}
