//! Whom a host trusts for what. Everything signed that reaches a host goes through here, and nowhere else (design section 6,
//! "Trust"): the trust document is pinned at joining and followed from there; jobs, places and delegations count by its keys;
//! packages by the keys of their cabinet.

use std::collections::BTreeMap;

use packhorse_domain::delegated::{Lapsed, Rights, only_stops};
use packhorse_domain::ids::SERVER;
use packhorse_domain::job::{Job, JobType, Place};
use packhorse_domain::time::Time;
use thiserror::Error;

use crate::bytes::Fixed;
use crate::envelope::{CborError, Envelope, EnvelopeError, KeyId, PublicKey, from_cbor_limited};
use crate::signed::{
    BadPayload, CONTROL_TYPE, ControlDoc, DELEGATION_TYPE, DelegationDoc, JOB_TYPE, JobDoc, KeySet,
    PLACE_TYPE, PlaceDoc, RETIRED_TYPE, RetiredDoc, TRUST_TYPE, TrustDoc, root_pin,
};

/// Limits of what is signed, in bytes.
pub struct Limits;

impl Limits {
    /// A job.
    pub const JOB_BYTES: usize = 1 << 20;
    /// A place.
    pub const PLACE_BYTES: usize = 64 << 10;
    /// A word about a retired host.
    pub const RETIRED_BYTES: usize = 4 << 10;
    /// A trust document.
    pub const TRUST_BYTES: usize = 4 << 20;
    /// A control order.
    pub const CONTROL_BYTES: usize = 1 << 20;
    /// A delegation.
    pub const DELEGATION_BYTES: usize = 1 << 20;
}

/// Why something is not trusted.
#[derive(Debug, Error)]
pub enum Distrust {
    /// The signature or the envelope.
    #[error("{what}: {error}")]
    Envelope {
        /// Of what.
        what: &'static str,
        /// What is wrong.
        error: EnvelopeError,
    },
    /// Well signed, but not what it should be.
    #[error(transparent)]
    Payload(#[from] BadPayload),
    /// The first trust document is not by the root keys that the certificate authority names.
    #[error("the trust document's root keys are not those the certificate authority was made for")]
    RootPin,
    /// An older trust document than the one known.
    #[error("trust document {offered} is older than {known}, which is known")]
    OlderTrust {
        /// Its version.
        offered: u64,
        /// The version known.
        known: u64,
    },
    /// It does not follow the one known.
    #[error("trust document {0} does not name the one before it")]
    Chain(u64),
    /// A key that counts no more.
    #[error("key {0} was revoked")]
    Revoked(KeyId),
    /// A relay issued what it may not.
    #[error("job by {issuer}: {why}")]
    Delegation {
        /// Who issued it.
        issuer: String,
        /// Why it does not count.
        why: Lapsed,
    },
    /// A place of another host.
    #[error("this place is of another host")]
    OtherHost,
    /// A cabinet without keys.
    #[error("no key is trusted for cabinet {0}")]
    NoKeys(String),
}

fn envelope_error(what: &'static str) -> impl Fn(EnvelopeError) -> Distrust {
    move |error| Distrust::Envelope { what, error }
}

impl From<CborError> for Distrust {
    fn from(error: CborError) -> Distrust {
        Distrust::Payload(BadPayload::Cbor(error))
    }
}

/// A trust document that was verified, with the bytes it came in.
#[derive(Debug, Clone)]
pub struct Trust {
    doc: TrustDoc,
    envelope: Vec<u8>,
}

impl Trust {
    /// The first document a host sees, at joining: signed by its own root keys, which have to be those that the certificate
    /// authority (whose fingerprint the token carries) was made for.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn pin(envelope: &[u8], ca_pin: [u8; 16]) -> Result<Trust, Distrust> {
        let trust = Trust::own(envelope)?;
        if root_pin(&trust.doc.root) == ca_pin { Ok(trust) } else { Err(Distrust::RootPin) }
    }

    /// A document that was verified before and kept: its own root keys have to have signed it.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn own(envelope: &[u8]) -> Result<Trust, Distrust> {
        let parsed =
            Envelope::decode(envelope, Limits::TRUST_BYTES).map_err(envelope_error("the trust document"))?;
        let doc: TrustDoc = from_cbor_limited(&parsed.payload, Limits::TRUST_BYTES)?;
        doc.validate()?;
        parsed
            .verify(TRUST_TYPE, |id| doc.root.find(id), doc.root.threshold as usize)
            .map_err(envelope_error("the trust document"))?;
        Ok(Trust { doc, envelope: envelope.to_vec() })
    }

    /// A later document: signed by the root keys known now and by its own, and naming this one if it is the next.
    ///
    /// # Errors
    /// Why it is not trusted; what is known stays.
    pub fn follow(&self, envelope: &[u8]) -> Result<Trust, Distrust> {
        let next = Trust::own(envelope)?;
        if next.doc.version <= self.doc.version {
            return Err(Distrust::OlderTrust { offered: next.doc.version, known: self.doc.version });
        }
        let parsed =
            Envelope::decode(envelope, Limits::TRUST_BYTES).map_err(envelope_error("the trust document"))?;
        let root = &self.doc.root;
        parsed
            .verify(TRUST_TYPE, |id| root.find(id), root.threshold as usize)
            .map_err(envelope_error("the trust document"))?;
        let chained = next.doc.previous == Some(Fixed(self.hash()));
        if next.doc.version == self.doc.version + 1 && !chained {
            return Err(Distrust::Chain(next.doc.version));
        }
        Ok(next)
    }

    /// What it says.
    pub fn doc(&self) -> &TrustDoc {
        &self.doc
    }

    /// The bytes it came in.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// BLAKE3 of the bytes it came in: what the next one names.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.envelope).as_bytes()
    }

    fn find(&self, set: &KeySet, id: &KeyId) -> Option<PublicKey> {
        let revoked = self.doc.revoked.iter().any(|gone| gone.0 == id.0);
        set.find(id).filter(|_| !revoked)
    }

    /// The keys that count for packages of a cabinet, and how many of them have to have signed.
    ///
    /// # Errors
    /// The cabinet has none.
    pub fn packagers(&self, cabinet: &str) -> Result<(Vec<PublicKey>, usize), Distrust> {
        let set = self.doc.cabinets.get(cabinet).ok_or_else(|| Distrust::NoKeys(cabinet.to_owned()))?;
        let keys: Vec<PublicKey> = set.keys.iter().map(|key| PublicKey(key.0)).collect();
        let keys: Vec<PublicKey> =
            keys.into_iter().filter(|key| self.find(set, &key.id()).is_some()).collect();
        if keys.is_empty() {
            return Err(Distrust::NoKeys(cabinet.to_owned()));
        }
        Ok((keys, set.threshold.max(1) as usize))
    }

    /// A place signed by the managing server.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn place(&self, envelope: &[u8]) -> Result<Place, Distrust> {
        let payload = self.by_job_keys("the place", PLACE_TYPE, envelope, Limits::PLACE_BYTES)?;
        let doc: PlaceDoc = from_cbor_limited(&payload, Limits::PLACE_BYTES)?;
        Ok(Place::try_from(doc)?)
    }

    /// A delegation signed by the managing server.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn delegation(&self, envelope: &[u8]) -> Result<DelegationDoc, Distrust> {
        let payload =
            self.by_job_keys("the delegation", DELEGATION_TYPE, envelope, Limits::DELEGATION_BYTES)?;
        let doc: DelegationDoc = from_cbor_limited(&payload, Limits::DELEGATION_BYTES)?;
        doc.validate()?;
        Ok(doc)
    }

    /// A word of the managing server about a host that was retired.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn retired(&self, envelope: &[u8]) -> Result<RetiredDoc, Distrust> {
        let what = "the word about a retired host";
        let payload = self.by_job_keys(what, RETIRED_TYPE, envelope, Limits::RETIRED_BYTES)?;
        let doc: RetiredDoc = from_cbor_limited(&payload, Limits::RETIRED_BYTES)?;
        doc.validate()?;
        Ok(doc)
    }

    /// What the managing server set at a relay.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn control(&self, envelope: &[u8]) -> Result<ControlDoc, Distrust> {
        let payload = self.by_job_keys("the control order", CONTROL_TYPE, envelope, Limits::CONTROL_BYTES)?;
        let doc: ControlDoc = from_cbor_limited(&payload, Limits::CONTROL_BYTES)?;
        doc.validate()?;
        Ok(doc)
    }

    fn by_job_keys(
        &self,
        what: &'static str,
        payload_type: &str,
        envelope: &[u8],
        limit_bytes: usize,
    ) -> Result<Vec<u8>, Distrust> {
        let parsed = Envelope::decode(envelope, limit_bytes).map_err(envelope_error(what))?;
        let jobs = &self.doc.jobs;
        let payload = parsed
            .verify(payload_type, |id| self.find(jobs, id), jobs.threshold as usize)
            .map_err(envelope_error(what))?;
        Ok(payload.to_vec())
    }

    /// A job: by the managing server's job keys, or by the key of a relay within its delegation. `place` is the host that
    /// judges; `None` where a system only passes the job on and cannot be below itself.
    ///
    /// # Errors
    /// Why it is not trusted.
    pub fn job(
        &self,
        envelope: &[u8],
        delegations: &Delegations,
        place: Option<&Place>,
        now: Time,
    ) -> Result<Job, Distrust> {
        let parsed = Envelope::decode(envelope, Limits::JOB_BYTES).map_err(envelope_error("the job"))?;
        // The issuer's name decides which keys count; it is read before, and believed only after verifying.
        let claimed: JobDoc = from_cbor_limited(&parsed.payload, Limits::JOB_BYTES)?;
        if claimed.key.issuer == SERVER {
            let jobs = &self.doc.jobs;
            parsed
                .verify(JOB_TYPE, |id| self.find(jobs, id), jobs.threshold as usize)
                .map_err(envelope_error("the job"))?;
            return Ok(Job::try_from(claimed)?);
        }
        let refuse = |why| Distrust::Delegation { issuer: claimed.key.issuer.clone(), why };
        let delegation = delegations.of(&claimed.key.issuer).ok_or_else(|| refuse(Lapsed::Nothing))?;
        let job = self.by_relay(&parsed, claimed, delegation)?;
        match self.rights(delegations).in_force(&job, place, now) {
            Ok(()) => Ok(job),
            // Who made a job may stop it whatever is delegated to it by now.
            Err(why) if why != Lapsed::NotBelow && only_stops(&job) => Ok(job),
            Err(why) => Err(Distrust::Delegation { issuer: job.key.issuer, why }),
        }
    }

    /// What is delegated to whom, to judge by.
    pub fn rights(&self, delegations: &Delegations) -> Rights {
        let all = delegations.0.iter().map(|(name, doc)| (name.clone(), doc.delegation()));
        Rights { delegations: all.collect(), cabinets: self.doc.cabinets.keys().cloned().collect() }
    }

    /// A job by a relay's key that is only to be known of: whether its delegation is in force is not asked.
    ///
    /// # Errors
    /// It is not by that relay.
    pub fn relay_job(&self, envelope: &[u8], delegation: &DelegationDoc) -> Result<Job, Distrust> {
        let parsed = Envelope::decode(envelope, Limits::JOB_BYTES).map_err(envelope_error("the job"))?;
        let claimed: JobDoc = from_cbor_limited(&parsed.payload, Limits::JOB_BYTES)?;
        let refuse = |why| Distrust::Delegation { issuer: claimed.key.issuer.clone(), why };
        if claimed.key.issuer != delegation.name {
            return Err(refuse(Lapsed::Nothing));
        }
        if claimed.job_type == "transfer" {
            return Err(refuse(Lapsed::Type(JobType::Transfer)));
        }
        self.by_relay(&parsed, claimed, delegation)
    }

    fn by_relay(&self, parsed: &Envelope, job: JobDoc, delegation: &DelegationDoc) -> Result<Job, Distrust> {
        let key = PublicKey(delegation.key.0);
        if self.is_revoked(&key) {
            return Err(Distrust::Revoked(key.id()));
        }
        parsed
            .verify(JOB_TYPE, |id| (*id == key.id()).then_some(key), 1)
            .map_err(envelope_error("the job"))?;
        Ok(Job::try_from(job)?)
    }

    fn is_revoked(&self, key: &PublicKey) -> bool {
        self.doc.revoked.iter().any(|gone| gone.0 == key.id().0)
    }

    /// The keys that count for packages of a cabinet in a job of `issuer`, and how many of them have to have signed. A
    /// relay's own cabinets count in its own jobs only, and never in place of one that this document knows.
    ///
    /// # Errors
    /// No key is trusted for the cabinet.
    pub fn packagers_in(
        &self,
        delegations: &Delegations,
        issuer: &str,
        cabinet: &str,
    ) -> Result<(Vec<PublicKey>, usize), Distrust> {
        let own = match self.packagers(cabinet) {
            Ok(found) => return Ok(found),
            Err(error) if self.doc.cabinets.contains_key(cabinet) => return Err(error),
            Err(error) => error,
        };
        let doc = delegations.of(issuer).filter(|doc| !doc.revoked).ok_or(own)?;
        let found = doc.cabinets.iter().find(|delegated| delegated.name == cabinet);
        let keys = found.into_iter().flat_map(|delegated| delegated.keys.iter().map(|key| PublicKey(key.0)));
        let keys: Vec<PublicKey> = keys.filter(|key| !self.is_revoked(key)).collect();
        if keys.is_empty() { Err(Distrust::NoKeys(cabinet.to_owned())) } else { Ok((keys, 1)) }
    }
}

/// The delegations a host knows, by the relay's name.
#[derive(Debug, Clone, Default)]
pub struct Delegations(BTreeMap<String, DelegationDoc>);

impl Delegations {
    /// Takes in a verified delegation; an older one than known is left.
    pub fn take(&mut self, doc: DelegationDoc) {
        let newer = self.0.get(&doc.name).is_none_or(|known| doc.revision > known.revision);
        if newer {
            self.0.insert(doc.name.clone(), doc);
        }
    }

    /// The newest known of a relay, by its name.
    pub fn of(&self, relay: &str) -> Option<&DelegationDoc> {
        self.0.get(relay)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &DelegationDoc> {
        self.0.values()
    }
}
