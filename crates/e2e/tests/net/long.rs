//! More of everything: `./test --long`.

use packhorse_e2e::net::fleet::{Fleet, SITES};
use packhorse_e2e::proxy::Weather;
use packhorse_e2e::wait;

use super::install::everywhere;
use super::{MIB, say};
use std::time::Duration;

#[test]
#[ignore = "long: half a gigabyte over 13 lines; ./test --long"]
fn a_large_package_over_all_lines() {
    let fleet = Fleet::new();
    for site in SITES {
        fleet.site(site).proxy.weather(Weather {
            latency: Duration::from_millis(20),
            lost_per_million: 5_000,
            seed: 3,
            ..Weather::default()
        });
    }
    everywhere(&fleet, "large", 40 * MIB, 300);
}

/// Something that goes wrong, with the system or line it befalls.
enum Fault {
    Relay(&'static str),
    Client(&'static str),
    Server,
    Line(&'static str),
    Cut(&'static str),
}

const FAULTS: [Fault; 10] = [
    Fault::Cut("osaka"),
    Fault::Client("sakai-2"),
    Fault::Relay("osaka"),
    Fault::Line("sendai"),
    Fault::Server,
    Fault::Relay("sakai"),
    Fault::Line("sakai"),
    Fault::Client("osaka-1"),
    Fault::Relay("sendai"),
    Fault::Cut("sakai"),
];

#[test]
#[ignore = "long: ten faults in one install; ./test --long"]
fn one_fault_after_another() {
    let mut fleet = Fleet::new();
    for (site, seed) in SITES.iter().zip(1..) {
        let latency = Duration::from_millis(30);
        let weather = Weather { latency, lost_per_million: 5_000, reset_per_million: 1_000, seed };
        fleet.site(site).proxy.weather(weather);
    }
    const BYTES: u64 = 24 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    let (before, resets_before) = (fleet.counted(), resets(&fleet));
    let job = fleet.install("editor", &["all"], &[]);
    for (n, fault) in (1..).zip(&FAULTS) {
        // Spread over the time in which the narrowest line is busy.
        wait::until("the next part is at the lower relay", 120, || {
            (fleet.counted().since(&before).stream("sakai") > BYTES * n / 12).then_some(())
        });
        befall(&mut fleet, fault);
    }
    fleet.answering();
    fleet.done(&job, 240);
    let after = fleet.counted().since(&before);
    say("ten faults", &after, BYTES);
    assert_eq!(fleet.without(&source), Vec::<&str>::new());
    fleet.once(&fleet.names_at(&SITES), &job);
    // Every fault and every reset costs each line at most a piece (1 MiB).
    let most = BYTES + BYTES / 25 + (FAULTS.len() as u64 + resets(&fleet) - resets_before) * MIB;
    for site in SITES {
        assert!((BYTES..most).contains(&after.stream(site)), "{site}: {} bytes", after.stream(site));
    }
}

fn resets(fleet: &Fleet) -> u64 {
    SITES.iter().map(|site| fleet.site(site).proxy.resets()).sum()
}

fn befall(fleet: &mut Fleet, fault: &Fault) {
    match fault {
        Fault::Relay(name) => fleet.relay_mut(name).restart(),
        Fault::Client(name) => fleet.client_mut(name).restart(),
        Fault::Server => fleet.restart_server(),
        Fault::Cut(site) => fleet.site(site).proxy.cut(),
        Fault::Line(site) => {
            fleet.site(site).line.pull();
            // For as long as a machine takes to start anew.
            let client = format!("{site}-3");
            fleet.client_mut(&client).restart();
            wait::until("its agent answers", 20, || fleet.client(&client).system.status());
            fleet.site(site).line.put_back();
        }
    }
}

#[test]
#[ignore = "long: dead connections are noticed after a minute; ./test --long"]
fn a_machine_carried_to_another_site_in_mid_transfer() {
    let mut fleet = Fleet::with(1);
    const BYTES: u64 = 6 * MIB;
    let source = fleet.source("editor", "1.0").noise("lib/data", BYTES, 1);
    fleet.add(&source);
    fleet.client("osaka-1").place.cable.width(8);
    let before = fleet.counted();
    let job = fleet.install("editor", &["osaka-1"], &[]);
    wait::until("half of it is there", 40, || {
        (fleet.counted().since(&before).client("osaka-1") > BYTES / 2).then_some(())
    });
    // Its address is another now, and its connections are dead without a word.
    let at_osaka = fleet.counted().since(&before).client("osaka-1");
    fleet.carry("osaka-1", "sendai");
    fleet.done(&job, 180);
    let after = fleet.counted().since(&before);
    say("carried", &after, BYTES);
    assert_eq!(
        fleet.client("osaka-1").system.at("/opt/editor/lib/data").metadata().expect("there").len(),
        BYTES
    );
    fleet.once(&["osaka-1"], &job);
    // From the relay it had before, the rest came over another line.
    let rest = after.stream("sendai");
    assert!(at_osaka + rest < BYTES + BYTES / 10 + 2 * MIB, "{at_osaka} and {rest} bytes for {BYTES}");
}
