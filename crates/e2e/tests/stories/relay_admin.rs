//! A relay's administrator: looks from the start, does what was delegated, and nothing else.

use packhorse_e2e::cli::Cli;
use packhorse_e2e::system::{System, mode};
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, array};

/// The exit code of a refusal.
const REFUSED: i32 = 4;

/// Commands of a relay's administrator.
fn admin_of(world: &World, relay: &System) -> Cli {
    Cli::new(world.folder(), Some(&relay.data.join("admin.toml")))
}

fn names(list: &serde_json::Value) -> Vec<String> {
    array(list).iter().filter_map(|item| item["name"].as_str()).map(str::to_owned).collect()
}

#[test]
fn looking_works_from_the_start_and_every_other_command_is_refused_by_name() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let admin = admin_of(&world, &osaka);
    assert_eq!(mode(&osaka.data.join("admin.toml")), 0o600);
    let pc1 = world.client("pc1", &osaka.url());
    let _pc9 = world.client("pc9", &world.server.url());
    let source = world.source("editor", "1.0").noise("data", 300_000, 1);
    world.add(&source);
    let job = world.install("editor", &["all"], &[]);
    world.done(&job, 60);
    assert!(is_installed(source.path(), &pc1.at("/opt/editor")));

    // It sees what is below it, the jobs that pass, the packages it keeps.
    assert_eq!(names(&admin.json(&["host", "list"])), ["osaka", "pc1"]);
    let tree = admin.json(&["host", "tree"]);
    assert_eq!((&tree["name"], &tree["role"]), (&"osaka".into(), &"relay".into()), "{tree}");
    assert_eq!(names(&tree["lower"]), ["pc1"]);
    let passed = format!("server/{job}");
    let shown = wait::until_ok("the job's end is known at the relay", 20, || {
        let shown = admin.json(&["job", "show", &passed]);
        if shown["state"] == "ended" { Ok(shown) } else { Err(shown.to_string()) }
    });
    assert_eq!(shown["id"], passed.as_str());
    assert_eq!(array(&shown["instructions"]).len(), 1, "{shown}");
    assert_eq!(shown["instructions"][0]["host"], "pc1");
    assert!(admin.ok(&["explain", &passed, "pc1"]).contains("pc1"));
    assert_eq!(names(&admin.json(&["package", "list"])), ["editor"]);
    let relay = admin.json(&["relay", "show", "osaka"]);
    assert_eq!(relay["packages"][0]["package"], "main/editor@1.0:1", "{relay}");
    assert!(admin.ok(&["install", "editor", "--to", "pc1", "--plan"]).contains("1 have it already"));
    // A bare number is a job of the system that is asked.
    admin.run(&["job", "show", &job]).fails(REFUSED, &["there is no job osaka/1"]);

    // Everything else is refused, by name and with the reason.
    let grant = "packhorse relay grant osaka";
    for (command, says) in [
        (vec!["install", "editor", "--to", "pc1"], ["job new", grant]),
        (vec!["job", "cancel", &passed], ["job cancel", grant]),
        (vec!["job", "retry", &passed], ["job retry", grant]),
        (vec!["package", "remove", "editor"], ["package remove", grant]),
        (vec!["cabinet", "new", "own"], ["cabinet new", "at the managing server"]),
        (vec!["token", "new"], ["token new", "at the managing server"]),
        (vec!["token", "list"], ["token list", "at the managing server"]),
    ] {
        admin.run(&command).fails(REFUSED, &says);
    }
    // It is the access to this relay only; and the managing server's is one to look here.
    let file = std::fs::read_to_string(osaka.data.join("admin.toml")).expect("the access file");
    let server = packhorse_e2e::access::read(&world.server.data.join("admin.toml"));
    let own = packhorse_e2e::access::read(&osaka.data.join("admin.toml"));
    let turned = file.replace(&own.url, &server.url).replace(&own.system_id, &server.system_id);
    std::fs::write(world.folder().join("turned.toml"), turned).expect("a file");
    let turned = Cli::new(world.folder(), Some(&world.folder().join("turned.toml")));
    turned.run(&["host", "list"]).fails(REFUSED, &["access of osaka's administrator"]);
    let text = std::fs::read_to_string(world.server.data.join("admin.toml")).expect("the access file");
    let turned = text.replace(&server.url, &own.url).replace(&server.system_id, &own.system_id);
    std::fs::write(world.folder().join("above.toml"), turned).expect("a file");
    let above = Cli::new(world.folder(), Some(&world.folder().join("above.toml")));
    assert_eq!(names(&above.json(&["host", "list"])), ["osaka", "pc1"]);
    above.run(&["job", "cancel", &passed]).fails(REFUSED, &["job cancel", "look"]);
}

#[test]
fn a_relay_of_the_version_before_writes_its_access_when_it_runs() {
    let world = World::new();
    let mut osaka = world.joined_relay("osaka", &world.server.url(), &["--relay"]);
    for file in ["admin.toml", "job.key"] {
        std::fs::remove_file(osaka.data.join(file)).expect("it was there");
    }
    osaka.start();
    world.online(&["osaka"]);
    let path = osaka.data.join("admin.toml");
    wait::until("the access file is there", 20, || path.exists().then_some(()));
    assert_eq!(names(&admin_of(&world, &osaka).json(&["host", "list"])), ["osaka"]);
    // One below it gets its own through it.
    let namba = world.relay("namba", &osaka.url());
    assert_eq!(names(&admin_of(&world, &namba).json(&["host", "list"])), ["namba"]);
}
