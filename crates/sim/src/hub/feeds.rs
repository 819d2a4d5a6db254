//! Orders for direct lower systems: one numbered feed for each.

use std::collections::BTreeSet;

use packhorse_domain::feed::{Answer, Batch, Cursor, answer};
use packhorse_domain::ids::{HostId, Incarnation, JobKey};
use packhorse_domain::job::{Intent, JobType};
use packhorse_domain::merkle::Prover;
use packhorse_domain::planner::{OrderPart, PlanLine, Provers, named, order};
use packhorse_domain::report::Receipt;

use super::state::JobRow;
use super::{Hub, HubWrite};
use crate::cx::Cx;
use crate::msg::{Msg, Order};
use crate::options::Plant;
use crate::sites::{Lower, NodeId};

/// Most entries in a batch.
const BATCH_MAX: usize = 12;

/// A request that waits for something new.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    node: NodeId,
    incarnation: Incarnation,
    after: u64,
}

impl Hub {
    /// A lower system asks what comes after its cursor, by which it acknowledges what is before.
    pub(super) fn feed_asked(&mut self, cx: &mut Cx<'_>, node: NodeId, lower: Lower, cursor: Option<Cursor>) {
        if self.lives().is_none() {
            return;
        }
        let head = self.store.now().feeds.get(&lower).map(|feed| feed.head);
        let verdict = head.map_or(Answer::Rebuild, |head| answer(head, cursor));
        let after = match (verdict, head) {
            (Answer::After { after }, Some(head)) => {
                if after > head.pruned {
                    self.store.put(HubWrite::FeedPrune(lower, after));
                }
                after
            }
            (Answer::Rebuild, Some(head)) if cx.planted(Plant::NeverRebuild) => head.pruned,
            _ => {
                self.rebuild(cx, lower);
                0
            }
        };
        let Some(feed) = self.store.now().feeds.get(&lower) else { return };
        let held = Held { node, incarnation: feed.head.incarnation, after };
        self.held.insert(lower, held);
    }

    /// A new feed that holds all that is open for a lower system.
    fn rebuild(&mut self, cx: &mut Cx<'_>, lower: Lower) {
        cx.stats.rebuilds += 1;
        let life = cx.life();
        self.store.put(HubWrite::FeedNew(lower, life));
        let covered: BTreeSet<HostId> = self.covered(lower).map(|place| place.host).collect();
        let state = self.store.now();
        let mut orders: Vec<Order> =
            covered.iter().filter_map(|host| state.places.get(host)).cloned().map(Order::Place).collect();
        let open = |row: &JobRow| row.doc.unverified().intent == Intent::Open;
        let told = state.jobs.iter().filter(|(_, row)| !cx.planted(Plant::RebuildOpen) || open(row));
        orders.extend(told.filter_map(|(key, _)| self.order_of(cx, key, lower)));
        if !lower.agent {
            let set = covered.iter().filter_map(|host| state.controls.get(host));
            orders.extend(set.cloned().map(Order::Control));
        }
        let marks = state.marks.iter().filter(|((origin, _), _)| covered.contains(origin));
        let receipts: Vec<Receipt> = marks
            .map(|((origin, incarnation), upto)| Receipt {
                origin: *origin,
                incarnation: *incarnation,
                upto: *upto,
            })
            .collect();
        orders.push(Order::Receipts(receipts));
        for order in orders {
            self.store.put(HubWrite::FeedAppend(lower, order));
        }
    }

    /// Tells every direct lower system about a job, as far as it names hosts there. Feeds that nobody has asked for yet are
    /// made when they are asked for.
    pub(super) fn distribute(&mut self, cx: &Cx<'_>, key: &JobKey) {
        let feeds = self.store.now().feeds.keys().copied();
        let lowers: Vec<Lower> = feeds.filter(|lower| self.tells(cx, *lower)).collect();
        for lower in lowers {
            if let Some(order) = self.order_of(cx, key, lower) {
                self.store.put(HubWrite::FeedAppend(lower, order));
            }
        }
    }

    /// What a lower system is told of a job.
    fn order_of(&self, cx: &Cx<'_>, key: &JobKey, lower: Lower) -> Option<Order> {
        match self.job_order(key, lower)? {
            Order::Job(doc, mut part) if cx.planted(Plant::TellOfStrangers) => {
                part.proofs.clone_from(&self.store.now().jobs.get(key)?.proofs);
                Some(Order::Job(doc, part))
            }
            order => Some(order),
        }
    }

    /// For the checks: a lower system that still has something to do for a job and will not find the job's newest revision in
    /// its feed, though that has just become durable here.
    pub fn untold(&self, key: &JobKey) -> Option<Lower> {
        let durable = self.store.durable();
        let revision = durable.jobs.get(key)?.doc.unverified().revision;
        let told = |order: &Order| match order {
            Order::Job(doc, _) => doc.unverified().key == *key && doc.unverified().revision >= revision,
            _ => false,
        };
        let untold = durable.feeds.iter().filter(|(_, feed)| !feed.entries.values().any(told));
        untold.map(|(lower, _)| *lower).find(|lower| self.job_order(key, *lower).is_some())
    }

    fn job_order(&self, key: &JobKey, lower: Lower) -> Option<Order> {
        let row = self.store.now().jobs.get(key)?;
        // An agent has nothing to do with a transfer.
        if lower.agent && row.doc.unverified().job_type == JobType::Transfer {
            return None;
        }
        let lines: Vec<PlanLine> =
            self.covered(lower).filter_map(|place| self.plan_line(row, place.host)).collect();
        // A relay that has no line of it (yet) gets a job that takes in hosts later: it does that also while it is cut off.
        let grows = !lower.agent && row.doc.unverified().grows();
        let listed = lines.iter().any(|line| line.leaf.is_some());
        let provers = if listed { provers(row) } else { Provers::new() };
        let mut part = match order(&lines, &provers) {
            None if grows => OrderPart::default(),
            part => part?,
        };
        part.named = named(row.doc.unverified(), &lines);
        // Where everything has ended by the hosts' own word there is nothing left to tell.
        (grows || part.ended.len() < lines.len()).then(|| Order::Job(row.doc.clone(), part))
    }

    fn plan_line(&self, row: &JobRow, host: HostId) -> Option<PlanLine> {
        let job = row.doc.unverified();
        let (attempt, leaf) = *self.store.now().named.get(&(job.key.clone(), host))?;
        // The host's own word counts, not a verdict: a host that has not said so may still act.
        let ended = self.lines_of(job, host).all(|line| line.state.is_end() && line.attempt >= attempt);
        Some(PlanLine { host, attempt, leaf, ended })
    }

    /// Answers held requests for which there is something to say by now.
    pub(super) fn answer_held(&mut self, cx: &mut Cx<'_>) {
        let Some(lives) = self.lives() else { return };
        let mut answered = Vec::new();
        let mut evil = self.evil.take();
        for (lower, held) in &self.held {
            let Some(feed) = self.store.now().feeds.get(lower) else { continue };
            if feed.head.last <= held.after && feed.head.incarnation == held.incarnation {
                continue;
            }
            answered.push(*lower);
            // A request for an earlier life of the feed: the reader asks again.
            if feed.head.incarnation != held.incarnation {
                continue;
            }
            let rest = feed.entries.range(held.after + 1..).take(BATCH_MAX);
            let mut entries: Vec<(u64, Order)> = rest.map(|(n, order)| (*n, order.clone())).collect();
            if let Some(evil) = &mut evil {
                evil.twist(cx, &mut entries);
            }
            let batch = Batch { incarnation: held.incarnation, after: held.after, entries };
            let all = batch.entries.last().is_none_or(|(n, _)| *n == feed.head.last);
            cx.send(held.node, Msg::Feed { lives, batch, all });
        }
        self.evil = evil;
        self.held.retain(|lower, _| !answered.contains(lower));
    }
}

fn provers(row: &JobRow) -> Provers {
    let mut provers = Provers::new();
    for proof in &row.proofs {
        provers.entry(proof.attempt).or_default().extend(Prover::new(proof.slice.clone()));
    }
    provers
}
