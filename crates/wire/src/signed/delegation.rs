//! What the managing server lets a relay's administrator do below it. Off until granted; ends by itself; can be revoked.

use packhorse_domain::delegated::{DelegatedType, Delegation};
use packhorse_domain::ids::{HostId, Name};
use packhorse_domain::job::JobType;
use packhorse_domain::time::Time;
use serde::{Deserialize, Serialize};

use super::{BadPayload, limit, version};
use crate::bytes::{Id16, Id32};

/// Payload type of delegations.
pub const DELEGATION_TYPE: &str = "application/vnd.packhorse.delegation+cbor";
/// The version of [`DelegationDoc`].
pub const DELEGATION_VERSION: u32 = 1;
/// Most cabinets of one relay.
pub const DELEGATED_CABINETS_MAX: usize = 256;
/// Most keys of one such cabinet.
const KEYS_MAX: usize = 64;
/// What may be delegated.
const TYPES: [&str; 2] = ["install", "offer"];

/// A delegation. There is no way to write down a transfer: `job_types` is checked against a closed list.
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

impl DelegationDoc {
    /// Checks what a signature does not say.
    ///
    /// # Errors
    /// What is wrong.
    pub fn validate(&self) -> Result<(), BadPayload> {
        version("the delegation", self.v, DELEGATION_VERSION)?;
        Name::for_host(&self.name)?;
        if let Some(odd) = self.job_types.iter().find(|word| !TYPES.contains(&word.as_str())) {
            let word = odd.chars().take(64).collect();
            return Err(BadPayload::Word { what: "a delegated type of job", word });
        }
        limit("delegated cabinets", self.cabinets.len(), DELEGATED_CABINETS_MAX)?;
        for cabinet in &self.cabinets {
            Name::new(&cabinet.name)?;
            limit("keys of a delegated cabinet", cabinet.keys.len(), KEYS_MAX)?;
        }
        Ok(())
    }

    /// What it says, to judge by.
    pub fn delegation(&self) -> Delegation {
        let types = self.job_types.iter().filter_map(|word| DelegatedType::of(JobType::parse(word)?));
        Delegation {
            relay: HostId(self.relay.0),
            job_types: types.collect(),
            cabinets: self.cabinets.iter().map(|cabinet| cabinet.name.clone()).collect(),
            expires: Time(self.expires),
            revoked: self.revoked,
        }
    }

    /// Whether a type of job is delegated.
    pub fn lets(&self, job_type: &str) -> bool {
        self.job_types.iter().any(|word| word == job_type)
    }
}
