//! Instants. Whoever decides is told what time it is.

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub i64);

impl Time {
    /// The last instant there is: "never".
    pub const MAX: Time = Time(i64::MAX);

    /// This instant and `secs` seconds more.
    #[must_use]
    pub fn plus_secs(self, secs: i64) -> Time {
        Time(self.0.saturating_add(secs.saturating_mul(1_000_000)))
    }

    /// This instant and `days` days of 24 hours more.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Time {
        self.plus_secs(days.saturating_mul(86_400))
    }

    /// Whole seconds from `earlier` to this instant; negative if it is later.
    pub fn secs_since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

/// The next pause of something that failed `failures` times in a row: `base_secs` doubled each time up to `cap_secs`, of
/// which `chance` (any number, drawn by the caller) takes away up to half, so that many hosts do not come at once.
pub fn pause_micros(failures: u32, base_secs: i64, cap_secs: i64, chance: u64) -> i64 {
    let full =
        base_secs.saturating_mul(1i64 << failures.min(30)).clamp(0, cap_secs).saturating_mul(1_000_000);
    let half = full / 2;
    // `half + 1` is positive, so the remainder is in 0..=half.
    full - (chance % (half as u64 + 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        assert_eq!(pause_micros(0, 1, 60, 0), 1_000_000);
        assert_eq!(pause_micros(3, 1, 60, 0), 8_000_000);
        assert_eq!(pause_micros(40, 1, 60, 0), 60_000_000);
        for chance in 0..100_000 {
            let p = pause_micros(2, 1, 60, chance * 7919);
            assert!((2_000_000..=4_000_000).contains(&p));
        }
    }
}
