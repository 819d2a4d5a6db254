//! What a relay may issue, and whether a job of its counts. A transfer is not among it: there is no way to build one here.
//!
//! [`Rights::in_force`] is the judgement: hosts, relays and the managing server ask it of every job of a relay when it comes;
//! hosts ask [`Rights::goes_on`] as long as something of it has not begun.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::ids::HostId;
use crate::job::{Intent, Job, JobType, Place};
use crate::time::Time;

/// The types of jobs that can be delegated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegatedType {
    /// Install.
    Install,
    /// Offer.
    Offer,
}

impl DelegatedType {
    /// The delegated type of a job's; `None` for a transfer.
    pub fn of(job_type: JobType) -> Option<DelegatedType> {
        match job_type {
            JobType::Install => Some(DelegatedType::Install),
            JobType::Offer => Some(DelegatedType::Offer),
            JobType::Transfer => None,
        }
    }

    /// The word, as in a delegation.
    pub fn as_str(self) -> &'static str {
        JobType::from(self).as_str()
    }
}

impl From<DelegatedType> for JobType {
    fn from(delegated: DelegatedType) -> JobType {
        match delegated {
            DelegatedType::Install => JobType::Install,
            DelegatedType::Offer => JobType::Offer,
        }
    }
}

/// A job that a relay may sign: an install or an offer in its own name, whatever it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedJob(Job);

impl DelegatedJob {
    /// Makes one.
    pub fn new(job_type: DelegatedType, relay: &str, job: Job) -> DelegatedJob {
        let mut job = Job { job_type: job_type.into(), ..job };
        relay.clone_into(&mut job.key.issuer);
        DelegatedJob(job)
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.0
    }
}

/// What is delegated to a relay, in its newest revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The relay.
    pub relay: HostId,
    /// The types of jobs it may issue.
    pub job_types: Vec<DelegatedType>,
    /// Cabinets of its own.
    pub cabinets: BTreeSet<String>,
    /// When it ends.
    pub expires: Time,
    /// Whether it was withdrawn.
    pub revoked: bool,
}

/// Why a relay's job does not count, or not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lapsed {
    /// Nothing was ever delegated to it.
    Nothing,
    /// It was withdrawn.
    Revoked,
    /// Its end has come.
    Ended,
    /// Jobs of this type are not part of it.
    Type(JobType),
    /// A package is of a cabinet that is neither its own nor the managing server's.
    Cabinet(String),
    /// The host is not below the relay.
    NotBelow,
}

impl Lapsed {
    /// Said of a line that it stopped.
    pub fn told(&self, relay: &str) -> String {
        match self {
            Lapsed::Nothing => format!("nothing is delegated to {relay}"),
            Lapsed::Revoked => format!("the delegation of {relay} was revoked"),
            Lapsed::Ended => format!("the delegation of {relay} has ended"),
            Lapsed::Type(job_type) => {
                format!("jobs of type {} are not delegated to {relay} any more", job_type.as_str())
            }
            Lapsed::Cabinet(cabinet) => format!("cabinet {cabinet} is not delegated to {relay} any more"),
            Lapsed::NotBelow => format!("this host is not below {relay} any more"),
        }
    }
}

impl fmt::Display for Lapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lapsed::Nothing => f.write_str("nothing was delegated to it"),
            Lapsed::Revoked => f.write_str("its delegation was revoked"),
            Lapsed::Ended => f.write_str("its delegation has ended"),
            Lapsed::Type(_) => f.write_str("this type of job is not delegated to it"),
            Lapsed::Cabinet(cabinet) => write!(f, "cabinet {cabinet} is not delegated to it"),
            Lapsed::NotBelow => f.write_str("this host is not below it"),
        }
    }
}

impl Delegation {
    /// Whether a job of the relay counts, as far as its delegation goes. `is_servers` knows the managing server's cabinets.
    ///
    /// # Errors
    /// Why it does not.
    pub fn covers(&self, job: &Job, is_servers: impl Fn(&str) -> bool, now: Time) -> Result<(), Lapsed> {
        if self.revoked {
            return Err(Lapsed::Revoked);
        }
        if self.expires <= now {
            return Err(Lapsed::Ended);
        }
        if !DelegatedType::of(job.job_type).is_some_and(|job_type| self.job_types.contains(&job_type)) {
            return Err(Lapsed::Type(job.job_type));
        }
        let mut cabinets = job.packages.iter().map(|package| &package.label.cabinet);
        match cabinets.find(|cabinet| !self.cabinets.contains(*cabinet) && !is_servers(cabinet)) {
            Some(cabinet) => Err(Lapsed::Cabinet(cabinet.clone())),
            None => Ok(()),
        }
    }
}

/// What is delegated to whom, as a system knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// By the name under which a relay issues, the newest of each.
    pub delegations: BTreeMap<String, Delegation>,
    /// The managing server's cabinets.
    pub cabinets: BTreeSet<String>,
}

impl Rights {
    /// Whether a relay's job counts now; `place` is the host that judges, `None` where a system only passes the job on and
    /// cannot be below itself.
    ///
    /// # Errors
    /// Why it does not.
    pub fn in_force(&self, job: &Job, place: Option<&Place>, now: Time) -> Result<(), Lapsed> {
        let delegation = self.delegations.get(&job.key.issuer).ok_or(Lapsed::Nothing)?;
        // First of all: a relay has no business with a host elsewhere, not even to stop something there.
        if place.is_some_and(|place| !place.is_below(&delegation.relay)) {
            return Err(Lapsed::NotBelow);
        }
        self.covered(delegation, job, now)
    }

    /// Whether a relay's job that was taken in at `place` before still counts there. Less is asked of the place than of one
    /// that is new: a host that calls another system for some minutes, because the relay is away, has not left the relay.
    ///
    /// # Errors
    /// Why it does not.
    pub fn goes_on(&self, job: &Job, place: &Place, now: Time) -> Result<(), Lapsed> {
        let delegation = self.delegations.get(&job.key.issuer).ok_or(Lapsed::Nothing)?;
        if !place.may_be_below(&delegation.relay) {
            return Err(Lapsed::NotBelow);
        }
        self.covered(delegation, job, now)
    }

    fn covered(&self, delegation: &Delegation, job: &Job, now: Time) -> Result<(), Lapsed> {
        delegation.covers(job, |cabinet| self.cabinets.contains(cabinet), now)
    }

    /// When what is delegated to an issuer ends by itself.
    pub fn ends(&self, issuer: &str) -> Option<Time> {
        self.delegations.get(issuer).map(|delegation| delegation.expires)
    }
}

/// Whether a revision only stops: who made a job may always do that, whatever is delegated to it by now. That nothing else
/// comes of it is seen to where it is taken in: what a delegation does not cover ends before it begins.
pub fn only_stops(job: &Job) -> bool {
    job.revision > 1 && (job.intent == Intent::Cancelled || job.terms.closed.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::HostRole;
    use crate::job::tests::{host, job, place};
    use crate::place::Above;

    #[test]
    fn there_is_no_delegated_transfer_and_no_other_issuer() {
        assert_eq!(DelegatedType::of(JobType::Transfer), None);
        for job_type in [DelegatedType::Install, DelegatedType::Offer] {
            let transfer = Job { job_type: JobType::Transfer, ..job(1, vec![]) };
            let made = DelegatedJob::new(job_type, "osaka", transfer);
            assert_eq!((made.job().job_type, made.job().key.issuer.as_str()), (job_type.into(), "osaka"));
            assert_eq!(DelegatedType::of(made.job().job_type), Some(job_type));
        }
    }

    fn rights() -> Rights {
        let delegation = Delegation {
            relay: host(2),
            job_types: vec![DelegatedType::Install],
            cabinets: ["own".to_owned()].into(),
            expires: Time(100),
            revoked: false,
        };
        Rights {
            delegations: [("osaka".to_owned(), delegation)].into(),
            cabinets: ["main".to_owned()].into(),
        }
    }

    fn change(what: impl Fn(&mut Delegation)) -> Rights {
        let mut rights = rights();
        rights.delegations.values_mut().for_each(what);
        rights
    }

    #[test]
    fn a_relays_job_is_in_force_as_far_and_as_long_as_its_delegation_covers_it() {
        let mut made = job(1, vec![]);
        made.key.issuer = "osaka".into();
        made.packages[0].label.cabinet = "own".into();
        let (below, beside) = (place(9, HostRole::Client, &[1, 2]), place(9, HostRole::Client, &[1]));
        let judge = |rights: &Rights, made: &Job, now| rights.in_force(made, Some(&below), Time(now));
        assert_eq!(judge(&rights(), &made, 99), Ok(()));
        assert_eq!(rights().in_force(&made, None, Time(99)), Ok(()));
        assert_eq!(judge(&rights(), &made, 100), Err(Lapsed::Ended));
        assert_eq!(rights().in_force(&made, Some(&beside), Time(1)), Err(Lapsed::NotBelow));
        assert_eq!(judge(&Rights::default(), &made, 1), Err(Lapsed::Nothing));
        // Beside the relay for as long as that is away: nothing new of it is taken in, what is known goes on.
        let relay = Above { id: host(2), relay: true, name: "osaka".into(), urls: Vec::new() };
        let away = Place { above: vec![relay], ..beside.clone() };
        assert_eq!(rights().in_force(&made, Some(&away), Time(1)), Err(Lapsed::NotBelow));
        assert_eq!(rights().goes_on(&made, &away, Time(1)), Ok(()));
        assert_eq!(rights().goes_on(&made, &away, Time(100)), Err(Lapsed::Ended));
        assert_eq!(rights().goes_on(&made, &beside, Time(1)), Err(Lapsed::NotBelow));
        assert_eq!(judge(&change(|d| d.revoked = true), &made, 1), Err(Lapsed::Revoked));
        assert_eq!(judge(&change(|d| d.job_types.clear()), &made, 1), Err(Lapsed::Type(JobType::Install)));
        assert_eq!(judge(&change(|d| d.cabinets.clear()), &made, 1), Err(Lapsed::Cabinet("own".into())));
        // The managing server's own cabinets are nobody's to take away by a delegation.
        let mut servers = made.clone();
        servers.packages[0].label.cabinet = "main".into();
        assert_eq!(judge(&change(|d| d.cabinets.clear()), &servers, 1), Ok(()));
        let transfer = Job { job_type: JobType::Transfer, ..made.clone() };
        assert_eq!(judge(&rights(), &transfer, 1), Err(Lapsed::Type(JobType::Transfer)));
        assert_eq!(rights().ends("osaka"), Some(Time(100)));
        // What only stops is told from what goes on; a job that is new stops nothing.
        let cancelled = Job { intent: Intent::Cancelled, ..made.clone() };
        assert!(
            !only_stops(&made) && !only_stops(&cancelled) && only_stops(&Job { revision: 2, ..cancelled })
        );
        (made.revision, made.terms.closed) = (2, Some(Time(3)));
        assert!(only_stops(&made));
    }

    #[test]
    fn every_lapse_has_its_words() {
        for lapsed in [
            Lapsed::Nothing,
            Lapsed::Revoked,
            Lapsed::Ended,
            Lapsed::Type(JobType::Offer),
            Lapsed::Cabinet("own".into()),
            Lapsed::NotBelow,
        ] {
            assert!(lapsed.told("osaka").contains("osaka") && !lapsed.to_string().is_empty(), "{lapsed:?}");
        }
    }
}
