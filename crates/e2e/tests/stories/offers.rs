//! Offers and what users decide; what is held for a time, for the system's stop, or because a user said "not now".

use std::path::Path;
use std::process::Command;

use packhorse_e2e::binary;
use packhorse_e2e::cli::Ran;
use packhorse_e2e::system::System;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, array, line};
use serde_json::Value;

const BYTES: u64 = 3_000_000;

/// What this client's user types.
fn user(world: &World, client: &System, args: &[&str]) -> Ran {
    let data = client.data.display().to_string();
    let mut all = args.to_vec();
    all.extend(["--data", &data]);
    world.cli.run(&all)
}

fn offers(world: &World, client: &System) -> Vec<Value> {
    let ran = user(world, client, &["offers", "--json"]);
    if ran.code == 3 {
        // The agent has not come up yet.
        return Vec::new();
    }
    array(&serde_json::from_str(&ran.ok()).expect("JSON")).to_vec()
}

fn offered(world: &World, client: &System) -> Value {
    wait::until(&format!("an offer at {}", client.name), 20, || offers(world, client).into_iter().next())
}

fn offer(world: &World, to: &[&str], options: &[&str]) -> String {
    let mut args = vec!["offer", "editor", "--to"];
    args.extend(to);
    args.extend(options);
    world.cli.ok(&args)
}

fn received(world: &World) -> u64 {
    world.relay_view("osaka")["received_bytes"].as_u64().expect("bytes")
}

fn is_there(client: &System) -> bool {
    client.at("/opt/editor").exists()
}

#[test]
fn one_chooses_another_rejects_and_chooses_after_all() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let pcs = [world.client("pc1", &osaka.url()), world.client("pc2", &osaka.url())];
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let job = offer(&world, &["below:osaka"], &[]);
    // Everybody shows it, and that is all that has travelled.
    world.cli.ok(&["job", "watch", &job]);
    let shown = offered(&world, &pcs[0]);
    for (field, value) in [("name", "editor"), ("version", "1.0"), ("from", "osaka"), ("state", "offered")] {
        assert_eq!(shown[field], value, "{shown}");
    }
    assert!(shown["size_bytes"].as_u64() >= Some(BYTES) && shown["may_choose"] == true, "{shown}");
    assert_eq!(shown["missing_bytes"], shown["size_bytes"], "{shown}");
    assert_eq!(shown["takes_secs"], Value::Null, "nothing measured yet: {shown}");
    assert!(received(&world) < BYTES / 10, "{}", received(&world));
    assert_eq!(world.relay_view("osaka")["packages"], serde_json::json!([]));
    let waiting = line(&world.job(&job), "pc1").expect("a line").clone();
    assert_eq!(waiting["reason"]["code"], "not_chosen", "{waiting}");

    let text = user(&world, &pcs[1], &["reject", "editor"]).ok();
    assert!(text.contains("rejected"), "{text}");
    let rejected = world.line_until(&job, "pc2", 20, "rejected");
    assert_eq!(rejected["result"]["by"], "root", "{rejected}");
    user(&world, &pcs[0], &["choose", "main/editor"]).ok();
    let done = world.line_until(&job, "pc1", 30, "done");
    assert_eq!((&done["result"]["by"], &done["attempt"]), (&"root".into(), &1.into()), "{done}");
    assert!(is_installed(source.path(), &pcs[0].at("/opt/editor")) && !is_there(&pcs[1]));

    // The copy that the first choice brought is there for the next.
    wait::until("the counters come up", 20, || (received(&world) > BYTES / 2).then_some(()));
    let before = received(&world);
    user(&world, &pcs[1], &["choose", "editor@1.0"]).ok();
    world.line_until(&job, "pc2", 30, "done");
    assert!(is_installed(source.path(), &pcs[1].at("/opt/editor")));
    assert!(received(&world) < before + BYTES / 10, "one copy in, many out");
    world.cli.ok(&["job", "watch", &job, "--to-end"]);
    assert!(offers(&world, &pcs[0]).is_empty());
}

#[test]
fn a_choice_survives_its_agent_and_waits_for_the_relay() {
    let world = World::new();
    let mut osaka = world.relay("osaka", &world.server.url());
    let mut pc = world.client("pc1", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let job = offer(&world, &["pc1"], &[]);
    offered(&world, &pc);
    osaka.kill();
    let text = user(&world, &pc, &["choose", "editor", "--at", &world.soon(4)]).ok();
    assert!(text.contains("chosen for"), "{text}");
    // Killed between the choice and its time; it comes back on its own with what was chosen.
    pc.kill();
    pc.start();
    let waiting = wait::until_ok("it waits for the relay", 30, || {
        let now = offers(&world, &pc).into_iter().next().ok_or("nothing is offered")?;
        let network = now["reason"].as_str().is_some_and(|why| why.contains("network"));
        if network { Ok(now) } else { Err(now.to_string()) }
    });
    assert_eq!(waiting["state"], "chosen", "{waiting}");
    assert!(!is_there(&pc));
    osaka.start();
    world.line_until(&job, "pc1", 60, "done");
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
}

#[test]
fn a_choice_is_taken_back_and_an_offer_ends() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    world.add(&world.source("editor", "1.0").file("text", "text"));
    let job = offer(&world, &["pc1"], &["--until", &world.soon(25)]);
    offered(&world, &pc);
    user(&world, &pc, &["choose", "editor", "--at", &world.soon(20)]).ok();
    world.line_until(&job, "pc1", 20, "chosen");
    user(&world, &pc, &["withdraw", "editor"]).ok();
    world.line_until(&job, "pc1", 20, "offered");
    user(&world, &pc, &["withdraw", "editor"]).fails(4, &["nobody has chosen it"]);
    user(&world, &pc, &["choose", "editor", "--at", "+2h"]).fails(4, &["it ends at"]);
    world.line_until(&job, "pc1", 60, "offer_ended");
    assert!(!is_there(&pc) && offers(&world, &pc).is_empty());
    user(&world, &pc, &["choose", "editor"]).fails(4, &["nothing called editor", "packhorse offers"]);
}

#[test]
fn what_is_required_comes_to_whoever_has_not_chosen() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    let source = world.source("editor", "1.0").file("text", "text");
    world.add(&source);
    let job = offer(&world, &["pc1"], &["--required-from", &world.soon(12)]);
    let shown = offered(&world, &pc);
    assert!(shown["required_from"].is_string(), "{shown}");
    user(&world, &pc, &["reject", "editor"]).ok();
    world.line_until(&job, "pc1", 10, "rejected");
    let done = world.line_until(&job, "pc1", 40, "done");
    assert_eq!(done["result"]["by"], "required", "{done}");
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
}

#[test]
fn an_install_takes_the_place_of_an_offer_that_nobody_chose() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    world.add(&world.source("editor", "1.0").file("text", "one"));
    let old = offer(&world, &["pc1"], &[]);
    offered(&world, &pc);
    world.add(&world.source("editor", "2.0").file("text", "two"));
    let new = world.install("editor", &["pc1"], &[]);
    world.done(&new, 30);
    world.line_until(&old, "pc1", 20, "superseded");
}

#[test]
fn only_who_may_chooses() {
    let world = World::new();
    let mut pc = world.joined_client("pc1", &world.server.url());
    // Where other users reach it.
    let open = tempfile::Builder::new().prefix("packhorse-sock-").tempdir().expect("a folder");
    std::fs::set_permissions(open.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("open");
    let socket = open.path().join("user.sock");
    pc.environment.push(("PACKHORSE_SOCKET".into(), socket.display().to_string()));
    pc.start();
    world.online(&["pc1"]);
    world.add(&world.source("editor", "1.0").file("text", "text"));
    world.add(&world.source("viewer", "1.0").file("text", "text"));
    let job = offer(&world, &["pc1"], &["--choosers", "any"]);
    let group = world.cli.ok(&["offer", "viewer", "--to", "pc1", "--choosers", "group:root"]);
    for job in [&job, &group] {
        world.line_until(job, "pc1", 20, "offered");
    }
    let list = as_nobody(open.path(), &["offers", "--json"]);
    let list: Value = serde_json::from_str(&list.0).unwrap_or_else(|error| panic!("{error}: {list:?}"));
    let may =
        |name: &str| array(&list).iter().find(|offer| offer["name"] == name).map(|o| o["may_choose"].clone());
    assert_eq!((may("editor"), may("viewer")), (Some(true.into()), Some(false.into())), "{list}");
    let (_, error) = as_nobody(open.path(), &["choose", "viewer"]);
    assert!(error.contains("only members of group root and root may decide"), "{error}");
    as_nobody(open.path(), &["choose", "editor"]);
    let done = world.line_until(&job, "pc1", 30, "done");
    let by = done["result"]["by"].as_str().unwrap_or_default();
    assert!(by == "nobody" || by == "uid 65534", "{done}");
    let (_, error) = as_nobody(open.path(), &["client", "stopping"]);
    assert!(error.contains("only root says that"), "{error}");
    world.line_until(&group, "pc1", 5, "offered");
}

/// Runs a command as another user, who may go into `folder`; its output and its errors.
fn as_nobody(folder: &Path, args: &[&str]) -> (String, String) {
    let program = folder.join("packhorse");
    if !program.exists() {
        // Wherever the program stands, it is read here.
        std::fs::copy(binary::path(), &program).expect("a copy of the program");
    }
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(program)
        .args(args)
        .env("PACKHORSE_SOCKET", folder.join("user.sock"))
        .current_dir("/")
        .output()
        .expect("setpriv, of util-linux");
    // Its own words for what it cannot do, or may not: the tests are run as root.
    assert!(!matches!(output.status.code(), Some(126 | 127)), "a command as another user: {output:?}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_install_is_put_off_and_runs_then() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    let source = world.source("editor", "1.0").file("text", "text");
    world.add(&source);
    let job = world.install("editor", &["pc1"], &["--at", &world.soon(6), "--postpone", "1"]);
    let listed = offered(&world, &pc);
    assert_eq!((&listed["kind"], &listed["postpones_left"]), (&"install".into(), &1.into()), "{listed}");
    user(&world, &pc, &["reject", "editor"]).fails(4, &["is not an offer", "packhorse postpone"]);
    let text = user(&world, &pc, &["postpone", "editor", "--until", &world.soon(14)]).ok();
    assert!(text.contains("not to be put off any more"), "{text}");
    user(&world, &pc, &["postpone", "editor"]).fails(4, &["it was put off 1 times"]);
    let held = world.line_until(&job, "pc1", 20, "delivered");
    assert_eq!(held["reason"]["code"], "postponed", "{held}");
    assert!(!is_there(&pc));
    world.done(&job, 40);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
}

#[test]
fn what_is_for_the_systems_stop_waits_until_root_says_so() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    let source = world.source("editor", "1.0").file("text", "text").recipe("timing = \"stop\"\n");
    world.add(&source);
    let started = world.source("viewer", "1.0").file("text", "text").recipe("timing = \"start\"\n");
    world.add(&started);
    let job = world.install("editor", &["pc1"], &[]);
    let start = world.install("viewer", &["pc1"], &[]);
    for (job, code) in [(&job, "system_stop"), (&start, "system_start")] {
        world.job_until(job, 30, code, |job| {
            line(job, "pc1")
                .is_some_and(|line| line["reason"]["code"] == code && line["state"] == "delivered")
        });
    }
    let text = user(&world, &pc, &["client", "stopping"]).ok();
    assert_eq!(text, "1 package held for the stop of the system: done");
    assert!(is_there(&pc), "it is there when the command ends");
    world.done(&job, 20);
    // The agent's own restart is no start of the system.
    let mut pc = pc;
    pc.restart();
    world.line_until(&start, "pc1", 20, "delivered");
}

#[test]
fn each_machine_starts_when_its_own_clock_shows_the_time() {
    let world = World::new();
    let mut pcs =
        [world.joined_client("tokyo", &world.server.url()), world.joined_client("utc", &world.server.url())];
    for (pc, zone) in pcs.iter_mut().zip(["Asia/Tokyo", "UTC"]) {
        pc.environment.push(("TZ".into(), zone.into()));
        pc.start();
    }
    world.online(&["tokyo", "utc"]);
    world.add(&world.source("editor", "1.0").file("text", "text"));
    // Typed by somebody in Tokyo.
    let typed = Command::new(binary::path())
        .args(["install", "editor", "--to", "tokyo", "utc", "--at", &world.soon(8), "--host-time"])
        .env("TZ", "Asia/Tokyo")
        .env("PACKHORSE_CONTEXT", world.server.data.join("admin.toml"))
        .output()
        .expect("the program starts");
    let job = String::from_utf8_lossy(&typed.stdout).trim().to_owned();
    assert!(typed.status.success(), "{typed:?}");
    world.line_until(&job, "tokyo", 40, "done");
    let waits = line(&world.job(&job), "utc").expect("a line").clone();
    assert_eq!(
        (&waits["state"], &waits["reason"]["code"]),
        (&"waiting".into(), &"scheduled".into()),
        "{waits}"
    );
}

#[test]
fn bad_decisions_and_bad_offers_are_refused_with_a_hint() {
    let world = World::new();
    let pc = world.client("pc1", &world.server.url());
    world.add(&world.source("editor", "1.0").file("text", "text"));
    for (args, code, says) in [
        (&["offer", "editor"][..], 2, "--to"),
        (&["offer", "nothing", "--to", "pc1"], 4, "nothing"),
        (&["offer", "editor", "--to", "pc9"], 4, "pc9"),
        (&["offer", "editor", "--to", "pc1", "--until", "yesterday"], 2, "is not a time"),
        (
            &["offer", "editor", "--to", "pc1", "--required-from", "+2h", "--until", "+1h"],
            2,
            "not before --until",
        ),
        (&["offer", "editor", "--to", "pc1", "--at", "+2h", "--required-from", "+1h"], 2, "not after --at"),
        (
            &["offer", "editor", "--to", "pc1", "--choosers", "everybody"],
            4,
            "--choosers active, any, or group:NAME",
        ),
        (&["offer", "editor", "--to", "pc1", "--choosers", "group:a b"], 4, "is not known"),
        (&["offer", "editor", "--to", "pc1", "--keep", "forever"], 4, "keep"),
        (&["install", "editor", "--to", "pc1", "--postpone", "9999"], 4, "at most 1000"),
        (&["install", "editor", "--to", "pc1", "--host-time"], 2, "--at"),
        (&["job", "list", "--type", "gift"], 2, "gift"),
    ] {
        let ran = world.cli.run(args);
        ran.fails(code, &[says]);
    }
    assert_eq!(world.cli.json(&["job", "list"]), serde_json::json!([]), "nothing half made");
    for (args, code, says) in [
        (&["choose"][..], 2, "PACKAGE"),
        (&["choose", "editor"], 4, "nothing called editor is offered here"),
        (&["choose", "editor", "--at", "soon"], 2, "is not a time"),
        (&["choose", "editor", "--withdraw"], 2, "unexpected argument"),
        (&["reject", "editor", "--job", "3"], 4, "nothing called editor"),
        (&["withdraw", "editor"], 4, "packhorse offers"),
        (&["postpone", "editor", "--until", "2001-01-01 00:00"], 2, "in the past"),
    ] {
        user(&world, &pc, args).fails(code, &[says]);
    }
    // Where there is no agent.
    let nowhere = ["offers", "--data", "nowhere"];
    world.cli.run(&nowhere).fails(3, &["no agent answers", "packhorse job list --type offer"]);
    // Several of one name: which?
    world.add(&world.source("editor", "2.0").file("text", "two"));
    offer(&world, &["pc1"], &[]);
    world.cli.ok(&["offer", "editor@1.0", "main/editor@2.0", "--to", "pc1"]);
    wait::until("all are offered", 20, || (offers(&world, &pc).len() == 2).then_some(()));
    user(&world, &pc, &["choose", "editor"]).fails(2, &["which editor?", "(job 2)", "--job JOB"]);
    user(&world, &pc, &["reject", "editor@1.0"]).ok();
    let list = world.cli.json(&["job", "list", "--type", "offer"]);
    assert_eq!(
        (array(&list).len(), array(&world.cli.json(&["job", "list", "--type", "install"])).len()),
        (2, 0)
    );
}
