//! Taking in one package from the higher system, driven by the fetch machine.

use packhorse_domain::fetch::{Fetch, FetchLimits, FetchStep, RangeSet};
use packhorse_domain::ids::PackageId;
use packhorse_domain::time::Time;

use crate::cx::Cx;
use crate::msg::Msg;
use crate::sites::NodeId;

/// A stream that stays silent this long is given up, in seconds.
const SILENCE_SECS: i64 = 8;
/// Chunks in one request.
const REQUEST_CHUNKS: u64 = 6;

/// A download.
#[derive(Debug, Clone)]
pub struct Download {
    package: PackageId,
    fetch: Fetch,
    request: u64,
    asked: RangeSet,
    deadline: Option<Time>,
    failures: u32,
}

/// How a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    Goes,
    /// Nothing is missing.
    Whole,
    /// The line failed several times in a row.
    NoLine,
    /// The source sent wrong bytes too often.
    BadSource,
}

impl Download {
    /// Starts with what is missing of a package of `chunks` chunks.
    pub fn new(package: PackageId, chunks: u32, held: &RangeSet) -> Download {
        let missing = RangeSet::full(chunks).subtract(held);
        // One chunk counts as one byte.
        let limits = FetchLimits { ranges: 4, plain_bytes: REQUEST_CHUNKS, ..FetchLimits::default() };
        let fetch = Fetch::with_limits(missing, vec![1; chunks as usize], limits);
        Download { package, fetch, request: 0, asked: RangeSet::new(), deadline: None, failures: 0 }
    }

    /// The package.
    pub fn package(&self) -> PackageId {
        self.package
    }

    /// Goes on as far as it can at this time; answers which chunks it asked for.
    pub fn go(&mut self, cx: &mut Cx<'_>, higher: NodeId) -> (Standing, Option<RangeSet>) {
        if self.deadline.is_some_and(|deadline| deadline <= cx.now) {
            self.broke(cx);
        }
        match self.fetch.next(cx.now.0) {
            FetchStep::Done => (Standing::Whole, None),
            FetchStep::BadSource { .. } => (Standing::BadSource, None),
            FetchStep::Wait { .. } if self.failures >= 3 => (Standing::NoLine, None),
            FetchStep::Wait { .. } => (Standing::Goes, None),
            FetchStep::Ask(_) if self.deadline.is_some() => (Standing::Goes, None),
            FetchStep::Ask(ask) => {
                self.request = cx.rng.number();
                self.asked = ask.ranges.clone();
                self.deadline = Some(cx.in_secs(SILENCE_SECS));
                let (request, package, chunks) = (self.request, self.package, ask.ranges.clone());
                cx.send(higher, Msg::ContentAsk { request, package, chunks });
                (Standing::Goes, Some(ask.ranges))
            }
        }
    }

    fn broke(&mut self, cx: &mut Cx<'_>) {
        self.deadline = None;
        self.failures += 1;
        let jitter = cx.rng.number();
        self.fetch.failed(cx.now.0, jitter);
    }

    /// Takes in a piece of the stream that is open; answers the chunks to write down. Wrong bytes end the stream.
    pub fn frame(&mut self, cx: &mut Cx<'_>, request: u64, chunks: &[(u32, bool)]) -> Vec<u32> {
        if self.deadline.is_none() || request != self.request {
            return Vec::new();
        }
        let mut good = Vec::new();
        for (chunk, whole) in chunks {
            if !whole {
                self.deadline = None;
                let jitter = cx.rng.number();
                self.fetch.bad_content(cx.now.0, jitter);
                return good;
            }
            self.fetch.got(*chunk..chunk + 1);
            self.asked.remove(*chunk..chunk + 1);
            good.push(*chunk);
        }
        self.failures = 0;
        // The last piece of what was asked for ends the stream.
        self.deadline = if self.asked.is_empty() { None } else { Some(cx.in_secs(SILENCE_SECS)) };
        good
    }

    /// When it has to be looked at again.
    pub fn wakes_at(&self, now: Time) -> Option<Time> {
        match self.fetch.next(now.0) {
            FetchStep::Wait { until_micros } => Some(Time(until_micros)),
            _ => self.deadline,
        }
    }
}
