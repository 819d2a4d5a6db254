//! The key of one host: made here, never sent anywhere.

use std::fmt;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};

use super::files::{read_text, write_private};
use super::{CaCert, CertInfo, PkiError, chain_from_pem, check_name};

/// The private key of a host, an administrator or a server (ECDSA P-256).
pub struct HostKey {
    key: KeyPair,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(secret)")
    }
}

impl HostKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`PkiError::Crypto`].
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self { key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)? })
    }

    /// Reads a key from PEM (PKCS #8).
    ///
    /// # Errors
    /// [`PkiError::Pem`], also for a key of another kind than ECDSA P-256.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let bad = |why: String| PkiError::Pem { kind: "private key", why };
        let key = KeyPair::from_pem(pem).map_err(|error| bad(error.to_string()))?;
        if !key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(bad("its kind is not ECDSA P-256".into()));
        }
        Ok(Self { key })
    }

    /// Reads a key from a file.
    ///
    /// # Errors
    /// [`PkiError::File`] or [`PkiError::Pem`].
    pub fn load(path: &Path) -> Result<Self, PkiError> {
        Self::from_pem(&read_text(path)?)
    }

    /// Writes the key into a file with mode 0600.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, path: &Path) -> Result<(), PkiError> {
        write_private(path, &self.to_secret_pem())
    }

    /// The private key as PEM. For files of mode 0600 only: never log it, never send it.
    pub fn to_secret_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A certificate request for this key, PEM. The issuer takes nothing from it but the key.
    ///
    /// # Errors
    /// [`PkiError::Name`] or [`PkiError::Crypto`].
    pub fn csr_pem(&self, name: &str) -> Result<String, PkiError> {
        check_name(name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params.serialize_request(&self.key)?.pem()?)
    }

    /// Checks a chain just received: its first certificate belongs to this key and is signed by the authority.
    ///
    /// # Errors
    /// [`PkiError::OtherKey`], [`PkiError::NotOurs`] and those of reading it.
    pub fn check_chain(&self, chain_pem: &str, ca: &CaCert) -> Result<CertInfo, PkiError> {
        let chain = chain_from_pem(chain_pem)?;
        // `chain_from_pem` never answers an empty chain.
        let leaf = chain.first().ok_or(PkiError::NotOurs)?;
        let info = ca.check_signed(leaf)?;
        if info.public_key != self.key.public_key_raw() {
            return Err(PkiError::OtherKey);
        }
        Ok(info)
    }

    /// Signs a message (ECDSA P-256 with SHA-256, ASN.1 form).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        Ok(self.key.sign(message)?)
    }

    /// The private key in DER (PKCS #8), for the TLS configuration.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }
}
