//! What keeps a relay from taking packages in although somebody waits for them: suspended jobs, what the managing server set
//! at the relay, the hours of its line. And how fast its line may be used.

use std::time::Duration;

use jiff::ToSpan;
use jiff::tz::TimeZone;
use packhorse_domain::ids::PackageId;
use packhorse_domain::line::{Intake, Limit, intake};
use packhorse_domain::reason::NextTry;
use packhorse_domain::time::Time;
use packhorse_wire::signed::ControlDoc;

use crate::authority::timestamp;
use crate::db::copies;
use crate::system::{System, now};

/// It is looked this often whether the hour has come at which a line carries nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Bounds of [`window`].
const WINDOW_BYTES_MIN: usize = 32 << 10;
const WINDOW_BYTES_MAX: usize = 4 << 20;

/// What a relay may take in at a time, by what is set there.
pub fn intake_of(doc: &ControlDoc, now: Time) -> Intake {
    if doc.down.is_empty() {
        return intake(doc.suspended, &[], 0);
    }
    let limits: Vec<Limit> = doc
        .down
        .iter()
        .map(|limit| Limit { bits_per_sec: limit.bits_per_sec, minutes: limit.minutes })
        .collect();
    let local = timestamp(now).to_zoned(zone(doc));
    // Both are small and not negative.
    let minute = local.hour() as u16 * 60 + local.minute() as u16;
    intake(doc.suspended, &limits, minute)
}

/// When a line carries something again that carries nothing now: on the clock of the zone, whatever summer time does
/// meanwhile. `None`: it carries something.
pub fn opens(doc: &ControlDoc, now: Time) -> Option<NextTry> {
    let Intake::Closed { opens_in_minutes } = intake_of(&ControlDoc { suspended: false, ..doc.clone() }, now)
    else {
        return None;
    };
    let local = timestamp(now).to_zoned(zone(doc)).datetime();
    let opens = opens_in_minutes.and_then(|minutes| {
        let whole = local.with().second(0).subsec_nanosecond(0).build().ok()?;
        whole.checked_add(i64::from(minutes).minutes()).ok()?.to_zoned(zone(doc)).ok()
    });
    Some(opens.map_or(NextTry::WhenCleared, |at| NextTry::At(Time(at.timestamp().as_microsecond()))))
}

fn zone(doc: &ControlDoc) -> TimeZone {
    match doc.zone.as_str() {
        "" => TimeZone::UTC,
        // A zone that is younger than this program's database: its hours are taken as UTC.
        name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    }
}

/// Whether this relay takes in nothing at all now.
pub fn shut(system: &System) -> bool {
    !matches!(intake_of(&system.control(), now()), Intake::Open(_))
}

/// What may have come of content before it is taken by its pace: half a second's worth, which also fills a long line; `None`:
/// what the kernel likes. Without it a limited line would first carry megabytes as fast as it can.
pub fn window(system: &System) -> Option<usize> {
    let bytes = rate(system)? / 16;
    Some(usize::try_from(bytes).unwrap_or(WINDOW_BYTES_MAX).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX))
}

/// What this relay's line to its higher system may carry now, bits per second; `None`: as much as it can.
pub fn rate(system: &System) -> Option<u64> {
    match intake_of(&system.control(), now()) {
        Intake::Open(rate) => rate,
        Intake::Suspended | Intake::Closed { .. } => Some(0),
    }
}

/// Ends when a package that is being taken in is to wait.
pub async fn told(system: &System, package: PackageId) {
    let mut news = system.orders_news.subscribe();
    let mut look = true;
    loop {
        if shut(system) {
            return;
        }
        if look {
            match system.db.read(move |connection| copies::suspended(connection, &package)).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "whether a package is to wait"),
            }
        }
        look = tokio::time::timeout(LOOK, news.changed()).await.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use packhorse_wire::bytes::Fixed;
    use packhorse_wire::signed::LineLimit;

    use super::*;

    fn doc(bits_per_sec: u64, minutes: (u16, u16)) -> ControlDoc {
        let limit = LineLimit { bits_per_sec, minutes: Some(minutes) };
        ControlDoc { down: vec![limit], zone: "Europe/Berlin".to_owned(), ..ControlDoc::new(Fixed([1; 16])) }
    }

    fn at(text: &str) -> Time {
        Time(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn hours_are_those_of_the_servers_zone() {
        let night = doc(0, (22 * 60, 6 * 60));
        // 21:30 UTC is 22:30 in winter and 23:30 in summer.
        assert_eq!(opens(&night, at("2026-01-10T21:30:30Z")), Some(NextTry::At(at("2026-01-11T05:00:00Z"))));
        assert_eq!(opens(&night, at("2026-07-10T21:30:30Z")), Some(NextTry::At(at("2026-07-11T04:00:00Z"))));
        assert_eq!(opens(&night, at("2026-07-10T19:59:59Z")), None);
        // The night in which the clock is put back has an hour more.
        assert_eq!(opens(&night, at("2026-10-24T20:00:00Z")), Some(NextTry::At(at("2026-10-25T05:00:00Z"))));
        assert_eq!(intake_of(&doc(7, (0, 60)), at("2026-01-10T23:30:00Z")), Intake::Open(Some(7)));
    }
}
