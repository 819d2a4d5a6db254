//! Who may ask: the certificate says it. The managing server's administrators ask it everything, and may look at relays; a
//! relay's administrator asks that very relay, and does there what was delegated to it.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use packhorse_domain::ids::HostId;
use packhorse_domain::ingest::Position;
use packhorse_wire::net::Peer;
use packhorse_wire::pki::{CertIdentity, Role};

use super::AdminError;
use super::may::{self, Asks};
use crate::system::{System, now};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// An administrator of the managing server, there.
    Administrator,
    /// The same, at a relay.
    FromAbove,
    /// The relay's own administrator.
    RelayAdministrator,
}

/// Lets administrators pass and refuses everybody else, whatever they ask; at a relay only what its administrator may.
pub async fn administrators_only(
    State(system): State<Arc<System>>,
    request: Request,
    next: Next,
) -> Result<Response, AdminError> {
    let asker = identify(&system, request.extensions().get::<Peer>())?;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    may::check(&system, asker, &Asks::of(request.method(), path))?;
    Ok(next.run(request).await)
}

/// Who asks, as the certificate says.
///
/// # Errors
/// Nobody who may.
pub fn identify(system: &System, peer: Option<&Peer>) -> Result<Asker, AdminError> {
    let refuse = |message: String| {
        let hint = match system.position {
            Position::Top => {
                "PACKHORSE_CONTEXT names an access file (admin.toml) of this managing server".to_owned()
            }
            Position::Relay => {
                format!(
                    "PACKHORSE_CONTEXT names the access file in {}'s folder (admin.toml)",
                    system.config.name
                )
            }
        };
        AdminError::new(StatusCode::FORBIDDEN, "not_an_administrator", message).hint(hint)
    };
    let identity = peer.and_then(|peer| peer.identity.as_ref());
    let identity = identity.ok_or_else(|| refuse("this needs an administrator's certificate".to_owned()))?;
    let asker = match (system.position, identity.role) {
        (Position::Top, Role::Admin) => Asker::Administrator,
        (Position::Relay, Role::Admin) => Asker::FromAbove,
        (Position::Relay, Role::RelayAdmin) if is_own(system, identity) => Asker::RelayAdministrator,
        (_, Role::RelayAdmin) => {
            let message = format!("this is the access of {}'s administrator, for {0} alone", identity.name);
            return Err(refuse(message));
        }
        _ => {
            let message = format!("{} is a {}, not an administrator", identity.name, identity.role);
            return Err(refuse(message));
        }
    };
    // Checked at the handshake too, but a connection may outlast a certificate.
    let end = peer.and_then(|peer| peer.cert_not_after);
    if end.is_some_and(|end| end.as_microsecond() < now().0) {
        return Err(refuse(format!("the certificate of {} has ended", identity.name)));
    }
    Ok(asker)
}

/// A relay that was replaced does not obey whoever administered the machine before.
fn is_own(system: &System, identity: &CertIdentity) -> bool {
    let oldest = system.listed(&system.id).map_or(0, |own| own.oldest);
    identity.id.parse::<HostId>().is_ok_and(|id| id == system.id) && identity.generation >= oldest
}
