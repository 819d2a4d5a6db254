//! Who is at the other end of an accepted connection.

use std::net::SocketAddr;

use jiff::Timestamp;
use rustls::ServerConnection;

use crate::pki::{CertIdentity, CertInfo};

/// The caller, put into the extensions of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What its certificate says; `None` for a caller without one, which may join or renew.
    pub identity: Option<CertIdentity>,
    /// Where it calls from.
    pub addr: SocketAddr,
    /// The serial number of its certificate, lower-case hex.
    pub cert_serial: Option<String>,
    /// When its certificate ends. It is checked when the connection is made; a connection may outlast it.
    pub cert_not_after: Option<Timestamp>,
}

impl Peer {
    /// The peer of a finished handshake.
    pub(super) fn of(tls: &ServerConnection, addr: SocketAddr) -> Self {
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        // The verifier has refused certificates without an identity, so reading it again cannot fail.
        match leaf.map(|der| CertInfo::from_der(der)) {
            Some(Ok(info)) => Self {
                identity: Some(info.identity),
                addr,
                cert_serial: Some(info.serial),
                cert_not_after: Some(info.not_after),
            },
            _ => Self { identity: None, addr, cert_serial: None, cert_not_after: None },
        }
    }
}
