//! One step of one process: it reads and writes its state, its writes become durable, and only then what it says is said
//! and what it wants is done.

use packhorse_domain::agent::{Effect, Input, Ready};

use super::{Event, World};
use crate::checks::{asks_within_limits, nobody_is_held, not_taken_twice};
use crate::client::Local;
use crate::cx::{Cx, Out, Seen};
use crate::msg::Msg;
use crate::node::Role;
use crate::options::Plant;
use crate::sites::NodeId;

impl World {
    /// Lets a process take one step.
    pub(super) fn step(&mut self, id: NodeId, take: impl FnOnce(&mut Role, &mut Cx<'_>)) {
        let node = &mut self.nodes[id];
        let mut cx = Cx {
            now: self.now,
            rng: &mut self.rng,
            sites: &self.sites,
            packages: &self.packages,
            plant: self.options.plant,
            pace: self.options.pace,
            stats: &mut self.stats,
            out: Vec::new(),
            seen: Vec::new(),
        };
        take(&mut node.role, &mut cx);
        node.role.finish(&mut cx);
        let (mut out, seen) = (cx.out, cx.seen);
        let life = node.role.life();
        let waits = node.role.close();
        for seen in seen {
            let checked = self.ledger.one_copy((id, life), &seen, &self.packages, self.now);
            self.check(checked);
            if let (Seen::Asked { .. }, Some(hub)) = (&seen, self.nodes[id].hub()) {
                let checked = asks_within_limits(hub, self.now);
                self.check(checked);
            }
            self.check(nobody_is_held(&seen));
            self.check(not_taken_twice(&seen, self.stats.evil_relays));
        }
        let early: Vec<Out> = out.extract_if(.., |out| too_early(self.options.plant, out)).collect();
        self.release(id, early);
        if waits {
            self.nodes[id].pending.push(out);
            self.await_commit(id);
        } else {
            self.release(id, out);
        }
        self.plan_wake(id);
    }

    fn await_commit(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        if !node.committing {
            node.committing = true;
            let run = node.run;
            self.in_micros(1_000, 20_000, Event::Commit(id, run));
        }
    }

    fn plan_wake(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let at = node.role.wakes_at(self.now).max(packhorse_domain::time::Time(self.now.0 + 1));
        if node.up && node.wake_at.is_none_or(|planned| at < planned) {
            node.wake_at = Some(at);
            self.at(at, Event::Wake(id));
        }
    }

    pub(super) fn woken(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        // An earlier wake-up took this one's place, or the process died.
        if node.up && node.wake_at == Some(self.now) {
            node.wake_at = None;
            self.step(id, |role, cx| role.wake(cx));
        }
    }

    /// The disk has it.
    pub(super) fn commit(&mut self, id: NodeId, run: u64) {
        if !self.nodes[id].up || self.nodes[id].run != run {
            return;
        }
        let dies = self.options.faults && self.calm_since.is_none() && self.rng.per_mille(4);
        if dies && self.rng.per_mille(500) {
            return self.crash(id);
        }
        self.nodes[id].committing = false;
        let writes = self.nodes[id].role.sync();
        self.watch(id, writes);
        if dies {
            self.stats.crashes_after_commit += 1;
            return self.crash(id);
        }
        for out in std::mem::take(&mut self.nodes[id].pending) {
            self.release(id, out);
        }
    }

    fn release(&mut self, id: NodeId, out: Vec<Out>) {
        for out in out {
            match out {
                Out::Send(to, msg) => self.transmit(id, to, msg),
                Out::Obtained(line, result) => {
                    let package = self.packages.iter().find(|package| package.named.id == line.package);
                    let install_at = package.and_then(|package| package.install_at);
                    let install_at = install_at.filter(|_| self.options.plant != Some(Plant::InstallAtOnce));
                    let ready = Ready { install_at, ..Ready::default() };
                    self.input(id, Input::Obtained(line, result.map(|()| ready)));
                }
                Out::Effect(effect) => self.effect(id, effect),
            }
        }
    }

    /// Hands an agent's machine what happened.
    pub(super) fn input(&mut self, id: NodeId, input: Input) {
        self.step(id, |role, cx| {
            if let Role::Agent(agent, _) = role {
                agent.input(cx, input);
            }
        });
    }

    fn effect(&mut self, id: NodeId, effect: Effect) {
        let run = self.nodes[id].run;
        let local = match effect {
            Effect::Probe(line) => Local::Probe(line),
            Effect::Check(line) => Local::Check(line),
            Effect::Recover(line) => Local::Recover(line),
            Effect::Install(line) => return self.install(id, &line),
            Effect::Obtain(_) | Effect::Stop(_) | Effect::Drop(_) | Effect::Send => {
                return self.step(id, |role, cx| {
                    if let Role::Agent(agent, _) = role {
                        agent.effect(cx, &effect);
                    }
                });
            }
        };
        self.in_micros(50_000, 1_500_000, Event::Local(id, run, local));
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, msg: Msg) {
        if self.net.is_cut(from, to, self.now) {
            self.stats.lost += 1;
            return;
        }
        let runs = (self.nodes[from].run, self.nodes[to].run);
        for (at, msg) in self.net.carry(&mut self.rng, &mut self.stats, msg, self.now) {
            let latest = self.latest.entry((from, to)).or_insert(at);
            self.stats.reordered += u64::from(at < *latest);
            *latest = at.max(*latest);
            self.at(at, Event::Deliver { from, to, runs, msg });
        }
    }

    pub(super) fn deliver(&mut self, from: NodeId, to: NodeId, runs: (u64, u64), msg: Msg) {
        let stands = self.nodes[from].up && (self.nodes[from].run, self.nodes[to].run) == runs;
        // A stream lives as long as both its ends; any other message may outlive its sender.
        if !self.nodes[to].up || self.net.is_cut(from, to, self.now) || (msg.is_stream() && !stands) {
            return;
        }
        let text = format!("<- {:>7} {}", self.sites.label(from), msg.brief());
        self.note(to, &text);
        self.step(to, |role, cx| role.message(cx, from, stands.then_some(runs.0), msg));
    }
}

/// What a process with a fault built in does not wait for its commit with.
fn too_early(plant: Option<Plant>, out: &Out) -> bool {
    match out {
        Out::Effect(Effect::Install(_)) => plant == Some(Plant::InstallBeforeIntent),
        Out::Send(_, Msg::Stored { .. }) => plant == Some(Plant::AnswerBeforeSync),
        _ => false,
    }
}
