//! The trust document: whose signatures count for what. Signed by root keys; each names the one before by its hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BadPayload, limit, version};
use crate::bytes::{Fixed, Id16, Id32};
use crate::envelope::PublicKey;

/// Payload type of trust documents.
pub const TRUST_TYPE: &str = "application/vnd.packhorse.trust+cbor";
/// The version of [`TrustDoc`].
pub const TRUST_VERSION: u32 = 1;
/// Most keys of one role.
pub const KEYS_MAX: usize = 64;
/// Most cabinets.
pub const CABINETS_MAX: usize = 10_000;

/// Keys and how many of them have to agree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// How many different keys have to have signed.
    pub threshold: u32,
    /// The keys.
    pub keys: Vec<Id32>,
}

impl KeySet {
    /// One key that is enough.
    pub fn one(key: PublicKey) -> KeySet {
        KeySet { threshold: 1, keys: vec![Fixed(key.0)] }
    }

    /// The key of an id, if it is in the set.
    pub fn find(&self, id: &crate::envelope::KeyId) -> Option<PublicKey> {
        self.keys.iter().map(|key| PublicKey(key.0)).find(|key| key.id() == *id)
    }
}

/// The trust document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDoc {
    /// Version of this payload's form.
    pub v: u32,
    /// The document's own version, from 1.
    pub version: u64,
    /// When it was written, microseconds.
    pub issued: i64,
    /// When it ends, microseconds.
    pub expires: i64,
    /// BLAKE3 of the document before.
    pub previous: Option<Id32>,
    /// Who signs trust documents.
    pub root: KeySet,
    /// Who signs jobs, places and delegations.
    pub jobs: KeySet,
    /// Who signs packages, by cabinet.
    pub cabinets: BTreeMap<String, KeySet>,
    /// Keys that count no more, whatever is written elsewhere.
    pub revoked: Vec<Id16>,
}

impl TrustDoc {
    /// Checks what a signature does not say.
    ///
    /// # Errors
    /// What is wrong.
    pub fn validate(&self) -> Result<(), BadPayload> {
        version("the trust document", self.v, TRUST_VERSION)?;
        limit("cabinets in the trust document", self.cabinets.len(), CABINETS_MAX)?;
        limit("revoked keys in the trust document", self.revoked.len(), CABINETS_MAX)?;
        for set in self.cabinets.values().chain([&self.root, &self.jobs]) {
            limit("keys of one role in the trust document", set.keys.len(), KEYS_MAX)?;
        }
        for set in [&self.root, &self.jobs] {
            let enough = set.threshold >= 1 && set.threshold as usize <= set.keys.len();
            if !enough {
                let what = "the trust document's threshold";
                return Err(BadPayload::Word {
                    what,
                    word: format!("{} of {}", set.threshold, set.keys.len()),
                });
            }
        }
        Ok(())
    }
}

/// What a certificate authority's subject says of the root keys, so that a token's fingerprint of the authority pins both:
/// 16 bytes of BLAKE3 over the threshold and the sorted keys.
pub fn root_pin(root: &KeySet) -> [u8; 16] {
    let mut keys: Vec<[u8; 32]> = root.keys.iter().map(|key| key.0).collect();
    keys.sort_unstable();
    let mut hasher = blake3::Hasher::new_derive_key("packhorse 2026-11 root pin");
    hasher.update(&root.threshold.to_le_bytes());
    for key in &keys {
        hasher.update(key);
    }
    // A BLAKE3 hash has 32 bytes, of which the first 16 are taken.
    let mut pin = [0; 16];
    pin.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    pin
}
