//! Reports about others.

use packhorse_domain::ids::HostId;
use packhorse_wire::bytes::Fixed;
use packhorse_wire::envelope::{Envelope, from_cbor_limited};
use packhorse_wire::messages::{BodyMsg, EventMsg, JobOrder, Order, OutcomeMsg, ReportMsg};
use packhorse_wire::signed::JobDoc;
use packhorse_wire::trust::Limits;

use super::state::State;

/// A life that no host ever had.
const INVENTED_LIFE: u64 = 4711;

/// "Done", for every package of every job this relay was told of.
pub(super) fn done(state: &State, host: HostId) -> Vec<ReportMsg> {
    let jobs = state.orders.iter().filter_map(|order| match order {
        Order::Job(job) => Some(document(job)),
        _ => None,
    });
    let lines = jobs.flat_map(|job| {
        let (key, attempt) = (job.key, job.rounds.len() as u32);
        job.packages.into_iter().map(move |package| (key.clone(), package.id, attempt))
    });
    lines
        .zip(1u64..)
        .map(|((job, package, attempt), no)| ReportMsg {
            origin: Fixed(host.0),
            incarnation: INVENTED_LIFE,
            no,
            base: 0,
            at: 1,
            body: BodyMsg::Line { job, package, attempt, event: EventMsg::Ended(outcome()) },
        })
        .collect()
}

/// The same claims, each of whose numbers is the highest there is.
pub(super) fn absurd(state: &State, host: HostId) -> Vec<ReportMsg> {
    let mut claims = done(state, host);
    for claim in &mut claims {
        (claim.no, claim.base, claim.at) = (u64::MAX, u64::MAX, i64::MAX);
        if let BodyMsg::Line { attempt, .. } = &mut claim.body {
            *attempt = u32::MAX;
        }
    }
    let lowest = claims.clone().into_iter().map(|claim| ReportMsg { no: 0, base: 0, at: i64::MIN, ..claim });
    let lowest: Vec<ReportMsg> = lowest.collect();
    claims.extend(lowest);
    claims
}

fn outcome() -> OutcomeMsg {
    OutcomeMsg {
        end: "done".to_owned(),
        class: None,
        step: "check".to_owned(),
        exit_code: None,
        text: "it is there, believe me".to_owned(),
        tail: String::new(),
        by: None,
    }
}

/// What a job says.
pub(super) fn document(order: &JobOrder) -> JobDoc {
    let envelope = Envelope::decode(&order.job, Limits::JOB_BYTES).expect("the server signs jobs");
    from_cbor_limited(&envelope.payload, Limits::JOB_BYTES).expect("a job")
}
