//! At the managing server: what an administrator does, and what time does to jobs.

use packhorse_domain::ids::{HostId, JobKey};
use packhorse_domain::instruction::{LineKey, State, Verdict};
use packhorse_domain::job::{Clause, Intent, Job, JobPackage, JobType, Place, Proof, Round, Terms};
use packhorse_domain::lease::Keep;
use packhorse_domain::merkle::{Slice, root};
use packhorse_domain::planner::{Opened, opens};
use packhorse_domain::time::Time;
use packhorse_domain::version::not_above;

use super::state::is_unchosen;
use super::{Hub, HubWrite};
use crate::cx::Cx;
use crate::msg::Order;
use crate::says;
use crate::signed::Signed;

/// Whom a new job is for.
#[derive(Debug, Clone)]
pub enum Destination {
    /// These hosts, by a signed list.
    Hosts(Vec<HostId>),
    /// The clients below a relay.
    Below(HostId),
    /// The members of the group.
    Group,
    /// Whoever says that it is red.
    Red,
    /// All relay systems.
    Relays,
    /// All clients, or all hosts.
    All {
        /// And the relays.
        relays: bool,
    },
}

/// What else is wanted of a new job.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What is done.
    pub job_type: JobType,
    /// Not before.
    pub at: Option<Time>,
    /// Not after.
    pub until: Time,
    /// What else it says.
    pub terms: Terms,
}

/// How long relays keep the copies of a new job, where it says so.
fn keep(cx: &mut Cx<'_>) -> Option<Keep> {
    let (secs, days) = (cx.rng.between(20, 600), cx.rng.below(3) as u32);
    match cx.rng.below(6) {
        0 => Some(Keep::Until(cx.now.plus_secs(secs * cx.pace))),
        1 => Some(Keep::Days(days)),
        _ => None,
    }
}

impl Hub {
    /// Writes down where a host stands.
    pub fn register(&mut self, place: Place) {
        self.put_place(Signed::sign(place));
    }

    /// A host's place anew: told on the way to it, and the host taken in where it is named now.
    pub fn place_anew(&mut self, cx: &mut Cx<'_>, place: Place) {
        let host = place.host;
        let signed = Signed::sign(place);
        self.put_place(signed.clone());
        let lower = signed.verify().and_then(|place| self.direct(place));
        if let Some(lower) = lower.filter(|lower| self.store.now().feeds.contains_key(lower)) {
            self.store.put(HubWrite::FeedAppend(lower, Order::Place(signed)));
        }
        self.take_in_late(cx, &[host]);
    }

    /// Makes a job.
    pub fn create_job(
        &mut self,
        cx: &mut Cx<'_>,
        packages: Vec<JobPackage>,
        to: Destination,
        wanted: Wanted,
    ) {
        let Wanted { job_type, at, until, terms } = wanted;
        let number = self.store.now().jobs.len() as u64 + 1;
        cx.stats.growing_jobs += u64::from(matches!(to, Destination::Group | Destination::Red));
        let (clause, proof) = self.clause(to, 1);
        cx.stats.jobs += 1;
        cx.stats.listed_jobs += u64::from(proof.is_some());
        let job = Job {
            key: JobKey::server(1, number),
            revision: 1,
            job_type,
            created: cx.now,
            packages,
            rounds: vec![Round { attempt: 1, ordered: cx.now, to: vec![clause] }],
            at,
            until,
            allow_downgrade: job_type == JobType::Install && cx.rng.per_mille(300),
            intent: Intent::Open,
            terms: Terms { keep: keep(cx), ..terms },
        };
        if job.validate().is_ok() {
            self.publish(cx, job.clone(), proof.into_iter().collect());
            self.supersede(cx, &job);
        }
    }

    /// A destination as a signed clause; a list is put in route order and kept for its proofs.
    fn clause(&self, to: Destination, attempt: u32) -> (Clause, Option<Proof>) {
        let mut hosts = match to {
            Destination::Below(relay) => return (Clause::Below(relay), None),
            Destination::Group => return (Clause::Group(says::GROUP), None),
            Destination::Red => return (says::red(), None),
            Destination::Relays => return (Clause::Relays, None),
            Destination::All { relays } => return (Clause::All { relays }, None),
            Destination::Hosts(hosts) => hosts,
        };
        let places = &self.store.now().places;
        let route = |host: &HostId| places.get(host).and_then(Signed::verify).map(|place| &place.route);
        hosts.sort_by(|a, b| (route(a), a).cmp(&(route(b), b)));
        hosts.dedup();
        let size = hosts.len() as u32;
        let clause = Clause::Hosts { root: root(&hosts), size };
        (clause, Slice::of(&hosts, 0, size).map(|slice| Proof { attempt, slice }))
    }

    /// Signs a revision, opens the lines of whom it names, and tells the lower systems.
    fn publish(&mut self, cx: &mut Cx<'_>, job: Job, fresh: Vec<Proof>) {
        let mut proofs =
            self.store.now().jobs.get(&job.key).map(|row| row.proofs.clone()).unwrap_or_default();
        proofs.extend(fresh);
        let doc = Signed::sign(job.clone());
        self.store.put(HubWrite::Job(doc, proofs.clone()));
        let places: Vec<Place> =
            self.store.now().places.values().filter_map(Signed::verify).cloned().collect();
        let named = opens(&job, &proofs, &[], places.iter().map(|place| self.standing(place, cx.now)));
        for opened in named {
            self.open_at_top(cx, &job, opened);
        }
        self.judge_cancelled(cx, &job);
        self.distribute(cx, &job.key);
    }

    /// As at a relay, but a next attempt goes through the table of states.
    pub(super) fn open_at_top(&mut self, cx: &Cx<'_>, job: &Job, opened: Opened) {
        for package in &job.packages {
            let key = LineKey { job: job.key.clone(), package: package.id, host: opened.host };
            if let Some(mut line) = self.store.now().lines.get(&key).cloned()
                && line.attempt < opened.attempt
                && line.retry(opened.attempt, cx.now).is_ok()
            {
                self.store.put(HubWrite::Line(key, line));
            }
        }
        self.open_lines(cx, job, opened);
    }

    /// A newer job for the same package takes the place of what older ones have not begun.
    fn supersede(&mut self, cx: &Cx<'_>, newer: &Job) {
        let jobs = &self.store.now().jobs;
        let same = |a: &JobPackage, b: &JobPackage| {
            (&a.label.cabinet, &a.label.name) == (&b.label.cabinet, &b.label.name)
        };
        let mut over: Vec<LineKey> = Vec::new();
        for (key, _) in self.store.now().open_lines().filter(|(key, _)| key.job < newer.key) {
            let Some(old) = jobs.get(&key.job).map(|row| row.doc.unverified()) else { continue };
            let package = old.packages.iter().find(|package| package.id == key.package);
            let replaced = package.is_some_and(|old| newer.packages.iter().any(|new| same(old, new)));
            let open = self.store.now().lines.get(key).is_some_and(is_unchosen);
            let lower = package.is_some_and(|old| {
                newer
                    .packages
                    .iter()
                    .any(|new| same(old, new) && not_above(&old.label.version, &new.label.version))
            });
            let fits = match (old.job_type, newer.job_type) {
                (JobType::Offer, JobType::Offer) => open,
                (JobType::Offer, JobType::Install) => open && lower,
                (old, newer) => old == newer,
            };
            if replaced && fits && self.lines_of(newer, key.host).next().is_some() {
                over.push(key.clone());
            }
        }
        self.judge_lines(cx, Verdict::Superseded, over);
    }

    /// Cancels an open job; answers whether there was one.
    pub fn cancel_job(&mut self, cx: &mut Cx<'_>, key: &JobKey) -> bool {
        let Some(mut job) = self.open_job(cx, key) else { return false };
        job.revision += 1;
        job.intent = Intent::Cancelled;
        cx.stats.cancelled_jobs += 1;
        self.publish(cx, job, Vec::new());
        true
    }

    /// Suspends an open job; answers whether there was one.
    pub fn suspend_job(&mut self, cx: &mut Cx<'_>, key: &JobKey) -> bool {
        let Some(mut job) = self.open_job(cx, key) else { return false };
        job.revision += 1;
        job.intent = Intent::Suspended;
        cx.stats.suspended_jobs += 1;
        self.publish(cx, job, Vec::new());
        true
    }

    /// Closes an open job, so that it takes in nobody who comes later; answers whether there was one.
    pub fn close_job(&mut self, cx: &mut Cx<'_>, key: &JobKey) -> bool {
        let open = self.open_job(cx, key).filter(|job| job.grows() && job.terms.closed.is_none());
        let Some(mut job) = open else { return false };
        job.revision += 1;
        job.terms.closed = Some(cx.now);
        cx.stats.closed_jobs += 1;
        self.publish(cx, job, Vec::new());
        true
    }

    /// Lets all suspended jobs go on.
    pub fn resume_jobs(&mut self, cx: &mut Cx<'_>) {
        let jobs = self.store.now().jobs.values().map(|row| row.doc.unverified());
        let held: Vec<Job> = jobs.filter(|job| job.intent == Intent::Suspended).cloned().collect();
        for mut job in held {
            job.revision += 1;
            job.intent = Intent::Open;
            self.publish(cx, job, Vec::new());
        }
    }

    /// Asks the hosts again where a job failed and all has ended.
    pub fn retry_job(&mut self, cx: &mut Cx<'_>, key: &JobKey) -> bool {
        let Some(mut job) = self.open_job(cx, key) else { return false };
        let hosts: Vec<HostId> = self.failed_hosts(&job);
        if hosts.is_empty() {
            return false;
        }
        let attempt = job.rounds.len() as u32 + 1;
        let (clause, proof) = self.clause(Destination::Hosts(hosts), attempt);
        job.revision += 1;
        job.rounds.push(Round { attempt, ordered: cx.now, to: vec![clause] });
        cx.stats.retries += 1;
        self.publish(cx, job, proof.into_iter().collect());
        true
    }

    fn failed_hosts(&self, job: &Job) -> Vec<HostId> {
        let all = (job.key.clone(), HostId([0; 16]))..=(job.key.clone(), HostId([0xff; 16]));
        let named = self.store.now().named.range(all).map(|((_, host), _)| *host);
        named
            .filter(|host| {
                let shown: Vec<State> = self.lines_of(job, *host).map(|line| line.shown()).collect();
                shown.iter().all(|state| state.is_end()) && shown.contains(&State::Failed)
            })
            .collect()
    }

    fn open_job(&self, cx: &Cx<'_>, key: &JobKey) -> Option<Job> {
        let job = self.store.now().jobs.get(key)?.doc.unverified();
        (job.intent == Intent::Open && cx.now < job.until).then(|| job.clone())
    }

    /// Ends as missed, as far as this system knows, what has not begun by its job's end.
    pub(super) fn judge_missed(&mut self, cx: &Cx<'_>) {
        let state = self.store.now();
        let jobs = state.open.keys().filter_map(|key| state.jobs.get(key)).map(|row| row.doc.unverified());
        let over: Vec<(JobKey, JobType)> =
            jobs.filter(|job| job.until <= cx.now).map(|job| (job.key.clone(), job.job_type)).collect();
        for (key, job_type) in over {
            if job_type == JobType::Offer {
                self.judge(cx, Verdict::OfferEnded, &key, |_, line| is_unchosen(line));
            }
            self.judge(cx, Verdict::Missed, &key, |_, line| !line.shown().is_end());
        }
    }
}
