//! Room in a relay's store: `domain::room` decides, this measures, reserves and drops.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use packhorse_content::store::{Intake, StoreError};
use packhorse_domain::ids::PackageId;
use packhorse_domain::lease;
use packhorse_domain::room::{Answer, Copy, Ledger, NoRoom, Want};
use packhorse_domain::time::Time;

use super::CopyError;
use crate::db::DbError;
use crate::db::keeping::{self, Gone, Kept};
use crate::system::{System, now};

/// How often room is made and asked for again before it counts as not there: what is dropped frees room only once.
const TRIES: u32 = 4;

/// The ledger and what it is measured with.
#[derive(Debug, Default)]
pub struct Room {
    ledger: Mutex<Ledger>,
    /// What the store may take, as the relay was started.
    started_bytes: Option<u64>,
    /// Intakes whose room the file system could not take at once: what they still need is counted.
    counted: Mutex<HashMap<PackageId, Weak<Intake>>>,
}

/// What the database says that the ledger has to know.
pub(super) struct Facts {
    kept: Vec<Kept>,
    needed: HashSet<PackageId>,
}

/// Reads them.
pub(super) async fn facts(system: &System) -> Result<Facts, DbError> {
    let at = now();
    let read = move |connection: &rusqlite::Connection| {
        Ok(Facts { kept: keeping::all(connection)?, needed: keeping::needed(connection, at)? })
    };
    system.db.read(read).await
}

impl Room {
    /// With a limit, or with what leaves a part of the disk free.
    pub fn new(started_bytes: Option<u64>) -> Room {
        Room { started_bytes, ..Room::default() }
    }

    /// What may be written now without anything giving way, in bytes.
    pub fn free_bytes(&self, system: &System) -> Result<u64, StoreError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.measure(system, &mut ledger)?;
        Ok(ledger.available())
    }

    fn measure(&self, system: &System, ledger: &mut Ledger) -> Result<(), StoreError> {
        ledger.limit_bytes = system.control().store_bytes.or(self.started_bytes);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = BTreeMap::new();
        counted.retain(|package, intake| {
            let open = intake.upgrade().filter(|intake| !intake.is_finished() && !intake.is_given_up());
            left.extend(open.as_ref().map(|intake| (*package, intake.needed_bytes())));
            open.is_some()
        });
        ledger.measured(system.store.disk()?, &left);
        Ok(())
    }

    /// Everything the ledger decides by, as it is now.
    fn look(&self, system: &System, ledger: &mut Ledger, facts: &Facts) -> Result<(), StoreError> {
        self.measure(system, ledger)?;
        let space = system.store.space()?;
        let dates: HashMap<PackageId, &Kept> = facts.kept.iter().map(|kept| (kept.package, kept)).collect();
        ledger.packs = space.packs;
        let copy = |copy: packhorse_content::store::CopySpace| {
            let kept = dates.get(&copy.id);
            let used = system.copies.last_used(&copy.id).unwrap_or_default();
            Copy {
                package: copy.id,
                // One that was just written and is not in the database yet is nobody's to drop.
                keep_until: kept.map_or(Time::MAX, |kept| kept.date.until),
                last_used: kept.map_or(used, |kept| kept.last_used.max(used)),
                pinned: copy.pinned,
                needed: facts.needed.contains(&copy.id),
                packs: copy.packs,
            }
        };
        ledger.copies = space.copies.into_iter().map(copy).collect();
        Ok(())
    }

    fn ask(
        &self,
        system: &System,
        facts: &Facts,
        intake: &Arc<Intake>,
        want: Want,
    ) -> Result<Answer, StoreError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(system, &mut ledger, facts)?;
        let needed_bytes = intake.needed_bytes();
        let answer = ledger.reserve(intake.id(), needed_bytes, want, now());
        if !matches!(&answer, Answer::Granted { drop } if drop.is_empty()) {
            return Ok(answer);
        }
        match intake.reserve() {
            // Taken from the file system: from now on it is in the measure.
            Ok(true) => ledger.release(&intake.id()),
            Ok(false) => {
                let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.insert(intake.id(), Arc::downgrade(intake));
            }
            // Somebody else was faster.
            Err(error) if error.is_no_space() => {
                ledger.release(&intake.id());
                let free_bytes = ledger.disk.free_bytes.min(needed_bytes.saturating_sub(1));
                return Ok(match want {
                    Want::Pass => Answer::StreamThrough,
                    Want::Keep => Answer::Wait(NoRoom { needed_bytes, free_bytes, next_goes: None }),
                });
            }
            Err(error) => return Err(error),
        }
        Ok(answer)
    }

    /// Whether bytes would fit now, if all that may give way gave way; else why not.
    fn fits(
        &self,
        system: &System,
        facts: &Facts,
        package: PackageId,
        bytes: u64,
    ) -> Result<Answer, StoreError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(system, &mut ledger, facts)?;
        let mut trial = ledger.clone();
        Ok(trial.reserve(package, bytes, Want::Keep, now()))
    }
}

/// Reserves what an intake needs, and makes room for it where copies may give way. Answers [`Answer::Granted`] with nothing
/// left to drop, or that there is no room.
pub(super) async fn reserve(
    system: &Arc<System>,
    intake: &Arc<Intake>,
    want: Want,
) -> Result<Answer, CopyError> {
    for _ in 0..TRIES {
        let facts = facts(system).await?;
        let (own, asking) = (system.clone(), intake.clone());
        let asked =
            tokio::task::spawn_blocking(move || own.copies.room.ask(&own, &facts, &asking, want)).await??;
        match asked {
            Answer::Granted { drop } if !drop.is_empty() => drop_copies(system, drop, true).await?,
            answer => return Ok(answer),
        }
    }
    Ok(Answer::StreamThrough)
}

/// Why a package has no room now; `None`: it would fit.
pub(super) async fn no_room(
    system: &Arc<System>,
    package: PackageId,
    bytes: u64,
) -> Result<Option<NoRoom>, CopyError> {
    let facts = facts(system).await?;
    let own = system.clone();
    let look = move || own.copies.room.fits(&own, &facts, package, bytes);
    match tokio::task::spawn_blocking(look).await?? {
        Answer::Wait(no_room) => Ok(Some(no_room)),
        Answer::Granted { .. } | Answer::StreamThrough => Ok(None),
    }
}

/// A copy that could be dropped by hand for a package that has no room, and the store's limit: for a sentence.
pub(super) async fn could_go(
    system: &Arc<System>,
    bytes: u64,
) -> Result<(Option<PackageId>, u64), CopyError> {
    let facts = facts(system).await?;
    let own = system.clone();
    let look = move || -> Result<(Option<PackageId>, u64), StoreError> {
        let mut ledger = own.copies.room.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        own.copies.room.look(&own, &mut ledger, &facts)?;
        let mut copies: Vec<(bool, bool, Time, PackageId)> = ledger
            .copies
            .iter()
            .map(|copy| (copy.needed, ledger.frees(&copy.package) < bytes, copy.last_used, copy.package))
            .collect();
        copies.sort_unstable();
        Ok((copies.first().map(|(.., package)| *package), ledger.limit()))
    };
    Ok(tokio::task::spawn_blocking(look).await??)
}

/// Drops copies from the store and from the database, and says so; `let_go`: they are not lost. One that somebody still
/// writes stays.
async fn drop_copies(system: &Arc<System>, packages: Vec<PackageId>, let_go: bool) -> Result<(), CopyError> {
    let own = system.clone();
    let removed = tokio::task::spawn_blocking(move || {
        let gone = packages.into_iter().filter(|package| match own.store.remove(package) {
            Ok(()) | Err(StoreError::NotFound(_)) => true,
            Err(error) => {
                tracing::warn!(%package, %error, "a copy cannot be dropped");
                false
            }
        });
        (gone.collect::<Vec<_>>(), own.traffic())
    });
    let (packages, traffic) = removed.await?;
    for package in &packages {
        tracing::info!(%package, "dropped");
    }
    system.db.write(Gone { own: system.id, packages, let_go, traffic, now: now() }).await?;
    system.outbox_news.notify_one();
    system.copies_news.notify_one();
    system.lines_changed();
    Ok(())
}

/// Lets go what is past its date or was ordered to go, and throws away what began to arrive and nobody waits for any more.
pub(super) async fn sweep(system: &Arc<System>) -> Result<(), CopyError> {
    let facts = facts(system).await?;
    let at = now();
    let own = system.clone();
    let goes = move || {
        let going = |kept: &&Kept| {
            let read = own.store.is_read(&kept.package);
            let needed = facts.needed.contains(&kept.package);
            (kept.dropping && !read) || lease::lets_go(kept.date.until, kept.arrived, needed, read, at)
        };
        let going: Vec<PackageId> = facts.kept.iter().filter(going).map(|kept| kept.package).collect();
        let staged = own.store.staged().unwrap_or_default();
        for package in staged.into_iter().filter(|package| !facts.needed.contains(package)) {
            // Who still takes it in has its hand on it.
            if own.store.abandon(&package).is_ok() {
                tracing::info!(%package, "what had come of it is thrown away: nobody waits for it any more");
            }
        }
        going
    };
    let going = tokio::task::spawn_blocking(goes).await?;
    if going.is_empty() { Ok(()) } else { drop_copies(system, going, true).await }
}

/// What the database and the store say differs after a kill, or on a disk that was replaced: the store is right about what
/// is here, the database about what is wanted.
pub(super) async fn reconcile(system: &Arc<System>) -> Result<(), CopyError> {
    let kept = system.db.read(keeping::all).await?;
    let wanted = system.db.read(|connection| keeping::needed(connection, now())).await?;
    let own = system.clone();
    let compared = tokio::task::spawn_blocking(move || -> Result<Vec<PackageId>, StoreError> {
        let here: HashSet<PackageId> = own.store.list()?.into_iter().map(|package| package.id).collect();
        let known: HashSet<PackageId> = kept.iter().map(|kept| kept.package).collect();
        for package in here.iter().filter(|package| !known.contains(package) && !wanted.contains(package)) {
            own.store.remove(package)?;
        }
        Ok(known.into_iter().filter(|package| !here.contains(package)).collect())
    });
    let lost = compared.await??;
    if lost.is_empty() {
        return Ok(());
    }
    tracing::warn!(copies = lost.len(), "copies are not in the store any more");
    drop_copies(system, lost, false).await
}

/// A package as people write it.
pub(super) async fn label(system: &System, package: PackageId) -> Result<String, DbError> {
    system.db.read(move |connection| keeping::label(connection, &package)).await
}
