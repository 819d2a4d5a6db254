//! A relay takes in packages: what open lines at or below it wait for, at their time, and what a lower system asks for.
//! One at a time for each package, whoever asks; a few packages at once. What is needed comes from the packages that are
//! there already, and only the rest from the higher system.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use hyper::Method;
use packhorse_content::fetch::{Body, FetchError, Progress, Source, SourceError, obtain};
use packhorse_content::manifest::Manifest;
use packhorse_content::store::{Intake, StoreError};
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::PackageId;
use packhorse_domain::time::pause_micros;
use packhorse_wire::envelope::{Envelope, EnvelopeError};
use packhorse_wire::messages::{self, FramesRequest, ManifestRequest};
use packhorse_wire::net::{Link, LinkError, cbor};
use packhorse_wire::trust::Distrust;
use serde_bytes::ByteBuf;
use tokio::sync::{Notify, Semaphore};

use crate::db::DbError;
use crate::db::copies::{self, Arrived, Moved, Wanted};
use crate::db::meta::random_incarnation;
use crate::hold;
use crate::system::{System, now};

/// Packages taken in at once.
const AT_ONCE: usize = 2;
/// Failures in a row after which a package lets others go first.
const FAILURES_MAX: u32 = 3;
/// It is looked this often even if nothing was heard: for jobs whose time comes.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of a manifest's envelope.
const MANIFEST_BYTES: usize = packhorse_content::limits::MANIFEST_BYTES + (64 << 10);
/// First and longest pause after a package could not be taken in, in seconds.
const PAUSE_SECS: (i64, i64) = (1, 60);

#[derive(Debug, thiserror::Error)]
enum CopyError {
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
    #[error("it was told to wait")]
    Held,
    #[error("the task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A lower system asks for a package that is not here: taken in now, whatever its time.
pub fn ask_for(system: &System, package: PackageId) {
    let mut asked = system.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
    if !asked.contains(&package) && asked.len() < 1000 {
        asked.push(package);
    }
    system.copies_news.notify_one();
}

/// Takes in what is wanted, for ever.
pub async fn run(system: Arc<System>) {
    let busy = Arc::new(Mutex::new(HashSet::new()));
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    loop {
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
        let error = match outcome {
            // Begun anew when it may go on.
            Ok(()) | Err(CopyError::Held) => return,
            Err(error) => error,
        };
        tracing::warn!(%package, %error, "not taken in; tried again");
        let micros = pause_micros(failures, PAUSE_SECS.0, PAUSE_SECS.1, random_incarnation().0);
        tokio::time::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0))).await;
        failures += 1;
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

/// `held` keeps the intake between tries: what is staged is not verified anew each time, and who reads it goes on.
async fn try_once(
    system: &Arc<System>,
    wanted: &Wanted,
    held: &mut Option<Arc<Intake>>,
) -> Result<(), CopyError> {
    let Some(upper) = &system.upper else { return Ok(()) };
    let store = system.store.clone();
    let package = wanted.package;
    let known = tokio::task::spawn_blocking(move || store.manifest_envelope(&package).ok()).await?;
    let envelope = match known {
        Some(envelope) => envelope,
        None => manifest(system, upper.link(), wanted).await?,
    };
    let manifest = verified(system, wanted, &envelope)?;
    let store = system.store.clone();
    let intake = tokio::task::spawn_blocking(move || store.begin(&envelope, &manifest)).await??;
    *held = Some(intake.clone());
    fill(system, upper.link(), wanted, &intake).await?;
    let finishing = intake.clone();
    tokio::task::spawn_blocking(move || finishing.finish()).await??;
    let traffic = system.traffic();
    let size_bytes = intake.manifest().unique_bytes();
    let arrived = Arrived { own: system.id, package: wanted.package, size_bytes, traffic, now: now() };
    system.db.write(arrived).await?;
    let stats = intake.stats();
    tracing::info!(package = %wanted.package, ?stats, "taken in");
    progress(system, wanted.package, 100);
    system.outbox_news.notify_one();
    system.lines_changed();
    Ok(())
}

/// Fetches a package's manifest. It is not believed yet.
async fn manifest(system: &System, link: &Link, wanted: &Wanted) -> Result<Bytes, CopyError> {
    let request = ManifestRequest {
        package: wanted.package.into(),
        capability: ByteBuf::from(wanted.capability.clone()),
        offset: 0,
    };
    let body = cbor::encode(&request).map_err(|error| CopyError::Manifest(error.to_string()))?;
    let mut stream = link.stream(Method::POST, messages::MANIFEST, body).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        system.pace.pass(piece.len(), || hold::rate(system)).await;
        system.received(piece.len() as u64);
        if bytes.len() + piece.len() > MANIFEST_BYTES {
            return Err(CopyError::TooLarge);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// A relay stores only what its packager signed and what was asked for (rule 6).
fn verified(system: &System, wanted: &Wanted, bytes: &[u8]) -> Result<Arc<Manifest>, CopyError> {
    let envelope = Envelope::decode(bytes, MANIFEST_BYTES)?;
    let trust = system.trust();
    let (keys, threshold) = trust.packagers(&wanted.cabinet)?;
    let find = |id: &packhorse_wire::envelope::KeyId| keys.iter().find(|key| key.id() == *id).copied();
    let payload = envelope.verify(packhorse_content::manifest::PAYLOAD_TYPE, find, threshold)?;
    let manifest = Manifest::parse(payload).map_err(|error| CopyError::Manifest(error.to_string()))?;
    if manifest.id() != wanted.package {
        return Err(CopyError::Manifest(format!(
            "it is {}, asked for was {}",
            manifest.id(),
            wanted.package
        )));
    }
    Ok(Arc::new(manifest))
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
    let (enough, mut failures) = (Notify::new(), 0);
    let obtaining = obtain(intake, &source, |step| match step {
        Progress::Received { plain_bytes, .. } => {
            failures = 0;
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
        () = hold::told(system, wanted.package) => Err(CopyError::Held),
        () = enough.notified() => Err(CopyError::Away(FAILURES_MAX)),
    }
}

fn progress(system: &System, package: PackageId, percent: u8) {
    let step = messages::Progress { host: system.id.into(), package: package.into(), percent };
    system.presence.progressed(&[step]);
    system.outbox_news.notify_one();
}

/// The higher system as a source of frames.
struct Upstream {
    system: Arc<System>,
    link: Link,
    wanted: Wanted,
}

impl Source for Upstream {
    fn frames<'a>(&'a self, ranges: &'a RangeSet) -> BoxFuture<'a, Result<Body, SourceError>> {
        Box::pin(async move {
            let request = FramesRequest {
                package: self.wanted.package.into(),
                capability: ByteBuf::from(self.wanted.capability.clone()),
                ranges: ranges.ranges().map(|range| (range.start, range.end)).collect(),
            };
            let body = cbor::encode(&request).map_err(|error| SourceError::Refused(error.to_string()))?;
            let stream =
                self.link.stream(Method::POST, messages::FRAMES, body).await.map_err(source_error)?;
            let system = self.system.clone();
            let counted = stream.then(move |piece| {
                let system = system.clone();
                async move {
                    let bytes = piece.map_err(|error| std::io::Error::other(error.to_string()))?;
                    system.pace.pass(bytes.len(), || hold::rate(&system)).await;
                    system.received(bytes.len() as u64);
                    Ok(bytes)
                }
            });
            Ok(counted.boxed())
        })
    }
}

fn source_error(error: LinkError) -> SourceError {
    if error.is_passing() {
        SourceError::Unavailable(error.to_string())
    } else {
        SourceError::Refused(error.to_string())
    }
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
        match system.db.write(Moved { own: system.id, traffic, now: now() }).await {
            Ok(()) => {
                written = Some(counters);
                system.outbox_news.notify_one();
            }
            Err(error) => tracing::error!(%error, "the counters cannot be written down"),
        }
    }
}
