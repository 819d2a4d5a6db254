//! Takes a package's content in as a client does, verifies every piece, and throws it away.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use hyper::Method;
use packhorse_content::fetch::{AcceptError, Body, Progress, Source, SourceError, Target};
use packhorse_content::frame::Frame;
use packhorse_content::limits;
use packhorse_content::manifest::{Manifest, PAYLOAD_TYPE};
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::{Envelope, to_cbor};
use packhorse_wire::messages::{CopyHint, FRAMES, FramesRequest, MANIFEST, ManifestRequest};
use packhorse_wire::net::Link;
use packhorse_wire::trust::Trust;

use super::crew::Shared;
use super::judge::Wanted;
use crate::failure::{Failure, Outcome};

/// Obtains a package. What goes wrong is logged and counted as refused.
pub async fn obtain(link: &Link, trust: &Trust, package: &Wanted, shared: &Shared) {
    // Closed never: the semaphore lives as long as the crew.
    let _turn = shared.fetching.acquire().await;
    if let Err(failure) = try_obtain(link, trust, package, shared).await {
        tracing::warn!(error = failure.message(), "content was not obtained");
        shared.refused.fetch_add(1, Ordering::Relaxed);
    }
}

async fn try_obtain(link: &Link, trust: &Trust, package: &Wanted, shared: &Shared) -> Outcome {
    let copy =
        package.copy.as_ref().ok_or_else(|| Failure::new("the order does not say where it is to be had"))?;
    let envelope = manifest_bytes(link, copy).await?;
    shared.fetched_bytes.fetch_add(envelope.len() as u64, Ordering::Relaxed);
    let manifest = verified(&envelope, trust, package)?;
    let target = Arc::new(Discard::new(manifest));
    let source = Higher { link, copy };
    packhorse_content::fetch::obtain(&target, &source, |progress| {
        if let Progress::Received { wire_bytes, .. } = progress {
            shared.fetched_bytes.fetch_add(wire_bytes, Ordering::Relaxed);
        }
    })
    .await?;
    Ok(())
}

async fn manifest_bytes(link: &Link, copy: &CopyHint) -> Outcome<Vec<u8>> {
    let request = ManifestRequest { package: copy.package, capability: copy.capability.clone(), offset: 0 };
    let mut stream = link.stream(Method::POST, MANIFEST, to_cbor(&request)?).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > limits::ENVELOPE_BYTES {
            return Err(Failure::new("the manifest is larger than possible"));
        }
    }
    Ok(bytes)
}

fn verified(envelope: &[u8], trust: &Trust, package: &Wanted) -> Outcome<Arc<Manifest>> {
    let (keys, threshold) = trust.packagers(&package.cabinet)?;
    let envelope = Envelope::decode(envelope, limits::ENVELOPE_BYTES)?;
    let payload =
        envelope.verify(PAYLOAD_TYPE, |id| keys.iter().copied().find(|key| key.id() == *id), threshold)?;
    let manifest = Manifest::parse(payload)?;
    if Fixed::from(manifest.id()) != Fixed::from(package.id) {
        return Err(Failure::new("another package than the job names came"));
    }
    Ok(Arc::new(manifest))
}

/// The higher system as a source of frames.
struct Higher<'a> {
    link: &'a Link,
    copy: &'a CopyHint,
}

impl Source for Higher<'_> {
    fn frames<'a>(&'a self, ranges: &'a RangeSet) -> BoxFuture<'a, Result<Body, SourceError>> {
        async move {
            let request = FramesRequest {
                package: self.copy.package,
                capability: self.copy.capability.clone(),
                ranges: ranges.ranges().map(|range| (range.start, range.end)).collect(),
            };
            let body = to_cbor(&request).map_err(|error| SourceError::Refused(error.to_string()))?;
            let stream = self.link.stream(Method::POST, FRAMES, body).await.map_err(|error| {
                if error.is_passing() {
                    SourceError::Unavailable(error.to_string())
                } else {
                    SourceError::Refused(error.to_string())
                }
            })?;
            let body: Body = stream.map(|piece| piece.map_err(io::Error::other)).boxed();
            Ok(body)
        }
        .boxed()
    }
}

/// Remembers which chunks came, and keeps none.
struct Discard {
    manifest: Arc<Manifest>,
    missing: Mutex<RangeSet>,
}

impl Discard {
    fn new(manifest: Arc<Manifest>) -> Discard {
        let missing = Mutex::new(RangeSet::full(manifest.chunk_count()));
        Discard { manifest, missing }
    }
}

impl Target for Discard {
    fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    fn missing(&self) -> RangeSet {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn accept(&self, frame: &Frame) -> Result<(), AcceptError> {
        frame.verify(&self.manifest)?;
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(frame.header.chunks());
        Ok(())
    }
}
