//! Rule 7: room is reserved before bytes are asked for, so a relay's store never takes more than it may; and a copy within its
//! date is never pushed out. (That no job fails for want of room is rule 9's: all of them end.)

use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::{Incarnation, PackageId};
use packhorse_domain::lease::Dated;
use packhorse_domain::time::Time;

use super::{Checked, Ledger, Rule, require};
use crate::hub::HubState;
use crate::sites::NodeId;

/// Judges what a relay's store takes after it wrote a chunk.
///
/// # Errors
/// More than it may.
pub fn within_limit(node: NodeId, state: &HubState, limit: Option<u64>) -> Checked {
    let used: u64 = state.staged.values().map(RangeSet::len).sum();
    let holds = limit.is_none_or(|limit| used <= limit);
    require(Rule::RoomFirst, holds, || format!("node {node} holds {used} chunks, it may {limit:?}"))
}

/// Judges that a copy goes.
///
/// # Errors
/// It is within its date.
pub fn kept_stay(node: NodeId, package: PackageId, date: Option<Dated>, now: Time) -> Checked {
    let past = date.is_none_or(|date| date.until <= now);
    require(Rule::RoomFirst, past, || {
        format!("node {node} drops {package}, which it keeps: {date:?} at {now:?}")
    })
}

impl Ledger {
    /// A copy went: what comes of it later is another one.
    pub fn gone(&mut self, node: NodeId, life: Incarnation, package: PackageId, at: Time) {
        self.received.remove(&(node, life, package));
        if self.dated.remove(&(node, life, package)).is_some() {
            self.let_go.insert((node, life, package), at);
        }
    }
}
