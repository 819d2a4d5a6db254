//! Keeping time: until when a relay promises to keep a copy (design section 3).
//!
//! A date lasts to the end of its day in the managing server's zone. What a day's end is depends on calendars, so it is
//! found by a function that is given: (an instant, days more) → the end of that day.

use crate::time::Time;

/// A keeping time as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Days: a package's count from its registration, a job's from the arrival at the relay.
    Days(u32),
    /// To the end of a day; the instant is that end, in the server's zone.
    Until(Time),
}

/// The default keeping time.
pub const KEEP_DAYS_DEFAULT: u32 = 90;
/// The longest keeping time in days: a hundred years.
pub const KEEP_DAYS_MAX: u32 = 36_500;
/// How long a copy past its date is left to the open jobs below that need it, in seconds.
pub const GRACE_SECS: i64 = 24 * 3600;

/// The end of the day that is so many days after an instant, in the managing server's zone.
pub type DayEnd<'a> = &'a dyn Fn(Time, u32) -> Time;

/// Somebody's wish for the date of a copy: a job's `--keep`, or `relay keep`. An order without `--keep` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepOrder {
    /// How long.
    pub keep: Keep,
    /// When it was ordered: the last order wins, in whatever sequence they come.
    pub ordered: Time,
    /// Whether the relay's own administrator ordered it, who may not shorten what a higher system set.
    pub own: bool,
}

/// The date of a copy, and which order set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// Kept until then.
    pub until: Time,
    /// The order that set it; `None`: the package's own keeping time.
    pub ordered: Option<Time>,
    /// Until when a higher system promised it, by an order or by the package; `None`: it promised nothing.
    pub promised: Option<Time>,
}

/// What an order does to a standing date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It sets this date.
    To(Dated),
    /// A later order stands already (or this same one).
    Stands,
    /// The relay's own administrator may not shorten what a higher system set.
    Refused,
}

impl KeepOrder {
    /// The date it asks for, counted from `from`.
    pub fn until(&self, from: Time, day_end: DayEnd<'_>) -> Time {
        match self.keep {
            Keep::Days(days) => day_end(from, days),
            Keep::Until(until) => until,
        }
    }
}

/// The date of a copy that just arrived: the last order's, counted from now; without one the package's own.
pub fn arrived(package: Time, orders: &[KeepOrder], now: Time, day_end: DayEnd<'_>) -> Dated {
    let first = Dated { until: package, ordered: None, promised: Some(package) };
    let mut orders: Vec<&KeepOrder> = orders.iter().collect();
    orders.sort_by_key(|order| order.ordered);
    orders.into_iter().fold(first, |date, order| match moved(&date, order, now, day_end) {
        Moved::To(date) => date,
        Moved::Stands | Moved::Refused => date,
    })
}

/// An order comes by at `now` for a copy that is there: its days count from now.
pub fn moved(standing: &Dated, order: &KeepOrder, now: Time, day_end: DayEnd<'_>) -> Moved {
    if standing.ordered.is_some_and(|last| order.ordered <= last) {
        return Moved::Stands;
    }
    let until = order.until(now, day_end);
    // A promise that has ended is nobody's any more. One that stands does so below whatever the relay's own administrator
    // put on top of it.
    let promised = standing.promised.filter(|promised| now < *promised);
    if order.own && promised.is_some_and(|promised| until < promised) {
        return Moved::Refused;
    }
    let promised = if order.own { promised } else { Some(until) };
    Moved::To(Dated { until, ordered: Some(order.ordered), promised })
}

/// Whether a copy goes by itself now: past its date and needed by no open job below, or a day past it. One that is being
/// read stays until the last reader is done.
pub fn lets_go(until: Time, arrived: Time, needed: bool, being_read: bool, now: Time) -> bool {
    !being_read && now >= goes_at(until, arrived, needed)
}

/// When a copy goes by itself. One that was fetched past its date, for somebody who needed it then, has its day from its
/// arrival: or it would come again for each who asks.
pub fn goes_at(until: Time, arrived: Time, needed: bool) -> Time {
    if needed { until.max(arrived).plus_secs(GRACE_SECS) } else { until }
}

/// Whether a relay takes a package in before anybody below asks for it, on account of a job that started at `starts`. What it
/// let go at `gone` comes again for a job that starts later, or when somebody asks: not for a job of which only those are
/// left that are not there, or it would come and go for as long as they are away.
pub fn comes_unasked(gone: Option<Time>, starts: Time, now: Time) -> bool {
    starts <= now && gone.is_none_or(|gone| gone < starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    /// Days of 24 hours that end at midnight.
    fn end(from: Time, days: u32) -> Time {
        Time((from.0 / DAY + i64::from(days) + 1) * DAY - 1)
    }

    fn order(ordered: i64, keep: Keep) -> KeepOrder {
        KeepOrder { keep, ordered: Time(ordered), own: false }
    }

    fn own(ordered: i64, keep: Keep) -> KeepOrder {
        KeepOrder { own: true, ..order(ordered, keep) }
    }

    #[test]
    fn days_count_from_the_arrival_and_last_to_the_days_end() {
        let package = Time(90 * DAY);
        let plain = arrived(package, &[], Time(5), &end);
        assert_eq!((plain.until, plain.ordered), (package, None));
        let dated = arrived(package, &[order(1, Keep::Days(3))], Time(10 * DAY + 7), &end);
        assert_eq!((dated.until, dated.ordered), (Time(14 * DAY - 1), Some(Time(1))));
        let until = arrived(package, &[order(1, Keep::Until(Time(7)))], Time(5), &end);
        assert_eq!(until.until, Time(7));
    }

    #[test]
    fn the_last_order_wins_either_way_and_in_any_sequence() {
        let orders = [order(3, Keep::Days(1)), order(9, Keep::Days(5)), order(6, Keep::Days(50))];
        let at = Time(2 * DAY);
        assert_eq!(arrived(Time(1), &orders, at, &end).until, Time(8 * DAY - 1));
        let mut standing = arrived(Time(90 * DAY), &[], at, &end);
        for order in &orders {
            if let Moved::To(date) = moved(&standing, order, at, &end) {
                standing = date;
            }
        }
        assert_eq!(standing.until, Time(8 * DAY - 1));
        // The same order once more, days later, moves nothing: its days were counted.
        assert_eq!(moved(&standing, &orders[1], Time(4 * DAY), &end), Moved::Stands);
        let shorter = moved(&standing, &order(10, Keep::Days(0)), at, &end);
        assert!(matches!(shorter, Moved::To(date) if date.until == Time(3 * DAY - 1)));
    }

    #[test]
    fn a_relays_own_administrator_cannot_shorten_what_a_higher_system_set() {
        let standing = arrived(Time(9 * DAY), &[], Time(DAY), &end);
        assert_eq!(moved(&standing, &own(1, Keep::Days(2)), Time(DAY), &end), Moved::Refused);
        let Moved::To(longer) = moved(&standing, &own(1, Keep::Days(20)), Time(DAY), &end) else {
            panic!("longer is allowed")
        };
        assert_eq!((longer.until, longer.promised), (Time(22 * DAY - 1), Some(Time(9 * DAY))));
        // Its own extension it may take back, to where the promise stands; and after the promise has ended anything goes.
        assert_eq!(moved(&longer, &own(2, Keep::Days(2)), Time(DAY), &end), Moved::Refused);
        assert!(matches!(moved(&longer, &own(2, Keep::Days(9)), Time(DAY), &end), Moved::To(_)));
        assert!(matches!(moved(&standing, &own(1, Keep::Days(0)), Time(9 * DAY), &end), Moved::To(_)));
    }

    #[test]
    fn past_its_date_a_copy_goes_when_nobody_needs_it_or_a_day_later() {
        let until = Time(DAY);
        let goes = |needed, read, now| lets_go(until, Time(5), needed, read, Time(now));
        assert!(!goes(false, false, DAY - 1) && goes(false, false, DAY));
        assert!(!goes(true, false, DAY) && goes(true, false, 2 * DAY));
        assert!(!goes(false, true, 9 * DAY));
        // One that was fetched past its date is not gone before it was of use.
        assert!(!lets_go(until, Time(5 * DAY), true, false, Time(6 * DAY - 1)));
        assert!(lets_go(until, Time(5 * DAY), true, false, Time(6 * DAY)));
        assert!(lets_go(until, Time(5 * DAY), false, false, Time(5 * DAY)));
    }

    #[test]
    fn what_went_comes_again_for_a_job_that_starts_later_or_when_it_is_asked_for() {
        assert!(comes_unasked(None, Time(3), Time(3)) && !comes_unasked(None, Time(3), Time(2)));
        assert!(!comes_unasked(Some(Time(5)), Time(3), Time(9)));
        assert!(
            comes_unasked(Some(Time(5)), Time(6), Time(9)) && !comes_unasked(Some(Time(5)), Time(6), Time(5))
        );
    }
}
