//! The listening side: presents a certificate that can be replaced while running, and checks callers' certificates.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use super::{H2, HTTP1, Identity, PROVIDER, TlsError, refuse, roots};
use crate::pki::{CaCert, CertInfo};

/// The TLS side of a listener. Clones share one certificate.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// TLS 1.3 for callers whose certificate `ca` signed, and for callers without one (they may join and renew; the
    /// service sees that they have no identity). A certificate that is expired, of another authority or without an
    /// identity ends the handshake.
    ///
    /// # Errors
    /// [`TlsError`] when the authority cannot be used.
    pub fn new(ca: &CaCert, identity: &Identity) -> Result<Self, TlsError> {
        let current = Arc::new(Current { key: RwLock::new(Arc::clone(&identity.certified)) });
        let roots = Arc::new(roots(ca).map_err(TlsError::config)?);
        let chain = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&PROVIDER))
            .allow_unauthenticated()
            .build()
            .map_err(TlsError::config)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::config)?
            .with_client_cert_verifier(Arc::new(CallerVerifier { chain }))
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), current })
    }

    /// Presents another certificate from the next connection on; those that stand are not touched.
    pub fn replace(&self, identity: &Identity) {
        let mut key = self.current.key.write().unwrap_or_else(PoisonError::into_inner);
        *key = Arc::clone(&identity.certified);
    }

    /// The configuration, for a listener of another kind.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The certificate presented now.
struct Current {
    key: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(secret)")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The library's check of the chain, and then that the certificate names an identity.
#[derive(Debug)]
struct CallerVerifier {
    chain: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for CallerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        CertInfo::from_der(end_entity).map_err(refuse)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
