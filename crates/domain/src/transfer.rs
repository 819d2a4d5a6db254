//! The job type *transfer*: what it asks of each system, and when it is done (design section 3).
//!
//! | system | what a transfer asks of it |
//! |---|---|
//! | managing server | a line for each relay that is meant; orders to those relays, by way of those above them |
//! | a relay above one that is meant | pass the order on; keep the package on its way, as of any job |
//! | a relay that is meant | at its time: take the package in, keep it until its date, say so. Nothing goes further |
//! | a client, a relay's own agent | nothing |
//!
//! It has begun when the first piece is stored, and is done when the copy is whole and durable with a date that is still to
//! come. A relay can make none: there is no way to build one there.

use std::collections::BTreeMap;

use crate::ids::HostId;
use crate::instruction::Verdict;
use crate::job::{HostRole, Intent, Job, Place};
use crate::lease::{self, Dated, DayEnd, KeepOrder, Moved};
use crate::planner::Opened;
use crate::time::Time;

/// Whom a transfer means, of the hosts its clauses name: relays themselves, and for clients (`--for`) the relays on their
/// routes. Each in the newest attempt that names it, with a leaf that proves it; without those in `ended`, which have nothing
/// left to do.
pub fn relays(named: &[(Opened, &Place)], ended: &[HostId]) -> Vec<Opened> {
    let mut meant: BTreeMap<HostId, (u32, Option<u32>)> = BTreeMap::new();
    for (open, place) in named {
        let relays = match place.role {
            HostRole::Relay => std::slice::from_ref(&place.host),
            HostRole::Client => place.route.as_slice(),
        };
        for relay in relays.iter().filter(|relay| !ended.contains(relay)) {
            let entry = meant.entry(*relay).or_insert((open.attempt, open.leaf));
            *entry = (*entry).max((open.attempt, open.leaf));
        }
    }
    meant.into_iter().map(|(host, (attempt, leaf))| Opened { host, attempt, leaf }).collect()
}

/// What a job says about the dates of copies; `own`: the relay's own administrator made it.
pub fn keep_order(job: &Job, own: bool) -> Option<KeepOrder> {
    // The first round's time: a later revision or attempt of the same job is no new order.
    let ordered = job.rounds.first().map_or(job.created, |round| round.ordered);
    job.terms.keep.map(|keep| KeepOrder { keep, ordered, own })
}

/// What a relay that is meant does now about one package of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time.
    At(Time),
    /// Nothing while it is suspended.
    Suspended,
    /// It takes the package in.
    TakeIn,
    /// The copy is here, with this date: transferred.
    Done(Dated),
    /// The copy would be past this date: refused.
    Past(Time),
    /// The job was cancelled before the copy was whole.
    Cancelled,
    /// Its end came before anything was stored.
    Missed,
    /// A verdict was made over it here: the relay says so itself. Another life of it may have begun, as far as higher systems
    /// know, and then they make none.
    Judged(Verdict),
}

/// What is known at the relay about one package of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The package's own keeping time.
    pub package_until: Time,
    /// The copy, if it is here.
    pub copy: Option<Dated>,
    /// Whether a piece of it was stored.
    pub begun: bool,
    /// What was decided over the line here.
    pub verdict: Option<Verdict>,
}

/// The next step.
pub fn step(job: &Job, facts: &Facts, now: Time, day_end: DayEnd<'_>) -> Step {
    if let Some(verdict) = facts.verdict {
        return Step::Judged(verdict);
    }
    match job.intent {
        Intent::Cancelled => return Step::Cancelled,
        Intent::Suspended => return Step::Suspended,
        Intent::Open => {}
    }
    if now >= job.until && !facts.begun {
        return Step::Missed;
    }
    if now < job.starts() {
        return Step::At(job.starts());
    }
    let date = date(facts.package_until, facts.copy, keep_order(job, false), now, day_end);
    match facts.copy {
        _ if date.until <= now => Step::Past(date.until),
        Some(_) => Step::Done(date),
        None => Step::TakeIn,
    }
}

/// The date the copy has, or would have, by this order at this time. A standing date that is past is none.
pub fn date(
    package_until: Time,
    copy: Option<Dated>,
    order: Option<KeepOrder>,
    now: Time,
    day_end: DayEnd<'_>,
) -> Dated {
    match (copy, order) {
        (Some(standing), Some(order)) => match lease::moved(&standing, &order, now, day_end) {
            Moved::To(date) => date,
            Moved::Stands | Moved::Refused => standing,
        },
        (Some(standing), None) if standing.until > now => standing,
        (_, order) => lease::arrived(package_until, order.as_slice(), now, day_end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobType;
    use crate::job::tests::{host, job, place};
    use crate::lease::Keep;

    const DAY: i64 = 86_400_000_000;

    fn end(from: Time, days: u32) -> Time {
        Time((from.0 / DAY + i64::from(days) + 1) * DAY - 1)
    }

    fn transfer(keep: Option<Keep>) -> Job {
        let mut job = job(1, vec![]);
        job.job_type = JobType::Transfer;
        job.rounds[0].ordered = Time(5);
        job.terms.keep = keep;
        job
    }

    fn open(n: u8, attempt: u32, leaf: Option<u32>) -> Opened {
        Opened { host: host(n), attempt, leaf }
    }

    #[test]
    fn relays_are_meant_themselves_and_for_their_clients() {
        let places = [
            place(1, HostRole::Relay, &[1]),
            place(2, HostRole::Relay, &[1, 2]),
            place(8, HostRole::Client, &[1, 2]),
            place(9, HostRole::Client, &[]),
        ];
        let meant = |named: &[Opened], ended: &[HostId]| {
            let stands = |open: &Opened| places.iter().find(|place| place.host == open.host).unwrap();
            let named: Vec<(Opened, &Place)> = named.iter().map(|open| (*open, stands(open))).collect();
            relays(&named, ended)
        };
        assert_eq!(meant(&[open(2, 1, Some(0))], &[]), vec![open(2, 1, Some(0))]);
        let for_clients = [open(8, 1, Some(3)), open(9, 1, Some(4))];
        assert_eq!(meant(&for_clients, &[]), vec![open(1, 1, Some(3)), open(2, 1, Some(3))]);
        assert_eq!(meant(&for_clients, &[host(1)]), vec![open(2, 1, Some(3))]);
        // The newest attempt counts, whichever host brought it.
        let named = [open(2, 1, None), open(8, 2, Some(0))];
        assert_eq!(meant(&named, &[]), vec![open(1, 2, Some(0)), open(2, 2, Some(0))]);
    }

    #[test]
    fn it_waits_takes_in_and_is_done_with_a_date_to_come() {
        let mut job = transfer(None);
        job.at = Some(Time(DAY));
        let facts = Facts { package_until: Time(9 * DAY), copy: None, begun: false, verdict: None };
        let at = |job: &Job, facts: &Facts, now| step(job, facts, Time(now), &end);
        assert_eq!(at(&job, &facts, 5), Step::At(Time(DAY)));
        assert_eq!(at(&job, &facts, DAY), Step::TakeIn);
        let standing = Dated { until: Time(4 * DAY), ordered: None, promised: Some(Time(4 * DAY)) };
        let here = Facts { copy: Some(standing), ..facts };
        // Without --keep a standing date stays; the bytes do not travel.
        assert_eq!(at(&job, &here, DAY), Step::Done(standing));
        job.terms.keep = Some(Keep::Days(1));
        let Step::Done(moved) = at(&job, &here, DAY) else { panic!("it is here") };
        assert_eq!((moved.until, moved.ordered), (Time(3 * DAY - 1), Some(Time(5))));
        job.intent = Intent::Suspended;
        assert_eq!(at(&job, &facts, DAY), Step::Suspended);
        job.intent = Intent::Cancelled;
        assert_eq!(at(&job, &facts, DAY), Step::Cancelled);
    }

    #[test]
    fn a_copy_that_would_be_past_its_date_is_refused() {
        let facts = Facts { package_until: Time(DAY), copy: None, begun: true, verdict: None };
        assert_eq!(step(&transfer(None), &facts, Time(DAY), &end), Step::Past(Time(DAY)));
        assert_eq!(step(&transfer(Some(Keep::Days(3))), &facts, Time(DAY), &end), Step::TakeIn);
        let past = Some(Keep::Until(Time(DAY)));
        assert_eq!(step(&transfer(past), &facts, Time(DAY), &end), Step::Past(Time(DAY)));
        // A copy whose promise has ended is as one that comes now.
        let ended = Dated { until: Time(2), ordered: None, promised: Some(Time(2)) };
        let here = Facts { package_until: Time(9 * DAY), copy: Some(ended), begun: false, verdict: None };
        assert!(
            matches!(step(&transfer(None), &here, Time(DAY), &end), Step::Done(d) if d.until == Time(9 * DAY))
        );
    }

    #[test]
    fn at_its_end_it_is_missed_unless_it_has_begun() {
        let job = transfer(None);
        let facts = Facts { package_until: Time::MAX, copy: None, begun: false, verdict: None };
        assert_eq!(step(&job, &facts, job.until, &end), Step::Missed);
        assert_eq!(step(&job, &Facts { begun: true, ..facts }, job.until, &end), Step::TakeIn);
        let judged = Facts { verdict: Some(Verdict::Superseded), ..facts };
        assert_eq!(step(&job, &judged, Time(1), &end), Step::Judged(Verdict::Superseded));
    }
}
