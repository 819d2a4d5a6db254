//! Lines that are limited, also for a relay that was off when it was said.

use std::time::{Duration, Instant};

use packhorse_e2e::net::fleet::Fleet;
use packhorse_e2e::wait;

use super::{MIB, one_copy, say};

#[test]
fn a_limit_reaches_a_relay_that_was_off_and_changes_while_it_runs() {
    let mut fleet = Fleet::with(1);
    const BYTES: u64 = 5 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let before = fleet.counted();
    fleet.relay_mut("osaka").kill();
    fleet.cli.ok(&["relay", "limit", "osaka", "--down", "4Mbit"]);
    let job = fleet.install("editor", &["osaka-1"], &[]);
    fleet.relay_mut("osaka").start();
    let begin = Instant::now();
    wait::until("a part of it is there", 60, || {
        (fleet.counted().since(&before).stream("osaka") > 2 * MIB).then_some(())
    });
    let (took, bytes) = (begin.elapsed(), fleet.counted().since(&before).stream("osaka"));
    // What the limit lets pass in that time, and what may be under way at once.
    let most = 4e6 / 8.0 * took.as_secs_f64() + MIB as f64;
    eprintln!("limited to 4 Mbit/s: {bytes} bytes in {took:?}, {:.2} Mbit/s", mbit_per_sec(bytes, took));
    assert!((bytes as f64) < most, "{bytes} bytes in {took:?}");
    // At this the rest would take minutes: done in time only if what is set now counts, and then what is set after it.
    fleet.cli.ok(&["relay", "limit", "osaka", "--down", "100kbit"]);
    fleet.cli.ok(&["relay", "limit", "osaka", "--down", "32Mbit"]);
    let begin = Instant::now();
    fleet.done(&job, 60);
    let rest = fleet.counted().since(&before).stream("osaka") - bytes;
    eprintln!("then to 32 Mbit/s: {rest} bytes in {:?}", begin.elapsed());
    let after = fleet.counted().since(&before);
    say("limited", &after, BYTES);
    one_copy(&after, &["osaka"], BYTES);
    assert_eq!(fleet.without(&source), ["sakai-1", "sendai-1"]);
}

fn mbit_per_sec(bytes: u64, took: Duration) -> f64 {
    bytes as f64 * 8.0 / 1e6 / took.as_secs_f64()
}
