//! A manifest comes in: it counts by the keys its cabinet trusts, and is read only then.

use std::sync::Arc;

use axum::http::StatusCode;
use packhorse_content::limits::ENVELOPE_BYTES;
use packhorse_content::manifest::{Manifest, PAYLOAD_TYPE};
use packhorse_domain::ids::PackageLabel;
use packhorse_wire::envelope::{Envelope, EnvelopeError, KeyId};
use packhorse_wire::trust::Trust;

use super::AdminError;
use super::cabinets::unknown_cabinet;
use super::keep::keep_until;
use crate::db::packages::{PackageRecord, order_word};
use crate::system::now;

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
    pub fn of(trust: &Trust, cabinet: &str, bytes: &[u8]) -> Result<Verified, AdminError> {
        if !trust.doc().cabinets.contains_key(cabinet) {
            return Err(unknown_cabinet(cabinet).into());
        }
        let hint = format!(
            "packhorse cabinet trust {cabinet} --key packager.pub, if this packager is to be trusted"
        );
        let refuse = |message: String| {
            AdminError::new(StatusCode::FORBIDDEN, "not_trusted", message).hint(hint.clone())
        };
        let (keys, threshold) = trust.packagers(cabinet).map_err(|error| refuse(error.to_string()))?;
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
