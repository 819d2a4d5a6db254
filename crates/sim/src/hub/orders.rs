//! At a relay: orders from the higher system. Jobs pass the gate, open lines, and go on to the lower systems they name;
//! receipts let go of what they cover and go on to whom they are for.

use std::collections::BTreeMap;

use packhorse_domain::feed::{Batch, receive};
use packhorse_domain::ids::{HostId, JobKey};
use packhorse_domain::instruction::{Line, LineKey, Verdict};
use packhorse_domain::job::{Gate, Intent, Job, Place, Proof, gate};
use packhorse_domain::planner::{Opened, OrderPart, also, holds, opens};
use packhorse_domain::report::{Body, Receipt};

use super::{Hub, HubWrite};
use crate::cx::Cx;
use crate::msg::{Lives, Order};
use crate::options::Plant;
use crate::signed::Signed;
use crate::sites::Lower;

impl Hub {
    /// A batch of the higher system's feed.
    pub(super) fn orders_came(&mut self, cx: &mut Cx<'_>, lives: Lives, batch: Batch<Order>, all: bool) {
        self.meet(lives);
        match receive(self.store.now().cursor, batch) {
            Ok((orders, cursor)) => {
                for order in orders {
                    self.obey(cx, order);
                }
                if self.store.now().cursor != Some(cursor) {
                    self.store.put(HubWrite::Cursor(cursor));
                }
                if all && !self.store.now().ready {
                    self.store.put(HubWrite::Ready);
                }
            }
            Err(_) => cx.stats.feed_gaps += 1,
        }
        self.uplink.ask_now(cx.now);
        self.wake(cx);
    }

    fn obey(&mut self, cx: &mut Cx<'_>, order: Order) {
        match order {
            Order::Place(place) => self.take_place(cx, place),
            Order::Job(doc, part) => self.take_job(cx, doc, &part),
            Order::Control(control) => self.take_control(cx, control),
            Order::Receipts(receipts) => self.take_receipts(receipts),
        }
    }

    fn take_place(&mut self, cx: &mut Cx<'_>, offered: Signed<Place>) {
        let Some(place) = offered.verify() else {
            cx.stats.bad_signatures += 1;
            return;
        };
        let known = self.store.now().places.get(&place.host).and_then(Signed::verify);
        if known.is_none_or(|known| known.revision < place.revision) {
            self.put_place(offered.clone());
            // A feed made before has no room for it; one that nobody has asked for yet will.
            if let Some(lower) = self.direct(place).filter(|lower| self.store.now().feeds.contains_key(lower))
            {
                self.store.put(HubWrite::FeedAppend(lower, Order::Place(offered.clone())));
            }
            self.place_changed(cx, &offered);
        }
    }

    fn take_job(&mut self, cx: &mut Cx<'_>, doc: Signed<Job>, part: &OrderPart) {
        let trusted = doc.verify().is_some_and(|job| job.validate().is_ok());
        if !trusted && !cx.planted(Plant::SkipSignature) {
            cx.stats.bad_signatures += 1;
            return self.say(cx, alarm("bad_signature"));
        }
        let key = doc.unverified().key.clone();
        let row = self.store.now().jobs.get(&key);
        let known = row.map(|row| row.doc.unverified().revision);
        let verdict = gate(known, doc.unverified().revision);
        if verdict == Gate::Older && !cx.planted(Plant::TakeOlder) {
            cx.stats.older_refused += 1;
            return;
        }
        let mut proofs: Vec<Proof> = row.map(|row| row.proofs.clone()).unwrap_or_default();
        // A proof that does not hold is not kept: made into proofs for lower systems it would stand in a good one's way.
        let good = part.proofs.iter().filter(|proof| holds(doc.unverified(), proof));
        let fresh = good.filter(|proof| !proofs.contains(proof)).cloned().collect::<Vec<_>>();
        let mut news = verdict != Gate::Known;
        if news || !fresh.is_empty() {
            proofs.extend(fresh);
            self.store.put(HubWrite::Job(doc.clone(), proofs.clone()));
        }
        let places: Vec<Place> = self.hosts_below().cloned().collect();
        let hosts = places.iter().map(|place| self.standing(place, cx.now));
        let mut named = opens(doc.unverified(), &proofs, &part.ended, hosts);
        let is_below = |host: &HostId| self.reached_through(host).is_some();
        also(doc.unverified(), &part.named, is_below, &mut named);
        for opened in named {
            // A client's route names relays above this one, too: their lines are not here.
            if self.reached_through(&opened.host).is_some() {
                news |= self.open_lines(cx, doc.unverified(), opened);
            }
        }
        if news {
            self.dates_move(cx, doc.unverified());
            self.judge_cancelled(cx, doc.unverified());
            self.distribute(cx, &key);
        }
    }

    /// Writes down that a job names a host, and its lines; answers whether anything of it is new.
    pub(super) fn open_lines(&mut self, cx: &Cx<'_>, job: &Job, opened: Opened) -> bool {
        let name = (job.key.clone(), opened.host);
        let how = (opened.attempt, opened.leaf);
        let mut news = self.store.now().named.get(&name).is_none_or(|known| *known < how);
        if news {
            self.store.put(HubWrite::Named(name.0, name.1, how));
        }
        for package in &job.packages {
            let key = LineKey { job: job.key.clone(), package: package.id, host: opened.host };
            let known = self.store.now().lines.get(&key);
            if known.is_none_or(|line| line.attempt < opened.attempt) {
                let seen = known.and_then(|line| line.seen);
                let line = Line { seen, ..Line::new(opened.attempt, cx.now) };
                self.store.put(HubWrite::Line(key, line));
                news = true;
            }
        }
        news
    }

    /// Ends, as far as this system knows, what a cancelled job has not begun.
    pub(super) fn judge_cancelled(&mut self, cx: &Cx<'_>, job: &Job) {
        if job.intent == Intent::Cancelled {
            self.judge(cx, Verdict::Cancelled, &job.key, |_, _| true);
        }
    }

    /// Judges the lines of a job that `which` picks.
    pub(super) fn judge(
        &mut self,
        cx: &Cx<'_>,
        verdict: Verdict,
        job: &JobKey,
        which: impl Fn(&LineKey, &Line) -> bool,
    ) {
        let lines = self.store.now().lines_of(job).filter(|(key, line)| which(key, line));
        let picked: Vec<LineKey> = lines.map(|(key, _)| key.clone()).collect();
        self.judge_lines(cx, verdict, picked);
    }

    /// Judges lines.
    pub(super) fn judge_lines(&mut self, cx: &Cx<'_>, verdict: Verdict, lines: Vec<LineKey>) {
        for key in lines {
            let judged = self
                .store
                .now()
                .lines
                .get(&key)
                .cloned()
                .and_then(|mut line| line.judge(verdict, cx.now).then_some(line));
            if let Some(line) = judged {
                self.store.put(HubWrite::Line(key, line));
            }
        }
    }

    fn take_receipts(&mut self, receipts: Vec<Receipt>) {
        let mut onwards: BTreeMap<Lower, Vec<Receipt>> = BTreeMap::new();
        for receipt in receipts {
            self.store.put(HubWrite::Mark(receipt));
            let own = Some(receipt.origin) == self.me && receipt.incarnation == self.life();
            if let (false, Some(lower)) = (own, self.reached_through(&receipt.origin)) {
                onwards.entry(lower).or_default().push(receipt);
            }
        }
        for (lower, receipts) in onwards {
            self.store.put(HubWrite::FeedAppend(lower, Order::Receipts(receipts)));
        }
    }
}

fn alarm(code: &str) -> Body {
    Body::Alarm { code: code.to_owned(), text: String::new() }
}
