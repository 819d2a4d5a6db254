//! A relay takes in packages: what open lines at or below it wait for, at their time, and what a lower system asks for.
//! One at a time for each package, whoever asks; a few packages at once. What is needed comes from the packages that are
//! there already, and only the rest from the higher system. Room is reserved before bytes are asked for; what has none
//! passes through (`copies/pass.rs`), and what is past its date goes (`copies/room.rs`).

mod manifest;
mod pass;
mod room;
mod take;
mod trouble;
mod upstream;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_content::fetch::FetchError;
use packhorse_content::store::StoreError;
use packhorse_content::through::Through;
use packhorse_domain::ids::PackageId;
use packhorse_domain::time::Time;
use packhorse_wire::envelope::EnvelopeError;
use packhorse_wire::net::LinkError;
use packhorse_wire::trust::Distrust;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::db::DbError;
use crate::db::copies::{self, Moved, Wanted};
use crate::db::transfers::{self, Settle};
use crate::hold;
use crate::system::{System, now};
pub(crate) use manifest::manifest_of;
pub use room::Room;
use upstream::MANIFEST_BYTES;

/// Packages taken in at once.
const AT_ONCE: usize = 2;
/// It is looked this often even if nothing was heard: for jobs whose time comes.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked for copies that go.
const SWEEP: Duration = Duration::from_secs(10);

/// What the parts of a relay share about its copies.
#[derive(Debug)]
pub struct Copies {
    /// Who may write how much.
    pub room: Room,
    /// Copies went, or the limit changed: there may be room.
    pub room_news: Notify,
    /// Manifests that were passed on without their packages.
    passed: tokio::sync::Mutex<manifest::Passed>,
    /// Packages that pass through.
    passing: Mutex<HashMap<PackageId, Through>>,
    /// Packages of which bytes were read since it was last written down.
    used: Mutex<HashMap<PackageId, Time>>,
    /// What was written down of packages that cannot be had.
    written: Mutex<HashMap<PackageId, trouble::Written>>,
    /// Counts what has come, or begun to come.
    news: watch::Sender<u64>,
}

impl Copies {
    /// With a limit in bytes, or with what leaves a part of the disk free.
    pub fn new(store_bytes: Option<u64>) -> Copies {
        Copies {
            room: Room::new(store_bytes),
            room_news: Notify::new(),
            passed: tokio::sync::Mutex::default(),
            passing: Mutex::default(),
            used: Mutex::default(),
            written: Mutex::default(),
            news: watch::Sender::new(0),
        }
    }

    /// Wakes when something has come, or begun to.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn changed(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// A package that passes through now.
    pub fn passing(&self, package: &PackageId) -> Option<Through> {
        lock(&self.passing).get(package).cloned()
    }

    fn passes(&self, package: PackageId, through: Option<Through>) {
        match through {
            Some(through) => drop(lock(&self.passing).insert(package, through)),
            None => drop(lock(&self.passing).remove(&package)),
        }
        self.changed();
    }

    /// Bytes of a package are read now.
    pub fn touch(&self, package: PackageId) {
        lock(&self.used).insert(package, now());
    }

    fn last_used(&self, package: &PackageId) -> Option<Time> {
        lock(&self.used).get(package).copied()
    }
}

/// A panic elsewhere leaves these maps as valid as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a package was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the manifest is larger than {MANIFEST_BYTES} bytes")]
    TooLarge,
    #[error("the manifest is not that of the package: {0}")]
    Manifest(String),
    #[error("the manifest: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error(transparent)]
    Distrust(#[from] Distrust),
    #[error("the higher system gave nothing {0} times in a row")]
    Away(u32),
    #[error("nobody waits for it any more")]
    NotWanted,
    #[error("it was told to wait")]
    Held,
    #[error("the task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl CopyError {
    /// Is the disk here full? Then the package passes through.
    fn is_no_space(&self) -> bool {
        match self {
            CopyError::Store(error) => error.is_no_space(),
            CopyError::Fetch(error) => error.is_no_space(),
            _ => false,
        }
    }
}

/// A lower system asks for a package that is not here: taken in now, whatever its time.
pub fn ask_for(system: &System, package: PackageId) {
    let mut asked = system.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
    if !asked.contains(&package) && asked.len() < 1000 {
        asked.push(package);
    }
    system.copies_news.notify_one();
}

/// Takes in what is wanted, for ever, and lets go what is past its date.
pub async fn run(system: Arc<System>) {
    let busy = Arc::new(Mutex::new(HashSet::new()));
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    if let Err(error) = room::reconcile(&system).await {
        tracing::error!(%error, "the store and what is known of it");
    }
    let mut swept: Option<Instant> = None;
    loop {
        if swept.is_none_or(|at| at.elapsed() > SWEEP) {
            swept = Some(Instant::now());
            if let Err(error) = room::sweep(&system).await {
                tracing::error!(%error, "copies that go");
            }
        }
        if let Err(error) = settle(&system).await {
            tracing::error!(%error, "transfers to this relay");
        }
        match due(&system).await {
            Ok(wanted) => {
                for package in wanted {
                    start(&system, package, &busy, &permits);
                }
            }
            Err(error) => tracing::error!(%error, "what is to be taken in cannot be read"),
        }
        let _ = tokio::time::timeout(LOOK, system.copies_news.notified()).await;
    }
}

/// Looks at once for copies that go: something else is set at this relay.
pub async fn swept(system: &Arc<System>) {
    if let Err(error) = room::sweep(system).await {
        tracing::error!(%error, "copies that go");
    }
    system.copies.room_news.notify_one();
}

/// Transfers to this relay whose time has come, or that are to end.
async fn settle(system: &System) -> Result<(), DbError> {
    let own = system.id;
    if system.db.read(move |connection| transfers::any_open(connection, &own)).await?
        && system.db.write(Settle(now())).await?
    {
        system.outbox_news.notify_one();
        system.lines_changed();
    }
    Ok(())
}

/// What may be taken in now.
async fn due(system: &System) -> Result<Vec<Wanted>, DbError> {
    let asked = std::mem::take(&mut *system.asked_for.lock().unwrap_or_else(PoisonError::into_inner));
    if hold::shut(system) {
        return Ok(Vec::new());
    }
    let at = now();
    let found = system.db.read(move |connection| {
        let mut wanted = copies::wanted(connection, at)?;
        wanted.retain(|package| package.unasked);
        for package in asked {
            if !wanted.iter().any(|known| known.package == package) {
                wanted.extend(copies::source(connection, &package)?);
            }
        }
        Ok(wanted)
    });
    found.await
}

fn start(
    system: &Arc<System>,
    wanted: Wanted,
    busy: &Arc<Mutex<HashSet<PackageId>>>,
    permits: &Arc<Semaphore>,
) {
    if !busy.lock().unwrap_or_else(PoisonError::into_inner).insert(wanted.package) {
        return;
    }
    let (system, busy, permits) = (system.clone(), busy.clone(), permits.clone());
    tokio::spawn(async move {
        let package = wanted.package;
        take::take_in(&system, wanted, &permits).await;
        busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&package);
        system.copies_news.notify_one();
    });
}

/// Writes the counters down while bytes flow, in groups: at most once a second.
pub async fn run_counters(system: Arc<System>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(traffic) = system.counted_anew() else { continue };
        let used = std::mem::take(&mut *lock(&system.copies.used)).into_iter().collect();
        match system.db.write(Moved { own: system.id, traffic, used, now: now() }).await {
            Ok(()) => {
                system.counted(&traffic);
                system.outbox_news.notify_one();
            }
            Err(error) => tracing::error!(%error, "the counters cannot be written down"),
        }
    }
}
