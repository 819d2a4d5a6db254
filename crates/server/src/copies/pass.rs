//! A package that has no room here passes through to those below who wait for it, once for all of them, until it has room
//! or nobody wants it any more. A transfer to this relay waits meanwhile, and says why.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packhorse_content::store::Reader;
use packhorse_content::through::Through;
use packhorse_domain::ids::PackageId;
use packhorse_domain::reason::{Code, NextTry, Reason};
use packhorse_domain::room::NoRoom;
use packhorse_domain::time::Time;
use tokio::time::Instant;

use super::trouble::{self, Trouble};
use super::upstream::Upstream;
use super::{CopyError, room};
use crate::admin::format::{day, size};
use crate::db::copies::{self, Wanted};
use crate::db::transfers::Happened;
use crate::hold;
use crate::system::{System, now};

/// How often it is looked whether there is room now.
const LOOK: Duration = Duration::from_secs(2);
/// Nobody has asked for it for so long, and nobody below waits for it: it passes through no more.
const IDLE: Duration = Duration::from_secs(30);
/// After the disk turned out to be full, it is believed to be for so long, whatever is measured.
const FULL: Duration = Duration::from_secs(10);

/// A package without room.
pub(super) struct Without {
    /// What is here of it.
    pub(super) local: Reader,
    /// Its signed manifest.
    pub(super) envelope: Bytes,
    /// Bytes it would need.
    pub(super) needed_bytes: u64,
    /// The disk itself said that it is full.
    pub(super) full: bool,
}

/// Passes a package on until it is to be looked at anew.
pub(super) async fn pass(system: &Arc<System>, wanted: &Wanted, without: Without) -> Result<(), CopyError> {
    let Some(upper) = &system.upper else { return Ok(()) };
    let through = Through::new(without.local, without.envelope);
    system.copies.passes(wanted.package, Some(through.clone()));
    tracing::info!(package = %wanted.package, needed_bytes = without.needed_bytes, "no room; it passes through");
    let source = Upstream { system: system.clone(), link: upper.link().clone(), wanted: wanted.clone() };
    let outcome = tokio::select! {
        outcome = through.run(&source) => outcome.map_err(CopyError::from),
        () = hold::told(system, wanted.package) => Err(CopyError::Held),
        outcome = until_anew(system, wanted, &through, without.needed_bytes, without.full) => outcome,
    };
    system.copies.passes(wanted.package, None);
    through.close();
    let stats = through.stats();
    tracing::info!(package = %wanted.package, ?stats, "passes through no more");
    outcome
}

async fn until_anew(
    system: &Arc<System>,
    wanted: &Wanted,
    through: &Through,
    needed_bytes: u64,
    full: bool,
) -> Result<(), CopyError> {
    let began = Instant::now();
    loop {
        let no_room = room::no_room(system, wanted.package, needed_bytes).await?;
        // The ledger has just said no, or the file system did what the ledger cannot see (a quota): not asked again at once.
        let believed = began.elapsed() < if full { FULL } else { LOOK };
        if no_room.is_none() && !believed && through.idle().is_some() {
            return Ok(());
        }
        match through.trouble() {
            Some(text) => trouble::say(system, wanted, &Trouble::of_line(&text), LOOK).await?,
            // A piece that came by is a sign that it goes on; so is that nobody waits.
            None if through.stats().fetched_bytes > 0 => drop(trouble::over(system, wanted)),
            None => {}
        }
        if wanted.keep {
            let no_room = no_room.unwrap_or(NoRoom { needed_bytes, free_bytes: 0, next_goes: None });
            say(system, wanted.package, no_room).await?;
        }
        if through.idle().is_some_and(|idle| idle > IDLE) && !is_wanted(system, wanted.package).await? {
            return Ok(());
        }
        let _ = tokio::time::timeout(LOOK, system.copies.room_news.notified()).await;
    }
}

async fn is_wanted(system: &System, package: PackageId) -> Result<bool, CopyError> {
    let wanted = system.db.read(|connection| copies::wanted(connection, now())).await?;
    Ok(wanted.into_iter().any(|wanted| wanted.package == package))
}

/// A transfer to this relay waits for room: said upwards when it is new.
async fn say(system: &Arc<System>, package: PackageId, no_room: NoRoom) -> Result<(), CopyError> {
    let at = now();
    let detail = detail(&system.config.name, &no_room, at);
    let (drop, limit_bytes) = room::could_go(system, no_room.needed_bytes - no_room.free_bytes).await?;
    let mut clear = Vec::new();
    if let Some(drop) = drop {
        let label = room::label(system, drop).await?;
        clear.push(format!("packhorse relay drop {} {label}", system.config.name));
    }
    let limit = (limit_bytes + no_room.needed_bytes - no_room.free_bytes).div_ceil(1_000_000);
    let limit = if limit >= 1000 { format!("{}GB", limit.div_ceil(1000)) } else { format!("{limit}MB") };
    clear.push(format!("packhorse relay limit {} --store {limit}", system.config.name));
    let next = no_room.next_goes.map_or(NextTry::WhenCleared, NextTry::At);
    let reason = Reason::new(Code::NoRoom, &system.config.name, at, next, &clear.join("   or   "), &detail);
    let happened = Happened { own: system.id, package, reason: Some(reason), now: at };
    if system.db.write(happened).await? {
        system.outbox_news.notify_one();
        system.lines_changed();
    }
    Ok(())
}

/// "osaka has no room: 4.1 GB needed, 1.2 GB free, next copy goes 3 Dec".
fn detail(name: &str, no_room: &NoRoom, now: Time) -> String {
    let next = no_room.next_goes.map(|at| format!(", next copy goes {}", day(at, now))).unwrap_or_default();
    let (needed, free) = (size(no_room.needed_bytes), size(no_room.free_bytes));
    format!("{name} has no room: {needed} needed, {free} free{next}")
}
