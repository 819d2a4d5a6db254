//! A real Debian package without dependencies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary;

/// Its name.
pub const NAME: &str = "publicsuffix";

/// The file, downloaded once into a folder beside the program.
///
/// # Panics
/// Apt is not here, or does not give the package.
pub fn file() -> PathBuf {
    let folder = binary::path().parent().expect("its folder").join("e2e-debs");
    fs::create_dir_all(&folder).expect("the cache folder");
    if let Some(found) = find(&folder) {
        return found;
    }
    // Into a folder of its own: another test process may be downloading, too.
    let own = tempfile::tempdir_in(&folder).expect("a folder");
    if !download(own.path()) {
        let update = Command::new("apt-get").args(["update", "-qq"]).status();
        assert!(update.is_ok_and(|status| status.success()), "apt-get update");
        assert!(download(own.path()), "apt-get download {NAME}");
    }
    let got = find(own.path()).expect("what was downloaded");
    let kept = folder.join(got.file_name().expect("its name"));
    fs::rename(&got, &kept).expect("it is kept");
    kept
}

fn download(folder: &Path) -> bool {
    let status = Command::new("apt-get")
        // As root apt would hand the download to a user who may not write here.
        .args(["download", "-qq", "-o", "APT::Sandbox::User=root", NAME])
        .current_dir(folder)
        .status();
    status.is_ok_and(|status| status.success()) && find(folder).is_some()
}

fn find(folder: &Path) -> Option<PathBuf> {
    let items = fs::read_dir(folder).ok()?;
    items.flatten().map(|item| item.path()).find(|path| path.extension().is_some_and(|ext| ext == "deb"))
}

/// `dpkg-query`'s word on a package below a root.
pub fn status(root: &Path, name: &str) -> String {
    let output = Command::new("dpkg-query")
        .arg(format!("--root={}", root.display()))
        .args(["-W", "-f", "${Status}", name])
        .output()
        .expect("dpkg-query runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
