//! The line to the higher system, as relays and agents drive it: ask for orders, send reports, know which lives answer.
//! Nothing of it is durable.

use packhorse_domain::ids::Incarnation;
use packhorse_domain::outbox::Hop;
use packhorse_domain::report::Report;
use packhorse_domain::time::Time;

use crate::cx::Cx;
use crate::msg::ReportBatch;
use crate::options::Plant;

/// A request for orders is held this long before it is asked again, in seconds.
pub const ASK_SECS: i64 = 20;
/// An answer to reports is waited for this long, in seconds.
const STORED_SECS: i64 = 4;
/// Most reports in a batch.
const BATCH_MAX: usize = 6;

/// When to ask and to send next.
#[derive(Debug, Clone, Copy)]
pub struct Uplink {
    ask_at: Time,
    waiting_until: Option<Time>,
}

impl Uplink {
    /// A line that asks at once.
    pub fn new(now: Time) -> Uplink {
        Uplink { ask_at: now, waiting_until: None }
    }

    /// Orders came: acknowledge them at once.
    pub fn ask_now(&mut self, now: Time) {
        self.ask_at = now;
    }

    /// Whether it is time to ask; if so, the next time is set.
    pub fn asks(&mut self, cx: &mut Cx<'_>) -> bool {
        let due = self.ask_at <= cx.now;
        if due {
            self.ask_at = cx.in_secs(ASK_SECS * cx.pace);
            if cx.planted(Plant::AskOnce) {
                self.ask_at = Time::MAX;
            }
        }
        due
    }

    /// The higher system answered about reports.
    pub fn answered(&mut self) {
        self.waiting_until = None;
    }

    /// The batch to send now, if there is one. `last` is the newest number of the outbox, `kept` what it still holds.
    pub fn reports<'a>(
        &mut self,
        cx: &mut Cx<'_>,
        life: Incarnation,
        hop: Option<Hop>,
        last: u64,
        kept: impl Iterator<Item = (u64, &'a Report)>,
    ) -> Option<ReportBatch> {
        let hop = hop?;
        if self.waiting_until.is_some_and(|until| until > cx.now) {
            return None;
        }
        self.waiting_until = None;
        let mut unsent = kept.filter(|(n, _)| *n > hop.stored);
        let items: Vec<(u64, Report)> =
            unsent.by_ref().take(BATCH_MAX).map(|(n, report)| (n, report.clone())).collect();
        let newest = items.last()?.0;
        // A batch that ends the outbox covers also what is not kept any more.
        let through = if unsent.next().is_none() { last } else { newest };
        self.waiting_until = Some(cx.in_secs(STORED_SECS));
        Some(ReportBatch { life, server: hop.server, after: hop.stored, through, items })
    }

    /// When it has to be looked at again.
    pub fn wakes_at(&self) -> Time {
        self.waiting_until.map_or(self.ask_at, |until| until.min(self.ask_at))
    }
}
