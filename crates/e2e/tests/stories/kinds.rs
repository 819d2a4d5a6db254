//! Kinds of packages, through relays that nest.

use packhorse_e2e::deb;
use packhorse_e2e::system::mode;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::world::World;

#[test]
fn files_through_three_relay_levels() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let namba = world.relay("namba", &osaka.url());
    let umeda = world.relay("umeda", &namba.url());
    let near = world.client("near", &world.server.url());
    let far = world.client("far", &umeda.url());
    let source = world
        .source("editor", "1.0")
        .program("bin/editor", "#!/bin/sh\necho editor\n")
        .noise("lib/data", 2_000_000, 1)
        .file("share/empty", "")
        .link("run", "bin/editor");
    assert_eq!(world.add(&source), "main/editor@1.0:1");
    let job = world.install("editor", &["near", "far"], &[]);
    world.done(&job, 40);
    for client in [&near, &far] {
        assert!(is_installed(source.path(), &client.at("/opt/editor")), "{}", client.name);
        assert_eq!(mode(&client.at("/opt/editor/bin/editor")), 0o755);
    }
    for relay in ["osaka", "namba", "umeda"] {
        let view = world.relay_view(relay);
        assert_eq!(view["packages"][0]["package"], "main/editor@1.0:1", "{view}");
    }
    let tree = world.cli.ok(&["host", "tree"]);
    assert!(tree.contains("umeda") && tree.contains("far"), "{tree}");
}

#[test]
fn a_real_debian_package_through_two_levels() {
    let file = deb::file();
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let namba = world.relay("namba", &osaka.url());
    let clients = ["pc1", "pc2", "pc3"].map(|name| world.client(name, &namba.url()));
    let key = world.key.display().to_string();
    world.cli.ok(&["package", "add", &file.display().to_string(), "--key", &key]);
    let job = world.install(deb::NAME, &["below:osaka"], &[]);
    let ended = world.done(&job, 15);
    assert_eq!(ended["counts"]["done"], 3, "{ended}");
    for client in &clients {
        assert_eq!(deb::status(&client.root, deb::NAME), "install ok installed", "{}", client.name);
    }
    let again = world.install(deb::NAME, &["pc1"], &[]);
    world.line_until(&again, "pc1", 20, "already_installed");
}
