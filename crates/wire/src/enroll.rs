//! Joining a higher system, and the folder in which a host keeps who it is. Used by relays and clients alike.
//!
//! The key is made here and never leaves. The token's fingerprint pins the certificate authority, and the authority's
//! subject names the root keys, so that not even the relay a host joins through can hand it a trust document of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use packhorse_domain::ids::{HostId, Name};
use packhorse_domain::job::{HostRole, Place};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::messages::{JOIN, JoinRequest, JoinResponse, PROTOCOL, RENEW, RenewRequest, RenewResponse};
use crate::net::{Expect, Identity, Link, LinkError, Pinned, TlsError};
use crate::pki::{CaCert, CertIdentity, CertInfo, HostKey, PkiError, RenewProof, Role, write_private};
use crate::token::{Token, TokenError};
use crate::trust::{Distrust, Trust};

/// How long joining or renewing may take, all relays on the way included.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a host was not let in, or cannot say who it is.
#[derive(Debug, Error)]
pub enum EnrollError {
    /// The token.
    #[error("the token: {0}")]
    Token(#[from] TokenError),
    /// The connection, or the higher system's refusal.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What was answered is not trusted.
    #[error("what {url} answered is not trusted: {error}")]
    Distrust {
        /// Who answered.
        url: String,
        /// Why.
        error: Distrust,
    },
    /// The answer does not fit what was asked.
    #[error("what {url} answered does not fit what was asked: {what}")]
    Answer {
        /// Who answered.
        url: String,
        /// What does not fit.
        what: &'static str,
    },
    /// A token for the other role.
    #[error("this token is for a {token}, not for a {asked}")]
    Role {
        /// The token's role.
        token: Role,
        /// The role asked for.
        asked: &'static str,
    },
    /// The folder holds an identity already.
    #[error("{0} holds an identity already: a host joins once")]
    Exists(PathBuf),
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The identity file.
    #[error("{path} cannot be read: {why}")]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> EnrollError + '_ {
    move |error| EnrollError::File { path: path.to_owned(), error }
}

/// Who the higher system is, as pinned at joining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Higher {
    /// Its address: the first one for control and content until `host move`.
    pub url: String,
    /// `server` or `relay`.
    pub role: Role,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What a host keeps of its identity, apart from keys and certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct IdentityFile {
    version: u32,
    name: String,
    id: String,
    role: String,
    addresses: Vec<String>,
    higher: Higher,
}

const IDENTITY_VERSION: u32 = 1;

/// A host's identity.
#[derive(Debug, Clone)]
pub struct HostIdentity {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: HostId,
    /// What it is.
    pub role: HostRole,
    /// For a relay: what it is called by.
    pub addresses: Vec<String>,
    /// Its higher system.
    pub higher: Higher,
    /// Its key.
    pub key: Arc<HostKey>,
    /// Its certificate and the authority's, PEM.
    pub chain_pem: String,
    /// The authority.
    pub ca: CaCert,
}

impl HostIdentity {
    /// What its certificate says.
    ///
    /// # Errors
    /// It cannot be read or is another key's.
    pub fn info(&self) -> Result<CertInfo, EnrollError> {
        Ok(self.key.check_chain(&self.chain_pem, &self.ca)?)
    }

    /// Certificate and key for TLS.
    ///
    /// # Errors
    /// They do not fit.
    pub fn tls(&self) -> Result<Identity, EnrollError> {
        Ok(Identity::new(&self.chain_pem, &self.key)?)
    }

    /// The link to its higher system, pinned to that system's role and id.
    ///
    /// # Errors
    /// The address or the certificate cannot be used.
    pub fn link(&self) -> Result<Link, EnrollError> {
        self.link_as(Some(self.tls()?))
    }

    /// The same link without a certificate: for renewing after the end.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn anonymous_link(&self) -> Result<Link, EnrollError> {
        self.link_as(None)
    }

    fn link_as(&self, identity: Option<Identity>) -> Result<Link, EnrollError> {
        let expect = Expect { roles: vec![self.higher.role], id: Some(self.higher.id.clone()), name: None };
        let pinned = Pinned::Ca { ca: self.ca.clone(), expect };
        Ok(Link::new(&self.higher.url, pinned, identity)?)
    }
}

/// A host that was let in.
#[derive(Debug)]
pub struct Enrolled {
    /// Who it is now.
    pub identity: HostIdentity,
    /// Where it stands.
    pub place: Place,
    /// The signed place.
    pub place_envelope: Vec<u8>,
    /// Whom it trusts.
    pub trust: Trust,
}

/// Joins the system at `url` with a token. Writes nothing: see [`IdentityFolder::save`].
///
/// # Errors
/// Why it was not let in, in one sentence; nothing is left behind.
pub async fn join(
    url: &str,
    token_text: &str,
    role: HostRole,
    name: &Name,
    addresses: &[String],
) -> Result<Enrolled, EnrollError> {
    let token = Token::parse(token_text)?;
    let expected = if role == HostRole::Relay { Role::Relay } else { Role::Client };
    if token.role() != expected {
        return Err(EnrollError::Role { token: token.role(), asked: role.as_str() });
    }
    let key = HostKey::generate()?;
    let link = Link::new(url, Pinned::CaFingerprint(token.ca_fingerprint()), None)?;
    let request = JoinRequest {
        v: PROTOCOL,
        secret: ByteBuf::from(token.secret().to_vec()),
        role: role.as_str().to_owned(),
        name: name.to_string(),
        csr_pem: key.csr_pem(name.as_str())?,
        addresses: addresses.to_vec(),
    };
    let response: JoinResponse = link.call(JOIN, &request, JOIN_TIMEOUT).await?;
    let answer = |what| EnrollError::Answer { url: url.to_owned(), what };
    let ca = link.peer_ca().ok_or_else(|| answer("no certificate authority"))?;
    let peer = link.peer().ok_or_else(|| answer("no identity"))?;
    let identity = HostIdentity {
        name: name.to_string(),
        id: response.host.into(),
        role,
        addresses: addresses.to_vec(),
        higher: Higher { url: url.to_owned(), role: peer.role, id: peer.id, name: peer.name },
        key: Arc::new(key),
        chain_pem: response.chain_pem.clone(),
        ca,
    };
    accept(identity, response, url)
}

/// Believes an answer only as far as the certificate authority and the root keys carry it.
fn accept(identity: HostIdentity, response: JoinResponse, url: &str) -> Result<Enrolled, EnrollError> {
    let distrust = |error| EnrollError::Distrust { url: url.to_owned(), error };
    let answer = |what| EnrollError::Answer { url: url.to_owned(), what };
    let info = identity.info()?;
    let pin =
        root_pin_of(&identity.ca).ok_or_else(|| answer("its certificate authority names no root keys"))?;
    let trust = Trust::pin(&response.trust, pin).map_err(distrust)?;
    let place = trust.place(&response.place).map_err(distrust)?;
    let right = info.identity.id == identity.id.to_string()
        && info.identity.name == identity.name
        && info.identity.role.as_str() == identity.role.as_str()
        && place.host == identity.id
        && place.name == identity.name
        && place.role == identity.role;
    if !right {
        return Err(answer("the certificate or the place is another host's"));
    }
    Ok(Enrolled { identity, place, place_envelope: response.place.into_vec(), trust })
}

/// Asks for a new certificate: over the control connection, or without a certificate if the old one has ended. The request
/// is signed by the old key either way, so that no relay on the way can ask in a host's name.
///
/// # Errors
/// Why there is none; the old one stays.
pub async fn renew(identity: &HostIdentity) -> Result<HostIdentity, EnrollError> {
    let key = HostKey::generate()?;
    let csr_pem = key.csr_pem(&identity.name)?;
    let proof = RenewProof::new(&identity.key, &identity.chain_pem, csr_pem)?;
    let request = RenewRequest { v: PROTOCOL, proof, addresses: identity.addresses.clone() };
    let link = identity.anonymous_link()?;
    let response: RenewResponse = link.call(RENEW, &request, JOIN_TIMEOUT).await?;
    let renewed = HostIdentity { key: Arc::new(key), chain_pem: response.chain_pem, ..identity.clone() };
    let (old, new) = (identity.info()?, renewed.info()?);
    let same = |a: &CertIdentity, b: &CertIdentity| a.role == b.role && a.id == b.id && a.name == b.name;
    if !same(&old.identity, &new.identity) {
        let what = "the certificate is another host's";
        return Err(EnrollError::Answer { url: identity.higher.url.clone(), what });
    }
    Ok(renewed)
}

/// The root keys' pin that a certificate authority names in its subject.
pub fn root_pin_of(ca: &CaCert) -> Option<[u8; 16]> {
    let (_, cert) = X509Certificate::from_der(ca.der()).ok()?;
    let name = cert.subject().iter_common_name().next()?.as_str().ok()?;
    let digits = name.rsplit(' ').next()?;
    digits.parse::<HostId>().ok().map(|id| id.0)
}

/// The folder in which a host keeps who it is: `identity.json`, `host.key`, `host.pem`, `ca.pem`, `trust.env`, `place.env`.
#[derive(Debug, Clone)]
pub struct IdentityFolder(PathBuf);

impl IdentityFolder {
    /// The folder at `path`.
    pub fn at(path: &Path) -> IdentityFolder {
        IdentityFolder(path.to_owned())
    }

    /// Whether it holds an identity.
    pub fn exists(&self) -> bool {
        self.0.join("identity.json").exists()
    }

    /// Writes a fresh identity. `identity.json` comes last: without it there is none.
    ///
    /// # Errors
    /// There is one already, or a file cannot be written.
    pub fn save(&self, enrolled: &Enrolled) -> Result<(), EnrollError> {
        if self.exists() {
            return Err(EnrollError::Exists(self.0.clone()));
        }
        private_folder(&self.0)?;
        self.write_bytes("trust.env", enrolled.trust.envelope())?;
        self.write_bytes("place.env", &enrolled.place_envelope)?;
        write_private(&self.0.join("ca.pem"), &enrolled.identity.ca.to_pem())?;
        self.save_keys(&enrolled.identity)?;
        let identity = &enrolled.identity;
        let file = IdentityFile {
            version: IDENTITY_VERSION,
            name: identity.name.clone(),
            id: identity.id.to_string(),
            role: identity.role.as_str().to_owned(),
            addresses: identity.addresses.clone(),
            higher: identity.higher.clone(),
        };
        let path = self.0.join("identity.json");
        let text = serde_json::to_string_pretty(&file)
            .map_err(|error| EnrollError::Format { path: path.clone(), why: error.to_string() })?;
        Ok(write_private(&path, &text)?)
    }

    /// Writes which system the host calls from now on.
    ///
    /// # Errors
    /// There is no identity, or the file cannot be written.
    pub fn save_higher(&self, higher: &Higher) -> Result<(), EnrollError> {
        let path = self.0.join("identity.json");
        let bad = |why: String| EnrollError::Format { path: path.clone(), why };
        let text = fs::read_to_string(&path).map_err(file_error(&path))?;
        let mut file: IdentityFile = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        file.higher = higher.clone();
        let text = serde_json::to_string_pretty(&file).map_err(|error| bad(error.to_string()))?;
        Ok(write_private(&path, &text)?)
    }

    /// Writes key and certificate, the certificate last. Both files are replaced by rename; a start between the two finds a
    /// pair that does not fit, and takes the one that was there before (`host.key.old`), which is therefore durable first
    /// and is never replaced by a key that does not fit the certificate that is there.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save_keys(&self, identity: &HostIdentity) -> Result<(), EnrollError> {
        let (key, pem) = (self.0.join("host.key"), self.0.join("host.pem"));
        if key.exists()
            && pem.exists()
            && let Ok(there) = HostKey::load(&key)
            && let Ok(chain_pem) = fs::read_to_string(&pem)
            && there.check_chain(&chain_pem, &identity.ca).is_ok()
        {
            there.save(&self.0.join("host.key.old"))?;
        }
        identity.key.save(&key)?;
        Ok(write_private(&pem, &identity.chain_pem)?)
    }

    /// Reads the identity.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn load(&self) -> Result<HostIdentity, EnrollError> {
        let path = self.0.join("identity.json");
        let text = fs::read_to_string(&path).map_err(file_error(&path))?;
        let bad = |why: String| EnrollError::Format { path: path.clone(), why };
        let file: IdentityFile = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if file.version != IDENTITY_VERSION {
            return Err(bad(format!("version {} is not known", file.version)));
        }
        let ca_path = self.0.join("ca.pem");
        let ca = CaCert::from_pem(&fs::read_to_string(&ca_path).map_err(file_error(&ca_path))?)?;
        let pem_path = self.0.join("host.pem");
        let chain_pem = fs::read_to_string(&pem_path).map_err(file_error(&pem_path))?;
        Ok(HostIdentity {
            id: file.id.parse().map_err(|error| bad(format!("id: {error}")))?,
            role: HostRole::parse(&file.role).ok_or_else(|| bad(format!("role {}", file.role)))?,
            name: file.name,
            addresses: file.addresses,
            higher: file.higher,
            key: Arc::new(self.fitting_key(&chain_pem, &ca)?),
            chain_pem,
            ca,
        })
    }

    fn fitting_key(&self, chain_pem: &str, ca: &CaCert) -> Result<HostKey, EnrollError> {
        let key = HostKey::load(&self.0.join("host.key"))?;
        let Err(error) = key.check_chain(chain_pem, ca) else { return Ok(key) };
        let old = HostKey::load(&self.0.join("host.key.old")).map_err(|_| error)?;
        old.check_chain(chain_pem, ca)?;
        Ok(old)
    }

    /// The trust document and the place that came at joining (envelopes).
    ///
    /// # Errors
    /// They cannot be read.
    pub fn first_words(&self) -> Result<(Vec<u8>, Vec<u8>), EnrollError> {
        let read = |name: &str| {
            let path = self.0.join(name);
            fs::read(&path).map_err(|error| EnrollError::File { path, error })
        };
        Ok((read("trust.env")?, read("place.env")?))
    }

    fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), EnrollError> {
        let path = self.0.join(name);
        let private: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        // Synced: `identity.json`, which comes last, says that they are there.
        fs::File::create(&path)
            .and_then(|mut file| {
                file.set_permissions(private)?;
                io::Write::write_all(&mut file, bytes)?;
                file.sync_all()
            })
            .map_err(file_error(&path))
    }
}

/// Makes a data folder of mode 0711, as design section 8 says: the user's socket can be reached in it, nothing can be listed.
///
/// # Errors
/// It cannot be made.
pub fn private_folder(path: &Path) -> Result<(), EnrollError> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path).map_err(file_error(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o711)).map_err(file_error(path))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::pki::{Ca, HOST_LIFETIME, Usage, new_id};

    fn certified(ca: &Ca, name: &str, id: &str, generation: u64) -> HostIdentity {
        let key = HostKey::generate().unwrap();
        let identity =
            CertIdentity { role: Role::Client, id: id.to_owned(), name: name.to_owned(), generation };
        let csr = key.csr_pem(name).unwrap();
        let issued = ca.issue(&csr, &identity, &Usage::Client, Timestamp::now(), HOST_LIFETIME).unwrap();
        let higher = Higher {
            url: "https://hq:8440".into(),
            role: Role::Server,
            id: new_id().unwrap(),
            name: "hq".into(),
        };
        HostIdentity {
            name: name.to_owned(),
            id: id.parse().unwrap(),
            role: HostRole::Client,
            addresses: Vec::new(),
            higher,
            key: Arc::new(key),
            chain_pem: issued.chain_pem,
            ca: ca.cert().clone(),
        }
    }

    #[test]
    fn renewals_that_were_cut_off_leave_a_pair_that_fits() {
        let data = tempfile::tempdir().unwrap();
        let folder = IdentityFolder::at(data.path());
        let ca = Ca::create("test", Timestamp::now()).unwrap();
        let id = new_id().unwrap();
        let first = certified(&ca, "pc1", &id, 1);
        folder.save_keys(&first).unwrap();
        // Twice in a row the machine stops after the key and before the certificate.
        for generation in [2, 3] {
            folder.save_keys(&certified(&ca, "pc1", &id, generation)).unwrap();
            write_private(&data.path().join("host.pem"), &first.chain_pem).unwrap();
            let fits = folder.fitting_key(&first.chain_pem, &first.ca).unwrap();
            assert!(fits.check_chain(&first.chain_pem, &first.ca).is_ok());
        }
        let last = certified(&ca, "pc1", &id, 4);
        folder.save_keys(&last).unwrap();
        assert!(folder.fitting_key(&last.chain_pem, &last.ca).is_ok());
    }
}
