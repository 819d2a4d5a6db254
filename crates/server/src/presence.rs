//! Who is there: what hosts that call this system do, and what relays say of theirs. Only true now, so only in memory; when
//! a host was last heard is written down from time to time.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::time::Time;
use packhorse_domain::twins::{Runs, Verdict};
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{Presence as PresenceMsg, Progress};

/// A host that was heard this recently is online, in seconds (design section 8).
pub const ONLINE_SECS: i64 = 90;

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    held: u32,
    last: Time,
    runs: Runs,
    /// A relay's word for hosts below it.
    told: Option<(bool, Option<Time>)>,
}

/// A host as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// A held request, or heard within [`ONLINE_SECS`].
    pub online: bool,
    /// Last heard; `None`: not since this start.
    pub last_seen: Option<Time>,
    /// Two machines answer under its name, since then.
    pub twins_since: Option<Time>,
}

#[derive(Default)]
struct Inner {
    hosts: HashMap<HostId, Seen>,
    changed: HashSet<HostId>,
    unwritten: HashSet<HostId>,
    progress: HashMap<(HostId, PackageId), u8>,
    moved: HashSet<(HostId, PackageId)>,
}

/// Everybody's presence and progress.
#[derive(Default)]
pub struct PresenceBook(Mutex<Inner>);

impl PresenceBook {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is a few plain assignments; a panic in between leaves nothing that matters.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host called: may this run go on?
    pub fn came(&self, host: HostId, run: u64, now: Time) -> Verdict {
        let mut inner = self.inner();
        let seen = inner.hosts.entry(host).or_default();
        let was = seen.online(now);
        let twins = seen.runs.twins_since;
        seen.last = now;
        let verdict = seen.runs.came(run, now);
        if !was || twins != seen.runs.twins_since {
            inner.changed.insert(host);
        }
        inner.unwritten.insert(host);
        verdict
    }

    /// A request of a host is held from now until [`PresenceBook::released`].
    pub fn held(&self, host: HostId) {
        self.inner().hosts.entry(host).or_default().held += 1;
    }

    /// A held request ended. `gone`: its connection was lost, so that the host is off unless another is held.
    pub fn released(&self, host: HostId, gone: bool, now: Time) {
        let mut inner = self.inner();
        let seen = inner.hosts.entry(host).or_default();
        seen.held = seen.held.saturating_sub(1);
        if gone && seen.held == 0 {
            // It was there until now; it counts as off at once, and not only after the grace for polling.
            seen.last = now.plus_secs(-ONLINE_SECS - 1);
            seen.told = Some((false, Some(now)));
        }
        inner.changed.insert(host);
        inner.unwritten.insert(host);
    }

    /// A relay says who is there below it.
    pub fn told(&self, words: &[PresenceMsg], from: &HostId, now: Time) {
        let mut inner = self.inner();
        for word in words {
            let host = HostId(word.host.0);
            if host == *from {
                continue;
            }
            let seen = inner.hosts.entry(host).or_default();
            seen.told = Some((word.online, Some(Time(word.last_seen).min(now))));
            seen.runs.twins_since = word.twins_since.map(Time);
            inner.changed.insert(host);
            inner.unwritten.insert(host);
        }
    }

    /// A host as it is now.
    pub fn now(&self, host: &HostId, now: Time) -> Now {
        let inner = self.inner();
        let Some(seen) = inner.hosts.get(host) else {
            return Now { online: false, last_seen: None, twins_since: None };
        };
        Now { online: seen.online(now), last_seen: seen.last_seen(), twins_since: seen.runs.twins_since }
    }

    /// What changed since the last time this was asked, to tell the higher system.
    pub fn take_changed(&self, now: Time) -> Vec<PresenceMsg> {
        let mut inner = self.inner();
        let changed: Vec<HostId> = inner.changed.drain().collect();
        changed.iter().filter_map(|host| inner.hosts.get(host).map(|seen| seen.message(host, now))).collect()
    }

    /// Marks everybody as changed: the higher system is new and knows nothing.
    pub fn all_changed(&self) {
        let mut inner = self.inner();
        let all: Vec<HostId> = inner.hosts.keys().copied().collect();
        inner.changed.extend(all);
        let moved: Vec<(HostId, PackageId)> = inner.progress.keys().copied().collect();
        inner.moved.extend(moved);
    }

    /// When hosts were last heard, as far as it is not written down.
    pub fn take_unwritten(&self) -> Vec<(HostId, Time)> {
        let mut inner = self.inner();
        let hosts: Vec<HostId> = inner.unwritten.drain().collect();
        let seen = hosts.into_iter().filter_map(|host| {
            let last = inner.hosts.get(&host)?.last_seen()?;
            Some((host, last))
        });
        seen.collect()
    }

    /// A package has come this far at a host or relay.
    pub fn progressed(&self, progress: &[Progress]) {
        let mut inner = self.inner();
        for step in progress {
            let key = (HostId(step.host.0), PackageId(step.package.0));
            if step.percent >= 100 {
                inner.progress.remove(&key);
            } else {
                inner.progress.insert(key, step.percent);
            }
            inner.moved.insert(key);
        }
    }

    /// How far a package has come at a host or relay.
    pub fn progress(&self, host: &HostId, package: &PackageId) -> Option<u8> {
        self.inner().progress.get(&(*host, *package)).copied()
    }

    /// Progress since the last time this was asked.
    pub fn take_progress(&self) -> Vec<Progress> {
        let mut inner = self.inner();
        let moved: Vec<(HostId, PackageId)> = inner.moved.drain().collect();
        moved
            .into_iter()
            .map(|(host, package)| Progress {
                host: Fixed(host.0),
                package: Fixed(package.0),
                percent: inner.progress.get(&(host, package)).copied().unwrap_or(100),
            })
            .collect()
    }
}

impl Seen {
    fn online(&self, now: Time) -> bool {
        let heard = self.held > 0 || (self.last > Time(0) && now.secs_since(self.last) <= ONLINE_SECS);
        heard || matches!(self.told, Some((true, _)))
    }

    fn last_seen(&self) -> Option<Time> {
        let told = self.told.and_then(|(_, at)| at).unwrap_or_default();
        Some(self.last.max(told)).filter(|at| *at > Time(0))
    }

    fn message(&self, host: &HostId, now: Time) -> PresenceMsg {
        PresenceMsg {
            host: Fixed(host.0),
            online: self.online(now),
            last_seen: self.last_seen().unwrap_or_default().0,
            twins_since: self.runs.twins_since.map(|at| at.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_online_while_held_and_off_when_its_connection_is_lost() {
        let book = PresenceBook::default();
        let host = HostId([1; 16]);
        let at = |secs| Time(0).plus_secs(secs);
        assert!(!book.now(&host, at(1)).online);
        book.came(host, 7, at(1));
        book.held(host);
        assert!(book.now(&host, at(500)).online);
        book.released(host, true, at(500));
        assert_eq!(
            book.now(&host, at(500)),
            Now { online: false, last_seen: Some(at(500)), twins_since: None }
        );
        book.came(host, 8, at(600));
        assert!(book.now(&host, at(650)).online);
        assert!(!book.now(&host, at(600 + ONLINE_SECS + 1)).online);
        assert_eq!(book.take_changed(at(650)).len(), 1);
        assert_eq!(book.take_changed(at(650)).len(), 0);
    }
}
