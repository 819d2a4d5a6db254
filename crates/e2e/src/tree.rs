//! Folders compared.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Names, kinds, modes and contents below a folder, sorted; without the recipe.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(open) = folders.pop() {
        for item in fs::read_dir(&open).unwrap_or_else(|error| panic!("{}: {error}", open.display())) {
            let path = item.expect("an entry").path();
            let name = path.strip_prefix(folder).expect("below").display().to_string();
            let metadata = fs::symlink_metadata(&path).expect("its metadata");
            let mode = metadata.permissions().mode() & 0o7777;
            if name == "packhorse.toml" {
                continue;
            }
            if metadata.is_symlink() {
                lines.push(format!("{name} -> {}", fs::read_link(&path).expect("its target").display()));
            } else if metadata.is_dir() {
                lines.push(format!("{name}/ {mode:o}"));
                folders.push(path);
            } else {
                lines.push(format!("{name} {mode:o} {} {}", metadata.len(), hash(&path)));
            }
        }
    }
    lines.sort();
    lines
}

fn hash(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::open(path).expect("a file");
    std::io::copy(&mut file, &mut hasher).expect("its bytes");
    hasher.finalize().to_hex().to_string()
}

/// Which file this is and when it was written: two that are equal are the same file, written once.
pub fn stamp(path: &Path) -> (u64, i64, i64) {
    let metadata = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// Whether a client has what a package's folder holds.
pub fn is_installed(source: &Path, to: &Path) -> bool {
    to.is_dir() && listing(source) == listing(to)
}
