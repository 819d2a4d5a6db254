//! The tree of systems: who is there, what is moving over which line, and the machines below each system, those with
//! something to do first.

use std::collections::{HashMap, HashSet};

use askama::Template;
use packhorse_domain::ids::PackageId;
use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_domain::report::Traffic;
use packhorse_wire::signed::ROUTE_MAX;

use super::bar::Bar;
use super::busy::Busy;
use super::look::Look;
use crate::admin::around::Around;
use crate::admin::format::{clock, count, size};
use crate::db::hosts::{HostRecord, HostRow};
use crate::system::System;

/// Machines named below one system.
const HOSTS_SHOWN: usize = 10;
/// Relay systems that are drawn.
const RELAYS_SHOWN: usize = 80;
/// Packages named on one line.
const COMING_SHOWN: usize = 4;

/// The tree.
#[derive(Template)]
#[template(path = "page_tree.html")]
pub struct Tree {
    above: Option<String>,
    root: Node,
    relays_more: u64,
}

#[derive(Template)]
#[template(path = "page_node.html")]
struct Node {
    name: String,
    role: &'static str,
    dot: &'static str,
    said: String,
    facts: Vec<String>,
    coming: Vec<Coming>,
    machines: Machines,
    lower: Vec<Node>,
}

/// A package on its way into a relay.
struct Coming {
    package: String,
    words: String,
    bar: Bar,
}

#[derive(Default)]
struct Machines {
    online: u64,
    all: u64,
    shown: Vec<Machine>,
    more: u64,
    /// Not heard for very long: in none of the others.
    silent: u64,
}

struct Machine {
    name: String,
    dot: &'static str,
    said: String,
    bar: Option<Bar>,
}

struct Grove<'a, 'b> {
    around: &'b Around<'a>,
    look: &'a Look,
    below: HashMap<Option<HostRow>, Vec<&'a HostRecord>>,
    doing: HashMap<HostRow, &'b Busy<'a>>,
    coming: HashMap<HostRow, Vec<Coming>>,
    drawn: usize,
    left: u64,
}

/// Draws the tree.
pub fn tree<'a>(system: &System, around: &Around<'a>, look: &'a Look, busy: &[Busy<'a>]) -> Tree {
    let own = look.scene.fleet.own();
    let mut below: HashMap<Option<HostRow>, Vec<&HostRecord>> = HashMap::new();
    for host in look.scene.fleet.hosts().iter().filter(|host| own.is_none_or(|own| own.row != host.row)) {
        below.entry(host.higher).or_default().push(host);
    }
    let (doing, coming) = (doing(busy), coming(around, busy));
    let mut grove = Grove { around, look, below, doing, coming, drawn: 0, left: 0 };
    let (lower, machines) = grove.lower(None, 0);
    let traffic = system.traffic();
    let root = Node {
        name: system.config.name.clone(),
        role: if own.is_some() { "relay system" } else { "managing server" },
        dot: "on",
        said: String::new(),
        facts: facts(&traffic, own.map(|own| kept(look, own.row))),
        coming: own.and_then(|own| grove.coming.remove(&own.row)).unwrap_or_default(),
        machines,
        lower,
    };
    let above = system.upper.as_ref().map(|upper| upper.identity().higher.name.clone());
    Tree { above, root, relays_more: grove.left }
}

/// What each machine is doing: what it installs comes before what it takes in, and that before what waits.
fn doing<'a, 'b>(busy: &'b [Busy<'a>]) -> HashMap<HostRow, &'b Busy<'a>> {
    let mut doing: HashMap<HostRow, &Busy<'a>> = HashMap::new();
    for line in busy {
        let Some(host) = line.host else { continue };
        let known = doing.entry(host.row).or_insert(line);
        if weight(line) > weight(known) {
            *known = line;
        }
    }
    doing
}

fn weight(line: &Busy<'_>) -> u8 {
    match line.state {
        State::Installing | State::Restarting => 3,
        _ if line.percent.is_some() => 2,
        State::Delivered => 1,
        _ => 0,
    }
}

/// Packages on their way into relays: those that lines wait for, which the relay lacks and takes in now.
fn coming(around: &Around<'_>, busy: &[Busy<'_>]) -> HashMap<HostRow, Vec<Coming>> {
    let mut coming: HashMap<HostRow, Vec<Coming>> = HashMap::new();
    let mut seen: HashSet<(HostRow, PackageId)> = HashSet::new();
    for line in busy {
        let Some(host) = line.host else { continue };
        for relay in around.relays(host) {
            if !seen.insert((relay.row, line.package.id)) || around.keeps(relay.row, &line.package.id) {
                continue;
            }
            let Some(percent) = around.percent(relay, &line.package.id) else { continue };
            let bytes = line.job.packages.get(line.place as usize).map_or(0, |(_, bytes)| *bytes);
            let of = coming.entry(relay.row).or_default();
            if of.len() < COMING_SHOWN {
                let package = line.package.label.to_string();
                let words = part_of(percent, bytes);
                let bar = Bar::percent("go", percent, format!("{package} at {}: {words}", relay.name));
                of.push(Coming { package, words, bar });
            }
        }
    }
    coming
}

/// `62 %, 24 of 38 MB`.
pub fn part_of(percent: u8, bytes: u64) -> String {
    let here = u128::from(bytes) * u128::from(percent) / 100;
    format!("{percent} % · {} of {}", size(u64::try_from(here).unwrap_or(bytes)), size(bytes))
}

fn facts(traffic: &Traffic, kept: Option<u64>) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(kept) = kept {
        facts.push(format!("keeps {}", count(kept, "package")));
        facts.push(format!("{} came in", size(traffic.received_bytes)));
    }
    facts.push(format!("{} went out", size(traffic.sent_bytes)));
    facts.push(format!("store {}, {} free", size(traffic.used_bytes), size(traffic.free_bytes)));
    facts
}

fn kept(look: &Look, relay: HostRow) -> u64 {
    look.scene.copies.iter().filter(|(row, _)| *row == relay).count() as u64
}

impl<'a> Grove<'a, '_> {
    /// What is below a system: relays as nodes, machines as a list.
    fn lower(&mut self, higher: Option<HostRow>, depth: usize) -> (Vec<Node>, Machines) {
        let hosts = self.below.get(&higher).cloned().unwrap_or_default();
        let (relays, clients): (Vec<_>, Vec<_>) =
            hosts.into_iter().partition(|host| host.role == HostRole::Relay);
        let mut nodes = Vec::new();
        for relay in relays {
            // A loop in what was stored cannot hang us.
            if self.drawn >= RELAYS_SHOWN || depth > ROUTE_MAX {
                self.left += 1;
                continue;
            }
            self.drawn += 1;
            nodes.push(self.relay(relay, depth));
        }
        (nodes, self.machines(clients))
    }

    fn relay(&mut self, relay: &'a HostRecord, depth: usize) -> Node {
        let (lower, machines) = self.lower(Some(relay.row), depth + 1);
        let told = self.look.traffic.get(&relay.row);
        Node {
            name: relay.name.clone(),
            role: "relay system",
            dot: self.dot(relay),
            said: self.said(relay),
            facts: told.map_or_else(Vec::new, |told| facts(told, Some(kept(self.look, relay.row)))),
            coming: self.coming.remove(&relay.row).unwrap_or_default(),
            machines,
            lower,
        }
    }

    fn dot(&self, host: &HostRecord) -> &'static str {
        let present = self.around.present(host);
        match (present.twins_since, present.online) {
            (Some(_), _) => "twins",
            (None, true) => "on",
            (None, false) => "off",
        }
    }

    /// What there is to say of a system that is not there.
    fn said(&self, host: &HostRecord) -> String {
        let (present, now) = (self.around.present(host), self.around.now);
        match (present.twins_since, present.online, present.last_seen) {
            (Some(since), _, _) => format!("two machines answer under this name since {}", clock(since, now)),
            (None, true, _) => String::new(),
            (None, false, Some(seen)) => format!("off since {}", clock(seen, now)),
            (None, false, None) => "was never heard".to_owned(),
        }
    }

    fn machines(&self, clients: Vec<&'a HostRecord>) -> Machines {
        let (silent, mut clients): (Vec<_>, Vec<_>) =
            clients.into_iter().partition(|host| self.around.is_silent(host));
        let all = clients.len() as u64;
        let online = clients.iter().filter(|host| self.around.present(host).online).count() as u64;
        // They come by name; a stable sort keeps that among those with equally much to say.
        clients.sort_by_key(|host| {
            let doing = self.doing.get(&host.row).map_or(0, |line| 1 + weight(line));
            (std::cmp::Reverse(doing), self.around.present(host).online)
        });
        let shown: Vec<Machine> =
            clients.iter().take(HOSTS_SHOWN).map(|client| self.machine(client)).collect();
        Machines { online, all, more: all - shown.len() as u64, shown, silent: silent.len() as u64 }
    }

    fn machine(&self, host: &HostRecord) -> Machine {
        let mut machine =
            Machine { name: host.name.clone(), dot: self.dot(host), said: self.said(host), bar: None };
        let doing = self.doing.get(&host.row).filter(|_| machine.dot == "on");
        let Some(line) = doing else { return machine };
        let label = &line.package.label;
        match (line.state, line.percent) {
            (State::Installing, _) => machine.said = format!("installs {}", label.name),
            (State::Restarting, _) => machine.said = "restarts".to_owned(),
            (_, Some(percent)) => {
                machine.said = format!("{} {percent} %", label.name);
                machine.bar =
                    Some(Bar::percent("go", percent, format!("{label} at {}: {percent} %", host.name)));
            }
            _ => machine.said = format!("{} {}", label.name, line.reason.code().brief()),
        }
        machine
    }
}
