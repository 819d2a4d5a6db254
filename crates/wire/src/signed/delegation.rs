//! What the managing server lets a relay's administrator do below it. Off until granted; ends by itself; can be revoked.

use serde::{Deserialize, Serialize};

use crate::bytes::{Id16, Id32};

/// Payload type of delegations.
pub const DELEGATION_TYPE: &str = "application/vnd.packhorse.delegation+cbor";
/// The version of [`DelegationDoc`].
pub const DELEGATION_VERSION: u32 = 1;

/// A delegation. There is no way to write down a transfer: `job_types` is checked against this closed list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationDoc {
    /// Version of this payload.
    pub v: u32,
    /// The relay.
    pub relay: Id16,
    /// Its name, which is the issuer of its jobs.
    pub name: String,
    /// The relay's own job key.
    pub key: Id32,
    /// `install`, `offer`.
    pub job_types: Vec<String>,
    /// The relay's own cabinets, each with the packager keys it trusts; valid only below the relay.
    pub cabinets: Vec<DelegatedCabinet>,
    /// A newer one counts.
    pub revision: u64,
    /// When it ends, microseconds.
    pub expires: i64,
    /// Whether it is withdrawn.
    pub revoked: bool,
}

/// A relay's own cabinet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegatedCabinet {
    /// Its name.
    pub name: String,
    /// Packager keys.
    pub keys: Vec<Id32>,
}
