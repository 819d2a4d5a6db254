//! Hosts that are retired and removed.

use std::fs;

use packhorse_e2e::system::{Kind, System};
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, array, line};
use serde_json::{Value, json};

/// Waits until a client says that it was retired; answers what it says.
fn told(pc: &System, what: &str) -> String {
    wait::until_ok(&format!("{} says that it was {what}", pc.name), 30, || {
        let status = pc.status().ok_or("it does not answer")?;
        let trouble = status["trouble"].as_str().unwrap_or_default().to_owned();
        let says = trouble.contains(&format!("{} was {what} at the managing server", pc.name));
        if says && status["online"] == false { Ok(trouble) } else { Err(status.to_string()) }
    })
}

fn names(world: &World, options: &[&str]) -> Vec<String> {
    let args: Vec<&str> = ["host", "list"].iter().chain(options).copied().collect();
    let hosts = world.cli.json(&args);
    array(&hosts).iter().filter_map(|host| host["name"].as_str()).map(str::to_owned).collect()
}

/// Lets the machine call another relay with the certificate it has, as somebody might who copied it.
fn turn_to(pc: &System, relay: &System, id: &str) {
    let path = pc.data.join("identity.json");
    let mut identity: Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("a file")).expect("JSON");
    identity["higher"] = json!({"url": relay.url(), "role": "relay", "id": id, "name": relay.name});
    fs::write(&path, identity.to_string()).expect("it can be written");
}

#[test]
fn a_host_retired_while_it_was_off_is_refused_wherever_it_calls() {
    let world = World::new();
    let cable = world.proxy(world.server.port);
    let osaka = world.relay("osaka", &cable.url());
    let namba = world.relay("namba", &osaka.url());
    let sendai = world.relay("sendai", &world.server.url());
    let mut pc1 = world.client("pc1", &namba.url());
    let pc2 = world.client("pc2", &namba.url());
    let first = world.source("editor", "1.0").noise("lib/data", 300_000, 1);
    world.add(&first);
    world.done(&world.install("editor", &["below:osaka"], &[]), 60);
    pc1.kill();
    world.offline(&["pc1"]);
    let second = world.source("editor", "2.0").noise("lib/data", 300_000, 2);
    world.add(&second);
    let job = world.install("editor", &["pc1", "pc2"], &[]);
    world.line_until(&job, "pc2", 60, "done");
    // The relays below which it stands do not hear of it yet.
    cable.refuse();
    let left = world.cli.json(&["host", "retire", "pc1"]);
    assert_eq!(left, json!([{"host": "pc1", "lines": 1, "changed": true, "removed": false}]));
    // The job ends without it, and it stands in no list unless asked for.
    let ended = world.job_until(&job, 10, "ended", |job| job["state"] == "ended");
    let open = line(&ended, "pc1").expect("its line");
    assert_eq!(
        (&open["state"], &open["result"]["verdict"]),
        (&json!("cancelled"), &json!("retired")),
        "{open}"
    );
    let said = world.cli.ok(&["explain", &job]);
    assert!(said.starts_with("1 of 1 done · 1 retired, not counted"), "{said}");
    assert!(
        !names(&world, &[]).contains(&"pc1".to_owned())
            && names(&world, &["--all"]).contains(&"pc1".to_owned())
    );
    // The word comes down both relays when the line is back, to a host that namba let in meanwhile.
    pc1.start();
    wait::until("namba lets it in", 20, || pc1.status().filter(|status| status["online"] == true));
    cable.pass();
    let text = told(&pc1, "retired");
    assert!(text.contains("packhorse token new --replace pc1"), "{text}");
    wait::always("it is let in nowhere", 2, || pc1.status().is_some_and(|status| status["online"] == false));
    // It is said once, and remembered.
    assert_eq!(pc1.log_text().matches("nobody serves it").count(), 1, "{}", pc1.log_text());
    pc1.sync().fails(3, &["pc1 was retired"]);
    pc1.restart();
    told(&pc1, "retired");
    // Nor by a relay that it never called.
    pc1.kill();
    let sendai_id = world.cli.json(&["host", "show", "sendai"])["id"].as_str().expect("an id").to_owned();
    turn_to(&pc1, &sendai, &sendai_id);
    for file in ["client.db", "client.db-wal", "client.db-shm"] {
        let _ = fs::remove_file(pc1.data.join(file));
    }
    pc1.start();
    told(&pc1, "retired");
    // What it did stays, as one timeline, with who retired it.
    let shown = world.cli.json(&["host", "show", "pc1"]);
    let events: Vec<&str> =
        array(&shown["events"]).iter().filter_map(|event| event["event"].as_str()).collect();
    let at = |word: &str| events.iter().position(|event| *event == word).expect(word);
    assert!(at("joined") < at("done") && at("done") < at("retired"), "{events:?}");
    let by = array(&shown["events"]).iter().find(|event| event["event"] == "retired").expect("it was");
    assert!(by["by"].as_str().is_some_and(|by| !by.is_empty()), "{by}");
    assert!(pc2.status().is_some_and(|status| status["online"] == true));

    // A machine with a token that replaces it is the host again, and taken in like a newcomer.
    pc1.kill();
    fs::rename(&pc1.data, pc1.data.with_extension("old")).expect("the old folder is away");
    let all = world.install("editor", &["all"], &[]);
    let token = world.token(&["--replace", "pc1"]);
    world.join(Kind::Client, "pc1", &namba.url(), &token, &[]).ok();
    let mut back = System::new("pc1", Kind::Client, &world.folder().join("pc1"), &world.root_of("pc1"), 0);
    back.start();
    world.line_until(&all, "pc1", 60, "done");
    assert!(is_installed(second.path(), &back.at("/opt/editor")));
    assert_eq!(world.cli.json(&["host", "show", "pc1"])["retired"], Value::Null);
}

#[test]
fn a_host_retired_in_the_middle_gets_nothing_more_and_its_name_is_free_when_it_is_removed() {
    const BYTES: u64 = 24 << 20;
    let world = World::new();
    let mut osaka = world.joined_relay("osaka", &world.server.url(), &["--relay"]);
    osaka.environment.push(("PACKHORSE_SEND_BYTES_PER_SEC".to_owned(), "800000".to_owned()));
    osaka.start();
    world.online(&["osaka"]);
    let mut pc = world.client("pc1", &osaka.url());
    let small = world.source("tool", "1.0").noise("lib/data", 50_000, 1);
    world.add(&small);
    let first = world.install("tool", &["pc1"], &[]);
    world.done(&first, 60);
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 2);
    world.add(&source);
    let job = world.install("editor", &["pc1"], &[]);
    let sent = || world.relay_view("osaka")["sent_bytes"].as_u64().expect("a counter");
    wait::until("it is under way", 60, || (sent() > BYTES / 8).then_some(()));
    world.cli.run(&["host", "retire", "osaka"]).fails(4, &["pc1 would be below osaka with nobody to call"]);
    world.cli.ok(&["host", "retire", "pc1"]);
    told(&pc, "retired");
    world.job_until(&job, 10, "ended", |job| {
        job["state"] == "ended" && job["counts"] == json!({"cancelled": 1})
    });
    // The answer that ran has ended with it.
    let mut before = sent();
    wait::until("nothing is sent to it any more", 20, || {
        let now = sent();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    assert!(sent() < BYTES / 2, "{}", sent());
    assert!(!pc.at("/opt/editor").exists(), "nothing was installed");
    world.cli.run(&["install", "tool", "--to", "pc1"]).fails(4, &["pc1 was retired"]);

    // Removed: what it did stays as numbers, and another machine may have the name.
    world.cli.ok(&["host", "remove", "pc1"]);
    let kept = world.job(&first);
    assert_eq!((&kept["counts"], &kept["instructions"]), (&json!({"done": 1}), &json!([])), "{kept}");
    world.cli.run(&["host", "show", "pc1"]).fails(4, &["there is no host pc1"]);
    pc.restart();
    told(&pc, "retired");
    pc.kill();
    for folder in [&pc.data, &pc.root] {
        fs::rename(folder, folder.with_extension("old")).expect("the old folder is away");
    }
    let fresh = world.client("pc1", &osaka.url());
    let again = world.install("tool", &["pc1"], &[]);
    world.done(&again, 60);
    assert!(is_installed(small.path(), &fresh.at("/opt/tool")));
    let shown = world.cli.json(&["host", "show", "pc1"]);
    assert_eq!(array(&shown["instructions"]).len(), 1, "it inherits nothing: {shown}");
    // At a relay, for its administrator, both are refused by name.
    let context = osaka.data.join("admin.toml");
    wait::until("its administrator's access", 30, || context.exists().then_some(()));
    let at_osaka = packhorse_e2e::cli::Cli::new(world.folder(), Some(&context));
    for verb in ["retire", "remove"] {
        let says = format!("host {verb}: this is done at the managing server, not at relay osaka");
        at_osaka.run(&["host", verb, "pc1"]).fails(4, &[&says]);
    }
}
