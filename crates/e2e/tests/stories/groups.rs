//! Groups: from a file, by condition, in one another; and who comes later.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use packhorse_e2e::system::System;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, line};
use serde_json::{Value, json};

/// Facts that the machine's administrator adds; told at the agent's next look, at the latest at its next start.
fn says(client: &System, facts: &str) {
    let file = client.data.join("facts.conf");
    fs::write(&file, facts).expect("own facts");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("for the agent alone");
}

fn members(world: &World, group: &str) -> Vec<String> {
    let shown = world.cli.json(&["group", "show", group]);
    let members = shown["members"].as_array().expect("members");
    members.iter().map(|member| member["host"].as_str().expect("a name").to_owned()).collect()
}

fn hosts(job: &Value) -> Vec<&str> {
    let lines = job["instructions"].as_array().expect("lines");
    let mut hosts: Vec<&str> = lines.iter().filter_map(|line| line["host"].as_str()).collect();
    hosts.sort_unstable();
    hosts
}

#[test]
fn a_group_from_a_file_takes_in_who_is_added_later() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let clients = ["pc1", "pc2", "pc3"].map(|name| world.client(name, &osaka.url()));
    fs::write(world.folder().join("sales.csv"), "room,host\n1,pc1\n\"2, left\",pc2\n").expect("a file");
    let said = world.cli.run(&["group", "import", "sales", "sales.csv"]);
    said.ok();
    assert!(said.stderr.contains("sales: 2 put in"), "{}", said.stderr);
    assert_eq!(members(&world, "sales"), ["pc1", "pc2"]);
    let source = world.source("editor", "1.0").noise("lib/data", 300_000, 1);
    world.add(&source);
    let plan = world.cli.ok(&["install", "editor", "--to", "group:sales", "--plan"]);
    assert!(plan.contains("group:sales") && plan.contains("2 hosts"), "{plan}");
    let job = world.install("editor", &["group:sales"], &[]);
    assert_eq!(hosts(&world.done(&job, 40)), ["pc1", "pc2"]);
    assert!(!is_installed(source.path(), &clients[2].at("/opt/editor")));
    // Put in while the job is open; and by another group.
    world.cli.ok(&["group", "new", "trainees", "pc3"]);
    world.cli.ok(&["group", "add", "sales", "group:trainees"]);
    world.line_until(&job, "pc3", 40, "done");
    assert!(is_installed(source.path(), &clients[2].at("/opt/editor")));
    let shown = world.cli.json(&["group", "show", "sales"]);
    let why = json!([
        { "host": "pc1", "why": "put in" },
        { "host": "pc2", "why": "put in" },
        { "host": "pc3", "why": "by group:trainees" },
    ]);
    assert_eq!(shown["members"], why);
    assert_eq!(world.cli.json(&["host", "show", "pc3"])["groups"], json!(["sales", "trainees"]));
    // Closed: whoever comes now is not taken in.
    world.cli.ok(&["job", "close", &job]);
    let late = world.client("pc4", &osaka.url());
    world.cli.ok(&["group", "add", "sales", "pc4"]);
    assert!(late.sync().code == 0);
    assert_eq!(hosts(&world.job(&job)), ["pc1", "pc2", "pc3"]);
}

#[test]
fn a_condition_names_who_says_so_of_itself() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let mut below = world.joined_client("below", &osaka.url());
    let mut beside = world.joined_client("beside", &world.server.url());
    let mut other = world.joined_client("other", &osaka.url());
    says(&below, "floor = 3\n");
    says(&beside, "floor = 3\n");
    says(&other, "floor = 4\n");
    for client in [&mut below, &mut beside, &mut other] {
        client.start();
    }
    let condition = "os = linux and disk_free > 1MB and floor = 3 and below osaka";
    let made = world.cli.run(&["group", "new", "third", "--where", condition]);
    assert_eq!(made.ok(), "third");
    wait::until("what they say is known", 20, || (members(&world, "third") == ["below"]).then_some(()));
    let said = world.cli.json(&["host", "show", "below"]);
    assert_eq!((&said["facts"]["floor"], &said["facts"]["os"]), (&json!("3"), &json!("linux")));
    let shown = world.cli.ok(&["group", "show", "third"]);
    assert!(shown.contains(condition) && shown.contains("floor 3"), "{shown}");

    let source = world.source("editor", "1.0").noise("lib/data", 300_000, 1);
    world.add(&source);
    let job = world.install("editor", &["group:third"], &[]);
    assert_eq!(hosts(&world.done(&job, 40)), ["below"]);
    assert!(is_installed(source.path(), &below.at("/opt/editor")));
    // Another one moves to the third floor.
    says(&other, "floor = 3\n");
    other.restart();
    world.line_until(&job, "other", 40, "done");
    assert!(is_installed(source.path(), &other.at("/opt/editor")));
    assert!(!is_installed(source.path(), &beside.at("/opt/editor")));
}

#[test]
fn a_site_that_is_cut_off_takes_in_who_comes_and_a_fixed_group_waits() {
    let world = World::new();
    let above = world.proxy(world.server.port);
    let osaka = world.relay("osaka", &above.url());
    let first = world.client("first", &osaka.url());
    let mut late = world.joined_client("late", &osaka.url());
    let member = world.client("member", &osaka.url());
    world.cli.ok(&["group", "new", "third", "--where", "floor = 3"]);
    world.cli.ok(&["group", "new", "sales"]);
    let (editor, viewer) = (
        world.source("editor", "1.0").noise("lib/data", 2_000_000, 1),
        world.source("viewer", "1.0").noise("lib/data", 300_000, 2),
    );
    world.add(&editor);
    world.add(&viewer);
    // The relay has the package, by another job; of the job to the group it has no line yet.
    world.done(&world.install("editor", &["first"], &[]), 40);
    let job = world.install("editor", &["group:third"], &["--allow-downgrade"]);
    let sale = world.install("viewer", &["group:sales"], &[]);
    assert_eq!(hosts(&world.job(&job)), [] as [&str; 0]);
    assert_eq!(first.sync().code, 0);
    wait::until("the relay has what was ordered", 20, || {
        (world.cli.json(&["host", "list"])[0]["online"] == true).then_some(())
    });
    wait::until("the job has reached the relay", 20, || knows_jobs(&osaka, 3).then_some(()));

    above.refuse();
    world.offline(&["osaka"]);
    let before = above.down_bytes();
    says(&late, "floor = 3\n");
    late.start();
    wait::until("taken in at the site", 40, || {
        is_installed(editor.path(), &late.at("/opt/editor")).then_some(())
    });
    assert!(above.down_bytes() - before < 100_000, "nothing came over a line that is cut");
    // A member of a fixed group is one by the managing server's word only: it waits, and says for what.
    world.cli.ok(&["group", "add", "sales", "member"]);
    let waiting = world.job_until(&sale, 20, "a reason", |job| {
        line(job, "member").is_some_and(|line| line["reason"]["code"] == "relay_off")
    });
    assert_eq!(waiting["state"], "running", "{waiting}");

    above.pass();
    world.line_until(&job, "late", 60, "done");
    world.line_until(&sale, "member", 60, "done");
    assert!(is_installed(viewer.path(), &member.at("/opt/viewer")));
}

/// Whether a relay has stored that many jobs.
fn knows_jobs(relay: &System, count: i64) -> bool {
    let context = relay.data.join("admin.toml");
    let cli = packhorse_e2e::cli::Cli::new(&relay.data, Some(&context));
    let ran = cli.run(&["job", "list", "--json"]);
    let jobs: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    jobs.as_array().is_some_and(|jobs| jobs.len() as i64 >= count)
}

#[test]
fn whatever_makes_no_sense_is_refused_with_a_reason() {
    let world = World::new();
    let pc = world.joined_client("pc1", &world.server.url());
    assert_eq!(pc.name, "pc1");
    world.cli.ok(&["group", "new", "sales", "pc1"]);
    world.cli.ok(&["group", "new", "big", "--where", "disk_free > 20 GB"]);
    fs::write(world.folder().join("bad.csv"), "name,room\npc1,1\npc7\n").expect("a file");
    fs::write(world.folder().join("strangers.csv"), "name\npc1\npc7\n").expect("a file");
    let run = |line: &str| world.cli.run(&line.split(' ').collect::<Vec<_>>());
    for (line, code, says) in [
        ("group new sales", 4, "there is a group sales already"),
        ("group new a/b", 4, "a name is made of"),
        ("group new x pc7 pc8", 4, "there is no pc7, pc8"),
        ("group new x group:none", 4, "there is no group none"),
        ("group new x --where os", 4, "column 3: expected a comparison or 'in' after 'os'"),
        ("group new x --where below=1", 4, "column 6: expected a relay's name after 'below'"),
        ("group new x pc1 --where os=linux", 2, "cannot be used with"),
        ("group add sales", 2, "required"),
        ("group add none pc1", 4, "there is no group none"),
        ("group add big pc1", 4, "follows from its condition"),
        ("group add sales group:sales", 4, "it would be in itself"),
        ("group leave sales pc7", 4, "there is no pc7"),
        ("group import sales bad.csv", 4, "line 3: 1 columns, the heading has 2"),
        ("group import sales strangers.csv", 4, "pc7 (line 3)"),
        ("group import sales nowhere.csv", 1, "nowhere.csv"),
        ("group show none", 4, "there is no group none"),
        ("group remove none", 4, "there is no group none"),
        ("install editor --to group:none", 4, "there is no"),
    ] {
        run(line).fails(code, &[says]);
    }
    // Nothing of it was half made.
    let list = world.cli.ok(&["group", "list", "--csv"]);
    assert_eq!(list, "name,kind,hosts,groups,where\nbig,condition,0,,disk_free > 20GB\nsales,fixed,1,,");
    let leave = run("group leave sales pc1");
    leave.ok();
    assert!(leave.stderr.contains("1 taken out"), "{}", leave.stderr);
    run("group remove sales").ok();
    run("group remove big").ok();
    assert_eq!(world.cli.json(&["group", "list"]), json!([]));
}
