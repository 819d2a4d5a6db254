//! Writing key and certificate files so that a crash leaves the old file or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::PkiError;

/// Largest key or certificate file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Writes a secret with mode 0600: durable, all or nothing, replacing what was there.
///
/// # Errors
/// [`PkiError::File`] with the path and what the system said.
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    write_with_mode(path, text, 0o600)
}

/// Writes a public file with mode 0644 (less the process's mask): durable, all or nothing.
///
/// # Errors
/// [`PkiError::File`] with the path and what the system said.
pub fn write_public(path: &Path, text: &str) -> Result<(), PkiError> {
    write_with_mode(path, text, 0o644)
}

/// Reads a key or certificate file of at most 64 KiB.
pub(super) fn read_text(path: &Path) -> Result<String, PkiError> {
    let fail = |source| PkiError::File { action: "read", path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(fail)?.len();
    if length > MAX_FILE_BYTES {
        return Err(fail(std::io::Error::other("larger than any key or certificate file")));
    }
    fs::read_to_string(path).map_err(fail)
}

fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let fail = |source| PkiError::File { action: "write", path: path.to_owned(), source };
    let beside = beside(path);
    let written = write_new(&beside, text, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The half-written file may hold a secret; whether removing it works changes nothing about the error.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(fail)?;
    sync_folder(path).map_err(fail)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    // A left-over of an earlier crash could have a wider mode, so it is never reused.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
