//! Fetching content: which chunks to ask for next, and what to do when a line or a source fails.
//!
//! [`RangeSet`] says which chunks of a package are meant; [`Fetch`] turns "these are missing" into few large requests,
//! pauses that grow while nothing arrives, and a verdict on a source that sends wrong bytes. No clock and no chance:
//! the time and the jitter come in as arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// A set of chunk indices, kept as sorted, disjoint, half-open ranges that never touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Start → end (exclusive).
    ranges: BTreeMap<u32, u32>,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// All indices below `count`.
    pub fn full(count: u32) -> Self {
        let mut set = Self::new();
        set.insert(0..count);
        set
    }

    /// Adds a range; an empty one adds nothing.
    pub fn insert(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Swallow every range that overlaps or touches, from the last that starts at or before our end.
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    /// Takes a range out; what is not in the set is passed over.
    pub fn remove(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.ranges.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.ranges.remove(&start);
            if start < range.start {
                self.ranges.insert(start, range.start);
            }
            if end > range.end {
                self.ranges.insert(range.end, end);
            }
        }
    }

    /// Is this index in the set?
    pub fn contains(&self, index: u32) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, &end)| index < end)
    }

    /// Are all indices of this range in the set?
    pub fn contains_range(&self, range: &Range<u32>) -> bool {
        range.is_empty()
            || self.ranges.range(..=range.start).next_back().is_some_and(|(_, &end)| range.end <= end)
    }

    /// Is nothing in the set?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many indices are in the set.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| u64::from(end - start)).sum()
    }

    /// How many ranges it takes to write the set down.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// The indices, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges().flatten()
    }

    /// The first index at or after `from` that is in the set.
    pub fn next_from(&self, from: u32) -> Option<u32> {
        if self.contains(from) {
            return Some(from);
        }
        self.ranges.range(from..).next().map(|(&start, _)| start)
    }

    /// One past the largest index, 0 for the empty set.
    pub fn end(&self) -> u32 {
        self.ranges.values().next_back().copied().unwrap_or(0)
    }

    /// What is in both sets.
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.ranges().peekable(), other.ranges().peekable());
        let mut both = Self::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            both.insert(a.start.max(b.start)..a.end.min(b.end));
            if a.end <= b.end {
                left.next();
            } else {
                right.next();
            }
        }
        both
    }

    /// What is in this set and not in the other.
    pub fn subtract(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        other.ranges().for_each(|range| rest.remove(range));
        rest
    }
}

impl FromIterator<Range<u32>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

impl fmt::Display for RangeSet {
    /// As `0-3,7`: ends inclusive, for people.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, range) in self.ranges().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            match range.end - range.start {
                1 => write!(out, "{comma}{}", range.start)?,
                _ => write!(out, "{comma}{}-{}", range.start, range.end - 1)?,
            }
        }
        Ok(())
    }
}

/// How large a request may be, how long the pauses are, how much wrong content is borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Ranges in one request.
    pub ranges: usize,
    /// Plain bytes in one request (one chunk is always allowed).
    pub plain_bytes: u64,
    /// The pause after the first failure, in microseconds; it doubles with every failure that follows.
    pub first_pause_micros: i64,
    /// The longest pause, in microseconds.
    pub longest_pause_micros: i64,
    /// How often a source may send wrong content.
    pub strikes: u32,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            ranges: 1024,
            plain_bytes: 64 * 1024 * 1024,
            first_pause_micros: 1_000_000,
            longest_pause_micros: 60_000_000,
            strikes: 3,
        }
    }
}

/// One request: the chunks wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Chunk indices, at most [`FetchLimits::ranges`] ranges.
    pub ranges: RangeSet,
    /// Their plain bytes together.
    pub plain_bytes: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// Ask the source for these chunks now.
    Ask(Ask),
    /// Do nothing before this time.
    Wait {
        /// Microseconds, in the time of the `now` given.
        until_micros: i64,
    },
    /// This source sent wrong content too often; take another or report it.
    BadSource {
        /// How often.
        strikes: u32,
    },
    /// Nothing is missing.
    Done,
}

/// The machine that fetches one package from one source.
#[derive(Clone, Debug)]
pub struct Fetch {
    missing: RangeSet,
    /// Plain length of every chunk of the package, in bytes.
    lengths: Vec<u32>,
    limits: FetchLimits,
    failures: u32,
    strikes: u32,
    pause_until_micros: Option<i64>,
}

impl Fetch {
    /// Starts with what is missing and the plain length of each chunk. An index without a length is not asked for.
    pub fn new(missing: RangeSet, lengths: Vec<u32>) -> Self {
        Self::with_limits(missing, lengths, FetchLimits::default())
    }

    /// As [`Fetch::new`], with limits of one's own.
    pub fn with_limits(mut missing: RangeSet, lengths: Vec<u32>, limits: FetchLimits) -> Self {
        let count = u32::try_from(lengths.len()).unwrap_or(u32::MAX);
        missing.remove(count..u32::MAX);
        Self { missing, lengths, limits, failures: 0, strikes: 0, pause_until_micros: None }
    }

    /// What to do at this time. Changes nothing: asked twice, it answers the same.
    pub fn next(&self, now_micros: i64) -> FetchStep {
        if self.missing.is_empty() {
            return FetchStep::Done;
        }
        if self.strikes >= self.limits.strikes {
            return FetchStep::BadSource { strikes: self.strikes };
        }
        match self.pause_until_micros {
            Some(until_micros) if now_micros < until_micros => FetchStep::Wait { until_micros },
            _ => FetchStep::Ask(self.ask()),
        }
    }

    /// What is still missing.
    pub fn missing(&self) -> &RangeSet {
        &self.missing
    }

    /// What is wanted changed: from now on this is missing. Pauses and strikes stay.
    pub fn want(&mut self, mut missing: RangeSet) {
        let count = u32::try_from(self.lengths.len()).unwrap_or(u32::MAX);
        missing.remove(count..u32::MAX);
        self.missing = missing;
    }

    /// These chunks arrived and were stored: progress, so pauses start small again.
    pub fn got(&mut self, range: Range<u32>) {
        self.missing.remove(range);
        self.failures = 0;
        self.pause_until_micros = None;
    }

    /// The line or the source failed: wait, longer each time. `jitter` is any random number; it spreads those who
    /// failed together over the second half of the pause.
    pub fn failed(&mut self, now_micros: i64, jitter: u64) {
        let doubled = self.limits.first_pause_micros.saturating_mul(1_i64 << self.failures.min(20));
        let pause = doubled.clamp(1, self.limits.longest_pause_micros.max(1));
        self.failures = self.failures.saturating_add(1);
        self.pause_until_micros = Some(now_micros.saturating_add(jittered(pause, jitter)));
    }

    /// The source sent bytes that are not what the manifest says: a strike, and a pause. Strikes are not forgiven by
    /// progress, or a source could mix good and bad for ever.
    pub fn bad_content(&mut self, now_micros: i64, jitter: u64) {
        self.strikes = self.strikes.saturating_add(1);
        self.failed(now_micros, jitter);
    }

    fn ask(&self) -> Ask {
        let mut ask = Ask { ranges: RangeSet::new(), plain_bytes: 0 };
        for range in self.missing.ranges().take(self.limits.ranges) {
            let taken = self.take(range.clone(), &mut ask);
            if taken < range.end {
                break;
            }
        }
        ask
    }

    /// Adds as much of `range` as the byte limit allows; returns where it stopped.
    fn take(&self, range: Range<u32>, ask: &mut Ask) -> u32 {
        let start = range.start;
        let mut end = start;
        while end < range.end {
            let length = self.lengths.get(end as usize).copied().map_or(0, u64::from);
            if ask.plain_bytes > 0 && ask.plain_bytes + length > self.limits.plain_bytes {
                break;
            }
            ask.plain_bytes += length;
            end += 1;
        }
        ask.ranges.insert(start..end);
        end
    }
}

/// Between half the pause and the whole of it.
fn jittered(pause_micros: i64, jitter: u64) -> i64 {
    let half = pause_micros / 2;
    let spread = u64::try_from(pause_micros - half).unwrap_or(0) + 1;
    half + i64::try_from(jitter % spread).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a set of one range is what is meant")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn set(ranges: &[Range<u32>]) -> RangeSet {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn ranges_join_and_split() {
        let mut ranges = set(&[0..2, 4..6, 2..4]);
        assert_eq!(ranges, RangeSet::full(6));
        ranges.remove(1..3);
        assert_eq!(ranges.to_string(), "0,3-5");
        assert_eq!((ranges.len(), ranges.range_count(), ranges.end()), (4, 2, 6));
        assert_eq!((ranges.next_from(1), ranges.next_from(4), ranges.next_from(6)), (Some(3), Some(4), None));
        assert!(ranges.contains_range(&(3..6)) && !ranges.contains_range(&(0..4)));
        assert_eq!(ranges.intersect(&set(&[0..4])).to_string(), "0,3");
        assert_eq!(ranges.subtract(&set(&[0..4])).to_string(), "4-5");
    }

    /// Small numbers from a seed, the same on every run.
    fn numbers(seed: u64) -> impl FnMut(u32) -> u32 {
        let mut state = seed;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % u64::from(below)) as u32
        }
    }

    #[test]
    fn a_range_set_is_a_set() {
        for seed in 0..300 {
            let mut next = numbers(seed);
            let (mut ranges, mut model) = (RangeSet::new(), BTreeSet::new());
            for _ in 0..60 {
                let start = next(60);
                let range = start..start + next(12);
                if next(2) == 0 {
                    ranges.insert(range.clone());
                    model.extend(range);
                } else {
                    ranges.remove(range.clone());
                    model.retain(|index| !range.contains(index));
                }
                assert_eq!(ranges.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                let listed: Vec<_> = ranges.ranges().collect();
                assert!(listed.windows(2).all(|pair| pair[0].end < pair[1].start), "touching: {listed:?}");
            }
        }
    }

    #[test]
    fn few_large_requests() {
        let fetch = Fetch::new(RangeSet::full(2000), vec![65_536; 2000]);
        let FetchStep::Ask(ask) = fetch.next(0) else { panic!("expected a request") };
        assert_eq!((ask.ranges.to_string().as_str(), ask.plain_bytes), ("0-1023", 64 << 20));
        // Every second chunk: the limit of ranges holds.
        let odd = (0..5000).filter(|index| index % 2 == 1).map(|index| index..index + 1).collect();
        let FetchStep::Ask(ask) = Fetch::new(odd, vec![1; 5000]).next(0) else {
            panic!("expected a request")
        };
        assert_eq!(ask.ranges.range_count(), 1024);
    }

    #[test]
    fn a_chunk_larger_than_a_request_is_asked_for_alone() {
        let limits = FetchLimits { plain_bytes: 10, ..FetchLimits::default() };
        let fetch = Fetch::with_limits(RangeSet::full(3), vec![100, 100, 1], limits);
        let FetchStep::Ask(ask) = fetch.next(0) else { panic!("expected a request") };
        assert_eq!(ask.ranges, RangeSet::full(1));
    }

    #[test]
    fn pauses_grow_and_progress_resets_them() {
        let mut fetch = Fetch::new(RangeSet::full(3), vec![1; 3]);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            fetch.failed(0, u64::MAX / 3);
            let FetchStep::Wait { until_micros } = fetch.next(0) else { panic!("expected a pause") };
            assert!(matches!(fetch.next(until_micros), FetchStep::Ask(_)));
            pauses.push(until_micros);
        }
        assert!(pauses[0] >= 500_000 && pauses[0] <= 1_000_000);
        assert!(pauses[8] >= 30_000_000 && pauses[8] <= 60_000_000);
        fetch.got(0..1);
        assert!(matches!(fetch.next(0), FetchStep::Ask(_)));
        fetch.failed(0, 0);
        assert_eq!(fetch.next(0), FetchStep::Wait { until_micros: 500_000 });
    }

    #[test]
    fn a_lying_source_is_named_after_three_strikes() {
        let mut fetch = Fetch::new(RangeSet::full(3), vec![1; 3]);
        fetch.bad_content(0, 0);
        fetch.got(0..1);
        fetch.bad_content(0, 0);
        assert!(matches!(fetch.next(i64::MAX), FetchStep::Ask(_)));
        fetch.bad_content(0, 0);
        assert_eq!(fetch.next(i64::MAX), FetchStep::BadSource { strikes: 3 });
        fetch.got(1..3);
        assert_eq!(fetch.next(0), FetchStep::Done);
    }
}
