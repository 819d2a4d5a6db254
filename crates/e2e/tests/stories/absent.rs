//! Those who were not there when the job was made.

use std::fs;

use packhorse_e2e::system::{Kind, System};
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, line};

#[test]
fn a_client_that_was_off_gets_the_job_when_it_is_back() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let mut pc = world.client("pc1", &osaka.url());
    pc.kill();
    world.offline(&["pc1"]);
    let source = world.source("editor", "1.0").noise("lib/data", 500_000, 1);
    world.add(&source);
    let job = world.install("editor", &["pc1"], &[]);
    // It waits, and says for whom and why.
    let waiting = world.job_until(&job, 20, "a reason", |job| {
        line(job, "pc1").is_some_and(|line| line["reason"]["code"] == "host_off")
    });
    assert_eq!(waiting["state"], "running", "{waiting}");
    pc.start();
    world.done(&job, 30);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
}

#[test]
fn a_client_started_after_the_job_and_one_that_joins_later() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let mut early = world.joined_client("early", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/data", 500_000, 1);
    world.add(&source);
    let named = world.install("editor", &["early"], &[]);
    let all = world.install("editor", &["below:osaka"], &[]);
    early.start();
    world.job_until(&named, 30, "ended", |job| job["state"] == "ended");
    // Not there when the job was made, and taken in.
    let late = world.client("late", &osaka.url());
    world.line_until(&all, "late", 30, "done");
    for client in [&early, &late] {
        assert!(is_installed(source.path(), &client.at("/opt/editor")), "{}", client.name);
    }
}

#[test]
fn a_relay_replaced_by_an_empty_one_under_the_same_name() {
    let world = World::new();
    let mut osaka = world.relay("osaka", &world.server.url());
    let pc = world.client("pc1", &osaka.url());
    let first = world.source("editor", "1.0").noise("lib/data", 2_000_000, 1);
    world.add(&first);
    let job = world.install("editor", &["pc1"], &[]);
    world.done(&job, 30);
    osaka.kill();
    fs::rename(&osaka.data, osaka.data.with_extension("broken")).expect("the old disk is away");
    let second = world.source("editor", "2.0").noise("lib/data", 2_000_000, 2);
    world.add(&second);
    // Ordered while there is no relay.
    let job = world.install("editor", &["pc1"], &[]);
    let mut osaka = replacement(&world, &osaka);
    osaka.start();
    world.online(&["osaka", "pc1"]);
    world.done(&job, 60);
    assert!(is_installed(second.path(), &pc.at("/opt/editor")));
    // The old relay's copy went with its disk; the new one has what it needed.
    let view = world.relay_view("osaka");
    let kept: Vec<&str> = view["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| package["package"].as_str())
        .collect();
    assert_eq!(kept, ["main/editor@2.0:1"], "{view}");
}

fn replacement(world: &World, old: &System) -> System {
    let token = world.token(&["--relay", "--replace", &old.name]);
    let listen = format!("127.0.0.1:{}", old.port);
    world.join(Kind::Relay, &old.name, &world.server.url(), &token, &["--listen", &listen]).ok();
    System::new(&old.name, Kind::Relay, &old.data, &old.root, old.port)
}

#[test]
fn a_line_that_is_cut_and_stalled_is_gone_on_with() {
    let world = World::with(&[("PACKHORSE_SEND_BYTES_PER_SEC", "10000000")]);
    let line = world.proxy(world.server.port);
    let osaka = world.relay("osaka", &line.url());
    let pc = world.client("pc1", &osaka.url());
    const BYTES: u64 = 24 << 20;
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let before = line.down_bytes();
    line.cut_after(BYTES / 3);
    let job = world.install("editor", &["pc1"], &[]);
    wait::until("the line is cut", 30, || line.has_cut().then_some(()));
    // Down for good, until the relay has tried in vain.
    let tried = || osaka.log_text().matches("the higher system does not answer").count();
    let before_it_was_down = tried();
    line.refuse();
    wait::until("the relay tries in vain", 20, || (tried() > before_it_was_down).then_some(()));
    line.pass();
    world.done(&job, 60);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    let down = line.down_bytes() - before;
    assert!(down < BYTES + (3 << 20), "{down} bytes for {BYTES}");
}
