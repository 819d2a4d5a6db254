//! The bytes come at night, the install in the morning.

use packhorse_e2e::net::fleet::{Fleet, SITES};
use packhorse_e2e::wait;
use packhorse_e2e::world::array;

use super::{MIB, no_payload, one_copy, say};

const BYTES: u64 = 2 * MIB;

/// Until when a relay keeps its only package.
fn kept_until(fleet: &Fleet, site: &str) -> String {
    let view = fleet.relay_view(site);
    let packages = array(&view["packages"]);
    assert_eq!(packages.len(), 1, "{view}");
    packages[0]["keep_until"].as_str().unwrap_or_else(|| panic!("a date in {view}")).to_owned()
}

/// Waits until every line of a transfer has ended well.
fn transferred(fleet: &Fleet, number: &str) {
    fleet.job_until(number, 40, "transferred everywhere", |job| {
        job["state"] == "ended" && job["counts"]["transferred"] == SITES.len()
    });
}

#[test]
fn staged_at_night_and_installed_in_the_morning() {
    let fleet = Fleet::new();
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let before = fleet.counted();
    let args = ["install", "editor", "--to", "all", "--stage-at", &fleet.soon(1), "--at", &fleet.soon(14)];
    let made = fleet.cli.run(&args);
    let install = made.ok();
    let digits =
        |text: &str| text.split(|c: char| !c.is_ascii_digit()).find(|n| !n.is_empty()).map(str::to_owned);
    let transfer = digits(&made.stderr).unwrap_or_else(|| panic!("the transfer's number in {}", made.stderr));
    transferred(&fleet, &transfer);
    let night = fleet.counted();
    say("night", &night.since(&before), BYTES);
    assert_eq!(fleet.job(&install)["state"], "scheduled", "the transfer had time enough");
    one_copy(&night.since(&before), &SITES, BYTES);
    for client in &fleet.clients {
        let bytes = night.since(&before).client(&client.system.name);
        assert!(bytes < BYTES / 10, "{}: {bytes} bytes at night", client.system.name);
    }
    let ended = fleet.done(&install, 60);
    assert_eq!(ended["counts"]["done"], 9, "{ended}");
    let morning = fleet.counted().since(&night);
    say("morning", &morning, BYTES);
    assert_eq!(fleet.without(&source), Vec::<&str>::new());
    no_payload(&morning, &SITES, BYTES);
    for client in &fleet.clients {
        let bytes = morning.client(&client.system.name);
        assert!((BYTES..BYTES + BYTES / 10).contains(&bytes), "{}: {bytes} bytes", client.system.name);
    }
}

#[test]
fn the_same_transfer_again_moves_the_date_and_no_bytes() {
    let fleet = Fleet::with(0);
    fleet.add(&fleet.source("editor", "1.0").noise("lib/data", BYTES, 1));
    let before = fleet.counted();
    let transfer = |keep: &str| {
        let job = fleet.cli.ok(&["transfer", "editor", "--to", "all-relays", "--keep", keep]);
        transferred(&fleet, &job);
    };
    transfer("30d");
    let first = fleet.counted();
    one_copy(&first.since(&before), &SITES, BYTES);
    let dates = SITES.map(|site| kept_until(&fleet, site));
    transfer("60d");
    for (site, date) in SITES.iter().zip(&dates) {
        wait::until("the date has moved", 10, || (kept_until(&fleet, site) > *date).then_some(()));
    }
    // Either way: the last order wins.
    transfer("10d");
    for (site, date) in SITES.iter().zip(&dates) {
        wait::until("the date has moved back", 10, || (kept_until(&fleet, site) < *date).then_some(()));
    }
    no_payload(&fleet.counted().since(&first), &SITES, BYTES);
}
