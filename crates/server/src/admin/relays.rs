//! Relay systems, what they keep, and what was refused.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::ids::{PackageId, PackageLabel};
use packhorse_domain::job::HostRole;
use packhorse_domain::report::Traffic;
use packhorse_wire::admin::{AlarmView, RelayPackage, RelaySummary, RelayView};
use rusqlite::Connection;

use super::around::Around;
use super::format::rfc3339;
use super::{Admin, AdminError, control, grants};
use crate::db::DbError;
use crate::db::control::{self as db_control, SetAt};
use crate::db::hosts::{self, HostRecord};
use crate::db::views::{self, CopyRecord};
use crate::system::now;

/// Most alarms of one answer.
const ALARMS_MAX: u32 = 1000;

/// A relay with all that is shown of it.
pub struct Found {
    /// The relay.
    pub relay: HostRecord,
    /// What it keeps.
    pub copies: Vec<CopyRecord>,
    /// Its counters and room, as it last said.
    pub traffic: Option<Traffic>,
    /// Open lines at or below it, by package.
    pub needed: HashMap<PackageId, u64>,
    /// What is set at it.
    pub set: Option<SetAt>,
    /// Names of packages.
    pub labels: HashMap<PackageId, PackageLabel>,
}

impl Found {
    /// A package as people write it.
    pub fn label(&self, package: &PackageId) -> String {
        self.labels.get(package).map_or_else(|| package.to_string(), ToString::to_string)
    }

    /// How many open lines need a package.
    pub fn needed_by(&self, package: &PackageId) -> u64 {
        self.needed.get(package).copied().unwrap_or(0)
    }
}

/// A relay by its name, also one that was retired: whoever changes something at it asks [`crate::db::retire::in_use`], too.
///
/// # Errors
/// There is none of that name, or the database's.
pub fn find(connection: &Connection, name: &str) -> Result<HostRecord, DbError> {
    let unknown = || {
        let shown: String = name.chars().take(80).collect();
        let hint = "packhorse relay list shows the relay systems";
        DbError::refused("unknown_relay", format!("there is no relay system {shown}"), Some(hint))
    };
    let relay = hosts::by_name(connection, name)?.filter(|host| host.role == HostRole::Relay);
    relay.ok_or_else(unknown)
}

/// Loads a relay.
///
/// # Errors
/// There is none of that name, or the database's.
pub fn load(connection: &Connection, name: &str) -> Result<Found, DbError> {
    let relay = find(connection, name)?;
    let mut copies = views::copies(connection)?;
    copies.retain(|copy| copy.relay == relay.row);
    Ok(Found {
        copies,
        traffic: views::traffic(connection)?.remove(&relay.row),
        set: db_control::all(connection)?.remove(&relay.row),
        needed: views::needed_below(connection, relay.row)?,
        labels: views::labels(connection)?,
        relay,
    })
}

/// `GET /admin/v1/relays`.
pub async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<RelaySummary>>, AdminError> {
    let (scene, traffic) = admin
        .system
        .db
        .read(|connection| Ok((views::scene(connection)?, views::traffic(connection)?)))
        .await?;
    let around = Around::new(&admin.system, &scene, now());
    let mut kept: HashMap<i64, u64> = HashMap::new();
    for (relay, _) in &scene.copies {
        *kept.entry(*relay).or_default() += 1;
    }
    let relays = scene.fleet.hosts().iter().filter(|host| host.role == HostRole::Relay);
    let summary = |relay: &HostRecord| {
        let traffic = traffic.get(&relay.row).copied().unwrap_or_default();
        RelaySummary {
            name: relay.name.clone(),
            higher: around.higher(relay).to_owned(),
            online: around.present(relay).online,
            packages: kept.get(&relay.row).copied().unwrap_or(0),
            used_bytes: traffic.used_bytes,
            free_bytes: traffic.free_bytes,
        }
    };
    Ok(Json(relays.map(summary).collect()))
}

/// `GET /admin/v1/relays/{name}`.
pub async fn show(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<RelayView>, AdminError> {
    let own = admin.system.id;
    let read = admin.system.db.read(move |connection| {
        let found = load(connection, &name)?;
        let granted = grants::shown(connection, &found.relay, &own)?;
        Ok((found, granted))
    });
    let (found, granted) = read.await?;
    let traffic = found.traffic.unwrap_or_default();
    let mut packages: Vec<RelayPackage> = found
        .copies
        .iter()
        .map(|copy| RelayPackage {
            package: found.label(&copy.package),
            keep_until: rfc3339(copy.keep_until),
            size_bytes: copy.size_bytes,
            needed_by: found.needed_by(&copy.package),
        })
        .collect();
    packages.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(Json(RelayView {
        name: found.relay.name,
        packages,
        received_bytes: traffic.received_bytes,
        sent_bytes: traffic.sent_bytes,
        used_bytes: traffic.used_bytes,
        free_bytes: traffic.free_bytes,
        granted,
        control: control::view(found.set.as_ref()),
    }))
}

/// `GET /admin/v1/alarms`: the newest first.
pub async fn alarms(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<AlarmView>>, AdminError> {
    let found = admin.system.db.read(|connection| views::alarms(connection, ALARMS_MAX)).await?;
    let view = |alarm: views::AlarmRecord| AlarmView {
        host: alarm.host,
        at: rfc3339(alarm.at),
        code: alarm.code,
        text: alarm.text,
    };
    Ok(Json(found.into_iter().map(view).collect()))
}
