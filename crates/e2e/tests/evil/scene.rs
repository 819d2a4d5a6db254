//! A server, an evil relay, two clients below it and one beside it.

use std::fs;

use packhorse_domain::ids::HostId;
use packhorse_e2e::evil::{Behaviour, EvilRelay};
use packhorse_e2e::raw;
use packhorse_e2e::system::System;
use packhorse_e2e::tree::is_installed;
use packhorse_e2e::wait;
use packhorse_e2e::world::World;
use packhorse_wire::envelope::SigningKey;

/// Name of the evil relay.
pub const EVIL: &str = "evil";

/// In the order in which they end: the folder, in which their logs are, last.
pub struct Scene {
    /// Whom the lies are for.
    pub victim: System,
    /// Also below the evil relay; kept running.
    _neighbour: System,
    pub relay: EvilRelay,
    pub world: World,
}

impl Scene {
    pub fn new() -> Scene {
        let world = World::new();
        let key = fs::read_to_string(world.server.data.join("job.key")).expect("the server's job key");
        let key = SigningKey::from_text(&key).expect("a key");
        let token = world.token(&["--relay"]);
        let relay = EvilRelay::start(world.runtime(), &world.server.url(), &token, EVIL, key);
        let victim = client(&world, "victim", &relay.url());
        let neighbour = client(&world, "neighbour", &relay.url());
        Scene { world, relay, victim, _neighbour: neighbour }
    }

    /// A package that nobody has seen yet, of several chunks.
    pub fn package(&self, n: usize) -> packhorse_e2e::source::Source {
        let source = self.world.source(&format!("p{n}"), "1.0");
        let source = source.noise("data", 600_000, n as u64).file("text", format!("{n}"));
        self.world.add(&source);
        source
    }

    /// Whether the victim has exactly what package `n` holds, or has nothing of it at all.
    pub fn has(&self, source: &packhorse_e2e::source::Source, n: usize) -> bool {
        let installed = self.victim.at(&format!("/opt/p{n}"));
        if !installed.exists() {
            return false;
        }
        assert!(is_installed(source.path(), &installed), "p{n}: something wrong was installed");
        true
    }

    pub fn victim_id(&self) -> HostId {
        raw::identity(&self.victim.data).id
    }

    /// Waits until the relay has done what its behaviour says, and the victim has taken it in.
    pub fn deed(&self, behaviour: Behaviour) {
        wait::until(&format!("{behaviour:?} happens"), 30, || (self.relay.deeds() > 0).then_some(()));
    }

    /// How many refusals with this code the victim has told the relay of.
    pub fn refusals(&self, code: &str) -> usize {
        self.relay.alarms_of(&self.victim_id()).iter().filter(|alarm| *alarm == code).count()
    }

    /// Waits until the victim has told the relay of a refusal with this code, beyond those before.
    pub fn refusal(&self, behaviour: Behaviour, code: &str, before: usize) {
        wait::until(&format!("{behaviour:?} is refused as {code}"), 30, || {
            (self.refusals(code) > before).then_some(())
        });
    }

    /// Waits until the managing server lists the victim's alarm.
    pub fn alarm(&self, behaviour: Behaviour, code: &str, at_least: usize) {
        wait::until_ok(&format!("the server hears of {behaviour:?} as {code}"), 30, || {
            let alarms = self.world.access().alarms();
            let own = alarms.iter().filter(|alarm| alarm.host == "victim" && alarm.code == code);
            if own.count() >= at_least { Ok(()) } else { Err(format!("{alarms:?}")) }
        });
    }
}

/// The server sees hosts below an evil relay only if that relay says so: it is waited for at the agent itself.
fn client(world: &World, name: &str, url: &str) -> System {
    let mut client = world.joined_client(name, url);
    client.start();
    wait::until(&format!("{name} is in touch"), 20, || {
        client.status().filter(|status| status["online"] == true)
    });
    client
}
