//! The orders of one host: first as an honest relay would pass them on, then bent.

use packhorse_domain::ids::HostId;
use packhorse_domain::job::{Job, Proof, Standing};
use packhorse_domain::time::Time;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::to_cbor;
use packhorse_wire::messages::{CopyHint, JobOrder, Order, ProofMsg, ReceiptMsg};
use serde_bytes::ByteBuf;

use super::Behaviour;
use super::forge::{Delegated, Forge, changed};
use super::lies::document;
use super::state::{Lower, State};

/// What a host is given, and whether that is a lie.
pub(super) fn of_host(state: &State, host: &HostId, forge: &Forge, now: i64) -> (Vec<Order>, bool) {
    let Some(lower) = state.lowers.get(host) else { return (Vec::new(), false) };
    let honest = honest(state, lower);
    let bent = bend(state, lower, honest.clone(), forge, now);
    let lied = bent != honest;
    (bent, lied)
}

fn honest(state: &State, lower: &Lower) -> Vec<Order> {
    state.orders.iter().filter_map(|order| pass_on(order, lower)).collect()
}

fn pass_on(order: &Order, lower: &Lower) -> Option<Order> {
    match order {
        Order::Job(job) => job_of(job, lower).map(Order::Job),
        Order::Trust(_) | Order::Delegation(_) => Some(order.clone()),
        Order::Receipts(receipts) => {
            let own = receipts.iter().filter(|receipt| receipt.origin == Fixed(lower.place.host.0));
            Some(Order::Receipts(own.copied().collect()))
        }
        Order::Place(_) | Order::Below(_) | Order::Retired(_) | Order::Control(_) => None,
    }
}

/// A job as one host gets it: with its own proof, and this relay as the place to have the packages from.
fn job_of(order: &JobOrder, lower: &Lower) -> Option<JobOrder> {
    let job = Job::try_from(document(order)).ok()?;
    let proofs: Vec<Proof> =
        order.proofs.iter().cloned().map(Proof::from).filter_map(|proof| narrow(proof, lower)).collect();
    let facts = &packhorse_domain::facts::NONE;
    job.round_for(&Standing { place: &lower.place, facts, now: Time(0) }, &proofs)?;
    Some(JobOrder { proofs: proofs.iter().map(ProofMsg::from).collect(), ..from_here(order, lower) })
}

fn from_here(order: &JobOrder, lower: &Lower) -> JobOrder {
    let capability = ByteBuf::from(b"come in".to_vec());
    let copies = order.copies.iter();
    JobOrder {
        named: Vec::new(),
        ended: order.ended.iter().filter(|host| host.0 == lower.place.host.0).copied().collect(),
        copies: copies.map(|copy| CopyHint { capability: capability.clone(), ..copy.clone() }).collect(),
        ..order.clone()
    }
}

fn narrow(proof: Proof, lower: &Lower) -> Option<Proof> {
    let at = proof.slice.leaves.iter().position(|leaf| *leaf == lower.place.host)?;
    let start = proof.slice.start + u32::try_from(at).ok()?;
    let slice = proof.slice.narrow(start, start + 1)?;
    Some(Proof { attempt: proof.attempt, slice })
}

fn bend(state: &State, lower: &Lower, mut orders: Vec<Order>, forge: &Forge, now: i64) -> Vec<Order> {
    match state.behaviour {
        Behaviour::DropsJobs => orders.retain(|order| !matches!(order, Order::Job(_))),
        Behaviour::ReversesOrders => orders.reverse(),
        Behaviour::ClaimsEnded => each_job(&mut orders, |job| job.ended.push(Fixed(lower.place.host.0))),
        Behaviour::WidensProof => orders.extend(of_others(state, lower, Some(widened))),
        Behaviour::SwapsHostInProof => orders.extend(of_others(state, lower, Some(swapped))),
        Behaviour::PassesJobOfAnother => orders.extend(of_others(state, lower, None)),
        Behaviour::SwapsPackage => each_job(&mut orders, |job| job.job = other_package(job)),
        Behaviour::AltersJob => each_job(&mut orders, |job| job.job = one_bit(&job.job)),
        Behaviour::StripsSignatures => {
            each_job(&mut orders, |job| job.job = changed(&job.job, |job| job.signatures.clear()));
        }
        Behaviour::SignsJobItself => instead(&mut orders, |job| vec![Order::Job(forge.own_job(job))]),
        Behaviour::SignsAsServer => {
            instead(&mut orders, |job| vec![Order::Job(forge.server_job(job, false))])
        }
        Behaviour::ForgesKeyName => instead(&mut orders, |job| vec![Order::Job(forge.server_job(job, true))]),
        Behaviour::InventsTrust => instead(&mut orders, |job| {
            vec![Order::Trust(forge.trust(&state.first_trust)), Order::Job(forge.server_job(job, false))]
        }),
        Behaviour::ReplaysOldTrust => {
            orders.push(Order::Trust(ByteBuf::from(state.first_trust.envelope().to_vec())));
        }
        Behaviour::ForgesReceipts => orders.splice(..0, receipt(state, lower)).for_each(drop),
        Behaviour::InventsPlace => orders.push(Order::Place(forge.place(lower))),
        Behaviour::SendsPlaceOfAnother => orders.extend(place_of_another(state, lower)),
        Behaviour::ForgesDelegation => under(&mut orders, forge, Delegated::Forged, now),
        Behaviour::UsesEndedDelegation => under(&mut orders, forge, Delegated::Ended, now),
        Behaviour::UsesForeignDelegation => under(&mut orders, forge, Delegated::Ally, now),
        Behaviour::UsesNarrowDelegation => under(&mut orders, forge, Delegated::Narrow, now),
        Behaviour::UsesRevokedDelegation => under(&mut orders, forge, Delegated::Revoked, now),
        Behaviour::SignsPackageItself => under(&mut orders, forge, Delegated::Good, now),
        Behaviour::SignsTransfer => {
            instead(&mut orders, |job| vec![good(forge, now), Order::Job(forge.own_transfer(job))])
        }
        Behaviour::SignsAsOtherRelay => instead(&mut orders, |job| {
            let other = Order::Delegation(forge.delegation(Delegated::Other, now));
            vec![good(forge, now), other, Order::Job(forge.other_job(job))]
        }),
        Behaviour::ReplaysWiderDelegation => instead(&mut orders, |job| {
            let narrow = Order::Delegation(forge.delegation(Delegated::Narrow, now));
            vec![narrow, good(forge, now), Order::Job(forge.own_job(job))]
        }),
        Behaviour::ReplaysOlderDelegation => instead(&mut orders, |job| {
            let [revoked, before] = [Delegated::Revoked, Delegated::Narrow]
                .map(|which| Order::Delegation(forge.delegation(which, now)));
            vec![revoked, before, Order::Job(forge.own_job(job))]
        }),
        Behaviour::ReusesJobNumber => {
            instead(&mut orders, |job| vec![good(forge, now), Order::Job(forge.numbered_job(job, NUMBER))]);
        }
        _ => {}
    }
    orders
}

fn each_job(orders: &mut [Order], change: impl Fn(&mut JobOrder)) {
    for order in orders {
        if let Order::Job(job) = order {
            change(job);
        }
    }
}

/// Puts something into the place of each job.
fn instead(orders: &mut Vec<Order>, lie: impl Fn(&JobOrder) -> Vec<Order>) {
    let bent = orders.drain(..).flat_map(|order| match &order {
        Order::Job(job) => lie(job),
        _ => vec![order],
    });
    *orders = bent.collect();
}

/// The number of the job that comes more than once.
const NUMBER: u64 = 4711;

fn good(forge: &Forge, now: i64) -> Order {
    Order::Delegation(forge.delegation(Delegated::Good, now))
}

/// A delegation, and every job as a job under it.
fn under(orders: &mut Vec<Order>, forge: &Forge, whose: Delegated, now: i64) {
    instead(orders, |job| {
        let forged = match whose {
            Delegated::Ally => forge.ally_job(job),
            _ => forge.own_job(job),
        };
        vec![Order::Delegation(forge.delegation(whose, now)), Order::Job(forged)]
    });
}

/// Jobs that are for others below this relay only; `bend` changes their proofs.
fn of_others(state: &State, lower: &Lower, bend: Option<fn(&mut Proof, HostId)>) -> Vec<Order> {
    let jobs = state.orders.iter().filter_map(|order| match order {
        Order::Job(job) if job_of(job, lower).is_none() => Some(job),
        _ => None,
    });
    jobs.map(|order| {
        let mut proofs: Vec<Proof> = order.proofs.iter().cloned().map(Proof::from).collect();
        if let Some(bend) = bend {
            proofs.iter_mut().for_each(|proof| bend(proof, lower.place.host));
        }
        let proofs = proofs.iter().map(ProofMsg::from).collect();
        Order::Job(JobOrder { proofs, ..from_here(order, lower) })
    })
    .collect()
}

fn widened(proof: &mut Proof, host: HostId) {
    proof.slice.leaves.push(host);
}

fn swapped(proof: &mut Proof, host: HostId) {
    proof.slice.leaves[0] = host;
}

fn place_of_another(state: &State, lower: &Lower) -> Option<Order> {
    let other = state.lowers.values().find(|other| other.place.host != lower.place.host)?;
    Some(Order::Place(ByteBuf::from(other.envelope.clone())))
}

/// Everything the host will ever say has been receipted.
fn receipt(state: &State, lower: &Lower) -> Option<Order> {
    let host = lower.place.host;
    let incarnation = *state.lives.get(&host)?;
    Some(Order::Receipts(vec![ReceiptMsg { origin: Fixed(host.0), incarnation, upto: u64::MAX }]))
}

/// The job with another package's hash in it.
fn other_package(job: &JobOrder) -> ByteBuf {
    let mut doc = document(job);
    doc.packages[0].id = Fixed([7; 32]);
    let payload = to_cbor(&doc).expect("a job");
    changed(&job.job, |envelope| envelope.payload = payload.into())
}

/// The job with one bit of what was signed changed.
fn one_bit(job: &[u8]) -> ByteBuf {
    changed(job, |envelope| {
        let mut payload = envelope.payload.to_vec();
        // In the middle of a number or a hash: what is read is another job, not no job.
        let doc: packhorse_wire::signed::JobDoc =
            packhorse_wire::envelope::from_cbor_limited(&payload, 1 << 20).expect("a job");
        let hash = doc.packages[0].id.0;
        let at = payload.windows(32).position(|window| window == hash).expect("the hash is in it");
        payload[at + 5] ^= 1;
        envelope.payload = payload.into();
    })
}
