//! What a node is given for one step, and what it may ask for: everything is answered only after the step's writes are
//! durable.

use packhorse_domain::agent::{Effect, LineId, Trouble};
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{Incarnation, PackageId};
use packhorse_domain::time::Time;

use crate::checks::ReportName;
use crate::msg::Msg;
use crate::options::Plant;
use crate::rng::Rng;
use crate::sites::{Lower, NodeId, Package, Sites};
use crate::stats::Stats;

/// What a node asks for, once its writes are durable.
#[derive(Debug, Clone)]
pub enum Out {
    /// A message.
    Send(NodeId, Msg),
    /// What the agent wants done.
    Effect(Effect),
    /// The agent's package is there, or not for now.
    Obtained(LineId, Result<(), Trouble>),
}

/// What a node saw or did that the checks count at once.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A relay wants chunks: how many of these it holds already.
    Asked {
        /// Which package.
        package: PackageId,
        /// Chunks asked for that are held.
        held: u64,
        /// If they are to pass through: which.
        passing: Option<RangeSet>,
    },
    /// Chunks passed through a relay whose hash is right.
    Passed(PackageId, Vec<u32>),
    /// A relay received chunks whose hash is right.
    Received {
        /// Which package.
        package: PackageId,
        /// How many.
        chunks: u64,
        /// Whether it kept a whole copy already.
        had_copy: bool,
    },
    /// A lower system wants chunks.
    AskedBelow(PackageId, RangeSet),
    /// Two machines seem to answer under a name.
    Held(Lower),
    /// The managing server took a report for new that is in its history.
    Again(ReportName),
}

/// One step's surroundings.
pub struct Cx<'a> {
    /// The time.
    pub now: Time,
    /// Chance.
    pub rng: &'a mut Rng,
    /// The tree.
    pub sites: &'a Sites,
    /// The packages.
    pub packages: &'a [Package],
    /// A fault built in on purpose.
    pub plant: Option<Plant>,
    /// How much more rarely than otherwise systems ask while nothing happens.
    pub pace: i64,
    /// Figures of the run.
    pub stats: &'a mut Stats,
    /// Answers.
    pub out: Vec<Out>,
    /// For the checks.
    pub seen: Vec<Seen>,
}

impl Cx<'_> {
    /// A new life's name.
    pub fn life(&mut self) -> Incarnation {
        Incarnation(self.rng.number())
    }

    /// Sends a message.
    pub fn send(&mut self, to: NodeId, msg: Msg) {
        self.out.push(Out::Send(to, msg));
    }

    /// Whether this fault is built in.
    pub fn planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// A package by its id.
    pub fn package(&self, id: &PackageId) -> Option<&Package> {
        self.packages.iter().find(|package| package.named.id == *id)
    }

    /// A time some seconds from now, spread a little.
    pub fn in_secs(&mut self, secs: i64) -> Time {
        let spread = self.rng.between(0, secs * 250_000);
        Time(self.now.plus_secs(secs).0 + spread)
    }
}
