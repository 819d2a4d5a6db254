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
use packhorse_content::store::StoreError;
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
    let envelope = at_hand(&system, &package, move |store| store.manifest_envelope(&package)).await?;
    let offset = usize::try_from(request.offset).unwrap_or(usize::MAX);
    if offset > envelope.len() {
        return Err(LowerError::bad_request("the manifest is shorter than that"));
    }
    let rest = envelope.slice(offset..);
    let length = rest.len();
    let pieces: Vec<Bytes> =
        (0..length).step_by(PIECE_BYTES).map(|at| rest.slice(at..(at + PIECE_BYTES).min(length))).collect();
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<Bytes, std::io::Error>));
    Ok(([(header::CONTENT_LENGTH, length.to_string())], counted(&system, held, stream)).into_response())
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
    let reader = at_hand(&system, &package, move |store| store.reader(&package)).await?;
    let patience = if system.position == Position::Top { PATIENCE } else { ARRIVAL_PATIENCE };
    Ok(counted(&system, held, serve(reader, ranges, patience)).into_response())
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

/// What the store has of a package. A relay that has nothing of it begins to take it in, and this waits for its beginning.
async fn at_hand<T: Send + 'static>(
    system: &Arc<System>,
    package: &PackageId,
    look: impl Fn(&packhorse_content::store::Store) -> Result<T, StoreError> + Send + Sync + Clone + 'static,
) -> Result<T, LowerError> {
    let until = Instant::now() + PATIENCE;
    let mut asked = false;
    loop {
        let (store, look) = (system.store.clone(), look.clone());
        let found = tokio::task::spawn_blocking(move || look(&store)).await.map_err(|error| {
            tracing::error!(%error, "reading the store");
            LowerError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "this system has trouble with its store",
            )
        })?;
        match found {
            Ok(found) => return Ok(found),
            Err(StoreError::NotFound(_)) if system.position == Position::Relay && Instant::now() < until => {
                if !asked {
                    crate::copies::ask_for(system, *package);
                    asked = true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(StoreError::NotFound(_)) => {
                let status = if system.position == Position::Relay {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::NOT_FOUND
                };
                let message = format!("{} does not have this package yet", system.config.name);
                return Err(LowerError::new(status, "not_here", message));
            }
            Err(error) => {
                tracing::error!(%error, "the store");
                let message = "this system has trouble with its store";
                return Err(LowerError::new(StatusCode::INTERNAL_SERVER_ERROR, "store", message));
            }
        }
    }
}

/// A body that is paced and counted as it is taken; `held`: it ends when this relay is suspended.
fn counted(
    system: &Arc<System>,
    held: bool,
    stream: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Body {
    let system = system.clone();
    let stream = stream.then(move |piece| {
        let system = system.clone();
        async move {
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
