//! A host's word that it calls another system than before: signed by its certified key, so that no relay can say it in the
//! host's name, and none that the host called once can say it again later.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::cert::{MAX_PEM_BYTES, sha256_hex, single_from_pem};
use super::{CaCert, CertInfo, HostKey, PkiError, chain_from_pem};
use crate::bytes::Id16;

/// What the signature begins with, so that it can never be taken for a signature of anything else.
const DOMAIN: &[u8] = b"packhorse call v1\0";

/// The word, signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallProof {
    /// The system it calls: a relay's id, or the managing server's.
    pub to: Id16,
    /// Which of the host's changes this is; a higher one counts.
    pub number: u64,
    /// Since when, microseconds, by the host's clock.
    pub since: i64,
    /// The host's certificate alone, without the authority's.
    pub cert_pem: String,
    /// ECDSA P-256 by that certificate's key, ASN.1 form.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

impl fmt::Debug for CallProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallProof")
            .field("to", &self.to)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl CallProof {
    /// Signs with the host's key; `chain_pem` is its certificate and the authority's.
    ///
    /// # Errors
    /// [`PkiError::Pem`] or [`PkiError::Crypto`].
    pub fn new(key: &HostKey, chain_pem: &str, to: Id16, number: u64, since: i64) -> Result<Self, PkiError> {
        let chain = chain_from_pem(chain_pem)?;
        let leaf = chain.first().ok_or(PkiError::NotOurs)?;
        let signature = key.sign(&message(&to, number, since, leaf))?;
        let cert_pem = super::cert::pem_text("CERTIFICATE", leaf);
        Ok(Self { to, number, since, cert_pem, signature })
    }
}

/// Checks a word: the authority signed the certificate, whether or not it has expired, and its key signed the word. Whether
/// its holder may still call is the caller's to decide, by role, id and generation.
///
/// # Errors
/// [`PkiError::NotOurs`], [`PkiError::RenewSignature`] and those of reading the certificate.
pub fn verify_call_proof(ca: &CaCert, proof: &CallProof) -> Result<CertInfo, PkiError> {
    if proof.cert_pem.len() > MAX_PEM_BYTES {
        return Err(PkiError::Request(format!("a certificate longer than {MAX_PEM_BYTES} bytes")));
    }
    // Databases count to 2^63 - 1, and nobody has called that often.
    if i64::try_from(proof.number).is_err() {
        return Err(PkiError::Request(format!("{} is no number of a call", proof.number)));
    }
    let leaf = single_from_pem(&proof.cert_pem)?;
    let info = ca.check_signed(&leaf)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &info.public_key)
        .verify(&message(&proof.to, proof.number, proof.since, &leaf), &proof.signature)
        .map_err(|_| PkiError::RenewSignature)?;
    Ok(info)
}

/// What is signed: the domain, the hash of the certificate, whom it calls, the number, since when.
fn message(to: &Id16, number: u64, since: i64, cert_der: &[u8]) -> Vec<u8> {
    let hash = sha256_hex(cert_der);
    [DOMAIN, hash.as_bytes(), &to.0, &number.to_be_bytes(), &since.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::bytes::Fixed;
    use crate::pki::{Ca, CertIdentity, Role, Usage, new_id};

    #[test]
    fn a_word_counts_as_it_was_signed_only() {
        let ca = Ca::create("test", Timestamp::now()).unwrap();
        let key = HostKey::generate().unwrap();
        let identity =
            CertIdentity { role: Role::Client, id: new_id().unwrap(), name: "pc1".into(), generation: 3 };
        let csr = key.csr_pem("pc1").unwrap();
        let issued =
            ca.issue(&csr, &identity, &Usage::Client, Timestamp::now(), Duration::from_secs(60)).unwrap();
        let proof = CallProof::new(&key, &issued.chain_pem, Fixed([7; 16]), 5, 9).unwrap();
        assert_eq!(verify_call_proof(ca.cert(), &proof).unwrap().identity, identity);
        for changed in [
            CallProof { to: Fixed([8; 16]), ..proof.clone() },
            CallProof { number: 6, ..proof.clone() },
            CallProof { since: 8, ..proof.clone() },
        ] {
            let refused = verify_call_proof(ca.cert(), &changed);
            assert!(matches!(refused, Err(PkiError::RenewSignature)), "{refused:?}");
        }
        let endless = CallProof::new(&key, &issued.chain_pem, Fixed([7; 16]), u64::MAX, 9).unwrap();
        assert!(verify_call_proof(ca.cert(), &endless).is_err());
        let other = Ca::create("other", Timestamp::now()).unwrap();
        assert!(verify_call_proof(other.cert(), &proof).is_err());
    }
}
