//! Who is there: what hosts that call this system do, and what relays say of theirs. Only true now, so only in memory; when
//! a host was last heard is written down from time to time.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_domain::ids::{HostId, PackageId};
use packhorse_domain::reason::{NextTry, Reason};
use packhorse_domain::time::Time;
use packhorse_domain::twins::{Runs, Verdict};
use packhorse_wire::bytes::Fixed;
use packhorse_wire::messages::{Presence as PresenceMsg, Progress, ReasonMsg, TroubleMsg};

/// A host that was heard this recently is online, in seconds (design section 8).
pub const ONLINE_SECS: i64 = 90;
/// Packages of one host whose progress is kept. An agent takes in one at a time and a relay a few: more are invented, and
/// would fill the memory.
const PACKAGES_MAX: usize = 256;
/// Steps of progress that wait to be told; more are lost, which is no harm.
const MOVED_MAX: usize = 200_000;
/// Packages of one relay with whose trouble is kept: a relay tries a few at once, and those that cannot be had take turns.
const TROUBLE_MAX: usize = 64;
/// The same trouble is news again when its next try is so much later, in seconds: well before it is out of date
/// ([`Reason::is_out_of_date`]), also after a few relays.
const TOLD_AGAIN_SECS: i64 = 30;

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
    /// To tell; empty at a system that has nobody to tell.
    changed: HashSet<HostId>,
    unwritten: HashSet<HostId>,
    progress: HashMap<HostId, HashMap<PackageId, u8>>,
    /// To tell, likewise.
    moved: HashSet<(HostId, PackageId)>,
    /// Why relays do not get packages.
    trouble: HashMap<HostId, HashMap<PackageId, Said>>,
    /// To tell, likewise.
    troubled: HashSet<(HostId, PackageId)>,
}

/// A relay's word on a package.
struct Said {
    /// The newest.
    reason: Reason,
    /// When it was to be tried again, in the word that was news.
    as_told: NextTry,
}

impl Said {
    /// Each try says when the next one is: that alone is told from time to time, so that whoever was told knows it still is so.
    fn is_news(&self, reason: &Reason) -> bool {
        if !self.reason.same_as(reason) {
            return true;
        }
        match (self.as_told, reason.next_try()) {
            (NextTry::At(told), NextTry::At(next)) => next.secs_since(told).abs() >= TOLD_AGAIN_SECS,
            (told, next) => told != next,
        }
    }
}

/// Everybody's presence and progress.
pub struct PresenceBook {
    tells: bool,
    inner: Mutex<Inner>,
}

impl PresenceBook {
    /// An empty one; `tells`: a higher system is told what changes, so it is remembered until it was.
    pub fn new(tells: bool) -> PresenceBook {
        PresenceBook { tells, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is a few plain assignments; a panic in between leaves nothing that matters.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, inner: &mut Inner, host: HostId) {
        if self.tells {
            inner.changed.insert(host);
        }
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
            self.changed(&mut inner, host);
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
        self.changed(&mut inner, host);
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
            // By this system's clock: the relay's may be of another year. Nobody was heard last before they were.
            let said = if word.online { now } else { Time(word.last_seen).min(now) };
            seen.told = Some((word.online, Some(said).max(seen.last_seen())));
            seen.runs.twins_since = word.twins_since.map(Time);
            self.changed(&mut inner, host);
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

    /// What changed since the last time this was asked, to tell the higher system: at most `limit`, the rest next time.
    pub fn take_changed(&self, now: Time, limit: usize) -> Vec<PresenceMsg> {
        let mut inner = self.inner();
        let changed: Vec<HostId> = inner.changed.iter().take(limit).copied().collect();
        for host in &changed {
            inner.changed.remove(host);
        }
        changed.iter().filter_map(|host| inner.hosts.get(host).map(|seen| seen.message(host, now))).collect()
    }

    /// Marks everybody as changed: the higher system is new and knows nothing.
    pub fn all_changed(&self) {
        let mut inner = self.inner();
        let all: Vec<HostId> = inner.hosts.keys().copied().collect();
        inner.changed.extend(all);
        let progress = inner.progress.iter();
        let moved: Vec<(HostId, PackageId)> =
            progress.flat_map(|(host, of)| of.keys().map(|package| (*host, *package))).collect();
        inner.moved.extend(moved);
        let trouble = inner.trouble.iter();
        let troubled: Vec<(HostId, PackageId)> =
            trouble.flat_map(|(relay, of)| of.keys().map(|package| (*relay, *package))).collect();
        inner.troubled.extend(troubled);
    }

    /// These words were taken to be told, and did not arrive: they are told again, also what is over and so stands nowhere
    /// any more.
    pub fn not_told(&self, progress: &[(HostId, PackageId)], trouble: &[(HostId, PackageId)]) {
        let mut inner = self.inner();
        inner.moved.extend(progress);
        inner.troubled.extend(trouble);
    }

    /// Marks these as changed, as far as anything is known of them.
    pub fn tell_again(&self, hosts: &[HostId]) {
        let mut inner = self.inner();
        let known: Vec<HostId> =
            hosts.iter().filter(|host| inner.hosts.contains_key(host)).copied().collect();
        known.into_iter().for_each(|host| self.changed(&mut inner, host));
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
            let (host, package) = (HostId(step.host.0), PackageId(step.package.0));
            let of = inner.progress.entry(host).or_default();
            if step.percent < 100 {
                if of.len() >= PACKAGES_MAX && !of.contains_key(&package) {
                    of.clear();
                }
                of.insert(package, step.percent);
            } else {
                of.remove(&package);
            }
            if of.is_empty() {
                inner.progress.remove(&host);
            }
            if self.tells && inner.moved.len() < MOVED_MAX {
                inner.moved.insert((host, package));
            }
        }
    }

    /// These hosts are no more.
    pub fn forget(&self, hosts: &[HostId]) {
        let mut inner = self.inner();
        for host in hosts {
            inner.hosts.remove(host);
            inner.changed.remove(host);
            inner.unwritten.remove(host);
            inner.progress.remove(host);
            inner.trouble.remove(host);
        }
    }

    /// How far a package has come at a host or relay.
    pub fn progress(&self, host: &HostId, package: &PackageId) -> Option<u8> {
        self.inner().progress.get(host)?.get(package).copied()
    }

    /// Why a relay does not get a package, by its own word (`None`: it goes on); answers whether that is news.
    pub fn troubled(&self, relay: HostId, package: PackageId, reason: Option<Reason>) -> bool {
        let mut inner = self.inner();
        let of = inner.trouble.entry(relay).or_default();
        let before = of.get(&package);
        let news = match (before, &reason) {
            (Some(before), Some(reason)) => before.is_news(reason),
            (before, reason) => before.is_some() != reason.is_some(),
        };
        let as_told = before.filter(|_| !news).map(|before| before.as_told);
        let mut told: Vec<PackageId> = news.then_some(package).into_iter().collect();
        match reason {
            Some(reason) => {
                if of.len() >= TROUBLE_MAX && !of.contains_key(&package) {
                    // What is forgotten here does not stand at the higher system either.
                    told.extend(of.drain().map(|(package, _)| package));
                }
                let as_told = as_told.unwrap_or(reason.next_try());
                of.insert(package, Said { reason, as_told });
            }
            None => drop(of.remove(&package)),
        }
        if of.is_empty() {
            inner.trouble.remove(&relay);
        }
        if self.tells && inner.troubled.len() < MOVED_MAX {
            inner.troubled.extend(told.into_iter().map(|package| (relay, package)));
        }
        news
    }

    /// Why a relay does not get a package, if it said so.
    pub fn trouble(&self, relay: &HostId, package: &PackageId) -> Option<Reason> {
        self.inner().trouble.get(relay)?.get(package).map(|said| said.reason.clone())
    }

    /// What is new of that since the last time this was asked, at most `limit`, the rest next time.
    pub fn take_troubled(&self, limit: usize) -> Vec<TroubleMsg> {
        let mut inner = self.inner();
        let news: Vec<(HostId, PackageId)> = inner.troubled.iter().take(limit).copied().collect();
        for key in &news {
            inner.troubled.remove(key);
        }
        let message = |(relay, package): &(HostId, PackageId)| TroubleMsg {
            relay: Fixed(relay.0),
            package: Fixed(package.0),
            reason: inner
                .trouble
                .get(relay)
                .and_then(|of| of.get(package))
                .map(|said| ReasonMsg::from(&said.reason)),
        };
        news.iter().map(message).collect()
    }

    /// Progress since the last time this was asked, at most `limit`, the rest next time.
    pub fn take_progress(&self, limit: usize) -> Vec<Progress> {
        let mut inner = self.inner();
        let moved: Vec<(HostId, PackageId)> = inner.moved.iter().take(limit).copied().collect();
        for key in &moved {
            inner.moved.remove(key);
        }
        let percent = |host, package| inner.progress.get(host).and_then(|of| of.get(package)).copied();
        moved
            .iter()
            .map(|(host, package)| Progress {
                host: Fixed(host.0),
                package: Fixed(package.0),
                // What is not on its way any more has arrived.
                percent: percent(host, package).unwrap_or(100),
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
        let book = PresenceBook::new(true);
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
        assert_eq!(book.take_changed(at(650), 0).len(), 0);
        assert_eq!(book.take_changed(at(650), 9).len(), 1);
        assert_eq!(book.take_changed(at(650), 9).len(), 0);
    }

    #[test]
    fn a_relay_with_a_wrong_clock_makes_nobody_silent() {
        let (book, host, relay) = (PresenceBook::new(false), HostId([1; 16]), HostId([2; 16]));
        let at = |secs| Time(0).plus_secs(secs);
        let word = |online, last_seen| {
            [PresenceMsg { host: Fixed(host.0), online, last_seen: at(last_seen).0, twins_since: None }]
        };
        let seen = |secs| book.now(&host, at(secs)).last_seen;
        book.told(&word(true, 5), &relay, at(1_000));
        assert_eq!(seen(1_000), Some(at(1_000)));
        book.told(&word(false, 6), &relay, at(2_000));
        assert_eq!(seen(2_000), Some(at(1_000)), "it does not go backwards");
        book.told(&word(false, 9_999), &relay, at(3_000));
        assert_eq!(seen(3_000), Some(at(3_000)), "nor beyond now");
    }

    #[test]
    fn trouble_is_told_once_until_it_changes_and_is_bounded() {
        use packhorse_domain::reason::Code;
        let (book, relay, package) = (PresenceBook::new(true), HostId([1; 16]), PackageId([2; 32]));
        let reason = |code| Some(Reason::new(code, "osaka", Time(1), NextTry::WhenCleared, "wait", "so"));
        assert!(book.troubled(relay, package, reason(Code::Network)));
        assert!(!book.troubled(relay, package, reason(Code::Network)));
        assert_eq!(book.take_troubled(9).len(), 1);
        assert!(book.take_troubled(9).is_empty());
        // A higher system that did not take it hears it again; what is over is said, too.
        book.all_changed();
        assert_eq!(book.take_troubled(9)[0].reason.as_ref().map(|said| &*said.code), Some("network"));
        assert!(book.troubled(relay, package, None) && book.trouble(&relay, &package).is_none());
        assert_eq!(book.take_troubled(9)[0].reason, None);
        let (top, full) = (PresenceBook::new(false), PresenceBook::new(true));
        for n in 0..=255 {
            full.troubled(relay, PackageId([n; 32]), reason(Code::Content));
            top.troubled(relay, PackageId([n; 32]), reason(Code::Content));
        }
        assert!(top.inner().trouble[&relay].len() <= TROUBLE_MAX && top.inner().troubled.is_empty());
        // What there are too many of is told to be over.
        let said = full.take_troubled(999);
        let stand = said.iter().filter(|word| word.reason.is_some()).count();
        assert_eq!((said.len(), stand), (256, full.inner().trouble[&relay].len()));
    }

    #[test]
    fn a_try_alone_is_no_news_each_time() {
        use packhorse_domain::reason::Code;
        let (book, relay, package) = (PresenceBook::new(true), HostId([1; 16]), PackageId([2; 32]));
        let said = |secs, detail| {
            let next_try = NextTry::At(Time(0).plus_secs(secs));
            Some(Reason::new(Code::Network, "osaka", Time(1), next_try, "wait", detail))
        };
        // Ten minutes of a try every other second.
        let tries = (1..=300).filter(|n| book.troubled(relay, package, said(n * 2, "no line")));
        assert_eq!(tries.count(), 20);
        // Here the newest is known all the same.
        assert_eq!(book.trouble(&relay, &package), said(600, "no line"));
        assert!(book.troubled(relay, package, said(602, "refused")));
        assert!(book.troubled(relay, package, None) && !book.troubled(relay, package, None));
    }

    #[test]
    fn what_did_not_arrive_is_told_again_also_that_it_is_over() {
        use packhorse_domain::reason::Code;
        let (book, relay, package) = (PresenceBook::new(true), HostId([1; 16]), PackageId([2; 32]));
        let reason = Reason::new(Code::Disk, "osaka", Time(1), NextTry::WhenCleared, "wait", "so");
        book.troubled(relay, package, Some(reason.clone()));
        book.progressed(&[Progress { host: Fixed(relay.0), package: Fixed(package.0), percent: 100 }]);
        book.troubled(relay, package, None);
        assert_eq!((book.take_troubled(9).len(), book.take_progress(9).len()), (1, 1));
        // All that is known is not all that was said.
        book.all_changed();
        assert!(book.take_troubled(9).is_empty() && book.take_progress(9).is_empty());
        book.not_told(&[(relay, package)], &[(relay, package)]);
        assert_eq!(book.take_troubled(9)[0].reason, None);
        assert_eq!(book.take_progress(9)[0].percent, 100);
        // A relay that is no more is in no trouble.
        book.troubled(relay, package, Some(reason));
        book.forget(&[relay]);
        assert!(book.trouble(&relay, &package).is_none() && book.take_troubled(9)[0].reason.is_none());
    }

    #[test]
    fn invented_packages_do_not_fill_the_memory() {
        let step = |n: u32, percent| {
            let mut package = [0; 32];
            package[..4].copy_from_slice(&n.to_le_bytes());
            Progress { host: Fixed([1; 16]), package: Fixed(package), percent }
        };
        let top = PresenceBook::new(false);
        let invented: Vec<Progress> = (0..100_000).map(|n| step(n, 5)).collect();
        top.progressed(&invented);
        assert!(top.inner().progress.values().map(HashMap::len).sum::<usize>() <= PACKAGES_MAX);
        assert!(top.inner().moved.is_empty());
        let relay = PresenceBook::new(true);
        relay.progressed(&[step(1, 5), step(2, 7), step(3, 100)]);
        assert_eq!((relay.take_progress(1).len(), relay.take_progress(9).len()), (1, 2));
        relay.progressed(&[step(1, 100), step(2, 100)]);
        assert_eq!(relay.take_progress(9).iter().map(|step| step.percent).sum::<u8>(), 200);
        assert!(relay.inner().progress.is_empty());
    }
}
