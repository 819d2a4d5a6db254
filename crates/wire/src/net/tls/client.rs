//! The calling side: whom to believe at the other end.
//!
//! What is pinned is the identity in the certificate, not the name in the URL: a site may reach its higher system by
//! any name or address, and only a certificate of the pinned authority for the pinned host will do.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{Identity, PROVIDER, TlsError, refuse, roots};
use crate::pki::{CaCert, CertIdentity, CertInfo, PkiError, Role};

/// Whom the calling side believes.
#[derive(Debug, Clone)]
pub enum Pinned {
    /// At joining: any server or relay of the system whose authority has this fingerprint (64 hex digits, from the
    /// token). The authority's certificate must be in the chain presented.
    CaFingerprint(String),
    /// Afterwards: the authority and what was learned at joining.
    Ca {
        /// The authority.
        ca: CaCert,
        /// Who must be at the other end.
        expect: Expect,
    },
}

/// Who must be at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// Its role is one of these.
    pub roles: Vec<Role>,
    /// Its id is this one.
    pub id: Option<String>,
    /// Its name is this one.
    pub name: Option<String>,
}

impl Expect {
    /// Any server or relay.
    pub fn any_higher() -> Self {
        Self { roles: vec![Role::Server, Role::Relay], id: None, name: None }
    }

    /// Exactly the host met at joining: its role and id. Its name and generation may change.
    pub fn host(identity: &CertIdentity) -> Self {
        Self { roles: vec![identity.role], id: Some(identity.id.clone()), name: None }
    }

    fn check(&self, found: &CertIdentity) -> Result<(), NotExpected> {
        if !self.roles.contains(&found.role) {
            return Err(NotExpected::Role { found: found.role, expected: words(&self.roles) });
        }
        if let Some(expected) = self.id.as_ref().filter(|id| **id != found.id) {
            return Err(NotExpected::Id { found: found.to_string(), expected: expected.clone() });
        }
        if let Some(expected) = self.name.as_ref().filter(|name| **name != found.name) {
            return Err(NotExpected::Name { found: found.name.clone(), expected: expected.clone() });
        }
        Ok(())
    }
}

/// Why the host at the other end is not the one looked for.
#[derive(Debug, thiserror::Error)]
enum NotExpected {
    #[error("the other end is a {found}, expected {expected}")]
    Role { found: Role, expected: String },
    #[error("the other end is {found}, expected the host with id {expected}")]
    Id { found: String, expected: String },
    #[error("the other end is named {found}, expected {expected}")]
    Name { found: String, expected: String },
}

fn words(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ")
}

/// The TLS configuration of a caller: TLS 1.3, this one ALPN protocol, an identity if it has one.
///
/// # Errors
/// [`TlsError::Config`].
pub fn client_config(
    pinned: &Pinned,
    identity: Option<&Identity>,
    alpn: &[u8],
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = HigherVerifier { pinned: pinned.clone() };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            Arc::clone(&identity.certified),
        ))),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Believes exactly what is pinned.
#[derive(Debug)]
struct HigherVerifier {
    pinned: Pinned,
}

impl HigherVerifier {
    fn authority(&self, intermediates: &[CertificateDer<'_>]) -> Result<CaCert, Error> {
        match &self.pinned {
            Pinned::Ca { ca, .. } => Ok(ca.clone()),
            Pinned::CaFingerprint(fingerprint) => {
                CaCert::from_chain(intermediates, fingerprint).map_err(refuse)
            }
        }
    }

    fn check_identity(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let found = CertInfo::from_der(leaf).map_err(refuse)?.identity;
        match &self.pinned {
            Pinned::Ca { expect, .. } => expect.check(&found),
            Pinned::CaFingerprint(_) => Expect::any_higher().check(&found),
        }
        .map_err(refuse)
    }
}

/// Another authority of the same name gives a bad signature, one of another name an unknown issuer; to a person both
/// are the same.
fn in_our_words(error: Error) -> Error {
    use rustls::CertificateError::{BadSignature, UnknownIssuer};
    match error {
        Error::InvalidCertificate(BadSignature | UnknownIssuer) => refuse(PkiError::NotOurs),
        other => other,
    }
}

impl ServerCertVerifier for HigherVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = roots(&self.authority(intermediates)?)?;
        let leaf = ParsedCertificate::try_from(end_entity)?;
        // No intermediates are offered: the authority itself must have signed the leaf.
        let algorithms = PROVIDER.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], now, algorithms)
            .map_err(in_our_words)?;
        self.check_identity(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
