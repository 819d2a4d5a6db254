//! Times and sizes as they are written for scripts and for people.

use jiff::Zoned;
use jiff::tz::TimeZone;
use packhorse_domain::time::Time;

use crate::authority::timestamp;
use crate::db::DbError;

/// RFC 3339, in UTC.
pub fn rfc3339(time: Time) -> String {
    timestamp(time).to_string()
}

/// Reads RFC 3339. `what` names the field.
///
/// # Errors
/// A refusal that says what was read.
pub fn parse_time(what: &str, text: &str) -> Result<Time, DbError> {
    let read: Result<jiff::Timestamp, _> = text.parse();
    read.map(|at| Time(at.as_microsecond())).map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        DbError::refused(
            "bad_time",
            format!("{what} is no time: {shown:?}"),
            Some("write it as 2026-12-01T02:00:00+09:00"),
        )
    })
}

fn zoned(time: Time) -> Zoned {
    timestamp(time).to_zoned(TimeZone::system())
}

/// A time of day, with the day if it is not today's: `09:12`, `3 Dec 09:12`, `3 Dec 2027 09:12`; in the server's zone.
pub fn clock(time: Time, now: Time) -> String {
    let (at, today) = (zoned(time), zoned(now));
    let pattern = if at.date() == today.date() {
        "%H:%M"
    } else if at.year() == today.year() {
        "%-d %b %H:%M"
    } else {
        "%-d %b %Y %H:%M"
    };
    at.strftime(pattern).to_string()
}

/// A day: `3 Dec`, with the year if it is not this one.
pub fn day(time: Time, now: Time) -> String {
    let (at, today) = (zoned(time), zoned(now));
    let pattern = if at.year() == today.year() { "%-d %b" } else { "%-d %b %Y" };
    at.strftime(pattern).to_string()
}

/// Bytes as people read them: `0 B`, `38 MB`, `4.1 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit > 0 && value < 9.95 { 1 } else { 0 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `1 host`, `2 hosts`.
pub fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (38_000_000, "38 MB"),
            (4_100_000_000, "4.1 GB"),
            (999_999, "1.0 MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn days_are_named_as_far_as_needed() {
        let at = |text: &str| {
            let civil: jiff::civil::DateTime = text.parse().unwrap();
            Time(civil.to_zoned(TimeZone::system()).unwrap().timestamp().as_microsecond())
        };
        let now = at("2026-11-24T10:00");
        assert_eq!(clock(at("2026-11-24T09:12"), now), "09:12");
        assert_eq!(clock(at("2026-12-03T09:12"), now), "3 Dec 09:12");
        assert_eq!(clock(at("2027-12-03T09:12"), now), "3 Dec 2027 09:12");
        assert_eq!(day(at("2026-12-03T09:12"), now), "3 Dec");
    }
}
