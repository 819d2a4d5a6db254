//! A manifest comes in: it counts by the keys its cabinet trusts, and is read only then.

use std::sync::Arc;

use axum::http::StatusCode;
use packhorse_content::limits::ENVELOPE_BYTES;
use packhorse_content::manifest::{Manifest, PAYLOAD_TYPE};
use packhorse_domain::ids::PackageLabel;
use packhorse_domain::ingest::Position;
use packhorse_wire::envelope::{Envelope, EnvelopeError, KeyId, PublicKey};
use packhorse_wire::trust::{Delegations, Distrust, Trust};

use super::cabinets::unknown_cabinet;
use super::keep::keep_until;
use super::{AdminError, may};
use crate::db::packages::{PackageRecord, order_word};
use crate::granting::{self, Lacks};
use crate::system::{System, now};

/// Whose packages are taken here: at the managing server its trust document says it, at a relay its delegation.
#[derive(Clone)]
pub struct Keyring {
    trust: Arc<Trust>,
    /// At a relay.
    delegated: Option<(String, Arc<Delegations>)>,
}

/// The keys that count for a cabinet, and how many of them have to have signed.
type Keys = Result<(Vec<PublicKey>, usize), Distrust>;

impl Keyring {
    /// Of a system.
    pub fn of(system: &System) -> Keyring {
        let relay = || (system.config.name.clone(), system.delegations());
        Keyring { trust: system.trust(), delegated: (system.position == Position::Relay).then(relay) }
    }

    /// A refusal of a cabinet that is not there, or is not this relay's own.
    fn packagers(&self, cabinet: &str) -> Result<Keys, AdminError> {
        let known = self.trust.doc().cabinets.contains_key(cabinet);
        match &self.delegated {
            None if known => Ok(self.trust.packagers(cabinet)),
            None => Err(unknown_cabinet(cabinet).into()),
            Some((relay, delegations)) => {
                let own = delegations.of(relay).filter(|doc| !doc.revoked);
                let own = own.is_some_and(|doc| doc.cabinets.iter().any(|own| own.name == cabinet));
                if known || !own {
                    return Err(may::not_own_cabinet(relay, delegations.of(relay), "package add", cabinet));
                }
                Ok(self.trust.packagers_in(delegations, relay, cabinet))
            }
        }
    }

    fn hint(&self, cabinet: &str) -> String {
        match &self.delegated {
            None => {
                format!(
                    "packhorse cabinet trust {cabinet} --key packager.pub, if this packager is to be trusted"
                )
            }
            Some((relay, delegations)) => {
                granting::command(relay, delegations.of(relay), Lacks::Cabinet(cabinet))
            }
        }
    }
}

/// A manifest that the cabinet's packagers signed.
pub struct Verified {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// The keys that count and signed it.
    signed_by: Vec<KeyId>,
}

impl Verified {
    /// Verifies an envelope, and reads it only then.
    ///
    /// # Errors
    /// Why the signature does not count, or the manifest is none.
    pub fn of(keyring: &Keyring, cabinet: &str, bytes: &[u8]) -> Result<Verified, AdminError> {
        let hint = keyring.hint(cabinet);
        let refuse = |message: String| {
            AdminError::new(StatusCode::FORBIDDEN, "not_trusted", message).hint(hint.clone())
        };
        let found = keyring.packagers(cabinet)?;
        let (keys, threshold) = found.map_err(|error| refuse(error.to_string()))?;
        let envelope = Envelope::decode(bytes, ENVELOPE_BYTES)
            .map_err(|error| AdminError::bad_request(format!("the manifest: {error}")))?;
        let find = |id: &KeyId| keys.iter().find(|key| key.id() == *id).copied();
        let payload = envelope.verify(PAYLOAD_TYPE, find, threshold).map_err(|error| match error {
            EnvelopeError::TooFewSignatures { .. } => {
                refuse(format!("cabinet {cabinet} trusts none of the keys that signed this package"))
            }
            EnvelopeError::BadSignature(_) => {
                AdminError::new(StatusCode::FORBIDDEN, "bad_signature", format!("the manifest: {error}"))
                    .hint("build and sign the package again")
            }
            other => AdminError::bad_request(format!("the manifest: {other}")),
        })?;
        let manifest = Manifest::parse(payload)
            .map_err(|error| AdminError::new(StatusCode::BAD_REQUEST, "bad_manifest", error.to_string()))?;
        let signed_by = envelope.signatures.iter().map(|signature| signature.key_id);
        let signed_by = signed_by.filter(|id| find(id).is_some()).collect();
        Ok(Verified { manifest: Arc::new(manifest), signed_by })
    }

    /// The registration of the package in a cabinet, now.
    pub fn record(&self, cabinet: &str) -> PackageRecord {
        record(&self.manifest, self.signed_by.clone(), cabinet)
    }
}

/// What is written down of a package in a cabinet, as if it was registered now; the registration gives the generation.
pub fn record(manifest: &Manifest, signed_by: Vec<KeyId>, cabinet: &str) -> PackageRecord {
    let registered = now();
    let depends = manifest.deb().map(|deb| {
        let parts = [deb.pre_depends.as_str(), deb.depends.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    });
    let keys: Vec<String> = signed_by.iter().map(ToString::to_string).collect();
    PackageRecord {
        id: manifest.id(),
        label: PackageLabel {
            cabinet: cabinet.to_owned(),
            name: manifest.name().to_owned(),
            version: manifest.version().to_owned(),
            generation: 0,
        },
        version_order: order_word(manifest.version_order()).to_owned(),
        kind: manifest.kind().as_str().to_owned(),
        summary: manifest.summary().to_owned(),
        depends,
        keep: manifest.keep().to_string(),
        keep_until: keep_until(manifest.keep(), registered),
        size_bytes: manifest.plain_bytes(),
        chunks: u64::from(manifest.chunk_count()),
        entries: manifest.entries().len() as u64,
        signed_by: keys.join(" "),
        registered,
    }
}
