//! This relay's own lines of transfers: what `domain::transfer` says is done with them, in the same transaction as what led
//! to it.

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::instruction::{Line, State};
use packhorse_domain::job::Job;
use packhorse_domain::reason::Reason;
use packhorse_domain::report::{Body, FailClass, LineEvent, LineReport, Outcome};
use packhorse_domain::time::Time;
use packhorse_domain::transfer::{self, Facts, Step};
use rusqlite::Connection;

use super::join::read_own_job;
use super::lines::{self, LineRow};
use super::{Command, DbError, keeping, outbox};
use crate::admin::format::day;
use crate::days::end_of_day;

/// An open line of this relay's own.
struct OwnLine {
    at: LineRow,
    line: Line,
    package: PackageId,
    package_until: Time,
    envelope: Vec<u8>,
}

fn open(tx: &Connection, own: &HostId) -> Result<Vec<OwnLine>, DbError> {
    let sql = format!(
        "SELECT l.job, l.host, l.place, p.id, p.keep_until, j.envelope, {}
         FROM lines l JOIN hosts h ON h.row = l.host JOIN jobs j ON j.row = l.job
         JOIN job_packages p ON p.job = l.job AND p.place = l.place
         WHERE j.job_type = 'transfer' AND h.id = ?1 AND l.state IN ({})
         ORDER BY j.ordered, l.job, l.place",
        lines::COLUMNS.split(", ").map(|column| format!("l.{column}")).collect::<Vec<_>>().join(", "),
        lines::open_words()
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query([own.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(OwnLine {
            at: LineRow { job: row.get(0)?, host: row.get(1)?, place: row.get(2)? },
            package: PackageId(row.get(3)?),
            package_until: Time(row.get(4)?),
            envelope: row.get(5)?,
            line: lines::line(row, 6)?,
        });
    }
    Ok(found)
}

/// Whether there is anything for [`settle`] to look at.
///
/// # Errors
/// The database's.
pub fn any_open(connection: &Connection, own: &HostId) -> Result<bool, DbError> {
    Ok(!open(connection, own)?.is_empty())
}

/// Ends every own line of a transfer that is to end now, and moves the dates of its copies. Nothing at the managing server.
/// Answers whether something was said.
///
/// # Errors
/// The database's.
pub fn settle(tx: &Connection, now: Time) -> Result<bool, DbError> {
    let Some(own) = keeping::own_id(tx)? else { return Ok(false) };
    let zone = keeping::zone_of(tx)?;
    let day_end = |from: Time, days: u32| end_of_day(&zone, from, days);
    let mut said = false;
    for own_line in open(tx, &own)? {
        let Some(job) = read_own_job(&own_line.envelope) else { continue };
        let copy = keeping::of(tx, &own_line.package)?.filter(|kept| !kept.dropping);
        let facts = Facts {
            package_until: own_line.package_until,
            copy: copy.as_ref().map(|kept| kept.date),
            begun: own_line.line.begun,
            verdict: own_line.line.verdict.map(|(verdict, _)| verdict),
        };
        let outcome = match transfer::step(&job, &facts, now, &day_end) {
            Step::At(_) | Step::Suspended | Step::TakeIn => continue,
            Step::Done(date) => {
                if let Some(kept) = &copy {
                    keeping::set_date(tx, &own, kept, date, now)?;
                }
                let text = format!("kept until {}", day(date.until, now));
                Outcome::with(State::Transferred, "copy", &text)
            }
            Step::Past(date) => {
                let text = format!(
                    "the copy would be past its keeping time ({}) on arrival; with --keep it is kept longer",
                    day(date, now)
                );
                Outcome::failed(FailClass::Refused, "copy", &text)
            }
            Step::Cancelled => Outcome::with(State::Cancelled, "copy", "cancelled before the copy was whole"),
            Step::Missed => Outcome::with(State::Missed, "copy", "nothing had come by then"),
            Step::Judged(verdict) => Outcome::plain(verdict.end()),
        };
        say(tx, &own, &own_line, &job, LineEvent::Ended(outcome), now)?;
        said = true;
    }
    Ok(said)
}

fn say(
    tx: &Connection,
    own: &HostId,
    at: &OwnLine,
    job: &Job,
    event: LineEvent,
    now: Time,
) -> Result<(), DbError> {
    let report = LineReport { job: job.key.clone(), package: at.package, attempt: at.line.attempt, event };
    let (incarnation, no) = outbox::say_numbered(tx, own, Body::Line(report.clone()), now)?;
    let mut line = at.line.clone();
    line.apply(incarnation, no, now, &report);
    lines::write(tx, &[(at.at, line)])
}

/// [`settle`] by itself: when a time has come.
pub struct Settle(pub Time);

impl Command for Settle {
    type Answer = bool;

    fn apply(self, tx: &Connection) -> Result<bool, DbError> {
        settle(tx, self.0)
    }
}

/// Something happened to a package that own lines of transfers wait for.
pub struct Happened {
    /// This relay.
    pub own: HostId,
    /// The package.
    pub package: PackageId,
    /// `None`: its first piece is stored. Else why it waits.
    pub reason: Option<Reason>,
    /// When.
    pub now: Time,
}

impl Command for Happened {
    type Answer = bool;

    fn apply(self, tx: &Connection) -> Result<bool, DbError> {
        let mut said = false;
        for at in open(tx, &self.own)?.into_iter().filter(|at| at.package == self.package) {
            let Some(job) = read_own_job(&at.envelope) else { continue };
            if job.starts() > self.now || at.line.verdict.is_some() {
                continue;
            }
            let event = match &self.reason {
                None if at.line.begun && at.line.reason.is_none() => continue,
                None => LineEvent::Storing,
                Some(reason) if at.line.reason.as_ref().is_some_and(|old| old.same_as(reason)) => continue,
                Some(reason) => LineEvent::Waits(reason.clone()),
            };
            say(tx, &self.own, &at, &job, event, self.now)?;
            said = true;
        }
        Ok(said)
    }
}
