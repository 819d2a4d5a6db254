//! What is fetched again, what is kept, and what a reader sees meanwhile.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use packhorse_e2e::tree::is_installed;
use packhorse_e2e::world::World;

const MIB: u64 = 1 << 20;

#[test]
fn the_next_version_brings_only_what_is_new() {
    let world = World::new();
    let above = world.proxy(world.server.port);
    let osaka = world.relay("osaka", &above.url());
    let below = world.proxy(osaka.port);
    let pc = world.client("pc1", &below.url());
    let first = world.source("editor", "1.0").noise("lib/large", 12 * MIB, 1).file("version", "1.0");
    world.add(&first);
    world.done(&world.install("editor", &["pc1"], &[]), 40);
    let (before_above, before_below) = (above.down_bytes(), below.down_bytes());
    let second = world
        .source("editor", "1.1")
        .noise("lib/large", 12 * MIB, 1)
        .noise("lib/more", MIB, 2)
        .file("version", "1.1");
    world.add(&second);
    world.done(&world.install("editor", &["pc1"], &[]), 40);
    assert!(is_installed(second.path(), &pc.at("/opt/editor")));
    for (line, bytes) in [
        ("server to relay", above.down_bytes() - before_above),
        ("relay to client", below.down_bytes() - before_below),
    ] {
        assert!((MIB..MIB + MIB / 2).contains(&bytes), "{line}: {bytes} bytes for 1 MiB that is new");
    }
}

#[test]
fn what_is_not_ours_is_kept() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    world.add(&world.source("editor", "1.0").file("a/one", "1").file("b", "1"));
    fs::create_dir_all(pc.at("/opt/editor/a")).expect("a folder of somebody else");
    fs::write(pc.at("/opt/editor/before"), "there before").expect("a foreign file");
    world.done(&world.install("editor", &["pc1"], &[]), 30);
    fs::write(pc.at("/opt/editor/a/mine"), "my own").expect("a foreign file");
    world.add(&world.source("editor", "2.0").file("a/two", "2").file("b", "2"));
    world.done(&world.install("editor", &["pc1"], &[]), 30);
    let read = |path: &str| fs::read_to_string(pc.at(path)).ok();
    assert_eq!(read("/opt/editor/before").as_deref(), Some("there before"));
    assert_eq!(read("/opt/editor/a/mine").as_deref(), Some("my own"));
    assert_eq!(read("/opt/editor/a/two").as_deref(), Some("2"));
    assert_eq!(read("/opt/editor/a/one"), None, "what was ours and is not in the new version goes");
    assert_eq!(read("/opt/editor/b").as_deref(), Some("2"));
}

#[test]
fn a_reader_sees_the_old_or_the_new() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    for n in 1..=4 {
        let version = format!("{n}.0");
        let source = world.source("editor", &version);
        world.add(&source.file("a", &version).noise("data", 2 * MIB, n).file("z", &version));
    }
    world.done(&world.install("editor@1.0", &["pc1"], &[]), 30);
    let folder = pc.at("/opt/editor");
    let (stop, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Whoever opens the folder stays in one tree, however often it is switched meanwhile.
                let open = fs::File::open(&folder).expect("there is always a tree");
                // Switched away, it is taken down after a while: then there is nothing left to compare.
                if let (Some(a), Some(z)) = (read_in(&open, "a"), read_in(&open, "z")) {
                    assert_eq!(a, z, "a mixture");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        for version in ["editor@2.0", "editor@3.0", "editor@4.0"] {
            world.done(&world.install(version, &["pc1"], &[]), 30);
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("the reader saw whole trees only");
    });
    assert!(looks.load(Ordering::Relaxed) > 1000, "the reader was awake");
}

/// A file below an open folder, wherever that is by now.
fn read_in(folder: &fs::File, name: &str) -> Option<String> {
    use std::os::fd::AsRawFd;
    fs::read_to_string(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())).ok()
}

#[test]
fn the_same_again_is_nothing_new() {
    let world = World::new();
    let source = world.source("editor", "1.0").file("a", "a");
    assert_eq!(world.add(&source), "main/editor@1.0:1");
    let key = world.key.display().to_string();
    let again = world.cli.run(&["package", "add", &source.path().display().to_string(), "--key", &key]);
    assert_eq!(again.ok(), "main/editor@1.0:1");
    assert!(again.stderr.contains("already") || again.stderr.contains("there"), "{}", again.stderr);
    let changed = world.source("editor", "1.0").file("a", "b");
    assert_eq!(world.add(&changed), "main/editor@1.0:2", "another manifest is the next generation");
}
