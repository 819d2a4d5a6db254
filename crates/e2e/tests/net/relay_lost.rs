//! A relay is killed in the middle of its work, and comes back with an empty disk.

use packhorse_e2e::net::fleet::Fleet;
use packhorse_e2e::wait;

use super::{MIB, one_copy, say};

#[test]
fn a_relay_killed_in_mid_transfer_comes_back_with_an_empty_disk() {
    let mut fleet = Fleet::with(2);
    const BYTES: u64 = 6 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let before = fleet.counted();
    let job = fleet.install("editor", &["all"], &[]);
    // Part of it has come on to the relay below and its clients.
    wait::until("half of it is at the lower relay", 30, || {
        (fleet.counted().since(&before).stream("sakai") > BYTES / 2).then_some(())
    });
    fleet.relay_mut("osaka").kill();
    let at_death = fleet.counted().since(&before);
    fleet.replace_relay("osaka");
    fleet.online(&["osaka", "osaka-1", "sakai", "sakai-1"]);
    let ended = fleet.done(&job, 90);
    let after = fleet.counted().since(&before);
    say("replaced", &after, BYTES);
    assert_eq!(ended["counts"]["done"], 6, "{ended}");
    assert_eq!(fleet.without(&source), Vec::<&str>::new());
    fleet.once(&fleet.names_at(&["osaka", "sakai", "sendai"]), &job);
    // What was on the old disk comes again, once. Whoever is below asks only for what it had not verified.
    one_copy(&after, &["sendai"], BYTES);
    let again = after.since(&at_death);
    assert!(again.stream("osaka") < BYTES + BYTES / 25, "{} bytes again", again.stream("osaka"));
    let below = after.stream("sakai");
    assert!((BYTES..BYTES + 3 * MIB).contains(&below), "{below} bytes to the relay below for {BYTES}");
    // And the new one has what it needed, by its own word.
    let view = fleet.relay_view("osaka");
    assert_eq!(view["packages"][0]["package"], "main/editor@1.0:1", "{view}");
}
