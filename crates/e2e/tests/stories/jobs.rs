//! When a job starts and ends, and what it does not do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use packhorse_e2e::system::System;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, line};

/// A server, one client, and version 1.0 of the editor.
struct Place {
    world: World,
    pc: System,
}

impl Place {
    fn new() -> Place {
        let world = World::new();
        let pc = world.client("pc1", &world.server.url());
        let place = Place { world, pc };
        place.add("1.0");
        place
    }

    fn add(&self, version: &str) {
        let source = self.world.source("editor", version).file("version", version).noise("data", 200_000, 1);
        self.world.add(&source);
    }

    fn version(&self) -> Option<String> {
        fs::read_to_string(self.pc.at("/opt/editor/version")).ok()
    }
}

#[test]
fn not_before_its_time() {
    let place = Place::new();
    let due = SystemTime::now() + Duration::from_secs(place.world.stretched(4));
    let job = place.world.install("editor", &["pc1"], &["--at", &place.world.soon(4)]);
    let waiting = place.world.job_until(&job, 3, "a reason", |job| {
        line(job, "pc1").is_some_and(|line| line["reason"]["code"] == "scheduled")
    });
    assert_eq!(waiting["state"], "scheduled", "{waiting}");
    place.world.done(&job, 30);
    let made = fs::metadata(place.pc.at("/opt/editor/version")).expect("installed").ctime();
    let due = due.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    // The command was run after `due` was taken down.
    assert!(made >= due as i64, "installed at {made}, due at {due}");
}

#[test]
fn what_has_not_begun_by_its_end_is_missed_with_its_reason() {
    let mut place = Place::new();
    place.pc.kill();
    place.world.offline(&["pc1"]);
    let job = place.world.install("editor", &["pc1"], &["--until", &place.world.soon(3)]);
    let line = place.world.line_until(&job, "pc1", 20, "missed");
    let text = line["result"]["text"].as_str().unwrap_or_default();
    assert!(!text.is_empty(), "a missed line says why: {line}");
    let watch = place.world.cli.run(&["job", "watch", &job]);
    assert_eq!(watch.code, 1, "not all ended well: {}", watch.stderr);
    // Back too late, it does not begin any more.
    place.pc.start();
    place.world.online(&["pc1"]);
    place.pc.sync().ok();
    wait::always("nothing is installed", 2, || place.version().is_none());
    place.world.line_until(&job, "pc1", 5, "missed");
}

#[test]
fn cancelled_before_its_start() {
    let mut place = Place::new();
    let job = place.world.install("editor", &["pc1"], &["--at", &place.world.soon(5)]);
    place.pc.sync().ok();
    place.pc.kill();
    place.world.cli.ok(&["job", "cancel", &job]);
    place.world.line_until(&job, "pc1", 10, "cancelled");
    // It knew the job when it went off; the cancel reaches it when it is back.
    place.pc.start();
    place.world.online(&["pc1"]);
    wait::always("nothing is installed", place.world.stretched(5) + 1, || place.version().is_none());
    let ended = place.world.job(&job);
    assert_eq!((&ended["state"], &ended["counts"]["cancelled"]), (&"ended".into(), &1.into()), "{ended}");
}

#[test]
fn what_failed_is_tried_again() {
    let place = Place::new();
    let source =
        place.world.source("tool", "1.0").file("a", "a").recipe("\n[check]\nfile = \"/var/licence\"\n");
    place.world.add(&source);
    let job = place.world.install("tool", &["pc1"], &[]);
    let failed = place.world.line_until(&job, "pc1", 30, "failed");
    assert_eq!(failed["result"]["step"], "check", "{failed}");
    assert_eq!(failed["attempt"], 1);
    let explained = place.world.cli.ok(&["explain", &job]);
    assert!(explained.contains("retry"), "explain says what to do: {explained}");
    fs::create_dir_all(place.pc.at("/var")).expect("a folder");
    fs::write(place.pc.at("/var/licence"), "yours").expect("a file");
    place.world.cli.ok(&["job", "retry", &job, "--failed"]);
    // The files had been put in place; with the licence the check holds, and there is nothing left to install.
    let line = place.world.line_until(&job, "pc1", 30, "already_installed");
    assert_eq!(line["attempt"], 2, "{line}");
}

#[test]
fn never_backwards_and_not_twice() {
    let place = Place::new();
    let first = place.world.install("editor@1.0", &["pc1"], &[]);
    place.world.done(&first, 30);
    let again = place.world.install("editor@1.0", &["pc1"], &[]);
    place.world.line_until(&again, "pc1", 20, "already_installed");
    place.add("2.0");
    let second = place.world.install("editor", &["pc1"], &[]);
    place.world.done(&second, 30);
    assert_eq!(place.version().as_deref(), Some("2.0"));
    let down = place.world.install("editor@1.0", &["pc1"], &[]);
    let refused = place.world.job_until(&down, 20, "ended", |job| job["state"] == "ended");
    let line = line(&refused, "pc1").expect("its line");
    assert_ne!(line["state"], "done", "{line}");
    assert!(line.to_string().contains("allow-downgrade"), "it says how it would be done: {line}");
    assert_eq!(place.version().as_deref(), Some("2.0"));
    let down = place.world.install("editor@1.0", &["pc1"], &["--allow-downgrade"]);
    place.world.done(&down, 30);
    assert_eq!(place.version().as_deref(), Some("1.0"));
}

#[test]
fn a_newer_job_supersedes_what_has_not_begun() {
    let mut place = Place::new();
    place.add("2.0");
    place.pc.kill();
    let older = place.world.install("editor@1.0", &["pc1"], &[]);
    let newer = place.world.install("editor@2.0", &["pc1"], &[]);
    place.pc.start();
    place.world.line_until(&newer, "pc1", 30, "done");
    place.world.line_until(&older, "pc1", 20, "superseded");
    assert_eq!(place.version().as_deref(), Some("2.0"));
    let watch = place.world.cli.run(&["job", "watch", &older]);
    assert_eq!(watch.code, 0, "superseded is well ended: {}", watch.stderr);
}

#[test]
fn what_is_named_can_be_asked() {
    let place = Place::new();
    let plan = place.world.cli.ok(&["install", "editor", "--to", "all", "--plan"]);
    assert!(plan.contains("main/editor@1.0:1") && plan.contains("1 in"), "{plan}");
    assert_eq!(place.world.cli.json(&["job", "list"]).as_array().map(Vec::len), Some(0), "a plan is no job");
    let job = place.world.install("editor", &["pc1"], &[]);
    place.world.cli.ok(&["job", "watch", &job]);
    let shown = place.world.job(&job);
    assert_eq!((&shown["id"], &shown["type"]), (&format!("server/{job}").into(), &"install".into()));
    let by_address = place.world.job(&format!("server/{job}"));
    assert_eq!(by_address["id"], shown["id"]);
    for explain in [vec!["explain", &job], vec!["explain", &job, "pc1"], vec!["explain", "--host", "pc1"]] {
        assert!(!place.world.cli.ok(&explain).is_empty(), "{explain:?}");
    }
    let status = place.pc.status().expect("the agent answers");
    assert_eq!(status["name"], "pc1");
    assert_eq!(status["installed"][0], "main/editor@1.0:1", "{status}");
    let packages = place.world.cli.json(&["package", "list"]);
    assert_eq!(packages[0]["keep"], "90d", "{packages}");
    let remove = place.world.cli.run(&["package", "remove", "editor@9"]);
    remove.fails(4, &["editor"]);
}
