//! Packages made up for tests.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use packhorse_content::build::{Built, build};
use packhorse_content::fetch::{Body, Source, SourceError};
use packhorse_content::frame::Frame;
use packhorse_content::manifest::Manifest;
use packhorse_content::phk::{self, PhkReader};
use packhorse_content::serve::serve;
use packhorse_content::store::{Reader, Store};
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::envelope::SigningKey;
use tempfile::TempDir;

/// Bytes that do not compress and are the same on every run.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn write(folder: &Path, path: &str, content: &[u8], mode: u32) {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn recipe(folder: &Path, version: &str) {
    let text = format!(
        "[package]\nname = \"editor\"\nversion = \"{version}\"\nkind = \"files\"\n[install]\nto = \"/opt/editor\"\n"
    );
    write(folder, "packhorse.toml", text.as_bytes(), 0o644);
}

/// A folder with about 1.5 MB: large, small, empty, equal and sparse files, folders, symlinks, modes.
pub fn editor(version: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    recipe(folder, version);
    write(folder, "bin/editor", &noise(900_000, 1), 0o755);
    write(folder, "lib/text.txt", "all work and no play\n".repeat(20_000).as_bytes(), 0o644);
    write(folder, "lib/zeros", &vec![0; 600_000], 0o600);
    write(folder, "lib/copy", &noise(900_000, 1)[..200_000], 0o444);
    write(folder, "share/empty", b"", 0o640);
    write(folder, "share/version", version.as_bytes(), 0o644);
    fs::create_dir_all(folder.join("var/empty")).unwrap();
    fs::set_permissions(folder.join("var/empty"), fs::Permissions::from_mode(0o1555)).unwrap();
    symlink("bin/editor", folder.join("run")).unwrap();
    symlink("../bin/editor", folder.join("lib/up")).unwrap();
    dir
}

pub struct Packed {
    pub manifest: Arc<Manifest>,
    pub envelope: Vec<u8>,
    pub frames: Vec<Frame>,
    pub key: SigningKey,
    pub built: Built,
    pub dir: TempDir,
}

pub fn pack(folder: &Path) -> Packed {
    let dir = tempfile::tempdir().unwrap();
    let built = build(folder, dir.path(), |_| ()).unwrap();
    let key = SigningKey::generate().unwrap();
    let envelope = built.sign(&[&key]).unwrap().encode().unwrap();
    let file = dir.path().join("x.phk");
    phk::write(&file, &built, &envelope).unwrap();
    let mut reader = PhkReader::open(&file).unwrap();
    let all = RangeSet::full(reader.manifest().chunk_count());
    let frames = reader.frames(all).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    Packed { manifest: built.manifest().clone(), envelope, frames, key, built, dir }
}

pub fn put(store: &Store, package: &Packed) {
    let intake = store.begin(&package.envelope, &package.manifest).unwrap();
    package.frames.iter().for_each(|frame| intake.accept(frame).unwrap());
    intake.finish().unwrap();
}

pub fn bytes_of(frames: &[Frame]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|frame| [frame.header.to_bytes().as_slice(), frame.body.as_ref()].concat())
        .collect()
}

/// A body in uneven pieces, as lines bring them.
pub fn body(bytes: &[u8]) -> Body {
    let pieces: Vec<io::Result<Bytes>> =
        bytes.chunks(10_007).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    stream::iter(pieces).boxed()
}

/// Names, kinds, modes and contents of a tree, sorted.
pub fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for item in fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            if name == "packhorse.toml" {
                continue;
            }
            if metadata.is_symlink() {
                lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
            } else if metadata.is_dir() {
                lines.push(format!("{name}/ {mode:o}"));
                dirs.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                lines.push(format!("{name} {mode:o} {} {}", content.len(), blake3::hash(&content)));
            }
        }
    }
    lines.sort();
    lines
}

/// A higher system in this process. `spoil` may change each answer; asked counts plain bytes.
pub struct StoreSource {
    pub reader: Reader,
    pub asks: Mutex<Vec<RangeSet>>,
    pub spoil: Box<dyn Fn(usize, Body) -> Body + Send + Sync>,
}

impl StoreSource {
    pub fn new(reader: Reader) -> Self {
        Self { reader, asks: Mutex::default(), spoil: Box::new(|_, body| body) }
    }

    pub fn spoiled(reader: Reader, spoil: impl Fn(usize, Body) -> Body + Send + Sync + 'static) -> Self {
        Self { spoil: Box::new(spoil), ..Self::new(reader) }
    }

    pub fn asked(&self) -> Vec<RangeSet> {
        self.asks.lock().unwrap().clone()
    }
}

impl Source for StoreSource {
    fn frames<'a>(&'a self, ranges: &'a RangeSet) -> BoxFuture<'a, Result<Body, SourceError>> {
        let mut asks = self.asks.lock().unwrap();
        asks.push(ranges.clone());
        let body = serve(self.reader.clone(), ranges.clone(), Duration::from_secs(2));
        let body = (self.spoil)(asks.len(), body);
        Box::pin(async { Ok(body) })
    }
}

/// A disk of its own that is soon full; gone with its owner.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    pub fn new(bytes: u64) -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        assert!(mount.as_ref().is_ok_and(|output| output.status.success()), "a tmpfs, as root: {mount:?}");
        SmallDisk(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the disk of a test stays mounted");
    }
}
