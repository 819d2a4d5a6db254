//! A disk of its own that is soon full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small tmpfs; unmounted with its guard.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at `path`, which is made. `None` where this user may not mount: the stories that need one then have
    /// nothing to say.
    pub fn at(path: &Path, bytes: u64) -> Option<SmallDisk> {
        fs::create_dir_all(path).expect("where it is mounted");
        let size = format!("size={bytes},mode=700");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk(path.to_owned()));
        }
        eprintln!("not tested: this user may not mount a tmpfs");
        None
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
