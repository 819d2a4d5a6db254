//! Hosts are moved from one higher system to another.

use packhorse_e2e::history;
use packhorse_e2e::system::System;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::World;

fn sent(world: &World, relay: &str) -> u64 {
    world.relay_view(relay)["sent_bytes"].as_u64().expect("a counter")
}

fn calls(world: &World, host: &System, url: &str, route: &[&str]) {
    wait::until(&format!("{} calls {url}", host.name), 30, || {
        let status = host.status()?;
        (status["url"] == url && status["online"] == true).then_some(())
    });
    assert_eq!(world.cli.json(&["host", "show", &host.name])["route"], serde_json::json!(route));
}

#[test]
fn a_host_moved_in_mid_transfer_goes_on_where_it_stood() {
    let world = World::new();
    let mut osaka = world.joined_relay("osaka", &world.server.url(), &["--relay"]);
    osaka.environment.push(("PACKHORSE_SEND_BYTES_PER_SEC".to_owned(), "800000".to_owned()));
    osaka.start();
    let sendai = world.relay("sendai", &world.server.url());
    world.online(&["osaka"]);
    let pc = world.client("pc1", &osaka.url());
    const BYTES: u64 = 12 << 20;
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let job = world.install("editor", &["pc1"], &[]);
    wait::until("a third is there", 60, || (sent(&world, "osaka") > BYTES / 3).then_some(()));
    let moved = world.cli.json(&["host", "move", "pc1", "--to", "sendai", "--then", "server"]);
    assert_eq!(moved, serde_json::json!({"host": "pc1", "above": ["sendai", "server"], "changed": true}));
    world.done(&job, 60);
    calls(&world, &pc, &sendai.url(), &["localhost", "sendai"]);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    let (by_osaka, by_sendai) = (sent(&world, "osaka"), sent(&world, "sendai"));
    assert!(by_sendai > 0 && by_osaka < BYTES, "{by_osaka} + {by_sendai}");
    let twice = (by_osaka + by_sendai).saturating_sub(BYTES);
    assert!(twice < 3 << 20, "at most a piece again: {by_osaka} + {by_sendai} bytes for {BYTES}");
    println!("{by_osaka} bytes by osaka, {by_sendai} by sendai, for {BYTES}");
    // Begun once, ended once, and nothing was taken for a lie.
    let view = world.job(&job);
    assert_eq!(view["instructions"][0]["attempt"], 1, "{view}");
    assert_eq!(history::ends_and_begins(&world.server, &pc, &job), (1, 1));
    // Moved again to where it stands: nothing changes.
    assert_eq!(
        world.cli.json(&["host", "move", "pc1", "--to", "sendai", "--then", "server"])["changed"],
        false
    );
}

#[test]
fn a_host_that_was_off_finds_its_new_system_by_the_old_one() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let namba = world.relay("namba", &osaka.url());
    let mut pc = world.client("pc1", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/data", 600_000, 1);
    world.add(&source);
    let first = world.install("editor", &["below:osaka"], &[]);
    world.done(&first, 30);
    // Down a level, by way of the relay it called.
    pc.kill();
    world.cli.ok(&["host", "move", "pc1", "--to", "namba", "--then", "osaka"]);
    let second = world.source("editor", "2.0").noise("lib/data", 600_000, 2);
    world.add(&second);
    let job = world.install("editor", &["pc1"], &[]);
    pc.start();
    world.done(&job, 60);
    calls(&world, &pc, &namba.url(), &["localhost", "osaka", "namba"]);
    assert!(is_installed(second.path(), &pc.at("/opt/editor")));
    // What had ended before was not begun again, and nobody fetched for it.
    let kept = world.relay_view("namba");
    assert!(!kept["packages"].to_string().contains("editor@1.0"), "{kept}");
    // And away from both.
    pc.kill();
    world.cli.ok(&["host", "move", "pc1", "--to", "server"]);
    pc.start();
    calls(&world, &pc, &world.server.url(), &["localhost"]);
    let third = world.source("editor", "3.0").noise("lib/data", 600_000, 3);
    world.add(&third);
    world.done(&world.install("editor", &["pc1"], &[]), 60);
    assert!(is_installed(third.path(), &pc.at("/opt/editor")));
    // It stays there over a restart.
    pc.restart();
    calls(&world, &pc, &world.server.url(), &["localhost"]);
    let sent_before = sent(&world, "osaka");
    world.cli.ok(&["host", "move", "pc1", "--to", "osaka"]);
    calls(&world, &pc, &osaka.url(), &["localhost", "osaka"]);
    assert_eq!(sent(&world, "osaka"), sent_before, "nothing is brought again");
}

#[test]
fn what_cannot_be_moved_is_refused_by_name() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    world.client("pc1", &osaka.url());
    for (args, says) in [
        (vec!["pc9", "--to", "osaka"], "there is no host pc9"),
        (vec!["pc1", "--to", "nowhere"], "there is no relay system nowhere"),
        (vec!["pc1", "--to", "pc1"], "there is no relay system pc1"),
        (vec!["pc1", "--to", "osaka", "--then", "osaka"], "osaka is named twice"),
        (vec!["osaka", "--to", "server"], "osaka is a relay system"),
    ] {
        let all: Vec<&str> = ["host", "move"].into_iter().chain(args).collect();
        let ran = world.cli.run(&all);
        assert!(ran.code == 4 && ran.stderr.contains(says) && ran.hint().is_some(), "{ran:?}");
    }
    let shown = world.cli.json(&["host", "show", "pc1"]);
    assert_eq!(
        (&shown["route"], &shown["above"]),
        (&serde_json::json!(["localhost", "osaka"]), &serde_json::json!([]))
    );
}
