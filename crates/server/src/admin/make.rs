//! A job is made: one command finds what is wanted, signs and takes it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use packhorse_domain::ids::JobKey;
use packhorse_domain::job::{Intent, Job, JobPackage, JobType, Proof, Round};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{JobMade, NewJob, NewTerms};
use rusqlite::Connection;

use super::request::Body;
use super::wish::{Resolved, Wish};
use super::{Admin, AdminError, known, may, plan_kept};
use crate::capability::Capabilities;
use crate::db::hosts::HostRow;
use crate::db::jobs::{self, Incoming, Taken};
use crate::db::meta::NextJobNumber;
use crate::db::packages::PackageRecord;
use crate::db::{Command, DbError, history};
use crate::signer::Signer;
use crate::system::{System, now};

/// Makes a job.
pub struct MakeJob {
    /// The keys.
    pub signer: Signer,
    /// For locators.
    pub capabilities: Capabilities,
    /// Of the server's jobs.
    pub epoch: u64,
    /// What is wanted.
    pub wish: Wish,
    /// What was planned, as it is kept.
    pub plan: String,
}

/// A job that was made or changed, and the lower systems with something new in their feeds.
pub struct Made {
    /// Its identity.
    pub key: JobKey,
    /// Lines it has, or that were changed.
    pub lines: u64,
    /// With something new in their feeds.
    pub lowers: Vec<HostRow>,
}

impl Command for MakeJob {
    type Answer = Made;

    fn apply(self, tx: &Connection) -> Result<Made, DbError> {
        let resolved = self.wish.resolve(tx)?;
        let (to, prover) = resolved.destinations.signed(&resolved.fleet)?;
        let key = self.signer.job_key(self.epoch, NextJobNumber.apply(tx)?);
        let job = Job {
            key: key.clone(),
            revision: 1,
            job_type: self.wish.job_type,
            created: self.wish.now,
            packages: resolved.packages.iter().map(job_package).collect(),
            rounds: vec![Round { attempt: 1, ordered: self.wish.now, to }],
            at: self.wish.at,
            until: self.wish.until,
            allow_downgrade: self.wish.allow_downgrade,
            intent: Intent::Open,
            terms: self.wish.terms.clone(),
        };
        let proofs =
            prover.iter().map(|prover| Proof { attempt: 1, slice: prover.slice().clone() }).collect();
        let incoming = Incoming {
            envelope: self.signer.sign(&job, self.wish.now)?,
            job,
            proofs,
            ended: Vec::new(),
            named: Vec::new(),
            copies: copies(&resolved),
            asked: serde_json::to_string(&resolved.destinations.words).map_err(DbError::internal)?,
        };
        match jobs::take(tx, &incoming, &self.capabilities, self.wish.now)? {
            Taken::Stored { job, lines, lowers } => {
                self.signer.announce(tx, &incoming, self.wish.now)?;
                history::keep_plan(tx, job, &self.plan)?;
                Ok(Made { key, lines, lowers })
            }
            Taken::Known | Taken::Older => Err(DbError::internal(format!("job {key} is there already"))),
        }
    }
}

fn job_package(record: &PackageRecord) -> JobPackage {
    JobPackage { id: record.id, label: record.label.clone(), keep_until: record.keep_until }
}

fn copies(resolved: &Resolved) -> Vec<(packhorse_domain::ids::PackageId, u64, Vec<u8>)> {
    resolved.packages.iter().map(|package| (package.id, package.size_bytes, Vec::new())).collect()
}

/// An install and, where it is staged, the transfer that brings its packages to the relays before: both or none.
struct MakeStaged {
    transfer: MakeJob,
    install: MakeJob,
}

impl Command for MakeStaged {
    type Answer = (Made, Made);

    fn apply(self, tx: &Connection) -> Result<(Made, Made), DbError> {
        Ok((self.transfer.apply(tx)?, self.install.apply(tx)?))
    }
}

/// The transfer of a staged install: the same packages, to the relays on the way to the same hosts.
///
/// # Errors
/// It is no install.
pub fn staged(new: &NewJob) -> Result<Option<NewJob>, DbError> {
    let Some(stage_at) = &new.terms.stage_at else { return Ok(None) };
    if new.job_type != JobType::Install.as_str() {
        let hint = "packhorse transfer --at TIME, and the offer or the transfer by itself";
        return Err(DbError::refused("bad_request", "--stage-at is for installs", Some(hint)));
    }
    let terms = NewTerms { keep: new.terms.keep.clone(), for_hosts: true, ..NewTerms::default() };
    Ok(Some(NewJob {
        job_type: JobType::Transfer.as_str().to_owned(),
        packages: new.packages.clone(),
        to: new.to.clone(),
        at: Some(stage_at.clone()),
        until: new.until.clone(),
        allow_downgrade: false,
        terms,
    }))
}

/// `POST /admin/v1/jobs`.
pub async fn make(
    State(admin): State<Arc<Admin>>,
    Body(new): Body<NewJob>,
) -> Result<Json<JobMade>, AdminError> {
    let system = &admin.system;
    may::refuse_transfer(system, &new)?;
    known::refresh(system).await?;
    let at = now();
    let command = async |new: &NewJob, staged: Option<Time>| -> Result<MakeJob, AdminError> {
        let wish = Wish::read(new, at)?;
        Ok(MakeJob {
            signer: may::signer(system, &new.job_type, false)?,
            capabilities: system.capabilities.clone(),
            epoch: system.epoch,
            plan: plan_kept::of(system, wish.clone(), staged).await?,
            wish,
        })
    };
    let Some(transfer) = staged(&new)? else {
        let not_below = |error| may::not_below(system, &new.job_type, error);
        let command = command(&new, None).await.map_err(not_below)?;
        let made = system.db.write(command).await.map_err(|error| not_below(error.into()))?;
        return Ok(Json(announce(system, made)));
    };
    let transfer = command(&transfer, None).await?;
    let both = MakeStaged { install: command(&new, transfer.wish.at).await?, transfer };
    let (transfer, install) = system.db.write(both).await?;
    let transfer = announce(system, transfer).number;
    Ok(Json(JobMade { transfer: Some(transfer), ..announce(system, install) }))
}

/// Tells lower systems and watchers.
pub fn announce(system: &System, made: Made) -> JobMade {
    tracing::info!(job = %made.key, lines = made.lines, "job");
    system.wake(&made.lowers);
    // At a relay the systems above hear of it.
    system.outbox_news.notify_one();
    system.lines_changed();
    JobMade { id: made.key.to_string(), number: made.key.number, lines: made.lines, transfer: None }
}
