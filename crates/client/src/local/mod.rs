//! The user's socket.

mod ask;
mod offers;
mod serve;
mod users;

pub use ask::ask;
pub(crate) use serve::Local;
pub(crate) use users::Users;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Longest path a socket's address can hold, less what the kernel may add.
const ADDRESS_BYTES_MAX: usize = 100;

/// A path for a socket that fits into an address: the path itself, or one through its folder's descriptor, which has to be
/// held as long as the path is used.
fn short(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, "the socket's path names no file");
    let (folder, name) = (path.parent().ok_or_else(bad)?, path.file_name().ok_or_else(bad)?);
    let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}
