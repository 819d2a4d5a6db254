use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;

use packhorse_content::build::build;
use packhorse_content::fetch::Target;
use packhorse_content::frame::Frame;
use packhorse_content::manifest::Manifest;
use packhorse_content::tree::TreeIntake;
use packhorse_domain::ids::PackageLabel;
use packhorse_domain::time::Time;
use packhorse_wire::envelope::SigningKey;
use tempfile::TempDir;

use super::*;
use crate::store::{Db, Installed, Switching};

struct Host {
    folder: TempDir,
    db: Db,
    root: Root,
}

impl Host {
    fn new() -> Host {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let db = Db::open(&folder.path().join("data")).unwrap();
        let root = Root::open(&folder.path().join("root")).unwrap();
        Host { folder, db, root }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(path)
    }

    /// A package, staged beside `/opt/x`.
    fn staged(&self, version: &str, files: &[(&str, &[u8])]) -> (Installed, Arc<Manifest>) {
        let source = tempfile::tempdir().unwrap();
        let recipe = format!(
            "[package]\nname = \"x\"\nversion = \"{version}\"\nkind = \"files\"\n[install]\nto = \"/opt/x\"\n"
        );
        fs::write(source.path().join("packhorse.toml"), recipe).unwrap();
        for (path, content) in files {
            let path = source.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let spool = tempfile::tempdir().unwrap();
        let built = build(source.path(), spool.path(), |_| {}).unwrap();
        let envelope = built.sign(&[&SigningKey::generate().unwrap()]).unwrap().encode().unwrap();
        let manifest = Arc::clone(built.manifest());
        let beside = self.root.make("/opt").unwrap();
        let intake = TreeIntake::open(&beside.path().join(staging_name(&manifest.id())), &manifest).unwrap();
        for (_, content) in files {
            // Small files: each is one chunk.
            let hash = *blake3::hash(content).as_bytes();
            let index = manifest.chunks().position(|chunk| chunk.hash == hash).unwrap() as u32;
            Target::accept(&intake, &Frame::pack(index, content).unwrap()).unwrap();
        }
        intake.finish().unwrap();
        let label =
            PackageLabel { cabinet: "main".into(), name: "x".into(), version: version.into(), generation: 1 };
        let new = Installed { label, package: manifest.id(), manifest: envelope, start: version.into() };
        (new, manifest)
    }

    fn install(&self, version: &str, files: &[(&str, &[u8])]) -> Result<String, String> {
        let (new, manifest) = self.staged(version, files);
        let carried = install(&self.db, &self.root, new, &manifest, Time(1));
        carried.map(|carried| carried.told()).map_err(|error| error.to_string())
    }

    fn recorded(&self) -> Option<String> {
        let found = self.db.run_blocking(|connection| Installed::find(connection, "main", "x")).unwrap();
        found.map(|found| found.start)
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "-".into())
}

#[test]
fn a_tree_is_the_old_one_or_the_new_one_at_every_moment() {
    let host = Host::new();
    host.install("1", &[("a", b"1"), ("b", b"1")]).unwrap();
    let (to, stop) = (host.at("opt/x"), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let (watched, ends) = (to.clone(), Arc::clone(&stop));
    let reader = std::thread::spawn(move || {
        let mut looks = 0;
        while !ends.load(std::sync::atomic::Ordering::Relaxed) {
            // Through one folder, as a program that has entered it.
            let folder = rustix::fs::openat(
                rustix::fs::CWD,
                &watched,
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .expect("there is always a tree");
            let inside = Folder::of(folder);
            let (a, b) = (fs::read(inside.path().join("a")), fs::read(inside.path().join("b")));
            if let (Ok(a), Ok(b)) = (a, b) {
                assert_eq!(a, b);
            }
            looks += 1;
        }
        looks
    });
    for version in 2..12 {
        let text = version.to_string();
        host.install(&text, &[("a", text.as_bytes()), ("b", text.as_bytes())]).unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
    assert_eq!((read(&to.join("a")), host.recorded()), ("11".into(), Some("11".into())));
    assert_eq!(fs::read_dir(host.at("opt")).unwrap().count(), 1, "no left-overs");
}

#[test]
fn what_is_not_ours_is_kept_and_a_clash_changes_nothing() {
    let host = Host::new();
    fs::create_dir_all(host.at("opt/x/empty")).unwrap();
    fs::write(host.at("opt/x/mine"), "mine").unwrap();
    let inode = host.at("opt/x/mine").metadata().unwrap().ino();
    let told = host.install("1", &[("ours", b"1"), ("dir/ours", b"1")]).unwrap();
    assert_eq!(told, "");
    assert!(host.at("opt/x/empty").is_dir());
    assert_eq!(host.at("opt/x/mine").metadata().unwrap().ino(), inode, "the very same file");
    fs::write(host.at("opt/x/dir/mine"), "mine").unwrap();
    // A file of the package where a folder holds something that is not ours.
    let error = host.install("2", &[("dir", b"a file now")]).unwrap_err();
    assert!(error.contains("dir is there, not of this package"), "{error}");
    assert_eq!((read(&host.at("opt/x/ours")), read(&host.at("opt/x/dir/mine"))), ("1".into(), "mine".into()));
    assert_eq!(host.recorded().as_deref(), Some("1"));
}

#[test]
fn no_symlink_leads_out_of_the_root() {
    let host = Host::new();
    let outside = host.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, host.at("opt")).unwrap();
    // Absolute, and so below the root: there it leads nowhere.
    assert!(host.root.make("/opt").is_err());
    fs::remove_file(host.at("opt")).unwrap();
    symlink("../outside", host.at("opt")).unwrap();
    assert!(host.root.make("/opt").is_err());
    assert!(!host.root.exists("/opt/../../outside").unwrap());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    fs::remove_file(host.at("opt")).unwrap();
    // One that stays inside is as good as a folder.
    fs::create_dir(host.at("srv")).unwrap();
    symlink("/srv", host.at("opt")).unwrap();
    host.install("1", &[("a", b"1")]).unwrap();
    assert_eq!(read(&host.at("srv/x/a")), "1");
    // What is at the destination itself has to be a folder.
    fs::rename(host.at("srv/x"), host.at("srv/y")).unwrap();
    symlink("y", host.at("srv/x")).unwrap();
    let error = host.install("2", &[("a", b"2")]).unwrap_err();
    assert!(error.contains("no folder"), "{error}");
    assert_eq!(read(&host.at("srv/y/a")), "1");
}

#[test]
fn the_root_and_mount_points_are_refused() {
    assert!(split("/").unwrap_err().to_string().contains("root itself"));
    let root = Root::open(Path::new("/")).unwrap();
    if let Some(spot) = root.spot("/proc", false).unwrap() {
        assert!(spot.tree().unwrap_err().to_string().contains("mount point"));
    }
}

#[test]
fn a_switch_that_was_cut_off_is_finished_or_forgotten() {
    // Noted and not made.
    let host = Host::new();
    host.install("1", &[("a", b"1")]).unwrap();
    let (new, _) = host.staged("2", &[("a", b"2")]);
    let staged = host.at("opt").join(staging_name(&new.package)).join("tree");
    let found = staged.metadata().unwrap();
    let noted = Switching { new: new.clone(), dev: found.dev(), ino: found.ino() };
    host.db.run_blocking(move |connection| noted.begin(connection)).unwrap();
    finish_all(&host.db, &host.root, Time(2)).unwrap();
    assert_eq!((read(&host.at("opt/x/a")), host.recorded()), ("1".into(), Some("1".into())));
    assert!(host.db.run_blocking(Switching::all).unwrap().is_empty());

    // Made and not noted as installed; something appeared meanwhile.
    let noted = Switching { new, dev: found.dev(), ino: found.ino() };
    host.db.run_blocking(move |connection| noted.begin(connection)).unwrap();
    fs::rename(host.at("opt/x"), host.at("opt/aside")).unwrap();
    fs::rename(&staged, host.at("opt/x")).unwrap();
    fs::write(host.at("opt/aside/late"), "late").unwrap();
    fs::rename(host.at("opt/aside"), &staged).unwrap();
    finish_all(&host.db, &host.root, Time(3)).unwrap();
    assert_eq!((read(&host.at("opt/x/a")), host.recorded()), ("2".into(), Some("2".into())));
    assert_eq!(read(&host.at("opt/x/late")), "late");
    assert_eq!(fs::read_dir(host.at("opt")).unwrap().count(), 1, "no left-overs");
}

#[test]
fn a_changed_tree_is_seen() {
    let host = Host::new();
    let (new, manifest) = host.staged("1", &[("a", b"1"), ("d/b", b"2")]);
    install(&host.db, &host.root, new, &manifest, Time(1)).unwrap();
    let look = || difference(&host.root.folder("/opt/x").unwrap().unwrap(), &manifest).unwrap();
    assert_eq!(look(), None);
    fs::write(host.at("opt/x/a"), "2").unwrap();
    assert_eq!(look().as_deref(), Some("a was changed"));
    fs::write(host.at("opt/x/a"), "1").unwrap();
    fs::rename(host.at("opt/x/d"), host.at("opt/x/e")).unwrap();
    symlink("e", host.at("opt/x/d")).unwrap();
    assert_eq!(look().as_deref(), Some("d is not there"));
}
