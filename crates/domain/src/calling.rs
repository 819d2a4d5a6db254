//! Which of the systems it may call a host calls: the first of its list that answers. It goes on to the next when the one it
//! calls was out of reach for a while, and returns when an earlier one answers steadily. Who is called is tried by its driver;
//! others are looked at first, and called only when they answered. A refusal is an answer: it ends no call.

use crate::ids::HostId;
use crate::place::Place;
use crate::time::{Time, pause_micros};

/// How long things take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paces {
    /// So long the system that is called has to be out of reach; a host waits up to half as long again, by its id.
    pub outage_millis: i64,
    /// Pauses between two looks at the same system: the first, and the longest.
    pub look_millis: (i64, i64),
    /// So long an earlier system has to answer before a host returns to it.
    pub steady_millis: i64,
    /// Hosts return spread over this time, by their ids.
    pub spread_millis: i64,
    /// So long a host stays where it is before it returns; doubled up to the second each time it had to leave again soon.
    pub stay_millis: (i64, i64),
}

impl Paces {
    /// As in earnest: 60 to 90 s out of reach, looks every 30 s to 10 min, a return after 3 to 5 min of answers.
    pub const USUAL: Paces = Paces {
        outage_millis: 60_000,
        look_millis: (30_000, 600_000),
        steady_millis: 180_000,
        spread_millis: 120_000,
        stay_millis: (300_000, 3_600_000),
    };

    /// The same with another time out of reach, and all others in proportion: for tests.
    pub fn scaled(outage_millis: i64) -> Paces {
        let usual = Paces::USUAL;
        let scale = |millis: i64| millis.saturating_mul(outage_millis) / usual.outage_millis;
        Paces {
            outage_millis,
            look_millis: (scale(usual.look_millis.0), scale(usual.look_millis.1)),
            steady_millis: scale(usual.steady_millis),
            spread_millis: scale(usual.spread_millis),
            stay_millis: (scale(usual.stay_millis.0), scale(usual.stay_millis.1)),
        }
    }
}

/// Whom a host calls: what outlives its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The system.
    pub to: HostId,
    /// Counted up at each change that the host made by itself; the managing server says in the host's place up to which it
    /// knows of them.
    pub number: u64,
    /// Since when.
    pub since: Time,
    /// How often in a row it had to leave a system soon after it came.
    pub relapses: u32,
}

/// Least attempts that have to fail: one that took long, or a clock that was set, is no outage.
const ATTEMPTS_MIN: u32 = 3;
/// Least looks that have to be answered before a return.
const STEADY_LOOKS: u32 = 3;

#[derive(Debug, Clone, Copy)]
struct Out {
    since: Time,
    attempts: u32,
}

/// An earlier system, as it was seen lately.
#[derive(Debug, Clone, Copy)]
struct Watched {
    id: HostId,
    next: Time,
    failures: u32,
    answers: u32,
    since: Time,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Calling {
    me: HostId,
    paces: Paces,
    above: Vec<HostId>,
    /// The managing server knows of this host's changes up to this one.
    known: u64,
    call: Call,
    out: Option<Out>,
    /// Systems in this round of a search, the next one last; empty: the round is over.
    round: Vec<HostId>,
    rounds: u32,
    next_round: Time,
    watched: Vec<Watched>,
    looking: Option<HostId>,
}

impl Calling {
    /// With what was kept, and the place that is known: `call` is whom it called last.
    pub fn new(me: HostId, paces: Paces, place: &Place, call: Call, now: Time) -> Calling {
        let above = place.above.iter().map(|above| above.id).collect();
        let mut calling = Calling {
            me,
            paces,
            above,
            known: place.called,
            call,
            out: None,
            round: Vec::new(),
            rounds: 0,
            next_round: now,
            watched: Vec::new(),
            looking: None,
        };
        calling.watch_earlier(now);
        calling
    }

    /// Whom it calls.
    pub fn call(&self) -> Call {
        self.call
    }

    /// Whether the system it calls is to be told that it does: the managing server does not know yet.
    pub fn is_untold(&self) -> bool {
        self.call.number > self.known
    }

    /// Since when the system it calls is out of reach.
    pub fn out_since(&self) -> Option<Time> {
        self.out.map(|out| out.since)
    }

    /// Whether it is away from the first of its list.
    pub fn is_away(&self) -> bool {
        self.above.first().is_some_and(|first| *first != self.call.to) && self.place_in_list().is_some()
    }

    /// A newer place came. What the managing server says of whom to call counts if it knew of this host's last change when it
    /// said so, or if the one that is called is not on the list any more. Answers whether another is called from now on.
    pub fn placed(&mut self, place: &Place, now: Time) -> bool {
        self.above = place.above.iter().map(|above| above.id).collect();
        self.known = place.called;
        let listed = self.above.contains(&self.call.to);
        let told = place.calls().map(|above| above.id);
        let moved = told.filter(|to| *to != self.call.to && (!listed || place.called >= self.call.number));
        if let Some(to) = moved {
            self.call = Call { to, number: self.call.number.max(place.called), since: now, relapses: 0 };
            self.out = None;
        }
        self.looking = None;
        self.round.clear();
        self.watch_earlier(now);
        moved.is_some()
    }

    /// The system it calls answered, be it with a refusal.
    pub fn answered(&mut self, now: Time) {
        if self.out.take().is_some() {
            self.round.clear();
            self.rounds = 0;
            self.looking = None;
            self.watch_earlier(now);
        }
    }

    /// The system it calls could not be reached.
    pub fn unreached(&mut self, now: Time) {
        let out = self.out.get_or_insert(Out { since: now, attempts: 0 });
        // A clock that was set back.
        out.since = out.since.min(now);
        out.attempts = out.attempts.saturating_add(1);
    }

    /// The system it called by itself does not take it: as good as out of reach, at once.
    pub fn turned_away(&mut self, now: Time) {
        let since = Time(now.0.saturating_sub(self.outage_micros()));
        self.out = Some(Out { since, attempts: ATTEMPTS_MIN });
    }

    /// Which system to look at now, if any. Asked again when [`Calling::looked`] was told what became of it.
    pub fn look(&mut self, now: Time) -> Option<HostId> {
        if self.looking.is_some() || self.above.is_empty() {
            return None;
        }
        let at = if self.is_out(now) { self.search(now) } else { self.earlier_due(now) };
        self.looking = at;
        at
    }

    /// What a look found: whether the system would take the host. Answers whether it is called from now on; for the system
    /// that is called already, whether it was reached by another address.
    pub fn looked(&mut self, at: HostId, takes: bool, now: Time) -> bool {
        if self.looking.take_if(|looking| *looking == at).is_none() {
            return false;
        }
        if self.is_out(now) {
            if takes {
                self.switch(at, now);
            }
            return takes;
        }
        let steady = self.watched(at, takes, now);
        if steady {
            self.switch(at, now);
        }
        steady
    }

    /// When [`Calling::look`] is next of use, if nothing else happens.
    pub fn wakes_at(&self, now: Time) -> Option<Time> {
        if self.looking.is_some() || self.above.is_empty() {
            return None;
        }
        match self.out {
            Some(_) if self.is_out(now) && self.round.is_empty() => Some(self.soon(self.next_round, now)),
            Some(_) if self.is_out(now) => Some(now),
            Some(out) if out.attempts >= ATTEMPTS_MIN => {
                Some(Time(out.since.0.saturating_add(self.outage_micros())))
            }
            // The next attempt says more.
            Some(_) => None,
            None => self.watched.iter().map(|watched| self.soon(watched.next, now)).min(),
        }
    }

    fn place_in_list(&self) -> Option<usize> {
        self.above.iter().position(|id| *id == self.call.to)
    }

    /// A number of this host between 0 and `most`, always the same.
    fn share(&self, most: i64) -> i64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.me.0[8..]);
        (u64::from_be_bytes(low) % (most.max(0) as u64 + 1)) as i64
    }

    fn outage_micros(&self) -> i64 {
        let millis = self.paces.outage_millis;
        millis.saturating_add(self.share(millis / 2)).saturating_mul(1000)
    }

    fn is_out(&self, now: Time) -> bool {
        let long = |out: Out| now.0.saturating_sub(out.since.0) >= self.outage_micros();
        self.out.is_some_and(|out| out.attempts >= ATTEMPTS_MIN && long(out))
    }

    /// A time that was set when the clock showed something else is never further away than the longest pause.
    fn soon(&self, then: Time, now: Time) -> Time {
        then.min(Time(now.0.saturating_add(self.paces.look_millis.1.saturating_mul(1000))))
    }

    fn pause(&self, failures: u32) -> i64 {
        let (first, longest) = self.paces.look_millis;
        // In thousandths of what the function counts in.
        let chance = self.share(i64::MAX).unsigned_abs().wrapping_mul(u64::from(failures) * 2 + 1);
        pause_micros(failures, first, longest, chance) / 1000
    }

    /// All that may be called, in their order; the one that is called comes first, by its other addresses.
    fn search(&mut self, now: Time) -> Option<HostId> {
        if self.round.is_empty() {
            if self.soon(self.next_round, now) > now {
                return None;
            }
            self.round = self.above.iter().rev().filter(|id| **id != self.call.to).copied().collect();
            self.round.push(self.call.to);
        }
        let at = self.round.pop();
        if self.round.is_empty() {
            self.next_round = Time(now.0.saturating_add(self.pause(self.rounds)));
            self.rounds = self.rounds.saturating_add(1);
        }
        at
    }

    fn watch_earlier(&mut self, now: Time) {
        let earlier = &self.above[..self.place_in_list().unwrap_or(0)];
        let first = Time(now.0.saturating_add(self.pause(0)));
        let watched = earlier.iter().map(|id| {
            let known = self.watched.iter().find(|watched| watched.id == *id).copied();
            known.unwrap_or(Watched { id: *id, next: first, failures: 0, answers: 0, since: now })
        });
        self.watched = watched.collect();
    }

    fn earlier_due(&self, now: Time) -> Option<HostId> {
        let due = self.watched.iter().filter(|watched| self.soon(watched.next, now) <= now);
        due.min_by_key(|watched| watched.next).map(|watched| watched.id)
    }

    /// Takes in a look at an earlier system; answers whether it is time to return there.
    fn watched(&mut self, at: HostId, takes: bool, now: Time) -> bool {
        let stayed = now.0.saturating_sub(self.call.since.min(now).0) >= self.stay_micros();
        let steady = self.paces.steady_millis.saturating_add(self.share(self.paces.spread_millis));
        let Some(mut seen) = self.watched.iter().find(|watched| watched.id == at).copied() else {
            return false;
        };
        if takes {
            if seen.answers == 0 || seen.since > now {
                (seen.since, seen.answers) = (now, 0);
            }
            (seen.answers, seen.failures) = (seen.answers.saturating_add(1), 0);
        } else {
            (seen.answers, seen.failures) = (0, seen.failures.saturating_add(1));
        }
        seen.next = Time(now.0.saturating_add(self.pause(seen.failures)));
        self.watched.iter_mut().filter(|watched| watched.id == at).for_each(|watched| *watched = seen);
        let answered = now.0.saturating_sub(seen.since.0) >= steady.saturating_mul(1000);
        seen.answers >= STEADY_LOOKS && answered && stayed
    }

    fn stay_micros(&self) -> i64 {
        let (first, longest) = self.paces.stay_millis;
        first.saturating_mul(1i64 << self.call.relapses.min(30)).min(longest).saturating_mul(1000)
    }

    fn switch(&mut self, to: HostId, now: Time) {
        let driven_away = self.out.take().is_some();
        (self.rounds, self.next_round) = (0, now);
        self.round.clear();
        if to == self.call.to {
            return;
        }
        let soon = now.0.saturating_sub(self.call.since.0) < self.paces.stay_millis.1.saturating_mul(1000);
        let relapses = match (driven_away, soon) {
            (true, true) => self.call.relapses.saturating_add(1),
            (true, false) => 0,
            (false, _) => self.call.relapses,
        };
        // Also of a machine that lost what it kept: a number that was never given before.
        let secs = (now.0 / 1_000_000).unsigned_abs();
        let number = self.call.number.max(self.known).saturating_add(1).max(secs);
        self.call = Call { to, number, since: now, relapses };
        self.watched.clear();
        self.watch_earlier(now);
    }
}

#[cfg(test)]
mod tests;
