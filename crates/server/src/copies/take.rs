//! One package taken in: its manifest first, verified; room for it; then what is missing.

use std::sync::Arc;
use std::time::Duration;

use packhorse_content::fetch::{Progress, obtain};
use packhorse_content::manifest::Manifest;
use packhorse_content::store::Intake;
use packhorse_domain::ids::PackageId;
use packhorse_domain::room::{Answer, Want};
use packhorse_domain::time::pause_micros;
use packhorse_wire::messages;
use packhorse_wire::net::Link;
use tokio::sync::{Notify, Semaphore, mpsc};

use super::manifest::manifest_of;
use super::pass::{self, Without};
use super::trouble::{self, Trouble};
use super::upstream::{Upstream, verified};
use super::{CopyError, room};
use crate::db::copies::{self, Arrived, Wanted};
use crate::db::keeping;
use crate::db::meta::random_incarnation;
use crate::db::transfers::Happened;
use crate::hold;
use crate::system::{System, now};

/// Failures in a row after which a package lets others go first.
const FAILURES_MAX: u32 = 3;
/// How often it is looked whether what is being taken in is still wanted.
const STILL: Duration = Duration::from_secs(2);
/// First and longest pause after a package could not be taken in, in seconds.
const PAUSE_SECS: (i64, i64) = (1, 60);

/// Takes one package in, however long it takes, as long as it is wanted. One that cannot be had gives way to the others
/// after each try: those that come may not wait for one that never does.
pub(super) async fn take_in(system: &Arc<System>, wanted: Wanted, permits: &Arc<Semaphore>) {
    try_on(system, wanted.clone(), permits).await;
    trouble::forget(system, &wanted);
}

async fn try_on(system: &Arc<System>, mut wanted: Wanted, permits: &Arc<Semaphore>) {
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
            let pause = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
            if let Err(error) = trouble::say(system, &wanted, &Trouble::from(&error), pause).await {
                tracing::error!(%package, %error, "what keeps it from coming cannot be written down");
            }
            tokio::time::sleep(pause).await;
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
    // Who waits below may have brought it already, to judge whether the package fits there.
    let package = wanted.package;
    let envelope = manifest_of(system, package).await?;
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
    let (mut fresh, (tell, mut troubles)) = (true, mpsc::unbounded_channel());
    let obtaining = obtain(intake, &source, |step| match step {
        Progress::Received { plain_bytes, .. } => {
            failures = 0;
            if trouble::over(system, wanted) || std::mem::take(&mut fresh) {
                first.notify_one();
            }
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
            // Whoever listens lives as long as this.
            let _ = tell.send((Trouble::from(error), pause));
        }
    });
    // What has come stays staged.
    tokio::select! {
        outcome = obtaining => Ok(outcome?),
        error = begun(system, wanted, &first) => Err(error),
        error = says_trouble(system, wanted, &mut troubles) => Err(error),
        error = no_more_wanted(system, wanted) => Err(error),
        () = hold::told(system, wanted.package) => Err(CopyError::Held),
        () = enough.notified() => Err(CopyError::Away(FAILURES_MAX)),
    }
}

/// Says, with the first piece and with the first after trouble, that a transfer to this relay goes on.
async fn begun(system: &System, wanted: &Wanted, first: &Notify) -> CopyError {
    loop {
        first.notified().await;
        if wanted.keep {
            let happened = Happened { own: system.id, package: wanted.package, reason: None, now: now() };
            match system.db.write(happened).await {
                Ok(_) => system.outbox_news.notify_one(),
                Err(error) => return error.into(),
            }
        }
    }
}

/// Says what holds it up while it is tried again.
async fn says_trouble(
    system: &System,
    wanted: &Wanted,
    troubles: &mut mpsc::UnboundedReceiver<(Trouble, Duration)>,
) -> CopyError {
    while let Some((trouble, pause)) = troubles.recv().await {
        if let Err(error) = trouble::say(system, wanted, &trouble, pause).await {
            return error.into();
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
