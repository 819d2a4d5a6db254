//! The agent's clock: the machine's own as it was at the start, carried on by what counts since the machine's start, and
//! corrected by what the higher system's clock said last. Somebody who sets the machine's clock wrong by hours, or a clock that
//! jumps, changes nothing of when jobs start and end.

use std::sync::{Mutex, PoisonError};

use packhorse_domain::time::Time;
use rustix::time::{ClockId, clock_gettime};

/// Most that a higher system's word moves a host's clock, in seconds. Beyond it the host's own clock counts.
pub(crate) const CORRECTION_SECS_MAX: i64 = 900;

/// A clock that everything in one agent shares.
#[derive(Debug)]
pub(crate) struct Clock {
    anchor: Mutex<Anchor>,
}

/// What the machine's own clock showed when the machine had been up for so long, and how far the higher system's is ahead of
/// it; all in microseconds.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    own: i64,
    up: i64,
    offset: i64,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { anchor: Mutex::new(Anchor { own: local_micros(), up: up_micros(), offset: 0 }) }
    }
}

impl Anchor {
    /// The machine's own clock, carried on: nothing that is said from outside moves it.
    fn own_now(self, up: i64) -> i64 {
        self.own.saturating_add(up.saturating_sub(self.up))
    }

    fn now(self, up: i64) -> i64 {
        self.own_now(up).saturating_add(self.offset)
    }

    /// With what the higher system's clock says now. It is not signed, so it moves this clock by at most
    /// [`CORRECTION_SECS_MAX`] from the machine's own, however often it is said; unless the machine's clock was set right
    /// meanwhile and says the same. A relay that lies about the time can start a job a little early or end it a little late,
    /// not by hours.
    fn corrected(self, said: i64, local: i64, up: i64) -> Anchor {
        let near = |own: i64| said.saturating_sub(own).saturating_abs() <= CORRECTION_SECS_MAX * 1_000_000;
        if near(self.own_now(up)) {
            Anchor { offset: said.saturating_sub(self.own_now(up)), ..self }
        } else if near(local) {
            Anchor { own: local, up, offset: said.saturating_sub(local) }
        } else {
            self
        }
    }
}

impl Clock {
    /// Now, as the higher system would say.
    pub fn now(&self) -> Time {
        let anchor = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        Time(anchor.now(up_micros()))
    }

    /// Takes in what the higher system's clock says now.
    pub fn heard(&self, now: Time) {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        *anchor = anchor.corrected(now.0, local_micros(), up_micros());
    }

    /// How long it is until `then`; nothing if it has passed.
    pub fn until(&self, then: Time) -> std::time::Duration {
        let micros = then.0.saturating_sub(self.now().0);
        std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// Counts on while the machine sleeps, and nobody sets it.
fn up_micros() -> i64 {
    let up = clock_gettime(ClockId::Boottime);
    up.tv_sec.saturating_mul(1_000_000).saturating_add(up.tv_nsec / 1000)
}

fn local_micros() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// RFC 3339; an instant outside of the calendar is shown as its number.
pub(crate) fn rfc3339(time: Time) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| time.0.to_string(), |stamp| stamp.to_string())
}

/// Any number. Without randomness it is the clock's, which still spreads hosts.
pub(crate) fn chance() -> u64 {
    getrandom::u64().unwrap_or_else(|_| local_micros().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_clock_that_jumps_by_hours_moves_no_job() {
        let anchor = Anchor { own: 100 * HOUR, up: HOUR, offset: 0 };
        // An hour later the machine's clock was set five hours ahead; nobody says anything else.
        assert_eq!(anchor.now(2 * HOUR), 101 * HOUR);
        // The higher system says what this clock says, about: it is followed, the jump is not.
        let said = 101 * HOUR + 5_000_000;
        let followed = anchor.corrected(said, 106 * HOUR, 2 * HOUR);
        assert_eq!(followed.now(2 * HOUR), said);
    }

    #[test]
    fn a_lie_about_the_time_is_not_followed_and_a_clock_set_right_is() {
        let anchor = Anchor { own: 100 * HOUR, up: 0, offset: 0 };
        assert_eq!(anchor.corrected(200 * HOUR, 100 * HOUR, 0).now(0), 100 * HOUR);
        // The machine started with a clock that was wrong, and was set right.
        assert_eq!(anchor.corrected(200 * HOUR, 200 * HOUR + 1, 0).now(0), 200 * HOUR);
        assert_eq!(anchor.corrected(i64::MAX, i64::MIN, 0).now(0), 100 * HOUR);
    }

    #[test]
    fn small_lies_do_not_add_up() {
        let (limit, start) = (CORRECTION_SECS_MAX * 1_000_000, 100 * HOUR);
        let mut anchor = Anchor { own: start, up: 0, offset: 0 };
        for _ in 0..100 {
            let said = anchor.now(0) + limit - 60_000_000;
            anchor = anchor.corrected(said, start, 0);
            assert!((anchor.now(0) - start).abs() <= limit);
        }
    }
}
