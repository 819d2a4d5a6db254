//! A relay that lies, with all the keys of a real one but without any delegation. It can delay; the checks see that it can
//! change nothing.

use packhorse_domain::ids::HostId;
use packhorse_domain::job::{Clause, Intent, Job, JobPackage};
use packhorse_domain::planner::OrderPart;
use packhorse_domain::report::{Body, Report};

use crate::cx::Cx;
use crate::msg::{Order, ReportBatch};
use crate::signed::Signed;
use crate::sites::host_id;

/// What it remembers to lie with.
#[derive(Debug, Clone, Default)]
pub struct Evil {
    old: Vec<(Signed<Job>, OrderPart)>,
}

impl Evil {
    /// Changes orders on their way down. Numbers stay as they are, so that nobody notices by counting.
    pub fn twist(&mut self, cx: &mut Cx<'_>, entries: &mut [(u64, Order)]) {
        for (_, order) in entries {
            let Order::Job(doc, part) = order.clone() else {
                if let Some((doc, part)) = self.replay(cx) {
                    *order = Order::Job(doc, part);
                }
                continue;
            };
            if let Some(lie) = self.lie(cx, &doc, &part) {
                cx.stats.lies += 1;
                *order = lie;
            }
            self.old.push((doc, part));
        }
    }

    /// Now and then, an order it has seen before in place of what is to go down.
    fn replay(&self, cx: &mut Cx<'_>) -> Option<(Signed<Job>, OrderPart)> {
        let replays = cx.rng.per_mille(100) && !self.old.is_empty();
        cx.stats.lies += u64::from(replays);
        replays.then(|| cx.rng.pick(&self.old).cloned()).flatten()
    }

    fn lie(&self, cx: &mut Cx<'_>, doc: &Signed<Job>, part: &OrderPart) -> Option<Order> {
        let part = part.clone();
        Some(match cx.rng.below(12) {
            0 => Order::Receipts(Vec::new()),
            1 => {
                let (doc, part) = cx.rng.pick(&self.old)?.clone();
                Order::Job(doc, part)
            }
            2 => Order::Job(doc.tampered(|job| swap_package(cx, job)), part),
            3 => Order::Job(doc.tampered(widen), part),
            4 => Order::Job(doc.tampered(|job| job.revision += 1), part),
            5 => Order::Job(doc.tampered(revive), part),
            6 => Order::Job(doc.clone(), widened(cx, part)),
            7 => Order::Job(doc.clone(), OrderPart { proofs: Vec::new(), ..part }),
            _ => return None,
        })
    }

    /// Whether it says "stored" of reports and forgets them.
    pub fn swallows(&self, cx: &mut Cx<'_>) -> bool {
        let swallows = cx.rng.per_mille(150);
        cx.stats.lies += u64::from(swallows);
        swallows
    }

    /// Adds, to reports on their way up, one about a host that is not below it.
    pub fn invent(&self, cx: &mut Cx<'_>, me: Option<HostId>, batch: &mut ReportBatch) {
        let stranger = (0..cx.sites.all.len()).map(host_id).find(|host| {
            cx.sites.place_of(host).is_some_and(|place| me.is_some_and(|me| !place.is_below(&me)))
        });
        let (Some(origin), Some((n, report))) = (stranger, batch.items.last().cloned()) else { return };
        if cx.rng.per_mille(300) {
            cx.stats.lies += 1;
            let body = match report.body {
                Body::Line(said) => Body::Line(said),
                _ => Body::Alarm { code: "invented".to_owned(), text: String::new() },
            };
            batch.items.push((n, Report { origin, no: 1, base: 0, body, ..report }));
        }
    }
}

fn swap_package(cx: &mut Cx<'_>, job: &mut Job) {
    let other: Option<JobPackage> = cx.rng.pick(cx.packages).map(|package| package.named.clone());
    job.packages.splice(.., other);
    job.revision += 1;
}

fn widen(job: &mut Job) {
    job.revision += 1;
    for round in &mut job.rounds {
        round.to = vec![Clause::All { relays: true }];
    }
}

fn revive(job: &mut Job) {
    job.revision += 1;
    job.intent = Intent::Open;
}

/// A proof stretched over a host that the list does not name.
fn widened(cx: &mut Cx<'_>, mut part: OrderPart) -> OrderPart {
    let stranger = host_id(cx.rng.below(cx.sites.all.len() as u64) as usize);
    for proof in &mut part.proofs {
        proof.slice.leaves.push(stranger);
    }
    part
}
