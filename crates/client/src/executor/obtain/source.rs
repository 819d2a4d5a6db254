//! The higher system as a source of content.

use std::io;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use hyper::Method;
use packhorse_content::fetch::{Body, Source, SourceError};
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::messages::{CopyHint, FRAMES, FramesRequest, RANGES_MAX};
use packhorse_wire::net::{Link, LinkError, cbor};

/// Asks for chunks over content connections of their own.
pub(super) struct LinkSource {
    /// The link.
    pub link: Link,
    /// Where the package is to be had.
    pub hint: CopyHint,
}

impl Source for LinkSource {
    fn frames<'a>(&'a self, ranges: &'a RangeSet) -> BoxFuture<'a, Result<Body, SourceError>> {
        let request = FramesRequest {
            package: self.hint.package,
            capability: self.hint.capability.clone(),
            ranges: ranges.ranges().take(RANGES_MAX).map(|range| (range.start, range.end)).collect(),
        };
        Box::pin(async move {
            let body = cbor::encode(&request).map_err(|error| SourceError::Refused(error.to_string()))?;
            let stream = self.link.stream(Method::POST, FRAMES, body).await.map_err(refused)?;
            let body: Body = stream.map(|piece| piece.map_err(io::Error::other)).boxed();
            Ok(body)
        })
    }
}

/// What the link says, for the fetch.
pub(super) fn refused(error: LinkError) -> SourceError {
    match error {
        LinkError::Refused { .. } if !error.is_passing() => SourceError::Refused(error.to_string()),
        error => SourceError::Unavailable(error.to_string()),
    }
}
