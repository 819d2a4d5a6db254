//! A process of the run: its driver, whether it is up, and what it may say once its writes are durable.

use packhorse_domain::ids::Incarnation;
use packhorse_domain::time::Time;

use crate::client::{AgentNode, AgentWrite, Machine};
use crate::cx::{Cx, Out};
use crate::hub::{Hub, HubWrite};
use crate::msg::Msg;
use crate::sites::NodeId;

/// What a process is.
#[derive(Debug)]
pub enum Role {
    /// The managing server or a relay.
    Hub(Box<Hub>),
    /// An agent, and the host it runs on.
    Agent(Box<AgentNode>, Machine),
}

/// What became durable.
#[derive(Debug)]
pub enum Writes {
    /// At a hub.
    Hub(Vec<HubWrite>),
    /// At an agent.
    Agent(Vec<AgentWrite>),
}

/// A process.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub role: Role,
    /// Names this start of it.
    pub run: u64,
    /// Whether it runs.
    pub up: bool,
    /// What it wants to say, step by step, once everything before is durable.
    pub pending: Vec<Vec<Out>>,
    /// Whether a commit is on its way.
    pub committing: bool,
    /// When it is woken next.
    pub wake_at: Option<Time>,
}

impl Node {
    /// A process that is not up yet.
    pub fn new(role: Role) -> Node {
        Node { role, run: 0, up: false, pending: Vec::new(), committing: false, wake_at: None }
    }

    /// The agent and its host, if it is one.
    pub fn agent(&self) -> Option<(&AgentNode, &Machine)> {
        match &self.role {
            Role::Agent(agent, machine) => Some((agent, machine)),
            Role::Hub(_) => None,
        }
    }

    /// The hub, if it is one.
    pub fn hub(&self) -> Option<&Hub> {
        match &self.role {
            Role::Hub(hub) => Some(hub),
            Role::Agent(..) => None,
        }
    }

    /// The host under the agent, if it is one.
    pub fn machine(&mut self) -> Option<&mut Machine> {
        match &mut self.role {
            Role::Agent(_, machine) => Some(machine),
            Role::Hub(_) => None,
        }
    }
}

impl Role {
    /// Which life of its state this is.
    pub fn life(&self) -> Incarnation {
        match self {
            Role::Hub(hub) => hub.life(),
            Role::Agent(agent, _) => agent.life(),
        }
    }

    /// Starts after a crash.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        match self {
            Role::Hub(hub) => {
                hub.forget_outbox(cx);
                hub.start(cx);
            }
            Role::Agent(agent, _) => agent.start(cx),
        }
    }

    /// Takes in a message.
    pub fn message(&mut self, cx: &mut Cx<'_>, from: NodeId, run: Option<u64>, msg: Msg) {
        match self {
            Role::Hub(hub) => hub.message(cx, from, run, msg),
            Role::Agent(agent, _) => agent.message(cx, from, msg),
        }
    }

    /// Does what its time has come for.
    pub fn wake(&mut self, cx: &mut Cx<'_>) {
        match self {
            Role::Hub(hub) => hub.wake(cx),
            Role::Agent(agent, _) => agent.wake(cx),
        }
    }

    /// The end of every step.
    pub fn finish(&mut self, cx: &mut Cx<'_>) {
        if let Role::Hub(hub) = self {
            hub.finish(cx);
        }
    }

    /// When it is to be woken.
    pub fn wakes_at(&self, now: Time) -> Time {
        match self {
            Role::Hub(hub) => hub.wakes_at(now),
            Role::Agent(agent, _) => agent.wakes_at(now),
        }
    }

    /// Closes the step's transaction; answers whether anything is on its way to the disk.
    pub fn close(&mut self) -> bool {
        match self {
            Role::Hub(hub) => hub.store.close(),
            Role::Agent(agent, _) => agent.store.close(),
        }
    }

    /// Transactions that are not durable yet.
    pub fn unsynced(&self) -> usize {
        match self {
            Role::Hub(hub) => hub.store.unsynced(),
            Role::Agent(agent, _) => agent.store.unsynced(),
        }
    }

    /// Makes everything durable.
    pub fn sync(&mut self) -> Writes {
        match self {
            Role::Hub(hub) => Writes::Hub(hub.store.sync()),
            Role::Agent(agent, _) => Writes::Agent(agent.store.sync()),
        }
    }

    /// Loses what is not durable, but for the first `keep` transactions.
    pub fn crash(&mut self, keep: usize) -> Writes {
        match self {
            Role::Hub(hub) => Writes::Hub(hub.store.crash(keep)),
            Role::Agent(agent, _) => Writes::Agent(agent.store.crash(keep)),
        }
    }
}
