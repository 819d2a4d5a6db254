//! A job once more: a new one with the same packages, destinations and options, its times moved to now.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use packhorse_domain::ids::{JobAddress, PackageLabel, PackageQuery};
use packhorse_domain::job::{Job, Terms};
use packhorse_domain::lease::Keep;
use packhorse_domain::time::Time;
use packhorse_wire::admin::JobMade;
use rusqlite::Connection;

use super::make::{Made, MakeJob, announce};
use super::wish::Wish;
use super::{Admin, AdminError, jobs as shown_jobs, known, may, plan_kept};
use crate::capability::Capabilities;
use crate::db::{Command, DbError, join};
use crate::signer::Signer;
use crate::system::now;

struct Again {
    signer: Signer,
    capabilities: Capabilities,
    epoch: u64,
    address: JobAddress,
    /// To be kept with it.
    plan: String,
    now: Time,
}

impl Command for Again {
    type Answer = Made;

    fn apply(self, tx: &Connection) -> Result<Made, DbError> {
        let wish = once_more(tx, &self.signer, &self.address, self.now)?;
        let (capabilities, epoch) = (self.capabilities, self.epoch);
        MakeJob { signer: self.signer, capabilities, epoch, wish, plan: self.plan }.apply(tx)
    }
}

/// What is wished when the job at this address is made once more.
fn once_more(
    connection: &Connection,
    signer: &Signer,
    address: &JobAddress,
    now: Time,
) -> Result<Wish, DbError> {
    let record = shown_jobs::record(connection, signer.issuer(), address)?;
    signer.owns(&record.key)?;
    let job = join::read_own_job(&record.envelope)
        .ok_or_else(|| DbError::damaged(format!("job {}", record.key)))?;
    let to: Vec<String> = serde_json::from_str(&record.asked).map_err(DbError::damaged)?;
    wish(&job, to, now)
}

/// What is wished when a job is made once more.
fn wish(job: &Job, to: Vec<String>, now: Time) -> Result<Wish, DbError> {
    let (starts, later) = (job.starts(), job.starts() > now);
    let begins = if later { starts } else { now };
    // What lay between its start and another of its times lies there again.
    let moved = |time: Time| Time(begins.0.saturating_add(time.0.saturating_sub(starts.0)));
    let terms = Terms {
        host_time: job.terms.host_time && later,
        closed: None,
        keep: job.terms.keep.filter(|keep| !matches!(keep, Keep::Until(until) if *until <= now)),
        required_from: job.terms.required_from.map(moved),
        ..job.terms.clone()
    };
    let packages = job.packages.iter().map(|package| query(&package.label)).collect::<Result<_, _>>()?;
    Ok(Wish {
        job_type: job.job_type,
        packages,
        to,
        at: job.at.filter(|_| later),
        until: moved(job.until),
        allow_downgrade: job.allow_downgrade,
        terms,
        now,
    })
}

/// The very package, in its generation.
fn query(label: &PackageLabel) -> Result<PackageQuery, DbError> {
    label.to_string().parse().map_err(|error| DbError::damaged(format!("package {label}: {error}")))
}

/// `POST /admin/v1/jobs/{job}/again`.
pub async fn again(
    Shared(admin): Shared<Arc<Admin>>,
    Path(job): Path<String>,
) -> Result<Json<JobMade>, AdminError> {
    let system = &admin.system;
    known::refresh(system).await?;
    let (signer, address, now) =
        (may::signer(system, "job again", false)?, shown_jobs::address(&job)?, now());
    let wish = {
        let (signer, address) = (signer.clone(), address.clone());
        system.db.read(move |connection| once_more(connection, &signer, &address, now)).await?
    };
    let command = Again {
        signer,
        capabilities: system.capabilities.clone(),
        epoch: system.epoch,
        address,
        plan: plan_kept::of(system, wish, None).await?,
        now,
    };
    let made = system.db.write(command).await?;
    Ok(Json(announce(system, made)))
}

#[cfg(test)]
mod tests {
    use packhorse_domain::ids::{JobKey, PackageId};
    use packhorse_domain::job::{Clause, Intent, JobPackage, JobType, Round};

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn job(at: Option<i64>, until: i64) -> Job {
        let label =
            PackageLabel { cabinet: "main".into(), name: "p".into(), version: "1:2".into(), generation: 3 };
        Job {
            key: JobKey::server(1, 1),
            revision: 4,
            job_type: JobType::Install,
            created: Time(HOUR),
            packages: vec![JobPackage { id: PackageId([7; 32]), label, keep_until: Time(9) }],
            rounds: vec![Round { attempt: 1, ordered: Time(HOUR), to: vec![Clause::All { relays: false }] }],
            at: at.map(|at| Time(at * HOUR)),
            until: Time(until * HOUR),
            allow_downgrade: true,
            intent: Intent::Cancelled,
            terms: Terms { closed: Some(Time(5)), keep: Some(Keep::Until(Time(6))), ..Terms::default() },
        }
    }

    #[test]
    fn times_are_moved_to_now() {
        let again = |at, until| wish(&job(at, until), vec!["all".into()], Time(10 * HOUR)).unwrap();
        let soon = again(None, 3);
        assert_eq!((soon.at, soon.until), (None, Time(12 * HOUR)));
        let past = again(Some(2), 8);
        assert_eq!((past.at, past.until), (None, Time(16 * HOUR)));
        let ahead = again(Some(12), 20);
        assert_eq!((ahead.at, ahead.until), (Some(Time(12 * HOUR)), Time(20 * HOUR)));
        assert_eq!((ahead.terms.closed, ahead.terms.keep, ahead.allow_downgrade), (None, None, true));
        assert_eq!(
            (ahead.packages[0].version.as_deref(), ahead.packages[0].generation),
            (Some("1:2"), Some(3))
        );
    }
}
