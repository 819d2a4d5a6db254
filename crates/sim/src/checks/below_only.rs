//! Rule 5: a relay acts only on what is below it; what a system says about hosts not below it is refused.

use packhorse_domain::ids::HostId;

use super::{Checked, Ledger, Rule, require};
use crate::hub::HubWrite;
use crate::msg::Order;
use crate::sites::{Lower, NodeId, Sites};

impl Ledger {
    /// Judges what a system made durable. `knows` says of which hosts it knows where they stand: reports of others it passes
    /// on unjudged, but never takes into its own lines or history.
    ///
    /// # Errors
    /// It is about a host that is not below the system, or not below who said it or is told of it.
    pub fn below_only(
        &self,
        sites: &Sites,
        node: NodeId,
        write: &HubWrite,
        knows: impl Fn(&HostId) -> bool,
    ) -> Checked {
        match write {
            HubWrite::Line(key, _) => {
                let mine = sites.lower(node);
                below(sites, &key.host, mine, || format!("node {node} has a line of it"))
            }
            HubWrite::Outbox(Some(_), report) if !knows(&report.origin) => Ok(()),
            HubWrite::History(via, report) | HubWrite::Outbox(Some(via), report) => {
                below(sites, &report.origin, Some(*via), || format!("node {node} took a report from {via:?}"))
            }
            HubWrite::FeedAppend(lower, Order::Job(_, part)) => {
                part.proofs.iter().flat_map(|proof| &proof.slice.leaves).try_for_each(|host| {
                    below(sites, host, Some(*lower), || format!("node {node} sends a proof to {lower:?}"))
                })
            }
            HubWrite::FeedAppend(lower, Order::Place(place)) => {
                let host = place.unverified().host;
                below(sites, &host, Some(*lower), || format!("node {node} tells {lower:?} where it stands"))
            }
            _ => Ok(()),
        }
    }
}

/// Requires that a host is at or below a system; everything is below the managing server.
fn below(sites: &Sites, host: &HostId, system: Option<Lower>, what: impl Fn() -> String) -> Checked {
    let place = sites.place_of(host);
    let is_below = place.is_some_and(|place| system.is_none_or(|system| system.covers(place)));
    require(Rule::BelowOnly, is_below, || format!("host {host} is not below: {}", what()))
}
