//! Reading requests, so that what cannot be read is answered like every other refusal.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::AdminError;

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = AdminError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, AdminError> {
        let bytes = Whole::from_request(request, state).await?.0;
        let read = serde_json::from_slice(&bytes);
        read.map(Body).map_err(|error| AdminError::bad_request(format!("the request: {error}")))
    }
}

/// A whole body, as large as the route allows.
pub struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = AdminError;

    async fn from_request(request: Request, state: &S) -> Result<Whole, AdminError> {
        let bytes = Bytes::from_request(request, state).await;
        bytes.map(Whole).map_err(|error| {
            let status = error.status();
            let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "bad_request" };
            AdminError::new(status, code, format!("the request: {}", error.body_text()))
        })
    }
}

/// The query of a path.
pub struct Ask<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Ask<T>, AdminError> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(query)| Ask(query)).map_err(|error| AdminError::bad_request(error.body_text()))
    }
}
