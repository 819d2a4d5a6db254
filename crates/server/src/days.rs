//! The ends of days, in the managing server's zone: what [`packhorse_domain::lease`] asks for and cannot know.

use jiff::ToSpan;
use jiff::tz::TimeZone;
use packhorse_domain::time::Time;

/// The zone of a name, from the zone database this program brings along; UTC for one that is empty or not known.
pub fn zone(name: &str) -> TimeZone {
    if name.is_empty() {
        return TimeZone::UTC;
    }
    TimeZone::get(name).unwrap_or_else(|error| {
        tracing::warn!(name, %error, "a zone that is not known here: days end in UTC");
        TimeZone::UTC
    })
}

/// The last microsecond of the day that is so many days after an instant, as the calendar of a zone counts: a date shown for
/// it is that day. Beyond what the calendar knows: never.
pub fn end_of_day(zone: &TimeZone, from: Time, days: u32) -> Time {
    let Ok(from) = jiff::Timestamp::from_microsecond(from.0) else { return Time::MAX };
    let end = from
        .to_zoned(zone.clone())
        .date()
        .checked_add(i64::from(days).days())
        .and_then(|date| date.at(23, 59, 59, 999_999_000).to_zoned(zone.clone()));
    end.map_or(Time::MAX, |end| Time(end.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn days_end_where_the_server_is_and_are_as_long_as_the_calendar_says() {
        let tokyo = zone("Asia/Tokyo");
        assert_eq!(end_of_day(&tokyo, at("2026-11-24T16:00:00Z"), 0), at("2026-11-25T14:59:59.999999Z"));
        // The night in which clocks go back has 25 hours.
        let berlin = zone("Europe/Berlin");
        assert_eq!(end_of_day(&berlin, at("2026-10-24T10:00:00Z"), 1), at("2026-10-25T22:59:59.999999Z"));
        assert_eq!(end_of_day(&zone(""), at("2026-11-24T16:00:00Z"), 2), at("2026-11-26T23:59:59.999999Z"));
        assert_eq!(
            end_of_day(&zone("No/Where"), at("2026-11-24T16:00:00Z"), 0),
            at("2026-11-24T23:59:59.999999Z")
        );
        assert_eq!(end_of_day(&zone(""), Time::MAX, 1), Time::MAX);
    }
}
