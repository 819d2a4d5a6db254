//! The files of a package's folder, ascending by path; what no package can hold is refused by name.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::BuildError;
use crate::limits;
use crate::path::{RelPath, check_target};
use crate::recipe;

/// A file, folder or symlink found.
pub(super) struct Found {
    /// Where it goes in the package.
    pub path: RelPath,
    /// Where it is now.
    pub source: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    pub kind: FoundKind,
}

pub(super) enum FoundKind {
    File,
    Dir,
    Symlink(String),
}

/// Everything in `folder` but its `packhorse.toml`.
pub(super) fn walk(folder: &Path) -> Result<Vec<Found>, BuildError> {
    let mut found = Vec::new();
    let mut to_visit: Vec<(PathBuf, Option<String>)> = vec![(folder.to_owned(), None)];
    while let Some((dir, prefix)) = to_visit.pop() {
        for item in fs::read_dir(&dir).map_err(BuildError::io(&dir))? {
            let item = item.map_err(BuildError::io(&dir))?;
            if prefix.is_none() && item.file_name() == recipe::FILE_NAME {
                continue;
            }
            let entry = inspect(&item.path(), prefix.as_deref(), &item.file_name())?;
            if matches!(entry.kind, FoundKind::Dir) {
                to_visit.push((entry.source.clone(), Some(entry.path.to_string())));
            }
            found.push(entry);
            if found.len() > limits::ENTRIES {
                return Err(BuildError::unfit(folder, "has more than 1,000,000 files"));
            }
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn inspect(source: &Path, prefix: Option<&str>, name: &OsStr) -> Result<Found, BuildError> {
    let name =
        name.to_str().ok_or_else(|| BuildError::unfit(source, "has a name that is not UTF-8; rename it"))?;
    let text = prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}/{name}"));
    let path = RelPath::new(&text).map_err(|error| BuildError::path(source, &error))?;
    let metadata = fs::symlink_metadata(source).map_err(BuildError::io(source))?;
    let kind = kind_of(source, &path, &metadata)?;
    let mode = mode_of(source, &kind, &metadata)?;
    Ok(Found { path, source: source.to_owned(), mode, kind })
}

fn kind_of(source: &Path, path: &RelPath, metadata: &Metadata) -> Result<FoundKind, BuildError> {
    let file_type = metadata.file_type();
    if file_type.is_file() {
        return Ok(FoundKind::File);
    }
    if file_type.is_dir() {
        return Ok(FoundKind::Dir);
    }
    if file_type.is_symlink() {
        let target = fs::read_link(source).map_err(BuildError::io(source))?;
        let target =
            target.to_str().ok_or_else(|| BuildError::unfit(source, "points to a name that is not UTF-8"))?;
        check_target(path, target).map_err(|error| BuildError::path(source, &error))?;
        return Ok(FoundKind::Symlink(target.to_owned()));
    }
    let what = if file_type.is_socket() {
        "a socket"
    } else if file_type.is_fifo() {
        "a pipe"
    } else {
        "a device"
    };
    Err(BuildError::unfit(source, format!("is {what}; a package holds files, folders and symlinks")))
}

fn mode_of(source: &Path, kind: &FoundKind, metadata: &Metadata) -> Result<u32, BuildError> {
    if matches!(kind, FoundKind::Symlink(_)) {
        return Ok(0o777);
    }
    let mode = metadata.mode() & 0o7777;
    if matches!(kind, FoundKind::File) && mode & 0o6000 != 0 {
        return Err(BuildError::unfit(source, "is setuid or setgid; packages may not set that, take it off"));
    }
    // Folders inherit setgid from their parent on some systems without anyone having asked for it.
    Ok(mode & 0o1777)
}

/// One file under a name of our choosing, mode 0644: a `.deb` by itself.
pub(super) fn single(source: &Path, name: &str) -> Result<Found, BuildError> {
    let path = RelPath::new(name).map_err(|error| BuildError::path(source, &error))?;
    Ok(Found { path, source: source.to_owned(), mode: 0o644, kind: FoundKind::File })
}

/// Opens what was a regular file when it was found, and must still be one.
pub(super) fn open_regular(source: &Path) -> Result<File, BuildError> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(source)
        .map_err(BuildError::io(source))?;
    if file.metadata().map_err(BuildError::io(source))?.is_file() {
        Ok(file)
    } else {
        Err(BuildError::unfit(source, "changed while the package was built"))
    }
}
