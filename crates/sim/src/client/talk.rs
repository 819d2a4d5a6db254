//! Orders, reports and receipts of an agent.

use std::collections::BTreeMap;

use packhorse_domain::agent::Input;
use packhorse_domain::feed::{Batch, receive};
use packhorse_domain::job::{Gate, Intent, Job, Place, gate};
use packhorse_domain::outbox::Hop;
use packhorse_domain::place::Standing;
use packhorse_domain::planner::OrderPart;
use packhorse_domain::report::{Body, Receipt, Report};

use super::{AgentNode, AgentWrite};
use packhorse_domain::time::Time;

use crate::cx::Cx;
use crate::msg::{Lives, Msg, Order};
use crate::options::Plant;
use crate::says;
use crate::signed::Signed;

impl AgentNode {
    /// A batch of the higher system's feed.
    pub(super) fn orders_came(&mut self, cx: &mut Cx<'_>, lives: Lives, batch: Batch<Order>) {
        self.meet(lives);
        match receive(self.store.now().cursor, batch) {
            Ok((orders, cursor)) => {
                for order in orders {
                    self.obey(cx, order);
                }
                if self.store.now().cursor != Some(cursor) {
                    self.store.put(AgentWrite::Cursor(cursor));
                }
            }
            Err(_) => cx.stats.feed_gaps += 1,
        }
        self.uplink.ask_now(cx.now);
        self.wake(cx);
    }

    fn obey(&mut self, cx: &mut Cx<'_>, order: Order) {
        match order {
            Order::Place(place) => {
                self.take_place(place.verify());
                self.reconsider(cx);
            }
            Order::Job(doc, part) => self.take_job(cx, &doc, &part),
            Order::Control(_) => {}
            Order::Receipts(receipts) => {
                receipts.into_iter().for_each(|receipt| self.input(cx, Input::Receipt(receipt)));
            }
        }
    }

    fn take_place(&mut self, place: Option<&Place>) {
        let known = self.store.now().place.as_ref().map(|place| place.revision);
        if let Some(place) = place.filter(|place| place.host == self.me && Some(place.revision) > known) {
            self.store.put(AgentWrite::Place(place.clone()));
        }
    }

    /// Jobs that are known here and did not name the host, and do now.
    fn reconsider(&mut self, cx: &mut Cx<'_>) {
        let Some(place) = self.store.now().place.clone() else { return };
        let facts = says::facts(&self.me, cx.now);
        let host = Standing { place: &place, facts: &facts, now: cx.now };
        let open = |job: &Job| job.intent != Intent::Cancelled && job.until > cx.now;
        let asked = self.agent.jobs().filter(|known| known.attempt.is_none() && open(&known.job));
        let named: Vec<(Job, u32)> = asked
            .filter(|known| known.job.asks_statements())
            .filter_map(|known| Some((known.job.clone(), known.job.round_by_standing(&host)?.attempt)))
            .collect();
        for (job, attempt) in named {
            let ahead_secs = self.ahead_secs(cx);
            self.input(cx, Input::Order { job, attempt: Some(attempt), ahead_secs });
        }
    }

    fn take_job(&mut self, cx: &mut Cx<'_>, doc: &Signed<Job>, part: &OrderPart) {
        let trusted = doc.verify().is_some_and(|job| job.validate().is_ok());
        if !trusted && !cx.planted(Plant::SkipSignature) {
            cx.stats.bad_signatures += 1;
            return self.alarm(cx, "bad_signature");
        }
        let mut job = doc.unverified().clone();
        let Some(place) = self.store.now().place.as_ref() else { return };
        let facts = says::facts(&self.me, cx.now);
        let host = Standing { place, facts: &facts, now: cx.now };
        let attempt = job.round_for(&host, &part.proofs).map(|round| round.attempt);
        let unmet = if attempt.is_none() { job.unmet(&host) } else { None };
        let known = self.agent.revision(&job.key);
        if gate(known, job.revision) == Gate::Older {
            cx.stats.older_refused += 1;
            if cx.planted(Plant::TakeOlder) {
                job.revision = known.unwrap_or(0) + 1;
            }
        }
        let input = match unmet {
            Some((attempt, why)) => {
                cx.stats.unfit += u64::from(known.is_none());
                Input::Unfit { job, attempt, why }
            }
            None => Input::Order { job, attempt, ahead_secs: self.ahead_secs(cx) },
        };
        self.input(cx, input);
    }

    /// Says what it is like, when that is news.
    pub(super) fn say_facts(&mut self, cx: &mut Cx<'_>) {
        if cx.now < self.facts_at {
            return;
        }
        self.facts_at = says::next(&self.me, cx.now).unwrap_or(Time::MAX);
        let facts = says::facts(&self.me, cx.now);
        let mut said = self.store.now().alarms.values().rev();
        let told = said.find_map(|report| match &report.body {
            Body::Facts(facts) => Some(facts),
            _ => None,
        });
        if says::speaks(&self.me, cx.now) && told.is_none_or(|told| facts.differ(told)) {
            self.say(cx, Body::Facts(facts));
            self.reconsider(cx);
        }
    }

    /// Says upwards that something was refused.
    fn alarm(&mut self, cx: &mut Cx<'_>, code: &str) {
        self.say(cx, Body::Alarm { code: code.to_owned(), text: String::new() });
    }

    fn say(&mut self, cx: &mut Cx<'_>, body: Body) {
        let no = self.agent.number();
        let (origin, incarnation, base) = (self.me, self.life(), self.agent.base());
        let report = Report { origin, incarnation, no, base, at: cx.now, body };
        self.store.put(AgentWrite::Alarm(report));
        self.send_reports(cx);
    }

    fn meet(&mut self, lives: Lives) {
        let hop = Hop::meet(self.store.now().hop, lives.server, lives.higher);
        if self.store.now().hop != Some(hop) {
            self.store.put(AgentWrite::Hop(hop));
        }
    }

    /// The higher system has stored the reports up to there.
    pub(super) fn stored_above(&mut self, cx: &mut Cx<'_>, lives: Lives, stored: u64) {
        self.meet(lives);
        if let Some(mut hop) = self.store.now().hop {
            hop.stored(stored);
            if self.store.now().hop != Some(hop) {
                self.store.put(AgentWrite::Hop(hop));
            }
        }
        if cx.planted(Plant::SkipReceipt) {
            let (origin, incarnation) = (self.me, self.life());
            self.input(cx, Input::Receipt(Receipt { origin, incarnation, upto: stored }));
        }
        self.uplink.answered();
        self.send_reports(cx);
    }

    /// Sends what the higher system does not have yet: the outbox is a view of the journal above the newest receipt.
    pub(super) fn send_reports(&mut self, cx: &mut Cx<'_>) {
        let state = self.store.now();
        let Some(hop) = state.hop else { return };
        if hop.stored >= self.agent.reported() {
            return;
        }
        let from = state.base.max(hop.stored);
        let mut kept: BTreeMap<u64, Report> = state
            .journal
            .iter()
            .rev()
            .take_while(|entry| entry.report.is_none_or(|no| no > from))
            .filter_map(|entry| self.agent.report_of(entry))
            .map(|report| (report.no, report))
            .collect();
        kept.extend(state.alarms.range(from + 1..).map(|(no, report)| (*no, report.clone())));
        let last = self.agent.reported();
        let kept = kept.iter().map(|(no, report)| (*no, report));
        if let Some(batch) = self.uplink.reports(cx, state.life, state.hop, last, kept) {
            cx.send(self.parent, Msg::Reports(batch));
        }
    }
}
