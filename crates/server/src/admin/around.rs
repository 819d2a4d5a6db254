//! What lines stand in, as it is now: who is there, which relays keep what, how far packages have come.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use packhorse_domain::ids::{JobKey, PackageId, SERVER};
use packhorse_domain::ingest::Position;
use packhorse_domain::instruction::Line;
use packhorse_domain::job::{HostRole, Intent};
use packhorse_domain::reason::{self, LineFacts, Reason, RelayFacts};
use packhorse_domain::time::Time;
use packhorse_wire::admin::FallbackView;

use super::format::{clock, rfc3339};
use crate::db::calling;
use crate::db::control::SetAt;
use crate::db::hosts::{HostRecord, HostRow};
use crate::db::jobs::JobRecord;
use crate::db::views::Scene;
use crate::hold;
use crate::system::System;

/// What a line's reason needs of its job.
pub struct JobFacts {
    /// Its identity.
    pub key: JobKey,
    /// When it starts, if not at once.
    pub at: Option<Time>,
    /// When it was registered.
    pub created: Time,
    /// When it ends.
    pub until: Time,
    /// Suspended, since then.
    pub suspended: Option<Time>,
    /// Why it was stopped from above, if it was.
    pub stopped: Option<String>,
    /// Its issuer cancelled it.
    pub cancelled: bool,
}

impl From<&JobRecord> for JobFacts {
    fn from(job: &JobRecord) -> JobFacts {
        JobFacts {
            key: job.key.clone(),
            at: Some(job.starts).filter(|starts| *starts > job.created),
            created: job.created,
            until: job.until,
            stopped: job.stopped.clone(),
            cancelled: job.intent == Intent::Cancelled.as_str(),
            suspended: Some(job.changed).filter(|_| job.intent == Intent::Suspended.as_str()),
        }
    }
}

/// A host as it is now.
#[derive(Debug, Clone, Copy)]
pub struct HostNow {
    /// It, and every relay on its route, is there.
    pub online: bool,
    /// Last heard.
    pub last_seen: Option<Time>,
    /// Two machines answer under its name, since then.
    pub twins_since: Option<Time>,
}

type Route = Rc<[RelayFacts]>;

/// Fleet, presence, copies and progress of one moment. Not kept over an await.
pub struct Around<'a> {
    system: &'a System,
    scene: &'a Scene,
    /// The moment.
    pub now: Time,
    present: RefCell<HashMap<HostRow, HostNow>>,
    routes: RefCell<HashMap<(HostRow, PackageId), Route>>,
}

impl<'a> Around<'a> {
    /// As it is now.
    pub fn new(system: &'a System, scene: &'a Scene, now: Time) -> Around<'a> {
        Around { system, scene, now, present: RefCell::default(), routes: RefCell::default() }
    }

    /// The system that answers.
    pub fn asked(&self) -> &'a str {
        &self.system.config.name
    }

    /// A host by its number.
    pub fn host(&self, row: HostRow) -> Option<&'a HostRecord> {
        self.scene.fleet.get(row)
    }

    /// The name of a host's higher system.
    pub fn higher(&self, host: &HostRecord) -> &'a str {
        if let Some(upper) = self.system.upper.as_ref().filter(|_| host.id == self.system.id) {
            return upper.higher_name();
        }
        let higher = host.higher.and_then(|row| self.scene.fleet.get(row));
        higher.map_or(self.asked(), |relay| relay.name.as_str())
    }

    /// How it came that a host calls its higher system, if it went there by itself.
    pub fn fallback(&self, host: &HostRecord) -> Option<FallbackView> {
        let called = match host.higher {
            Some(row) => Some(&self.scene.fleet.get(row)?.id),
            None => self.system.upper.as_ref().map(|_| &self.system.id),
        };
        let not_reached = calling::passed_over(host, called);
        let since = host.called_since.filter(|_| host.guest.is_some() || !not_reached.is_empty())?;
        let why = match not_reached.as_slice() {
            [] => "by itself, which its managing server does not know yet".to_owned(),
            names => format!("{} could not be reached", names.join(" and ")),
        };
        let text = format!("calls {} since {}; {why}", self.higher(host), clock(since, self.now));
        Some(FallbackView { since: Some(rfc3339(since)), not_reached, text })
    }

    /// Whether a relay keeps a package.
    pub fn keeps(&self, relay: HostRow, package: &PackageId) -> bool {
        self.scene.copies.contains(&(relay, *package))
    }

    /// A host as it is now: what is behind a relay that is off counts as off, whatever the relay said last.
    pub fn present(&self, host: &HostRecord) -> HostNow {
        if let Some(known) = self.present.borrow().get(&host.row) {
            return *known;
        }
        let own = self.system.presence.now(&host.id, self.now);
        let relays = self.scene.fleet.route(host);
        // A relay that answers is there, whatever its own agent says.
        let here = self.scene.fleet.own().map(|here| here.row);
        let relays = relays.iter().filter(|relay| relay.row != host.row && Some(relay.row) != here);
        let online = own.online
            && host.retired.is_none()
            && relays.into_iter().all(|relay| self.system.presence.now(&relay.id, self.now).online);
        let found =
            HostNow { online, last_seen: own.last_seen.max(host.last_seen), twins_since: own.twins_since };
        self.present.borrow_mut().insert(host.row, found);
        found
    }

    /// When a host was last heard; one that never was counts from when it joined.
    fn last_seen(&self, host: &HostRecord) -> Time {
        self.present(host).last_seen.unwrap_or(host.joined)
    }

    /// Whether a host was not heard for very long: it is shown apart, and left out of percentages.
    pub fn is_silent(&self, host: &HostRecord) -> bool {
        let present = self.present(host);
        host.retired.is_none()
            && reason::is_silent(present.online, self.last_seen(host), self.now, self.silent_days())
    }

    /// Not heard for longer than this, in days, a host is silent.
    pub fn silent_days(&self) -> i64 {
        self.system.silent_days()
    }

    /// The relays on the way down to a host; a relay ends its own way.
    pub fn relays(&self, host: &'a HostRecord) -> Vec<&'a HostRecord> {
        self.scene.fleet.route(host)
    }

    /// Why a line of a relay's job is nothing for a host that stands elsewhere by now; said by who knows all the ways.
    pub fn left(&self, job: &JobFacts, host: &HostRecord) -> Option<String> {
        let issuer = &job.key.issuer;
        let made_here = *issuer == self.system.issuer();
        let knows = made_here || self.system.position == Position::Top;
        if !knows || job.cancelled || *issuer == SERVER {
            return None;
        }
        let is_below = self.scene.fleet.route(host).iter().any(|relay| relay.name == *issuer);
        let may_come_back = host.above.iter().any(|above| above.relay && above.name == *issuer);
        (!is_below && !may_come_back).then(|| format!("{} is not below {issuer} any more", host.name))
    }

    /// How much of a package a host has, 0 to 100, while it is taking it in.
    pub fn percent(&self, host: &HostRecord, package: &PackageId) -> Option<u8> {
        self.system.presence.progress(&host.id, package)
    }

    /// Why a line has not ended; `None` exactly when it has.
    pub fn reason(
        &self,
        job: &JobFacts,
        host: Option<&HostRecord>,
        package: &PackageId,
        line: &Line,
    ) -> Option<Reason> {
        let present = host.map(|host| self.present(host));
        let route = host.map_or_else(|| Rc::from([]), |host| self.route(host, package));
        let facts = LineFacts {
            asked: self.asked(),
            job: &job.key,
            at: job.at,
            created: job.created,
            suspended: job.suspended,
            host: host.map_or("a host that was removed", |host| host.name.as_str()),
            online: present.is_some_and(|present| present.online),
            last_seen: host.map_or(job.created, |host| self.last_seen(host)),
            twins_since: present.and_then(|present| present.twins_since),
            route: &route,
            percent: host.and_then(|host| self.percent(host, package)),
            silent_days: self.system.silent_days(),
        };
        reason::shown(line, &facts, self.now)
    }

    /// The relays down to a host: the same for all hosts that call one relay.
    fn route(&self, host: &HostRecord, package: &PackageId) -> Route {
        let last = if host.role == HostRole::Relay { host.row } else { host.higher.unwrap_or(0) };
        if let Some(known) = self.routes.borrow().get(&(last, *package)) {
            return known.clone();
        }
        let own = self.scene.fleet.own();
        let below = self.scene.fleet.route(host);
        let below = below.into_iter().filter(|relay| own.is_none_or(|own| own.row != relay.row));
        let above = self.system.suspended_above().map(|(name, since)| RelayFacts {
            name,
            online: true,
            last_seen: self.now,
            has_copy: true,
            percent: None,
            suspended: Some(since),
            shut: None,
            trouble: None,
        });
        // A relay that answers is the first on the way: what waits for it to take something in says so.
        let here = own.map(|own| RelayFacts { online: true, ..self.relay(own, package) });
        let facts = above.into_iter().chain(here).chain(below.map(|relay| self.relay(relay, package)));
        let facts: Route = Rc::from(facts.collect::<Vec<_>>());
        self.routes.borrow_mut().insert((last, *package), facts.clone());
        facts
    }

    fn relay(&self, relay: &HostRecord, package: &PackageId) -> RelayFacts {
        let present = self.present(relay);
        RelayFacts {
            name: relay.name.clone(),
            online: present.online,
            last_seen: present.last_seen.unwrap_or(relay.joined),
            has_copy: self.keeps(relay.row, package),
            percent: self.percent(relay, package),
            suspended: self.set_at(relay).and_then(|set| set.suspended_since),
            shut: self.set_at(relay).and_then(|set| hold::opens(&set.doc, self.now)),
            trouble: self
                .system
                .presence
                .trouble(&relay.id, package)
                .filter(|said| !said.is_out_of_date(self.now)),
        }
    }

    fn set_at(&self, relay: &HostRecord) -> Option<&'a SetAt> {
        self.scene.controls.get(&relay.row)
    }
}
