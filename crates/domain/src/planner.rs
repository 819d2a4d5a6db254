//! One job × one direct lower system → the order for it. The same functions answer `--plan`.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::HostId;
use crate::job::{Intent, Job, JobType, Place, Proof, Standing};
use crate::merkle::Prover;
use crate::time::Time;
use crate::transfer;

/// A host of a job as the planner sees it: all its lines of the job together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLine {
    /// The host.
    pub host: HostId,
    /// The attempt it is in.
    pub attempt: u32,
    /// Its place in the list of that attempt's round; `None` if a clause named it by where it stands.
    pub leaf: Option<u32>,
    /// Whether all its lines have ended.
    pub ended: bool,
}

/// What a lower system is told beside the signed job itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderPart {
    /// Proofs for the hosts at or below it.
    pub proofs: Vec<Proof>,
    /// Hosts at or below it whose lines have all ended: nothing is to be done there.
    pub ended: Vec<HostId>,
    /// Hosts at or below it that were taken in by what is said of them, see [`named`].
    pub named: Vec<HostId>,
}

/// Provers by attempt, for the rounds that name hosts by a list.
pub type Provers = BTreeMap<u32, Vec<Prover>>;

/// The order for one lower system, from its hosts' lines; `None` if it has no line there.
pub fn order(lines: &[PlanLine], provers: &Provers) -> Option<OrderPart> {
    if lines.is_empty() {
        return None;
    }
    let mut runs: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for line in lines {
        if let Some(leaf) = line.leaf {
            runs.entry(line.attempt).or_default().push(leaf);
        }
    }
    let mut proofs = Vec::new();
    for (attempt, mut leaves) in runs {
        leaves.sort_unstable();
        leaves.dedup();
        let Some(provers) = provers.get(&attempt) else {
            continue;
        };
        for (start, end) in contiguous(&leaves) {
            let slice = provers.iter().find_map(|prover| prover.narrow(start, end));
            proofs.extend(slice.map(|slice| Proof { attempt, slice }));
        }
    }
    let ended = lines.iter().filter(|line| line.ended).map(|line| line.host).collect();
    Some(OrderPart { proofs, ended, named: Vec::new() })
}

/// Hosts that a job was found to name by what is said of them, and that have something left to do. A relay is told of them: it
/// may know something newer by now, and would not ask a host for which a line is open above.
pub fn named(job: &Job, lines: &[PlanLine]) -> Vec<HostId> {
    if !job.asks_statements() {
        return Vec::new();
    }
    lines.iter().filter(|line| line.leaf.is_none() && !line.ended).map(|line| line.host).collect()
}

/// Adds those whom the higher system found named to the ones this system finds itself; only hosts at or below it, whatever it
/// is told (rule 5). The host has the last word.
pub fn also(job: &Job, named: &[HostId], is_below: impl Fn(&HostId) -> bool, opened: &mut Vec<Opened>) {
    let Some(attempt) = job.attempt_by_statements() else { return };
    let known: BTreeSet<HostId> = opened.iter().map(|open| open.host).collect();
    let more = named.iter().filter(|host| !known.contains(host) && is_below(host));
    opened.extend(more.map(|host| Opened { host: *host, attempt, leaf: None }));
}

fn contiguous(sorted: &[u32]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &leaf in sorted {
        match runs.last_mut() {
            Some((_, end)) if *end == leaf => *end += 1,
            _ => runs.push((leaf, leaf + 1)),
        }
    }
    runs
}

/// A line a system opens for a host at or below it when a revision comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The host.
    pub host: HostId,
    /// The attempt.
    pub attempt: u32,
    /// Its leaf, if a list named it.
    pub leaf: Option<u32>,
}

/// Which of the hosts at or below this system a verified job names, given the proofs that came along,
/// with the attempt each is in. Hosts in `ended` have nothing left to do and are left out.
pub fn opens<'a>(
    job: &Job,
    proofs: &[Proof],
    ended: &[HostId],
    hosts: impl IntoIterator<Item = Standing<'a>>,
) -> Vec<Opened> {
    let listed = listed(job, proofs);
    let mut opened: Vec<(Opened, &Place)> = Vec::new();
    for standing in hosts {
        let host = standing.place.host;
        if ended.contains(&host) {
            continue;
        }
        let by_list = listed.get(&host).copied();
        let by_standing = job.round_by_standing(&standing).map(|round| (round.attempt, None));
        // The newest round counts, whichever way it named the host.
        if let Some((attempt, leaf)) = by_list.max(by_standing) {
            opened.push((Opened { host, attempt, leaf }, standing.place));
        }
    }
    match job.job_type {
        JobType::Transfer => transfer::relays(&opened, ended),
        JobType::Install | JobType::Offer => opened.into_iter().map(|(open, _)| open).collect(),
    }
}

/// Host → (newest attempt, leaf) for every host that a proof which holds names.
fn listed(job: &Job, proofs: &[Proof]) -> BTreeMap<HostId, (u32, Option<u32>)> {
    let mut listed = BTreeMap::new();
    for proof in proofs.iter().filter(|proof| holds(job, proof)) {
        for (host, leaf) in proof.slice.leaves.iter().zip(proof.slice.start..) {
            let entry = listed.entry(*host).or_insert((proof.attempt, Some(leaf)));
            *entry = (*entry).max((proof.attempt, Some(leaf)));
        }
    }
    listed
}

/// Whether a proof leads to the root its round signed.
pub fn holds(job: &Job, proof: &Proof) -> bool {
    use crate::job::Clause;
    let Some(round) = job.rounds.iter().find(|round| round.attempt == proof.attempt) else {
        return false;
    };
    round.to.iter().any(|clause| match clause {
        Clause::Hosts { root, size } => proof.slice.size == *size && proof.slice.root() == Some(*root),
        _ => false,
    })
}

/// When a relay takes in a job's packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// At that time.
    At(Time),
    /// Not at all: nobody below waits for it.
    Never,
}

/// Whether and when a relay takes in the packages of `job`, of which `open_lines` lines at or below it have not ended. Of
/// those `begun_lines` have begun: they go on past the job's end.
pub fn copy_due(job: &Job, open_lines: u64, begun_lines: u64, now: Time) -> Due {
    let over = now >= job.until && begun_lines == 0;
    if job.intent != Intent::Open || open_lines == 0 || over {
        Due::Never
    } else if job.starts() > now {
        Due::At(job.starts())
    } else {
        Due::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::{bare, host, job, place};
    use crate::job::{Clause, HostRole, Place, Round};
    use crate::merkle;

    fn line(n: u8, leaf: Option<u32>, ended: bool) -> PlanLine {
        PlanLine { host: host(n), attempt: 1, leaf, ended }
    }

    #[test]
    fn a_relay_proves_each_of_its_hosts() {
        let list: Vec<HostId> = (1..=9).map(host).collect();
        let job = job(1, vec![Clause::Hosts { root: merkle::root(&list), size: 9 }]);
        let provers = Provers::from([(1, vec![Prover::whole(list).unwrap()])]);
        let lines: Vec<PlanLine> = (3..=6).map(|n| line(n, Some(u32::from(n) - 1), n == 4)).collect();
        let part = order(&lines, &provers).unwrap();
        assert_eq!((part.proofs.len(), part.ended.clone()), (1, vec![host(4)]));
        assert!(holds(&job, &part.proofs[0]));

        let places: Vec<Place> = (1..=9).map(|n| place(n, HostRole::Client, &[])).collect();
        let opened = opens(&job, &part.proofs, &part.ended, places.iter().map(bare));
        let hosts: Vec<HostId> = opened.iter().map(|o| o.host).collect();
        assert_eq!(hosts, vec![host(3), host(5), host(6)]);

        let below = Provers::from([(1, vec![Prover::new(part.proofs[0].slice.clone()).unwrap()])]);
        let one = order(&[line(5, Some(4), false)], &below).unwrap();
        assert!(job.round_for(&bare(&places[4]), &one.proofs).is_some());
        assert!(job.round_for(&bare(&places[5]), &one.proofs).is_none());
        assert_eq!(order(&[], &below), None);
    }

    #[test]
    fn the_newest_round_counts() {
        let mut job = job(1, vec![Clause::All { relays: false }]);
        let list = vec![host(2)];
        let to = vec![Clause::Hosts { root: merkle::root(&list), size: 1 }];
        job.rounds.push(Round { attempt: 2, ordered: Time(1), to });
        let proof = Proof { attempt: 2, slice: Prover::whole(list).unwrap().slice().clone() };
        let places = [
            place(1, HostRole::Client, &[]),
            place(2, HostRole::Client, &[]),
            place(3, HostRole::Relay, &[3]),
        ];
        let opened = opens(&job, &[proof], &[], places.iter().map(bare));
        let seen: Vec<(HostId, u32)> = opened.iter().map(|o| (o.host, o.attempt)).collect();
        assert_eq!(seen, vec![(host(1), 1), (host(2), 2)]);
    }

    #[test]
    fn a_widened_slice_names_nobody() {
        let list: Vec<HostId> = (1..=4).map(host).collect();
        let job = job(1, vec![Clause::Hosts { root: merkle::root(&list), size: 4 }]);
        let mut slice = merkle::Slice::of(&list, 0, 2).unwrap();
        slice.leaves.push(host(9));
        let places = [place(9, HostRole::Client, &[]), place(1, HostRole::Client, &[])];
        assert_eq!(opens(&job, &[Proof { attempt: 1, slice }], &[], places.iter().map(bare)), vec![]);
    }

    #[test]
    fn whom_the_higher_system_found_named_is_asked() {
        let group = crate::ids::GroupId([7; 16]);
        let by_group = job(1, vec![Clause::Group(group)]);
        let lines = [line(1, None, false), line(2, None, true), line(3, Some(0), false)];
        assert_eq!(named(&by_group, &lines), vec![host(1)]);
        assert_eq!(named(&job(1, vec![Clause::All { relays: false }]), &lines), vec![]);
        let mut opened = vec![Opened { host: host(4), attempt: 1, leaf: None }];
        also(&by_group, &[host(4), host(1), host(9)], |host| host.0[0] < 9, &mut opened);
        assert_eq!(opened.iter().map(|open| open.host).collect::<Vec<_>>(), vec![host(4), host(1)]);
    }

    #[test]
    fn copies_are_taken_in_at_the_jobs_time() {
        let mut job = job(1, vec![Clause::All { relays: false }]);
        assert_eq!(copy_due(&job, 3, 0, Time(5)), Due::Now);
        assert_eq!(copy_due(&job, 0, 0, Time(5)), Due::Never);
        job.at = Some(Time(10));
        assert_eq!(copy_due(&job, 3, 0, Time(5)), Due::At(Time(10)));
        assert_eq!(copy_due(&job, 3, 0, job.until), Due::Never);
        assert_eq!(copy_due(&job, 3, 1, job.until), Due::Now);
        job.intent = Intent::Cancelled;
        assert_eq!(copy_due(&job, 3, 0, Time(10)), Due::Never);
    }
}
