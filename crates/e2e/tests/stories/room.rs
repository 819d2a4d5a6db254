//! Room in a relay's store.

use packhorse_e2e::small_disk::SmallDisk;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, array, line};

const MIB: u64 = 1 << 20;

fn keeps(world: &World, relay: &str) -> Vec<String> {
    let view = world.relay_view(relay);
    array(&view["packages"])
        .iter()
        .map(|kept| kept["package"].as_str().expect("a label").to_owned())
        .collect()
}

#[test]
fn a_full_disk_under_a_relay_fails_no_job() {
    let world = World::new();
    let above = world.proxy(world.server.port);
    let mut osaka = world.joined_relay("osaka", &above.url(), &["--relay"]);
    let disk = SmallDisk::at(&osaka.data.join("store"), 8 * MIB);
    osaka.start();
    world.online(&["osaka"]);
    let clients = ["pc1", "pc2", "pc3"].map(|name| world.client(name, &osaka.url()));
    let source = world.source("editor", "1.0").noise("lib/large", 24 * MIB, 1).file("version", "1.0");
    world.add(&source);
    let before = above.down_bytes();
    let job = world.install("editor", &["all"], &[]);
    world.done(&job, 90);
    assert!(clients.iter().all(|pc| is_installed(source.path(), &pc.at("/opt/editor"))));
    assert!(keeps(&world, "osaka").is_empty(), "there is no room to keep it");
    let down = above.down_bytes() - before;
    // Once for all who waited; what had come by before one of them came is asked for again.
    assert!(down < 24 * MIB * 2, "{} MiB came for three clients", down / MIB);
    eprintln!(
        "measured: {:.1} MiB over the line for three clients of a package of 24 MiB",
        down as f64 / MIB as f64
    );
    // What fits is kept as ever.
    let small = world.source("viewer", "1.0").noise("lib/small", 2 * MIB, 2);
    world.add(&small);
    world.done(&world.install("viewer", &["all"], &[]), 60);
    wait::until("the small one is kept", 10, || {
        (keeps(&world, "osaka") == ["main/viewer@1.0:1"]).then_some(())
    });
    drop(osaka);
    drop(disk);
}

#[test]
fn a_transfer_without_room_waits_and_says_what_would_help() {
    let world = World::new();
    let mut osaka = world.joined_relay("osaka", &world.server.url(), &["--relay"]);
    osaka.options = vec!["--store".into(), "20MB".into()];
    osaka.start();
    world.online(&["osaka"]);
    let pc = world.client("pc1", &osaka.url());
    world.add(&world.source("old", "1.0").noise("lib/large", 12 * MIB, 1));
    world.cli.ok(&["transfer", "old", "--to", "osaka"]);
    wait::until("the old one is kept", 30, || (keeps(&world, "osaka") == ["main/old@1.0:1"]).then_some(()));
    let source = world.source("editor", "1.0").noise("lib/large", 12 * MIB, 2);
    world.add(&source);
    let job = world.cli.ok(&["transfer", "editor", "--to", "osaka"]);
    let waiting = world.job_until(&job, 30, "waits for room", |job| {
        line(job, "osaka").is_some_and(|line| line["reason"]["code"] == "no_room")
    });
    let reason = line(&waiting, "osaka").expect("its line")["reason"].clone();
    let text = reason["text"].as_str().expect("a sentence");
    assert!(text.contains("osaka has no room: 13 MB needed") && text.contains("next copy goes"), "{text}");
    let clear = reason["clear"].as_str().expect("a command");
    assert!(clear.contains("packhorse relay drop osaka main/old@1.0"), "{clear}");
    assert!(clear.contains("packhorse relay limit osaka --store"), "{clear}");
    // Meanwhile an install of it passes through, and the kept copy is not pushed out.
    world.done(&world.install("editor", &["pc1"], &[]), 60);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    assert_eq!(keeps(&world, "osaka"), ["main/old@1.0:1"]);
    assert_eq!(line(&world.job(&job), "osaka").expect("its line")["state"], "waiting");
    // Made room for, it goes on by itself.
    world.cli.ok(&["relay", "drop", "osaka", "old"]);
    world.line_until(&job, "osaka", 40, "transferred");
    assert_eq!(keeps(&world, "osaka"), ["main/editor@1.0:1"]);
}

#[test]
fn a_relay_whose_disk_was_emptied_says_so_and_fetches_again_what_is_needed() {
    let world = World::new();
    let mut osaka = world.relay("osaka", &world.server.url());
    let package = world.add(&world.source("editor", "1.0").noise("lib/large", 2 * MIB, 1));
    world.cli.ok(&["transfer", "editor", "--to", "osaka"]);
    wait::until("it is kept", 30, || (keeps(&world, "osaka") == [package.clone()]).then_some(()));
    osaka.kill();
    std::fs::remove_dir_all(osaka.data.join("store")).expect("an emptied disk");
    osaka.start();
    wait::until("it keeps nothing any more, and says so", 30, || {
        keeps(&world, "osaka").is_empty().then_some(())
    });
    let again = world.cli.ok(&["transfer", "editor", "--to", "osaka"]);
    world.line_until(&again, "osaka", 30, "transferred");
    assert_eq!(keeps(&world, "osaka"), [package]);
}

#[test]
fn a_disk_that_fills_up_under_what_arrives_fails_no_job() {
    let world = World::with(&[("PACKHORSE_SEND_BYTES_PER_SEC", "4194304")]);
    let above = world.proxy(world.server.port);
    let mut osaka = world.joined_relay("osaka", &above.url(), &["--relay"]);
    let store = osaka.data.join("store");
    let disk = SmallDisk::at(&store, 40 * MIB);
    osaka.start();
    world.online(&["osaka"]);
    let pc = world.client("pc1", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/large", 24 * MIB, 1);
    world.add(&source);
    let before = above.down_bytes();
    let kept = world.cli.ok(&["transfer", "editor", "--to", "osaka"]);
    let job = world.install("editor", &["pc1"], &[]);
    wait::until("it begins to arrive", 30, || (above.down_bytes() > before + 4 * MIB).then_some(()));
    // Somebody else takes all that is left. What was reserved is not theirs to take.
    let filler = store.join("filler");
    let fill = std::process::Command::new("sh").args(["-c", "cat /dev/zero > \"$0\""]).arg(&filler).output();
    assert!(!fill.expect("a shell").status.success(), "the disk is full now");
    world.done(&job, 60);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    let down = above.down_bytes() - before;
    assert!(down < 25 * MIB, "nothing of it came twice: {down} bytes");
    // Room again: what a full disk kept from being written down is, without a byte from above.
    std::fs::remove_file(&filler).expect("the filler goes");
    world.line_until(&kept, "osaka", 60, "transferred");
    assert_eq!(keeps(&world, "osaka"), ["main/editor@1.0:1"]);
    assert!(above.down_bytes() - before < 26 * MIB);
    drop(osaka);
    drop(disk);
}
