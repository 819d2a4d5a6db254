//! The higher system as a source of content: manifests, and frames.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use hyper::Method;
use packhorse_content::fetch::{Body, Source, SourceError};
use packhorse_content::manifest::Manifest;
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::envelope::Envelope;
use packhorse_wire::messages::{self, FramesRequest, ManifestRequest};
use packhorse_wire::net::{Link, LinkError, cbor};
use serde_bytes::ByteBuf;

use super::CopyError;
use crate::db::copies::Wanted;
use crate::hold;
use crate::system::System;

/// Most bytes of a manifest's envelope.
pub(super) const MANIFEST_BYTES: usize = packhorse_content::limits::MANIFEST_BYTES + (64 << 10);

/// Fetches a package's manifest. It is not believed yet.
pub(super) async fn manifest(system: &System, link: &Link, wanted: &Wanted) -> Result<Bytes, CopyError> {
    let request = ManifestRequest {
        package: wanted.package.into(),
        capability: ByteBuf::from(wanted.capability.clone()),
        offset: 0,
    };
    let body = cbor::encode(&request).map_err(|error| CopyError::Manifest(error.to_string()))?;
    link.set_content_window(hold::window(system));
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
pub(super) fn verified(system: &System, wanted: &Wanted, bytes: &[u8]) -> Result<Arc<Manifest>, CopyError> {
    let envelope = Envelope::decode(bytes, MANIFEST_BYTES)?;
    let trust = system.trust();
    let delegations = system.delegations();
    let (keys, threshold) = trust.packagers_in(&delegations, &wanted.issuer, &wanted.cabinet)?;
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

/// The higher system as a source of frames.
pub(super) struct Upstream {
    pub(super) system: Arc<System>,
    pub(super) link: Link,
    pub(super) wanted: Wanted,
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
            self.link.set_content_window(hold::window(&self.system));
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
