//! A site is cut off for the whole of an install.

use packhorse_e2e::net::fleet::{Fleet, SITES};
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::line;

use super::{MIB, no_payload, say};

/// Clients below osaka's relay, at either site.
const BRANCH: [&str; 4] = ["osaka-1", "osaka-2", "sakai-1", "sakai-2"];

#[test]
fn a_site_cut_off_installs_what_its_relay_holds_and_reports_later() {
    let mut fleet = Fleet::with(2);
    const BYTES: u64 = 2 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let transfer = fleet.cli.ok(&["transfer", "editor", "--to", "osaka", "sakai"]);
    fleet.job_until(&transfer, 40, "both relays hold it", |job| job["counts"]["transferred"] == 2);
    // Has a place and a name; nobody has ever seen it on.
    let mut new = fleet.joined("sakai", "new");
    let job = fleet.install("editor", &["below:osaka"], &["--at", &fleet.soon(5)]);
    fleet.know(&BRANCH, &job);
    let site = fleet.site("osaka");
    site.line.pull();
    let before = fleet.counted();
    new.system.start();
    wait::until("all of the branch have it, and the new one", 40, || {
        let has = |member: &_| is_installed(source.path(), &at_editor(member));
        let there = BRANCH.iter().all(|name| has(fleet.client(name)));
        (there && has(&new)).then_some(())
    });
    // The server has heard nothing of it.
    let shown = fleet.job(&job);
    for name in BRANCH.into_iter().chain(["new"]) {
        let state = &line(&shown, name).unwrap_or_else(|| panic!("{name} in {shown}"))["state"];
        assert!(state != "done" && state != "installing", "{name}: {shown}");
    }
    fleet.site("osaka").line.put_back();
    let ended = fleet.done(&job, 60);
    assert_eq!(ended["counts"]["done"], 5, "{ended}");
    let after = fleet.counted().since(&before);
    say("cut off", &after, BYTES);
    no_payload(&after, &SITES, BYTES);
    fleet.once(&BRANCH, &job);
    assert_eq!(packhorse_e2e::history::ends_and_begins(&fleet.server, &new.system, &job), (1, 1), "{ended}");
}

fn at_editor(member: &packhorse_e2e::net::fleet::Member) -> std::path::PathBuf {
    member.system.at("/opt/editor")
}
