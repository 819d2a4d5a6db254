//! Packages that are brought to relay systems and wait there.

use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::{World, array, is_empty_or_missing, line};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// What the control connections may say beside payload, in bytes.
const TALK: u64 = 400_000;

/// Bytes of content that came to a relay since it joined.
fn received(world: &World, relay: &str) -> u64 {
    world.relay_view(relay)["received_bytes"].as_u64().expect("a number")
}

/// Until when a relay keeps a package.
fn kept_until(world: &World, relay: &str, package: &str) -> Option<String> {
    let view = world.relay_view(relay);
    let kept = array(&view["packages"]).iter().find(|kept| kept["package"] == package)?;
    Some(kept["keep_until"].as_str().expect("a date").to_owned())
}

fn transfer(world: &World, package: &str, to: &[&str]) -> String {
    let mut args = vec!["transfer", package];
    args.extend(to);
    world.cli.ok(&args)
}

#[test]
fn transferred_at_night_and_installed_in_the_morning_without_a_byte_from_the_server() {
    let world = World::new();
    let line = world.proxy(world.server.port);
    let osaka = world.relay("osaka", &line.url());
    let clients = ["pc1", "pc2"].map(|name| world.client(name, &osaka.url()));
    let source = world.source("editor", "1.0").noise("lib/large", 12 * MIB, 1).file("version", "1.0");
    world.add(&source);
    let before = line.down_bytes();
    let night = transfer(&world, "editor", &["--to", "osaka"]);
    world.line_until(&night, "osaka", 40, "transferred");
    let down = line.down_bytes() - before;
    assert!((12 * MIB..13 * MIB).contains(&down), "one copy: {down} bytes");
    assert!(clients.iter().all(|pc| !pc.at("/opt/editor").exists()), "it stops at the relay");
    assert_eq!(world.job(&night)["state"], "ended");
    // In the morning.
    let (before, counted) = (line.down_bytes(), received(&world, "osaka"));
    world.done(&world.install("editor", &["all"], &[]), 40);
    assert!(clients.iter().all(|pc| is_installed(source.path(), &pc.at("/opt/editor"))));
    assert_eq!(received(&world, "osaka"), counted, "not one payload byte left the server");
    let down = line.down_bytes() - before;
    assert!(down < TALK, "{down} bytes");
    // Watching it says that it ended well.
    world.cli.ok(&["job", "watch", &night]);
}

#[test]
fn staged_in_one_command() {
    let world = World::new();
    let line = world.proxy(world.server.port);
    let osaka = world.relay("osaka", &line.url());
    let pc = world.client("pc1", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/large", 4 * MIB, 1);
    world.add(&source);
    let staged = world.cli.run(&[
        "install",
        "editor",
        "--to",
        "pc1",
        "--stage-at",
        &world.soon(2),
        "--at",
        &world.soon(14),
        "--keep",
        "30d",
    ]);
    let install = staged.ok();
    let transfer =
        staged.stderr.lines().find(|line| line.parse::<u64>().is_ok()).expect("the transfer's number");
    assert_ne!(install, transfer);
    assert_eq!(world.job(transfer)["type"], "transfer");
    world.line_until(transfer, "osaka", 20, "transferred");
    let counted = received(&world, "osaka");
    assert!(counted >= 4 * MIB && !pc.at("/opt/editor").exists(), "brought, and not installed yet");
    world.done(&install, 40);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    assert_eq!(received(&world, "osaka"), counted);
}

#[test]
fn the_date_moves_either_way_and_the_bytes_do_not_travel() {
    let world = World::new();
    let _osaka = world.relay("osaka", &world.server.url());
    world.add(&world.source("editor", "1.0").noise("lib/large", 4 * MIB, 1));
    let label = "main/editor@1.0:1";
    world.line_until(&transfer(&world, "editor", &["--to", "osaka"]), "osaka", 30, "transferred");
    let by_package = kept_until(&world, "osaka", label).expect("it is kept");
    let counted = received(&world, "osaka");
    let mut last = by_package.clone();
    for keep in ["200d", "5d"] {
        let job = transfer(&world, "editor", &["--to", "osaka", "--keep", keep]);
        world.line_until(&job, "osaka", 20, "transferred");
        let moved = kept_until(&world, "osaka", label).expect("it is kept");
        assert!(if keep == "5d" { moved < by_package } else { moved > by_package }, "{keep}: {moved}");
        last = moved;
    }
    // Without --keep a standing date stays.
    let again = transfer(&world, "editor", &["--to", "osaka"]);
    world.line_until(&again, "osaka", 20, "transferred");
    assert_eq!(kept_until(&world, "osaka", label).as_deref(), Some(last.as_str()));
    // In place, for one relay.
    world.cli.ok(&["relay", "keep", "osaka", "editor", "--keep", "60d"]);
    let in_place = wait::until("the date moved", 20, || {
        kept_until(&world, "osaka", label).filter(|until| *until != last)
    });
    assert!(in_place > last && in_place < by_package);
    assert_eq!(received(&world, "osaka"), counted, "not one byte of content");
    // The same package with another keeping time is a new generation: only its manifest comes, and both dates move.
    let longer = world.source("editor", "1.0").noise("lib/large", 4 * MIB, 1);
    let recipe = longer.path().join("packhorse.toml");
    let text = std::fs::read_to_string(&recipe).expect("the recipe");
    let text = text.replace("kind = \"files\"", "kind = \"files\"\nkeep = \"300d\"");
    std::fs::write(&recipe, text).expect("the recipe");
    assert_eq!(world.add(&longer), "main/editor@1.0:2");
    let next = transfer(&world, "editor", &["--to", "osaka"]);
    world.line_until(&next, "osaka", 20, "transferred");
    let date = kept_until(&world, "osaka", "main/editor@1.0:2").expect("the new one is kept");
    assert!(date > by_package, "{date}");
    wait::until("the date of the one before moved with it", 10, || {
        (kept_until(&world, "osaka", label).as_deref() == Some(date.as_str())).then_some(())
    });
    let more = received(&world, "osaka") - counted;
    assert!(more < 64 * 1024, "{more} bytes for a manifest");
}

#[test]
fn the_relays_above_store_it_too_and_late_ones_are_taken_in() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let _namba = world.relay("namba", &osaka.url());
    let package = world.add(&world.source("editor", "1.0").noise("lib/large", 2 * MIB, 1));
    let nested = transfer(&world, "editor", &["--to", "namba"]);
    world.line_until(&nested, "namba", 40, "transferred");
    assert_eq!(array(&world.job(&nested)["instructions"]).len(), 1, "only namba is meant");
    let date = kept_until(&world, "namba", &package);
    assert!(date.is_some());
    wait::until("osaka keeps it with the same date", 10, || {
        (kept_until(&world, "osaka", &package) == date).then_some(())
    });
    let everywhere = transfer(&world, "editor", &["--to", "all-relays"]);
    world.line_until(&everywhere, "osaka", 20, "transferred");
    world.line_until(&everywhere, "namba", 20, "transferred");
    let sendai = world.relay("sendai", &world.server.url());
    world.line_until(&everywhere, "sendai", 40, "transferred");
    // For hosts: the relays on the way to them, also to those that come later.
    let other = world.add(&world.source("viewer", "1.0").noise("lib/large", MIB, 2));
    let _pc1 = world.client("pc1", &osaka.url());
    let for_hosts = transfer(&world, "viewer", &["--for", "all"]);
    world.line_until(&for_hosts, "osaka", 40, "transferred");
    assert!(kept_until(&world, "namba", &other).is_none(), "nobody is below namba");
    let _pc2 = world.client("pc2", &sendai.url());
    world.line_until(&for_hosts, "sendai", 40, "transferred");
}

#[test]
fn a_transfer_that_is_none_is_refused_by_name() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let _pc = world.client("pc1", &osaka.url());
    let _direct = world.joined_client("pc9", &world.server.url());
    world.add(&world.source("editor", "1.0").file("a", "a"));
    let refuse = |args: &[&str], says: &[&str]| {
        let mut words = vec!["transfer", "editor"];
        words.extend(args);
        world.cli.run(&words).fails(4, says);
    };
    refuse(&["--to", "pc1"], &["pc1 is a client", "--for pc1"]);
    refuse(&["--to", "kobe"], &["no relay system kobe"]);
    refuse(&["--for", "pc9"], &["no relay is on the way to pc9"]);
    refuse(&["--to", "osaka", "--keep", "2020-01-01"], &["that day is over", "--keep"]);
    // It would be past its keeping time when it arrives.
    refuse(
        &["--to", "osaka", "--at", "+2400h", "--until", "+2500h"],
        &["would be past its keeping time", "--keep"],
    );
    world.cli.run(&["transfer", "editor"]).fails(2, &["--to"]);
    assert!(array(&world.cli.json(&["job", "list"])).is_empty(), "nothing was half made");
    // At a relay there is no way to make one.
    let relay = packhorse_e2e::cli::Cli::new(world.folder(), Some(&osaka.data.join("admin.toml")));
    let refused = relay.run(&["transfer", "editor", "--to", "osaka"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("a relay makes no transfers"), "{}", refused.stderr);
    // A package nobody would keep is refused where it is written.
    let past = world.source("old", "1.0").file("a", "a");
    let recipe = past.path().join("packhorse.toml");
    let text = std::fs::read_to_string(&recipe).expect("the recipe");
    std::fs::write(&recipe, text.replace("kind = \"files\"", "kind = \"files\"\nkeep = \"2020-02-02\""))
        .expect("written");
    let key = world.key.display().to_string();
    let built = world.cli.run(&["package", "add", &past.path().display().to_string(), "--key", &key]);
    assert_eq!(built.code, 1, "{}", built.stderr);
    assert!(
        built.stderr.contains("packhorse.toml:5") && built.stderr.contains("in the past"),
        "{}",
        built.stderr
    );
}

#[test]
fn a_copy_that_is_needed_is_not_dropped_by_the_way() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let mut pc = world.joined_client("pc1", &osaka.url());
    world.add(&world.source("editor", "1.0").noise("lib/large", 2 * MIB, 1));
    let job = transfer(&world, "editor", &["--to", "osaka"]);
    world.line_until(&job, "osaka", 30, "transferred");
    let install = world.install("editor", &["pc1"], &[]);
    world.line_until(&install, "pc1", 20, "at_relay");
    let refused = world.cli.run(&["relay", "drop", "osaka", "editor"]);
    refused.fails(4, &["1 line at or below osaka still need", "pc1", "2.1 MB", "--force"]);
    assert!(kept_until(&world, "osaka", "main/editor@1.0:1").is_some());
    let shown: Value = world.cli.json(&["relay", "drop", "osaka", "editor", "--force"]);
    assert_eq!(
        (&shown[0]["needed_by"], &shown[0]["applied"]),
        (&Value::from(1), &Value::from(true)),
        "{shown}"
    );
    // It comes again when the one who needs it asks, once; not before, for one who is off.
    assert!(received(&world, "osaka") < 4 * MIB);
    pc.start();
    wait::until("it is fetched again", 30, || {
        (received(&world, "osaka") > 4 * MIB && kept_until(&world, "osaka", "main/editor@1.0:1").is_some())
            .then_some(())
    });
    world.done(&install, 60);
    world.cli.ok(&["relay", "drop", "osaka", "editor"]);
    wait::until("it is gone", 20, || {
        kept_until(&world, "osaka", "main/editor@1.0:1").is_none().then_some(())
    });
}

/// A server that sends 2 MiB a second at most.
fn slow_world() -> World {
    World::with(&[("PACKHORSE_SEND_BYTES_PER_SEC", "2097152")])
}

/// Waits until a transfer has begun to arrive.
fn arriving(world: &World, job: &str, relay: &str) {
    world.job_until(job, 30, "begins to arrive", |job| {
        line(job, relay)
            .is_some_and(|line| line["progress_percent"].as_u64().is_some_and(|percent| percent > 5))
    });
}

#[test]
fn an_install_joins_a_transfer_that_runs() {
    let world = slow_world();
    let above = world.proxy(world.server.port);
    let osaka = world.relay("osaka", &above.url());
    let pc = world.client("pc1", &osaka.url());
    let source = world.source("editor", "1.0").noise("lib/large", 12 * MIB, 1);
    world.add(&source);
    let before = above.down_bytes();
    let night = transfer(&world, "editor", &["--to", "osaka"]);
    arriving(&world, &night, "osaka");
    let install = world.install("editor", &["pc1"], &[]);
    world.done(&install, 60);
    world.line_until(&night, "osaka", 20, "transferred");
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    let down = above.down_bytes() - before;
    assert!(down < 12 * MIB + MIB, "one copy for both: {down} bytes");
}

#[test]
fn a_cancelled_transfer_stops_and_gives_its_room_back() {
    let world = slow_world();
    let osaka = world.relay("osaka", &world.server.url());
    world.add(&world.source("editor", "1.0").noise("lib/large", 40 * MIB, 1));
    let job = transfer(&world, "editor", &["--to", "osaka"]);
    arriving(&world, &job, "osaka");
    world.cli.ok(&["job", "cancel", &job]);
    world.line_until(&job, "osaka", 20, "cancelled");
    assert_eq!(world.job(&job)["state"], "ended");
    wait::until("what had come is thrown away", 40, || {
        is_empty_or_missing(&osaka.data.join("store/staging")).then_some(())
    });
    assert!(received(&world, "osaka") < 40 * MIB);
    assert!(kept_until(&world, "osaka", "main/editor@1.0:1").is_none());
}

/// The reason a host's line shows.
fn reason_of(world: &World, job: &str, host: &str) -> Value {
    line(&world.job(job), host).map_or(Value::Null, |line| line["reason"].clone())
}

/// Waits until a transfer's line and that of a host behind the relay say the same, with everything a reason has to say.
fn both_say(world: &World, lines: [(&str, &str); 2], code: &str) {
    for (job, host) in lines {
        let reason = wait::until_ok(&format!("{host} says why it waits: {code}"), 20, || {
            let reason = reason_of(world, job, host);
            let text = reason["text"].as_str().unwrap_or_default();
            let said = text.contains("osaka does not get the package") && reason["code"] == code;
            if said { Ok(reason) } else { Err(reason.to_string()) }
        });
        assert_eq!(reason["system"], "osaka", "{reason}");
        assert!(reason["next_try"].is_string() && reason["since"].is_string(), "{reason}");
        assert!(!reason["clear"].as_str().expect("what clears it").is_empty(), "{reason}");
        let told = world.cli.ok(&["explain", job, host]);
        assert!(
            told.contains("osaka does not get the package") && told.to_lowercase().contains("to clear it"),
            "{told}"
        );
    }
}

/// What keeps a relay from getting a package is said on the transfer's line, and to whoever waits behind the relay.
#[test]
fn what_keeps_a_relay_from_getting_a_package_is_said_until_it_goes_on() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let namba = world.relay("namba", &osaka.url());
    let pc = world.client("pc1", &namba.url());
    let source = world.source("editor", "1.0").noise("lib/large", 4 * MIB, 1);
    world.add(&source);
    // A byte in the middle of what the managing server has is not what was signed.
    let packs = std::fs::read_dir(world.server.data.join("store/packs")).expect("packs");
    let packs = packs.map(|entry| entry.expect("a pack").path());
    let pack = packs.max_by_key(|path| path.metadata().map_or(0, |found| found.len())).expect("a pack");
    let whole = std::fs::read(&pack).expect("the pack");
    let put = |bytes: &[u8]| {
        let file = std::fs::File::options().write(true).open(&pack).expect("the pack");
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).expect("it is written");
    };
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    put(&changed);
    // Nor can the relay write.
    let (staging, away) = (osaka.data.join("store/staging"), osaka.data.join("store/staging.away"));
    std::fs::rename(&staging, &away).expect("the folder");
    std::fs::write(&staging, "in its place").expect("a file");
    let brought = transfer(&world, "editor", &["--to", "osaka"]);
    let install = world.install("editor", &["pc1"], &[]);
    let lines = [(&*brought, "osaka"), (&*install, "pc1")];
    both_say(&world, lines, "disk");
    std::fs::remove_file(&staging).expect("the file");
    std::fs::rename(&away, &staging).expect("the folder");
    both_say(&world, lines, "content");
    // And it goes on by itself.
    put(&whole);
    world.line_until(&brought, "osaka", 90, "transferred");
    world.done(&install, 90);
    assert!(is_installed(source.path(), &pc.at("/opt/editor")));
    assert_eq!(reason_of(&world, &brought, "osaka"), Value::Null);
}
