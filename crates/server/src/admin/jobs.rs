//! Jobs as they are listed, shown and watched.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State as Shared};
use packhorse_domain::ids::JobAddress;
use packhorse_domain::instruction::{Line, State};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{InstructionView, JobSummary, JobView};
use rusqlite::Connection;
use serde::Deserialize;
use tokio::time::Instant;

use super::around::{Around, JobFacts};
use super::format::rfc3339;
use super::request::Ask;
use super::{Admin, AdminError, destinations, lines, plan_kept};
use crate::db::DbError;
use crate::db::jobs::{self, JobRecord, JobRow};
use crate::db::join;
use crate::db::lines::LineRow;
use crate::db::views::{self, Counts, JobPackageRecord, Scene};
use crate::system::{System, now};

/// Longest time a request is held, in seconds.
const HOLD_SECS_MAX: u64 = 30;
/// Who is there and how far packages have come is looked at this often; changes of lines are heard of.
const LOOK: Duration = Duration::from_millis(500);
/// Changes that come close together are answered together.
const TOGETHER: Duration = Duration::from_millis(50);
/// Looking takes at most this part of the time: of a job of a million lines too.
const REST_FACTOR: u32 = 5;

/// A job with all that is shown of it.
pub struct Found {
    /// The job.
    pub job: JobRecord,
    /// Its packages, by place.
    pub packages: Vec<JobPackageRecord>,
    /// Its lines.
    pub lines: Vec<(LineRow, Line)>,
    /// Lines by shown state.
    pub counts: Counts,
    /// What they stand in.
    pub scene: Scene,
    /// The newest change of its lines.
    pub change: u64,
    /// Its plan, and what relays have received by now.
    pub plan: Option<(plan_kept::Kept, BTreeMap<String, u64>)>,
}

/// How a job is addressed: `3` or `osaka:3`, and `osaka/3` where a slash fits.
///
/// # Errors
/// It is no job's address.
pub fn address(text: &str) -> Result<JobAddress, DbError> {
    text.replace(':', "/").parse().map_err(|error: packhorse_domain::ids::BadId| {
        DbError::refused("bad_job", error.to_string(), Some("packhorse job list shows the jobs"))
    })
}

/// The job of an address; a bare number is one of this system's own.
///
/// # Errors
/// There is none, or the database's.
pub fn record(connection: &Connection, own: &str, address: &JobAddress) -> Result<JobRecord, DbError> {
    let issuer = address.issuer.as_deref().unwrap_or(own);
    let found = jobs::find(connection, issuer, address.number)?;
    found.ok_or_else(|| {
        let message = format!("there is no job {issuer}/{}", address.number);
        DbError::refused("unknown_job", message, Some("packhorse job list shows the jobs"))
    })
}

/// Loads a job with all that is shown of it; the number of statements does not depend on its hosts.
///
/// # Errors
/// There is none, or the database's.
pub fn load(connection: &Connection, own: &str, address: &JobAddress) -> Result<Found, DbError> {
    let job = record(connection, own, address)?;
    let mut found = Found {
        // Read first: a change that comes in between is told again rather than missed.
        change: views::newest_change(connection, job.row)?,
        packages: views::job_packages(connection, Some(job.row))?.remove(&job.row).unwrap_or_default(),
        lines: jobs::lines_of(connection, job.row)?,
        counts: views::job_counts(connection, Some(job.row))?.remove(&job.row).unwrap_or_default(),
        scene: views::scene(connection)?,
        plan: None,
        job,
    };
    found.plan = plan_kept::load(connection, &found)?;
    Ok(found)
}

/// Reads a job by the address of a request.
///
/// # Errors
/// There is none, or the database's.
pub async fn find(system: &System, text: &str) -> Result<Found, AdminError> {
    let (address, own) = (address(text)?, system.issuer().to_owned());
    Ok(system.db.read(move |connection| load(connection, &own, &address)).await?)
}

/// A job as it is listed.
pub fn summary(job: &JobRecord, packages: &[JobPackageRecord], counts: &Counts, now: Time) -> JobSummary {
    let words: Vec<String> = serde_json::from_str(&job.asked).unwrap_or_default();
    JobSummary {
        id: job.key.to_string(),
        job_type: job.job_type.clone(),
        state: state(job, counts, now).to_owned(),
        packages: packages.iter().map(|package| package.label.to_string()).collect(),
        to: destinations::shown(words),
        at: Some(job.starts).filter(|starts| *starts > job.created).map(rfc3339),
        until: rfc3339(job.until),
        created: rfc3339(job.created),
        counts: counts.clone(),
        silent: 0,
    }
}

/// The state of a job. It has ended when all lines known have; a host that joins later makes it run again.
fn state(job: &JobRecord, counts: &Counts, now: Time) -> &'static str {
    let is_end = |word: &str| State::parse(word).is_some_and(State::is_end);
    let all_ended = counts.keys().all(|word| is_end(word));
    let closed = job.intent == "cancelled" || job.until <= now || !job.grows;
    match (all_ended, counts.is_empty()) {
        (true, false) => "ended",
        (true, true) if closed => "ended",
        _ if job.intent == "suspended" => "suspended",
        _ if job.starts > now => "scheduled",
        _ => "running",
    }
}

/// `GET /admin/v1/jobs`.
pub async fn list(Shared(admin): Shared<Arc<Admin>>) -> Result<Json<Vec<JobSummary>>, AdminError> {
    let at = now();
    let before = at.plus_days(-admin.system.silent_days());
    let found = admin.system.db.read(move |connection| {
        let jobs = jobs::list(connection)?;
        let silent = views::long_unheard(connection, before)?;
        Ok((jobs, views::job_packages(connection, None)?, views::job_counts(connection, None)?, silent))
    });
    let (jobs, packages, counts, unheard) = found.await?;
    let mut silent: HashMap<JobRow, u64> = HashMap::new();
    for line in unheard {
        // When hosts were heard is written down from time to time: one may have been heard meanwhile.
        let present = admin.system.presence.now(&line.host, at);
        if !present.online && present.last_seen.is_none_or(|seen| seen < before) {
            *silent.entry(line.job).or_default() += line.lines;
        }
    }
    let (none, nothing) = (Counts::new(), Vec::new());
    let summary = |job: &JobRecord| {
        let packages = packages.get(&job.row).unwrap_or(&nothing);
        let listed = summary(job, packages, counts.get(&job.row).unwrap_or(&none), at);
        JobSummary { silent: silent.get(&job.row).copied().unwrap_or(0), ..listed }
    };
    Ok(Json(jobs.iter().map(summary).collect()))
}

/// How long to hold.
#[derive(Deserialize)]
pub struct Hold {
    /// The change that was seen.
    seen: Option<u64>,
    /// How long, in seconds.
    #[serde(default)]
    hold_secs: u64,
}

/// `GET /admin/v1/jobs/{job}?seen=&hold_secs=`: held until there is something else to show than what was seen.
pub async fn show(
    Shared(admin): Shared<Arc<Admin>>,
    Path(job): Path<String>,
    Ask(hold): Ask<Hold>,
) -> Result<Json<JobView>, AdminError> {
    let system = &admin.system;
    let until = Instant::now() + Duration::from_secs(hold.hold_secs.min(HOLD_SECS_MAX));
    let mut changes = system.watch_changes();
    loop {
        changes.mark_unchanged();
        let started = Instant::now();
        let view = view(system, &find(system, &job).await?)?;
        if hold.seen != Some(view.change) || Instant::now() >= until {
            return Ok(Json(view));
        }
        let took = started.elapsed();
        tokio::time::sleep_until(until.min(Instant::now() + TOGETHER.max(took * REST_FACTOR))).await;
        let look = until.min(Instant::now() + LOOK);
        let _ = tokio::time::timeout_at(look, changes.changed()).await;
    }
}

fn view(system: &System, found: &Found) -> Result<JobView, AdminError> {
    let at = now();
    let around = Around::new(system, &found.scene, at);
    let mut view = JobView {
        job: summary(&found.job, &found.packages, &found.counts, at),
        revision: found.job.revision,
        closed: join::read_own_job(&found.job.envelope).and_then(|job| job.terms.closed).map(rfc3339),
        plan: Vec::new(),
        instructions: instructions(&around, found),
        silent_days: around.silent_days(),
        change: 0,
    };
    view.job.silent = view.instructions.iter().filter(|line| line.silent).count() as u64;
    // Bytes of other jobs are no news of this one.
    view.change = mark(found.change, &view)?;
    if let Some((kept, received)) = &found.plan {
        view.plan = plan_kept::facts(&around, found, kept, received);
    }
    Ok(view)
}

/// What `seen` is compared with: the newest change of the lines, and below it 16 bits of what is only true now (who is
/// there, how far packages have come), so that a change of that between two requests is not missed either. Both together
/// stay exact where numbers are floating.
fn mark(change: u64, view: &JobView) -> Result<u64, AdminError> {
    let text = serde_json::to_string(view).map_err(|error| AdminError::internal("an answer", &error))?;
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(change << 16 | hasher.finish() & 0xffff)
}

/// All lines of a job, by host and place.
pub fn instructions(around: &Around<'_>, found: &Found) -> Vec<InstructionView> {
    let facts = JobFacts::from(&found.job);
    let mut lines: Vec<&(LineRow, Line)> = found.lines.iter().collect();
    let name = |row| around.host(row).map_or("", |host| host.name.as_str());
    lines.sort_by_key(|(at, _)| (name(at.host), at.place));
    let shown = lines.into_iter().filter_map(|(at, line)| {
        let package = found.packages.get(at.place as usize)?;
        Some(lines::view(around, &facts, package, at.host, line))
    });
    shown.collect()
}
