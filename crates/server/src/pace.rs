//! Paces what a relay takes in: at most so many bits a second, as it is set at the moment, also while something is waiting.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A wait is looked at anew this often: the pace may have changed.
const LOOK: Duration = Duration::from_millis(100);

/// Keeps a pace.
pub struct Pace(Mutex<Owed>);

/// What has passed and was not waited for yet.
struct Owed {
    bits: f64,
    at: Instant,
}

impl Owed {
    /// What is owed goes down with the time; a line that stood idle saves nothing up.
    fn settle(&mut self, rate: Option<u64>, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.bits = rate.map_or(0.0, |rate| (self.bits - passed * rate as f64).max(0.0));
    }

    /// How long to wait before it is looked at again; `None`: nothing is owed.
    fn wait(&self, rate: Option<u64>) -> Option<Duration> {
        let rate = rate.filter(|_| self.bits > 0.0)?;
        // At nought this is no number of seconds.
        let whole = Duration::try_from_secs_f64(self.bits / rate as f64).unwrap_or(LOOK);
        Some(whole.min(LOOK))
    }
}

impl Pace {
    /// Nothing has passed yet.
    pub fn new() -> Pace {
        Pace(Mutex::new(Owed { bits: 0.0, at: Instant::now() }))
    }

    /// Waits until what has passed, these bytes included, fits the pace. `rate` answers bits per second, `None` for no limit.
    pub async fn pass(&self, bytes: usize, rate: impl Fn() -> Option<u64>) {
        let mut more = bytes as f64 * 8.0;
        loop {
            let wait = {
                let rate = rate();
                let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                owed.settle(rate, Instant::now());
                owed.bits += std::mem::take(&mut more);
                owed.wait(rate)
            };
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that pass in 10 s.
    fn passed(owed: &mut Owed, rate: u64, piece: u64) -> u64 {
        let (mut now, mut count) = (owed.at, 0);
        let end = now + Duration::from_secs(10);
        loop {
            owed.bits += piece as f64 * 8.0;
            while let Some(wait) = owed.wait(Some(rate)) {
                now += wait;
                owed.settle(Some(rate), now);
                if now >= end {
                    return count;
                }
            }
            count += piece;
        }
    }

    #[test]
    fn the_pace_is_kept_within_five_percent_and_changes_while_running() {
        let mut owed = Owed { bits: 0.0, at: Instant::now() };
        for (bits, piece) in [(20_000_000, 64 << 10), (2_000_000, 16 << 10), (80_000_000, 256 << 10)] {
            let (found, expected) = (passed(&mut owed, bits, piece) as f64, bits as f64 * 10.0 / 8.0);
            assert!((found / expected - 1.0).abs() < 0.05, "{bits} bits: {found} of {expected} bytes");
        }
        // What stood idle saves nothing up.
        let later = owed.at + Duration::from_secs(3600);
        owed.settle(Some(80_000_000), later);
        assert!((passed(&mut owed, 8_000_000, 64 << 10) as f64 / 1e7 - 1.0).abs() < 0.05);
    }

    #[test]
    fn nothing_passes_at_nought_and_without_a_limit_nothing_waits() {
        let mut owed = Owed { bits: 0.0, at: Instant::now() };
        assert_eq!(passed(&mut owed, 0, 100), 0);
        assert_eq!(owed.wait(Some(0)), Some(LOOK));
        let at = owed.at;
        owed.settle(None, at);
        assert_eq!(owed.wait(None), None);
    }
}
