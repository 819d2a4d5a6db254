//! What lower systems may ask: the paths of [`packhorse_wire::messages`]. Exactly three are open to callers without a
//! certificate: joining, and renewing and a relay's access, which are signed by the host's key; everything else is for hosts
//! that are below this system and call it directly.

mod access;
mod auth;
mod call;
mod content;
mod feed;
mod join;
mod reports;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use packhorse_wire::messages;
use packhorse_wire::net::{LinkError, Refusal, cbor};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use auth::{Asker, Caller};

use crate::db::DbError;
use crate::error::ServerError;
use crate::system::System;

/// Longest request but for reports, in bytes: some of them need no certificate, and a request is held in memory as a whole.
const SMALL_REQUEST_BYTES: usize = 128 << 10;

/// The routes.
pub fn router(system: Arc<System>) -> Router {
    let reports = post(reports::reports).layer(DefaultBodyLimit::max(messages::REQUEST_BYTES_MAX));
    Router::new()
        .route(messages::FEED, post(feed::feed))
        .route(messages::JOIN, post(join::join))
        .route(messages::JOIN_BELOW, post(join::join_below))
        .route(messages::RENEW, post(join::renew))
        .route(messages::CALL, post(call::call))
        .route(messages::ACCESS, post(access::access))
        .route(messages::MANIFEST, post(content::manifest))
        .route(messages::FRAMES, post(content::frames))
        .layer(DefaultBodyLimit::max(SMALL_REQUEST_BYTES))
        .route(messages::REPORTS, reports)
        .with_state(system)
}

/// An error with its status; the body is a CBOR [`Refusal`].
#[derive(Debug)]
pub struct LowerError {
    status: StatusCode,
    refusal: Refusal,
}

/// Refusal of a relay that was retired.
const SERVES_NOBODY: &str = "relay_retired";

impl LowerError {
    /// A refusal.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> LowerError {
        LowerError { status, refusal: Refusal::new(code, message) }
    }

    /// With what to do.
    pub fn hint(mut self, hint: &str) -> LowerError {
        self.refusal.hint = Some(hint.to_owned());
        self
    }

    /// Whether it is refused because it is not, or not known to be, one that calls this system (any more): there may be
    /// something to tell it.
    fn is_elsewhere(&self) -> bool {
        matches!(self.refusal.code.as_str(), "unknown_host" | "not_direct" | messages::RETIRED_CODE)
    }

    /// Whether it is refused because this system was retired.
    fn serves_nobody(&self) -> bool {
        self.refusal.code == SERVES_NOBODY
    }

    /// Whether it is refused because its certificate counts no more.
    fn is_retired(&self) -> bool {
        self.refusal.code == messages::RETIRED_CODE
    }

    /// The request is not one of this protocol.
    pub fn bad_request(message: impl Into<String>) -> LowerError {
        LowerError::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
}

impl IntoResponse for LowerError {
    fn into_response(self) -> Response {
        let body = cbor::encode(&self.refusal).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(cbor::MEDIA_TYPE))];
        (self.status, kind, body).into_response()
    }
}

impl From<DbError> for LowerError {
    fn from(error: DbError) -> LowerError {
        match error {
            DbError::Refused(refusal) => LowerError { status: StatusCode::CONFLICT, refusal },
            other => {
                // What went wrong inside is for the log; outside it is enough that it did.
                tracing::error!(error = %other, "the database");
                LowerError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "this system has trouble with its database",
                )
            }
        }
    }
}

impl From<ServerError> for LowerError {
    fn from(error: ServerError) -> LowerError {
        match error {
            ServerError::Db(error) => error.into(),
            ServerError::Link(error) => error.into(),
            ServerError::Pki(error) => LowerError::bad_request(error.to_string()),
            other => {
                tracing::error!(error = %other, "a request from below");
                LowerError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this system has trouble")
            }
        }
    }
}

impl From<LinkError> for LowerError {
    /// What the higher system refused is passed on as it is; what it did not answer is this system's trouble for now.
    fn from(error: LinkError) -> LowerError {
        match error {
            LinkError::Refused { status, refusal, .. } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                LowerError { status, refusal }
            }
            other => LowerError::new(StatusCode::SERVICE_UNAVAILABLE, "higher_system", other.to_string()),
        }
    }
}

/// Reads a request.
fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, LowerError> {
    cbor::decode(body).map_err(|error| LowerError::bad_request(error.to_string()))
}

/// Writes an answer.
fn encode<T: Serialize>(answer: &T) -> Result<Response, LowerError> {
    let body = cbor::encode(answer).map_err(|error| {
        tracing::error!(%error, "an answer cannot be encoded");
        LowerError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this system has trouble")
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(cbor::MEDIA_TYPE))], body).into_response())
}

/// Refuses a protocol this system does not know.
fn check_version(v: u32) -> Result<(), LowerError> {
    if v == messages::PROTOCOL {
        return Ok(());
    }
    let message = format!("protocol {v} is not known here, this system speaks {}", messages::PROTOCOL);
    Err(LowerError::new(StatusCode::UPGRADE_REQUIRED, "protocol", message)
        .hint("update the older of the two systems"))
}
