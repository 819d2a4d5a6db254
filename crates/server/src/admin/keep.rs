//! Keeping times of packages: to the end of a day in the server's zone.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use packhorse_content::manifest::Keep;
use packhorse_domain::lease;
use packhorse_domain::time::Time;

use crate::authority::timestamp;
use crate::db::DbError;

/// Reads a job's `--keep`: `30d`, or a day that is not over.
///
/// # Errors
/// It is neither.
pub fn read(text: &str, now: Time) -> Result<lease::Keep, DbError> {
    let shown: String = text.chars().take(40).collect();
    let hint = Some("--keep 30d, or a day: --keep 2026-12-31");
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
        if days > lease::KEEP_DAYS_MAX {
            let message = format!("--keep {shown}: at most {}d are possible", lease::KEEP_DAYS_MAX);
            return Err(DbError::refused("limit", message, hint));
        }
        return Ok(lease::Keep::Days(days));
    }
    let date: Date = text
        .parse()
        .map_err(|_| DbError::refused("bad_request", format!("--keep {shown:?} is no keeping time"), hint))?;
    let until = end_of(date, TimeZone::system());
    if until <= now {
        return Err(DbError::refused("past", format!("--keep {shown}: that day is over"), hint));
    }
    Ok(lease::Keep::Until(until))
}

/// The name of this system's zone, for those who end days in it; empty where it has none.
pub fn zone_name() -> String {
    TimeZone::system().iana_name().filter(|name| *name != "UTC").unwrap_or_default().to_owned()
}

/// Until when relays promise to keep a package that is registered at `registered`: days count from there.
pub fn keep_until(keep: Keep, registered: Time) -> Time {
    let zone = TimeZone::system();
    let date = match keep {
        Keep::Date(date) => date,
        Keep::Days(days) => {
            timestamp(registered).to_zoned(zone.clone()).date().saturating_add(i64::from(days).days())
        }
    };
    end_of(date, zone)
}

/// The last microsecond of a day, so that the date shown for it is that day.
fn end_of(date: Date, zone: TimeZone) -> Time {
    match date.at(23, 59, 59, 999_999_000).to_zoned(zone) {
        Ok(end) => Time(end.timestamp().as_microsecond()),
        // Beyond what the calendar knows.
        Err(_) => Time::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_lasts_to_the_end_of_its_day() {
        let zone = TimeZone::system();
        let registered: jiff::civil::DateTime = "2026-11-24T11:23".parse().unwrap();
        let registered = Time(registered.to_zoned(zone.clone()).unwrap().timestamp().as_microsecond());
        let shown =
            |keep| timestamp(keep_until(keep, registered)).to_zoned(zone.clone()).datetime().to_string();
        assert_eq!(shown(Keep::Days(9)), "2026-12-03T23:59:59.999999");
        assert_eq!(shown(Keep::Days(0)), "2026-11-24T23:59:59.999999");
        assert_eq!(shown(Keep::Date("2027-02-28".parse().unwrap())), "2027-02-28T23:59:59.999999");
    }
}
