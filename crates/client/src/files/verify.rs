//! Whether a tree is what a manifest says: every file by its hashes, every folder and symlink.

use std::io::{self, Read};
use std::ops::Range;

use packhorse_content::limits::CHUNK_BYTES;
use packhorse_content::manifest::{Entry, EntryKind, Manifest};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::folder::Folder;
use super::root::open_file;

/// What is not as it should be; `None` if all is.
///
/// # Errors
/// The disk.
pub(crate) fn difference(tree: &Folder, manifest: &Manifest) -> io::Result<Option<String>> {
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    for entry in manifest.entries() {
        match differs(tree, manifest, entry, &mut buffer) {
            Ok(None) => {}
            Ok(Some(what)) => return Ok(Some(format!("{} {what}", entry.path))),
            Err(error) if is_absent(&error) => return Ok(Some(format!("{} is not there", entry.path))),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    // ELOOP: a symlink stands where a folder or file of ours was.
    matches!(error.kind(), NotFound | NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn differs(
    tree: &Folder,
    manifest: &Manifest,
    entry: &Entry,
    buffer: &mut [u8],
) -> io::Result<Option<&'static str>> {
    let path = entry.path.as_str();
    match &entry.kind {
        EntryKind::Dir => {
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat2(tree.fd(), path, flags, Mode::empty(), how)?;
            Ok(None)
        }
        EntryKind::Symlink { target } => {
            let found = match rustix::fs::readlinkat(tree.fd(), path, Vec::new()) {
                Ok(found) => found,
                Err(rustix::io::Errno::INVAL) => return Ok(Some("is no symlink any more")),
                Err(errno) => return Err(errno.into()),
            };
            Ok((found.as_bytes() != target.as_bytes()).then_some("points elsewhere"))
        }
        EntryKind::File { size, uses } => file_differs(tree, manifest, (path, *size), uses, buffer),
    }
}

fn file_differs(
    tree: &Folder,
    manifest: &Manifest,
    (path, size): (&str, u64),
    uses: &Range<usize>,
    buffer: &mut [u8],
) -> io::Result<Option<&'static str>> {
    let mut file = open_file(tree, path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() != size {
        return Ok(Some("has another size"));
    }
    for (index, _, len) in manifest.file_chunks(uses) {
        let Some(expected) = manifest.chunk(index) else { return Ok(Some("has no chunks")) };
        // A manifest is checked when it is parsed: no chunk is longer than the buffer.
        let Some(bytes) = buffer.get_mut(..len as usize) else { return Ok(Some("has no chunks")) };
        match file.read_exact(bytes) {
            Ok(()) if blake3::hash(bytes) == expected.hash => {}
            Ok(()) => return Ok(Some("was changed")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some("was cut off")),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
