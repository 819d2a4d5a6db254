//! Where a host stands and what it belongs to, signed by the managing server; and how a job sees it.

use crate::condition;
use crate::facts::Facts;
use crate::ids::{GroupId, HostId};
use crate::time::Time;

/// Which kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostRole {
    /// A relay system, as a host.
    Relay,
    /// A client.
    Client,
}

impl HostRole {
    /// The word in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            HostRole::Relay => "relay",
            HostRole::Client => "client",
        }
    }

    /// The role of a word.
    pub fn parse(word: &str) -> Option<HostRole> {
        [HostRole::Relay, HostRole::Client].into_iter().find(|role| role.as_str() == word)
    }
}

/// Where a host stands, as the managing server signed it: no relay can tell a host that it is below another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The host.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: HostRole,
    /// The relays above it, from the managing server down; a relay ends its own route.
    pub route: Vec<HostId>,
    /// A newer statement counts.
    pub revision: u64,
    /// The fixed groups it is a member of, also by groups that are members of them; by their ids.
    pub groups: Vec<Membership>,
    /// Until when the memberships count; the managing server signs anew before.
    pub groups_until: Time,
    /// When it joined, as far as it matters: before everything, unless a job was closed before.
    pub joined: Time,
    /// The systems it may call, in the order in which it prefers them; empty: the one it joined. Which one it calls follows
    /// from the route.
    pub above: Vec<Above>,
    /// The newest change of whom it calls that the host made by itself and the managing server knew of; see
    /// [`crate::calling`]. 0: none.
    pub called: u64,
}

/// A system that a host may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Above {
    /// It.
    pub id: HostId,
    /// A relay; else the managing server.
    pub relay: bool,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub urls: Vec<String>,
}

/// Most systems that one host may call.
pub const ABOVE_MAX: usize = 8;

/// A membership in a fixed group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    /// The group.
    pub group: GroupId,
    /// Since when.
    pub since: Time,
}

/// Most fixed groups of one host.
pub const GROUPS_MAX: usize = 256;

impl Place {
    /// Directly below the managing server, in no group.
    pub fn new(host: HostId, name: &str, role: HostRole) -> Place {
        Place {
            host,
            name: name.to_owned(),
            role,
            route: Vec::new(),
            revision: 0,
            groups: Vec::new(),
            groups_until: Time(0),
            joined: Time(0),
            above: Vec::new(),
            called: 0,
        }
    }

    /// The system it calls, if the managing server ever said which one.
    pub fn calls(&self) -> Option<&Above> {
        let relay = self.route.iter().rev().find(|relay| **relay != self.host);
        self.above.iter().find(|above| match relay {
            Some(relay) => above.relay && above.id == *relay,
            None => !above.relay,
        })
    }

    /// Whether it may call this system: a relay, or the managing server (`None`).
    pub fn lists(&self, system: Option<&HostId>) -> bool {
        self.above.iter().any(|above| match system {
            Some(relay) => above.relay && above.id == *relay,
            None => !above.relay,
        })
    }

    /// Whether it is below `relay`, or is it.
    pub fn is_below(&self, relay: &HostId) -> bool {
        self.route.contains(relay)
    }

    /// Whether it is below `relay`, or calls another system while that one is away and may come back to it by itself.
    pub fn may_be_below(&self, relay: &HostId) -> bool {
        self.is_below(relay) || self.lists(Some(relay))
    }
}

/// A host as jobs see it: its place, and what it says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Where it stands.
    pub place: &'a Place,
    /// What it says.
    pub facts: &'a Facts,
    /// Memberships count until some time.
    pub now: Time,
}

impl Standing<'_> {
    /// Since when the host is a member of a fixed group; `None`: it is not, or the statement has ended.
    pub fn member_since(&self, group: &GroupId) -> Option<Time> {
        let counts = self.now < self.place.groups_until;
        let found = self.place.groups.iter().find(|membership| membership.group == *group);
        found.filter(|_| counts).map(|membership| membership.since)
    }
}

impl condition::Host for Standing<'_> {
    fn fact(&self, name: &str) -> Option<&str> {
        match name {
            "name" => Some(&self.place.name),
            "role" => Some(self.place.role.as_str()),
            name => self.facts.get(name),
        }
    }

    fn is_below(&self, relay: &HostId) -> bool {
        self.place.host != *relay && self.place.is_below(relay)
    }

    fn is_member(&self, group: &GroupId) -> bool {
        self.member_since(group).is_some()
    }
}
