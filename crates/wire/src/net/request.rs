//! Parts that requests on the control connection and on content connections share.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::http::HeaderValue;
use hyper::{Method, Request, Response, Version};

use super::connect::{RefusalSlot, lost};
use super::refusal::MAX_REFUSAL_BYTES;
use super::target::Target;
use super::{LinkError, Refusal, cbor};

/// Largest response head, in bytes.
pub(super) const MAX_HEAD_BYTES: u32 = 16 * 1024;

/// Most header fields in a response.
pub(super) const MAX_HEADERS: usize = 64;

const AGENT: &str = concat!("packhorse/", env!("CARGO_PKG_VERSION"));

/// A request as every one of ours looks.
pub(super) fn build<B>(
    target: &Target,
    version: Version,
    method: Method,
    path: &str,
    body: B,
) -> Result<Request<B>, LinkError> {
    let mut uri = target.uri(path)?;
    let mut builder = Request::builder().method(method).version(version);
    if version == Version::HTTP_11 {
        builder = builder.header(HOST, target.authority());
        uri = path.parse().map_err(|_| target.protocol("bad path"))?;
    }
    builder
        .uri(uri)
        .header(USER_AGENT, HeaderValue::from_static(AGENT))
        .header(CONTENT_TYPE, HeaderValue::from_static(cbor::MEDIA_TYPE))
        .header(ACCEPT, HeaderValue::from_static(cbor::MEDIA_TYPE))
        .body(body)
        .map_err(|error| target.protocol(error.to_string()))
}

/// Passes a success on and turns everything else into what the peer said.
pub(super) async fn accepted(
    target: &Target,
    refusal: &RefusalSlot,
    response: Response<Incoming>,
) -> Result<Response<Incoming>, LinkError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // A refusal too long to read is still a refusal: its status says enough.
    let body = match collect(target, refusal, response.into_body(), MAX_REFUSAL_BYTES).await {
        Ok(body) => body,
        Err(LinkError::TooLarge { .. }) => Bytes::new(),
        Err(error) => return Err(error),
    };
    let refusal = Refusal::from_body(status, &body);
    Err(LinkError::Refused { url: target.url.clone(), status: status.as_u16(), refusal })
}

/// The whole body of a response, unless it is larger than `limit_bytes`: then the rest is not read.
pub(super) async fn collect(
    target: &Target,
    refusal: &RefusalSlot,
    body: Incoming,
    limit_bytes: usize,
) -> Result<Bytes, LinkError> {
    let too_large = || LinkError::TooLarge { url: target.url.clone(), limit_bytes };
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit_bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(match error.downcast_ref::<hyper::Error>() {
            Some(error) => lost(target, refusal, error),
            None => target.protocol(error.to_string()),
        }),
    }
}
