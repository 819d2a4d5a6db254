//! What can be wrong with keys, certificates and requests for them.

use std::path::PathBuf;

/// Why something about a key, a certificate or a request was refused.
///
/// Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate names no identity, more than one, or one that is malformed.
    #[error("certificate identity is not usable: {0}")]
    Identity(String),
    /// A host name that cannot be put into a certificate.
    #[error("name {name:?} is not usable in a certificate: {why}")]
    Name {
        /// The name as given, cut to a printable length.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// An address that cannot be put into a server's certificate.
    #[error("address {0:?} is neither an IP address nor a host name")]
    Address(String),
    /// Text that should be PEM of a given kind and is not.
    #[error("not a {kind} in PEM form: {why}")]
    Pem {
        /// What was expected.
        kind: &'static str,
        /// What was found.
        why: String,
    },
    /// Bytes that should be one X.509 certificate and are not.
    #[error("certificate cannot be read: {0}")]
    Certificate(String),
    /// A certificate request that is malformed, too large or not signed by its own key.
    #[error("certificate request refused: {0}")]
    Request(String),
    /// A certificate that the authority at hand did not sign.
    #[error("certificate was not signed by this system's certificate authority")]
    NotOurs,
    /// A certificate that belongs to another key.
    #[error("certificate belongs to another key")]
    OtherKey,
    /// The authority's certificate has another fingerprint than expected.
    #[error("certificate authority has fingerprint {found}, expected {expected}")]
    Fingerprint {
        /// SHA-256 of the certificate that was presented, hex.
        found: String,
        /// SHA-256 that was pinned, hex.
        expected: String,
    },
    /// A role asked for with the wrong kind of certificate.
    #[error("a certificate for role {role} must be issued for {needed}")]
    Usage {
        /// The role asked for.
        role: &'static str,
        /// What the role needs.
        needed: &'static str,
    },
    /// A moment or a lifetime that a certificate cannot hold.
    #[error("validity is out of range: {0}")]
    Validity(&'static str),
    /// A renewal proof whose signature is not by the old certificate's key.
    #[error("renewal is not signed by the key of the old certificate")]
    RenewSignature,
    /// The crypto library refused; its own words.
    #[error("cryptography failed: {0}")]
    Crypto(String),
    /// A key or certificate file that could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<rcgen::Error> for PkiError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}
