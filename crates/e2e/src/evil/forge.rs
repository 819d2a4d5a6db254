//! Documents signed with the wrong keys, or with right ones that count no more.

use bytes::Bytes;
use packhorse_domain::ids::HostId;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::enroll::HostIdentity;
use packhorse_wire::envelope::{Envelope, SigningKey, to_cbor};
use packhorse_wire::messages::JobOrder;
use packhorse_wire::signed::{
    ClauseDoc, DELEGATION_TYPE, DELEGATION_VERSION, DelegatedCabinet, DelegationDoc, JOB_TYPE, JobDoc,
    KeyDoc, KeySet, PLACE_TYPE, PlaceDoc, RoundDoc, TRUST_TYPE,
};
use packhorse_wire::trust::{Limits, Trust};
use serde::Serialize;
use serde_bytes::ByteBuf;

use super::lies::document;
use super::state::Lower;

/// A relay the evil one is in league with.
pub(super) const ALLY: &str = "ally";
/// A relay in whose name the evil one would like to sign.
const OTHER: &str = "other";
/// A day, in microseconds.
const DAY: i64 = 86_400_000_000;
/// Added to a job's number, so that it is another one.
const NUMBER: u64 = 1_000_000;

/// The keys it forges with.
pub(super) struct Forge {
    own: SigningKey,
    server: SigningKey,
    name: String,
    id: HostId,
}

/// Whose delegation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delegated {
    /// To this relay, signed by itself.
    Forged,
    /// To this relay, signed by the managing server, ended.
    Ended,
    /// To another relay, signed by the managing server, good.
    Ally,
    /// To another relay below which the host is, under that relay's own key.
    Other,
    /// To this relay, signed by the managing server, good; it names this relay's key for the cabinet `main`, too.
    Good,
    /// Granted anew with less: offers only.
    Narrow,
    /// The same, withdrawn.
    Revoked,
}

impl Forge {
    /// With its own new key, and the server's for what the server once signed.
    pub fn new(identity: &HostIdentity, server: SigningKey) -> Forge {
        let own = SigningKey::generate().expect("a key");
        Forge { own, server, name: identity.name.clone(), id: identity.id }
    }

    /// The job of an order, for everybody and as another number, issued by `issuer`, signed with its own key.
    pub fn job(&self, order: &JobOrder, issuer: &str) -> JobOrder {
        let old = document(order);
        let key = KeyDoc { issuer: issuer.to_owned(), number: old.key.number + NUMBER, ..old.key };
        let to = vec![ClauseDoc::All { relays: true }];
        let rounds = vec![RoundDoc { attempt: 1, ordered: old.created, to }];
        let doc = JobDoc { key, rounds, revision: 1, ..old };
        JobOrder { job: sign(JOB_TYPE, &doc, &self.own), proofs: Vec::new(), ..order.clone() }
    }

    /// As its own job.
    pub fn own_job(&self, order: &JobOrder) -> JobOrder {
        self.job(order, &self.name)
    }

    /// As the managing server's job; `named`: the signature is said to be by the server's key.
    pub fn server_job(&self, order: &JobOrder, named: bool) -> JobOrder {
        let mut forged = self.job(order, packhorse_domain::ids::SERVER);
        if named {
            forged.job = changed(&forged.job, |envelope| {
                envelope.signatures[0].key_id = self.server.public().id();
            });
        }
        forged
    }

    /// As its own transfer.
    pub fn own_transfer(&self, order: &JobOrder) -> JobOrder {
        let own = self.own_job(order);
        let doc = JobDoc { job_type: "transfer".to_owned(), v: 2, terms: None, ..document(&own) };
        JobOrder { job: sign(JOB_TYPE, &doc, &self.own), ..own }
    }

    /// As another relay's job.
    pub fn other_job(&self, order: &JobOrder) -> JobOrder {
        self.job(order, OTHER)
    }

    /// As its own job, under a number that does not depend on the order's.
    pub fn numbered_job(&self, order: &JobOrder, number: u64) -> JobOrder {
        let own = self.own_job(order);
        let old = document(&own);
        let doc = JobDoc { key: KeyDoc { number, ..old.key }, ..old };
        JobOrder { job: sign(JOB_TYPE, &doc, &self.own), ..own }
    }

    /// A manifest as its packager wrote it, signed with its own key.
    pub fn manifest(&self, envelope: &[u8]) -> Vec<u8> {
        let known = Envelope::decode(envelope, Limits::TRUST_BYTES).expect("a manifest");
        let own = Envelope::sign(&known.payload_type, known.payload.clone(), &[&self.own]);
        own.and_then(|own| own.encode()).expect("a manifest").to_vec()
    }

    /// As the ally's job.
    pub fn ally_job(&self, order: &JobOrder) -> JobOrder {
        self.job(order, ALLY)
    }

    /// A trust document in which its own key signs everything.
    pub fn trust(&self, known: &Trust) -> ByteBuf {
        let mut doc = known.doc().clone();
        doc.version += 1_000;
        doc.jobs = KeySet::one(self.own.public());
        sign(TRUST_TYPE, &doc, &self.own)
    }

    /// A place that puts a host below another relay.
    pub fn place(&self, lower: &Lower) -> ByteBuf {
        let mut doc = PlaceDoc::from(&lower.place);
        doc.route = vec![Fixed([9; 16])];
        doc.revision += 1;
        sign(PLACE_TYPE, &doc, &self.own)
    }

    /// A delegation, at the time `now` (microseconds).
    pub fn delegation(&self, whose: Delegated, now: i64) -> ByteBuf {
        let mine = DelegationDoc {
            v: DELEGATION_VERSION,
            relay: Fixed(self.id.0),
            name: self.name.clone(),
            key: Fixed(self.own.public().0),
            job_types: vec!["install".to_owned()],
            cabinets: vec![DelegatedCabinet {
                name: "main".to_owned(),
                keys: vec![Fixed(self.own.public().0)],
            }],
            revision: 1,
            expires: now + DAY,
            revoked: false,
        };
        match whose {
            // Newer than the one that has ended, which the host may know.
            Delegated::Good => sign(DELEGATION_TYPE, &DelegationDoc { revision: 2, ..mine }, &self.server),
            Delegated::Narrow => {
                let job_types = vec!["offer".to_owned()];
                sign(DELEGATION_TYPE, &DelegationDoc { job_types, revision: 3, ..mine }, &self.server)
            }
            Delegated::Revoked => {
                sign(DELEGATION_TYPE, &DelegationDoc { revoked: true, revision: 4, ..mine }, &self.server)
            }
            Delegated::Other => {
                let other =
                    DelegationDoc { name: OTHER.to_owned(), key: Fixed(self.server.public().0), ..mine };
                sign(DELEGATION_TYPE, &other, &self.server)
            }
            Delegated::Forged => sign(DELEGATION_TYPE, &mine, &self.own),
            Delegated::Ended => {
                sign(DELEGATION_TYPE, &DelegationDoc { expires: now - DAY, ..mine }, &self.server)
            }
            Delegated::Ally => {
                let ally = DelegationDoc { relay: Fixed([8; 16]), name: ALLY.to_owned(), ..mine };
                sign(DELEGATION_TYPE, &ally, &self.server)
            }
        }
    }
}

/// Signs a payload.
fn sign<T: Serialize>(payload_type: &str, payload: &T, key: &SigningKey) -> ByteBuf {
    let payload = Bytes::from(to_cbor(payload).expect("a payload"));
    let envelope = Envelope::sign(payload_type, payload, &[key]).expect("a signature");
    ByteBuf::from(envelope.encode().expect("an envelope"))
}

/// An envelope with something changed after signing.
pub(super) fn changed(envelope: &[u8], change: impl FnOnce(&mut Envelope)) -> ByteBuf {
    let mut envelope = Envelope::decode(envelope, Limits::TRUST_BYTES).expect("an envelope");
    change(&mut envelope);
    ByteBuf::from(envelope.encode().expect("an envelope"))
}
