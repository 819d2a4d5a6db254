//! What the administrator does, drawn from the seed: jobs in all destinations, cancels, retries.

use packhorse_domain::ids::{HostId, JobKey};
use packhorse_domain::job::{JobPackage, JobType, Terms};
use packhorse_domain::line::{DAY_MINUTES, Limit};
use packhorse_domain::time::Time;

use super::{Event, World};
use crate::cx::Cx;
use crate::hub::{Destination, Hub, Wanted, minute_of};
use crate::node::Role;
use crate::sites::SERVER_NODE;

/// Something an administrator does.
#[derive(Debug, Clone, Copy)]
pub enum Admin {
    /// A new job.
    Install,
    /// Some job is cancelled.
    Cancel,
    /// Some job is suspended; it goes on later.
    Suspend,
    /// What is suspended goes on.
    Resume,
    /// What failed of some job is asked for again.
    Retry,
    /// Some host is put into the group.
    PutIn,
    /// Some job takes nobody in any more.
    Close,
    /// Something is set at some relay.
    Control,
}

impl World {
    /// Draws what is done and when.
    pub(super) fn plan_admin(&mut self) {
        let last = self.options.rough_secs * 850_000;
        let jobs = self.options.job_count.map_or_else(|| self.rng.between(2, 6), |jobs| jobs as i64);
        for _ in 0..jobs {
            self.plan_act(Admin::Install, 6_000_000, last);
        }
        // As many as fit to a few jobs, for each few jobs.
        let often = jobs / 6 + 1;
        for _ in 0..self.rng.between(0, 2 * often) {
            self.plan_act(Admin::Cancel, 60_000_000, last);
        }
        for _ in 0..self.rng.between(0, 4 * often) {
            self.plan_act(Admin::Retry, 200_000_000, last);
        }
        for _ in 0..self.rng.between(0, 3 * often) {
            self.plan_act(Admin::PutIn, 20_000_000, last);
        }
        for _ in 0..self.rng.between(0, 2 * often) {
            self.plan_act(Admin::Close, 60_000_000, last);
        }
        for _ in 0..self.rng.between(0, 4 * often) {
            self.plan_act(Admin::Control, 20_000_000, last);
        }
        for _ in 0..self.rng.between(0, 2 * often) {
            self.plan_act(Admin::Suspend, 20_000_000, last);
            self.plan_act(Admin::Resume, 60_000_000, last);
        }
        let end = Time(self.options.rough_secs * 1_000_000);
        self.at(end, Event::Admin(Admin::Resume));
    }

    fn plan_act(&mut self, admin: Admin, first: i64, last: i64) {
        let at = Time(self.rng.between(first.min(last), last));
        self.at(at, Event::Admin(admin));
    }

    /// Does it, or a little later if the server is down.
    pub(super) fn administrate(&mut self, admin: Admin) {
        if !self.nodes[SERVER_NODE].up {
            return self.in_micros(5_000_000, 10_000_000, Event::Admin(admin));
        }
        self.note(SERVER_NODE, &format!("{admin:?}"));
        match admin {
            Admin::Install => self.new_job(),
            Admin::Cancel => self.on_some_job(Hub::cancel_job),
            Admin::Suspend => self.on_some_job(Hub::suspend_job),
            Admin::Resume => self.step(SERVER_NODE, |role, cx| {
                if let Role::Hub(hub) = role {
                    hub.resume_jobs(cx);
                    hub.resume_relays(cx);
                }
            }),
            Admin::Retry => self.on_some_job(Hub::retry_job),
            Admin::PutIn => self.put_in(),
            Admin::Close => self.on_some_job(Hub::close_job),
            Admin::Control => self.set_control(),
        }
    }

    /// The hosts have joined before the first job.
    pub(super) fn register_places(&mut self) {
        self.step(SERVER_NODE, |role, cx| {
            let Role::Hub(hub) = role else { return };
            if hub.store.now().places.is_empty() {
                cx.sites.places().for_each(|place| hub.register(place.clone()));
            }
        });
    }

    fn put_in(&mut self) {
        let all: Vec<HostId> = self.sites.places().map(|place| place.host).collect();
        let Some(host) = self.rng.pick(&all).copied() else { return };
        let Some(place) = self.sites.put_in(&host, self.now) else { return };
        self.stats.put_in += 1;
        self.ledger.put_in(host);
        self.step(SERVER_NODE, |role, cx| {
            if let Role::Hub(hub) = role {
                hub.place_anew(cx, place);
            }
        });
    }

    /// Transfers to a relay are suspended, or its line carries nothing for a part of the day, or everything as before.
    fn set_control(&mut self) {
        let relays: Vec<HostId> =
            self.sites.relays().filter_map(|relay| Some(self.sites.lower(relay)?.host)).collect();
        let Some(relay) = self.rng.pick(&relays).copied() else { return };
        let now = self.now;
        let suspends = self.rng.per_mille(300);
        let minutes = self.rng.between(0, 2) * self.rng.between(1, 5 * self.options.pace.min(60));
        let from = i64::from(minute_of(now)) + self.rng.between(0, 5);
        let wrap = |minute: i64| (minute % i64::from(DAY_MINUTES)) as u16;
        let limits = match minutes {
            0 => Vec::new(),
            minutes => {
                let slow = Limit { bits_per_sec: 1_000_000, minutes: None };
                vec![Limit { bits_per_sec: 0, minutes: Some((wrap(from), wrap(from + minutes))) }, slow]
            }
        };
        self.step(SERVER_NODE, |role, cx| {
            if let Role::Hub(hub) = role {
                hub.set_control(cx, relay, |control| {
                    control.suspended = suspends.then_some(control.suspended.unwrap_or(now));
                    control.limits = limits;
                });
            }
        });
    }

    fn new_job(&mut self) {
        let transfer = self.rng.per_mille(300);
        let to = match self.draw_destination() {
            Destination::All { relays: true } if transfer => Destination::Relays,
            to => to,
        };
        let mut packages: Vec<JobPackage> = Vec::new();
        for _ in 0..self.rng.between(1, 2) {
            let drawn = self.rng.pick(&self.packages).map(|package| package.named.clone());
            packages.extend(drawn.filter(|new| packages.iter().all(|old| old.id != new.id)));
        }
        let later = self.rng.between(10, 300) * self.options.pace;
        let at = self.rng.per_mille(250).then(|| self.now.plus_secs(later));
        let soon = self.rng.between(30, 900) * self.options.pace;
        let until = at.unwrap_or(self.now);
        let until = if self.rng.per_mille(200) { until.plus_secs(soon) } else { until.plus_days(2) };
        let (job_type, terms, until) = match transfer {
            true => (JobType::Transfer, Terms::default(), until),
            false => self.draw_terms(at.unwrap_or(self.now), at.is_some(), until),
        };
        self.step(SERVER_NODE, |role, cx| {
            if let Role::Hub(hub) = role {
                hub.create_job(cx, packages, to, Wanted { job_type, at, until, terms });
            }
        });
    }

    /// Some jobs are offers, which end soon enough for the run to end, and some of those are required from a time on. Some
    /// installs may be put off.
    fn draw_terms(&mut self, starts: Time, has_at: bool, until: Time) -> (JobType, Terms, Time) {
        let (soon, part) = (self.rng.between(120, 900) * self.options.pace, self.rng.between(20, 100));
        if self.rng.per_mille(450) {
            let until = until.min(starts.plus_secs(soon));
            let from = self.rng.per_mille(400).then(|| starts.plus_secs(soon * part / 120));
            let required_from = from.filter(|from| *from > starts && *from < until);
            return (JobType::Offer, Terms { required_from, ..Terms::default() }, until);
        }
        let host_time = has_at && self.rng.per_mille(400);
        let postpone = if self.rng.per_mille(400) { 2 } else { 0 };
        (JobType::Install, Terms { postpone, host_time, ..Terms::default() }, until)
    }

    fn draw_destination(&mut self) -> Destination {
        let relays: Vec<HostId> =
            self.sites.relays().filter_map(|relay| Some(self.sites.lower(relay)?.host)).collect();
        match self.rng.below(7) {
            5 => Destination::Group,
            6 => Destination::Red,
            0 => Destination::All { relays: self.rng.per_mille(500) },
            1 => match self.rng.pick(&relays) {
                Some(relay) => Destination::Below(*relay),
                None => Destination::All { relays: true },
            },
            _ => {
                let often = self.rng.below(900) + 100;
                let all: Vec<HostId> = self.sites.places().map(|place| place.host).collect();
                let mut some: Vec<HostId> =
                    all.iter().copied().filter(|_| self.rng.per_mille(often)).collect();
                if some.is_empty() {
                    some.extend(self.rng.pick(&all));
                }
                Destination::Hosts(some)
            }
        }
    }

    /// Tries an act on the jobs from some job on, until one fits.
    fn on_some_job(&mut self, act: impl Fn(&mut Hub, &mut Cx<'_>, &JobKey) -> bool) {
        let Some(server) = self.server() else { return };
        let mut jobs: Vec<JobKey> = server.store.now().jobs.keys().cloned().collect();
        let first = self.rng.below(jobs.len() as u64) as usize;
        jobs.rotate_left(first);
        self.step(SERVER_NODE, |role, cx| {
            if let Role::Hub(hub) = role {
                jobs.iter().any(|key| act(hub, cx, key));
            }
        });
    }
}
