//! What the managing server sets at relays, as `domain::line` says: transfers suspended, hours in which the line carries
//! nothing. At the managing server it is made, at relays on the way passed on, at the relay it is for obeyed.

use packhorse_domain::ids::HostId;
use packhorse_domain::line::{DAY_MINUTES, Intake, Limit, intake};
use packhorse_domain::reason::NextTry;
use packhorse_domain::time::Time;

use super::{Hub, HubWrite};
use crate::cx::Cx;
use crate::msg::Order;
use crate::options::Plant;
use crate::signed::Signed;
use crate::sites::Lower;

/// What is set at a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// At which.
    pub relay: HostId,
    /// The newest counts.
    pub revision: u64,
    /// It takes nothing in, since then.
    pub suspended: Option<Time>,
    /// Limits of its line.
    pub limits: Vec<Limit>,
}

impl Control {
    /// What the relay may take in at a time.
    pub fn intake(&self, now: Time) -> Intake {
        intake(self.suspended.is_some(), &self.limits, minute_of(now))
    }

    /// When the line carries something again that carries nothing now.
    pub fn opens(&self, now: Time) -> Option<NextTry> {
        let Intake::Closed { opens_in_minutes } = intake(false, &self.limits, minute_of(now)) else {
            return None;
        };
        let at = |minutes: u16| NextTry::At(now.plus_secs(i64::from(minutes) * 60));
        Some(opens_in_minutes.map_or(NextTry::WhenCleared, at))
    }
}

/// The minute of the day on the clock of the run.
pub fn minute_of(now: Time) -> u16 {
    now.0.div_euclid(60_000_000).rem_euclid(i64::from(DAY_MINUTES)) as u16
}

impl Hub {
    /// At the managing server: sets something at a relay.
    pub fn set_control(&mut self, cx: &mut Cx<'_>, relay: HostId, set: impl FnOnce(&mut Control)) {
        let known = self.store.now().controls.get(&relay).map(|known| known.unverified().clone());
        let none = Control { relay, revision: 0, suspended: None, limits: Vec::new() };
        let mut control = known.unwrap_or(none);
        set(&mut control);
        control.revision += 1;
        cx.stats.controls += 1;
        self.put_control(cx, Signed::sign(control));
    }

    /// At the managing server: relays that are suspended go on.
    pub fn resume_relays(&mut self, cx: &mut Cx<'_>) {
        let controls = self.store.now().controls.values().map(Signed::unverified);
        let held: Vec<HostId> =
            controls.filter(|control| control.suspended.is_some()).map(|control| control.relay).collect();
        for relay in held {
            self.set_control(cx, relay, |control| control.suspended = None);
        }
    }

    /// At a relay: something was set here or further below.
    pub(super) fn take_control(&mut self, cx: &mut Cx<'_>, offered: Signed<Control>) {
        let Some(control) = offered.verify() else {
            cx.stats.bad_signatures += 1;
            return;
        };
        let known = self.store.now().controls.get(&control.relay).map(|known| known.unverified().revision);
        let first_counts = cx.planted(Plant::KeepFirstControl) && known.is_some();
        if known < Some(control.revision) && !first_counts {
            self.put_control(cx, offered);
        }
    }

    fn put_control(&mut self, cx: &Cx<'_>, control: Signed<Control>) {
        let relay = control.unverified().relay;
        self.store.put(HubWrite::Control(control.clone()));
        if let Some(lower) = self.onwards(&relay).filter(|lower| self.tells(cx, *lower)) {
            self.store.put(HubWrite::FeedAppend(lower, Order::Control(control)));
        }
    }

    /// Through which lower system a relay's orders go on that has a feed; `None` at the relay itself.
    pub fn onwards(&self, relay: &HostId) -> Option<Lower> {
        let lower = self.reached_through(relay).filter(|lower| !lower.agent)?;
        self.store.now().feeds.contains_key(&lower).then_some(lower)
    }

    /// Whether a lower system is told of changes.
    pub(super) fn tells(&self, cx: &Cx<'_>, lower: Lower) -> bool {
        !cx.planted(Plant::TellThosePresent) || self.held.contains_key(&lower)
    }

    /// What is set at this relay itself, as it knows.
    pub fn own_control(&self) -> Option<&Control> {
        self.me.and_then(|me| self.store.now().controls.get(&me)).map(Signed::unverified)
    }

    /// Whether this relay may take nothing in now.
    pub(super) fn is_shut(&self, now: Time) -> bool {
        self.own_control().is_some_and(|control| !matches!(control.intake(now), Intake::Open(_)))
    }
}
