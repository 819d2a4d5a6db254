//! Folders that become packages.

use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A folder with a `packhorse.toml`: kind files, installed to `/opt/NAME`.
#[derive(Debug, Clone)]
pub struct Source {
    folder: PathBuf,
}

impl Source {
    /// An empty package.
    pub fn new(folder: &Path, name: &str, version: &str) -> Source {
        let text = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"files\"\n\n[install]\nto = \"/opt/{name}\"\n"
        );
        Source::with_recipe(folder, &text)
    }

    /// With this recipe.
    pub fn with_recipe(folder: &Path, recipe: &str) -> Source {
        fs::create_dir_all(folder).expect("the package's folder");
        fs::write(folder.join("packhorse.toml"), recipe).expect("the recipe");
        Source { folder: folder.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// With this text at the end of the recipe.
    pub fn recipe(self, more: &str) -> Source {
        let path = self.folder.join("packhorse.toml");
        let text = fs::read_to_string(&path).expect("the recipe") + more;
        fs::write(path, text).expect("the recipe");
        self
    }

    /// With a file.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Source {
        let file = self.place(path);
        fs::write(file, content).expect("a file of the package");
        self
    }

    /// With a program.
    pub fn program(self, path: &str, content: &str) -> Source {
        let source = self.file(path, content);
        let file = source.folder.join(path);
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("its mode");
        source
    }

    /// With a symlink.
    pub fn link(self, path: &str, target: &str) -> Source {
        symlink(target, self.place(path)).expect("a symlink of the package");
        self
    }

    /// With a file of bytes that do not compress, the same for the same seed.
    pub fn noise(self, path: &str, bytes: u64, seed: u64) -> Source {
        let file = fs::File::create(self.place(path)).expect("a file of the package");
        write_noise(BufWriter::new(file), bytes, seed);
        self
    }

    fn place(&self, path: &str) -> PathBuf {
        let file = self.folder.join(path);
        fs::create_dir_all(file.parent().expect("below the package's folder")).expect("its folder");
        file
    }
}

fn write_noise(mut to: impl Write, bytes: u64, seed: u64) {
    let mut noise = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(buffer.len() as u64) as usize;
        noise.fill(&mut buffer[..length]);
        to.write_all(&buffer[..length]).expect("noise");
        left -= length as u64;
    }
    to.flush().expect("noise");
}
