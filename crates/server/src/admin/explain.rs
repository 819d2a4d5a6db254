//! Why is it not there yet? By job, by job and host, by host, by relay.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use packhorse_domain::instruction::State;
use packhorse_domain::job::HostRole;
use packhorse_wire::admin::{ExplainEntry, Explained, InstructionView};
use serde::Deserialize;

use super::around::Around;
use super::format::{clock, count, day, size};
use super::groups::{Group, groups, summary};
use super::request::Ask;
use super::{Admin, AdminError, hosts, jobs, relays};
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

/// A job's number as it is written at this system.
fn written(system: &System, id: &str) -> String {
    let own = id.strip_prefix(system.issuer()).and_then(|rest| rest.strip_prefix('/'));
    own.unwrap_or(id).to_owned()
}

async fn of_job(system: &System, job: &str) -> Result<Explained, AdminError> {
    let found = jobs::find(system, job).await?;
    let around = Around::new(system, &found.scene, now());
    let lines = jobs::instructions(&around, &found);
    let id = found.job.key.to_string();
    let number = written(system, &id);
    let groups = groups(&lines);
    let entries = groups.iter().map(|group| group_entry(&id, &number, group)).collect();
    Ok(Explained { summary: summary(&groups, lines.len(), &number), entries })
}

fn group_entry(id: &str, number: &str, group: &Group<'_>) -> ExplainEntry {
    let mut hosts: Vec<String> = group.lines.iter().map(|line| line.host.clone()).collect();
    hosts.dedup();
    hosts.truncate(HOSTS_SHOWN);
    let text = match group.lines.as_slice() {
        [line] => sentence(line),
        [first, ..] => format!("{} {}; {}", group.lines.len(), group.words, sentence(first)),
        [] => String::new(),
    };
    ExplainEntry {
        job: Some(id.to_owned()),
        lines: group.lines.len() as u64,
        hosts,
        state: group.state.clone(),
        text,
        clear: group.command(number),
    }
}

/// A line as a sentence, whether it waits or has ended.
fn sentence(line: &InstructionView) -> String {
    match (&line.reason, &line.result) {
        (Some(reason), _) => reason.text.clone(),
        (None, Some(result)) => format!("{}: {}: {}", line.host, line.state.replace('_', " "), result.text),
        (None, None) => format!("{}: {}", line.host, line.state.replace('_', " ")),
    }
}

fn line_entry(job: &str, number: &str, line: &InstructionView) -> ExplainEntry {
    let failed = line.state == State::Failed.as_str();
    let retry = failed.then(|| format!("packhorse job retry {number} --failed"));
    ExplainEntry {
        job: Some(job.to_owned()),
        lines: 1,
        hosts: vec![line.host.clone()],
        state: line.state.clone(),
        text: format!("{} ({})", sentence(line), line.package),
        clear: line.reason.as_ref().map(|reason| reason.clear.clone()).or(retry),
    }
}

async fn of_line(system: &System, job: &str, host: &str) -> Result<Explained, AdminError> {
    let found = jobs::find(system, job).await?;
    if found.scene.fleet.named(host).is_none() {
        return Err(hosts::unknown(host).into());
    }
    let around = Around::new(system, &found.scene, now());
    let lines = jobs::instructions(&around, &found);
    let id = found.job.key.to_string();
    let number = written(system, &id);
    let own: Vec<&InstructionView> = lines.iter().filter(|line| line.host == host).collect();
    if own.is_empty() {
        let summary = format!("{host}: job {number} does not name it");
        return Ok(Explained { summary, entries: Vec::new() });
    }
    let entries: Vec<ExplainEntry> = own.iter().map(|line| line_entry(&id, &number, line)).collect();
    let summary = own.iter().map(|line| sentence(line)).next().unwrap_or_default();
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
        (Some(since), _, _) => format!("two machines answer under this name since {}", clock(since, at)),
        (None, true, _) => "is there".to_owned(),
        (None, false, Some(seen)) => format!("is off, last heard {}", clock(seen, at)),
        (None, false, None) => "was never heard".to_owned(),
    };
    let summary = format!(
        "{}: {there}, below {}; {} of {} not ended",
        found.host.name,
        around.higher(&found.host),
        open,
        count(lines.len() as u64, "line")
    );
    // What waits comes first; the rest is history.
    let (waiting, ended): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.line.reason.is_some());
    let told = waiting.into_iter().chain(ended).take(LINES_SHOWN);
    let entries = told.map(|line| line_entry(&line.job, &written(system, &line.job), &line.line)).collect();
    Ok(Explained { summary, entries })
}

async fn of_relay(system: &System, name: String, package: Option<String>) -> Result<Explained, AdminError> {
    let only = package.as_deref().map(super::packages::query).transpose()?;
    let found = system.db.read(move |connection| {
        let found = relays::load(connection, &name)?;
        let only = only.map(|query| crate::db::packages::resolve(connection, &query)).transpose()?;
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
