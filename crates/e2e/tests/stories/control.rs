//! Jobs and relays are told to wait and to go on, also those that were off when they were told.

use std::time::{Duration, Instant};

use packhorse_e2e::system::System;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, line};
use serde_json::Value;

/// Sent slowly enough to be stopped in between, bytes per second.
const SLOW: (&str, &str) = ("PACKHORSE_SEND_BYTES_PER_SEC", "4000000");

/// Counters are written down once a second.
const COUNTED_WITHIN: Duration = Duration::from_millis(1500);

fn received(world: &World, relay: &str) -> u64 {
    world.relay_view(relay)["received_bytes"].as_u64().expect("a counter")
}

/// Waits until a relay has taken in this much more than before.
fn receives(world: &World, relay: &str, bytes: u64) {
    wait::until(&format!("{relay} receives {bytes} bytes"), 30, || {
        (received(world, relay) >= bytes).then_some(())
    });
}

/// What was on its way to a relay comes, and then nothing any more; answers what it has received.
fn stands_still(world: &World, relay: &str) -> u64 {
    let (mut last, mut since) = (received(world, relay), Instant::now());
    wait::until(&format!("{relay} receives nothing any more"), 10, || {
        let now = received(world, relay);
        if now != std::mem::replace(&mut last, now) {
            since = Instant::now();
        }
        (since.elapsed() >= COUNTED_WITHIN).then_some(())
    });
    wait::always("nothing comes", 2, || received(world, relay) == last);
    last
}

fn reason(job: &Value, host: &str) -> String {
    line(job, host).and_then(|line| line["reason"]["code"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn a_suspended_job_takes_nothing_in_and_goes_on_where_it_stood() {
    let world = World::with(&[SLOW]);
    let osaka = world.relay("osaka", &world.server.url());
    let pc = world.client("pc1", &osaka.url());
    let mut off = world.client("pc2", &osaka.url());
    off.kill();
    world.offline(&["pc2"]);
    const BYTES: u64 = 16 << 20;
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let job = world.install("editor", &["pc1", "pc2"], &[]);
    receives(&world, "osaka", BYTES / 4);
    world.cli.ok(&["job", "suspend", &job]);
    let shown = world.job(&job);
    assert_eq!((shown["state"].as_str(), reason(&shown, "pc1").as_str()), (Some("suspended"), "suspended"));
    stands_still(&world, "osaka");
    // It comes back while the job is suspended, and waits as well.
    off.start();
    world.online(&["pc2"]);
    assert!(!off.at("/opt/editor").exists() && !pc.at("/opt/editor").exists());
    assert_eq!(reason(&world.job(&job), "pc2"), "suspended");
    world.cli.run(&["job", "retry", &job]).fails(4, &["is suspended", "job resume"]);
    world.cli.ok(&["job", "resume", &job]);
    world.done(&job, 60);
    for client in [&pc, &off] {
        assert!(is_installed(source.path(), &client.at("/opt/editor")), "{}", client.name);
    }
    let received = received(&world, "osaka");
    assert!(received < BYTES + (2 << 20), "one copy, at most a piece again: {received} bytes for {BYTES}");
}

#[test]
fn a_cancel_and_a_close_reach_who_was_off() {
    let world = World::new();
    let mut osaka = world.relay("osaka", &world.server.url());
    let mut pc = world.client("pc1", &osaka.url());
    pc.kill();
    let source = world.source("editor", "1.0").noise("lib/data", 300_000, 1);
    world.add(&source);
    let job = world.install("editor", &["all"], &["--at", "+1h"]);
    world.cli.ok(&["job", "suspend", &job]);
    osaka.kill();
    world.cli.ok(&["job", "cancel", &job]);
    // Never "cancelling": it has ended, whoever is off.
    assert_eq!(world.job(&job)["state"], "ended");
    let again = world.cli.ok(&["job", "again", &job]);
    world.cli.ok(&["job", "close", &again]);
    osaka.start();
    pc.start();
    world.online(&["osaka", "pc1"]);
    world.client("late", &osaka.url());
    let shown = world.job(&again);
    assert_eq!(shown["state"], "scheduled");
    assert!(line(&shown, "pc1").is_some() && line(&shown, "late").is_none(), "{shown}");
    assert!(pc.sync().code == 0 && !pc.at("/opt/editor").exists());
}

#[test]
fn a_suspended_relay_passes_nothing_on_and_what_it_has_is_installed() {
    let world = World::with(&[SLOW]);
    let mut osaka = world.relay("osaka", &world.server.url());
    let namba = world.relay("namba", &osaka.url());
    let [pc, deep] = [world.client("pc1", &osaka.url()), world.client("pc2", &namba.url())];
    let here = world.source("tool", "1.0").noise("lib/data", 400_000, 1);
    world.add(&here);
    world.done(&world.install("tool", &["pc1"], &[]), 30);
    // It hears of it when it is back.
    osaka.kill();
    let ran = world.cli.run(&["relay", "suspend", "osaka"]);
    assert!(ran.code == 0 && ran.stderr.contains("on its way"), "{ran:?}");
    osaka.start();
    applied(&world, "osaka");
    world.online(&["osaka", "namba", "pc1", "pc2"]);
    const BYTES: u64 = 8 << 20;
    let new = world.source("editor", "1.0").noise("lib/data", BYTES, 2);
    world.add(&new);
    let big = world.install("editor", &["pc1", "pc2"], &[]);
    let waits = |host: &str, number: &str| {
        world.job_until(number, 20, &format!("{host} waits for osaka"), |job| {
            reason(job, host) == "relay_suspended"
        });
    };
    waits("pc1", &big);
    waits("pc2", &big);
    let before = received(&world, "osaka");
    // Here already: installed at pc1, but not passed on to namba.
    let small = world.install("tool", &["pc2"], &["--allow-downgrade"]);
    waits("pc2", &small);
    assert_eq!(stands_still(&world, "osaka"), before);
    assert!(!pc.at("/opt/editor").exists() && !deep.at("/opt/tool").exists());
    let again = world.client("pc3", &osaka.url());
    world.done(&world.install("tool", &["pc3"], &[]), 30);
    assert!(is_installed(here.path(), &again.at("/opt/tool")));
    let ran = world.cli.run(&["relay", "resume", "osaka"]);
    assert!(ran.code == 0 && ran.stderr.contains("takes in again"), "{ran:?}");
    world.done(&big, 60);
    world.done(&small, 60);
    assert!(is_installed(new.path(), &deep.at("/opt/editor")));
}

fn applied(world: &World, relay: &str) {
    wait::until(&format!("{relay} has taken it in"), 20, || {
        (world.relay_view(relay)["control"]["applied"] == true).then_some(())
    });
}

/// Waits until a relay has taken in so many bytes, and answers how many a second that were.
fn pace(world: &World, relay: &str, bytes: u64) -> f64 {
    let (from, before) = (Instant::now(), received(world, relay));
    let last = wait::until(&format!("{relay} receives {bytes} bytes more"), 30, || {
        let now = received(world, relay);
        (now >= before + bytes).then_some(now)
    });
    (last - before) as f64 / from.elapsed().as_secs_f64()
}

#[test]
fn a_limit_is_changed_while_something_is_coming() {
    let world = World::new();
    let osaka: System = world.relay("osaka", &world.server.url());
    let pc = world.client("pc1", &osaka.url());
    let limit = |options: &[&str]| {
        let args: Vec<&str> = ["relay", "limit", "osaka"].iter().chain(options).copied().collect();
        let ran = world.cli.run(&args);
        assert!(ran.code == 0 && ran.stderr.contains("has its limits"), "{ran:?}");
    };
    limit(&["--down", "4Mbit"]);
    const BYTES: u64 = 16 << 20;
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let job = world.install("editor", &["pc1"], &[]);
    receives(&world, "osaka", 500_000);
    // The counters are written once a second and a busy machine is slower, so that only the upper bound says something
    // here; the pace itself is tested beside its code.
    let slow = pace(&world, "osaka", 3_000_000);
    assert!(slow < 0.65e6, "4 Mbit/s: {slow} bytes a second");
    limit(&["--down", "8Mbit"]);
    let faster = wait::until("it has become faster", 5, || {
        Some(pace(&world, "osaka", 1_500_000)).filter(|pace| *pace > 0.65e6)
    });
    assert!(faster < 1.5e6, "8 Mbit/s: {faster} bytes a second");
    limit(&["--down", "0"]);
    stands_still(&world, "osaka");
    world.job_until(&job, 20, "the line is closed", |job| reason(job, "pc1") == "line_closed");
    limit(&["--none"]);
    world.done(&job, 60);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    let received = received(&world, "osaka");
    assert!(
        received < BYTES + (3 << 20),
        "one copy, at most a piece again at each stop: {received} for {BYTES}"
    );
    println!("4 Mbit/s: {slow:.0} B/s, 8 Mbit/s: {faster:.0} B/s, {received} bytes for {BYTES}");
}
