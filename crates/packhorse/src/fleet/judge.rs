//! What a simulated client makes of an order: the same checks as a real one.

use std::collections::BTreeMap;

use packhorse_domain::ids::JobKey;
use packhorse_domain::job::{Gate, Intent, JobPackage, JobType, Place, Proof, Standing, gate};
use packhorse_domain::time::Time;
use packhorse_wire::messages::{CopyHint, JobOrder, Order};
use packhorse_wire::trust::{Delegations, Trust};

/// What it decided.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing to do.
    Nothing,
    /// Not believed, and why.
    Distrust(String),
    /// Something to do.
    Do(Work),
}

/// A round of a job that names this client.
#[derive(Debug)]
pub struct Work {
    /// The job.
    pub job: JobKey,
    /// The attempt.
    pub attempt: u32,
    /// Its packages, in order.
    pub packages: Vec<Wanted>,
}

/// A package and where it is to be had.
#[derive(Debug)]
pub struct Wanted {
    /// Its identity.
    pub id: packhorse_domain::ids::PackageId,
    /// Its cabinet.
    pub cabinet: String,
    /// Where it is to be had.
    pub copy: Option<CopyHint>,
}

/// What a client knows and trusts.
#[derive(Debug)]
pub struct Judge {
    trust: Trust,
    place: Place,
    delegations: Delegations,
    /// Newest revision and attempt begun, by job.
    known: BTreeMap<JobKey, (u64, u32)>,
}

impl Judge {
    /// As known at joining.
    pub fn new(trust: Trust, place: Place) -> Judge {
        Judge { trust, place, delegations: Delegations::default(), known: BTreeMap::new() }
    }

    /// Whom it trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Judges an order.
    pub fn order(&mut self, order: Order, now: Time) -> Verdict {
        let outcome = match order {
            Order::Job(job) => return self.job(job, now),
            Order::Trust(envelope) if envelope.as_slice() == self.trust.envelope() => Ok(()),
            Order::Trust(envelope) => self.trust.follow(&envelope).map(|next| self.trust = next),
            Order::Place(envelope) => self.trust.place(&envelope).map(|place| self.take_place(place)),
            Order::Delegation(envelope) => {
                self.trust.delegation(&envelope).map(|doc| self.delegations.take(doc))
            }
            // What a retired host does is not played: it is refused from then on.
            Order::Below(_) | Order::Control(_) | Order::Retired(_) | Order::Receipts(_) => Ok(()),
        };
        match outcome {
            Ok(()) => Verdict::Nothing,
            Err(why) => Verdict::Distrust(why.to_string()),
        }
    }

    fn take_place(&mut self, place: Place) {
        if place.host == self.place.host && place.revision > self.place.revision {
            self.place = place;
        }
    }

    fn job(&mut self, order: JobOrder, now: Time) -> Verdict {
        let job = match self.trust.job(&order.job, &self.delegations, Some(&self.place), now) {
            Ok(job) => job,
            Err(why) => return Verdict::Distrust(why.to_string()),
        };
        // A transfer is none of a client's, and no user sits here who would choose from an offer.
        if job.job_type != JobType::Install {
            return Verdict::Nothing;
        }
        let (revision, begun) = self.known.get(&job.key).copied().unzip();
        if gate(revision, job.revision) == Gate::Older {
            return Verdict::Distrust(format!("{} in an older revision", job.key));
        }
        let proofs: Vec<Proof> = order.proofs.into_iter().map(Proof::from).collect();
        // A simulated host says nothing of itself.
        let standing = Standing { place: &self.place, facts: &packhorse_domain::facts::NONE, now };
        let Some(round) = job.round_for(&standing, &proofs) else {
            return Verdict::Distrust(format!("{} does not name this host", job.key));
        };
        let begun = begun.unwrap_or(0);
        let attempt = round.attempt;
        self.known.insert(job.key.clone(), (job.revision, begun.max(attempt)));
        if attempt <= begun || job.intent == Intent::Cancelled {
            return Verdict::Nothing;
        }
        let packages = job.packages.into_iter().map(|package| wanted(package, &order.copies)).collect();
        Verdict::Do(Work { job: job.key, attempt, packages })
    }
}

fn wanted(package: JobPackage, copies: &[CopyHint]) -> Wanted {
    let copy = copies.iter().find(|copy| copy.package.0 == package.id.0).cloned();
    Wanted { id: package.id, cabinet: package.label.cabinet, copy }
}
