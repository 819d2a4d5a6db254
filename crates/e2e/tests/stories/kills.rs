//! kill -9, at the worst moments.

use packhorse_e2e::history;
use packhorse_e2e::system::Kind;
use packhorse_e2e::tree::{is_installed, stamp};
use packhorse_e2e::wait;
use packhorse_e2e::world::World;

const MIB: u64 = 1 << 20;

#[test]
fn a_relay_is_killed_three_times_in_mid_transfer() {
    const BYTES: u64 = 210 * MIB;
    // Slow enough to be met in the middle: five seconds for the whole.
    const BYTES_PER_SEC: u64 = 44_000_000;
    let world = World::with(&[("PACKHORSE_SEND_BYTES_PER_SEC", &BYTES_PER_SEC.to_string())]);
    let line = world.proxy(world.server.port);
    let mut osaka = world.relay("osaka", &line.url());
    let pc = world.client("pc1", &osaka.url());
    let source = world.source("big", "1.0").noise("big.bin", BYTES, 7);
    world.add(&source);
    let before = line.down_bytes();
    let job = world.install("big", &["pc1"], &[]);
    for quarter in 1..=3 {
        wait::until("the next quarter is over the line", 60, || {
            (line.down_bytes() - before > BYTES * quarter / 4).then_some(())
        });
        osaka.restart();
    }
    world.done(&job, 90);
    let down = line.down_bytes() - before;
    assert!(is_installed(source.path(), &pc.at("/opt/big")));
    let (most, least) = (BYTES + BYTES * 3 / 100, BYTES);
    assert!((least..=most).contains(&down), "{down} bytes over the line for a package of {BYTES}");
    let received = world.relay_view("osaka")["received_bytes"].as_u64().expect("a number");
    // It writes its count down once a second, so each kill costs it at most what came in a second.
    let least = down - 3 * BYTES_PER_SEC - BYTES * 3 / 100;
    assert!((least..=down).contains(&received), "the relay says {received}, the line {down}");
    eprintln!("over the line: {:.2} % of one copy", down as f64 * 100.0 / BYTES as f64);
}

#[test]
fn a_client_killed_between_delivery_and_report() {
    let world = World::new();
    let line = world.proxy(world.server.port);
    let mut pc = world.client("pc1", &line.url());
    let source = world.source("editor", "1.0").noise("lib/data", 3 * MIB, 2);
    world.add(&source);
    // From here on it can fetch, and nobody hears what it says.
    line.mute();
    let job = world.install("editor", &["pc1"], &[]);
    let installed = pc.at("/opt/editor/lib/data");
    wait::until("it is installed", 30, || installed.exists().then_some(()));
    pc.kill();
    let once = stamp(&installed);
    assert_ne!(world.job(&job)["instructions"][0]["state"], "done", "nothing was heard");
    line.cut();
    pc.start();
    let ended = world.done(&job, 30);
    assert_eq!(ended["instructions"][0]["attempt"], 1, "{ended}");
    assert_eq!(stamp(&installed), once, "installed once");
    assert_eq!(history::ends_and_begins(&world.server, &pc, &job), (1, 1), "begun once, ended once");
}

#[test]
fn a_client_killed_again_and_again() {
    let world = World::with(&[("PACKHORSE_SEND_BYTES_PER_SEC", "8000000")]);
    let line = world.proxy(world.server.port);
    let mut pc = world.client("pc1", &line.url());
    const BYTES: u64 = 24 * MIB;
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 3);
    world.add(&source);
    let before = line.down_bytes();
    let job = world.install("editor", &["pc1"], &[]);
    for part in 1..=4 {
        wait::until("the next part is over the line", 40, || {
            (line.down_bytes() - before > BYTES * part / 5).then_some(())
        });
        pc.restart();
    }
    let ended = world.done(&job, 40);
    assert_eq!(ended["instructions"][0]["attempt"], 1);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    assert_eq!(history::ends_and_begins(&world.server, &pc, &job), (1, 1));
    let down = line.down_bytes() - before;
    // At most one piece (1 MiB) is fetched twice at each kill; beside it two that were not written yet.
    assert!(down < BYTES + 4 * 3 * MIB, "{down} bytes for {BYTES}");
}

#[test]
fn a_server_killed_right_after_it_accepted_a_job() {
    let mut world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let pc = world.client("pc1", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/data", MIB, 4);
    world.add(&source);
    let job = world.install("editor", &["pc1"], &[]);
    world.server.restart();
    world.answering();
    world.done(&job, 60);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    assert_eq!(world.server.kind, Kind::Server);
}

#[test]
fn everything_killed_at_once_goes_on() {
    let mut world = World::with(&[("PACKHORSE_SEND_BYTES_PER_SEC", "10000000")]);
    let line = world.proxy(world.server.port);
    let mut osaka = world.relay("osaka", &line.url());
    let mut pc = world.client("pc1", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/data", 20 * MIB, 5);
    world.add(&source);
    let before = line.down_bytes();
    let job = world.install("editor", &["pc1"], &[]);
    wait::until("half of it is over the line", 40, || (line.down_bytes() - before > 10 * MIB).then_some(()));
    for system in [&mut world.server, &mut osaka, &mut pc] {
        system.kill();
    }
    for system in [&mut pc, &mut osaka, &mut world.server] {
        system.start();
    }
    world.answering();
    world.done(&job, 60);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    assert_eq!(history::ends_and_begins(&world.server, &pc, &job), (1, 1));
}
