//! What only the managing server can do: issue certificates, sign places, jobs and trust documents.

use packhorse_domain::job::{Job, Place};
use packhorse_domain::time::Time;
use packhorse_wire::envelope::{Envelope, SigningKey, to_cbor};
use packhorse_wire::pki::{Ca, CertIdentity, HOST_LIFETIME, Issued, Role, Usage};
use packhorse_wire::signed::{
    CONTROL_TYPE, ControlDoc, DELEGATION_TYPE, DelegationDoc, JOB_TYPE, JobDoc, PLACE_TYPE, PlaceDoc,
    RETIRED_TYPE, RetiredDoc, TRUST_TYPE, TrustDoc,
};

use crate::error::ServerError;
use crate::folder::Folder;

/// A certificate counts from a little before it is made: clocks differ.
const SLOW_CLOCK_SECS: i64 = 300;

/// The managing server's keys. Never printed.
pub struct Authority {
    ca: Ca,
    job_key: SigningKey,
    /// The root key while it lies in the server's folder; once it was taken away, trust documents are signed elsewhere.
    root_key: Option<SigningKey>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(secret)")
    }
}

impl Authority {
    /// With these keys.
    pub fn new(ca: Ca, job_key: SigningKey, root_key: Option<SigningKey>) -> Authority {
        Authority { ca, job_key, root_key }
    }

    /// Reads the keys from a server's folder.
    ///
    /// # Errors
    /// A key is not there or cannot be read; the root key may be away.
    pub fn load(folder: &Folder) -> Result<Authority, ServerError> {
        let ca = Ca::load(&folder.path("ca.pem"), &folder.path("ca.key"))?;
        let job_key = SigningKey::from_text(&folder.read("job.key")?)?;
        let root_key = match folder.path("root.key").exists() {
            true => Some(SigningKey::from_text(&folder.read("root.key")?)?),
            false => None,
        };
        Ok(Authority { ca, job_key, root_key })
    }

    /// The certificate authority.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// The job key's private bytes do not leave; what content capabilities are derived from is a signature-independent
    /// secret made of it.
    pub fn secret(&self) -> Result<Vec<u8>, ServerError> {
        Ok(self.job_key.to_text()?.into_bytes())
    }

    /// Issues a host's certificate.
    ///
    /// # Errors
    /// The request is not one.
    pub fn issue(
        &self,
        csr_pem: &str,
        identity: &CertIdentity,
        addresses: &[String],
        now: Time,
    ) -> Result<Issued, ServerError> {
        let usage = match identity.role {
            Role::Server | Role::Relay => {
                let mut all = vec![identity.name.clone()];
                all.extend(addresses.iter().cloned());
                Usage::Server { addresses: all }
            }
            Role::Client | Role::Admin | Role::RelayAdmin => Usage::Client,
        };
        let from = timestamp(now.plus_secs(-SLOW_CLOCK_SECS));
        Ok(self.ca.issue(csr_pem, identity, &usage, from, HOST_LIFETIME)?)
    }

    /// Signs a place.
    ///
    /// # Errors
    /// The encoder's or the crypto library's.
    pub fn sign_place(&self, place: &Place) -> Result<Vec<u8>, ServerError> {
        self.sign(PLACE_TYPE, to_cbor(&PlaceDoc::from(place))?, &self.job_key)
    }

    /// Signs a job.
    ///
    /// # Errors
    /// The encoder's or the crypto library's.
    pub fn sign_job(&self, job: &Job) -> Result<Vec<u8>, ServerError> {
        self.sign(JOB_TYPE, to_cbor(&JobDoc::from(job))?, &self.job_key)
    }

    /// Signs what is set at a relay.
    ///
    /// # Errors
    /// The encoder's or the crypto library's.
    pub fn sign_control(&self, doc: &ControlDoc) -> Result<Vec<u8>, ServerError> {
        self.sign(CONTROL_TYPE, to_cbor(doc)?, &self.job_key)
    }

    /// Signs a word about a retired host.
    ///
    /// # Errors
    /// The encoder's or the crypto library's.
    pub fn sign_retired(&self, doc: &RetiredDoc) -> Result<Vec<u8>, ServerError> {
        self.sign(RETIRED_TYPE, to_cbor(doc)?, &self.job_key)
    }

    /// Signs a delegation.
    ///
    /// # Errors
    /// The encoder's or the crypto library's.
    pub fn sign_delegation(&self, doc: &DelegationDoc) -> Result<Vec<u8>, ServerError> {
        self.sign(DELEGATION_TYPE, to_cbor(doc)?, &self.job_key)
    }

    /// Signs a trust document, if the root key is here.
    ///
    /// # Errors
    /// The encoder's or the crypto library's.
    pub fn sign_trust(&self, doc: &TrustDoc) -> Result<Option<Vec<u8>>, ServerError> {
        let Some(root) = &self.root_key else { return Ok(None) };
        Ok(Some(self.sign(TRUST_TYPE, to_cbor(doc)?, root)?))
    }

    fn sign(&self, kind: &str, payload: Vec<u8>, key: &SigningKey) -> Result<Vec<u8>, ServerError> {
        Ok(Envelope::sign(kind, payload.into(), &[key])?.encode()?)
    }
}

/// An instant for certificates.
pub fn timestamp(time: Time) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
