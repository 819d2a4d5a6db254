//! Joining and renewing: answered by the managing server, passed on by a relay.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use packhorse_domain::ids::HostId;
use packhorse_domain::ingest::Position;
use packhorse_domain::job::HostRole;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::enroll::JOIN_TIMEOUT;
use packhorse_wire::messages::{
    ADDRESSES_MAX, JOIN_BELOW, JoinBelowRequest, JoinRequest, JoinResponse, PROTOCOL, RENEW, RenewRequest,
    RenewResponse,
};
use packhorse_wire::pki::verify_renew_proof;
use packhorse_wire::token::hash_secret;
use serde_bytes::ByteBuf;

use super::{Caller, LowerError, check_version, decode, encode};
use crate::db::hosts;
use crate::db::join::{Join, Remember, Renew};
use crate::system::{System, now};

/// [`packhorse_wire::messages::JOIN`]: open to callers without a certificate.
pub async fn join(State(system): State<Arc<System>>, body: Bytes) -> Result<Response, LowerError> {
    let request: JoinRequest = decode(&body)?;
    check_version(request.v)?;
    let response = match system.position {
        Position::Top => let_in(&system, request, None).await?,
        Position::Relay => pass_on(&system, JoinBelowRequest { request, higher: Fixed(system.id.0) }).await?,
    };
    encode(&response)
}

/// [`packhorse_wire::messages::JOIN_BELOW`]: a relay passes a request on.
pub async fn join_below(
    State(system): State<Arc<System>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, LowerError> {
    let passed: JoinBelowRequest = decode(&body)?;
    check_version(passed.request.v)?;
    let asked = HostId(passed.higher.0);
    let below =
        system.listed(&asked).is_some_and(|relay| relay.id == caller.0.id || relay.via == caller.0.row);
    if caller.0.role != HostRole::Relay || !below {
        let message = format!("the relay that was asked is not below {}", caller.0.name);
        return Err(LowerError::new(StatusCode::FORBIDDEN, "not_below", message));
    }
    let response = match system.position {
        Position::Top => let_in(&system, passed.request, Some((asked, caller.0.row))).await?,
        Position::Relay => pass_on(&system, passed).await?,
    };
    encode(&response)
}

async fn let_in(
    system: &System,
    request: JoinRequest,
    higher: Option<(HostId, i64)>,
) -> Result<JoinResponse, LowerError> {
    let secret: [u8; 32] =
        request.secret.as_slice().try_into().map_err(|_| LowerError::bad_request("this is no token"))?;
    let role = HostRole::parse(&request.role)
        .ok_or_else(|| LowerError::bad_request("a host joins as relay or as client"))?;
    if request.addresses.len() > ADDRESSES_MAX {
        return Err(LowerError::bad_request(format!("a relay has at most {ADDRESSES_MAX} addresses")));
    }
    let command = Join {
        authority: system.authority()?,
        capabilities: system.capabilities.clone(),
        token: hash_secret(&secret),
        role,
        name: request.name,
        csr_pem: request.csr_pem,
        addresses: request.addresses,
        higher,
        now: now(),
    };
    let let_in = system.db.write(command).await?;
    system.reload_directory().await?;
    system.wake(&let_in.lowers);
    Ok(JoinResponse {
        v: PROTOCOL,
        host: Fixed(let_in.host.0),
        chain_pem: let_in.chain_pem,
        generation: let_in.generation,
        place: ByteBuf::from(let_in.place),
        trust: ByteBuf::from(system.trust().envelope().to_vec()),
    })
}

/// A relay passes a request on, and remembers the host whom the answer lets in: it may call at once, before the order that
/// speaks of it has come down.
async fn pass_on(system: &System, passed: JoinBelowRequest) -> Result<JoinResponse, LowerError> {
    let upper =
        system.upper.as_ref().ok_or_else(|| LowerError::bad_request("this system has no higher system"))?;
    let response: JoinResponse = upper.link().call(JOIN_BELOW, &passed, JOIN_TIMEOUT).await?;
    match hosts::verified(&system.trust(), response.place.to_vec(), response.generation) {
        Ok(learned) => {
            let capabilities = Some(system.capabilities.clone());
            let lowers =
                system.db.write(Remember { own: system.id, learned, capabilities, now: now() }).await?;
            system.reload_directory().await?;
            system.wake(&lowers);
            system.copies_news.notify_one();
        }
        // A newer job key may be on its way down: the host is learned from the feed then.
        Err(error) => tracing::warn!(%error, "a place that passed through is not trusted yet"),
    }
    Ok(response)
}

/// [`packhorse_wire::messages::RENEW`]: open to callers without a certificate, signed by the old key.
pub async fn renew(State(system): State<Arc<System>>, body: Bytes) -> Result<Response, LowerError> {
    let request: RenewRequest = decode(&body)?;
    check_version(request.v)?;
    let response = match (system.position, &system.upper) {
        (Position::Relay, Some(upper)) => upper.link().call(RENEW, &request, JOIN_TIMEOUT).await?,
        _ => renew_here(&system, request).await?,
    };
    encode::<RenewResponse>(&response)
}

async fn renew_here(system: &System, request: RenewRequest) -> Result<RenewResponse, LowerError> {
    let authority = system.authority()?;
    if request.addresses.len() > ADDRESSES_MAX {
        return Err(LowerError::bad_request(format!("a relay has at most {ADDRESSES_MAX} addresses")));
    }
    let old = verify_renew_proof(authority.ca().cert(), &request.proof)
        .map_err(|error| LowerError::new(StatusCode::FORBIDDEN, "renew", error.to_string()))?;
    let csr_pem = request.proof.csr_pem;
    let command = Renew { authority, old, csr_pem, addresses: request.addresses, now: now() };
    let (chain_pem, generation) = system.db.write(command).await?;
    Ok(RenewResponse { chain_pem, generation })
}
