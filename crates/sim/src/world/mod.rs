//! A whole fleet in virtual time: the queue of what happens next, and the loop over it.
//!
//! | file | subject |
//! |---|---|
//! | `steps` | one step of one process, its commit, and what follows |
//! | `host` | installers and what else a host answers its agent |
//! | `faults` | crashes, cuts, absences, replaced relays |
//! | `admin` | what the administrator does |
//! | `users` | what the users of hosts decide |
//! | `watch` | the checks, told of everything that becomes durable |

mod admin;
mod faults;
mod host;
mod steps;
mod users;
mod watch;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use packhorse_domain::time::Time;

use crate::checks::{Checked, Ledger, Violation};
use crate::client::{AgentNode, Local, Machine};
use crate::hub::Hub;
use crate::msg::Msg;
use crate::net::Net;
use crate::node::{Node, Role};
use crate::options::Options;
use crate::rng::Rng;
use crate::sites::{NodeId, Package, SERVER_NODE, Sites, packages};
use crate::stats::Stats;
use crate::trace::Trace;
use admin::Admin;
use faults::Fault;

/// A run has no more events than this; one that has does not go on.
const EVENTS_MAX: u64 = 10_000_000;

/// What happens at a time.
#[derive(Debug, Clone)]
enum Event {
    /// A message arrives.
    Deliver { from: NodeId, to: NodeId, runs: (u64, u64), msg: Msg },
    /// A process is woken.
    Wake(NodeId),
    /// Its writes are durable.
    Commit(NodeId, u64),
    /// A process starts.
    Start(NodeId),
    /// A host answers its agent.
    Local(NodeId, u64, Local),
    /// An installer ends.
    InstallerEnds(NodeId, usize),
    /// Something goes wrong.
    Fault(Fault),
    /// The administrator does something.
    Admin(Admin),
    /// A user decides something.
    User,
    /// Faults stop.
    Calm,
    /// All lines are looked at.
    Sweep,
}

/// The fleet.
pub struct World {
    options: Options,
    rng: Rng,
    sites: Sites,
    packages: Vec<Package>,
    nodes: Vec<Node>,
    net: Net,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    numbered: u64,
    now: Time,
    calm_since: Option<Time>,
    latest: BTreeMap<(NodeId, NodeId), Time>,
    ledger: Ledger,
    broken: Option<Violation>,
    finished: bool,
    sweeps: u64,
    stats: Stats,
    trace: Trace,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ending {
    /// The rule that did not hold.
    pub violation: Option<Violation>,
    /// When.
    pub at: Time,
    /// The last events.
    pub trace: Vec<String>,
    /// The figures.
    pub stats: Stats,
}

impl World {
    /// A fleet from a seed, before its first event.
    pub fn new(seed: u64, options: &Options) -> World {
        let mut rng = Rng::new(seed);
        let sites = Sites::draw(&mut rng, options);
        let packages = packages(&mut rng, options.pace);
        let net = Net::draw(&mut rng, sites.all.len(), options.faults);
        let mut world = World {
            options: options.clone(),
            rng,
            sites,
            packages,
            nodes: Vec::new(),
            net,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            numbered: 0,
            now: Time(0),
            calm_since: None,
            latest: BTreeMap::new(),
            ledger: Ledger::default(),
            broken: None,
            finished: false,
            sweeps: 0,
            stats: Stats::default(),
            trace: Trace::default(),
        };
        for node in 0..world.sites.all.len() {
            let role = world.empty(node);
            world.nodes.push(Node::new(role));
            let start = Time(world.rng.between(0, 5_000_000));
            world.at(start, Event::Start(node));
        }
        world.plan_admin();
        world.plan_users();
        world.plan_faults();
        world.at(Time(0).plus_secs(options.rough_secs), Event::Calm);
        world.at(Time(0).plus_secs(options.sweep_secs), Event::Sweep);
        world
    }

    /// A process with an empty store.
    fn empty(&mut self, node: NodeId) -> Role {
        let life = packhorse_domain::ids::Incarnation(self.rng.number());
        let site = &self.sites.all[node];
        let host = site.place.as_ref().map(|place| place.host);
        match (host, site.parent) {
            (Some(host), Some(parent)) if site.agent => {
                let agent = AgentNode::new(host, &site.name, parent, life);
                Role::Agent(Box::new(agent), Machine::default())
            }
            _ => Role::Hub(Box::new(Hub::new(host, site.parent, life))),
        }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Ending {
        while self.broken.is_none() && !self.finished {
            let Some(Reverse((at, number))) = self.queue.pop() else { break };
            let Some(event) = self.events.remove(&number) else { continue };
            self.now = at;
            self.stats.events += 1;
            if self.stats.events > EVENTS_MAX {
                self.check(self.all_is_well());
                break;
            }
            self.happen(event);
        }
        self.count_lines();
        self.stats.trace_hash = self.trace.hash();
        let trace = self.trace.lines();
        Ending { violation: self.broken, at: self.now, trace, stats: self.stats }
    }

    fn at(&mut self, at: Time, event: Event) {
        self.numbered += 1;
        self.queue.push(Reverse((at.max(self.now), self.numbered)));
        self.events.insert(self.numbered, event);
    }

    fn in_micros(&mut self, low: i64, high: i64, event: Event) {
        let at = Time(self.now.0 + self.rng.between(low, high));
        self.at(at, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, runs, msg } => self.deliver(from, to, runs, msg),
            Event::Wake(node) => self.woken(node),
            Event::Commit(node, run) => self.commit(node, run),
            Event::Start(node) => self.start(node),
            Event::Local(node, run, local) => self.local(node, run, local),
            Event::InstallerEnds(node, number) => self.installer_ends(node, number),
            Event::Fault(fault) => self.fault(fault),
            Event::Admin(admin) => self.administrate(admin),
            Event::User => self.user_decides(),
            Event::Calm => self.calm(),
            Event::Sweep => self.sweep(),
        }
    }

    fn note(&mut self, node: NodeId, what: &str) {
        let text = format!("{:>7} {what}", self.sites.label(node));
        self.trace.add(self.now, &text);
    }

    fn check(&mut self, checked: Checked) {
        self.stats.checks += 1;
        if let (Err(violation), None) = (checked, &self.broken) {
            self.broken = Some(violation);
        }
    }

    fn server(&self) -> Option<&Hub> {
        self.nodes[SERVER_NODE].hub()
    }
}
