//! Bad input, and what it gets.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use ciborium::Value;
use futures_util::{StreamExt, stream};
use hyper::Method;
use packhorse_e2e::handmade::{self, field, item, with, without};
use packhorse_e2e::source::Source;
use packhorse_e2e::world::World;

/// A server and a good package's folder.
struct Place {
    world: World,
}

impl Place {
    fn new() -> Place {
        Place { world: World::new() }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }

    fn key(&self) -> String {
        self.world.key.display().to_string()
    }

    fn build(&self, source: &Source, out: &str) -> packhorse_e2e::cli::Ran {
        let folder = source.path().display().to_string();
        self.world.cli.run(&["package", "build", &folder, "--key", &self.key(), "--out", out])
    }

    /// A good package file with two files and a symlink.
    fn good(&self) -> PathBuf {
        let source = self
            .world
            .source("editor", "1.0")
            .noise("data", 700_000, 1)
            .file("text", "text")
            .link("way", "text");
        self.build(&source, "editor.phk").ok();
        self.folder("editor.phk")
    }

    fn nothing_registered(&self) {
        assert_eq!(self.world.cli.json(&["package", "list"]), serde_json::json!([]));
    }
}

#[test]
fn recipes_are_refused_with_file_and_line() {
    const HEAD: &str = "[package]\nname = \"editor\"\nversion = \"1.0\"\nkind = \"files\"\n";
    const INSTALL: &str = "[install]\nto = \"/opt/editor\"\n";
    let place = Place::new();
    for (n, (recipe, says)) in [
        (format!("{HEAD}colour = \"red\"\n{INSTALL}"), "packhorse.toml:5: unknown key `package.colour`"),
        (
            format!("[package]\nname = \"editor\"\nkind = \"files\"\n{INSTALL}"),
            "`package.version` is missing",
        ),
        (format!("{HEAD}[install]\nto = \"/opt/../etc\"\n"), "packhorse.toml:6: `install.to`"),
        (format!("{HEAD}{INSTALL}timeout = \"400d\"\n"), "packhorse.toml:7: `install.timeout`"),
        (format!("{HEAD}keep = \"999999d\"\n{INSTALL}"), "packhorse.toml:5: `package.keep`"),
        (format!("{HEAD}{INSTALL}before = \"hook.sh\"\n"), "packhorse.toml:7: `install.before`"),
        (format!("{HEAD}{INSTALL}[conditions]\nos = [\"linux\"]\n"), "packhorse.toml:7: "),
        (HEAD.replace("files", "rpm"), "packhorse.toml:4: `package.kind`"),
        (format!("{HEAD}{INSTALL}to ="), "packhorse.toml:7"),
    ]
    .into_iter()
    .enumerate()
    {
        let source = Source::with_recipe(&place.folder(&format!("bad-{n}")), &recipe).file("a", "a");
        let ran = place.build(&source, "bad.phk");
        ran.fails(1, &[says]);
        assert!(!place.folder("bad.phk").exists(), "{says}: nothing is written");
        let folder = source.path().display().to_string();
        let added = place.world.cli.run(&["package", "add", &folder, "--key", &place.key()]);
        added.fails(1, &[says]);
    }
    let outside = place.world.source("outside", "1.0").link("way/out", "../../etc/passwd");
    place.build(&outside, "bad.phk").fails(1, &["way/out", "etc/passwd"]);
    let absolute = place.world.source("absolute", "1.0").link("passwd", "/etc/passwd");
    place.build(&absolute, "bad.phk").fails(1, &["passwd"]);
    place.nothing_registered();
}

/// A change that makes a manifest bad.
type Change = fn(&mut Value);

#[test]
fn manifests_made_by_hand_are_refused_by_the_server() {
    let place = Place::new();
    let phk = place.good();
    let access = place.world.access();
    let send = |envelope: Vec<u8>| {
        access.request(Method::POST, "/admin/v1/uploads?cabinet=main", Bytes::from(envelope))
    };
    let changes: [(&str, Change); 9] = [
        ("an unknown key", |m| with(m, "colour", Value::from("red"))),
        ("a missing field", |m| without(m, "version")),
        ("a path that leaves the package", |m| {
            *field(item(field(m, "files"), 0), "path") = Value::from("../../etc/passwd");
        }),
        ("an absolute path", |m| *field(item(field(m, "files"), 0), "path") = Value::from("/etc/passwd")),
        ("an absurd size", |m| {
            *field(item(field(m, "files"), 0), "size") = Value::from(u64::MAX);
        }),
        ("a symlink that points outside", |m| {
            let files = field(m, "files").as_array_mut().expect("files");
            let link = files.iter_mut().find(|file| {
                file.as_map().is_some_and(|map| map.iter().any(|(key, _)| key.as_text() == Some("target")))
            });
            *field(link.expect("the symlink"), "target") = Value::from("../../../etc/passwd");
        }),
        ("a destination that climbs", |m| {
            *field(field(m, "install"), "to") = Value::from("/opt/../etc");
        }),
        ("another kind", |m| *field(m, "kind") = Value::from("msi")),
        ("chunks that are no records", |m| *field(m, "chunks") = Value::Bytes(vec![1, 2, 3])),
    ];
    for (what, change) in changes {
        let answer = send(handmade::manifest(&phk, &place.world.key, change));
        let error = answer.expect_err(what);
        let status = match error {
            packhorse_wire::net::LinkError::Refused { status, .. } => status,
            other => panic!("{what}: {other}"),
        };
        assert!((400..500).contains(&status), "{what}: {status}");
    }
    // A changed byte: the packager did not sign this.
    let mut flipped = handmade::manifest(&phk, &place.world.key, |_| ());
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    send(flipped).expect_err("a changed byte");
    send(vec![0; 1000]).expect_err("no envelope at all");
    place.nothing_registered();
    // The very same, unchanged, is taken: what was refused was the change.
    send(handmade::manifest(&phk, &place.world.key, |_| ())).expect("a good manifest is taken");
}

#[test]
fn package_files_that_were_changed() {
    let place = Place::new();
    let phk = place.good();
    let good = fs::read(&phk).expect("the package file");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (what, bytes) in [
        ("a flipped bit in the content", flipped(good.len() - 1000)),
        ("a flipped bit in the manifest", flipped(400)),
        ("a flipped bit at the start", flipped(1)),
        ("a truncated file", good[..good.len() / 2].to_vec()),
        ("an empty file", Vec::new()),
        ("something at its end", [good.clone(), b"more".to_vec()].concat()),
    ] {
        fs::write(place.folder("bad.phk"), bytes).expect("a file");
        let checked = place.world.cli.run(&["package", "check", "bad.phk", "--key", "packager.pub"]);
        assert_eq!(checked.code, 1, "{what}: {}{}", checked.stdout, checked.stderr);
        let added = place.world.cli.run(&["package", "add", "bad.phk"]);
        assert!(added.code != 0 && added.stderr.contains("error: "), "{what}: {}", added.stderr);
        place.nothing_registered();
    }
    place.world.cli.ok(&["package", "check", "editor.phk", "--key", "packager.pub"]);
    place.world.cli.ok(&["package", "add", "editor.phk"]);
}

#[test]
fn a_key_that_the_cabinet_does_not_trust() {
    let place = Place::new();
    place.good();
    place.world.cli.ok(&["cabinet", "new", "other"]);
    place.world.cli.run(&["package", "add", "editor.phk", "--cabinet", "other"]).fails(4, &["other"]);
    place.world.cli.ok(&["key", "new", "--out", "stranger.key"]);
    let source = place.world.source("editor", "1.0").path().display().to_string();
    place.world.cli.run(&["package", "add", &source, "--key", "stranger.key"]).fails(4, &["main"]);
    place.nothing_registered();
    place.world.cli.run(&["package", "add", "editor.phk", "--cabinet", "nowhere"]).fails(4, &["nowhere"]);
    place.world.cli.ok(&["cabinet", "distrust", "main", "packager.pub"]);
    place.world.cli.run(&["package", "add", "editor.phk"]).fails(4, &["main"]);
    place.nothing_registered();
}

#[test]
fn a_body_that_never_ends() {
    let place = Place::new();
    let phk = place.good();
    let access = place.world.access();
    let envelope = handmade::manifest(&phk, &place.world.key, |_| ());
    let answer = access.request(Method::POST, "/admin/v1/uploads?cabinet=main", envelope).expect("taken");
    let upload: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    let path = format!("/admin/v1/uploads/{}/frames", upload["package"].as_str().expect("its id"));
    let endless = stream::repeat(Bytes::from(vec![0x55; 64 << 10])).map(Ok);
    access.upload(&path, endless).expect_err("endless frames");
    let endless = stream::repeat(Bytes::from(vec![0x55; 64 << 10])).map(Ok);
    access.upload("/admin/v1/uploads?cabinet=main", endless).expect_err("an endless manifest");
    place.nothing_registered();
    let peak = place.world.server.process().peak_bytes();
    assert!(peak < 150 << 20, "an endless body costs no memory: {peak} bytes");
    place.world.cli.ok(&["package", "add", "editor.phk"]);
}

#[test]
fn jobs_that_make_no_sense() {
    let place = Place::new();
    place.good();
    place.world.cli.ok(&["package", "add", "editor.phk"]);
    place
        .world
        .join(
            packhorse_e2e::system::Kind::Client,
            "pc1",
            &place.world.server.url(),
            &place.world.token(&[]),
            &[],
        )
        .ok();
    let install = |args: &[&str]| {
        let args: Vec<&str> = ["install"].iter().chain(args).copied().collect();
        place.world.cli.run(&args)
    };
    install(&["editor", "--to", "nobody"]).fails(4, &["nobody", "hint: "]);
    install(&["editor", "--to", "below:nowhere"]).fails(4, &["nowhere", "hint: "]);
    install(&["nothing", "--to", "pc1"]).fails(4, &["nothing", "hint: "]);
    install(&["editor@7", "--to", "pc1"]).fails(4, &["main/editor", "7", "hint: "]);
    install(&["--to", "pc1"]).fails(2, &["PACKAGE"]);
    install(&["editor"]).fails(2, &["--to"]);
    install(&["editor", "--to", "pc1", "--at", "+2h", "--until", "+1h"]).fails(2, &["--until", "hint: "]);
    install(&["editor", "--to", "pc1", "--at", "2020-01-01 00:00"]).fails(2, &["past", "hint: "]);
    install(&["editor", "--to", "pc1", "--until", "2020-01-01 00:00"]).fails(2, &["past", "hint: "]);
    install(&["editor", "--to", "pc1", "--at", "soon"]).fails(2, &["soon", "hint: "]);
    // The server does not rely on the command line for any of this.
    let access = place.world.access();
    for (what, at, until) in [
        ("until before at", "\"2999-01-02T00:00:00Z\"", "\"2999-01-01T00:00:00Z\""),
        ("an end in the past", "null", "\"2020-01-01T00:00:00Z\""),
        ("a start that is none", "\"soon\"", "null"),
    ] {
        let job = format!(
            "{{\"job_type\":\"install\",\"packages\":[\"editor\"],\"to\":[\"pc1\"],\"at\":{at},\"until\":{until},\"allow_downgrade\":false}}"
        );
        access.request(Method::POST, "/admin/v1/jobs", job).expect_err(what);
    }
    let empty = "{\"job_type\":\"install\",\"packages\":[],\"to\":[\"pc1\"],\"at\":null,\"until\":null,\"allow_downgrade\":false}";
    access.request(Method::POST, "/admin/v1/jobs", empty).expect_err("no packages");
    for (job_type, what) in
        [("gift", "a type that there is not"), ("transfer", "a client as a transfer's destination")]
    {
        let job = empty.replace("install", job_type).replace("[]", "[\"editor\"]");
        access.request(Method::POST, "/admin/v1/jobs", job).expect_err(what);
    }
    assert_eq!(place.world.cli.json(&["job", "list"]), serde_json::json!([]), "no job was made");
    place.world.cli.run(&["job", "show", "7"]).fails(4, &["7"]);
    place.world.cli.run(&["explain", "--host", "nobody"]).fails(4, &["nobody"]);
}
