//! The host's own zone: when its clock shows a time. From `TZ` or `/etc/localtime`; the zone database is bundled for where
//! the host has none.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use packhorse_domain::job::Job;
use packhorse_domain::time::Time;

/// How far this host's clocks are ahead of UTC when they show the time at which `job` starts, in seconds; 0 for jobs that
/// start everywhere at once. A time that a clock skips or shows twice is read as the zone database's users expect: after the
/// gap, and the first of the two.
pub(crate) fn ahead_secs(job: &Job) -> i64 {
    ahead_in(job, &TimeZone::system())
}

fn ahead_in(job: &Job, zone: &TimeZone) -> i64 {
    let Some(at) = job.at.filter(|_| job.terms.host_time) else { return 0 };
    // What the clock shows is written as if in UTC.
    let shown = Timestamp::from_microsecond(at.0).map(|at| TimeZone::UTC.to_datetime(at));
    let instant = shown.ok().and_then(|shown| instant(shown, zone));
    instant.map_or(0, |instant| at.secs_since(instant))
}

/// When a package is to be installed that says what the clock shows then: in the time of the job, which is the managing
/// server's, or each host's own.
pub(crate) fn install_at(shown: DateTime, job: &Job) -> Option<Time> {
    let zone = match (job.terms.host_time, job.terms.zone.as_str()) {
        (true, _) => TimeZone::system(),
        (false, "") => TimeZone::UTC,
        // One that this version does not know is as good as none.
        (false, name) => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    };
    instant(shown, &zone)
}

fn instant(shown: DateTime, zone: &TimeZone) -> Option<Time> {
    zone.to_ambiguous_zoned(shown).compatible().ok().map(|at| Time(at.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use packhorse_domain::ids::{JobKey, PackageId, PackageLabel};
    use packhorse_domain::job::{Clause, Intent, JobPackage, JobType, Round, Terms};

    use super::*;

    fn job(at: &str) -> Job {
        let label =
            PackageLabel { cabinet: "main".into(), name: "p".into(), version: "1".into(), generation: 1 };
        let at: Timestamp = format!("{at}:00Z").parse().unwrap();
        Job {
            key: JobKey::server(1, 1),
            revision: 1,
            job_type: JobType::Install,
            created: Time(0),
            packages: vec![JobPackage { id: PackageId([1; 32]), label, keep_until: Time(9) }],
            rounds: vec![Round { attempt: 1, ordered: Time(0), to: vec![Clause::All { relays: false }] }],
            at: Some(Time(at.as_microsecond())),
            until: Time::MAX,
            allow_downgrade: false,
            intent: Intent::Open,
            terms: Terms { host_time: true, ..Terms::default() },
        }
    }

    #[test]
    fn a_job_starts_when_the_hosts_clock_shows_its_time() {
        for (zone, at, hours) in [
            ("Asia/Tokyo", "2026-12-01T07:00", 9.0),
            ("America/New_York", "2026-12-01T07:00", -5.0),
            ("America/New_York", "2026-07-01T07:00", -4.0),
            ("Asia/Kolkata", "2026-07-01T07:00", 5.5),
            // Skipped that night: the clock goes from 2 to 3, and an hour later than written is when it first shows more.
            ("Europe/Berlin", "2026-03-29T02:30", 1.0),
            // Shown twice that night: the first time counts.
            ("Europe/Berlin", "2026-10-25T02:30", 2.0),
            ("UTC", "2026-12-01T07:00", 0.0),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let job = job(at);
            assert_eq!(ahead_in(&job, &zone) as f64, hours * 3600.0, "{zone:?} {at}");
        }
        let everywhere = Job { terms: Terms::default(), ..job("2026-12-01T07:00") };
        assert_eq!(ahead_in(&everywhere, &TimeZone::get("Asia/Tokyo").unwrap()), 0);
    }

    #[test]
    fn a_packages_time_is_the_servers() {
        let mut job = job("2026-12-01T07:00");
        job.terms = Terms { zone: "Asia/Tokyo".into(), ..Terms::default() };
        let shown: DateTime = "2026-12-01T07:00".parse().unwrap();
        let expect: Timestamp = "2026-11-30T22:00:00Z".parse().unwrap();
        assert_eq!(install_at(shown, &job), Some(Time(expect.as_microsecond())));
        job.terms.zone = "Nowhere/At_All".into();
        assert_eq!(install_at(shown, &job), Some(job.at.unwrap()));
    }
}
