//! Why is it not there yet? By job, by job and host, by host, by relay.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use packhorse_domain::job::HostRole;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{ExplainEntry, Explained, HostLine, InstructionView};
use serde::Deserialize;

use super::around::Around;
use super::format::{clock, count, day, size};
use super::groups::{Group, Written, clear, groups, summary};
use super::request::Ask;
use super::{Admin, AdminError, hosts, jobs, relays};
use crate::db::jobs::JobRecord;
use crate::system::{System, now};

/// Hosts named in one entry.
const HOSTS_SHOWN: usize = 5;
/// Lines of a host that are told one by one.
const LINES_SHOWN: usize = 50;

/// About what.
#[derive(Deserialize)]
pub struct About {
    job: Option<String>,
    host: Option<String>,
    relay: Option<String>,
    package: Option<String>,
}

/// `GET /admin/v1/explain?job=&host=&relay=&package=`.
pub async fn explain(
    Shared(admin): Shared<Arc<Admin>>,
    Ask(about): Ask<About>,
) -> Result<Json<Explained>, AdminError> {
    let system = &admin.system;
    let explained = match (about.job, about.host, about.relay) {
        (Some(job), None, None) => of_job(system, &job).await?,
        (Some(job), Some(host), None) => of_line(system, &job, &host).await?,
        (None, Some(host), None) => of_host(system, host).await?,
        (None, None, Some(relay)) => of_relay(system, relay, about.package).await?,
        _ => {
            return Err(AdminError::bad_request("explain what?")
                .hint("packhorse explain JOB [HOST], --host HOST, or --relay RELAY [PACKAGE]"));
        }
    };
    Ok(Json(explained))
}

/// A job as it is written at this system.
pub fn written(system: &System, job: &JobRecord, now: Time) -> Written {
    let id = job.key.to_string();
    let own = id.strip_prefix(system.issuer()).and_then(|rest| rest.strip_prefix('/'));
    let number = own.unwrap_or(&id).to_owned();
    Written { number, over: job.until <= now, job_type: job.job_type.clone(), id }
}

async fn of_job(system: &System, job: &str) -> Result<Explained, AdminError> {
    let found = jobs::find(system, job).await?;
    let around = Around::new(system, &found.scene, now());
    let lines = jobs::instructions(&around, &found);
    let job = written(system, &found.job, around.now);
    let groups = groups(&lines, around.silent_days());
    let entries = groups.iter().map(|group| group_entry(&job, group)).collect();
    Ok(Explained { summary: summary(&groups, &job), entries })
}

fn group_entry(job: &Written, group: &Group<'_>) -> ExplainEntry {
    let mut hosts: Vec<String> = group.lines.iter().map(|line| line.host.clone()).collect();
    hosts.dedup();
    hosts.truncate(HOSTS_SHOWN);
    let text = match group.lines.as_slice() {
        [line] => sentence(line),
        [first, ..] if sentence(first) == format!("{}: {}", first.host, group.words) => {
            format!("{} {}", group.lines.len(), group.words)
        }
        [first, ..] => format!("{} {}; {}", group.lines.len(), group.words, sentence(first)),
        [] => String::new(),
    };
    ExplainEntry {
        job: Some(job.id.clone()),
        lines: group.lines.len() as u64,
        hosts,
        state: group.state.clone(),
        text,
        clear: group.lines.first().and_then(|line| clear(job, line)),
    }
}

/// A line as a sentence, whether it waits or has ended.
pub fn sentence(line: &InstructionView) -> String {
    let state = line.state.replace('_', " ");
    match (&line.reason, &line.result) {
        (Some(reason), _) => reason.text.clone(),
        (None, Some(result)) if result.text != state => format!("{}: {state}: {}", line.host, result.text),
        (None, _) => format!("{}: {state}", line.host),
    }
}

/// `named` stands in brackets behind the sentence.
fn line_entry(job: &Written, line: &InstructionView, named: &str) -> ExplainEntry {
    ExplainEntry {
        job: Some(job.id.clone()),
        lines: 1,
        hosts: vec![line.host.clone()],
        state: line.state.clone(),
        text: format!("{} ({named})", sentence(line)),
        clear: clear(job, line),
    }
}

async fn of_line(system: &System, job: &str, host: &str) -> Result<Explained, AdminError> {
    let found = jobs::find(system, job).await?;
    if found.scene.fleet.any_named(host).is_none() {
        return Err(hosts::unknown(host).into());
    }
    let around = Around::new(system, &found.scene, now());
    let lines = jobs::instructions(&around, &found);
    let job = written(system, &found.job, around.now);
    let own: Vec<&InstructionView> = lines.iter().filter(|line| line.host == host).collect();
    if own.is_empty() {
        let summary = format!("{host}: job {} does not name it", job.number);
        return Ok(Explained { summary, entries: Vec::new() });
    }
    let entries: Vec<ExplainEntry> = own.iter().map(|line| line_entry(&job, line, &line.package)).collect();
    let summary = match own.as_slice() {
        [line] => sentence(line),
        several => {
            let open = several.iter().filter(|line| line.reason.is_some()).count();
            format!("{host}: {open} of {} not ended", count(several.len() as u64, "line"))
        }
    };
    Ok(Explained { summary, entries })
}

async fn of_host(system: &System, name: String) -> Result<Explained, AdminError> {
    let found = system.db.read(move |connection| hosts::load(connection, &name)).await?;
    let at = now();
    let around = Around::new(system, &found.scene, at);
    let lines = hosts::host_lines(&around, &found);
    let open = lines.iter().filter(|line| line.line.reason.is_some()).count();
    let present = around.present(&found.host);
    let there = match (present.twins_since, present.online, present.last_seen) {
        _ if found.host.retired.is_some() => {
            format!("was retired at {}", clock(found.host.retired.unwrap_or_default(), at))
        }
        (Some(since), _, _) => format!("two machines answer under this name since {}", clock(since, at)),
        (None, true, _) => "is there".to_owned(),
        (None, false, Some(seen)) => format!("is off, last heard {}", clock(seen, at)),
        (None, false, None) => "was never heard".to_owned(),
    };
    let stands = match around.fallback(&found.host) {
        Some(fallback) => fallback.text,
        None => format!("below {}", around.higher(&found.host)),
    };
    let summary = format!(
        "{}: {there}, {stands}; {} of {} not ended",
        found.host.name,
        open,
        count(lines.len() as u64, "line")
    );
    // What waits comes first; the rest is history.
    let (waiting, ended): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.line.reason.is_some());
    let told = waiting.into_iter().chain(ended).take(LINES_SHOWN);
    let jobs: HashMap<String, Written> =
        found.jobs.values().map(|job| written(system, job, at)).map(|job| (job.id.clone(), job)).collect();
    let entry = |told: &HostLine| {
        let job = jobs.get(&told.job)?;
        Some(line_entry(job, &told.line, &format!("job {}, {}", job.number, told.line.package)))
    };
    let entries = told.filter_map(entry).collect();
    Ok(Explained { summary, entries })
}

async fn of_relay(system: &System, name: String, package: Option<String>) -> Result<Explained, AdminError> {
    let only = package.as_deref().map(super::packages::query).transpose()?;
    let found = system.db.read(move |connection| {
        let mut found = relays::load(connection, &name)?;
        let only = only.map(|query| crate::db::packages::resolve(connection, &query)).transpose()?;
        if let Some(record) = &only {
            // One content may stand in several cabinets: it is called as it was asked for.
            found.labels.insert(record.id, record.label.clone());
        }
        Ok((found, only.map(|record| record.id), crate::db::views::scene(connection)?))
    });
    let (found, only, scene) = found.await?;
    let at = now();
    let around = Around::new(system, &scene, at);
    let asked = |id: &packhorse_domain::ids::PackageId| only.is_none_or(|only| only == *id);
    let kept = found.copies.iter().filter(|copy| asked(&copy.package)).map(|copy| {
        let needed = count(found.needed_by(&copy.package), "open line");
        let until = day(copy.keep_until, at);
        let text = format!("{}: kept until {until}, {needed} below", found.label(&copy.package));
        relay_entry(&found, "kept", text)
    });
    let coming = found.needed.keys().filter(|id| asked(id) && !around.keeps(found.relay.row, id)).map(|id| {
        let text = format!("{}: {}", found.label(id), coming(&around, &found, id));
        relay_entry(&found, "wanted", text)
    });
    let mut entries: Vec<ExplainEntry> = kept.chain(coming).collect();
    entries.sort_by(|a, b| a.text.cmp(&b.text));
    Ok(Explained { summary: relay_summary(&around, &found), entries })
}

fn relay_entry(found: &relays::Found, state: &str, text: String) -> ExplainEntry {
    let hosts = vec![found.relay.name.clone()];
    ExplainEntry { job: None, lines: 1, hosts, state: state.to_owned(), text, clear: None }
}

/// Where a package stands that lines below a relay need and the relay does not keep.
fn coming(around: &Around<'_>, found: &relays::Found, id: &packhorse_domain::ids::PackageId) -> String {
    let needed = count(found.needed_by(id), "open line");
    match around.percent(&found.relay, id) {
        _ if !around.present(&found.relay).online => format!("comes when it is back; {needed} below"),
        Some(percent) => format!("is coming, {percent} % there; {needed} below"),
        None => format!("not here yet: it comes at its job's time; {needed} below"),
    }
}

fn relay_summary(around: &Around<'_>, found: &relays::Found) -> String {
    debug_assert_eq!(found.relay.role, HostRole::Relay);
    let present = around.present(&found.relay);
    let there = match (present.online, present.last_seen) {
        (true, _) => "is there".to_owned(),
        (false, Some(seen)) => format!("is off, last heard {}", clock(seen, around.now)),
        (false, None) => "was never heard".to_owned(),
    };
    let room = match found.traffic {
        Some(traffic) => format!("{} used, {} free", size(traffic.used_bytes), size(traffic.free_bytes)),
        None => "its room was not told yet".to_owned(),
    };
    let kept = count(found.copies.len() as u64, "package");
    let open: u64 = found.needed.values().sum();
    format!(
        "{}: {there}, below {}; keeps {kept}, {room}; {} below",
        found.relay.name,
        around.higher(&found.relay),
        count(open, "open line")
    )
}
