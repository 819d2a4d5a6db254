//! Keeping time: until when a relay promises to keep a copy (design section 3).

use crate::time::Time;

/// A package's `keep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Days after its registration.
    Days(u32),
    /// To the end of a day; the instant is that end, in the server's zone.
    Until(Time),
}

/// The default keeping time.
pub const KEEP_DAYS_DEFAULT: u32 = 90;
/// The longest keeping time in days: a hundred years.
pub const KEEP_DAYS_MAX: u32 = 36_500;

/// The date of a copy when an order with the package's own keeping time `package` comes by: an order without `--keep` never
/// moves a standing date.
pub fn date(standing: Option<Time>, package: Time) -> Time {
    standing.unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_date_is_not_moved() {
        assert_eq!(date(None, Time(5)), Time(5));
        assert_eq!(date(Some(Time(3)), Time(5)), Time(3));
        assert_eq!(date(Some(Time(9)), Time(5)), Time(9));
    }
}
