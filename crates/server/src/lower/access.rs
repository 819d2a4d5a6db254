//! A relay's access: its administrator's certificate and its job key. Answered by the managing server, passed on by a relay.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use packhorse_domain::ingest::Position;
use packhorse_wire::enroll::JOIN_TIMEOUT;
use packhorse_wire::messages::{ACCESS, AccessRequest, AccessResponse};
use packhorse_wire::pki::verify_access_proof;

use super::{LowerError, check_version, decode, encode};
use crate::db::access::GiveAccess;
use crate::system::{System, now};

/// [`ACCESS`]: open to callers without a certificate, signed by the relay's key.
pub async fn access(State(system): State<Arc<System>>, body: Bytes) -> Result<Response, LowerError> {
    let request: AccessRequest = decode(&body)?;
    check_version(request.v)?;
    let response = match (system.position, &system.upper) {
        (Position::Relay, Some(upper)) => upper.link().call(ACCESS, &request, JOIN_TIMEOUT).await?,
        _ => give_here(&system, request).await?,
    };
    encode::<AccessResponse>(&response)
}

async fn give_here(system: &System, request: AccessRequest) -> Result<AccessResponse, LowerError> {
    let authority = system.authority()?;
    let relay = verify_access_proof(authority.ca().cert(), &request.proof)
        .map_err(|error| LowerError::new(StatusCode::FORBIDDEN, "access", error.to_string()))?;
    let command = GiveAccess {
        authority,
        relay,
        csr_pem: request.proof.csr_pem,
        job_key: request.proof.job_key.0,
        now: now(),
    };
    let given = system.db.write(command).await?;
    if !given.lowers.is_empty() {
        system.reload_delegations().await?;
        system.wake(&given.lowers);
    }
    Ok(AccessResponse { chain_pem: given.chain_pem })
}
