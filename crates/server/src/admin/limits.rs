//! Rates, hours and sizes as they are set at a relay.

use packhorse_domain::line::DAY_MINUTES;
use packhorse_wire::signed::LineLimit;

use crate::db::DbError;

/// Below this a line carries nothing worth waiting for, bits per second.
const SLOWEST: u64 = 8_000;
/// Beyond this it is no limit.
const FASTEST: u64 = 1_000_000_000_000;
/// The smallest store, bytes.
const STORE_MIN: u64 = 1_000_000;

fn refuse(text: &str, what: &str, hint: &str) -> DbError {
    let shown: String = text.chars().take(40).collect();
    DbError::refused("bad_limit", format!("{shown:?} {what}"), Some(hint))
}

/// A number with a unit: the number times the unit's worth.
fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..digits].parse::<f64>().ok()?, text[digits..].trim());
    let (_, worth) = units.iter().find(|(word, _)| word.eq_ignore_ascii_case(unit))?;
    let value = number * *worth as f64;
    // Beyond 2^53 no number is exact, and none is meant.
    (value <= 9e15).then_some(value.round() as u64)
}

/// `20Mbit`, `512 kbit`, `0`.
///
/// # Errors
/// It is no rate, or none that makes sense.
pub fn rate(text: &str) -> Result<u64, DbError> {
    let hint = "--down 20Mbit, 512kbit, 1Gbit; 0: nothing passes";
    let bare = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let units = [("bit", 1), ("kbit", 1000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)];
    match (bare, read(bare, &units)) {
        ("0", _) | (_, Some(0)) => Ok(0),
        (_, Some(bits)) if (SLOWEST..=FASTEST).contains(&bits) => Ok(bits),
        (_, Some(_)) => Err(refuse(text, "is not between 8 kbit and 1 Tbit a second", hint)),
        (_, None) => Err(refuse(text, "is no rate", hint)),
    }
}

/// `40GB`.
///
/// # Errors
/// It is no size, or none that makes sense.
pub fn store(text: &str) -> Result<u64, DbError> {
    let hint = "--store 40GB, 500MB, 1.5TB";
    let units = [
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    match read(text, &units) {
        Some(bytes) if bytes >= STORE_MIN => Ok(bytes),
        Some(_) => Err(refuse(text, "is less than 1 MB", hint)),
        None => Err(refuse(text, "is no size", hint)),
    }
}

/// `22:00-06:00`: minutes of the day.
///
/// # Errors
/// They are no hours.
pub fn hours(text: &str) -> Result<(u16, u16), DbError> {
    let hint = "--hours 22:00-06:00; over midnight as well as within a day";
    let wrong = || refuse(text, "are no hours", hint);
    let (from, to) = text.trim().split_once('-').ok_or_else(wrong)?;
    let (from, to) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
    if from == DAY_MINUTES || from == to % DAY_MINUTES && from == to {
        return Err(wrong());
    }
    Ok((from, to))
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |part: &str| {
        let fits = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute).filter(|minute| *minute < 60)?);
    Some(hour * 60 + minute).filter(|at| *at <= DAY_MINUTES)
}

/// Hours as they are written.
pub fn hours_text(limit: &LineLimit) -> Option<String> {
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    limit.minutes.map(|(from, to)| format!("{}-{}", clock(from), clock(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_sizes_and_hours_are_read_or_refused() {
        for (text, bits) in
            [("20Mbit", 20_000_000), ("512 kbit/s", 512_000), ("1.5gbit", 1_500_000_000), ("0", 0)]
        {
            assert_eq!(rate(text).unwrap(), bits, "{text}");
        }
        for text in
            ["", "20", "20MB", "-1Mbit", "1kbit", "2Tbit", "fast", "1e9bit", "99999999999999999999Gbit"]
        {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(store("40GB").unwrap(), 40_000_000_000);
        for text in ["40", "1kB", "0GB", "GB", "many"] {
            assert!(store(text).is_err(), "{text}");
        }
        assert_eq!(hours("22:00-06:30").unwrap(), (22 * 60, 6 * 60 + 30));
        assert_eq!(hours("8:00-24:00").unwrap(), (8 * 60, 24 * 60));
        for text in ["22-06", "22:00", "22:00-22:00", "25:00-01:00", "22:60-23:00", "24:00-06:00", "a:b-c:d"]
        {
            assert!(hours(text).is_err(), "{text}");
        }
        let limit = |minutes| hours_text(&LineLimit { bits_per_sec: 1, minutes });
        assert_eq!(limit(Some((22 * 60, 390))).as_deref(), Some("22:00-06:30"));
        assert_eq!(limit(None), None);
    }
}
