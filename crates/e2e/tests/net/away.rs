//! Machines that are off, and sites that are cut off, while somebody changes his mind.

use packhorse_e2e::net::fleet::{Fleet, SITES};
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::line;

use super::{MIB, no_payload, one_copy};

#[test]
fn a_cancel_reaches_who_was_off_and_gives_way_to_who_had_begun() {
    let mut fleet = Fleet::with(2);
    const BYTES: u64 = 2 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    // The relays of the branch hold it.
    let first = fleet.install("editor", &["sakai-1"], &[]);
    fleet.done(&first, 40);
    let before = fleet.counted();
    let job =
        fleet.install("editor", &["osaka-1", "osaka-2", "sakai-2", "sendai-1"], &["--at", &fleet.soon(6)]);
    fleet.know(&["osaka-1", "osaka-2", "sakai-2", "sendai-1"], &job);
    // One machine is switched off; one site with all that is in it goes on without the others.
    fleet.client_mut("osaka-1").kill();
    fleet.site("sakai").line.pull();
    fleet.cli.ok(&["job", "cancel", &job]);
    // Nothing is ever "cancelling": the line says so at once, wherever the host is.
    for name in ["osaka-1", "osaka-2", "sakai-2", "sendai-1"] {
        fleet.line_until(&job, name, 5, "cancelled");
    }
    wait::until("the site that was not told installs it", 30, || {
        is_installed(source.path(), &fleet.client("sakai-2").system.at("/opt/editor")).then_some(())
    });
    fleet.client_mut("osaka-1").start();
    fleet.site("sakai").line.put_back();
    fleet.online(&["osaka-1", "sakai", "sakai-2"]);
    // The host's own event outranks the verdict, which is shown beside it.
    let installed = fleet.line_until(&job, "sakai-2", 30, "done");
    assert_eq!(installed["result"]["verdict"], "cancelled", "{installed}");
    fleet.client("osaka-1").system.sync().ok();
    wait::always("who was told does not install", 2, || {
        ["osaka-1", "osaka-2", "sendai-1"]
            .iter()
            .all(|name| !fleet.client(name).system.at("/opt/editor").exists())
    });
    let shown = fleet.job(&job);
    for name in ["osaka-1", "osaka-2", "sendai-1"] {
        assert_eq!(line(&shown, name).expect("its line")["state"], "cancelled", "{shown}");
    }
    no_payload(&fleet.counted().since(&before), &SITES, BYTES);
    // And who was off is not in the way of what comes next.
    let next = fleet.install("editor", &["osaka-1", "sendai-1"], &[]);
    fleet.done(&next, 40);
    one_copy(&fleet.counted().since(&before), &["sendai"], BYTES);
}
