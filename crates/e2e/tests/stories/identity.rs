//! Who may come in, under which name, and what is left behind by those who may not.

use std::path::Path;
use std::process::Command;

use packhorse_e2e::cli::Ran;
use packhorse_e2e::raw::{self, Raw, refusal_code};
use packhorse_e2e::system::{Kind, System};
use packhorse_e2e::wait;
use packhorse_e2e::world::World;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{
    BodyMsg, PROTOCOL, REPORTS, ReportMsg, ReportsRequest, ReportsResponse, Soft,
};

fn join(world: &World, kind: Kind, token: &str) -> Ran {
    let options: &[&str] = if kind == Kind::Relay { &["--listen", "127.0.0.1:1"] } else { &[] };
    world.join(kind, "newcomer", &world.server.url(), token, options)
}

/// One sentence, one hint, nothing left behind.
fn refused(world: &World, ran: &Ran, sentence: &str, hint: &str) {
    ran.fails(4, &[]);
    assert!(ran.error().contains(sentence), "{}", ran.error());
    assert_eq!(ran.hint(), Some(hint), "{}", ran.stderr);
    nothing_left(world);
}

fn nothing_left(world: &World) {
    for name in ["newcomer", "newcomer-root"] {
        assert!(!world.folder().join(name).exists(), "{name} was left behind");
    }
    let hosts = world.cli.json(&["host", "list"]);
    assert!(!hosts.to_string().contains("newcomer"), "{hosts}");
}

#[test]
fn tokens_that_do_not_count() {
    let world = World::new();
    let hint = "packhorse token new";
    let used = world.token(&[]);
    world.join(Kind::Client, "first", &world.server.url(), &used, &[]).ok();
    refused(&world, &join(&world, Kind::Client, &used), "this token was used as often as it may be", hint);

    let ended = world.token(&["--ends", "1s"]);
    wait::until("the token has ended", 10, || {
        let tokens = world.cli.json(&["token", "list"]);
        (tokens[0]["state"] == "ended").then_some(())
    });
    refused(&world, &join(&world, Kind::Client, &ended), "this token has ended", hint);

    let revoked = world.token(&[]);
    let id = world.cli.json(&["token", "list"])[0]["id"].to_string();
    world.cli.ok(&["token", "revoke", &id]);
    refused(&world, &join(&world, Kind::Client, &revoked), "this token was revoked", hint);

    // The wrong role is seen without asking anybody, so the token is still good.
    let relay = world.token(&["--relay"]);
    let ran = join(&world, Kind::Client, &relay);
    assert!(ran.code != 0 && ran.error().contains("this token is for a relay, not for a client"), "{ran:?}");
    nothing_left(&world);
    let client = world.token(&[]);
    let ran = join(&world, Kind::Relay, &client);
    assert!(ran.code != 0 && ran.error().contains("this token is for a client, not for a relay"), "{ran:?}");
    nothing_left(&world);

    let ran = join(&world, Kind::Client, "no token at all");
    assert_ne!(ran.code, 0);
    nothing_left(&world);

    // Another system's token: its fingerprint is not this authority's.
    let other = World::new();
    let ran = join(&world, Kind::Client, &other.token(&[]));
    assert_ne!(ran.code, 0, "{ran:?}");
    nothing_left(&world);
    world.join(Kind::Client, "newcomer", &world.server.url(), &client, &[]).ok();
}

#[test]
fn a_taken_name_is_replaced_on_purpose_only() {
    let world = World::new();
    let mut old = world.client("pc1", &world.server.url());
    let ran = world.join(Kind::Client, "pc1", &world.server.url(), &world.token(&[]), &[]);
    assert_ne!(ran.code, 0, "its folder holds an identity");
    let elsewhere = |token: &str| {
        let url = world.server.url();
        world.cli.run(&[
            "client", "join", "--data", "pc1-new", "--server", &url, "--token", token, "--name", "pc1",
        ])
    };
    let ran = elsewhere(&world.token(&[]));
    ran.fails(4, &["there is a host named pc1", "packhorse token new --replace pc1"]);
    assert!(!world.folder().join("pc1-new").exists());

    elsewhere(&world.token(&["--replace", "pc1"])).ok();
    let mut new = System::new("pc1", Kind::Client, &world.folder().join("pc1-new"), Path::new("/"), 0);
    // The old certificate counts no more, neither for what runs nor for what starts again.
    wait::until_ok("the old machine is refused", 20, || {
        let said = old.sync();
        if said.stderr.contains("retired") { Ok(()) } else { Err(said.stderr) }
    });
    let raw = Raw::host(world.runtime(), &old.data, &world.server.url());
    assert_eq!(refusal_code(raw.feed()), "retired");
    assert!(old.is_running(), "a refused agent stays, and says why");
    old.end();
    new.start();
    world.online(&["pc1"]);
    let detail = world.cli.json(&["host", "show", "pc1"]);
    assert_eq!(detail["certificate_generation"], 2, "{detail}");
    new.end();
}

#[test]
fn two_machines_under_one_name_are_held_and_named() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let first = world.client("pc1", &osaka.url());
    let copy = world.folder().join("pc1-copy");
    let copied = Command::new("cp").arg("-a").arg(&first.data).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()));
    // The socket of the running first is not the second's.
    let _ = std::fs::remove_file(copy.join("user.sock"));
    let mut second = System::new("pc1", Kind::Client, &copy, &first.root, 0);
    second.start();
    wait::until("the second answers its user", 10, || second.status());
    // In turn: A, B, A.
    wait::until_ok("both are held", 30, || {
        let (a, b) = (first.sync(), second.sync());
        let held = |ran: &Ran| ran.stderr.contains("two machines answer as pc1");
        if held(&a) && held(&b) { Ok(()) } else { Err(format!("{}{}", a.stderr, b.stderr)) }
    });
    let detail = wait::until_ok("the server names them", 20, || {
        let detail = world.cli.json(&["host", "show", "pc1"]);
        if detail["twins_since"].is_string() { Ok(detail) } else { Err(detail.to_string()) }
    });
    assert_eq!(detail["name"], "pc1");
    let source = world.source("editor", "1.0").file("a", "a");
    world.add(&source);
    let job = world.install("editor", &["pc1"], &[]);
    let explained = wait::until_ok("explain names them", 20, || {
        let text = world.cli.ok(&["explain", &job, "pc1"]);
        if text.contains("two machines") { Ok(text) } else { Err(text) }
    });
    assert!(explained.contains("--replace pc1"), "{explained}");
    assert!(!first.at("/opt/editor").exists(), "neither installs");
}

#[test]
fn a_certificate_is_for_its_own_host_only() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let pc = world.client("pc1", &osaka.url());
    let runtime = world.runtime();
    let url = world.server.url();
    // Not this system's own lower system: it hears where it stands, as a host that was moved does, and nothing else.
    let told = Raw::host(runtime, &pc.data, &url).feed().expect("its place");
    assert_eq!(told.orders.iter().map(|order| order.kind.as_str()).collect::<Vec<_>>(), ["place"]);
    // Nobody.
    assert_eq!(refusal_code(Raw::nobody(runtime, &pc.data, &url).feed()), "no_certificate");
    // Known at the server, and not below this relay.
    let other = world.client("pc2", &url);
    assert_eq!(refusal_code(Raw::host(runtime, &other.data, &osaka.url()).feed()), "unknown_host");
}

#[test]
fn a_client_speaks_for_itself_only() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let mut liar = world.client("liar", &osaka.url());
    let other = world.client("other", &osaka.url());
    world.add(&world.source("editor", "1.0").file("a", "a"));
    let job = world.install("editor", &["other"], &["--at", "+8h"]);
    liar.end();
    let report = ReportMsg {
        origin: Fixed(raw::identity(&other.data).id.0),
        incarnation: 1,
        no: 1,
        base: 0,
        at: 1,
        body: BodyMsg::Alarm { code: "bad_job".into(), text: "the other one says".into() },
    };
    let request = ReportsRequest {
        v: PROTOCOL,
        run: 1,
        incarnation: 1,
        server: 1,
        after: 0,
        through: 1,
        reports: vec![(1, report)],
        soft: Soft::default(),
    };
    let raw = Raw::host(world.runtime(), &liar.data, &osaka.url());
    let answer: ReportsResponse = raw.call(REPORTS, &request).expect("taken, and not believed");
    assert_eq!(answer.stored, 1);
    wait::until_ok("osaka has it in its log", 20, || {
        let log = osaka.log_text();
        if log.contains("not below liar") { Ok(()) } else { Err(log) }
    });
    assert!(world.access().alarms_of("other", "bad_job").is_empty(), "nothing is said in its name");
    assert_eq!(world.job(&job)["instructions"][0]["state"], "waiting");
}
