//! Reading certificates: what one says, who signed it.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::identity::{hex, shortened};
use super::{CertIdentity, PkiError};

/// Longest PEM text that is looked at, in bytes.
pub(super) const MAX_PEM_BYTES: usize = 32 * 1024;

/// Most certificates in one chain. Ours have two: the holder's and the authority's.
const MAX_CHAIN: usize = 4;

/// The public half of the authority: its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCert {
    der: CertificateDer<'static>,
}

impl CaCert {
    /// Takes the authority's certificate in DER; it must be allowed to sign certificates.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when it cannot be read or is no authority's.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let parsed = parse(der)?;
        if !parsed.is_ca() {
            return Err(PkiError::Certificate("it is not a certificate authority's".into()));
        }
        Ok(Self { der: CertificateDer::from(der.to_vec()) })
    }

    /// Takes the authority's certificate in PEM.
    ///
    /// # Errors
    /// [`PkiError::Pem`] or [`PkiError::Certificate`].
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        Self::from_der(&single_from_pem(pem)?)
    }

    /// Finds the authority in a chain by its fingerprint (SHA-256 of the DER, hex), as a joining host must.
    ///
    /// # Errors
    /// [`PkiError::Fingerprint`] when no certificate of the chain has it.
    pub fn from_chain(chain: &[CertificateDer<'_>], fingerprint: &str) -> Result<Self, PkiError> {
        let found = chain.iter().find(|der| sha256_hex(der) == fingerprint);
        match found {
            Some(der) => Self::from_der(der),
            None => Err(PkiError::Fingerprint {
                found: chain.last().map_or_else(|| "none".into(), |der| sha256_hex(der)),
                expected: shortened(fingerprint),
            }),
        }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate in PEM.
    pub fn to_pem(&self) -> String {
        pem_text("CERTIFICATE", &self.der)
    }

    /// SHA-256 of the DER as 64 lower-case hex digits; what a join token pins.
    pub fn fingerprint(&self) -> String {
        sha256_hex(&self.der)
    }

    /// The authority's public key: an uncompressed P-256 point.
    pub(super) fn public_key(&self) -> Result<Vec<u8>, PkiError> {
        Ok(parse(&self.der)?.public_key().subject_public_key.data.to_vec())
    }

    /// Reads a certificate that this authority must have signed. Whether it has expired is not looked at.
    ///
    /// # Errors
    /// [`PkiError::Certificate`], [`PkiError::NotOurs`], [`PkiError::Identity`].
    pub fn check_signed(&self, leaf_der: &[u8]) -> Result<CertInfo, PkiError> {
        let leaf = parse(leaf_der)?;
        let ca = parse(&self.der)?;
        let same_issuer = leaf.issuer().as_raw() == ca.subject().as_raw();
        if leaf.is_ca() || !same_issuer || leaf.verify_signature(Some(ca.public_key())).is_err() {
            return Err(PkiError::NotOurs);
        }
        CertInfo::of(&leaf)
    }
}

/// What one certificate says about its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertInfo {
    /// Who the holder is.
    pub identity: CertIdentity,
    /// The serial number, lower-case hex; unique per certificate.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// The holder's public key: an uncompressed P-256 point of 65 bytes.
    pub public_key: Vec<u8>,
}

impl CertInfo {
    /// Reads a certificate. It says nothing about who signed it.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] or [`PkiError::Identity`].
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        Self::of(&parse(der)?)
    }

    fn of(cert: &X509Certificate<'_>) -> Result<Self, PkiError> {
        Ok(Self {
            identity: identity_of(cert)?,
            serial: hex(&cert.tbs_certificate.serial.to_bytes_be()),
            not_before: moment(cert.validity().not_before.timestamp())?,
            not_after: moment(cert.validity().not_after.timestamp())?,
            public_key: cert.public_key().subject_public_key.data.to_vec(),
        })
    }
}

/// Reads a chain, the holder's certificate first: 1 to 4 certificates in at most 32 KiB.
///
/// # Errors
/// [`PkiError::Pem`].
pub fn chain_from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let bad = |why: String| PkiError::Pem { kind: "certificate chain", why };
    if pem.len() > MAX_PEM_BYTES {
        return Err(bad(format!("longer than {MAX_PEM_BYTES} bytes")));
    }
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(MAX_CHAIN + 1)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    match chain.len() {
        0 => Err(bad("no certificate in it".into())),
        1..=MAX_CHAIN => Ok(chain),
        _ => Err(bad(format!("more than {MAX_CHAIN} certificates"))),
    }
}

/// Reads text that holds exactly one certificate.
pub(super) fn single_from_pem(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    let mut chain = chain_from_pem(pem)?;
    match (chain.pop(), chain.is_empty()) {
        (Some(der), true) => Ok(der),
        _ => Err(PkiError::Pem { kind: "certificate", why: "exactly one was expected".into() }),
    }
}

/// Reads one certificate, refusing anything after it.
fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok(([], cert)) => Ok(cert),
        Ok(_) => Err(PkiError::Certificate("bytes follow its end".into())),
        Err(error) => Err(PkiError::Certificate(error.to_string())),
    }
}

fn identity_of(cert: &X509Certificate<'_>) -> Result<CertIdentity, PkiError> {
    let names = cert
        .subject_alternative_name()
        .map_err(|error| PkiError::Identity(error.to_string()))?
        .ok_or_else(|| PkiError::Identity("it carries no alternative names".into()))?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => CertIdentity::parse_uri(uri),
        (None, _) => Err(PkiError::Identity("it carries no URI".into())),
        (Some(_), Some(_)) => Err(PkiError::Identity("it carries more than one URI".into())),
    }
}

fn moment(secs: i64) -> Result<Timestamp, PkiError> {
    Timestamp::from_second(secs).map_err(|_| PkiError::Validity("a certificate's date cannot be represented"))
}

/// SHA-256 as 64 lower-case hex digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// PEM text of one block, lines of 64 characters.
pub(super) fn pem_text(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    // Base64 is ASCII, so every 64-byte piece is whole characters.
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
