//! A disk of its own that is soon full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small tmpfs; unmounted with its guard.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at `path`, which is made.
    ///
    /// # Panics
    /// This user may not mount: the tests are run as root.
    pub fn at(path: &Path, bytes: u64) -> SmallDisk {
        fs::create_dir_all(path).expect("where it is mounted");
        let size = format!("size={bytes},mode=700");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        assert!(mount.as_ref().is_ok_and(|output| output.status.success()), "a tmpfs, as root: {mount:?}");
        SmallDisk(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a system that is being killed may still have files open.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}
