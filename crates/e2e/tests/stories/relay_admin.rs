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
        (vec!["install", "editor", "--to", "pc1"], ["install: osaka's administrator may not", grant]),
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

/// A site with a nested one, and a client beside it.
struct Site {
    admin: Cli,
    osaka: System,
    pc1: System,
    pc2: System,
    pc3: System,
    pc9: System,
    _namba: System,
    world: World,
}

impl Site {
    fn new() -> Site {
        let world = World::new();
        let osaka = world.relay("osaka", &world.server.url());
        let namba = world.relay("namba", &osaka.url());
        let [pc1, pc2] = ["pc1", "pc2"].map(|name| world.client(name, &osaka.url()));
        let pc3 = world.client("pc3", &namba.url());
        let pc9 = world.client("pc9", &world.server.url());
        world.cli.ok(&["key", "new", "--out", "site.key"]);
        let admin = admin_of(&world, &osaka);
        Site { admin, osaka, pc1, pc2, pc3, pc9, _namba: namba, world }
    }

    fn grant(&self) -> String {
        let grant =
            ["relay", "grant", "osaka", "--install", "--offer", "--cabinet", "own", "--key", "site.pub"];
        let ran = self.world.cli.run(&grant);
        ran.ok();
        ran.stderr
    }

    fn add_own(&self, name: &str, seed: u64) -> packhorse_e2e::source::Source {
        let source = self.world.source(name, "1.0").noise("data", 300_000, seed);
        let path = source.path().display().to_string();
        let label = self.admin.ok(&["package", "add", &path, "--key", "site.key", "--cabinet", "own"]);
        assert_eq!(label, format!("own/{name}@1.0:1"));
        source
    }

    fn ended(&self, cli: &Cli, job: &str, lines: usize) -> serde_json::Value {
        wait::until_ok(&format!("job {job} is done"), 60, || {
            // The managing server hears of a relay's job by a report: a moment after the relay's own hosts.
            let asked = cli.run(&["job", "show", job, "--json"]);
            if asked.stderr.contains("unknown_job") {
                return Err(asked.stderr);
            }
            let shown: serde_json::Value = serde_json::from_str(&asked.ok()).expect("JSON");
            let done = array(&shown["instructions"]).iter().filter(|line| line["state"] == "done").count();
            if shown["state"] == "ended" && done == lines { Ok(shown) } else { Err(shown.to_string()) }
        })
    }
}

#[test]
fn what_was_delegated_is_done_below_the_relay_and_seen_above() {
    let site = Site::new();
    let (world, admin) = (&site.world, &site.admin);
    world.cli.run(&["relay", "grant", "osaka"]).fails(REFUSED, &["grant what?"]);
    world.cli.run(&["relay", "grant", "nowhere", "--install"]).fails(REFUSED, &["no relay system nowhere"]);
    let main = ["relay", "grant", "osaka", "--cabinet", "main", "--key", "site.pub"];
    world.cli.run(&main).fails(REFUSED, &["cabinet main is the managing server's"]);
    assert!(site.grant().contains("install, offer, cabinet own"));
    for cli in [&world.cli, admin] {
        let granted = &cli.json(&["relay", "show", "osaka"])["granted"];
        assert_eq!(
            (&granted["install"], &granted["acknowledged"]),
            (&true.into(), &true.into()),
            "{granted}"
        );
    }

    // Packages in its own cabinets, by its own packagers.
    let before = site.world.relay_view("osaka")["received_bytes"].clone();
    let tool = site.add_own("tool", 1);
    let path = tool.path().display().to_string();
    let add = |key: &str, cabinet: &str, says: &str| {
        let args = ["package", "add", &path, "--key", key, "--cabinet", cabinet];
        admin.run(&args).fails(REFUSED, &[says]);
    };
    add("site.key", "main", "cabinet main is not one of osaka's own");
    add("site.key", "other", "cabinet other is not one of osaka's own");
    add("packager.key", "own", "trusts none of the keys");
    let taken = world.cli.run(&["cabinet", "new", "own"]);
    taken.fails(REFUSED, &["osaka has a cabinet own of its own"]);

    // Everybody below gets it, and nobody else; the managing server sees it as the relay's.
    let job = admin.ok(&["install", "own/tool", "--to", "all"]);
    assert_eq!(job, "1");
    site.ended(admin, &job, 3);
    let above = site.ended(&world.cli, "osaka/1", 3);
    assert_eq!((&above["id"], &above["to"][0]), (&"osaka/1".into(), &"all".into()), "{above}");
    for client in [&site.pc1, &site.pc2, &site.pc3] {
        assert!(is_installed(tool.path(), &client.at("/opt/tool")), "{}", client.name);
    }
    assert!(!site.pc9.at("/opt/tool").exists());
    assert_eq!(site.world.relay_view("osaka")["received_bytes"], before, "not one byte came from above");
    let listed = world.cli.json(&["job", "list"]);
    assert!(array(&listed).iter().any(|job| job["id"] == "osaka/1"), "{listed}");
    world.cli.run(&["job", "cancel", "osaka/1"]).fails(REFUSED, &["made at osaka", "relay revoke osaka"]);

    // A package that came from above, to a host that it was not sent to.
    let editor = world.source("editor", "1.0").noise("data", 300_000, 2);
    world.add(&editor);
    world.done(&world.install("editor", &["pc1"], &[]), 60);
    wait::until_ok("the relay knows it", 20, || {
        let known = admin.json(&["package", "list"]);
        if names(&known).contains(&"editor".to_owned()) { Ok(()) } else { Err(known.to_string()) }
    });
    let job = admin.ok(&["install", "main/editor", "--to", "pc2"]);
    site.ended(admin, &job, 1);
    assert!(is_installed(editor.path(), &site.pc2.at("/opt/editor")));

    // No transfer, and nobody who is not below it.
    let access = packhorse_e2e::access::Access::new(world.runtime(), &site.osaka.data.join("admin.toml"));
    let transfer = serde_json::json!({
        "job_type": "transfer", "packages": ["own/tool"], "to": ["namba"], "at": null, "until": null,
        "allow_downgrade": false,
    });
    for path in ["/admin/v1/jobs", "/admin/v1/plan"] {
        let refused = access.request(hyper::Method::POST, path, transfer.to_string());
        let Err(packhorse_wire::net::LinkError::Refused { status, refusal, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((status, refusal.code.as_str()), (403, "no_transfer_at_a_relay"), "{refusal}");
    }
    admin.run(&["install", "own/tool", "--to", "pc9"]).fails(REFUSED, &["no pc9 below osaka"]);
    // It keeps and drops what is its own; what a higher system promised it does not take back.
    let promised = "a higher system promised to keep main/editor@1.0:1";
    admin
        .run(&["relay", "keep", "osaka", "main/editor", "--keep", "1d"])
        .fails(REFUSED, &["relay keep", promised]);
    admin.run(&["relay", "drop", "osaka", "main/editor"]).fails(REFUSED, &["relay drop", promised]);
    admin.ok(&["relay", "keep", "osaka", "own/tool", "--keep", "30d"]);
    admin.ok(&["relay", "drop", "osaka", "own/tool"]);
    wait::until_ok("the copy goes", 20, || {
        let known = admin.json(&["package", "list"]);
        if names(&known) == ["editor"] { Ok(()) } else { Err(known.to_string()) }
    });
    // Retried, cancelled and removed are its own only.
    admin.run(&["job", "cancel", "server/1"]).fails(REFUSED, &["was made at server"]);
    admin.run(&["package", "remove", "main/editor"]).fails(REFUSED, &["not one of osaka's own"]);
}

#[test]
fn a_revoked_relay_stops_and_a_later_grant_goes_on() {
    let mut site = Site::new();
    site.grant();
    let tool = site.add_own("tool", 1);
    let job = site.admin.ok(&["install", "own/tool", "--to", "pc1", "pc3", "--at", "+2h"]);
    let above = format!("osaka/{job}");
    wait::until_ok("the server knows the job", 20, || {
        let ran = site.world.cli.run(&["job", "show", &above, "--json"]);
        if ran.code == 0 { Ok(()) } else { Err(ran.stderr) }
    });
    // A host that is off hears of it when it is back.
    site.pc3.end();
    let ran = site.world.cli.run(&["relay", "revoke", "osaka"]);
    ran.ok();
    assert!(ran.stderr.contains("revoked"), "{}", ran.stderr);
    for (cli, job) in [(&site.world.cli, &above), (&site.admin, &job)] {
        wait::until_ok("it has stopped", 20, || {
            let shown = cli.json(&["job", "show", job]);
            let stopped = |line: &serde_json::Value| {
                let text = line["result"]["text"].as_str().unwrap_or_default();
                line["state"] == "cancelled" && text == "the delegation of osaka was revoked"
            };
            let all = array(&shown["instructions"]).iter().all(stopped);
            if all && shown["state"] == "ended" { Ok(()) } else { Err(shown.to_string()) }
        });
    }
    site.admin.run(&["install", "own/tool", "--to", "pc1"]).fails(REFUSED, &["its delegation was revoked"]);
    site.admin.run(&["job", "retry", &job]).fails(REFUSED, &["job retry", "its delegation was revoked"]);
    assert_eq!(names(&site.admin.json(&["package", "list"])), ["tool"], "looking goes on");
    site.pc3.start();
    wait::until("the host ends it, too", 20, || {
        let status = site.pc3.status()?;
        array(&status["lines"]).is_empty().then_some(())
    });
    // Granted again: a new job, under a number that was not used. The relay was killed meanwhile.
    site.osaka.restart();
    site.grant();
    let next = wait::until_ok("the relay answers", 20, || {
        let ran = site.admin.run(&["install", "own/tool", "--to", "pc1", "pc3"]);
        if ran.code == 0 { Ok(ran.stdout.trim().to_owned()) } else { Err(ran.stderr) }
    });
    assert_eq!(next, "2");
    site.ended(&site.admin, &next, 2);
    site.ended(&site.world.cli, "osaka/2", 2);
    assert!(is_installed(tool.path(), &site.pc3.at("/opt/tool")));
}

/// Waits until all lines of a job have ended as cancelled with this text, wherever it is asked.
fn stopped(cli: &Cli, job: &str, says: &str) {
    wait::until_ok(&format!("{job} has stopped: {says}"), 30, || {
        let shown = cli.json(&["job", "show", job]);
        let line = |line: &serde_json::Value| {
            line["state"] == "cancelled" && line["result"]["text"].as_str() == Some(says)
        };
        let all = array(&shown["instructions"]).iter().all(line);
        if all && shown["state"] == "ended" { Ok(()) } else { Err(shown.to_string()) }
    });
}

#[test]
fn what_a_narrower_grant_does_not_cover_stops_and_can_still_be_cancelled() {
    let mut site = Site::new();
    site.grant();
    site.add_own("tool", 1);
    for (name, seed) in [("editor", 2), ("viewer", 3)] {
        site.world.add(&site.world.source(name, "1.0").noise("data", 300_000, seed));
        site.world.done(&site.world.install(name, &["pc2"], &[]), 60);
    }
    wait::until_ok("the relay knows them", 20, || {
        let known = names(&site.admin.json(&["package", "list"]));
        let both = ["editor", "viewer"].iter().all(|name| known.iter().any(|other| other == name));
        if both { Ok(()) } else { Err(format!("{known:?}")) }
    });
    let own = site.admin.ok(&["install", "own/tool", "--to", "pc1", "pc3", "--at", "+2h"]);
    let offer = site.admin.ok(&["offer", "main/viewer", "--to", "all"]);
    let servers = site.admin.ok(&["install", "main/editor", "--to", "pc1", "pc3", "--at", "+2h"]);
    let above = |job: &str| format!("osaka/{job}");
    wait::until_ok("everybody knows the jobs", 30, || {
        let ran = site.world.cli.run(&["job", "show", &above(&servers), "--json"]);
        let known = site.pc3.status().is_some_and(|status| array(&status["lines"]).len() >= 3);
        if ran.code == 0 && known { Ok(()) } else { Err(ran.stderr) }
    });
    // A host that is off hears of it when it is back.
    site.pc3.end();
    site.world.cli.ok(&["relay", "grant", "osaka", "--install"]);
    let no_cabinet = "cabinet own is not delegated to osaka any more";
    let no_offers = "jobs of type offer are not delegated to osaka any more";
    for (cli, name) in [(&site.world.cli, true), (&site.admin, false)] {
        let id = |job: &str| if name { above(job) } else { job.to_owned() };
        stopped(cli, &id(&own), no_cabinet);
        // Where it was installed already nothing was offered.
        let shown = cli.json(&["job", "show", &id(&offer)]);
        let open = array(&shown["instructions"]).iter().filter(|line| line["state"] == "cancelled").count();
        assert!(open >= 2 && shown["state"] == "ended", "{shown}");
        assert!(shown.to_string().contains(no_offers), "{shown}");
        let goes_on = cli.json(&["job", "show", &id(&servers)]);
        assert_eq!(goes_on["counts"]["cancelled"], serde_json::Value::Null, "{goes_on}");
    }
    site.admin
        .run(&["offer", "main/editor", "--to", "all"])
        .fails(REFUSED, &["offer: this is not delegated"]);
    site.admin.run(&["job", "retry", &own]).fails(REFUSED, &["cabinet own is not delegated to osaka"]);
    // Who made it stops it for good, and the hosts take that in; the one that was off, too.
    for job in [&own, &offer] {
        site.admin.ok(&["job", "cancel", job]);
    }
    site.pc3.start();
    wait::until_ok("pc3 has the one line left", 30, || {
        let Some(status) = site.pc3.status() else { return Err("it does not answer".into()) };
        if array(&status["lines"]).len() == 1 { Ok(()) } else { Err(status.to_string()) }
    });
    // A host that is moved away from the relay has nothing of it left to begin.
    site.world.cli.ok(&["host", "move", "pc1", "--to", "server"]);
    wait::until_ok("pc1's line has ended", 30, || {
        let shown = site.world.cli.json(&["job", "show", &above(&servers)]);
        let line = array(&shown["instructions"]).iter().find(|line| line["host"] == "pc1").cloned();
        let text = line.map(|line| format!("{} {}", line["state"], line["result"]["text"]));
        match text.as_deref() {
            Some(text) if text.contains("cancelled") && text.contains("not below osaka any more") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    wait::until("and is no more at the host", 30, || {
        site.pc1.status().filter(|status| array(&status["lines"]).is_empty()).map(drop)
    });
    for host in ["pc1", "pc3"] {
        let alarms = site.world.access().alarms_of(host, "bad_job");
        assert!(alarms.is_empty(), "{host}: {alarms:?}");
    }
}
