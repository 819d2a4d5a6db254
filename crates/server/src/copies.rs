//! A relay takes in packages: what open lines at or below it wait for, at their time, and what a lower system asks for.
//! One at a time for each package, whoever asks; a few packages at once. What is needed comes from the packages that are
//! there already, and only the rest from the higher system. Room is reserved before bytes are asked for; what has none
//! passes through (`copies/pass.rs`), and what is past its date goes (`copies/room.rs`).

mod manifest;
mod pass;
mod room;
mod upstream;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_content::fetch::{FetchError, Progress, obtain};
use packhorse_content::manifest::Manifest;
use packhorse_content::store::{Intake, StoreError};
use packhorse_content::through::Through;
use packhorse_domain::ids::PackageId;
use packhorse_domain::room::{Answer, Want};
use packhorse_domain::time::{Time, pause_micros};
use packhorse_wire::envelope::EnvelopeError;
use packhorse_wire::messages;
use packhorse_wire::net::{Link, LinkError};
use packhorse_wire::trust::Distrust;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::db::DbError;
use crate::db::copies::{self, Arrived, Moved, Wanted};
use crate::db::keeping;
use crate::db::meta::random_incarnation;
use crate::db::transfers::{self, Happened, Settle};
use crate::hold;
use crate::system::{System, now};
pub(crate) use manifest::manifest_of;
use pass::Without;
pub use room::Room;
use upstream::{MANIFEST_BYTES, Upstream, manifest, verified};

/// Packages taken in at once.
const AT_ONCE: usize = 2;
/// Failures in a row after which a package lets others go first.
const FAILURES_MAX: u32 = 3;
/// It is looked this often even if nothing was heard: for jobs whose time comes.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked for copies that go.
const SWEEP: Duration = Duration::from_secs(10);
/// How often it is looked whether what is being taken in is still wanted.
const STILL: Duration = Duration::from_secs(2);
/// First and longest pause after a package could not be taken in, in seconds.
const PAUSE_SECS: (i64, i64) = (1, 60);

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
        wanted.retain(|package| package.starts <= at);
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
        take_in(&system, wanted, &permits).await;
        busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&package);
        system.copies_news.notify_one();
    });
}

/// Takes one package in, however long it takes, as long as it is wanted. One that cannot be had gives way to the others
/// after each try: those that come may not wait for one that never does.
async fn take_in(system: &Arc<System>, mut wanted: Wanted, permits: &Arc<Semaphore>) {
    let package = wanted.package;
    let (mut failures, mut held) = (0, None);
    loop {
        let Ok(permit) = permits.acquire().await else { return };
        let outcome = try_once(system, &wanted, &mut held).await;
        drop(permit);
        let outcome = match outcome {
            // Begun anew when it may go on.
            Ok(None) | Err(CopyError::NotWanted | CopyError::Held) => return,
            Ok(Some(without)) => {
                held = None;
                match pass::pass(system, &wanted, without).await {
                    Err(CopyError::Held) => return,
                    passed => passed,
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%package, %error, "not taken in; tried again");
            let micros = pause_micros(failures, PAUSE_SECS.0, PAUSE_SECS.1, random_incarnation().0);
            tokio::time::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0))).await;
            failures += 1;
        }
        // Looked at anew: the job may have been cancelled, and a higher system that was replaced gives other capabilities.
        // Whoever below still needs what no open line does asks for it again.
        let still = system.db.read(move |connection| {
            let open = copies::wanted(connection, now())?;
            Ok(open.into_iter().any(|open| open.package == package))
        });
        if !matches!(still.await, Ok(true)) {
            return;
        }
        match system.db.read(move |connection| copies::source(connection, &package)).await {
            Ok(Some(still)) => wanted = still,
            Ok(None) | Err(_) => return,
        }
    }
}

/// Takes a package in; answers what is to pass through if there is no room for it. `held` keeps the intake between tries:
/// what is staged is not verified anew each time, and who reads it goes on.
async fn try_once(
    system: &Arc<System>,
    wanted: &Wanted,
    held: &mut Option<Arc<Intake>>,
) -> Result<Option<Without>, CopyError> {
    let Some(upper) = &system.upper else { return Ok(None) };
    let store = system.store.clone();
    let package = wanted.package;
    let known = tokio::task::spawn_blocking(move || store.manifest_envelope(&package).ok()).await?;
    let envelope = match known {
        Some(envelope) => envelope,
        None => manifest(system, upper.link(), wanted).await?,
    };
    let manifest = verified(system, wanted, &envelope)?;
    let (store, signed, parsed) = (system.store.clone(), envelope.clone(), manifest.clone());
    let intake = match tokio::task::spawn_blocking(move || store.begin(&signed, &parsed)).await? {
        Err(error) if error.is_no_space() => return without(system, envelope, manifest).await.map(Some),
        intake => intake?,
    };
    *held = Some(intake.clone());
    let want = if wanted.keep { Want::Keep } else { Want::Pass };
    let room = if intake.is_finished() {
        Answer::Granted { drop: Vec::new() }
    } else {
        room::reserve(system, &intake, want).await?
    };
    if !matches!(room, Answer::Granted { .. }) {
        return give_up(&intake, envelope, false).await.map(Some);
    }
    system.copies.changed();
    let filled = match fill(system, upper.link(), wanted, &intake).await {
        Ok(()) => {
            let finishing = intake.clone();
            tokio::task::spawn_blocking(move || finishing.finish()).await?.map_err(CopyError::from)
        }
        Err(error) => Err(error),
    };
    match filled {
        Ok(()) => arrived(system, wanted.package, &intake).await.map(|()| None),
        // The disk filled up under it: what has come is used, the rest passes through.
        Err(error) if error.is_no_space() => {
            tracing::warn!(%package, %error, "the disk is full");
            give_up(&intake, envelope, true).await.map(Some)
        }
        Err(error) => {
            // What is reserved and may not be needed for long is given back between tries.
            tokio::task::spawn_blocking(move || intake.give_back()).await??;
            Err(error)
        }
    }
}

/// A package of which nothing can be written.
async fn without(
    system: &Arc<System>,
    envelope: bytes::Bytes,
    manifest: Arc<Manifest>,
) -> Result<Without, CopyError> {
    let store = system.store.clone();
    let local = tokio::task::spawn_blocking(move || store.reader_of_parts(&manifest)).await??;
    let needed_bytes = local.manifest().bytes_of(&local.missing()) + envelope.len() as u64;
    Ok(Without { local, envelope, needed_bytes, full: true })
}

/// A package that does not arrive any more: what came of it stays, and is read from.
async fn give_up(intake: &Arc<Intake>, envelope: bytes::Bytes, full: bool) -> Result<Without, CopyError> {
    let needed_bytes = intake.needed_bytes();
    intake.give_up();
    let (back, local) = (intake.clone(), intake.reader());
    tokio::task::spawn_blocking(move || back.give_back()).await??;
    Ok(Without { local, envelope, needed_bytes, full })
}

/// Whole and durable: written down and said, with the lines that waited for it.
async fn arrived(system: &Arc<System>, package: PackageId, intake: &Arc<Intake>) -> Result<(), CopyError> {
    let earlier =
        system.db.read(move |connection| keeping::earlier_generations(connection, &package)).await?;
    let (store, new) = (system.store.clone(), intake.manifest().clone());
    let same = move || earlier.into_iter().filter(|id| is_same_content(&store, id, &new)).collect::<Vec<_>>();
    let same_content = tokio::task::spawn_blocking(same).await?;
    let size_bytes = intake.manifest().unique_bytes();
    let traffic = system.traffic();
    let arrived = Arrived { own: system.id, package, size_bytes, same_content, traffic, now: now() };
    system.db.write(arrived).await?;
    tracing::info!(%package, stats = ?intake.stats(), "taken in");
    progress(system, package, 100);
    system.copies.changed();
    system.outbox_news.notify_one();
    system.lines_changed();
    Ok(())
}

fn is_same_content(store: &packhorse_content::store::Store, earlier: &PackageId, new: &Manifest) -> bool {
    store.manifest(earlier).is_ok_and(|earlier| earlier.differs_in_keep_only(new))
}

async fn fill(
    system: &Arc<System>,
    link: &Link,
    wanted: &Wanted,
    intake: &Arc<Intake>,
) -> Result<(), CopyError> {
    let source = Upstream { system: system.clone(), link: link.clone(), wanted: wanted.clone() };
    let total = intake.manifest().unique_bytes().max(1);
    let mut here = total.saturating_sub(intake.manifest().bytes_of(&intake.missing()));
    let mut told = None;
    let (enough, first, mut failures) = (Notify::new(), Notify::new(), 0);
    let obtaining = obtain(intake, &source, |step| match step {
        Progress::Received { plain_bytes, .. } => {
            failures = 0;
            first.notify_one();
            here += plain_bytes;
            let percent = u8::try_from((here * 100 / total).min(99)).unwrap_or(99);
            if told != Some(percent) {
                told = Some(percent);
                progress(system, wanted.package, percent);
            }
        }
        Progress::Waiting { error, pause } => {
            tracing::info!(package = %wanted.package, %error, ?pause, "waiting for the higher system");
            failures += 1;
            if failures >= FAILURES_MAX {
                enough.notify_one();
            }
        }
    });
    // What has come stays staged.
    tokio::select! {
        outcome = obtaining => Ok(outcome?),
        error = begun(system, wanted, &first) => Err(error),
        error = no_more_wanted(system, wanted) => Err(error),
        () = hold::told(system, wanted.package) => Err(CopyError::Held),
        () = enough.notified() => Err(CopyError::Away(FAILURES_MAX)),
    }
}

/// Says, with the first piece, that a transfer to this relay has begun.
async fn begun(system: &System, wanted: &Wanted, first: &Notify) -> CopyError {
    first.notified().await;
    if wanted.keep {
        let happened = Happened { own: system.id, package: wanted.package, reason: None, now: now() };
        match system.db.write(happened).await {
            Ok(_) => system.outbox_news.notify_one(),
            Err(error) => return error.into(),
        }
    }
    std::future::pending().await
}

/// Ends when open lines wanted a package and none does any more. What a lower system asked for by itself goes on.
async fn no_more_wanted(system: &System, wanted: &Wanted) -> CopyError {
    let package = wanted.package;
    let mut was_wanted = false;
    loop {
        let open = system.db.read(|connection| copies::wanted(connection, now())).await;
        match open.map(|open| open.into_iter().any(|open| open.package == package)) {
            Ok(true) => was_wanted = true,
            Ok(false) if was_wanted => return CopyError::NotWanted,
            Ok(false) => {}
            Err(error) => return error.into(),
        }
        tokio::time::sleep(STILL).await;
    }
}

fn progress(system: &System, package: PackageId, percent: u8) {
    let step = messages::Progress { host: system.id.into(), package: package.into(), percent };
    system.presence.progressed(&[step]);
    system.outbox_news.notify_one();
}

/// Writes the counters down while bytes flow, in groups: at most once a second.
pub async fn run_counters(system: Arc<System>) {
    // Nothing was written yet: a relay tells its room before the first byte flows, so that plans know it.
    let mut written = None;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let traffic = system.traffic();
        let counters = (traffic.received_bytes, traffic.sent_bytes);
        if written == Some(counters) {
            continue;
        }
        let used = std::mem::take(&mut *lock(&system.copies.used)).into_iter().collect();
        match system.db.write(Moved { own: system.id, traffic, used, now: now() }).await {
            Ok(()) => {
                written = Some(counters);
                system.outbox_news.notify_one();
            }
            Err(error) => tracing::error!(%error, "the counters cannot be written down"),
        }
    }
}
