//! One machine or two under one name. A new connection replaces the old one, as after a reboot; only when two run ids
//! (random at each start of an agent) come back in turn, A, B, A, are there two machines.

use crate::time::Time;

/// Turns are forgotten after this long without one.
pub const FORGET_SECS: i64 = 600;

/// What is remembered of the run ids under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Runs {
    current: u64,
    before: Option<u64>,
    turned: Time,
    /// Since when two machines answer, if they do.
    pub twins_since: Option<Time>,
}

/// Whether the run that just came may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Welcome,
    /// Two machines answer under this name; both are held.
    Held,
}

impl Runs {
    /// Takes in that `run` came at `now`. Held runs are set free when only one of them has come for [`FORGET_SECS`].
    pub fn came(&mut self, run: u64, now: Time) -> Verdict {
        if self.twins_since.is_some() && now.secs_since(self.turned) > FORGET_SECS {
            *self = Runs { current: run, turned: now, ..Runs::default() };
        }
        if run != self.current {
            let back = self.before == Some(run) && now.secs_since(self.turned) <= FORGET_SECS;
            if back && self.twins_since.is_none() {
                self.twins_since = Some(now);
            }
            self.before = Some(self.current).filter(|old| *old != 0);
            self.current = run;
            self.turned = now;
        }
        if self.twins_since.is_some() { Verdict::Held } else { Verdict::Welcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Time {
        Time(0).plus_secs(secs)
    }

    #[test]
    fn restarts_are_not_twins() {
        let mut runs = Runs::default();
        for (i, run) in [1, 1, 2, 3, 4, 4].into_iter().enumerate() {
            assert_eq!(runs.came(run, at(i as i64)), Verdict::Welcome);
        }
    }

    #[test]
    fn two_that_come_in_turn_are_held_until_one_stays_away() {
        let mut runs = Runs::default();
        assert_eq!(runs.came(1, at(0)), Verdict::Welcome);
        assert_eq!(runs.came(2, at(1)), Verdict::Welcome);
        assert_eq!(runs.came(1, at(2)), Verdict::Held);
        assert_eq!(runs.came(2, at(3)), Verdict::Held);
        assert_eq!(runs.came(2, at(300)), Verdict::Held);
        assert_eq!(runs.came(2, at(3 + FORGET_SECS + 1)), Verdict::Welcome);
        assert_eq!(runs.came(2, at(3 + FORGET_SECS + 2)), Verdict::Welcome);
    }

    #[test]
    fn coming_back_much_later_is_not_in_turn() {
        let mut runs = Runs::default();
        runs.came(1, at(0));
        runs.came(2, at(1));
        assert_eq!(runs.came(1, at(2 + FORGET_SECS)), Verdict::Welcome);
    }
}
