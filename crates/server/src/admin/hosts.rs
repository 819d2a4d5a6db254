//! Hosts and the tree they stand in.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::facts::Facts;
use packhorse_domain::ingest::Position;
use packhorse_domain::instruction::Line;
use packhorse_domain::job::HostRole;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{HostDetail, HostLine, HostView, TreeNode};
use packhorse_wire::signed::ROUTE_MAX;
use rusqlite::Connection;
use serde::Deserialize;

use super::around::{Around, JobFacts};
use super::format::rfc3339;
use super::request::Ask;
use super::{Admin, AdminError, history, lines};
use crate::db::DbError;
use crate::db::groups::Groups;
use crate::db::hosts::{self, HostRecord, HostRow};
use crate::db::jobs::{self, JobRecord, JobRow};
use crate::db::lines::LineRow;
use crate::db::moving;
use crate::db::standings;
use crate::db::views::{self, JobPackageRecord, Scene};
use crate::system::now;

/// A host with all that is shown of it.
pub struct Found {
    /// The host.
    pub host: HostRecord,
    /// Its lines, the newest job first.
    pub lines: Vec<(LineRow, Line)>,
    /// The jobs there are.
    pub jobs: HashMap<JobRow, JobRecord>,
    /// Their packages.
    pub packages: HashMap<JobRow, Vec<JobPackageRecord>>,
    /// What the lines stand in.
    pub scene: Scene,
    /// Names of the fixed groups it is in.
    pub groups: Vec<String>,
    /// What it says of itself, and when it said so.
    pub told: Option<(Time, Facts)>,
}

/// Refuses a host that is not there.
pub fn unknown(name: &str) -> DbError {
    let shown: String = name.chars().take(80).collect();
    let hint = "packhorse host list shows the names";
    DbError::refused("unknown_host", format!("there is no host {shown}"), Some(hint))
}

/// Loads a host with its lines; the number of statements does not depend on how many there are.
///
/// # Errors
/// There is none of that name, or the database's.
pub fn load(connection: &Connection, name: &str) -> Result<Found, DbError> {
    let host = hosts::by_name(connection, name)?.ok_or_else(|| unknown(name))?;
    Ok(Found {
        lines: views::lines_of_host(connection, host.row)?,
        jobs: jobs::list(connection)?.into_iter().map(|job| (job.row, job)).collect(),
        packages: views::job_packages(connection, None)?,
        scene: views::scene(connection)?,
        groups: groups_of(connection, host.row)?,
        told: standings::facts_told(connection, host.row)?,
        host,
    })
}

fn groups_of(connection: &Connection, host: HostRow) -> Result<Vec<String>, DbError> {
    let belongs = standings::memberships(connection, Some(&[host]))?.remove(&host).unwrap_or_default();
    let is_in = |id| belongs.iter().any(|membership| membership.group == id);
    let all = Groups::load(connection)?;
    Ok(all.all().iter().filter(|group| is_in(group.id)).map(|group| group.name.clone()).collect())
}

/// The lines of a host, the newest job first.
pub fn host_lines(around: &Around<'_>, found: &Found) -> Vec<HostLine> {
    let shown = found.lines.iter().filter_map(|(at, line)| {
        let job = found.jobs.get(&at.job)?;
        let package = found.packages.get(&at.job)?.get(at.place as usize)?;
        let line = lines::view(around, &JobFacts::from(job), package, at.host, line);
        Some(HostLine { job: job.key.to_string(), line })
    });
    shown.collect()
}

fn view(around: &Around<'_>, host: &HostRecord) -> HostView {
    let present = around.present(host);
    HostView {
        name: host.name.clone(),
        role: host.role.as_str().to_owned(),
        higher: around.higher(host).to_owned(),
        online: present.online,
        last_seen: present.last_seen.map(rfc3339),
        fallback: around.fallback(host),
        retired: host.retired.map(rfc3339),
        silent: around.is_silent(host),
    }
}

/// Which hosts are listed.
#[derive(Deserialize)]
pub struct Listing {
    /// Also those that were retired.
    #[serde(default)]
    all: bool,
}

/// `GET /admin/v1/hosts?all=`: those that are in use; then, if asked for, those that were retired.
pub async fn list(
    State(admin): State<Arc<Admin>>,
    Ask(listing): Ask<Listing>,
) -> Result<Json<Vec<HostView>>, AdminError> {
    let scene = admin.system.db.read(views::scene).await?;
    let around = Around::new(&admin.system, &scene, now());
    let retired = scene.fleet.retired().iter().filter(|_| listing.all);
    Ok(Json(scene.fleet.hosts().iter().chain(retired).map(|host| view(&around, host)).collect()))
}

/// `GET /admin/v1/hosts/{name}`.
pub async fn show(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<HostDetail>, AdminError> {
    let found = admin.system.db.read(move |connection| {
        let found = load(connection, &name)?;
        let past = history::Past::load(connection, &found.host, None)?;
        Ok((found, past))
    });
    let (found, past) = found.await?;
    let around = Around::new(&admin.system, &found.scene, now());
    Ok(Json(HostDetail {
        events: history::of_host(&around, &found, &past),
        host: view(&around, &found.host),
        id: found.host.id.to_string(),
        route: route(&around, &found),
        above: moving::names(&found.host.above),
        joined: rfc3339(found.host.joined),
        certificate_generation: found.host.generation,
        twins_since: around.present(&found.host).twins_since.map(rfc3339),
        groups: found.groups.clone(),
        facts: found.told.iter().flat_map(|(_, facts)| facts.iter()).map(own).collect(),
        facts_at: found.told.as_ref().map(|(at, _)| rfc3339(*at)),
        instructions: host_lines(&around, &found),
    }))
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Names of the systems above a host, from the managing server down.
fn route(around: &Around<'_>, found: &Found) -> Vec<String> {
    let relays = found.scene.fleet.route(&found.host);
    let above = relays.iter().filter(|relay| relay.row != found.host.row).map(|relay| relay.name.clone());
    std::iter::once(around.asked().to_owned()).chain(above).collect()
}

/// `GET /admin/v1/tree`.
pub async fn tree(State(admin): State<Arc<Admin>>) -> Result<Json<TreeNode>, AdminError> {
    let scene = admin.system.db.read(views::scene).await?;
    let around = Around::new(&admin.system, &scene, now());
    let mut below: HashMap<Option<HostRow>, Vec<&HostRecord>> = HashMap::new();
    // A relay is a host of its own; in its tree it is the root.
    for host in scene.fleet.hosts().iter().filter(|host| host.id != admin.system.id) {
        below.entry(host.higher).or_default().push(host);
    }
    for hosts in below.values_mut() {
        // They come by name; a stable sort keeps that within each role, those that are silent apart.
        hosts.sort_by_key(|host| (host.role == HostRole::Client, around.is_silent(host)));
    }
    Ok(Json(TreeNode {
        name: admin.system.config.name.clone(),
        role: if admin.system.position == Position::Top { "server" } else { "relay" }.to_owned(),
        online: true,
        last_seen: None,
        fallback: None,
        silent: false,
        lower: nodes(&around, &below, None, 0),
    }))
}

type Below<'a> = HashMap<Option<HostRow>, Vec<&'a HostRecord>>;

fn nodes(around: &Around<'_>, below: &Below<'_>, higher: Option<HostRow>, depth: usize) -> Vec<TreeNode> {
    // A loop in what was stored cannot hang us.
    if depth > ROUTE_MAX {
        return Vec::new();
    }
    let hosts = below.get(&higher).map_or(&[][..], Vec::as_slice);
    let node = |host: &&HostRecord| {
        let present = around.present(host);
        TreeNode {
            name: host.name.clone(),
            role: host.role.as_str().to_owned(),
            online: present.online,
            last_seen: present.last_seen.map(rfc3339),
            fallback: around.fallback(host),
            silent: around.is_silent(host),
            lower: nodes(around, below, Some(host.row), depth + 1),
        }
    };
    hosts.iter().map(node).collect()
}
