//! What is set at relays: suspended or not, limits of their lines, room. A change is the next revision of the relay's
//! document; one that is off gets the newest when it is back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::time::Time;
use packhorse_wire::admin::{ControlMade, ControlView, LimitView, NewLimits};
use packhorse_wire::signed::{ControlDoc, LIMITS_MAX, LineLimit};
use rusqlite::Connection;

use super::format::rfc3339;
use super::request::Body;
use super::{Admin, AdminError, keep, limits, relays};
use crate::authority::Authority;
use crate::db::control::{self, SetAt};
use crate::db::hosts::{HostRecord, HostRow};
use crate::db::{Command, DbError, retire};
use crate::system::{System, now};

/// A relay that is there has taken a change in within this time; who asks is not kept longer.
const ACKNOWLEDGED: Duration = Duration::from_secs(1);
/// It is looked this often meanwhile.
const LOOK: Duration = Duration::from_millis(25);

/// What is to be set.
enum Change {
    Suspended(bool),
    Limits { none: bool, down: Option<u64>, hours: Vec<(u16, u16)>, store: Option<u64> },
}

struct SetControl {
    authority: Arc<Authority>,
    relay: String,
    change: Change,
    now: Time,
}

struct Changed {
    relay: HostRecord,
    revision: u64,
    lower: Option<HostRow>,
}

impl Command for SetControl {
    type Answer = Changed;

    fn apply(self, tx: &Connection) -> Result<Changed, DbError> {
        let relay = relays::find(tx, &self.relay)?;
        retire::in_use(&relay)?;
        let before = control::of(tx, &relay.id, control::read)?;
        let doc = self.change.on(before.clone())?;
        if doc == before {
            return Ok(Changed { relay, revision: before.revision, lower: None });
        }
        let (revision, lower) = control::set(tx, &self.authority, &relay, doc, self.now)?;
        Ok(Changed { relay, revision, lower: Some(lower) })
    }
}

impl Change {
    fn on(self, mut doc: ControlDoc) -> Result<ControlDoc, DbError> {
        match self {
            Change::Suspended(suspended) => doc.suspended = suspended,
            Change::Limits { none, down, hours, store } => {
                if none {
                    (doc.down, doc.store_bytes) = (Vec::new(), None);
                }
                doc.store_bytes = store.or(doc.store_bytes);
                for limit in down.into_iter().flat_map(|rate| limits_of(rate, &hours)) {
                    doc.down.retain(|other| other.minutes != limit.minutes);
                    doc.down.push(limit);
                }
                if doc.down.len() > LIMITS_MAX {
                    let message = format!("a line has at most {LIMITS_MAX} limits");
                    let hint = "packhorse relay limit RELAY --none, and set them anew";
                    return Err(DbError::refused("limit", message, Some(hint)));
                }
                doc.zone = if doc.down.is_empty() { String::new() } else { keep::zone_name() };
            }
        }
        Ok(doc)
    }
}

fn limits_of(bits_per_sec: u64, hours: &[(u16, u16)]) -> Vec<LineLimit> {
    match hours {
        [] => vec![LineLimit { bits_per_sec, minutes: None }],
        hours => hours.iter().map(|minutes| LineLimit { bits_per_sec, minutes: Some(*minutes) }).collect(),
    }
}

/// Sets something, and answers whether the relay has it already.
async fn execute(admin: &Admin, relay: String, change: Change) -> Result<Json<ControlMade>, AdminError> {
    let system = &admin.system;
    let command = SetControl { authority: system.authority()?, relay, change, now: now() };
    let changed = system.db.write(command).await?;
    let is_new = changed.lower.is_some();
    system.wake(changed.lower.as_slice());
    if is_new {
        system.lines_changed();
    }
    Ok(Json(ControlMade {
        applied: applied(system, &changed.relay, changed.revision).await?,
        relay: changed.relay.name,
        revision: changed.revision,
        changed: is_new,
    }))
}

async fn applied(system: &System, relay: &HostRecord, revision: u64) -> Result<bool, AdminError> {
    let until = tokio::time::Instant::now() + ACKNOWLEDGED;
    loop {
        let id = relay.id;
        let taken = system.db.read(move |connection| control::applied_by(connection, &id, "control")).await?;
        let there = system.presence.now(&relay.id, now()).online;
        if taken >= revision || !there || tokio::time::Instant::now() >= until {
            return Ok(taken >= revision);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is set at a relay, as it is shown.
pub fn view(set: Option<&SetAt>) -> ControlView {
    let Some(SetAt { doc, suspended_since, applied }) = set else { return ControlView::default() };
    let limit =
        |limit: &LineLimit| LimitView { bits_per_sec: limit.bits_per_sec, hours: limits::hours_text(limit) };
    ControlView {
        suspended_since: suspended_since.map(rfc3339),
        store_bytes: doc.store_bytes,
        limits: doc.down.iter().map(limit).collect(),
        zone: doc.zone.clone(),
        revision: doc.revision,
        applied: *applied >= doc.revision,
    }
}

/// `POST /admin/v1/relays/{name}/suspend`.
pub async fn suspend(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<ControlMade>, AdminError> {
    execute(&admin, name, Change::Suspended(true)).await
}

/// `POST /admin/v1/relays/{name}/resume`.
pub async fn resume(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<ControlMade>, AdminError> {
    execute(&admin, name, Change::Suspended(false)).await
}

/// `POST /admin/v1/relays/{name}/limit`.
pub async fn limit(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Body(new): Body<NewLimits>,
) -> Result<Json<ControlMade>, AdminError> {
    let hint = "--down 20Mbit [--hours 22:00-06:00], --store 40GB, --none";
    if new == NewLimits::default() {
        return Err(AdminError::bad_request("nothing is to be set").hint(hint));
    }
    if !new.hours.is_empty() && new.down.is_none() {
        return Err(AdminError::bad_request("--hours says when a --down holds, and there is none").hint(hint));
    }
    if new.hours.len() > LIMITS_MAX {
        return Err(AdminError::bad_request(format!("a line has at most {LIMITS_MAX} limits")).hint(hint));
    }
    let change = Change::Limits {
        none: new.none,
        down: new.down.as_deref().map(limits::rate).transpose()?,
        hours: new.hours.iter().map(|hours| limits::hours(hours)).collect::<Result<_, _>>()?,
        store: new.store.as_deref().map(limits::store).transpose()?,
    };
    execute(&admin, name, change).await
}
