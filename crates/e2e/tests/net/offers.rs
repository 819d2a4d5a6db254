//! What is offered travels to those who choose it.

use packhorse_e2e::net::fleet::{Fleet, SITES};
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::line;

use super::{MIB, no_payload, one_copy, say};

const BYTES: u64 = 2 * MIB;

/// Waits until these users are shown a package.
fn shown(fleet: &Fleet, names: &[&str], package: &str) {
    for name in names {
        wait::until_ok(&format!("{name} is offered {package}"), 20, || {
            let ran = fleet.client(name).system.user(&["offers", "--json"]);
            if ran.code == 0 && ran.stdout.contains(package) { Ok(()) } else { Err(ran.stdout + &ran.stderr) }
        });
    }
}

#[test]
fn chosen_by_one_rejected_by_another_ended_for_the_rest() {
    let fleet = Fleet::with(2);
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let before = fleet.counted();
    let job = fleet.cli.ok(&["offer", "editor", "--to", "all", "--until", &fleet.soon(20)]);
    let all = fleet.names_at(&SITES);
    shown(&fleet, &all, "editor");
    // Only the offer has travelled.
    no_payload(&fleet.counted().since(&before), &SITES, BYTES);
    fleet.client("sakai-1").system.user(&["choose", "editor"]).ok();
    fleet.client("osaka-1").system.user(&["reject", "editor"]).ok();
    fleet.line_until(&job, "sakai-1", 30, "done");
    fleet.line_until(&job, "osaka-1", 20, "rejected");
    assert!(is_installed(source.path(), &fleet.client("sakai-1").system.at("/opt/editor")));
    let chosen = fleet.counted().since(&before);
    say("chosen at sakai", &chosen, BYTES);
    one_copy(&chosen, &["osaka", "sakai"], BYTES);
    no_payload(&chosen, &["sendai"], BYTES);
    // Thought better of it: the copy is at the site.
    fleet.client("osaka-1").system.user(&["choose", "editor"]).ok();
    fleet.line_until(&job, "osaka-1", 20, "done");
    no_payload(&fleet.counted().since(&before), &["sendai"], BYTES);
    one_copy(&fleet.counted().since(&before), &["osaka", "sakai"], BYTES);
    let ended = fleet.job_until(&job, 40, "ended", |job| job["state"] == "ended");
    for name in ["osaka-2", "sakai-2", "sendai-1", "sendai-2"] {
        assert_eq!(line(&ended, name).expect("its line")["state"], "offer_ended", "{ended}");
        assert!(!fleet.client(name).system.at("/opt/editor").exists(), "{name}: no choice, no install");
    }
    // Late is late.
    let late = fleet.client("sendai-1").system.user(&["choose", "editor"]);
    assert_ne!(late.code, 0, "{}", late.stdout);
}

#[test]
fn required_from_a_time_everyone_knew() {
    let mut fleet = Fleet::with(2);
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let before = fleet.counted();
    let job = fleet.cli.ok(&["offer", "editor", "--to", "all", "--required-from", &fleet.soon(10)]);
    let all = fleet.names_at(&SITES);
    shown(&fleet, &all, "editor");
    fleet.client("sendai-1").system.user(&["choose", "editor"]).ok();
    fleet.client("osaka-1").system.user(&["reject", "editor"]).ok();
    fleet.line_until(&job, "osaka-1", 8, "rejected");
    // Off when it becomes required.
    fleet.client_mut("sakai-1").kill();
    fleet.line_until(&job, "sendai-1", 30, "done");
    for name in ["osaka-1", "osaka-2", "sakai-2", "sendai-2"] {
        fleet.line_until(&job, name, 40, "done");
    }
    fleet.client_mut("sakai-1").start();
    fleet.line_until(&job, "sakai-1", 30, "done");
    assert_eq!(fleet.without(&source), Vec::<&str>::new());
    let after = fleet.counted().since(&before);
    say("required", &after, BYTES);
    one_copy(&after, &SITES, BYTES);
}
