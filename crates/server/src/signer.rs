//! Who signs jobs here: the managing server any job, a relay within its delegation what [`DelegatedJob`] can be.

use std::collections::BTreeSet;
use std::sync::Arc;

use packhorse_domain::delegated::{DelegatedJob, DelegatedType, Lapsed};
use packhorse_domain::ids::{HostId, JobKey, SERVER};
use packhorse_domain::job::Job;
use packhorse_domain::report::{Body, JobReport};
use packhorse_domain::time::Time;
use packhorse_wire::envelope::{Envelope, SigningKey, to_cbor};
use packhorse_wire::signed::{DelegationDoc, JOB_TYPE, JobDoc};
use packhorse_wire::trust::Limits;
use rusqlite::Connection;

use crate::authority::Authority;
use crate::db::jobs::Incoming;
use crate::db::{DbError, copies, delegations, lines, outbox};
use crate::granting::{self, Lacks};

/// Lists of hosts longer than this are not told upwards with a relay's job, in bytes: its lines are known there by what hosts
/// say.
const LISTS_BYTES_MAX: usize = 512 << 10;

/// Who signs jobs here.
#[derive(Clone)]
pub enum Signer {
    /// The managing server.
    Server(Arc<Authority>),
    /// A relay, with its own key.
    Relay(RelaySigner),
}

/// A relay's key and what it may be used for.
#[derive(Clone)]
pub struct RelaySigner {
    /// The relay.
    pub relay: HostId,
    /// Its key.
    pub key: Arc<SigningKey>,
    /// What is delegated to it.
    pub delegation: DelegationDoc,
    /// The managing server's cabinets.
    pub cabinets: BTreeSet<String>,
    /// It signs what stops a job, for which nothing has to be delegated any more.
    pub only_stops: bool,
}

impl Signer {
    /// The issuer of its jobs.
    pub fn issuer(&self) -> &str {
        match self {
            Signer::Server(_) => SERVER,
            Signer::Relay(relay) => &relay.delegation.name,
        }
    }

    /// A job's identity.
    pub fn job_key(&self, epoch: u64, number: u64) -> JobKey {
        JobKey { issuer: self.issuer().to_owned(), epoch, number }
    }

    /// Refuses to change another system's job.
    ///
    /// # Errors
    /// It is one.
    pub fn owns(&self, key: &JobKey) -> Result<(), DbError> {
        if key.issuer == self.issuer() {
            return Ok(());
        }
        let message = format!("job {key} was made at {}", key.issuer);
        let hint = match self {
            Signer::Server(_) => {
                format!("change it there; packhorse relay revoke {} stops all of its jobs", key.issuer)
            }
            Signer::Relay(_) => "change it there".to_owned(),
        };
        Err(DbError::refused("not_own", message, Some(&hint)))
    }

    /// Checks and signs a job.
    ///
    /// # Errors
    /// It is none, larger than a job may be, or not delegated.
    pub fn sign(&self, job: &Job, now: Time) -> Result<Vec<u8>, DbError> {
        job.validate().map_err(|error| DbError::refused("bad_request", error.to_string(), None))?;
        let envelope = match self {
            Signer::Server(authority) => authority.sign_job(job).map_err(DbError::internal)?,
            Signer::Relay(relay) => relay.sign(&relay.delegated(job, now)?)?,
        };
        if envelope.len() > Limits::JOB_BYTES {
            let message =
                format!("the job has {} bytes, at most {} are possible", envelope.len(), Limits::JOB_BYTES);
            return Err(DbError::refused("limit", message, Some("make several jobs of it")));
        }
        Ok(envelope)
    }

    /// After a job was taken: at a relay its hosts have the packages before them, and the systems above hear of it.
    ///
    /// # Errors
    /// The database's.
    pub fn announce(&self, tx: &Connection, incoming: &Incoming, now: Time) -> Result<(), DbError> {
        let Signer::Relay(relay) = self else { return Ok(()) };
        // What is not delegated any more only stops.
        let delegation = relay.delegation.delegation();
        delegations::stop_lapsed(tx, &relay.delegation.name, &delegation, now)?;
        for package in &incoming.job.packages {
            if copies::has(tx, &package.id)? {
                lines::reached_relay(tx, None, &package.id, now)?;
            }
        }
        outbox::say(tx, &relay.relay, Body::Job(report(incoming)), now)
    }
}

/// What is told upwards of a relay's job.
pub fn report(incoming: &Incoming) -> JobReport {
    let sizes = incoming.job.packages.iter().map(|package| {
        let found = incoming.copies.iter().find(|(id, _, _)| *id == package.id);
        found.map_or(0, |(_, size, _)| *size)
    });
    let bytes: usize = incoming.proofs.iter().map(|proof| proof.slice.leaves.len() * 16).sum();
    JobReport {
        envelope: incoming.envelope.clone(),
        proofs: if bytes > LISTS_BYTES_MAX { Vec::new() } else { incoming.proofs.clone() },
        sizes: sizes.collect(),
        asked: incoming.asked.clone(),
    }
}

impl RelaySigner {
    fn delegated(&self, job: &Job, now: Time) -> Result<DelegatedJob, DbError> {
        let name = &self.delegation.name;
        let job_type = DelegatedType::of(job.job_type).ok_or_else(|| {
            let message = "a relay makes no transfers: packages are brought to relays by the managing server";
            DbError::refused("not_at_a_relay", message, Some("packhorse transfer, at the managing server"))
        })?;
        let delegated = DelegatedJob::new(job_type, name, job.clone());
        // Who made a job may stop it whatever is delegated by now.
        if self.only_stops {
            return Ok(delegated);
        }
        let is_servers = |cabinet: &str| self.cabinets.contains(cabinet);
        match self.delegation.delegation().covers(job, is_servers, now) {
            Ok(()) => Ok(delegated),
            Err(Lapsed::Type(_)) => {
                let message = format!("{}: this is not delegated to {name}", job_type.as_str());
                let lacks = Lacks::Type(job_type.as_str());
                let hint = granting::command(name, Some(&self.delegation), lacks);
                Err(DbError::refused("not_delegated", message, Some(&hint)))
            }
            Err(lapsed) => {
                let hint = format!("packhorse relay show {name} says what is delegated to it");
                Err(DbError::refused("not_delegated", lapsed.told(name), Some(&hint)))
            }
        }
    }

    fn sign(&self, job: &DelegatedJob) -> Result<Vec<u8>, DbError> {
        let payload = to_cbor(&JobDoc::from(job.job())).map_err(DbError::internal)?;
        let envelope = Envelope::sign(JOB_TYPE, payload.into(), &[&*self.key]).map_err(DbError::internal)?;
        envelope.encode().map_err(DbError::internal)
    }
}
