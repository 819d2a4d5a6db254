//! The certificate authority: made once, at the managing server, and the only thing that signs certificates.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber,
};

use super::cert::MAX_PEM_BYTES;
use super::files::{read_text, write_private};
use super::identity::{random, shortened};
use super::{CaCert, CertIdentity, CertInfo, PkiError, check_name};

/// How long a host's certificate is good unless said: 30 days.
pub const HOST_LIFETIME: Duration = Duration::from_secs(30 * DAY_SECS);

const DAY_SECS: u64 = 24 * 60 * 60;

/// How long the authority itself is good: ten years.
const CA_LIFETIME: Duration = Duration::from_secs(3652 * DAY_SECS);

/// Most addresses in one server certificate.
const MAX_ADDRESSES: usize = 32;

/// What a certificate may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// Calling only: clients and administrators.
    Client,
    /// Listening as well as calling: the managing server and relays.
    Server {
        /// Names and IP addresses it is reached by, without ports.
        addresses: Vec<String>,
    },
}

impl Usage {
    /// The usage of a server or relay: its name, the address it listens on, each extra address (with or without a
    /// port), and `localhost` when it listens on loopback.
    pub fn server(name: &str, listen: SocketAddr, extra: &[String]) -> Self {
        let mut addresses = vec![name.to_owned()];
        if !listen.ip().is_unspecified() {
            addresses.push(listen.ip().to_string());
        }
        // Listening on everything includes loopback.
        if listen.ip().is_loopback() || listen.ip().is_unspecified() {
            addresses.push("localhost".into());
        }
        addresses.extend(extra.iter().map(|address| without_port(address).to_owned()));
        let mut seen = std::collections::BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        Self::Server { addresses }
    }
}

/// A certificate just issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The holder's certificate and then the authority's, PEM.
    pub chain_pem: String,
    /// What the certificate says; the issuer keeps its serial.
    pub info: CertInfo,
}

/// The certificate authority with its private key.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    cert: CaCert,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("fingerprint", &self.cert.fingerprint()).finish_non_exhaustive()
    }
}

impl Ca {
    /// Makes a new authority: an ECDSA P-256 key and a self-signed certificate good for ten years from `now`.
    ///
    /// # Errors
    /// [`PkiError::Crypto`]; [`PkiError::Name`] for a `name` that does not fit into a certificate.
    pub fn create(name: &str, now: Timestamp) -> Result<Self, PkiError> {
        check_name(name)?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(&format!("Packhorse CA {name}"), now, CA_LIFETIME)?;
        // No intermediate authorities: a chain is always holder, authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key)?;
        Self::from_parts(CaCert::from_der(cert.der())?, key)
    }

    /// Reads the authority from the PEM of its certificate and of its key.
    ///
    /// # Errors
    /// [`PkiError::Pem`], [`PkiError::Certificate`]; [`PkiError::OtherKey`] when the two do not belong together.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem)
            .map_err(|error| PkiError::Pem { kind: "private key", why: error.to_string() })?;
        Self::from_parts(CaCert::from_pem(cert_pem)?, key)
    }

    /// Reads the authority from its two files.
    ///
    /// # Errors
    /// As [`Ca::from_pem`], and [`PkiError::File`].
    pub fn load(cert_path: &Path, key_path: &Path) -> Result<Self, PkiError> {
        Self::from_pem(&read_text(cert_path)?, &read_text(key_path)?)
    }

    /// Writes the authority into two files of mode 0600.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, cert_path: &Path, key_path: &Path) -> Result<(), PkiError> {
        write_private(key_path, &self.issuer.key().serialize_pem())?;
        write_private(cert_path, &self.cert.to_pem())
    }

    /// The public half.
    pub fn cert(&self) -> &CaCert {
        &self.cert
    }

    /// SHA-256 of the authority's certificate, 64 hex digits.
    pub fn fingerprint(&self) -> String {
        self.cert.fingerprint()
    }

    /// Signs a certificate for the key in a request, valid for `lifetime` from `not_before`.
    ///
    /// Only the key is taken from the request, and its signature proves that the sender holds it; name, usage and
    /// everything else is what the caller says. Servers and relays get a certificate to listen and to call with.
    /// A `not_before` a few minutes back spares hosts whose clock is slow.
    ///
    /// # Errors
    /// [`PkiError::Request`], [`PkiError::Usage`], [`PkiError::Name`], [`PkiError::Address`], [`PkiError::Validity`].
    pub fn issue(
        &self,
        csr_pem: &str,
        identity: &CertIdentity,
        usage: &Usage,
        not_before: Timestamp,
        lifetime: Duration,
    ) -> Result<Issued, PkiError> {
        identity.check()?;
        let mut request = read_request(csr_pem)?;
        request.params = leaf_params(identity, usage, not_before, lifetime)?;
        let cert = request.signed_by(&self.issuer)?;
        let chain_pem = format!("{}{}", ensure_newline(cert.pem()), self.cert.to_pem());
        Ok(Issued { chain_pem, info: CertInfo::from_der(cert.der())? })
    }

    fn from_parts(cert: CaCert, key: KeyPair) -> Result<Self, PkiError> {
        if cert.public_key()? != key.public_key_raw() {
            return Err(PkiError::OtherKey);
        }
        let issuer = Issuer::from_ca_cert_der(cert.der(), key)?;
        Ok(Self { issuer, cert })
    }
}

/// Reads a certificate request and checks that its own key signed it and is ECDSA P-256.
fn read_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, PkiError> {
    if csr_pem.len() > MAX_PEM_BYTES {
        return Err(PkiError::Request(format!("longer than {MAX_PEM_BYTES} bytes")));
    }
    let request = CertificateSigningRequestParams::from_pem(csr_pem)
        .map_err(|error| PkiError::Request(error.to_string()))?;
    let point = request.public_key.der_bytes();
    // The algorithm names the hash only; the length of the point says which curve.
    if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 || point.len() != 65 || point[0] != 4 {
        return Err(PkiError::Request("its key must be ECDSA P-256".into()));
    }
    Ok(request)
}

fn leaf_params(
    identity: &CertIdentity,
    usage: &Usage,
    not_before: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, PkiError> {
    let mut params = params(&identity.name, not_before, lifetime)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(identity.to_uri().try_into()?)];
    match (identity.role.listens(), usage) {
        (false, Usage::Client) => {}
        (true, Usage::Server { addresses }) => {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            params.subject_alt_names.extend(address_names(addresses)?);
        }
        (true, Usage::Client) => {
            return Err(PkiError::Usage { role: identity.role.as_str(), needed: "listening" });
        }
        (false, Usage::Server { .. }) => {
            return Err(PkiError::Usage { role: identity.role.as_str(), needed: "calling only" });
        }
    }
    Ok(params)
}

fn address_names(addresses: &[String]) -> Result<Vec<SanType>, PkiError> {
    if addresses.len() > MAX_ADDRESSES {
        return Err(PkiError::Address(format!("{} addresses, at most {MAX_ADDRESSES}", addresses.len())));
    }
    addresses.iter().map(|address| address_name(address)).collect()
}

fn address_name(address: &str) -> Result<SanType, PkiError> {
    let bad = || PkiError::Address(shortened(address));
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let fits = !address.is_empty()
        && address.len() <= 253
        && address.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !fits {
        return Err(bad());
    }
    Ok(SanType::DnsName(address.try_into().map_err(|_| bad())?))
}

/// `host`, `host:1`, `1.2.3.4:1`, `[::1]:1`, `::1` without the port and brackets.
fn without_port(address: &str) -> &str {
    if let Some(rest) = address.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(ip, _)| ip);
    }
    match address.split_once(':') {
        // A second colon: an IPv6 address without a port.
        Some((host, rest)) if !rest.contains(':') => host,
        _ => address,
    }
}

fn params(
    common_name: &str,
    not_before: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // Not derived from the key, as is the default: two certificates of one key must differ in it.
    let mut serial = random::<16>()?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let (start, end) = validity(not_before, lifetime)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(start);
    params.not_after = epoch + Duration::from_secs(end);
    Ok(params)
}

/// Start and end in whole seconds since 1970, inside what a certificate's date can say.
fn validity(not_before: Timestamp, lifetime: Duration) -> Result<(u64, u64), PkiError> {
    /// 9000-01-01, well before the last year that four digits can say.
    const LAST_SECS: u64 = 221_845_392_000;
    let start = u64::try_from(not_before.as_second())
        .map_err(|_| PkiError::Validity("it begins before 1970; set the clock"))?;
    if lifetime.as_secs() == 0 {
        return Err(PkiError::Validity("it ends when it begins"));
    }
    match start.checked_add(lifetime.as_secs()) {
        Some(end) if end < LAST_SECS => Ok((start, end)),
        _ => Err(PkiError::Validity("it ends after the year 9000")),
    }
}

fn ensure_newline(mut pem: String) -> String {
    if !pem.ends_with('\n') {
        pem.push('\n');
    }
    pem
}
