//! The agent's clock: the machine's own, corrected by what the higher system's clock said last.

use std::sync::atomic::{AtomicI64, Ordering};

use packhorse_domain::time::Time;

/// Most that a higher system's word moves a host's clock, in seconds. Beyond it the host's own clock counts.
pub(crate) const CORRECTION_SECS_MAX: i64 = 900;

/// A clock that everything in one agent shares.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Microseconds to add to the machine's clock.
    offset: AtomicI64,
}

impl Clock {
    /// Now, as the higher system would say.
    pub fn now(&self) -> Time {
        Time(local_micros().saturating_add(self.offset.load(Ordering::Relaxed)))
    }

    /// Takes in what the higher system's clock says now. It is not signed, so it corrects by at most
    /// [`CORRECTION_SECS_MAX`]: a relay that lies about the time can start a job a little early or end it a little late,
    /// not by hours.
    pub fn heard(&self, now: Time) {
        let limit = CORRECTION_SECS_MAX * 1_000_000;
        let offset = now.0.saturating_sub(local_micros());
        self.offset.store(if offset.abs() <= limit { offset } else { 0 }, Ordering::Relaxed);
    }

    /// How long it is until `then`; nothing if it has passed.
    pub fn until(&self, then: Time) -> std::time::Duration {
        let micros = then.0.saturating_sub(self.now().0);
        std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
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
