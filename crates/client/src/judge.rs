//! Whether an order counts. Everything from above is judged here and nowhere else: a relay that lies can delay, never change
//! (design section 5, rule 6). What is refused changes nothing that was there before.

use packhorse_domain::agent::KnownJob;
use packhorse_domain::delegated::Rights;
use packhorse_domain::facts::{self, Facts};
use packhorse_domain::ids::{HostId, JobKey, SERVER};
use packhorse_domain::job::{Gate, HostRole, Intent, Job, JobType, Place, Proof, Standing, gate};
use packhorse_domain::time::Time;
use packhorse_wire::envelope::{Envelope, PublicKey};
use packhorse_wire::messages::JobOrder;
use packhorse_wire::signed::RetiredDoc;
use packhorse_wire::trust::{Delegations, Distrust, Limits, Trust};

use crate::ClientError;
use crate::store::job_of;

/// Something that was refused, for an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// A short word.
    pub code: &'static str,
    /// What it was about.
    pub what: String,
    /// One sentence.
    pub text: String,
}

impl Refused {
    /// A refusal.
    pub fn new(code: &'static str, what: impl Into<String>, text: impl Into<String>) -> Refused {
        Refused { code, what: what.into(), text: text.into() }
    }
}

/// A job that counts.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    /// The job.
    pub job: Job,
    /// The attempt this host is in; `None` where a later revision does not name it any more.
    pub attempt: Option<u32>,
    /// For a job with conditions that do not hold here: the attempt it was handed over for, and what was found.
    pub unmet: Option<(u32, String)>,
}

/// Whom the agent trusts, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    me: HostId,
    trust: Trust,
    place: Place,
    place_envelope: Vec<u8>,
    facts: Facts,
    delegations: Delegations,
}

impl Judge {
    /// From what was verified before and kept.
    ///
    /// # Errors
    /// It is not what it was.
    pub fn restore(
        me: HostId,
        trust: &[u8],
        place: Vec<u8>,
        delegations: &[Vec<u8>],
    ) -> Result<Judge, ClientError> {
        let trust = Trust::own(trust)?;
        let stands = trust.place(&place)?;
        let mut judge = Judge {
            me,
            trust,
            place: stands,
            place_envelope: place,
            facts: facts::NONE.clone(),
            delegations: Delegations::default(),
        };
        for envelope in delegations {
            // One that counts no more, because its key was revoked since, is as good as none.
            if let Err(refused) = judge.delegation(envelope) {
                tracing::warn!(text = refused.text, "a kept delegation does not count any more");
            }
        }
        Ok(judge)
    }

    /// Where this host stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The envelope that says so.
    pub fn place_envelope(&self) -> &[u8] {
        &self.place_envelope
    }

    /// Follows a newer trust document; `false` for the one known.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn follow(&mut self, envelope: &[u8]) -> Result<bool, Refused> {
        if envelope == self.trust.envelope() {
            return Ok(false);
        }
        let next = self.trust.follow(envelope).map_err(|error| match error {
            Distrust::OlderTrust { offered, .. } => {
                Refused::new("older_trust", offered.to_string(), error.to_string())
            }
            _ => Refused::new("bad_trust", short_hash(envelope), error.to_string()),
        })?;
        self.trust = next;
        Ok(true)
    }

    /// Takes a newer place; `false` for the one known.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn stand(&mut self, envelope: &[u8]) -> Result<bool, Refused> {
        if envelope == self.place_envelope {
            return Ok(false);
        }
        let place = self
            .trust
            .place(envelope)
            .map_err(|error| Refused::new("bad_place", short_hash(envelope), error.to_string()))?;
        if place.host != self.me {
            return Err(Refused::new("other_place", place.host.to_string(), Distrust::OtherHost.to_string()));
        }
        if place.revision <= self.place.revision {
            let text =
                format!("place {} is not newer than {}, which is known", place.revision, self.place.revision);
            return Err(Refused::new("older_place", place.revision.to_string(), text));
        }
        (self.place, self.place_envelope) = (place, envelope.to_vec());
        Ok(true)
    }

    /// A word of the managing server that this host was retired; `None`: it is about another.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn retired(&self, envelope: &[u8]) -> Result<Option<RetiredDoc>, Refused> {
        let doc = self
            .trust
            .retired(envelope)
            .map_err(|error| Refused::new("bad_retired", short_hash(envelope), error.to_string()))?;
        Ok(Some(doc).filter(|doc| doc.host.0 == self.me.0))
    }

    /// Takes a newer delegation; answers the relay's name, `None` for one that is not newer.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn delegation(&mut self, envelope: &[u8]) -> Result<Option<String>, Refused> {
        let doc = self
            .trust
            .delegation(envelope)
            .map_err(|error| Refused::new("bad_delegation", short_hash(envelope), error.to_string()))?;
        let known = self.delegations.of(&doc.name).map(|known| known.revision);
        match known {
            Some(known) if doc.revision < known => {
                let text = format!(
                    "the delegation of {} came in revision {}, which is older than {known}, the one known",
                    doc.name, doc.revision
                );
                let what = format!("{} {}", doc.name, doc.revision);
                return Err(Refused::new("older_delegation", what, text));
            }
            Some(known) if doc.revision == known => return Ok(None),
            _ => {}
        }
        let name = doc.name.clone();
        self.delegations.take(doc);
        Ok(Some(name))
    }

    /// What is delegated to relays, as far as this host knows.
    pub fn rights(&self) -> Rights {
        self.trust.rights(&self.delegations)
    }

    /// As jobs see this host.
    pub fn standing(&self, now: Time) -> Standing<'_> {
        Standing { place: &self.place, facts: &self.facts, now }
    }

    /// The jobs of `known` that did not name this host and do now, with the attempt; of those that are
    /// closed only where a statement says since when it belongs.
    pub fn named_now<'a>(&self, known: impl Iterator<Item = &'a KnownJob>, now: Time) -> Vec<(Job, u32)> {
        // Who belonged to a group before a job was closed is named by it; what a host says of itself carries no time.
        let closed = |job: &Job| job.terms.closed.is_some() && job.asks_facts();
        let open = |job: &Job| job.intent != Intent::Cancelled && !closed(job) && job.until > now;
        let asked = known.filter(|known| known.attempt.is_none() && known.job.asks_statements());
        let named = asked.filter(|known| open(&known.job)).filter_map(|known| {
            let round = known.job.round_by_standing(&self.standing(now))?;
            Some((known.job.clone(), round.attempt))
        });
        named.collect()
    }

    /// What the host says of itself from now on.
    pub fn set_facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// Judges a job. `known` answers the newest revision known of a job.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn job(
        &self,
        order: &JobOrder,
        known: impl Fn(&JobKey) -> Option<u64>,
        now: Time,
    ) -> Result<Judged, Refused> {
        let job = self
            .trust
            .job(&order.job, &self.delegations, Some(&self.place), now)
            .map_err(|error| Refused::new("bad_job", about(order), error.to_string()))?;
        if job.job_type == JobType::Transfer && self.place.role == HostRole::Client {
            let text =
                format!("job {} is a transfer, which ends at relay systems; this host is a client", job.key);
            return Err(Refused::new("transfer", job.key.to_string(), text));
        }
        let revision = known(&job.key);
        if revision.is_none() && job.key.issuer != SERVER {
            // A relay whose delegation covers a job no more may stop it, which is nothing here if it was not known.
            let counts = self.rights().in_force(&job, Some(&self.place), now);
            counts.map_err(|why| {
                Refused::new("bad_job", job.key.to_string(), format!("job by {}: {why}", job.key.issuer))
            })?;
        }
        if gate(revision, job.revision) == Gate::Older {
            let text = format!(
                "job {} came in revision {}, which is older than the one known",
                job.key, job.revision
            );
            return Err(Refused::new("older_revision", job.key.to_string(), text));
        }
        let proofs: Vec<Proof> = order.proofs.iter().cloned().map(Proof::from).collect();
        let attempt = job.round_for(&self.standing(now), &proofs).map(|round| round.attempt);
        // Of a condition the host itself is the judge: above it is known only what was told last.
        let unmet = if attempt.is_none() { job.unmet(&self.standing(now)) } else { None };
        if attempt.is_none() && revision.is_none() && unmet.is_none() {
            let text =
                format!("job {} does not name this host, nor does any proof that came with it", job.key);
            return Err(Refused::new("not_for_me", job.key.to_string(), text));
        }
        Ok(Judged { job, attempt, unmet })
    }

    /// The keys that count for packages of a cabinet in a job of `issuer`, and how many of them have to have signed.
    ///
    /// # Errors
    /// No key is trusted for the cabinet.
    pub fn packagers(&self, issuer: &str, cabinet: &str) -> Result<(Vec<PublicKey>, usize), Distrust> {
        self.trust.packagers_in(&self.delegations, issuer, cabinet)
    }
}

/// What a refused job claims to be: good enough to tell one refusal from another.
fn about(order: &JobOrder) -> String {
    let claimed = Envelope::decode(&order.job, Limits::JOB_BYTES).ok().and_then(|_| job_of(order).ok());
    claimed.map_or_else(|| short_hash(&order.job), |job| job.key.to_string().chars().take(80).collect())
}

/// 16 hexadecimal digits of the bytes' hash.
pub(crate) fn short_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use packhorse_domain::ids::{PackageId, PackageLabel};
    use packhorse_domain::job::{Clause, HostRole, JobPackage, JobType, Round};
    use packhorse_wire::bytes::Fixed;
    use packhorse_wire::envelope::{SigningKey, to_cbor};
    use packhorse_wire::signed::*;

    use super::*;

    struct Keys {
        jobs: SigningKey,
        relay: SigningKey,
        packager: SigningKey,
    }

    fn sign<T: serde::Serialize>(kind: &str, doc: &T, key: &SigningKey) -> Vec<u8> {
        Envelope::sign(kind, to_cbor(doc).unwrap().into(), &[key]).unwrap().encode().unwrap()
    }

    fn judge(keys: &Keys, route: Vec<HostId>) -> Judge {
        let root = SigningKey::generate().unwrap();
        let doc = TrustDoc {
            v: TRUST_VERSION,
            version: 1,
            issued: 0,
            expires: i64::MAX,
            previous: None,
            root: KeySet::one(root.public()),
            jobs: KeySet::one(keys.jobs.public()),
            cabinets: [("main".to_owned(), KeySet::one(keys.packager.public()))].into(),
            revoked: Vec::new(),
        };
        let me = HostId([1; 16]);
        let place = Place { route, revision: 1, ..Place::new(me, "pc1", HostRole::Client) };
        let place = sign(PLACE_TYPE, &PlaceDoc::from(&place), &keys.jobs);
        Judge::restore(me, &sign(TRUST_TYPE, &doc, &root), place, &[]).unwrap()
    }

    fn delegation(keys: &Keys, revision: u64, revoked: bool) -> Vec<u8> {
        let own =
            |name: &str| DelegatedCabinet { name: name.into(), keys: vec![Fixed(keys.relay.public().0)] };
        let doc = DelegationDoc {
            v: DELEGATION_VERSION,
            relay: HostId([7; 16]).into(),
            name: "osaka".into(),
            key: Fixed(keys.relay.public().0),
            job_types: vec!["install".into()],
            cabinets: vec![own("osaka"), own("main")],
            revision,
            expires: i64::MAX,
            revoked,
        };
        sign(DELEGATION_TYPE, &doc, &keys.jobs)
    }

    fn order(keys: &Keys) -> JobOrder {
        let label =
            PackageLabel { cabinet: "osaka".into(), name: "x".into(), version: "1".into(), generation: 1 };
        let package = JobPackage { id: PackageId([3; 32]), label, keep_until: Time(1) };
        let to = vec![Clause::All { relays: false }];
        let job = Job {
            key: JobKey { issuer: "osaka".into(), epoch: 1, number: 1 },
            revision: 1,
            job_type: JobType::Install,
            created: Time(0),
            packages: vec![package],
            rounds: vec![Round { attempt: 1, ordered: Time(0), to }],
            at: None,
            until: Time(9),
            allow_downgrade: false,
            intent: Intent::Open,
            terms: packhorse_domain::job::Terms::default(),
        };
        let job = sign(JOB_TYPE, &JobDoc::from(&job), &keys.relay).into();
        JobOrder { job, proofs: Vec::new(), ended: Vec::new(), named: Vec::new(), copies: Vec::new() }
    }

    #[test]
    fn a_relay_issues_below_itself_what_was_delegated_to_it() {
        let new = || SigningKey::generate().unwrap();
        let keys = Keys { jobs: new(), relay: new(), packager: new() };
        let order = order(&keys);
        let asked = |judge: &Judge| judge.job(&order, |_| None, Time(1)).map(|judged| judged.attempt);
        let mut below = judge(&keys, vec![HostId([7; 16])]);
        assert_eq!(asked(&below).unwrap_err().code, "bad_job");
        assert_eq!(below.delegation(&delegation(&keys, 1, false)), Ok(Some("osaka".into())));
        assert_eq!(below.delegation(&delegation(&keys, 1, false)), Ok(None));
        assert_eq!(asked(&below), Ok(Some(1)));
        // Its own cabinet in its own jobs; never the server's under the same name.
        assert_eq!(below.packagers("osaka", "osaka").unwrap().0, vec![keys.relay.public()]);
        assert_eq!(below.packagers("osaka", "main").unwrap().0, vec![keys.packager.public()]);
        assert!(below.packagers("server", "osaka").is_err());

        let mut elsewhere = judge(&keys, vec![HostId([8; 16])]);
        elsewhere.delegation(&delegation(&keys, 1, false)).unwrap();
        assert_eq!(asked(&elsewhere).unwrap_err().code, "bad_job");

        below.delegation(&delegation(&keys, 2, true)).unwrap();
        assert_eq!(below.delegation(&delegation(&keys, 1, false)).unwrap_err().code, "older_delegation");
        assert_eq!(asked(&below).unwrap_err().code, "bad_job");
        assert!(below.rights().delegations["osaka"].revoked);
        assert!(below.packagers("osaka", "osaka").is_err());
    }
}
