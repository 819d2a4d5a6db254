//! Times as people write and read them: `2026-12-01 02:00`, `02:00` (the next one), `+3h`, in this system's zone.

use jiff::civil::{DateTime, Time};
use jiff::{Span, Timestamp, Zoned};

use crate::failure::{Failure, Outcome};

const FORMS: &str = "write it like \"2026-12-01 02:00\", \"02:00\" (the next one) or \"+3h\"";

/// Reads a time; `option` is named in refusals (`--at`). A time that has passed is refused.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn parse(option: &str, text: &str, now: &Zoned) -> Outcome<Timestamp> {
    let when = read(text.trim(), now)
        .ok_or_else(|| Failure::usage(format!("{option} {text:?} is not a time")).hint(FORMS))?;
    if when <= now.timestamp() {
        let now = shown(&now.timestamp().to_string());
        return Err(Failure::usage(format!("{option} {text:?} is in the past: now is {now}")).hint(FORMS));
    }
    Ok(when)
}

fn read(text: &str, now: &Zoned) -> Option<Timestamp> {
    if let Some(later) = text.strip_prefix('+') {
        return read_later(later, now);
    }
    if let Some(time) = read_clock(text) {
        return next_clock(time, now);
    }
    // With an offset of its own: what a script may pass on from JSON.
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    // A date alone does not say when on that day.
    if !text.contains(':') {
        return None;
    }
    let at: DateTime = text.parse().ok()?;
    at.to_zoned(now.time_zone().clone()).ok().map(|at| at.timestamp())
}

fn read_later(text: &str, now: &Zoned) -> Option<Timestamp> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let span: Span = text.parse().ok()?;
    now.checked_add(span).ok().map(|later| later.timestamp())
}

fn read_clock(text: &str) -> Option<Time> {
    let shape =
        text.len() <= 8 && text.contains(':') && text.bytes().all(|b| b.is_ascii_digit() || b == b':');
    if shape { text.parse().ok() } else { None }
}

/// The next time the clock shows this: today, or tomorrow.
fn next_clock(time: Time, now: &Zoned) -> Option<Timestamp> {
    let on = |date: jiff::civil::Date| date.to_datetime(time).to_zoned(now.time_zone().clone()).ok();
    let today = on(now.date())?;
    let next = if today > *now { today } else { on(now.date().tomorrow().ok()?)? };
    Some(next.timestamp())
}

/// What this system's clock shows at an instant, written as if in UTC: for `--host-time`.
pub fn as_shown(at: Timestamp, now: &Zoned) -> String {
    let shown = now.time_zone().to_datetime(at).to_zoned(jiff::tz::TimeZone::UTC);
    shown.map_or(at, |shown| shown.timestamp()).to_string()
}

/// Checks `--at` and `--until` together.
///
/// # Errors
/// The job would end before it starts.
pub fn check_order(at: Option<Timestamp>, until: Option<Timestamp>) -> Outcome {
    match (at, until) {
        (Some(at), Some(until)) if until <= at => {
            let (at, until) = (shown(&at.to_string()), shown(&until.to_string()));
            Err(Failure::usage(format!("--until {until} is not after --at {at}: nothing could begin"))
                .hint("leave --until out (90 days), or choose a later one"))
        }
        _ => Ok(()),
    }
}

/// A time of JSON (RFC 3339) as a person reads it, in this system's zone. What is no time stays as it is.
pub fn shown(rfc3339: &str) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

/// The day of it: `3 Dec 2026`.
pub fn shown_day(rfc3339: &str) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%-d %b %Y").to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn now() -> Zoned {
        "2026-11-24T10:30:00+09:00[Asia/Tokyo]".parse().unwrap()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expect) in [
            ("2026-12-01 02:00", "2026-12-01T02:00:00+09:00"),
            ("2026-12-01T02:00:30", "2026-12-01T02:00:30+09:00"),
            ("2026-12-01T02:00:00Z", "2026-12-01T02:00:00Z"),
            ("12:00", "2026-11-24T12:00:00+09:00"),
            ("02:00", "2026-11-25T02:00:00+09:00"),
            ("10:30", "2026-11-25T10:30:00+09:00"),
            ("10:30:01", "2026-11-24T10:30:01+09:00"),
            ("+3h", "2026-11-24T13:30:00+09:00"),
            ("+90m", "2026-11-24T12:00:00+09:00"),
            ("+1h30m", "2026-11-24T12:00:00+09:00"),
            ("+2d", "2026-11-26T10:30:00+09:00"),
            (" +5s ", "2026-11-24T10:30:05+09:00"),
        ] {
            let expect: Timestamp = expect.parse().unwrap();
            assert_eq!(parse("--at", text, &now()).unwrap(), expect, "{text}");
        }
    }

    #[test]
    fn other_text_is_refused_with_a_hint() {
        for text in [
            "",
            "tomorrow",
            "2026-12-01",
            "25:00",
            "+",
            "+h",
            "+-3h",
            "-3h",
            "+3",
            "2026-13-01 02:00",
            "1:2:3:4",
        ] {
            let failure = parse("--at", text, &now()).unwrap_err();
            assert_eq!(failure.code(), Exit::Usage, "{text}");
            assert!(failure.message().contains("is not a time"), "{text}: {}", failure.message());
        }
        for text in ["2026-11-24 10:29", "2020-01-01 00:00", "+0s"] {
            let failure = parse("--until", text, &now()).unwrap_err();
            assert!(failure.message().starts_with("--until"), "{}", failure.message());
            assert!(failure.message().contains("in the past"), "{text}: {}", failure.message());
        }
    }

    #[test]
    fn the_end_comes_after_the_start() {
        let at = |text: &str| Some(parse("--at", text, &now()).unwrap());
        assert!(check_order(at("+1h"), at("+2h")).is_ok());
        assert!(check_order(None, at("+2h")).is_ok() && check_order(at("+1h"), None).is_ok());
        assert!(check_order(at("+2h"), at("+1h")).is_err() && check_order(at("+1h"), at("+1h")).is_err());
    }
}
