//! A host calls here by itself: this system is one of those that its place lists, and the one it called is out of reach; or it
//! returns to one that it prefers.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use packhorse_domain::ids::HostId;
use packhorse_wire::messages::{CallRequest, CallResponse, PROTOCOL};
use packhorse_wire::pki::Role;
use serde_bytes::ByteBuf;

use super::auth::Certified;
use super::{LowerError, check_version, decode, encode};
use crate::db::calling::TakeCall;
use crate::system::System;

/// [`packhorse_wire::messages::CALL`].
pub async fn call(
    State(system): State<Arc<System>>,
    Certified(identity): Certified,
    body: Bytes,
) -> Result<Response, LowerError> {
    let request: CallRequest = decode(&body)?;
    check_version(request.v)?;
    if identity.role != Role::Client {
        let message = "only clients call other systems by themselves";
        return Err(LowerError::new(StatusCode::FORBIDDEN, "role", message));
    }
    let host: HostId =
        identity.id.parse().map_err(|_| LowerError::bad_request("the certificate has no id"))?;
    let comes = request.proof.is_some();
    let command = TakeCall {
        here: system.here()?,
        host,
        generation: identity.generation,
        place: request.place.into_vec(),
        proof: request.proof,
    };
    // Looks come again and again, from all that were driven away: they cost the writer nothing.
    let taken = match comes {
        true => system.db.write(command).await?,
        false => system.db.read(move |connection| command.look(connection)).await?,
    };
    if taken.changed.moved {
        tracing::info!(host = identity.name, "calls here by itself");
        system.reload_directory().await?;
        system.outbox_news.notify_one();
        system.copies_news.notify_one();
        system.lines_changed();
    }
    system.wake(&taken.changed.lowers);
    encode(&CallResponse {
        v: PROTOCOL,
        takes: taken.why.is_none(),
        why: taken.why,
        place: taken.place.map(ByteBuf::from),
    })
}
