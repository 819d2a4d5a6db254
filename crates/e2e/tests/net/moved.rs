//! A machine gets another higher system.

use packhorse_e2e::history;
use packhorse_e2e::net::fleet::Fleet;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;

use super::{MIB, say};

#[test]
fn a_host_moved_in_mid_transfer_goes_on_where_it_was() {
    let fleet = Fleet::with(1);
    const BYTES: u64 = 4 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let client = fleet.client("sakai-1");
    client.place.cable.width(6);
    let before = fleet.counted();
    let job = fleet.install("editor", &["sakai-1"], &[]);
    wait::until("half of it is there", 40, || {
        (fleet.counted().since(&before).client("sakai-1") > BYTES / 2).then_some(())
    });
    fleet.cli.ok(&["host", "move", "sakai-1", "--to", "sendai"]);
    let ended = fleet.done(&job, 60);
    wait::until("it answers from there", 20, || {
        let hosts = fleet.cli.json(&["host", "list"]);
        let host = hosts.as_array()?.iter().find(|host| host["name"] == "sakai-1")?;
        (host["higher"] == "sendai" && host["online"] == true).then_some(())
    });
    let after = fleet.counted().since(&before);
    say("moved", &after, BYTES);
    assert!(is_installed(source.path(), &client.system.at("/opt/editor")));
    assert_eq!(history::ends_and_begins(&fleet.server, &client.system, &job), (1, 1), "{ended}");
    // Whatever it had verified it did not ask for again: at most a piece (1 MiB) was under way.
    let bytes = after.client("sakai-1");
    assert!((BYTES..BYTES + BYTES / 10 + MIB).contains(&bytes), "{bytes} bytes over its cable for {BYTES}");
    // What comes next comes from there.
    let next = fleet.source("tool", "1.0").noise("lib/data", MIB, 2);
    fleet.add(&next);
    let then = fleet.counted();
    fleet.done(&fleet.install("tool", &["sakai-1"], &[]), 40);
    let since = fleet.counted().since(&then);
    say("after the move", &since, MIB);
    assert!(since.stream("sendai") >= MIB, "through the relay at sendai");
    assert_eq!(fleet.relay_view("sendai")["packages"].as_array().map(Vec::len), Some(2));
}
