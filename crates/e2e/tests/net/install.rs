//! One copy over each line, whatever the line is like.

use std::time::{Duration, Instant};

use packhorse_e2e::net::fleet::{Fleet, SITES};
use packhorse_e2e::proxy::Weather;

use super::{MIB, one_copy, say};

const NOWHERE: Vec<&str> = Vec::new();

/// Installs one package everywhere.
pub fn everywhere(fleet: &Fleet, what: &str, bytes: u64, secs: u64) {
    let source = fleet.source("editor", "1.0").noise("lib/data", bytes, 1);
    fleet.add(&source);
    let (before, begin) = (fleet.counted(), Instant::now());
    let job = fleet.install("editor", &["all"], &[]);
    let ended = fleet.done(&job, secs);
    let (after, took) = (fleet.counted().since(&before), begin.elapsed());
    assert_eq!(ended["counts"]["done"], fleet.clients.len(), "{ended}");
    assert_eq!(fleet.without(&source), NOWHERE);
    say(what, &after, bytes);
    one_copy(&after, &SITES, bytes);
    for client in &fleet.clients {
        let (name, cable) = (&client.system.name, &client.place.cable);
        let down = after.client(name);
        assert!((bytes..bytes + bytes / 10).contains(&down), "{name}: {down} bytes");
        let most = cable.most_bytes(took);
        assert!(down < most, "{name}: {down} bytes in {took:?} over a cable that lets {most} pass");
    }
    for site in SITES {
        let (down, most) = (after.line(site), fleet.site(site).line.most_bytes(took));
        assert!(down < most, "{site}: {down} bytes in {took:?} over a line that lets {most} pass");
    }
}

#[test]
fn nine_clients_behind_relays_at_two_levels() {
    let fleet = Fleet::new();
    // One at each site has a cable that is narrower than its site's line.
    for (client, mbit_per_sec) in [("osaka-1", 24), ("sakai-1", 12), ("sendai-1", 16)] {
        fleet.client(client).place.cable.width(mbit_per_sec);
    }
    everywhere(&fleet, "three widths", 3 * MIB, 60);
}

#[test]
fn one_copy_over_lines_that_are_far_and_lose() {
    let fleet = Fleet::with(1);
    for (site, (latency_ms, lost_per_million)) in
        SITES.iter().zip([(40, 20_000), (80, 30_000), (150, 10_000)])
    {
        let latency = Duration::from_millis(latency_ms);
        fleet.site(site).proxy.weather(Weather { latency, lost_per_million, seed: 1, ..Weather::default() });
    }
    everywhere(&fleet, "far and lossy", 2 * MIB, 60);
}

#[test]
fn lines_that_are_reset_again_and_again() {
    let fleet = Fleet::with(1);
    for (site, seed) in SITES.iter().zip(1..) {
        let weather = Weather { reset_per_million: 6_000, seed, ..Weather::default() };
        fleet.site(site).proxy.weather(weather);
    }
    const BYTES: u64 = 4 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let before = fleet.counted();
    let resets = |site: &str| fleet.site(site).proxy.resets();
    let resets_before = SITES.map(resets);
    let job = fleet.install("editor", &["all"], &[]);
    fleet.done(&job, 90);
    let after = fleet.counted().since(&before);
    say("reset", &after, BYTES);
    assert_eq!(fleet.without(&source), NOWHERE);
    fleet.once(&fleet.names_at(&SITES), &job);
    for (site, resets_before) in SITES.iter().zip(resets_before) {
        let (stream, resets) = (after.stream(site), resets(site) - resets_before);
        eprintln!("reset: {site}: {resets} times, {stream} bytes for {BYTES}");
        // What had come of the frame under way at a reset comes again, and a handshake.
        assert!(stream < BYTES + BYTES / 25 + resets * MIB / 4, "{site}: {stream} bytes, {resets} resets");
    }
}
