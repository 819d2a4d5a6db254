//! Renewing a certificate: when it is due, and how a host that was off past its certificate's end proves who it is.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cert::{MAX_PEM_BYTES, sha256_hex, single_from_pem};
use super::{CaCert, CertInfo, HostKey, PkiError, chain_from_pem};

/// What the signature of a renewal begins with, so that it can never be taken for a signature of anything else.
const DOMAIN: &[u8] = b"packhorse renew v1\0";

/// Whether a certificate should be renewed now: two thirds of its life are over.
pub fn renew_due(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
    let life_secs = not_after.as_second().saturating_sub(not_before.as_second()).max(0);
    let age_secs = now.as_second().saturating_sub(not_before.as_second());
    age_secs >= life_secs / 3 * 2 + life_secs % 3 * 2 / 3
}

/// A request for a new certificate, signed by the key of the old one. It needs no connection with a certificate, and
/// so serves a host whose certificate has expired.
///
/// Caught and sent again it is of no use to anybody else: the new certificate is for the key in the request.
#[derive(Clone, Serialize, Deserialize)]
pub struct RenewProof {
    /// The request for the new key.
    pub csr_pem: String,
    /// The old certificate alone, without the authority's.
    pub old_cert_pem: String,
    /// ECDSA P-256 by the old certificate's key, ASN.1 form.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

impl fmt::Debug for RenewProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewProof").field("old_cert_pem", &self.old_cert_pem).finish_non_exhaustive()
    }
}

impl RenewProof {
    /// Signs `csr_pem` (the new key's request) with the key of the old certificate, the first of `old_chain_pem`.
    ///
    /// # Errors
    /// [`PkiError::Pem`] or [`PkiError::Crypto`].
    pub fn new(old_key: &HostKey, old_chain_pem: &str, csr_pem: String) -> Result<Self, PkiError> {
        let chain = chain_from_pem(old_chain_pem)?;
        let leaf = chain.first().ok_or(PkiError::NotOurs)?;
        let signature = old_key.sign(&message(&csr_pem, leaf))?;
        Ok(Self { csr_pem, old_cert_pem: super::cert::pem_text("CERTIFICATE", leaf), signature })
    }
}

/// Checks a renewal proof: the authority signed the old certificate, whether or not it has expired, and its key signed
/// the request. Whether the host may still have a certificate (retired? an older generation?) is the caller's to
/// decide, by id, generation and serial. The request itself is checked when the certificate is issued.
///
/// # Errors
/// [`PkiError::NotOurs`], [`PkiError::RenewSignature`] and those of reading the certificate.
pub fn verify_renew_proof(ca: &CaCert, proof: &RenewProof) -> Result<CertInfo, PkiError> {
    if proof.csr_pem.len() > MAX_PEM_BYTES {
        return Err(PkiError::Request(format!("longer than {MAX_PEM_BYTES} bytes")));
    }
    let leaf = single_from_pem(&proof.old_cert_pem)?;
    let info = ca.check_signed(&leaf)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &info.public_key)
        .verify(&message(&proof.csr_pem, &leaf), &proof.signature)
        .map_err(|_| PkiError::RenewSignature)?;
    Ok(info)
}

/// What is signed: the domain, the hash of the old certificate, the request.
fn message(csr_pem: &str, old_cert_der: &[u8]) -> Vec<u8> {
    [DOMAIN, sha256_hex(old_cert_der).as_bytes(), csr_pem.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_at_two_thirds() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        for (now, due) in
            [(999, false), (1000, false), (1199, false), (1200, true), (1300, true), (9999, true)]
        {
            assert_eq!(renew_due(at(1000), at(1300), at(now)), due, "at {now}");
        }
        assert!(renew_due(at(5), at(5), at(5)));
    }
}
