//! Reports from below: accepted, taken in, receipted or passed on. At a relay also the way further up.

use std::collections::{BTreeMap, HashSet};

use packhorse_domain::facts::Facts;
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::ingest::{Ingested, Known, ingest};
use packhorse_domain::instruction::{Line, LineKey};
use packhorse_domain::job::Job;
use packhorse_domain::outbox::{Accept, Hop, accept};
use packhorse_domain::report::{Body, Report};
use packhorse_domain::time::Time;

use super::{Hub, HubWrite};
use crate::cx::{Cx, Seen};
use crate::msg::{Lives, Msg, Order, ReportBatch};
use crate::options::Plant;
use crate::sites::{Lower, NodeId};

impl Hub {
    /// The lines of a job at a host.
    pub(super) fn lines_of<'a>(&'a self, job: &'a Job, host: HostId) -> impl Iterator<Item = &'a Line> {
        job.packages.iter().filter_map(move |package| {
            let key = LineKey { job: job.key.clone(), package: package.id, host };
            self.store.now().lines.get(&key)
        })
    }

    /// A lower system sends a run of its outbox.
    pub(super) fn reports_came(&mut self, cx: &mut Cx<'_>, node: NodeId, lower: Lower, batch: ReportBatch) {
        let Some(lives) = self.lives() else { return };
        let mut key = (lower, batch.life, batch.server);
        if cx.planted(Plant::DropIncarnation) {
            key.1 = Incarnation(0);
        }
        let before = self.store.now().stored.get(&key).copied().unwrap_or(0);
        let stored = match accept(before, batch.after, batch.through) {
            Accept::Rewind { stored } => {
                cx.stats.rewinds += 1;
                stored
            }
            Accept::Store { from, through } => {
                let fresh = batch.items.into_iter().filter(|(n, _)| *n > from).map(|(_, report)| report);
                let fresh: Vec<Report> = fresh.collect();
                self.take_in(cx, lower, fresh);
                if through > from {
                    self.store.put(HubWrite::Stored(key, through));
                }
                through
            }
        };
        cx.send(node, Msg::Stored { lives, life: batch.life, stored });
    }

    fn take_in(&mut self, cx: &mut Cx<'_>, lower: Lower, batch: Vec<Report>) {
        if batch.is_empty() || self.evil.as_ref().is_some_and(|evil| evil.swallows(cx)) {
            return;
        }
        let known = self.known_for(cx, lower, &batch);
        let taken = ingest(self.position(), known, batch);
        self.write_taken(cx, lower, taken);
        self.send_reports(cx);
    }

    fn known_for(&self, cx: &Cx<'_>, lower: Lower, batch: &[Report]) -> Known {
        let state = self.store.now();
        let mut known = Known::default();
        for report in batch {
            if let Body::Line(said) = &report.body {
                let key = LineKey { job: said.job.clone(), package: said.package, host: report.origin };
                known.lines.extend(state.lines.get(&key).map(|line| (key, line.clone())));
            }
            let origin = (report.origin, report.incarnation);
            known.upto.extend(state.marks.get(&origin).map(|upto| (origin, *upto)));
        }
        let strange = |report: &&Report| !self.is_top() && !state.places.contains_key(&report.origin);
        known.strangers = batch.iter().filter(strange).map(|report| report.origin).collect();
        known.below_sender = if cx.planted(Plant::TrustEverySender) {
            batch.iter().map(|report| report.origin).collect()
        } else {
            self.covered(lower).map(|place| place.host).collect::<HashSet<HostId>>()
        };
        known
    }

    fn write_taken(&mut self, cx: &mut Cx<'_>, lower: Lower, taken: Ingested) {
        cx.stats.not_below += taken.not_below.len() as u64;
        cx.stats.odd_reports += if self.is_top() { taken.odd.len() as u64 } else { 0 };
        for (key, line) in taken.lines {
            self.store.put(HubWrite::Line(key, line));
        }
        self.take_facts(cx, taken.facts);
        if !self.is_top() {
            let fresh = taken.fresh.into_iter().map(|report| HubWrite::Outbox(Some(lower), report));
            return fresh.for_each(|write| self.store.put(write));
        }
        for report in taken.fresh {
            let name = (report.origin, report.incarnation, report.no);
            // The history has one row for each name: what came before a gap was closed may come once more.
            if self.store.now().history.contains_key(&name) {
                cx.seen.push(Seen::Again(name));
            } else {
                self.store.put(HubWrite::History(lower, report));
            }
        }
        for (host, copy) in taken.copies {
            self.store.put(HubWrite::CopyBelow(host, copy.package, copy.keep_until));
        }
        for receipt in &taken.receipts {
            self.store.put(HubWrite::Mark(*receipt));
        }
        if !taken.receipts.is_empty() {
            self.store.put(HubWrite::FeedAppend(lower, Order::Receipts(taken.receipts)));
        }
    }

    fn take_facts(&mut self, cx: &mut Cx<'_>, said: BTreeMap<HostId, (Time, Facts)>) {
        for (host, (at, facts)) in said {
            let known = self.store.now().facts.get(&host);
            if known.is_none_or(|(before, known)| *before <= at && *known != facts) {
                self.store.put(HubWrite::Facts(host, at, facts));
                self.take_in_late(cx, &[host]);
            }
        }
    }

    /// At a relay: the higher system has stored its outbox up to there.
    pub(super) fn stored_above(&mut self, cx: &mut Cx<'_>, lives: Lives, stored: u64) {
        self.meet(lives);
        if let Some(mut hop) = self.store.now().hop {
            hop.stored(stored);
            if self.store.now().hop != Some(hop) {
                self.store.put(HubWrite::Hop(hop));
            }
        }
        self.uplink.answered();
        self.send_reports(cx);
    }

    /// At a relay: takes in which lives answer above.
    pub(super) fn meet(&mut self, lives: Lives) {
        let state = self.store.now();
        let hop = Hop::meet(state.hop, lives.server, lives.higher);
        let (new_server, new_hop) = (state.server != Some(lives.server), state.hop != Some(hop));
        if new_server {
            self.store.put(HubWrite::Server(lives.server));
        }
        if new_hop {
            self.store.put(HubWrite::Hop(hop));
        }
    }

    /// At a relay: sends what the higher system does not have yet.
    pub(super) fn send_reports(&mut self, cx: &mut Cx<'_>) {
        let Some(parent) = self.parent else { return };
        let state = self.store.now();
        let kept = state.outbox.iter().map(|(n, report)| (*n, report));
        let batch = self.uplink.reports(cx, state.life, state.hop, state.outbox_last, kept);
        if let Some(mut batch) = batch {
            if let Some(evil) = &self.evil {
                evil.invent(cx, self.me, &mut batch);
            }
            cx.send(parent, Msg::Reports(batch));
        }
    }

    /// At a relay: a report of its own.
    pub(super) fn say(&mut self, cx: &mut Cx<'_>, body: Body) {
        let (Some(origin), state) = (self.me, self.store.now()) else { return };
        let base = state.marks.get(&(origin, state.life)).copied().unwrap_or(0);
        let no = state.reported + 1;
        let report = Report { origin, incarnation: state.life, no, base, at: cx.now, body };
        self.store.put(HubWrite::Outbox(None, report));
        self.send_reports(cx);
    }
}
