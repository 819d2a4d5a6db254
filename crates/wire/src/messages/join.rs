//! Joining and renewing. A host joins through its higher system, which passes the request on.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bytes::Id16;
use crate::pki::{AccessProof, RenewProof};

/// Most addresses a relay may ask for in its certificate.
pub const ADDRESSES_MAX: usize = 16;

/// "Let me in." Sent without a certificate; the connection is pinned to the token's fingerprint.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// The token's secret.
    pub secret: ByteBuf,
    /// `relay` or `client`.
    pub role: String,
    /// The name asked for.
    pub name: String,
    /// The certificate request, PEM.
    pub csr_pem: String,
    /// For a relay: host names and IP addresses it will be called by.
    pub addresses: Vec<String>,
}

impl std::fmt::Debug for JoinRequest {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("role", &self.role)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A relay passes a request on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinBelowRequest {
    /// What was asked.
    pub request: JoinRequest,
    /// The relay that was asked directly.
    pub higher: Id16,
}

/// Let in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinResponse {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// The host's id.
    pub host: Id16,
    /// Its certificate and the authority's, PEM.
    pub chain_pem: String,
    /// Its certificate's generation.
    pub generation: u64,
    /// Its signed place (envelope).
    pub place: ByteBuf,
    /// The trust document (envelope).
    pub trust: ByteBuf,
}

/// "A new certificate, please": signed by the old key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenewRequest {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// The proof, with the certificate request in it.
    pub proof: RenewProof,
    /// For a relay: host names and IP addresses it is called by.
    pub addresses: Vec<String>,
}

/// The new certificate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenewResponse {
    /// The certificate and the authority's, PEM.
    pub chain_pem: String,
    /// Its generation.
    pub generation: u64,
}

/// "My administrator's certificate, please, and this is my job key": signed by the relay's own key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessRequest {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// The wish.
    pub proof: AccessProof,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessResponse {
    /// The administrator's certificate and the authority's, PEM; `None` if none was asked for.
    pub chain_pem: Option<String>,
}
