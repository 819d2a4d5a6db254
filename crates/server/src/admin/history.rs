//! What happened, as one timeline: of one machine's part of a job, of one machine.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use packhorse_domain::ids::JobKey;
use packhorse_domain::instruction::{Line, State, Verdict};
use packhorse_domain::job::{HostRole, Job};
use packhorse_domain::report::{Body, LineEvent, LineReport};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{EventView, LineHistory};
use rusqlite::Connection;

use super::around::Around;
use super::format::{clock, day, rfc3339};
use super::{Admin, AdminError, hosts, jobs, sentence};
use crate::db::history::{self, Attempt, Heard};
use crate::db::hosts::HostRecord;
use crate::db::jobs::{JobRecord, JobRow};
use crate::db::join::read_own_job;
use crate::db::lines::LineRow;
use crate::db::views::JobPackageRecord;
use crate::db::{DbError, retire};
use crate::system::now;

/// Reports of a host that are told.
const HEARD_MAX: usize = 300;

/// What is remembered of a host.
pub struct Past {
    heard: Vec<Heard>,
    attempts: Vec<Attempt>,
    /// What became of the host itself: when, what, by whom.
    became: Vec<(Time, String, String)>,
}

impl Past {
    /// Loads it: of one job, or everything.
    ///
    /// # Errors
    /// The database's.
    pub fn load(
        connection: &Connection,
        host: &HostRecord,
        only: Option<&JobRecord>,
    ) -> Result<Past, DbError> {
        let wanted = |body: &Body| match (body, only) {
            (Body::Line(line), Some(job)) => line.job == job.key,
            (Body::Line(_) | Body::Alarm { .. }, None) => true,
            (Body::Copy(_), None) => host.role == HostRole::Relay,
            _ => false,
        };
        Ok(Past {
            heard: history::of(connection, &host.id, HEARD_MAX, wanted)?,
            attempts: history::attempts(connection, host.row, only.map(|job| job.row))?,
            became: retire::events(connection, host.row)?,
        })
    }
}

/// Events with when they happened, to be put in order.
struct Timeline(Vec<(Time, EventView)>);

impl Timeline {
    fn push(&mut self, at: Time, event: EventView) {
        self.0.push((at, event));
    }

    fn events(mut self) -> Vec<EventView> {
        // What happened at the same time stays as it was put in: causes before effects.
        self.0.sort_by_key(|(at, _)| *at);
        self.0.into_iter().map(|(_, event)| event).collect()
    }
}

fn event(at: Time, system: &str, word: &str, text: String) -> EventView {
    EventView {
        at: rfc3339(at),
        system: system.to_owned(),
        received: None,
        job: None,
        package: None,
        attempt: None,
        event: word.to_owned(),
        by: None,
        reason: None,
        exit_code: None,
        text,
        tail: String::new(),
    }
}

/// Names of jobs and packages that events speak of.
struct Names<'a> {
    jobs: HashMap<&'a JobKey, &'a JobRecord>,
    packages: &'a HashMap<JobRow, Vec<JobPackageRecord>>,
}

impl Names<'_> {
    fn label(&self, line: &LineReport) -> String {
        let packages = self.jobs.get(&line.job).and_then(|job| self.packages.get(&job.row));
        let found = packages.into_iter().flatten().find(|package| package.id == line.package);
        found.map_or_else(|| line.package.to_string(), |package| package.label.to_string())
    }

    fn place(&self, row: LineRow) -> Option<String> {
        Some(self.packages.get(&row.job)?.get(row.place as usize)?.label.to_string())
    }
}

/// What a host said of a line.
fn said(names: &Names<'_>, host: &str, heard: &Heard, line: &LineReport, now: Time) -> EventView {
    let at = heard.report.at;
    let (word, text) = match &line.event {
        LineEvent::Waits(reason) => {
            ("waiting".to_owned(), sentence::waits(host, State::Waiting, reason, now))
        }
        LineEvent::Offered => ("offered".to_owned(), "shown to its user".to_owned()),
        LineEvent::Chosen { by, at } => {
            let when = at.map_or_else(|| "now".to_owned(), |at| clock(at, now));
            ("chosen".to_owned(), format!("chosen by {by} for {when}"))
        }
        LineEvent::Storing => ("storing".to_owned(), "its first piece is stored".to_owned()),
        LineEvent::Delivered => {
            ("delivered".to_owned(), "the package is there, whole and verified".to_owned())
        }
        LineEvent::Begun => ("installing".to_owned(), "begun".to_owned()),
        LineEvent::Ended(outcome) => (outcome.end.as_str().to_owned(), outcome.text.clone()),
    };
    let mut told = event(at, host, &word, text);
    told.received = Some(rfc3339(heard.received));
    told.job = Some(line.job.to_string());
    told.package = Some(names.label(line));
    told.attempt = Some(line.attempt);
    match &line.event {
        LineEvent::Waits(reason) => told.reason = Some(reason.code().as_str().to_owned()),
        LineEvent::Chosen { by, .. } => told.by = Some(by.clone()),
        LineEvent::Ended(outcome) => {
            told.by.clone_from(&outcome.by);
            told.exit_code = outcome.exit_code;
            told.tail.clone_from(&outcome.tail);
        }
        _ => {}
    }
    told
}

/// What a higher system said of a line.
fn judged(
    names: &Names<'_>,
    asked: &str,
    job: &JobRecord,
    row: LineRow,
    attempt: u32,
    verdict: (Verdict, Time),
    now: Time,
) -> (Time, EventView) {
    let (verdict, at) = verdict;
    let line = Line { verdict: Some((verdict, at)), ..Line::new(attempt, at) };
    let mut told = event(at, asked, verdict.end().as_str(), sentence::ended(&line, job.until, now));
    told.job = Some(job.key.to_string());
    told.package = names.place(row);
    told.attempt = Some(attempt);
    (at, told)
}

/// What happened to a host's lines, and when each was ordered.
fn lines_of(
    around: &Around<'_>,
    names: &Names<'_>,
    host: &str,
    past: &Past,
    lines: &[(LineRow, Line)],
    timeline: &mut Timeline,
) {
    for heard in &past.heard {
        if let Body::Line(line) = &heard.report.body {
            timeline.push(heard.report.at, said(names, host, heard, line, around.now));
        }
    }
    let by_row: HashMap<JobRow, &JobRecord> = names.jobs.values().map(|job| (job.row, *job)).collect();
    let earlier = past.attempts.iter().map(|past| (past.line, past.attempt, past.verdict));
    let current = lines.iter().map(|(row, line)| (*row, line.attempt, line.verdict));
    for (row, attempt, verdict) in earlier.chain(current) {
        if let (Some(verdict), Some(job)) = (verdict, by_row.get(&row.job)) {
            let (at, told) = judged(names, around.asked(), job, row, attempt, verdict, around.now);
            timeline.push(at, told);
        }
    }
}

/// When each attempt of a job was ordered.
fn ordered(around: &Around<'_>, record: &JobRecord, job: &Job, last: u32, timeline: &mut Timeline) {
    for round in job.rounds.iter().filter(|round| round.attempt <= last) {
        let text = match round.attempt {
            1 => format!("{} made", record.job_type),
            _ => "to be tried again".to_owned(),
        };
        let mut told = event(round.ordered, around.asked(), "ordered", text);
        told.job = Some(record.key.to_string());
        told.attempt = Some(round.attempt);
        timeline.push(round.ordered, told);
    }
}

/// What became of a machine itself.
fn became(around: &Around<'_>, past: &Past, timeline: &mut Timeline) {
    for (at, what, by) in &past.became {
        let text = match what.as_str() {
            retire::RETIRED => {
                format!("retired by {by}: its certificates count no more, what was open has ended")
            }
            retire::RETURNED => "a machine joined with a token that replaces it".to_owned(),
            other => other.to_owned(),
        };
        let by = Some(by.clone()).filter(|_| what == retire::RETIRED);
        timeline.push(*at, EventView { by, ..event(*at, around.asked(), what, text) });
    }
}

/// A machine's past as one timeline.
pub fn of_host(around: &Around<'_>, found: &hosts::Found, past: &Past) -> Vec<EventView> {
    let host = &found.host;
    let names =
        Names { jobs: found.jobs.values().map(|job| (&job.key, job)).collect(), packages: &found.packages };
    let mut timeline = Timeline(Vec::new());
    let below = format!("joined below {}", around.higher(host));
    timeline.push(host.joined, event(host.joined, around.asked(), "joined", below));
    became(around, past, &mut timeline);
    lines_of(around, &names, &host.name, past, &found.lines, &mut timeline);
    for heard in &past.heard {
        let at = heard.report.at;
        let told = match &heard.report.body {
            Body::Alarm { code, text } => event(at, &host.name, code, text.clone()),
            Body::Copy(copy) => {
                let label = label_of(&found.packages, &copy.package);
                match copy.keep_until {
                    Some(until) => {
                        let text = format!("keeps {label} until {}", day(until, around.now));
                        event(at, &host.name, "keeps", text)
                    }
                    None => event(at, &host.name, "let_go", format!("keeps {label} no more")),
                }
            }
            _ => continue,
        };
        timeline.push(at, EventView { received: Some(rfc3339(heard.received)), ..told });
    }
    timeline.events()
}

fn label_of(
    packages: &HashMap<JobRow, Vec<JobPackageRecord>>,
    id: &packhorse_domain::ids::PackageId,
) -> String {
    let found = packages.values().flatten().find(|package| package.id == *id);
    found.map_or_else(|| id.to_string(), |package| package.label.to_string())
}

/// `GET /admin/v1/jobs/{job}/hosts/{host}`: what happened to one machine's part of a job, at every system on its way.
pub async fn of_line(
    Shared(admin): Shared<Arc<Admin>>,
    Path((job, name)): Path<(String, String)>,
) -> Result<Json<LineHistory>, AdminError> {
    let system = &admin.system;
    let (address, own) = (jobs::address(&job)?, system.issuer().to_owned());
    let loaded = system.db.read(move |connection| {
        let mut found = jobs::load(connection, &own, &address)?;
        let host = found.scene.fleet.any_named(&name).cloned().ok_or_else(|| hosts::unknown(&name))?;
        found.lines.retain(|(row, _)| row.host == host.row);
        if found.lines.is_empty() {
            let message = format!("job {} does not name {name}", found.job.key);
            return Err(DbError::refused(
                "unknown_host",
                message,
                Some("packhorse job show names its hosts"),
            ));
        }
        let past = Past::load(connection, &host, Some(&found.job))?;
        let mut arrivals = Vec::new();
        // As many looks as there are relays on one way, and packages in one job.
        for relay in found.scene.fleet.route(&host) {
            for package in &found.packages {
                let heard = history::arrivals(connection, &relay.id, &package.id, found.job.created)?;
                arrivals.extend(heard.into_iter().map(|heard| (relay.name.clone(), package.clone(), heard)));
            }
        }
        Ok((found, host, past, arrivals))
    });
    let (found, host, past, arrivals) = loaded.await?;
    let around = Around::new(system, &found.scene, now());
    let packages = HashMap::from([(found.job.row, found.packages.clone())]);
    let names = Names { jobs: HashMap::from([(&found.job.key, &found.job)]), packages: &packages };
    let mut timeline = Timeline(Vec::new());
    if let Some(job) = read_own_job(&found.job.envelope) {
        let last = found.lines.iter().map(|(_, line)| line.attempt).max().unwrap_or(1);
        ordered(&around, &found.job, &job, last, &mut timeline);
    }
    for (relay, package, heard) in &arrivals {
        let Body::Copy(copy) = &heard.report.body else { continue };
        let Some(until) = copy.keep_until else { continue };
        let text = format!("{relay} keeps it until {}", day(until, around.now));
        let mut told = event(heard.report.at, relay, "at_relay", text);
        told.received = Some(rfc3339(heard.received));
        told.job = Some(found.job.key.to_string());
        told.package = Some(package.label.to_string());
        timeline.push(heard.report.at, told);
    }
    became(&around, &past, &mut timeline);
    lines_of(&around, &names, &host.name, &past, &found.lines, &mut timeline);
    Ok(Json(LineHistory {
        job: found.job.key.to_string(),
        host: host.name.clone(),
        instructions: jobs::instructions(&around, &found),
        events: timeline.events(),
    }))
}
