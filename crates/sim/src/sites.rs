//! The tree of systems of a run, and its packages. Relays nest up to three levels; each relay is also a host of its own.

use std::collections::BTreeMap;

use packhorse_domain::ids::{HostId, PackageId, PackageLabel};
use packhorse_domain::job::{HostRole, JobPackage};
use packhorse_domain::place::{Membership, Place};
use packhorse_domain::time::Time;

use crate::options::Options;
use crate::rng::Rng;
use crate::says;

/// A process of the run, by its place in [`Sites::all`]. The managing server is 0.
pub type NodeId = usize;
/// The managing server.
pub const SERVER_NODE: NodeId = 0;
/// Levels of relays.
const LEVELS_MAX: usize = 3;

/// A direct lower system as its higher system knows it. A relay and its own agent have one host id and are two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lower {
    /// The host.
    pub host: HostId,
    /// The agent of that host, rather than the relay.
    pub agent: bool,
}

impl Lower {
    /// Whether the host of `place` is this system or below it.
    pub fn covers(&self, place: &Place) -> bool {
        if self.agent { place.host == self.host } else { place.is_below(&self.host) }
    }
}

/// A process: the managing server, a relay, or an agent.
#[derive(Debug, Clone)]
pub struct Site {
    /// The system's name.
    pub name: String,
    /// Its higher system; the server has none.
    pub parent: Option<NodeId>,
    /// Where it stands; the server stands nowhere.
    pub place: Option<Place>,
    /// Whether this is an agent.
    pub agent: bool,
}

/// The systems.
#[derive(Debug, Clone)]
pub struct Sites {
    /// By node.
    pub all: Vec<Site>,
    /// The nodes of hosts: its agent and, at a relay, the relay system.
    nodes: BTreeMap<Lower, NodeId>,
}

/// Host ids are made of the relay's or client's number.
pub fn host_id(number: usize) -> HostId {
    let mut bytes = [0x10; 16];
    bytes[..8].copy_from_slice(&(number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    HostId(bytes)
}

impl Sites {
    /// A tree from the seed.
    pub fn draw(rng: &mut Rng, options: &Options) -> Sites {
        let server = Site { name: "server".into(), parent: None, place: None, agent: false };
        let mut sites = Sites { all: vec![server], nodes: BTreeMap::new() };
        let (relays, clients) = match options.hosts {
            Some(hosts) => (options.relays_max, hosts.saturating_sub(options.relays_max)),
            None => (
                rng.between(1, options.relays_max as i64) as usize,
                rng.between(3, options.clients_max as i64) as usize,
            ),
        };
        for number in 0..relays {
            let above = match options.hosts {
                // One line of three levels is always there.
                Some(_) if number < LEVELS_MAX => sites.hubs().last().unwrap_or(SERVER_NODE),
                _ => sites.draw_hub(rng, LEVELS_MAX - 1),
            };
            sites.add_relay(number, above);
        }
        for number in 0..clients {
            let above = sites.draw_hub(rng, LEVELS_MAX);
            let place = sites.place(relays + number, format!("c{number}"), HostRole::Client, above);
            sites.add(place, above, true);
        }
        sites
    }

    fn draw_hub(&self, rng: &mut Rng, depth_max: usize) -> NodeId {
        let hubs: Vec<NodeId> = self.hubs().filter(|hub| self.route(*hub).len() <= depth_max).collect();
        // The newest relay is preferred, so that three levels are common.
        if rng.per_mille(400) {
            return hubs.last().copied().unwrap_or(SERVER_NODE);
        }
        rng.pick(&hubs).copied().unwrap_or(SERVER_NODE)
    }

    fn place(&self, number: usize, name: String, role: HostRole, above: NodeId) -> Place {
        let host = host_id(number);
        let mut route = self.route(above).to_vec();
        if role == HostRole::Relay {
            route.push(host);
        }
        let since = Time(0);
        let groups =
            if says::is_member(&host) { vec![Membership { group: says::GROUP, since }] } else { vec![] };
        Place { route, revision: 1, groups, groups_until: Time::MAX, ..Place::new(host, &name, role) }
    }

    fn add_relay(&mut self, number: usize, above: NodeId) {
        let place = self.place(number, format!("r{number}"), HostRole::Relay, above);
        let relay = self.all.len();
        self.add(place.clone(), above, false);
        self.add(place, relay, true);
    }

    fn add(&mut self, place: Place, above: NodeId, agent: bool) {
        self.nodes.insert(Lower { host: place.host, agent }, self.all.len());
        self.all.push(Site { name: place.name.clone(), parent: Some(above), place: Some(place), agent });
    }

    /// The managing server and the relays.
    pub fn hubs(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.all.len()).filter(|node| !self.all[*node].agent)
    }

    /// The relays.
    pub fn relays(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hubs().skip(1)
    }

    /// The agents, of clients and of relays.
    pub fn agents(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.all.len()).filter(|node| self.all[*node].agent)
    }

    /// The agent of a relay's own host.
    pub fn own_agent(&self, relay: NodeId) -> Option<NodeId> {
        let host = self.lower(relay)?.host;
        self.node(Lower { host, agent: true })
    }

    /// The relays above a node's lower systems, from the top; a relay ends its own.
    pub fn route(&self, node: NodeId) -> &[HostId] {
        self.all[node].place.as_ref().map_or(&[], |place| &place.route)
    }

    /// A node as its higher system knows it.
    pub fn lower(&self, node: NodeId) -> Option<Lower> {
        let site = &self.all[node];
        site.place.as_ref().map(|place| Lower { host: place.host, agent: site.agent })
    }

    /// The node of a lower system.
    pub fn node(&self, lower: Lower) -> Option<NodeId> {
        self.nodes.get(&lower).copied()
    }

    /// Puts a host into the group; answers its new place, if it was not in it.
    pub fn put_in(&mut self, host: &HostId, now: Time) -> Option<Place> {
        let mut new = self.place_of(host).filter(|place| place.groups.is_empty())?.clone();
        new.groups = vec![Membership { group: says::GROUP, since: now }];
        new.revision += 1;
        for place in self.all.iter_mut().filter_map(|site| site.place.as_mut()) {
            if place.host == *host {
                *place = new.clone();
            }
        }
        Some(new)
    }

    /// Where a host stands, in truth.
    pub fn place_of(&self, host: &HostId) -> Option<&Place> {
        self.all[self.node(Lower { host: *host, agent: true })?].place.as_ref()
    }

    /// Where all hosts stand, each once.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.all.iter().filter(|site| site.agent).filter_map(|site| site.place.as_ref())
    }

    /// For traces: `r1`, and `r1'` for its own agent.
    pub fn label(&self, node: NodeId) -> String {
        let site = &self.all[node];
        let own = site.agent && site.place.as_ref().is_some_and(|place| place.role == HostRole::Relay);
        if own { format!("{}'", site.name) } else { site.name.clone() }
    }
}

/// A package of the run.
#[derive(Debug, Clone)]
pub struct Package {
    /// As jobs name it.
    pub named: JobPackage,
    /// How many chunks it has.
    pub chunks: u32,
    /// When it is to be installed at the earliest, if its manifest says so.
    pub install_at: Option<Time>,
    /// How often its installer may be tried again.
    pub retries: u32,
}

/// All packages: a few names in a few versions each.
pub fn packages(rng: &mut Rng, pace: i64) -> Vec<Package> {
    let mut all = Vec::new();
    for name in 0..3u8 {
        for version in 1..=3u8 {
            let label = PackageLabel {
                cabinet: "main".into(),
                name: format!("p{name}"),
                // Around ten, where the order of texts is another than that of versions.
                version: (version + 8).to_string(),
                generation: 1,
            };
            let id = PackageId([name * 16 + version; 32]);
            let (chunks, retries) = (rng.between(1, 14) as u32, rng.below(3) as u32);
            // Some are kept for a moment only: their copies go within a run.
            let soon = Time(0).plus_secs(rng.between(100, 2000) * pace);
            // No promise outlasts the calm: nobody makes room by hand here, and a transfer may have to wait for it.
            let keep_until = if rng.per_mille(500) { soon } else { Time(0).plus_secs(10_000 * pace) };
            let named = JobPackage { id, label, keep_until };
            let later = Time(0).plus_secs(rng.between(50, 1200) * pace);
            let install_at = rng.per_mille(150).then_some(later);
            all.push(Package { named, chunks, install_at, retries });
        }
    }
    all
}
