//! Who may ask: the certificate says it.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use packhorse_wire::net::Peer;
use packhorse_wire::pki::Role;

use super::AdminError;
use crate::system::now;

/// Lets administrators pass and refuses everybody else, whatever they ask.
pub async fn administrators_only(request: Request, next: Next) -> Result<Response, AdminError> {
    check(request.extensions().get::<Peer>())?;
    Ok(next.run(request).await)
}

fn check(peer: Option<&Peer>) -> Result<(), AdminError> {
    let refuse = |message: String| {
        AdminError::new(StatusCode::FORBIDDEN, "not_an_administrator", message)
            .hint("PACKHORSE_CONTEXT names an access file (admin.toml) of this managing server")
    };
    let identity = peer.and_then(|peer| peer.identity.as_ref());
    let identity = identity.ok_or_else(|| refuse("this needs an administrator's certificate".to_owned()))?;
    if identity.role != Role::Admin {
        let message = format!("{} is a {}, not an administrator", identity.name, identity.role);
        return Err(refuse(message));
    }
    // Checked at the handshake too, but a connection may outlast a certificate.
    let end = peer.and_then(|peer| peer.cert_not_after);
    if end.is_some_and(|end| end.as_microsecond() < now().0) {
        return Err(refuse(format!("the certificate of {} has ended", identity.name)));
    }
    Ok(())
}
