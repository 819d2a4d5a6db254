//! The sites: routers, addresses, cables, and a proxy on every line between two sites.

use std::net::{Ipv4Addr, TcpListener};

use tokio::runtime::Runtime;

use super::cable::Cable;
use super::namespace::Namespace;
use crate::proxy::{Proxy, Target};

/// Where the managing server listens.
pub const SERVER_PORT: u16 = 8440;
/// Where relays listen.
pub const RELAY_PORT: u16 = 8441;

/// A site: its router, its line upwards.
pub struct Site {
    /// Its name, which is its relay's too.
    pub name: &'static str,
    /// Third number of its addresses.
    number: u8,
    router: Namespace,
    /// The line to the site above it.
    pub line: Cable,
    /// What is on that line, seen from below.
    pub proxy: Proxy,
    /// Lives in the router, as the proxy does.
    _runtime: Runtime,
}

/// A machine's place in the network.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its network.
    pub inside: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its cable to its site's router.
    pub cable: Cable,
}

/// The whole network, without any system in it.
pub struct Net {
    centre: Namespace,
    /// osaka, sakai (below osaka), sendai.
    pub sites: Vec<Site>,
}

/// A site that is to be made.
struct Plan {
    name: &'static str,
    number: u8,
    above: Option<usize>,
    /// Numbers of the sites below it.
    below: &'static [u8],
    mbit_per_sec: u32,
}

const PLANS: [Plan; 3] = [
    Plan { name: "osaka", number: 1, above: None, below: &[2], mbit_per_sec: 40 },
    Plan { name: "sakai", number: 2, above: Some(0), below: &[], mbit_per_sec: 16 },
    Plan { name: "sendai", number: 3, above: None, below: &[], mbit_per_sec: 24 },
];

impl Net {
    /// Routers, lines and proxies.
    pub fn new() -> Net {
        let centre = router("hq", 0);
        let mut sites: Vec<Site> = Vec::new();
        for plan in &PLANS {
            let router = router(plan.name, plan.number);
            let above = plan.above.map_or(&centre, |n| &sites[n].router);
            let line = lay(plan, above, &router);
            if let Some(n) = plan.above {
                // The head office answers what is two levels below it.
                centre.ip(&ways_to(plan.number, &sites[n].line_address()));
            }
            sites.push(Site::new(plan, &router, line));
        }
        Net { centre, sites }
    }

    /// A site.
    pub fn site(&self, name: &str) -> &Site {
        self.sites.iter().find(|site| site.name == name).unwrap_or_else(|| panic!("no site {name}"))
    }

    /// A new machine at the head office, with that number in its address.
    pub fn at_head_office(&self, name: &str, number: u8) -> Place {
        plug(&Namespace::make(name), &self.centre, 0, number)
    }

    /// A new machine at a site, with that number in its address.
    pub fn at_site(&self, site: &str, name: &str, number: u8) -> Place {
        let site = self.site(site);
        plug(&Namespace::make(name), &site.router, site.number, number)
    }

    /// Carries a machine to another site, where it gets another address. Whom it talked to is not told.
    pub fn carry(&self, place: &Place, site: &str, number: u8) -> Place {
        place.cable.remove();
        let site = self.site(site);
        plug(&place.inside, &site.router, site.number, number)
    }
}

impl Default for Net {
    fn default() -> Net {
        Net::new()
    }
}

impl Site {
    fn new(plan: &Plan, router: &Namespace, line: Cable) -> Site {
        // Both the sockets that are called and those that call onwards are to be the router's.
        let runtime = router.enter(crate::world::runtime);
        let listener = router.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let proxy = Proxy::at(&runtime, listener, Target::Original);
        router.nft(&turn(plan, port));
        line.width(plan.mbit_per_sec);
        Site { name: plan.name, number: plan.number, router: router.clone(), line, proxy, _runtime: runtime }
    }

    /// The address of its router on the line upwards.
    fn line_address(&self) -> String {
        format!("10.77.{}.2", 100 + self.number)
    }
}

/// What leaves the site for a system elsewhere goes through the proxy. What is for somebody here or below does not.
fn turn(plan: &Plan, port: u16) -> String {
    let near: Vec<String> =
        [plan.number].iter().chain(plan.below).map(|number| format!("10.77.{number}.0/24")).collect();
    format!(
        "table ip line {{ chain turned {{ type nat hook prerouting priority dstnat; policy accept;\n\
         iifname != \"wan\" ip daddr != {{ {} }} tcp dport {{ {SERVER_PORT}, {RELAY_PORT} }} redirect to :{port}\n}}\n}}\n",
        near.join(", ")
    )
}

/// A router with a bridge for its site.
fn router(label: &str, number: u8) -> Namespace {
    let router = Namespace::make(label);
    router.set("ipv4/ip_forward", "1");
    router.ip(&[
        "link add lan type bridge".to_owned(),
        format!("address add 10.77.{number}.1/24 dev lan"),
        "link set lan up".to_owned(),
    ]);
    router
}

/// Lays the cable between a site's router and the one above it.
fn lay(plan: &Plan, above: &Namespace, router: &Namespace) -> Cable {
    let (number, net) = (plan.number, 100 + plan.number);
    let device = format!("to-{}", plan.name);
    above.ip(&[
        format!("link add {device} type veth peer name wan netns {}", router.path()),
        format!("address add 10.77.{net}.1/30 dev {device}"),
        format!("link set {device} up"),
    ]);
    router.ip(&[
        format!("address add 10.77.{net}.2/30 dev wan"),
        "link set wan up".to_owned(),
        format!("route add default via 10.77.{net}.1"),
    ]);
    above.ip(&[format!("route add 10.77.{number}.0/24 via 10.77.{net}.2")]);
    Cable::new((above, &device), (router, "wan"), &format!("10.77.{net}.1"))
}

/// The ways to a site and its line through the router at `via`.
fn ways_to(number: u8, via: &str) -> Vec<String> {
    let net = 100 + number;
    vec![format!("route add 10.77.{number}.0/24 via {via}"), format!("route add 10.77.{net}.0/30 via {via}")]
}

/// Plugs a machine into a site's bridge.
fn plug(inside: &Namespace, router: &Namespace, site: u8, number: u8) -> Place {
    let (label, path) = (inside.label(), inside.path());
    let address = Ipv4Addr::new(10, 77, site, number);
    let gateway = format!("10.77.{site}.1");
    router.ip(&[
        format!("link add {label} type veth peer name eth0 netns {path}"),
        format!("link set {label} master lan up"),
    ]);
    inside.ip(&[
        format!("address add {address}/24 dev eth0"),
        "link set eth0 up".to_owned(),
        format!("route add default via {gateway}"),
    ]);
    let cable = Cable::new((router, label), (inside, "eth0"), &gateway);
    Place { inside: inside.clone(), address, cable }
}
