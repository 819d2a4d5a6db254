//! One simulated client: asks its higher system for orders, judges them, reports, and keeps what it must until receipted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use packhorse_domain::feed::{Batch, Cursor, receive};
use packhorse_domain::ids::{HostId, Incarnation};
use packhorse_domain::outbox::Hop;
use packhorse_domain::report::{Body, LineEvent, LineReport, Outcome as End, Receipt, Report};
use packhorse_domain::time::Time;
use packhorse_wire::enroll::Enrolled;
use packhorse_wire::messages::{
    FEED, FeedRequest, FeedResponse, Order, OrderMsg, PROTOCOL, REPORTS, ReportMsg, ReportsRequest,
    ReportsResponse, Soft,
};
use packhorse_wire::net::{Link, LinkError};

use super::crew::Shared;
use super::fetch;
use super::judge::{Judge, Verdict, Work};
use crate::failure::{Failure, Outcome};

/// How long a question for orders is held, in seconds.
const HOLD_SECS: u32 = 50;
/// How long an answer may take beyond that.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses after a failure: they grow up to this.
const PAUSE_MAX_SECS: i64 = 30;

/// A simulated client.
pub struct Host {
    id: HostId,
    link: Link,
    shared: Arc<Shared>,
    judge: Judge,
    run: u64,
    incarnation: Incarnation,
    cursor: Option<Cursor>,
    hop: Option<Hop>,
    receipted: u64,
    last_no: u64,
    outbox: VecDeque<(u64, ReportMsg)>,
}

impl Host {
    /// A client that was let in.
    ///
    /// # Errors
    /// Its certificate cannot be used.
    pub fn new(enrolled: Enrolled, shared: Arc<Shared>) -> Outcome<Host> {
        let chance = || getrandom::u64().map_err(|error| Failure::new(error.to_string()));
        Ok(Host {
            id: enrolled.identity.id,
            link: enrolled.identity.link()?,
            shared,
            run: chance()?,
            incarnation: Incarnation(chance()?),
            judge: Judge::new(enrolled.trust, enrolled.place),
            cursor: None,
            hop: None,
            receipted: 0,
            last_no: 0,
            outbox: VecDeque::new(),
        })
    }

    /// Listens until it is told to end.
    pub async fn live(mut self) {
        let mut end = self.shared.end.clone();
        tokio::select! {
            () = self.listen() => {}
            // An error means that whoever tells has gone.
            _ = end.wait_for(|end| *end) => {}
        }
    }

    async fn listen(&mut self) {
        let mut failures = 0;
        let mut answered = false;
        loop {
            // The first answer shows that it is served; only then it waits to be told.
            let hold_secs = if answered { HOLD_SECS } else { 0 };
            match self.turn(hold_secs).await {
                Ok(()) => {
                    failures = 0;
                    if !answered {
                        answered = true;
                        self.shared.listening.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no answer");
                    self.pause(failures).await;
                    failures += 1;
                }
            }
        }
    }

    async fn pause(&self, failures: u32) {
        let chance = getrandom::u64().unwrap_or(self.run);
        let micros = packhorse_domain::time::pause_micros(failures, 1, PAUSE_MAX_SECS, chance);
        tokio::time::sleep(Duration::from_micros(micros.unsigned_abs())).await;
    }

    async fn turn(&mut self, hold_secs: u32) -> Result<(), LinkError> {
        // What was not taken before goes first: nothing is waited for with results in hand.
        self.report().await?;
        let request = FeedRequest {
            v: PROTOCOL,
            run: self.run,
            incarnation: self.incarnation.0,
            cursor: self.cursor.map(Into::into),
            hold_secs,
        };
        let timeout = TIMEOUT + Duration::from_secs(u64::from(hold_secs));
        let answer: FeedResponse = self.link.call(FEED, &request, timeout).await?;
        self.hop = Some(Hop::meet(self.hop, Incarnation(answer.server), Incarnation(answer.higher)));
        let entries = answer.orders.into_iter().map(|order| (order.n, order)).collect();
        let batch = Batch { incarnation: Incarnation(answer.feed), after: answer.after, entries };
        match receive(self.cursor, batch) {
            Ok((orders, cursor)) => {
                for order in orders {
                    self.obey(&order).await;
                }
                self.cursor = Some(cursor);
            }
            Err(_) => self.cursor = None,
        }
        self.report().await
    }

    async fn obey(&mut self, order: &OrderMsg) {
        match Order::decode(&order.kind, &order.body) {
            Ok(Some(Order::Receipts(receipts))) => {
                for receipt in receipts {
                    self.receipted(receipt.into());
                }
            }
            Ok(Some(order)) => match self.judge.order(order, now()) {
                Verdict::Nothing => {}
                Verdict::Distrust(why) => {
                    tracing::debug!(why, "an order was not believed");
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                }
                Verdict::Do(work) => self.work(work).await,
            },
            Ok(None) => {}
            Err(_) => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Does nothing, and says so as a client does that did something.
    async fn work(&mut self, work: Work) {
        let ours = self.is_ours(work.job.number).await;
        for package in &work.packages {
            if !ours {
                let text = "a simulated client of `packhorse fleet` installs nothing";
                let end = End::with(packhorse_domain::instruction::State::NotApplicable, "probe", text);
                self.say(&work, package.id, LineEvent::Ended(end));
                continue;
            }
            if self.shared.fetch {
                fetch::obtain(&self.link, self.judge.trust(), package, &self.shared).await;
            }
            let done = End::plain(packhorse_domain::instruction::State::Done);
            for event in [LineEvent::Delivered, LineEvent::Begun, LineEvent::Ended(done)] {
                self.say(&work, package.id, event);
            }
        }
    }

    /// Whether the job is the one the fleet was made for. Its number may be known a moment after its order came.
    async fn is_ours(&self, number: u64) -> bool {
        if number <= self.shared.newest_job {
            return false;
        }
        let mut job = self.shared.job.clone();
        job.wait_for(Option::is_some).await.is_ok_and(|job| *job == Some(number))
    }

    fn say(&mut self, work: &Work, package: packhorse_domain::ids::PackageId, event: LineEvent) {
        self.last_no += 1;
        let line = LineReport { job: work.job.clone(), package, attempt: work.attempt, event };
        let report = Report {
            origin: self.id,
            incarnation: self.incarnation,
            no: self.last_no,
            base: self.receipted,
            at: now(),
            body: Body::Line(line),
        };
        self.outbox.push_back((self.last_no, ReportMsg::from(&report)));
    }

    fn receipted(&mut self, receipt: Receipt) {
        if receipt.origin != self.id || receipt.incarnation != self.incarnation {
            return;
        }
        self.receipted = self.receipted.max(receipt.upto);
        while self.outbox.front().is_some_and(|(n, _)| *n <= self.receipted) {
            self.outbox.pop_front();
        }
    }

    /// Sends what the higher system has not stored.
    async fn report(&mut self) -> Result<(), LinkError> {
        while let Some(hop) = self.hop.filter(|hop| hop.stored < self.last_no) {
            let after = hop.stored;
            let reports: Vec<_> = self.outbox.iter().filter(|(n, _)| *n > after).cloned().collect();
            let request = ReportsRequest {
                v: PROTOCOL,
                run: self.run,
                incarnation: self.incarnation.0,
                server: hop.server.0,
                after,
                through: self.last_no,
                reports,
                soft: Soft::default(),
            };
            let answer: ReportsResponse = self.link.call(REPORTS, &request, TIMEOUT).await?;
            let mut hop = Hop::meet(Some(hop), Incarnation(answer.server), Incarnation(answer.higher));
            hop.stored(answer.stored);
            self.hop = Some(hop);
            if answer.stored <= after {
                // It took nothing: again with the next turn, not at once.
                return Ok(());
            }
        }
        Ok(())
    }
}

fn now() -> Time {
    Time(jiff::Timestamp::now().as_microsecond())
}
