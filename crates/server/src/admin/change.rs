//! A job is cancelled, suspended, resumed, closed or tried again: each is its next revision. One command reads the newest
//! revision, changes, signs and takes it, so that two changes at the same time come one after the other.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use packhorse_domain::ids::JobAddress;
use packhorse_domain::instruction::{Line, State};
use packhorse_domain::job::{Intent, Job, Proof, ROUNDS_MAX, Round};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{JobMade, Retry};
use rusqlite::Connection;

use super::make::{Made, announce};
use super::request::Body;
use super::{Admin, AdminError, destinations, jobs as shown_jobs, known, may};
use crate::capability::Capabilities;
use crate::db::hosts::{Fleet, HostRow};
use crate::db::jobs::{self, Incoming, JobRecord, Taken};
use crate::db::{Command, DbError, join, packages};
use crate::signer::Signer;
use crate::system::now;

/// What becomes of the job.
enum Change {
    Cancel,
    Retry { failed: bool },
    Suspend,
    Resume,
    Close,
}

impl Change {
    /// As the command line calls it.
    fn command(&self) -> &'static str {
        match self {
            Change::Cancel => "job cancel",
            Change::Retry { .. } => "job retry",
            Change::Suspend => "job suspend",
            Change::Resume => "job resume",
            Change::Close => "job close",
        }
    }

    /// Whether it only stops: who made a job may always do that.
    fn only_stops(&self) -> bool {
        matches!(self, Change::Cancel | Change::Close)
    }
}

struct ChangeJob {
    signer: Signer,
    capabilities: Capabilities,
    address: JobAddress,
    change: Change,
    now: Time,
}

impl Command for ChangeJob {
    type Answer = Made;

    fn apply(self, tx: &Connection) -> Result<Made, DbError> {
        let record = shown_jobs::record(tx, self.signer.issuer(), &self.address)?;
        self.signer.owns(&record.key)?;
        let damaged = || DbError::damaged(format!("job {}", record.key));
        let job = join::read_own_job(&record.envelope).ok_or_else(damaged)?;
        let lines: Vec<(HostRow, Line)> =
            jobs::lines_of(tx, record.row)?.into_iter().map(|(at, line)| (at.host, line)).collect();
        match self.change {
            Change::Cancel => self.cancel(tx, &record, job, &lines),
            Change::Retry { failed } => self.retry(tx, &record, job, &lines, failed),
            Change::Suspend => self.suspend(tx, &record, job, &lines),
            Change::Resume => self.resume(tx, &record, job, &lines),
            Change::Close => self.close(tx, &record, job),
        }
    }
}

impl ChangeJob {
    fn cancel(
        &self,
        tx: &Connection,
        record: &JobRecord,
        mut job: Job,
        lines: &[(HostRow, Line)],
    ) -> Result<Made, DbError> {
        if job.intent == Intent::Cancelled {
            return Ok(nothing(record));
        }
        // What was stopped from above is cancelled all the same, for good.
        let stopped = match record.stopped {
            Some(_) => 0,
            None => self.unbegun(record, &job, lines)?,
        };
        job.intent = Intent::Cancelled;
        let made = self.take(tx, record, job, Vec::new())?;
        Ok(Made { lines: stopped, ..made })
    }

    /// What has not begun waits. A job that is suspended already stays as it is.
    fn suspend(
        &self,
        tx: &Connection,
        record: &JobRecord,
        mut job: Job,
        lines: &[(HostRow, Line)],
    ) -> Result<Made, DbError> {
        refuse_cancelled(record, &job)?;
        if job.intent == Intent::Suspended {
            return Ok(nothing(record));
        }
        let held = self.unbegun(record, &job, lines)?;
        job.intent = Intent::Suspended;
        let made = self.take(tx, record, job, Vec::new())?;
        Ok(Made { lines: held, ..made })
    }

    /// What waited goes on. A job that is not suspended stays as it is.
    fn resume(
        &self,
        tx: &Connection,
        record: &JobRecord,
        mut job: Job,
        lines: &[(HostRow, Line)],
    ) -> Result<Made, DbError> {
        refuse_cancelled(record, &job)?;
        let freed = self.unbegun(record, &job, lines)?;
        if job.intent == Intent::Open {
            return Ok(nothing(record));
        }
        job.intent = Intent::Open;
        let made = self.take(tx, record, job, Vec::new())?;
        Ok(Made { lines: freed, ..made })
    }

    /// Hosts that join from now on are not taken in; lines there are go on.
    fn close(&self, tx: &Connection, record: &JobRecord, mut job: Job) -> Result<Made, DbError> {
        refuse_cancelled(record, &job)?;
        if !job.grows() {
            let message = format!("job {} names its hosts one by one: nobody joins it later", record.key);
            let hint = "packhorse job cancel stops what has not begun";
            return Err(DbError::refused("not_growing", message, Some(hint)));
        }
        if job.until <= self.now {
            let message = format!("job {} has ended: its --until has passed", record.key);
            return Err(DbError::refused("ended", message, Some("packhorse job show says how it ended")));
        }
        if job.terms.closed.is_some() {
            return Ok(nothing(record));
        }
        job.terms.closed = Some(self.now);
        let made = self.take(tx, record, job, Vec::new())?;
        Ok(Made { lines: 0, ..made })
    }

    /// How many lines have not begun; refused for a job that has ended.
    fn unbegun(&self, record: &JobRecord, job: &Job, lines: &[(HostRow, Line)]) -> Result<u64, DbError> {
        let open = lines.iter().filter(|(_, line)| !line.shown().is_end() && !line.state.has_begun());
        let open = open.count() as u64;
        if open == 0 && (!record.grows || job.until <= self.now) {
            let message = format!("job {} has nothing left that has not begun", record.key);
            return Err(DbError::refused("ended", message, Some("packhorse job show says how it ended")));
        }
        Ok(open)
    }

    fn retry(
        &self,
        tx: &Connection,
        record: &JobRecord,
        mut job: Job,
        lines: &[(HostRow, Line)],
        failed: bool,
    ) -> Result<Made, DbError> {
        self.may_retry(tx, record, &job, failed)?;
        let again = |state: State| match failed {
            true => state == State::Failed,
            false => state.is_end() && !state.ended_well(),
        };
        let hosts: Vec<HostRow> =
            lines.iter().filter(|(_, line)| again(line.shown())).map(|(host, _)| *host).collect();
        let fleet = Fleet::load(tx)?;
        let in_use = |host: &HostRow| fleet.get(*host).is_some_and(|host| host.retired.is_none());
        let hosts = fleet.in_route_order(hosts.into_iter().filter(in_use).collect());
        let (clause, prover) = destinations::list(&fleet, &hosts)?;
        let (Some(clause), Some(prover)) = (clause, prover) else {
            let what = if failed { "failed" } else { "ended badly" };
            let message = format!("job {} has no line that {what}", record.key);
            return Err(DbError::refused("nothing_to_retry", message, Some("packhorse job show")));
        };
        let attempt = job.rounds.last().map_or(1, |round| round.attempt + 1);
        job.rounds.push(Round { attempt, ordered: self.now, to: vec![clause] });
        job.intent = Intent::Open;
        let proof = Proof { attempt, slice: prover.slice().clone() };
        self.take(tx, record, job, vec![proof])
    }

    fn may_retry(&self, tx: &Connection, record: &JobRecord, job: &Job, failed: bool) -> Result<(), DbError> {
        let again = Some("make a new job for these hosts: packhorse install");
        if job.until <= self.now {
            let message = format!("job {} has ended: its --until has passed", record.key);
            return Err(DbError::refused("ended", message, again));
        }
        if job.rounds.len() >= ROUNDS_MAX {
            return Err(DbError::refused(
                "limit",
                format!("job {} had {ROUNDS_MAX} attempts", record.key),
                again,
            ));
        }
        if job.intent == Intent::Suspended {
            let message = format!("job {} is suspended: what is tried again would wait", record.key);
            let hint = format!("packhorse job resume {}, then try again", record.key.number);
            return Err(DbError::refused("suspended", message, Some(&hint)));
        }
        // Opening it again for a few would open it for all whom the cancel has not reached yet.
        if job.intent == Intent::Cancelled && failed {
            let message = format!("job {} was cancelled", record.key);
            return Err(DbError::refused(
                "cancelled",
                message,
                Some("leave --failed out, or make a new job"),
            ));
        }
        for package in &job.packages {
            if packages::registered(tx, &package.label.cabinet, &package.id)?.is_none() {
                let message = format!("{} was removed", package.label);
                return Err(DbError::refused(
                    "unknown_package",
                    message,
                    Some("packhorse package add brings it back"),
                ));
            }
        }
        Ok(())
    }

    fn take(
        &self,
        tx: &Connection,
        record: &JobRecord,
        mut job: Job,
        proofs: Vec<Proof>,
    ) -> Result<Made, DbError> {
        job.revision = record.revision + 1;
        let incoming = Incoming {
            envelope: self.signer.sign(&job, self.now)?,
            job,
            proofs,
            ended: Vec::new(),
            named: Vec::new(),
            copies: jobs::sizes(tx, record.row)?
                .into_iter()
                .map(|(id, size)| (id, size, Vec::new()))
                .collect(),
            asked: record.asked.clone(),
        };
        match jobs::take(tx, &incoming, &self.capabilities, self.now)? {
            Taken::Stored { lines, lowers, .. } => {
                self.signer.announce(tx, &incoming, self.now)?;
                Ok(Made { key: record.key.clone(), lines, lowers })
            }
            Taken::Known | Taken::Older => {
                Err(DbError::internal(format!("job {} has a newer revision", record.key)))
            }
        }
    }
}

fn nothing(record: &JobRecord) -> Made {
    Made { key: record.key.clone(), lines: 0, lowers: Vec::new() }
}

fn refuse_cancelled(record: &JobRecord, job: &Job) -> Result<(), DbError> {
    if job.intent != Intent::Cancelled {
        return Ok(());
    }
    let message = format!("job {} was cancelled", record.key);
    let hint = format!("packhorse job retry {0}, or a new job: packhorse job again {0}", record.key.number);
    Err(DbError::refused("cancelled", message, Some(&hint)))
}

async fn execute(admin: &Admin, job: &str, change: Change) -> Result<Json<JobMade>, AdminError> {
    let system = &admin.system;
    known::refresh(system).await?;
    let command = ChangeJob {
        signer: may::signer(system, change.command(), change.only_stops())?,
        capabilities: system.capabilities.clone(),
        address: shown_jobs::address(job)?,
        change,
        now: now(),
    };
    let made = system.db.write(command).await?;
    Ok(Json(announce(system, made)))
}

/// `POST /admin/v1/jobs/{job}/cancel`.
pub async fn cancel(
    Shared(admin): Shared<Arc<Admin>>,
    Path(job): Path<String>,
) -> Result<Json<JobMade>, AdminError> {
    execute(&admin, &job, Change::Cancel).await
}

/// `POST /admin/v1/jobs/{job}/suspend`.
pub async fn suspend(
    Shared(admin): Shared<Arc<Admin>>,
    Path(job): Path<String>,
) -> Result<Json<JobMade>, AdminError> {
    execute(&admin, &job, Change::Suspend).await
}

/// `POST /admin/v1/jobs/{job}/resume`.
pub async fn resume(
    Shared(admin): Shared<Arc<Admin>>,
    Path(job): Path<String>,
) -> Result<Json<JobMade>, AdminError> {
    execute(&admin, &job, Change::Resume).await
}

/// `POST /admin/v1/jobs/{job}/close`.
pub async fn close(
    Shared(admin): Shared<Arc<Admin>>,
    Path(job): Path<String>,
) -> Result<Json<JobMade>, AdminError> {
    execute(&admin, &job, Change::Close).await
}

/// `POST /admin/v1/jobs/{job}/retry`.
pub async fn retry(
    Shared(admin): Shared<Arc<Admin>>,
    Path(job): Path<String>,
    Body(retry): Body<Retry>,
) -> Result<Json<JobMade>, AdminError> {
    execute(&admin, &job, Change::Retry { failed: retry.failed }).await
}
