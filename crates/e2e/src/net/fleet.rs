//! Thirteen systems in the network: the managing server, three relays at two levels, nine clients.

use std::fs;
use std::ops::Deref;

use super::cable::Counted;
use super::sites::{Net, Place, RELAY_PORT, SERVER_PORT, Site};
use crate::cli::Cli;
use crate::history;
use crate::source::Source;
use crate::system::{Kind, System};
use crate::tree::is_installed;
use crate::wait;
use crate::world::{World, array};

/// The sites whose relays call the managing server, and the one below osaka's.
pub const SITES: [&str; 3] = ["osaka", "sakai", "sendai"];
/// Clients at each site.
const CLIENTS: u8 = 3;
/// What a relay's address ends with, and the managing server's.
const RELAY_NUMBER: u8 = 2;
/// What the addresses of a site's clients begin with, and those of machines that are added later.
const FIRST_CLIENT: u8 = 11;
const FIRST_ADDED: u8 = 51;
/// How wide a client's cable is.
const CLIENT_MBIT_PER_SEC: u32 = 48;

/// A relay or client, and its place in the network.
pub struct Member {
    /// The site it is at.
    pub site: &'static str,
    /// Where it is plugged in.
    pub place: Place,
    /// The system.
    pub system: System,
}

/// A world in the network. What the world can do, it can.
pub struct Fleet {
    // Processes end before their network goes.
    world: World,
    /// Relays, in the order of [`SITES`].
    pub relays: Vec<Member>,
    /// Clients, site by site.
    pub clients: Vec<Member>,
    /// The network.
    pub net: Net,
    added: u8,
}

impl Deref for Fleet {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Fleet {
    /// All thirteen, running.
    pub fn new() -> Fleet {
        Fleet::with(CLIENTS)
    }

    /// The managing server, the three relays, and so many clients at each site.
    pub fn with(clients: u8) -> Fleet {
        let net = Net::new();
        let hq = net.at_head_office("hq-server", RELAY_NUMBER);
        let address = hq.address.to_string();
        let world = World::at(&address, &address, SERVER_PORT, Some(&hq.inside), &[]);
        let mut fleet = Fleet { world, relays: Vec::new(), clients: Vec::new(), net, added: 0 };
        let token = fleet.token(&["--relay", "--uses", "3"]);
        for site in SITES {
            let place = fleet.net.at_site(site, site, RELAY_NUMBER);
            let relay = fleet.relay_at(site, place, &token);
            // The proxy on the line to a relay answers also while the relay does not.
            fleet.world.online(&[site]);
            fleet.relays.push(relay);
        }
        fleet.add_clients(clients);
        let names: Vec<&str> = fleet.members().map(|member| member.system.name.as_str()).collect();
        fleet.world.online(&names);
        fleet
    }

    fn add_clients(&mut self, each: u8) {
        if each == 0 {
            return;
        }
        let token = self.token(&["--uses", &(SITES.len() * usize::from(each)).to_string()]);
        for site in SITES {
            for n in 0..each {
                let mut client = self.client_at(site, &format!("{site}-{}", n + 1), FIRST_CLIENT + n, &token);
                client.system.start();
                self.clients.push(client);
            }
        }
    }

    /// A relay that joins at a place and runs.
    fn relay_at(&self, site: &'static str, place: Place, token: &str) -> Member {
        let listen = format!("{}:{RELAY_PORT}", place.address);
        let url = self.above(site);
        self.join_at(&place, Kind::Relay, site, &url, token, &["--listen", &listen]);
        let mut member = self.member(site, site, place, Kind::Relay, RELAY_PORT);
        member.system.start();
        member
    }

    fn client_at(&self, site: &'static str, name: &str, number: u8, token: &str) -> Member {
        let place = self.net.at_site(site, name, number);
        place.cable.width(CLIENT_MBIT_PER_SEC);
        let url = self.relay(site).system.url();
        self.join_at(&place, Kind::Client, name, &url, token, &[]);
        self.member(site, name, place, Kind::Client, 0)
    }

    fn join_at(&self, place: &Place, kind: Kind, name: &str, url: &str, token: &str, options: &[&str]) {
        let cli = Cli::new(self.folder(), None).inside(Some(&place.inside));
        self.world.join_by(&cli, kind, name, url, token, options).ok();
    }

    fn member(&self, site: &'static str, name: &str, place: Place, kind: Kind, port: u16) -> Member {
        let mut system = System::new(name, kind, &self.folder().join(name), &self.root_of(name), port);
        (system.host, system.inside) = (place.address.to_string(), Some(place.inside.clone()));
        Member { site, place, system }
    }

    /// The address of the system above a site's relay.
    fn above(&self, site: &str) -> String {
        match site {
            "sakai" => self.relay("osaka").system.url(),
            _ => self.world.server.url(),
        }
    }

    /// A client more, which joins at a site and does not run yet.
    pub fn joined(&mut self, site: &'static str, name: &str) -> Member {
        let token = self.token(&[]);
        self.joined_with(site, name, &token)
    }

    /// The same, with a token that was made before.
    pub fn joined_with(&mut self, site: &'static str, name: &str, token: &str) -> Member {
        self.added += 1;
        self.client_at(site, name, FIRST_ADDED + self.added, token)
    }

    /// kill -9 for the managing server, which is started again at once.
    pub fn restart_server(&mut self) {
        self.world.server.restart();
    }

    /// A site's relay, which was killed, gets an empty disk, joins again under its name and runs.
    pub fn replace_relay(&mut self, site: &'static str) {
        let token = self.token(&["--relay", "--replace", site]);
        let index = SITES.iter().position(|name| *name == site).expect("a site");
        let (data, place) = (&self.relays[index].system.data, self.relays[index].place.clone());
        fs::rename(data, data.with_extension("broken")).expect("the old disk is away");
        self.relays[index] = self.relay_at(site, place, &token);
    }

    /// Carries a client that runs to another site.
    pub fn carry(&mut self, name: &str, site: &'static str) {
        self.added += 1;
        let place = self.net.carry(&self.client(name).place, site, FIRST_ADDED + self.added);
        let member = self.clients.iter_mut().find(|member| member.system.name == name).expect("a client");
        (member.site, member.system.host, member.place) = (site, place.address.to_string(), place);
    }

    /// Relays and clients.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.relays.iter().chain(&self.clients)
    }

    /// A site's network.
    pub fn site(&self, name: &str) -> &Site {
        self.net.site(name)
    }

    /// A site's relay.
    pub fn relay(&self, site: &str) -> &Member {
        find(&self.relays, site)
    }

    /// A site's relay, to be ended or started.
    pub fn relay_mut(&mut self, site: &str) -> &mut System {
        find_mut(&mut self.relays, site)
    }

    /// A client.
    pub fn client(&self, name: &str) -> &Member {
        find(&self.clients, name)
    }

    /// A client, to be ended or started.
    pub fn client_mut(&mut self, name: &str) -> &mut System {
        find_mut(&mut self.clients, name)
    }

    /// Waits until all of these have heard of a job and not yet ended it.
    pub fn know(&self, names: &[&str], job: &str) {
        let id = format!("server/{job}");
        for name in names {
            wait::until_ok(&format!("{name} knows job {job}"), 20, || {
                let status = self.client(name).system.status().ok_or("no answer")?;
                let known = array(&status["lines"]).iter().any(|line| line["job"] == id.as_str());
                if known { Ok(()) } else { Err(status.to_string()) }
            });
        }
    }

    /// Checks that each of these has reported the beginning and the end of a job once.
    pub fn once(&self, names: &[&str], job: &str) {
        for name in names {
            let (ends, begins) = history::ends_and_begins(&self.world.server, &self.client(name).system, job);
            assert_eq!((ends, begins), (1, 1), "{name}: ends and beginnings of job {job}");
        }
    }

    /// The names of the clients at these sites.
    pub fn names_at(&self, sites: &[&str]) -> Vec<&str> {
        let clients = self.clients.iter().filter(|member| sites.contains(&member.site));
        clients.map(|member| member.system.name.as_str()).collect()
    }

    /// What the lines have carried so far.
    pub fn counted(&self) -> Tally {
        let site = |name: &&'static str| {
            let site = self.site(name);
            (*name, site.line.counted(), site.proxy.down_bytes())
        };
        let client = |member: &Member| (member.system.name.clone(), member.place.cable.counted());
        Tally { sites: SITES.iter().map(site).collect(), clients: self.clients.iter().map(client).collect() }
    }

    /// The clients on which a package is not as it was made.
    pub fn without(&self, source: &Source) -> Vec<&str> {
        let name = source.path().file_name().and_then(|name| name.to_str()).expect("a source's folder");
        let (name, _) = name.rsplit_once('-').expect("NAME-VERSION");
        let lacks =
            |member: &&Member| !is_installed(source.path(), &member.system.at(&format!("/opt/{name}")));
        self.clients.iter().filter(lacks).map(|member| member.system.name.as_str()).collect()
    }
}

impl Default for Fleet {
    fn default() -> Fleet {
        Fleet::new()
    }
}

fn find<'a>(members: &'a [Member], name: &str) -> &'a Member {
    let found = members.iter().find(|member| member.system.name == name);
    found.unwrap_or_else(|| panic!("nobody is called {name}"))
}

fn find_mut<'a>(members: &'a mut [Member], name: &str) -> &'a mut System {
    let found = members.iter_mut().find(|member| member.system.name == name);
    &mut found.unwrap_or_else(|| panic!("nobody is called {name}")).system
}

/// What all lines had carried at one moment.
#[derive(Debug, Clone)]
pub struct Tally {
    sites: Vec<(&'static str, Counted, u64)>,
    clients: Vec<(String, Counted)>,
}

impl Tally {
    /// Bytes down the line of a site: frames, as the kernel counts them.
    pub fn line(&self, site: &str) -> u64 {
        self.of_site(site).1.down
    }

    /// Bytes down through the proxy on a site's line: what the two systems sent each other, TLS and all.
    pub fn stream(&self, site: &str) -> u64 {
        self.of_site(site).2
    }

    /// Bytes down a client's cable.
    pub fn client(&self, name: &str) -> u64 {
        let found = self.clients.iter().find(|client| client.0 == name);
        found.unwrap_or_else(|| panic!("nobody is called {name}")).1.down
    }

    /// What came since then.
    pub fn since(&self, before: &Tally) -> Tally {
        let sites = self.sites.iter().map(|(site, counted, stream)| {
            let (_, then, stream_then) = before.of_site(site);
            (*site, counted.since(*then), stream - stream_then)
        });
        let clients = self.clients.iter().map(|(name, counted)| {
            let then = before.clients.iter().find(|client| client.0 == *name).map(|client| client.1);
            (name.clone(), counted.since(then.unwrap_or_default()))
        });
        Tally { sites: sites.collect(), clients: clients.collect() }
    }

    fn of_site(&self, site: &str) -> &(&'static str, Counted, u64) {
        self.sites.iter().find(|found| found.0 == site).unwrap_or_else(|| panic!("no site {site}"))
    }
}
