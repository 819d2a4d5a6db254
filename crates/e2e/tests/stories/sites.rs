//! Two sites of twenty clients: one copy over each line.

use packhorse_e2e::proxy::Proxy;
use packhorse_e2e::system::{Kind, System};
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::World;

const BYTES: u64 = 8 << 20;
const CLIENTS: usize = 20;

struct Site {
    line: Proxy,
    relay: System,
    clients: Vec<System>,
}

impl Site {
    fn new(world: &World, name: &str) -> Site {
        let line = world.proxy(world.server.port);
        let relay = world.relay(name, &line.url());
        let token = world.token(&["--uses", &CLIENTS.to_string()]);
        let clients = (1..=CLIENTS).map(|n| client(world, &format!("{name}-{n}"), &relay, &token)).collect();
        Site { line, relay, clients }
    }
}

fn client(world: &World, name: &str, relay: &System, token: &str) -> System {
    world.join(Kind::Client, name, &relay.url(), token, &[]).ok();
    let root = world.folder().join(format!("{name}-root"));
    let mut client = System::new(name, Kind::Client, &world.folder().join(name), &root, 0);
    client.start();
    client
}

#[test]
fn two_sites_of_twenty_get_one_copy_each() {
    let world = World::new();
    let sites = ["osaka", "sendai"].map(|name| Site::new(&world, name));
    let source = world.source("editor", "1.0").noise("lib/data", BYTES, 1);
    world.add(&source);
    let before = sites.each_ref().map(|site| site.line.down_bytes());
    let job = world.install("editor", &["all"], &[]);
    let ended = world.done(&job, 120);
    assert_eq!(ended["counts"]["done"], 2 * CLIENTS, "{}", ended["counts"]);
    for (site, before) in sites.iter().zip(before) {
        let down = site.line.down_bytes() - before;
        assert!((BYTES..BYTES + BYTES / 20).contains(&down), "{}: {down} bytes", site.relay.name);
        let view = world.relay_view(&site.relay.name);
        let received = view["received_bytes"].as_u64().expect("a number");
        assert!((BYTES..BYTES + BYTES / 50).contains(&received), "{view}");
        // What it sent on is counted up once a second.
        wait::until_ok("the relay tells what it sent", 5, || {
            let view = world.relay_view(&site.relay.name);
            let sent = view["sent_bytes"].as_u64().unwrap_or(0);
            if sent >= BYTES * CLIENTS as u64 { Ok(()) } else { Err(view.to_string()) }
        });
        for client in &site.clients {
            assert!(is_installed(source.path(), &client.at("/opt/editor")), "{}", client.name);
        }
    }
}
