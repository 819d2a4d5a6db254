//! A host goes by itself to the next system of its list when the one it calls is out of reach, and returns.

use packhorse_e2e::history;
use packhorse_e2e::system::System;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, array};
use serde_json::{Value, json};

/// How long the system that is called has to be out of reach; everything else in proportion.
const FALLBACK: (&str, &str) = ("PACKHORSE_FALLBACK_MILLIS", "1500");

fn hasty(world: &World, name: &str, url: &str) -> System {
    let mut pc = world.joined_client(name, url);
    pc.environment.push((FALLBACK.0.to_owned(), FALLBACK.1.to_owned()));
    pc.start();
    world.online(&[name]);
    pc
}

fn slow(world: &World, name: &str, url: &str, bytes_per_sec: u64) -> System {
    let mut relay = world.joined_relay(name, url, &["--relay"]);
    relay.environment.push(("PACKHORSE_SEND_BYTES_PER_SEC".to_owned(), bytes_per_sec.to_string()));
    relay.start();
    world.online(&[name]);
    relay
}

fn sent(world: &World, relay: &str) -> u64 {
    world.relay_view(relay)["sent_bytes"].as_u64().expect("a counter")
}

/// Lets a host call these, the first now.
fn listed(world: &World, host: &System, to: &str, then: &[&str]) {
    let mut args = vec!["host", "move", &host.name, "--to", to, "--then"];
    args.extend(then);
    world.cli.ok(&args);
    // It has heard of it.
    let all: Vec<&str> = std::iter::once(to).chain(then.iter().copied()).collect();
    let all: Vec<&str> = all.iter().map(|name| if *name == "server" { "localhost" } else { *name }).collect();
    wait::until_ok(&format!("{} knows its list", host.name), 20, || {
        let status = host.status().unwrap_or_default();
        if status["calls"] == json!(all) { Ok(()) } else { Err(status.to_string()) }
    });
}

/// Waits until the host and the managing server both say that it calls `higher`.
fn calls(world: &World, host: &System, higher: &str, secs: u64) -> Value {
    wait::until_ok(&format!("{} calls {higher}", host.name), secs, || {
        let status = host.status().unwrap_or_default();
        let shown = world.cli.json(&["host", "show", &host.name]);
        let there = status["higher"] == higher && status["online"] == true;
        let known = shown["higher"] == higher && shown["online"] == true;
        if there && known { Ok(shown) } else { Err(format!("{status}\n{shown}")) }
    })
}

#[test]
fn a_relay_that_dies_in_mid_transfer_is_replaced_by_the_next_until_it_is_back() {
    let world = World::new();
    let mut osaka = slow(&world, "osaka", &world.server.url(), 1_000_000);
    let sendai = world.relay("sendai", &world.server.url());
    let pc = hasty(&world, "pc1", &osaka.url());
    listed(&world, &pc, "osaka", &["sendai", "server"]);
    const BYTES: u64 = 12 << 20;
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let job = world.install("editor", &["pc1"], &[]);
    wait::until("a third is there", 60, || (sent(&world, "osaka") > BYTES / 3).then_some(()));
    osaka.kill();
    let by_osaka = sent(&world, "osaka");
    // Nobody does anything.
    world.done(&job, 90);
    let shown = calls(&world, &pc, "sendai", 30);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    assert_eq!(history::ends_and_begins(&world.server, &pc, &job), (1, 1));
    let by_sendai = sent(&world, "sendai");
    let twice = (by_osaka + by_sendai).saturating_sub(BYTES);
    // What osaka sent in its last second it had no time to say.
    println!("{by_osaka} bytes by osaka (as it last said), {by_sendai} by sendai, for {BYTES}");
    assert!(by_osaka > 0 && by_sendai < BYTES * 3 / 4 && twice < 3 << 20, "{by_osaka} + {by_sendai}");
    // It is said everywhere that this is a fallback.
    assert_eq!(shown["route"], json!(["localhost", "sendai"]));
    assert_eq!(shown["above"], json!(["osaka", "sendai", "server"]));
    assert_eq!(shown["fallback"]["not_reached"], json!(["osaka"]), "{shown}");
    let text = shown["fallback"]["text"].as_str().expect("a sentence").to_owned();
    assert!(
        text.starts_with("calls sendai since ") && text.ends_with("osaka could not be reached"),
        "{text}"
    );
    for words in [
        vec!["host", "show", "pc1"],
        vec!["host", "tree"],
        vec!["host", "list"],
        vec!["explain", "--host", "pc1"],
    ] {
        let said = world.cli.ok(&words);
        assert!(said.contains(&text), "{words:?}: {said}");
    }
    let own = pc.status().expect("a status");
    assert!(
        own["fallback"].as_str().is_some_and(|said| said.contains("osaka could not be reached")),
        "{own}"
    );
    // What comes next comes by the new way.
    let second = world.source("tool", "1.0").noise("lib/data", 600_000, 2);
    world.add(&second);
    world.done(&world.install("tool", &["pc1"], &[]), 60);
    // A restart of the agent changes nothing.
    let mut pc = pc;
    pc.restart();
    calls(&world, &pc, "sendai", 30);
    // The relay comes back, with the order still open as it knew it.
    osaka.start();
    world.online(&["osaka"]);
    let shown = calls(&world, &pc, "osaka", 90);
    assert_eq!(
        (&shown["route"], &shown["fallback"]),
        (&json!(["localhost", "osaka"]), &Value::Null),
        "{shown}"
    );
    assert_eq!(pc.status().expect("a status")["fallback"], Value::Null);
    let third = world.source("editor", "2.0").noise("lib/data", 600_000, 3);
    world.add(&third);
    world.done(&world.install("editor", &["pc1"], &[]), 60);
    assert!(is_installed(third.path(), &pc.at("/opt/editor")));
    assert_eq!(history::ends_and_begins(&world.server, &pc, &job), (1, 1), "begun and ended once");
    assert_eq!(alarms(&world), json!([]), "nothing was taken for a lie");
    drop(sendai);
}

/// What systems said that was refused.
fn alarms(world: &World) -> Value {
    let path = world.server.data.join("server.db");
    let connection = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the database");
    let mut statement =
        connection.prepare("SELECT host || ': ' || code || ': ' || text FROM alarms").expect("it");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    json!(rows.collect::<Result<Vec<_>, _>>().expect("texts"))
}

#[test]
fn offers_and_choices_follow_and_all_being_down_is_said() {
    let world = World::new();
    let mut osaka = world.relay("osaka", &world.server.url());
    let mut sendai = world.relay("sendai", &world.server.url());
    let pc = hasty(&world, "pc1", &osaka.url());
    listed(&world, &pc, "osaka", &["sendai"]);
    let source = world.source("editor", "1.0").noise("lib/data", 600_000, 1);
    world.add(&source);
    let other = world.source("tool", "1.0").noise("lib/data", 600_000, 2);
    world.add(&other);
    let chosen = world.cli.ok(&["offer", "editor", "--to", "pc1"]);
    world.line_until(&chosen, "pc1", 30, "offered");
    osaka.kill();
    // Chosen while nobody is there; then neither is the next.
    sendai.kill();
    assert_eq!(pc.user(&["choose", "editor"]).code, 0);
    let said = wait::until("it says that all are tried", 60, || {
        let status = pc.status()?;
        let trouble = status["trouble"].as_str()?.to_owned();
        trouble.contains("tried in order: osaka, sendai").then_some(trouble)
    });
    println!("{said}");
    assert!(!pc.at("/opt/editor").exists());
    sendai.start();
    world.done(&chosen, 60);
    calls(&world, &pc, "sendai", 30);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    // A new offer comes by the new way.
    let next = world.cli.ok(&["offer", "tool", "--to", "pc1"]);
    world.line_until(&next, "pc1", 30, "offered");
    // Shortened by the one that it calls, and moved, while the first is away.
    listed(&world, &pc, "server", &["osaka"]);
    calls(&world, &pc, "localhost", 60);
    assert_eq!(pc.user(&["choose", "tool"]).code, 0);
    world.done(&next, 60);
    assert!(is_installed(other.path(), &pc.at("/opt/tool")));
    assert_eq!(history::ends_and_begins(&world.server, &pc, &chosen), (1, 1));
    assert_eq!(history::ends_and_begins(&world.server, &pc, &next), (1, 1));
}

#[test]
fn at_a_site_that_is_cut_off_the_next_relay_holds_the_host_and_its_reports() {
    let world = World::new();
    let line = world.proxy(world.server.port);
    let site = world.relay("site", &line.url());
    let mut one = world.relay("one", &site.url());
    let two = world.relay("two", &site.url());
    let pc = hasty(&world, "pc1", &one.url());
    listed(&world, &pc, "one", &["two"]);
    let source = world.source("editor", "1.0").noise("lib/data", 600_000, 1);
    world.add(&source);
    // The site has the package before; the job waits for the morning, and for all.
    let bring = world.cli.ok(&["transfer", "editor", "--to", "site", "one", "two"]);
    brought(&world, &bring);
    let by_name = world.install("editor", &["pc1"], &["--at", "+12s"]);
    let other = world.source("tool", "1.0").noise("lib/data", 600_000, 2);
    world.add(&other);
    let bring = world.cli.ok(&["transfer", "tool", "--to", "site", "one", "two"]);
    brought(&world, &bring);
    let for_all = world.install("tool", &["all"], &["--at", "+12s"]);
    wait::until("the host has its orders", 20, || {
        let status = pc.status()?;
        (array(&status["lines"]).len() == 2).then_some(())
    });
    one.kill();
    line.refuse();
    line.cut();
    world.offline(&["site"]);
    // It goes to the other relay, which holds it by its place, and installs what the site has.
    wait::until_ok("installed from the other relay", 60, || {
        let there = is_installed(source.path(), &pc.at("/opt/editor"))
            && is_installed(other.path(), &pc.at("/opt/tool"));
        let status = pc.status().unwrap_or_default();
        if there && status["higher"] == "two" { Ok(()) } else { Err(status.to_string()) }
    });
    let own = pc.status().expect("a status");
    assert!(own["unreceipted"].as_u64().is_some_and(|n| n > 0), "{own}");
    // The relay comes back while the server is still away: the host returns, and its reports flow as far as they can.
    one.start();
    wait::until("it returned", 90, || {
        let status = pc.status()?;
        (status["higher"] == "one" && status["online"] == true).then_some(())
    });
    line.pass();
    world.online(&["site"]);
    world.done(&by_name, 60);
    world.done(&for_all, 60);
    calls(&world, &pc, "one", 60);
    for job in [&by_name, &for_all] {
        assert_eq!(history::ends_and_begins(&world.server, &pc, job), (1, 1));
    }
    assert_eq!(alarms(&world), json!([]));
    wait::until("all is safe", 60, || (pc.status()?["unreceipted"] == 0).then_some(()));
    // And what comes next comes.
    let last = world.source("editor", "2.0").noise("lib/data", 600_000, 3);
    world.add(&last);
    world.done(&world.install("editor", &["pc1"], &[]), 60);
    drop(two);
}

/// Waits until a transfer is at all its relays.
fn brought(world: &World, job: &str) {
    world.job_until(job, 60, "transferred everywhere", |job| job["state"] == "ended");
}
