//! A relay's wish for its administrator's certificate, and its word on the key with which it would sign jobs: signed by the
//! relay's own certified key, so that no system on the way up can put a key of its own into either.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::cert::{MAX_PEM_BYTES, sha256_hex, single_from_pem};
use super::{CaCert, CertInfo, HostKey, PkiError, chain_from_pem};
use crate::bytes::Id32;

/// What the signature begins with, so that it can never be taken for a signature of anything else.
const DOMAIN: &[u8] = b"packhorse relay access v1\0";

/// The wish, signed.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessProof {
    /// The request for the administrator's key; `None`: only the job key is told.
    pub csr_pem: Option<String>,
    /// The public key with which the relay would sign jobs of its own.
    pub job_key: Id32,
    /// The relay's certificate alone, without the authority's.
    pub cert_pem: String,
    /// ECDSA P-256 by that certificate's key, ASN.1 form.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

impl fmt::Debug for AccessProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessProof").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl AccessProof {
    /// Signs with the relay's key; `chain_pem` is its certificate and the authority's.
    ///
    /// # Errors
    /// [`PkiError::Pem`] or [`PkiError::Crypto`].
    pub fn new(
        key: &HostKey,
        chain_pem: &str,
        csr_pem: Option<String>,
        job_key: Id32,
    ) -> Result<Self, PkiError> {
        let chain = chain_from_pem(chain_pem)?;
        let leaf = chain.first().ok_or(PkiError::NotOurs)?;
        let signature = key.sign(&message(csr_pem.as_deref(), &job_key, leaf))?;
        Ok(Self { csr_pem, job_key, cert_pem: super::cert::pem_text("CERTIFICATE", leaf), signature })
    }
}

/// Checks a wish: the authority signed the certificate, whether or not it has expired, and its key signed the wish. Whether
/// its holder may still ask is the caller's to decide, by role, id and generation.
///
/// # Errors
/// [`PkiError::NotOurs`], [`PkiError::RenewSignature`] and those of reading the certificate.
pub fn verify_access_proof(ca: &CaCert, proof: &AccessProof) -> Result<CertInfo, PkiError> {
    if proof.csr_pem.as_ref().is_some_and(|csr| csr.len() > MAX_PEM_BYTES) {
        return Err(PkiError::Request(format!("longer than {MAX_PEM_BYTES} bytes")));
    }
    let leaf = single_from_pem(&proof.cert_pem)?;
    let info = ca.check_signed(&leaf)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &info.public_key)
        .verify(&message(proof.csr_pem.as_deref(), &proof.job_key, &leaf), &proof.signature)
        .map_err(|_| PkiError::RenewSignature)?;
    Ok(info)
}

/// What is signed: the domain, the hash of the certificate, the job key, the request if there is one.
fn message(csr_pem: Option<&str>, job_key: &Id32, cert_der: &[u8]) -> Vec<u8> {
    let hash = sha256_hex(cert_der);
    let (asks, csr_pem) = (u8::from(csr_pem.is_some()), csr_pem.unwrap_or_default());
    [DOMAIN, hash.as_bytes(), &job_key.0, &[asks], csr_pem.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::bytes::Fixed;
    use crate::pki::{Ca, CertIdentity, Role, Usage, new_id};

    #[test]
    fn a_wish_counts_as_it_was_signed_only() {
        let ca = Ca::create("test", Timestamp::now()).unwrap();
        let key = HostKey::generate().unwrap();
        let identity =
            CertIdentity { role: Role::Relay, id: new_id().unwrap(), name: "osaka".into(), generation: 3 };
        let usage = Usage::Server { addresses: vec!["osaka".into()] };
        let csr = key.csr_pem("osaka").unwrap();
        let issued = ca.issue(&csr, &identity, &usage, Timestamp::now(), Duration::from_secs(60)).unwrap();
        let asked = HostKey::generate().unwrap().csr_pem("osaka").unwrap();
        let proof = AccessProof::new(&key, &issued.chain_pem, Some(asked.clone()), Fixed([7; 32])).unwrap();
        assert_eq!(verify_access_proof(ca.cert(), &proof).unwrap().identity, identity);
        let other = HostKey::generate().unwrap().csr_pem("osaka").unwrap();
        for changed in [
            AccessProof { job_key: Fixed([8; 32]), ..proof.clone() },
            AccessProof { csr_pem: Some(other), ..proof.clone() },
            AccessProof { csr_pem: None, ..proof.clone() },
        ] {
            let refused = verify_access_proof(ca.cert(), &changed);
            assert!(matches!(refused, Err(PkiError::RenewSignature)), "{refused:?}");
        }
        // A renewal is another wish: its signature is none here.
        let renewal = crate::pki::RenewProof::new(&key, &issued.chain_pem, asked).unwrap();
        let taken = AccessProof { signature: renewal.signature, ..proof };
        assert!(verify_access_proof(ca.cert(), &taken).is_err());
    }
}
