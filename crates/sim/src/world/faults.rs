//! What goes wrong, drawn from the seed: crashes, cuts, long absences, replaced and lying relays.

use packhorse_domain::time::Time;

use super::{Event, World};
use crate::evil::Evil;
use crate::hub::Hub;
use crate::node::{Node, Role};
use crate::sites::{NodeId, SERVER_NODE};

/// A fault.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// A process dies, or its machine does.
    Crash(NodeId),
    /// A system's link upwards is cut for some seconds.
    Cut(NodeId, i64),
    /// An agent is off for some seconds.
    Away(NodeId, i64),
    /// A relay is replaced by an empty one under the same name.
    Replace(NodeId),
}

impl World {
    /// Draws the run's faults.
    pub(super) fn plan_faults(&mut self) {
        if !self.options.faults {
            return;
        }
        let rough = self.options.rough_secs;
        let (crashes, cuts, absences, replaced) = match self.options.fault_count {
            // In the same shares as they are drawn otherwise.
            Some(all) => {
                let all = all as i64;
                (all * 50 / 100, all * 32 / 100, all * 12 / 100, all * 6 / 100)
            }
            None => {
                let rng = &mut self.rng;
                (rng.between(0, 12), rng.between(0, 8), rng.between(0, 3), rng.between(0, 2))
            }
        };
        for _ in 0..crashes {
            let node = self.rng.below(self.nodes.len() as u64) as usize;
            self.plan(Fault::Crash(node));
        }
        for _ in 0..cuts {
            let node = self.rng.between(1, self.nodes.len() as i64 - 1) as usize;
            let secs = self.rng.between(5, (rough / 4).min(8 * 3600));
            self.plan(Fault::Cut(node, secs));
        }
        let agents: Vec<NodeId> = self.sites.agents().collect();
        for _ in 0..absences {
            let secs = self.rng.between((rough / 5).min(3600), rough.min(3 * 24 * 3600));
            if let Some(agent) = self.rng.pick(&agents).copied() {
                self.plan(Fault::Away(agent, secs));
            }
        }
        let relays: Vec<NodeId> = self.sites.relays().collect();
        for _ in 0..replaced {
            if let Some(relay) = self.rng.pick(&relays).copied() {
                self.plan(Fault::Replace(relay));
            }
        }
        if let (true, Some(relay)) = (self.rng.per_mille(250), self.rng.pick(&relays).copied()) {
            self.turn_evil(relay);
        }
    }

    fn plan(&mut self, fault: Fault) {
        let at = Time(self.rng.between(10_000_000, self.options.rough_secs * 1_000_000));
        self.at(at, Event::Fault(fault));
    }

    fn turn_evil(&mut self, relay: NodeId) {
        if let Role::Hub(hub) = &mut self.nodes[relay].role {
            hub.evil = Some(Evil::default());
            self.stats.evil_relays += 1;
        }
    }

    /// Lets a fault happen.
    pub(super) fn fault(&mut self, fault: Fault) {
        if self.calm_since.is_some() {
            return;
        }
        match fault {
            Fault::Crash(node) => self.crash(node),
            Fault::Cut(node, secs) => {
                self.stats.cuts += 1;
                self.note(node, &format!("is cut off for {secs} s"));
                self.net.cut(node, self.now.plus_secs(secs));
            }
            Fault::Away(node, secs) => {
                self.stats.long_absences += 1;
                self.note(node, &format!("is off for {secs} s"));
                self.go_down(node, true);
                self.start_in(node, secs);
            }
            Fault::Replace(relay) => self.replace(relay),
        }
    }

    /// A process dies at once; with its machine, or without.
    pub(super) fn crash(&mut self, node: NodeId) {
        let power = self.rng.per_mille(400);
        let secs = self.rng.between(0, 60);
        for node in self.together(node) {
            self.go_down(node, power);
            self.start_in(node, secs);
        }
    }

    fn start_in(&mut self, node: NodeId, secs: i64) {
        let at = self.now.plus_secs(secs);
        self.at(at, Event::Start(node));
    }

    /// A relay and the agent of its own host are one process.
    fn together(&self, node: NodeId) -> Vec<NodeId> {
        let hub = match self.sites.all[node].parent {
            Some(parent) if self.sites.own_agent(parent) == Some(node) => parent,
            _ => node,
        };
        std::iter::once(hub).chain(self.sites.own_agent(hub).filter(|agent| *agent != hub)).collect()
    }

    fn go_down(&mut self, id: NodeId, power: bool) {
        if !self.nodes[id].up {
            return;
        }
        self.note(id, if power { "loses power" } else { "is killed" });
        let count = if power { &mut self.stats.power_losses } else { &mut self.stats.kills };
        *count += 1;
        let waiting = self.nodes[id].role.unsynced();
        let keep = self.rng.below(waiting as u64 + 1) as usize;
        self.stats.lost_transactions += (waiting - keep) as u64;
        let kept = self.nodes[id].role.crash(keep);
        self.watch(id, kept);
        let life = self.nodes[id].role.life();
        self.ledger.crashed(id, life);
        let run = self.rng.number();
        let node = &mut self.nodes[id];
        (node.run, node.up, node.committing, node.wake_at) = (run, false, false, None);
        node.pending.clear();
        let (rng, packages) = (&mut self.rng, &self.packages);
        if let Some(machine) = node.machine() {
            machine.waited = None;
            if power {
                machine.power_lost(packages, rng);
            }
        }
    }

    /// A process starts, if it is not up.
    pub(super) fn start(&mut self, id: NodeId) {
        if self.nodes[id].up {
            return;
        }
        self.nodes[id].up = true;
        self.nodes[id].run = self.rng.number() | 1;
        self.note(id, "starts");
        if id == SERVER_NODE {
            self.register_places();
        }
        self.step(id, |role, cx| role.start(cx));
    }

    /// Everything a relay has is lost; an empty one joins under its name. What its own agent has not handed over before is
    /// gone with it.
    fn replace(&mut self, relay: NodeId) {
        self.stats.replaced_relays += 1;
        for id in self.together(relay) {
            self.go_down(id, true);
            self.note(id, "is replaced by an empty one");
            let old = self.nodes[id].role.life();
            self.ledger.died(old);
            let role = self.empty(id);
            self.nodes[id] = Node::new(role);
            let secs = self.rng.between(5, 90);
            self.start_in(id, secs);
        }
    }

    /// Faults stop: links are whole, everybody comes up, a lying relay is found out and replaced.
    pub(super) fn calm(&mut self) {
        self.note(SERVER_NODE, "faults stop");
        let liars: Vec<NodeId> = self
            .sites
            .relays()
            .filter(|relay| self.nodes[*relay].hub().is_some_and(|hub: &Hub| hub.evil.is_some()))
            .collect();
        liars.into_iter().for_each(|relay| self.replace(relay));
        self.net.calm();
        self.calm_since = Some(self.now);
        for id in 0..self.nodes.len() {
            self.start_in(id, 1);
        }
    }
}
