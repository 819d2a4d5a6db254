//! TLS 1.3 with certificates of our own authority only; never the web's.
//!
//! Sessions are not resumed: a resumed session would skip looking at the certificates, and its state costs memory for
//! every held connection.

mod client;
mod server;

use std::fmt;
use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, OtherError, RootCertStore};

use crate::pki::{CaCert, HostKey, PkiError, chain_from_pem};

pub use client::{Expect, Pinned, client_config};
pub use server::ServerTls;

/// ALPN name of HTTP/2: the control connection.
pub(super) const H2: &[u8] = b"h2";
/// ALPN name of HTTP/1.1: content.
pub(super) const HTTP1: &[u8] = b"http/1.1";

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Why this side's certificates and key make no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key cannot be read.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The TLS library refuses them.
    #[error("tls cannot use this certificate, key or authority: {0}")]
    Config(String),
}

impl TlsError {
    fn config(error: impl fmt::Display) -> Self {
        Self::Config(error.to_string())
    }
}

/// A certificate chain and its private key, as presented to the other side.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(secret)")
    }
}

impl Identity {
    /// Puts a chain (PEM, the holder's certificate first, then the authority's) and its key together.
    ///
    /// # Errors
    /// [`TlsError`] when the chain cannot be read or belongs to another key.
    pub fn new(chain_pem: &str, key: &HostKey) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = chain_from_pem(chain_pem)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_der()));
        let certified = CertifiedKey::from_der(chain, key, &PROVIDER).map_err(TlsError::config)?;
        Ok(Self { certified: Arc::new(certified) })
    }

    /// Puts a chain and a key, both PEM, together.
    ///
    /// # Errors
    /// As [`Identity::new`], and for a key that cannot be read.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, TlsError> {
        Self::new(chain_pem, &HostKey::from_pem(key_pem)?)
    }
}

fn roots(ca: &CaCert) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone())?;
    Ok(roots)
}

/// A refusal in our own words that the other side sees as "certificate unknown".
fn refuse(why: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// What a TLS error says to a person: the words of [`refuse`], or those of the library.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => why.to_string(),
        other => other.to_string(),
    }
}
