//! A package's bytes for a lower system that shows its capability. A relay that does not keep the package begins to take it
//! in, and streams it on while it arrives.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use packhorse_content::serve::serve;
use packhorse_content::store::{Reader, StoreError};
use packhorse_content::through::Through;
use packhorse_domain::fetch::RangeSet;
use packhorse_domain::ids::PackageId;
use packhorse_domain::ingest::Position;
use packhorse_domain::job::HostRole;
use packhorse_wire::messages::{FramesRequest, ManifestRequest, RANGES_MAX};
use tokio::time::Instant;

use super::{Caller, LowerError, decode};
use crate::capability::BadCapability;
use crate::system::{System, now};

/// How long a lower system is kept waiting for a package that this relay has yet to take in.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long nothing may arrive of a package that is streamed on.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a manifest sent at once.
const PIECE_BYTES: usize = 256 << 10;

/// [`packhorse_wire::messages::MANIFEST`].
pub async fn manifest(
    State(system): State<Arc<System>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, LowerError> {
    let request: ManifestRequest = decode(&body)?;
    let package = PackageId(request.package.0);
    check(&system, &caller, &package, &request.capability)?;
    let held = may_wait(&system, &caller)?;
    let envelope = manifest_of(&system, package).await?;
    let offset = usize::try_from(request.offset).unwrap_or(usize::MAX);
    if offset > envelope.len() {
        return Err(LowerError::bad_request("the manifest is shorter than that"));
    }
    let rest = envelope.slice(offset..);
    let length = rest.len();
    let pieces: Vec<Bytes> =
        (0..length).step_by(PIECE_BYTES).map(|at| rest.slice(at..(at + PIECE_BYTES).min(length))).collect();
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<Bytes, std::io::Error>));
    let body = counted(&system, caller, held, stream);
    Ok(([(header::CONTENT_LENGTH, length.to_string())], body).into_response())
}

/// [`packhorse_wire::messages::FRAMES`].
pub async fn frames(
    State(system): State<Arc<System>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, LowerError> {
    let request: FramesRequest = decode(&body)?;
    let package = PackageId(request.package.0);
    check(&system, &caller, &package, &request.capability)?;
    let held = may_wait(&system, &caller)?;
    if request.ranges.len() > RANGES_MAX {
        return Err(LowerError::bad_request(format!("at most {RANGES_MAX} ranges at once")));
    }
    let mut ranges = RangeSet::new();
    for (start, end) in request.ranges {
        if start >= end {
            return Err(LowerError::bad_request("a range ends before it begins"));
        }
        ranges.insert(start..end);
    }
    let found = at_hand(&system, package).await?;
    let patience = if system.position == Position::Top { PATIENCE } else { ARRIVAL_PATIENCE };
    system.copies.touch(package);
    let stream = match found {
        Found::Here(reader) => serve(reader, ranges, patience),
        Found::Passing(through) => through.attach(caller.0.id, ranges, patience),
    };
    Ok(counted(&system, caller, held, stream).into_response())
}

fn check(system: &System, caller: &Caller, package: &PackageId, capability: &[u8]) -> Result<(), LowerError> {
    let why = match system.capabilities.check(capability, package, &caller.0.id, now()) {
        Ok(()) => return Ok(()),
        Err(BadCapability::Ended) => "it has ended",
        Err(BadCapability::Wrong) => "it is not for this package and this host",
    };
    Err(LowerError::new(
        StatusCode::FORBIDDEN,
        "capability",
        format!("the right to this package does not count: {why}"),
    ))
}

/// While this relay is suspended nothing goes from it to lower relays; hosts that install take what is here already. Answers
/// whether the caller is one whose transfers may have to wait.
fn may_wait(system: &System, caller: &Caller) -> Result<bool, LowerError> {
    let passes_on = caller.0.role == HostRole::Relay && caller.0.id != system.id;
    if passes_on && system.control().suspended {
        let message = format!("transfers to and through {} are suspended", system.config.name);
        return Err(LowerError::new(StatusCode::SERVICE_UNAVAILABLE, "suspended", message));
    }
    Ok(passes_on)
}

/// The manifest alone: of a package that a relay does not have it is passed on from above, and the package is not taken in.
async fn manifest_of(system: &Arc<System>, package: PackageId) -> Result<Bytes, LowerError> {
    let status = match system.position {
        Position::Relay => StatusCode::SERVICE_UNAVAILABLE,
        Position::Top => StatusCode::NOT_FOUND,
    };
    match tokio::time::timeout(PATIENCE, crate::copies::manifest_of(system, package)).await {
        Ok(Ok(envelope)) => Ok(envelope),
        Ok(Err(error)) => {
            tracing::info!(%package, %error, "its manifest is not to be had now");
            Err(not_here(system, status))
        }
        Err(_) => Err(not_here(system, status)),
    }
}

/// How a package is to be had here.
enum Found {
    /// It is in the store, or arriving there.
    Here(Reader),
    /// It has no room and passes through.
    Passing(Through),
}

/// What there is of a package. A relay that has nothing of it begins to take it in, and this waits for its beginning.
async fn at_hand(system: &Arc<System>, package: PackageId) -> Result<Found, LowerError> {
    let until = Instant::now() + PATIENCE;
    let mut news = system.copies.watch();
    let mut asked = false;
    loop {
        // Seen before looking: what comes after the look wakes us.
        news.borrow_and_update();
        let store = system.store.clone();
        let here = tokio::task::spawn_blocking(move || store.reader(&package)).await;
        match here.map_err(|error| trouble(&error))? {
            Ok(reader) => return Ok(Found::Here(reader)),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(trouble(&error)),
        }
        if let Some(through) = system.copies.passing(&package) {
            return Ok(Found::Passing(through));
        }
        if system.position == Position::Top {
            return Err(not_here(system, StatusCode::NOT_FOUND));
        }
        if !asked {
            crate::copies::ask_for(system, package);
            asked = true;
        }
        if tokio::time::timeout_at(until, news.changed()).await.is_err() {
            return Err(not_here(system, StatusCode::SERVICE_UNAVAILABLE));
        }
    }
}

fn not_here(system: &System, status: StatusCode) -> LowerError {
    LowerError::new(status, "not_here", format!("{} does not have this package yet", system.config.name))
}

fn trouble(error: &dyn std::error::Error) -> LowerError {
    tracing::error!(%error, "the store");
    let message = "this system has trouble with its store";
    LowerError::new(StatusCode::INTERNAL_SERVER_ERROR, "store", message)
}

/// A body that is paced and counted as it is taken. It ends when the caller is retired; `held`: also when this relay is suspended.
fn counted(
    system: &Arc<System>,
    caller: Caller,
    held: bool,
    stream: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Body {
    let (system, caller) = (system.clone(), Arc::new(caller));
    let stream = stream.then(move |piece| {
        let (system, caller) = (system.clone(), caller.clone());
        async move {
            if caller.is_retired(&system) {
                return Err(std::io::Error::other("the host was retired"));
            }
            if held && system.control().suspended {
                return Err(std::io::Error::other("transfers are suspended"));
            }
            if let Ok(bytes) = &piece {
                system.throttle.pass(bytes.len()).await;
                system.sent(bytes.len() as u64);
            }
            piece
        }
    });
    Body::from_stream(stream)
}
