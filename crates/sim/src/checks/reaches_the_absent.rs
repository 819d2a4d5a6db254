//! Rule 8: suspend, resume, cancel, close and limits reach hosts and relays that were off, cut off, replaced or came later.
//!
//! Three looks. When a change becomes durable at a system, whoever calls there finds it in the feed, be it there now or not.
//! When a host or relay makes durable that it has read its feed up to a place, it has taken notice of what is before that
//! place. And once the faults are over for a while, nobody acts on anything older than what the managing server knows.

use packhorse_domain::agent::Agent;
use packhorse_domain::feed::Cursor;
use packhorse_domain::ids::{HostId, JobKey};
use packhorse_domain::line::Intake;
use packhorse_domain::time::Time;

use super::{Checked, Ledger, Life, Rule, View, require};
use crate::hub::{Feed, Hub, HubState};
use crate::msg::Order;
use crate::signed::Signed;

const RULE: Rule = Rule::ReachesTheAbsent;

/// Judges a system in which a job's newer revision has just become durable: whoever is off finds it in the feed.
///
/// # Errors
/// A lower system that still has something to do for the job does not.
pub fn job_told_to_all(hub: &Hub, key: &JobKey) -> Checked {
    let untold = hub.untold(key);
    require(RULE, untold.is_none(), || format!("{key} has a newer revision, which {untold:?} will not find"))
}

/// Judges a system in which has become durable what is set at a relay.
///
/// # Errors
/// The lower system on the way there will not find it.
pub fn control_told(hub: &Hub, relay: &HostId) -> Checked {
    let durable = hub.store.durable();
    let Some(control) = durable.controls.get(relay) else { return Ok(()) };
    let told = |order: &Order| matches!(order, Order::Control(told) if told == control);
    let feed = hub.onwards(relay).and_then(|lower| durable.feeds.get(&lower));
    require(RULE, feed.is_none_or(|feed| feed.entries.values().any(told)), || {
        format!("what is set at {relay} the next on its way will not find: {control:?}")
    })
}

/// What a feed brought up to a cursor.
fn brought(feed: &Feed, cursor: Cursor) -> impl Iterator<Item = &Order> {
    let same = feed.head.incarnation == cursor.incarnation;
    feed.entries.range(..=cursor.n).map(|(_, order)| order).filter(move |_| same)
}

/// Judges a host that made its place in the feed durable: of every job of which it knows a revision it knows then what was
/// brought.
///
/// # Errors
/// It took no notice.
pub fn host_took_notice(agent: &Agent, feed: &Feed, cursor: Cursor) -> Checked {
    for order in brought(feed, cursor) {
        let Order::Job(doc, _) = order else { continue };
        let Some(job) = doc.verify() else { continue };
        let known = agent.revision(&job.key);
        require(RULE, known.is_none_or(|known| known >= job.revision), || {
            format!("{} came in revision {} and was acknowledged, known is {known:?}", job.key, job.revision)
        })?;
    }
    Ok(())
}

/// The same of a relay, which has to know every job that is brought, and what is set.
///
/// # Errors
/// It took no notice.
pub fn relay_took_notice(relay: &HubState, feed: &Feed, cursor: Cursor) -> Checked {
    for order in brought(feed, cursor) {
        match order {
            Order::Job(doc, _) => {
                let Some(job) = doc.verify() else { continue };
                let known = relay.jobs.get(&job.key).map(|row| row.doc.unverified().revision);
                require(RULE, known >= Some(job.revision), || {
                    format!("{} came in revision {} to a relay, known is {known:?}", job.key, job.revision)
                })?;
            }
            Order::Control(doc) => {
                let Some(control) = doc.verify() else { continue };
                let known = relay.controls.get(&control.relay).map(|known| known.unverified().revision);
                require(RULE, known >= Some(control.revision), || {
                    format!("{control:?} came to a relay, known is revision {known:?}")
                })?;
            }
            Order::Place(_) | Order::Receipts(_) => {}
        }
    }
    Ok(())
}

/// Judges a relay that asks for content.
///
/// # Errors
/// What is set there, as it knows, lets nothing in now.
pub fn asks_within_limits(relay: &Hub, now: Time) -> Checked {
    let open = relay.own_control().is_none_or(|control| matches!(control.intake(now), Intake::Open(_)));
    require(RULE, open, || format!("a relay takes in at {now:?}: {:?}", relay.own_control()))
}

/// Judges, a while after the faults, whether everybody who still has something to do knows the newest of it.
///
/// # Errors
/// A host or relay acts on something older.
pub fn all_know<'a>(
    server: &HubState,
    agents: &[View<'_>],
    relays: impl Iterator<Item = (HostId, &'a HubState)>,
) -> Checked {
    let newest = |key: &JobKey| server.jobs.get(key).map(|row| row.doc.unverified().revision);
    for view in agents {
        for line in view.agent.lines().filter(|line| !line.stage.is_end()) {
            let known = view.agent.revision(&line.id.job);
            require(RULE, known == newest(&line.id.job), || {
                format!("{} acts on revision {known:?} of {}: {line:?}", view.host, line.id.job)
            })?;
        }
    }
    for (relay, state) in relays {
        for key in state.open.iter().filter(|(_, packages)| packages.values().any(|open| open.all > 0)) {
            let known = state.jobs.get(key.0).map(|row| row.doc.unverified().revision);
            require(RULE, known == newest(key.0), || {
                format!("relay {relay} acts on revision {known:?} of {}", key.0)
            })?;
        }
        let set = |state: &HubState| state.controls.get(&relay).map(Signed::unverified).cloned();
        require(RULE, set(server) == set(state), || {
            format!("at relay {relay} is set {:?}, it knows {:?}", set(server), set(state))
        })?;
    }
    Ok(())
}

impl Ledger {
    /// Whether a revision is newer than what a system had, so that it has to go on.
    pub fn is_news(&self, who: Life, key: &JobKey, revision: u64) -> bool {
        self.revisions.get(&(who.0, who.1, key.clone())).is_none_or(|known| *known < revision)
    }
}
