//! What is wanted of a job, read and checked: the same for a job that is made and for its plan.

use packhorse_domain::ids::PackageQuery;
use packhorse_domain::job::{
    Choosers, JobType, LAST_ZONE_SECS, PACKAGES_MAX, POSTPONE_MAX, Terms, VALID_DAYS,
};
use packhorse_domain::lease::Keep;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{NewJob, NewTerms};
use rusqlite::Connection;

use super::destinations::{self, Destinations};
use super::format::{self, parse_time, rfc3339};
use super::keep;
use crate::db::DbError;
use crate::db::groups::Groups;
use crate::db::hosts::Fleet;
use crate::db::packages::{self, PackageRecord};

/// What is wanted, as far as it can be judged without looking at anything.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What is done.
    pub job_type: JobType,
    /// With what, in this order.
    pub packages: Vec<PackageQuery>,
    /// For whom, as written.
    pub to: Vec<String>,
    /// Not before.
    pub at: Option<Time>,
    /// Begun by then or never.
    pub until: Time,
    /// Whether versions may go down.
    pub allow_downgrade: bool,
    /// What else is wanted.
    pub terms: Terms,
    /// When it was wished.
    pub now: Time,
}

/// A wish whose packages and destinations were found.
pub struct Resolved {
    /// In the order of the wish.
    pub packages: Vec<PackageRecord>,
    /// For whom.
    pub destinations: Destinations,
    /// All hosts.
    pub fleet: Fleet,
}

impl Wish {
    /// Reads a request.
    ///
    /// # Errors
    /// A refusal that says what is wrong and what to do.
    pub fn read(new: &NewJob, now: Time) -> Result<Wish, DbError> {
        let (at, until) = times(new, now)?;
        Ok(Wish {
            job_type: job_type(&new.job_type)?,
            packages: package_queries(&new.packages)?,
            to: to(new)?,
            at,
            until,
            allow_downgrade: new.allow_downgrade,
            terms: terms(&new.terms, now)?,
            now,
        })
    }

    /// Finds packages and destinations.
    ///
    /// # Errors
    /// A refusal that names what is not there.
    pub fn resolve(&self, connection: &Connection) -> Result<Resolved, DbError> {
        let found = self.packages.iter().map(|query| packages::resolve(connection, query));
        let packages = found.collect::<Result<Vec<_>, _>>()?;
        for (i, package) in packages.iter().enumerate() {
            if packages[..i].iter().any(|other| other.id == package.id) {
                let message = format!("the job names {} twice", package.label);
                return Err(DbError::refused("bad_request", message, Some("name each package once")));
            }
        }
        let fleet = Fleet::load(connection)?;
        let groups = Groups::load(connection)?;
        let destinations = match self.job_type {
            JobType::Transfer => {
                self.is_kept(&packages)?;
                destinations::of_transfer(&fleet, &groups, &self.to)?
            }
            JobType::Install | JobType::Offer => destinations::understand(&fleet, &groups, &self.to)?,
        };
        Ok(Resolved { packages, destinations, fleet })
    }
}

impl Wish {
    /// A transfer whose copies would be past their keeping time when they arrive is none.
    fn is_kept(&self, packages: &[PackageRecord]) -> Result<(), DbError> {
        let starts = self.at.unwrap_or(self.now);
        let until = |package: &PackageRecord| match self.terms.keep {
            Some(Keep::Until(until)) => until,
            Some(Keep::Days(_)) => Time::MAX,
            None => package.keep_until,
        };
        let Some(past) = packages.iter().find(|package| until(package) <= starts) else { return Ok(()) };
        let message = format!(
            "{} would be past its keeping time ({}) when it arrives",
            past.label,
            format::day(until(past), self.now)
        );
        Err(DbError::refused("past_keep", message, Some("--keep 30d, or --keep DATE, keeps it longer")))
    }
}

/// Destinations as they are written down; `--for` can be told from `--to`.
fn to(new: &NewJob) -> Result<Vec<String>, DbError> {
    if !new.terms.for_hosts {
        return Ok(new.to.clone());
    }
    if new.job_type != JobType::Transfer.as_str() {
        let hint = "--to names whom an install or an offer is for";
        return Err(DbError::refused("bad_request", "--for is for transfers", Some(hint)));
    }
    // A relay by name may stand beside what is meant by its hosts: each word says which it is.
    let word = |word: &String| match word.strip_prefix("to:") {
        Some(relay) => relay.to_owned(),
        None => format!("{}{word}", destinations::FOR),
    };
    Ok(new.to.iter().map(word).collect())
}

fn job_type(word: &str) -> Result<JobType, DbError> {
    JobType::parse(word).ok_or_else(|| {
        let shown: String = word.chars().take(32).collect();
        DbError::refused(
            "bad_request",
            format!("jobs of type {shown:?} are not known"),
            Some("packhorse install, transfer or offer"),
        )
    })
}

/// Which terms go with which type is judged by [`packhorse_domain::job::Job::validate`].
fn terms(new: &NewTerms, now: Time) -> Result<Terms, DbError> {
    let required_from =
        new.required_from.as_ref().map(|text| parse_time("--required-from", text)).transpose()?;
    if let Some(from) = required_from.filter(|from| *from <= now) {
        let message =
            format!("--required-from is in the past: {}; it is {} now", rfc3339(from), rfc3339(now));
        let hint = "give a later time; packhorse install is what everybody must have at once";
        return Err(DbError::refused("past", message, Some(hint)));
    }
    if new.postpone > POSTPONE_MAX {
        let message = format!("--postpone {}: at most {POSTPONE_MAX} are possible", new.postpone);
        return Err(DbError::refused("limit", message, None));
    }
    let choosers = match &new.choosers {
        None => Choosers::default(),
        Some(word) => Choosers::parse(word).ok_or_else(|| {
            let shown: String = word.chars().take(80).collect();
            let message = format!("--choosers {shown:?} is not known");
            DbError::refused("bad_request", message, Some("--choosers active, any, or group:NAME"))
        })?,
    };
    let keep = new.keep.as_ref().map(|text| keep::read(text, now)).transpose()?;
    Ok(Terms {
        host_time: new.host_time,
        closed: None,
        keep,
        zone: keep::zone_name(),
        required_from,
        choosers,
        postpone: new.postpone,
    })
}

fn package_queries(texts: &[String]) -> Result<Vec<PackageQuery>, DbError> {
    if texts.is_empty() || texts.len() > PACKAGES_MAX {
        let message = format!("a job has 1 to {PACKAGES_MAX} packages, this one {}", texts.len());
        return Err(DbError::refused(
            "no_package",
            message,
            Some("packhorse package list shows what is there"),
        ));
    }
    texts.iter().map(|text| super::packages::query(text)).collect()
}

fn times(new: &NewJob, now: Time) -> Result<(Option<Time>, Time), DbError> {
    let read = |what, text: &Option<String>| text.as_ref().map(|text| parse_time(what, text)).transpose();
    let (at, until) = (read("--at", &new.at)?, read("--until", &new.until)?);
    // What the clock shows, written as if in UTC: the last zone's clocks show it that much later.
    let last = if new.terms.host_time { LAST_ZONE_SECS } else { 0 };
    let past = |what: &str, time: Time, hint: &str| {
        let message = format!("{what} is in the past: {}; it is {} now", rfc3339(time), rfc3339(now));
        DbError::refused("past", message, Some(hint))
    };
    if let Some(at) = at.filter(|at| at.plus_secs(last) <= now) {
        return Err(past("--at", at, "leave --at out to start at once, or give a later time"));
    }
    if let Some(until) = until.filter(|until| *until <= now) {
        return Err(past("--until", until, "give a later time, or leave it out for 90 days"));
    }
    let starts = at.map_or(now, |at| at.plus_secs(last));
    match until {
        Some(until) if until <= starts => {
            let (until, starts) = (rfc3339(until), rfc3339(starts));
            let (message, hint) = match new.terms.host_time {
                true => (
                    format!("--until ({until}) is not after the last zone's clocks show --at ({starts})"),
                    "with --host-time give an --until more than 12 hours after --at in UTC",
                ),
                false => (
                    format!("--until ({until}) is not after --at ({starts})"),
                    "give an --until that is later than --at",
                ),
            };
            Err(DbError::refused("until_before_at", message, Some(hint)))
        }
        Some(until) => Ok((at, until)),
        None if now.plus_days(VALID_DAYS) <= starts => {
            let message =
                format!("without --until a job ends {VALID_DAYS} days after it was made, and --at is later");
            Err(DbError::refused("until_before_at", message, Some("give an --until that is later than --at")))
        }
        None => Ok((at, now.plus_days(VALID_DAYS))),
    }
}
