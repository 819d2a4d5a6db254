//! A package comes in: its signed manifest first, then the chunks that are not here, then it is registered.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use packhorse_content::fetch::{FetchError, receive};
use packhorse_content::frame::FrameError;
use packhorse_content::store::{Intake, Store, StoreError};
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::PackageId;
use packhorse_wire::admin::{Registered, Upload, UploadProgress};
use serde::Deserialize;

use super::request::{Ask, Whole};
use super::verified::{Keyring, Verified};
use super::{Admin, AdminError};
use crate::db::known::RegisterOwn;
use crate::db::packages::{self, Register};
use crate::system::now;

/// An upload that nobody goes on with is let go of after this long; what has come of it stays in staging.
const IDLE: Duration = Duration::from_secs(600);

/// Uploads that are going on: what keeps a package's intake between two requests.
#[derive(Default)]
pub struct Uploads(Mutex<HashMap<PackageId, (Arc<Intake>, Instant)>>);

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, HashMap<PackageId, (Arc<Intake>, Instant)>> {
        // Every change is one call on the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, intake: &Arc<Intake>) {
        self.lock().insert(intake.id(), (intake.clone(), Instant::now()));
    }

    fn get(&self, package: &PackageId) -> Option<Arc<Intake>> {
        let mut uploads = self.lock();
        let (intake, used) = uploads.get_mut(package)?;
        *used = Instant::now();
        Some(intake.clone())
    }

    fn end(&self, package: &PackageId) {
        self.lock().remove(package);
    }

    fn end_idle(&self) {
        self.lock().retain(|_, (_, used)| used.elapsed() < IDLE);
    }
}

/// Which cabinet.
#[derive(Deserialize)]
pub struct InCabinet {
    /// `main` if left out.
    #[serde(default = "main_cabinet")]
    cabinet: String,
}

fn main_cabinet() -> String {
    crate::init::MAIN_CABINET.to_owned()
}

/// `POST /admin/v1/uploads?cabinet=`: nothing is stored before the signature counts.
pub async fn begin(
    State(admin): State<Arc<Admin>>,
    Ask(to): Ask<InCabinet>,
    Whole(envelope): Whole,
) -> Result<Json<Upload>, AdminError> {
    let system = &admin.system;
    let (keyring, cabinet, bytes) = (Keyring::of(system), to.cabinet.clone(), envelope.clone());
    let verified = tokio::task::spawn_blocking(move || Verified::of(&keyring, &cabinet, &bytes)).await??;
    let id = verified.manifest.id();
    if let Some(known) = known(&admin, &to.cabinet, &id).await? {
        return Ok(Json(Upload { package: id.to_string(), missing: Vec::new(), known: Some(known) }));
    }
    let (store, keyring) = (system.store.clone(), Keyring::of(system));
    let begun = tokio::task::spawn_blocking(move || {
        stored_counts(&store, &id, &keyring, &to.cabinet)?;
        Ok::<_, AdminError>(store.begin(&envelope, &verified.manifest)?)
    });
    let intake = begun.await??;
    admin.uploads.keep(&intake);
    end_when_idle(&admin);
    Ok(Json(Upload { package: id.to_string(), missing: ranges(&intake.missing()), known: None }))
}

/// Content that is here already came with a signature of its own: this cabinet has to trust it too, since the bytes that were
/// received first are what is passed on.
fn stored_counts(store: &Store, id: &PackageId, keyring: &Keyring, cabinet: &str) -> Result<(), AdminError> {
    if store.has(id)? {
        Verified::of(keyring, cabinet, &store.manifest_envelope(id)?)?;
    }
    Ok(())
}

fn end_when_idle(admin: &Arc<Admin>) {
    let admin = Arc::downgrade(admin);
    tokio::spawn(async move {
        tokio::time::sleep(IDLE + Duration::from_secs(1)).await;
        if let Some(admin) = admin.upgrade() {
            admin.uploads.end_idle();
        }
    });
}

fn ranges(set: &RangeSet) -> Vec<(u32, u32)> {
    set.ranges().map(|range| (range.start, range.end)).collect()
}

async fn known(admin: &Admin, cabinet: &str, id: &PackageId) -> Result<Option<Registered>, AdminError> {
    let (cabinet, package) = (cabinet.to_owned(), *id);
    let found =
        admin.system.db.read(move |connection| packages::registered(connection, &cabinet, &package)).await?;
    Ok(found.map(|record| Registered { label: record.label.to_string(), id: id.to_string(), already: true }))
}

fn package_id(text: &str) -> Result<PackageId, AdminError> {
    text.parse().map_err(|_| AdminError::bad_request("a package's id has 64 hexadecimal digits"))
}

/// The intake of an upload, also after this server was restarted: what is in staging was verified before it came there.
async fn intake(admin: &Admin, id: PackageId) -> Result<Arc<Intake>, AdminError> {
    if let Some(intake) = admin.uploads.get(&id) {
        return Ok(intake);
    }
    let store = admin.system.store.clone();
    let found = tokio::task::spawn_blocking(move || {
        let envelope = store.manifest_envelope(&id)?;
        store.begin(&envelope, &store.manifest(&id)?)
    });
    match found.await? {
        Ok(intake) => {
            admin.uploads.keep(&intake);
            Ok(intake)
        }
        Err(StoreError::NotFound(_)) => {
            let message = "this package's manifest has not come yet";
            Err(AdminError::new(StatusCode::NOT_FOUND, "unknown_upload", message)
                .hint("packhorse package add begins again"))
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /admin/v1/uploads/{package}/frames`: streamed; what has come stays, whatever happens to the rest.
pub async fn frames(
    State(admin): State<Arc<Admin>>,
    Path(package): Path<String>,
    request: Request,
) -> Result<Json<UploadProgress>, AdminError> {
    let intake = intake(&admin, package_id(&package)?).await?;
    // Any chunk may come, each once: somebody else may be sending the same package, and what is here is passed over.
    let asked = RangeSet::full(intake.manifest().chunk_count());
    let body = request.into_body().into_data_stream();
    let body = body.map(|piece| piece.map_err(io::Error::other));
    take(&intake, asked, body).await?;
    admin.uploads.keep(&intake);
    end_when_idle(&admin);
    Ok(Json(UploadProgress { missing: ranges(&intake.missing()) }))
}

async fn take(
    intake: &Arc<Intake>,
    asked: RangeSet,
    body: impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Result<(), AdminError> {
    match receive(intake, asked, body, |_| {}).await {
        // A body that holds only a part is how an upload goes on: the answer says what is still missing.
        Ok(()) | Err(FetchError::Content(FrameError::Truncated(_))) => Ok(()),
        Err(FetchError::Content(error)) => {
            Err(AdminError::new(StatusCode::BAD_REQUEST, "bad_content", error.to_string())
                .hint("the package file is damaged: build it again"))
        }
        Err(FetchError::Line(error)) => Err(AdminError::bad_request(format!("the line broke: {error}"))),
        Err(FetchError::Write(error)) if error.is_no_space() => Err(AdminError::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "no_space",
            "the managing server's disk is full",
        )
        .hint("make room there, then packhorse package add goes on where it stopped")),
        Err(error @ FetchError::Stalled(_)) => {
            Err(AdminError::new(StatusCode::REQUEST_TIMEOUT, "stalled", error.to_string()))
        }
        Err(error) => Err(AdminError::internal("an upload", &error)),
    }
}

/// `POST /admin/v1/uploads/{package}/finish?cabinet=`.
pub async fn finish(
    State(admin): State<Arc<Admin>>,
    Path(package): Path<String>,
    Ask(to): Ask<InCabinet>,
) -> Result<Json<Registered>, AdminError> {
    let id = package_id(&package)?;
    if let Some(known) = known(&admin, &to.cabinet, &id).await? {
        return Ok(Json(known));
    }
    let intake = intake(&admin, id).await?;
    let system = &admin.system;
    let _whole = admin.content.lock().await;
    let (store, keyring, cabinet) = (system.store.clone(), Keyring::of(system), to.cabinet.clone());
    let finishing = tokio::task::spawn_blocking(move || {
        // The cabinet may be another than the one the upload was begun for, and keys may have gone meanwhile.
        let verified = Verified::of(&keyring, &cabinet, &store.manifest_envelope(&id)?)?;
        match intake.finish() {
            Ok(()) => Ok(verified),
            Err(error @ StoreError::Incomplete { .. }) => {
                Err(AdminError::new(StatusCode::CONFLICT, "incomplete", error.to_string())
                    .hint("packhorse package add sends what is missing"))
            }
            Err(error) => Err(error.into()),
        }
    });
    let verified = finishing.await??;
    let record = verified.record(&to.cabinet);
    if record.keep_until <= record.registered {
        let message = format!("the package's keeping time ({}) is in the past", record.keep);
        return Err(AdminError::new(StatusCode::CONFLICT, "past", message)
            .hint("no relay would keep it: build it anew with a later `keep`"));
    }
    let registration = match system.relay_id() {
        None => system.db.write(Register(record)).await?,
        Some(own) => {
            let (size_bytes, traffic) = (verified.manifest.unique_bytes(), system.traffic());
            let command = RegisterOwn { own, record, size_bytes, traffic, now: now() };
            let registration = system.db.write(command).await?;
            system.outbox_news.notify_one();
            registration
        }
    };
    admin.uploads.end(&id);
    tracing::info!(package = %registration.label, already = registration.already, "registered");
    Ok(Json(Registered {
        label: registration.label.to_string(),
        id: id.to_string(),
        already: registration.already,
    }))
}
