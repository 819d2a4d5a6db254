//! An agent, on a client or at a relay: the driver of `domain`'s client machine.
//!
//! | file | subject |
//! |---|---|
//! | `state` | what is durable |
//! | `talk` | orders, reports and receipts |
//! | `work` | what the machine asks for: content, installers |
//! | `machine` | the host under the agent, which goes on when the agent dies |

mod machine;
mod state;
mod talk;
mod work;

use packhorse_domain::agent::{
    Agent, Effect, Input, Kind, KnownJob, LineId, REQUIRED, Stage, Step, Wish, Write,
};
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::job::Intent;
use packhorse_domain::time::Time;

pub use machine::{Ended, Local, Machine, Start};
pub use state::{AgentState, AgentWrite};

use crate::cx::{Cx, Out};
use crate::download::Download;
use crate::msg::Msg;
use crate::options::Plant;
use crate::says;
use crate::sites::NodeId;
use crate::store::Store;
use crate::uplink::Uplink;

/// The driver: its store, and what a crash takes away.
#[derive(Debug)]
pub struct AgentNode {
    /// What is durable.
    pub store: Store<AgentState>,
    me: HostId,
    name: String,
    parent: NodeId,
    agent: Agent,
    uplink: Uplink,
    download: Option<(LineId, Download)>,
    /// When the machine is to be woken: asked after each of its steps.
    wakes_at: Option<Time>,
    /// When there may be something new to say of the host.
    facts_at: Time,
}

impl AgentNode {
    /// An agent with an empty store.
    pub fn new(me: HostId, name: &str, parent: NodeId, life: Incarnation) -> AgentNode {
        AgentNode {
            store: Store::new(AgentState::new(life)),
            me,
            name: name.to_owned(),
            parent,
            agent: Agent::new(me, name, life),
            uplink: Uplink::new(Time(0)),
            download: None,
            wakes_at: None,
            facts_at: Time(0),
        }
    }

    /// How far this host's clock is ahead.
    fn ahead_secs(&self, cx: &Cx<'_>) -> i64 {
        if cx.planted(Plant::ServersClock) { 0 } else { says::ahead_secs(&self.me, cx.pace) }
    }

    /// Which life of its state this is.
    pub fn life(&self) -> Incarnation {
        self.store.now().life
    }

    /// The machine, to look at.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Starts after a crash: the machine is made of what is durable.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let state = self.store.now();
        let mut jobs: Vec<KnownJob> = state.jobs.values().cloned().collect();
        let mut journal = state.journal.clone();
        if cx.planted(Plant::ForgetSuspended) {
            jobs.iter_mut().filter(|known| known.job.intent == Intent::Suspended).for_each(|known| {
                known.job.intent = Intent::Open;
            });
        }
        if cx.planted(Plant::ForgetWhen) {
            journal.retain(|entry| !matches!(entry.kind, Kind::Postponed { .. }));
            for entry in &mut journal {
                if let Kind::Chosen(choice) = &mut entry.kind {
                    choice.at = None;
                }
            }
        }
        self.agent = Agent::restore(self.me, &self.name, state.life, jobs, state.base, &journal);
        self.agent.numbered(state.alarms.keys().next_back().copied().unwrap_or(0));
        self.uplink = Uplink::new(cx.now);
        self.download = None;
        self.facts_at = Time(0);
        let step = self.agent.resume(cx.now);
        self.absorb(cx, step);
        self.wake(cx);
    }

    /// Hands the machine what happened, writes down and passes on what it answers.
    pub fn input(&mut self, cx: &mut Cx<'_>, mut input: Input) {
        let chance = cx.rng.number();
        if let Input::Wish { line, wish: Wish::Choose { .. }, .. } = &mut input
            && cx.planted(Plant::ChooseAnother)
        {
            let mut others = self.agent.lines().filter(|other| other.may_be_chosen() && other.id != *line);
            if let Some(other) = others.next() {
                *line = other.id.clone();
            }
        }
        let step = self.agent.step(input, cx.now, chance);
        self.absorb(cx, step);
        if !cx.planted(Plant::RequireAtOnce) {
            return;
        }
        let shown = self.agent.lines().find(|line| line.stage == Stage::Offered).map(|line| line.id.clone());
        if let Some(line) = shown {
            let (by, wish) = (REQUIRED.to_owned(), Wish::Choose { at: None });
            let step = self.agent.step(Input::Wish { line, by, wish }, cx.now, chance);
            self.absorb(cx, step);
        }
    }

    fn absorb(&mut self, cx: &mut Cx<'_>, step: Step) {
        for write in step.writes {
            let write = match write {
                Write::Job(key, _) => match self.agent.job(&key) {
                    Some(known) => AgentWrite::Job(known.clone()),
                    None => continue,
                },
                Write::Forget(key) => AgentWrite::Forget(key),
                Write::Journal(entry) => AgentWrite::Journal(entry),
                Write::Base(base) => AgentWrite::Base(base),
            };
            self.store.put(write);
        }
        cx.out.extend(step.effects.into_iter().map(Out::Effect));
        self.wakes_at = self.agent.wakes_at();
    }

    /// Takes in a message of the higher system.
    pub fn message(&mut self, cx: &mut Cx<'_>, from: NodeId, msg: Msg) {
        if from != self.parent {
            return;
        }
        match msg {
            Msg::Feed { lives, batch, .. } => self.orders_came(cx, lives, batch),
            Msg::Stored { lives, life, stored } if life == self.life() => {
                self.stored_above(cx, lives, stored);
            }
            Msg::Frame { request, package, chunks } => self.frame_came(cx, request, package, &chunks),
            _ => {}
        }
    }

    /// Does what its time has come for.
    pub fn wake(&mut self, cx: &mut Cx<'_>) {
        if self.wakes_at.is_some_and(|at| at <= cx.now) {
            self.input(cx, Input::Tick);
        }
        if self.uplink.asks(cx) {
            let cursor = self.store.now().cursor;
            cx.send(self.parent, Msg::FeedAsk(cursor));
        }
        self.say_facts(cx);
        self.send_reports(cx);
        self.take_in(cx);
    }

    /// When [`AgentNode::wake`] is next of use.
    pub fn wakes_at(&self, now: Time) -> Time {
        let download = self.download.as_ref().and_then(|(_, download)| download.wakes_at(now));
        let times = [self.wakes_at, download, says::next(&self.me, now)];
        times.into_iter().flatten().fold(self.uplink.wakes_at(), Time::min)
    }

    /// Does what the machine asked for, now that its writes are durable. What concerns the host below is done by the
    /// caller.
    pub fn effect(&mut self, cx: &mut Cx<'_>, effect: &Effect) {
        match effect {
            Effect::Obtain(line) => self.obtain(cx, line),
            Effect::Stop(line) => self.stop(line),
            Effect::Drop(line) => self.let_go(line),
            Effect::Send => self.send_reports(cx),
            Effect::Probe(_) | Effect::Install(_) | Effect::Check(_) | Effect::Recover(_) => {}
        }
    }
}
