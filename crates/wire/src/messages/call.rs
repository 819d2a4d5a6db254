//! A host calls one of the systems that its place lists, without having been told to.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::pki::CallProof;

/// "I may call you." Only with a proof the host does so from now on; without one it looks whether it could.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallRequest {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// The host's newest signed place (envelope).
    pub place: ByteBuf,
    /// Its word that it calls this system.
    pub proof: Option<CallProof>,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallResponse {
    /// [`super::PROTOCOL`].
    pub v: u32,
    /// Whether the host may ask here for orders.
    pub takes: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// A newer place of the host than the one it showed (envelope).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<ByteBuf>,
}
