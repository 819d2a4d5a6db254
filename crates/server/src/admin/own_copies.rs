//! `relay keep` and `relay drop` at the relay itself: its administrator moves the dates of copies, but does not take back what
//! a higher system promised.

use std::sync::Arc;

use packhorse_domain::ids::HostId;
use packhorse_domain::job::HostRole;
use packhorse_domain::lease::{Keep, KeepOrder, Moved};
use packhorse_domain::time::Time;
use packhorse_wire::admin::CopyOrdered;
use rusqlite::Connection;

use super::format::day;
use super::{AdminError, known, may, packages as queries, relays};
use crate::db::{Command, DbError, keeping, known as known_db, packages};
use crate::system::{System, now};

/// An order for one of this relay's own copies.
struct OrderOwn {
    own: HostId,
    relay: String,
    package: String,
    /// `None`: it is to be dropped.
    keep: Option<Keep>,
    force: bool,
    now: Time,
}

impl Command for OrderOwn {
    type Answer = CopyOrdered;

    fn apply(self, tx: &Connection) -> Result<CopyOrdered, DbError> {
        let verb = if self.keep.is_some() { "relay keep" } else { "relay drop" };
        let found = relays::load(tx, &self.relay)?;
        if found.relay.id != self.own || found.relay.role != HostRole::Relay {
            let message = format!("{verb}: {} is not the relay that is asked", found.relay.name);
            return Err(DbError::refused("not_own", message, Some("ask the managing server for it")));
        }
        let package = packages::resolve(tx, &queries::query(&self.package)?)?;
        let kept = keeping::of(tx, &package.id)?.ok_or_else(|| {
            let message = format!("{verb}: there is no copy of {} here", package.label);
            DbError::refused("no_copy", message, Some("packhorse relay show shows what there is"))
        })?;
        let promised = || {
            let until = day(kept.date.promised.unwrap_or(kept.date.until), self.now);
            let message = format!("{verb}: a higher system promised to keep {} until {until}", package.label);
            let hint = "a later date is possible here; an earlier one is the managing server's to order";
            DbError::refused("promised_above", message, Some(hint))
        };
        let needed_by = found.needed_by(&package.id);
        match self.keep {
            Some(keep) => {
                let order = KeepOrder { keep, ordered: self.now, own: true };
                let moved = keeping::move_date(tx, &self.own, &package.id, &order, self.now)?;
                if moved == Some(Moved::Refused) {
                    return Err(promised());
                }
            }
            None if kept.date.promised.is_some_and(|until| until > self.now) => return Err(promised()),
            None if needed_by > 0 && !self.force => {
                let message = format!("{verb}: {needed_by} open lines below still need {}", package.label);
                return Err(DbError::refused("needed", message, Some("--force drops it all the same")));
            }
            None => known_db::let_go(tx, &package.id)?,
        }
        Ok(CopyOrdered {
            relay: found.relay.name,
            package: package.label.to_string(),
            size_bytes: kept.size_bytes,
            needed_by,
            applied: true,
        })
    }
}

/// Does it.
///
/// # Errors
/// A refusal with the command's name and the reason.
pub async fn order(
    system: &Arc<System>,
    relay: String,
    package: String,
    keep: Option<Keep>,
    force: bool,
) -> Result<CopyOrdered, AdminError> {
    may::delegation(system, if keep.is_some() { "relay keep" } else { "relay drop" })?;
    known::refresh(system).await?;
    let command = OrderOwn { own: system.id, relay, package, keep, force, now: now() };
    let ordered = system.db.write(command).await?;
    system.copies_news.notify_one();
    system.outbox_news.notify_one();
    Ok(ordered)
}
