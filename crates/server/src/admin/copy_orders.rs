//! `relay keep` and `relay drop`: orders for single copies, which travel with what else is set at the relay.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use packhorse_domain::ids::PackageId;
use packhorse_domain::ingest::Position;
use packhorse_domain::lease::Keep;
use packhorse_domain::time::Time;
use packhorse_wire::admin::{CopyOrdered, DropCopy, KeepCopy};
use packhorse_wire::bytes::Fixed;
use packhorse_wire::signed::{COPY_ORDERS_MAX, CopyOrder, KeepDoc};
use packhorse_wire::trust::Trust;
use rusqlite::Connection;

use super::format::{count, size};
use super::relays::{self, Found};
use super::request::Body;
use super::{Admin, AdminError, keep, own_copies, packages as queries};
use crate::authority::Authority;
use crate::db::hosts::HostRow;
use crate::db::{Command, DbError, control, packages, retire};
use crate::system::{System, now};

/// How long a command waits for the relay to take its order in.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked, if nothing is heard.
const LOOK: Duration = Duration::from_millis(500);
/// Names shown of those who need a copy.
const NAMES_SHOWN: usize = 3;

/// An order for one copy at one relay.
struct OrderCopy {
    authority: Arc<Authority>,
    trust: Arc<Trust>,
    relay: String,
    package: String,
    /// `None`: it is to be dropped.
    keep: Option<Keep>,
    force: bool,
    now: Time,
}

struct Ordered {
    shown: CopyOrdered,
    relay: packhorse_domain::ids::HostId,
    revision: u64,
    lower: HostRow,
}

impl Command for OrderCopy {
    type Answer = Ordered;

    fn apply(self, tx: &Connection) -> Result<Ordered, DbError> {
        let found = relays::load(tx, &self.relay)?;
        retire::in_use(&found.relay)?;
        let package = packages::resolve(tx, &queries::query(&self.package)?)?;
        let copy = found.copies.iter().find(|copy| copy.package == package.id).ok_or_else(|| {
            let message = format!("{} keeps no copy of {}", found.relay.name, package.label);
            let hint = format!("packhorse relay show {} shows what it keeps", found.relay.name);
            DbError::refused("no_copy", message, Some(&hint))
        })?;
        let (size_bytes, needed_by) = (copy.size_bytes, found.needed_by(&package.id));
        if self.keep.is_none() && needed_by > 0 && !self.force {
            return Err(needed(tx, &found, &package.id, &package.label.to_string(), size_bytes)?);
        }
        let mut doc = control::of(tx, &found.relay.id, |bytes| self.trust.control(bytes).ok())?;
        doc.copies.retain(|order| order.package != Fixed(package.id.0));
        doc.copies.push(CopyOrder {
            package: Fixed(package.id.0),
            ordered: self.now.0,
            keep: self.keep.map(|keep| match keep {
                Keep::Days(days) => KeepDoc::Days(days),
                Keep::Until(until) => KeepDoc::Until(until.0),
            }),
        });
        // The oldest have long been taken in.
        let surplus = doc.copies.len().saturating_sub(COPY_ORDERS_MAX);
        doc.copies.drain(..surplus);
        doc.zone = keep::zone_name();
        let (revision, lower) = control::set(tx, &self.authority, &found.relay, doc, self.now)?;
        let shown = CopyOrdered {
            relay: found.relay.name.clone(),
            package: package.label.to_string(),
            size_bytes,
            needed_by,
            applied: false,
        };
        Ok(Ordered { shown, relay: found.relay.id, revision, lower })
    }
}

/// Who still needs a copy, and what dropping it would cost.
fn needed(
    tx: &Connection,
    found: &Found,
    package: &PackageId,
    label: &str,
    size_bytes: u64,
) -> Result<DbError, DbError> {
    let names = crate::db::views::needing_below(tx, found.relay.row, package, NAMES_SHOWN + 1)?;
    let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
    let names = names.into_iter().take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    let message = format!(
        "{} at or below {} still need {label} ({names}{more}): dropped, it is fetched again, up to {}",
        count(found.needed_by(package), "line"),
        found.relay.name,
        size(size_bytes)
    );
    let hint = format!("packhorse relay drop {} {label} --force drops it all the same", found.relay.name);
    Ok(DbError::refused("needed", message, Some(&hint)))
}

/// `POST /admin/v1/relays/{name}/keep`.
pub async fn keep(
    State(admin): State<Arc<Admin>>,
    Path(relay): Path<String>,
    Body(order): Body<KeepCopy>,
) -> Result<Json<CopyOrdered>, AdminError> {
    let keep = keep::read(&order.keep, now())?;
    send(&admin.system, relay, order.package, Some(keep), false).await
}

/// `POST /admin/v1/relays/{name}/drop`.
pub async fn drop(
    State(admin): State<Arc<Admin>>,
    Path(relay): Path<String>,
    Body(order): Body<DropCopy>,
) -> Result<Json<CopyOrdered>, AdminError> {
    send(&admin.system, relay, order.package, None, order.force).await
}

async fn send(
    system: &Arc<System>,
    relay: String,
    package: String,
    keep: Option<Keep>,
    force: bool,
) -> Result<Json<CopyOrdered>, AdminError> {
    if system.position == Position::Relay {
        return Ok(Json(own_copies::order(system, relay, package, keep, force).await?));
    }
    let command = OrderCopy {
        authority: system.authority()?,
        trust: system.trust(),
        relay,
        package,
        keep,
        force,
        now: now(),
    };
    let mut ordered = system.db.write(command).await?;
    system.wake(&[ordered.lower]);
    ordered.shown.applied = is_applied(system, &ordered).await?;
    Ok(Json(ordered.shown))
}

/// Waits a little for the relay to take the order in.
async fn is_applied(system: &System, ordered: &Ordered) -> Result<bool, DbError> {
    let (relay, revision) = (ordered.relay, ordered.revision);
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut changes = system.watch_changes();
    loop {
        changes.borrow_and_update();
        let applied = system.db.read(move |connection| control::applied_by(connection, &relay, "control"));
        if applied.await? >= revision {
            return Ok(true);
        }
        if tokio::time::Instant::now() >= until {
            return Ok(false);
        }
        let _ = tokio::time::timeout(LOOK, changes.changed()).await;
    }
}
