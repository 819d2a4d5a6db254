//! Hosts with a list of higher systems, some of which are away now and then: whom each host calls, as `domain`'s machine
//! says. Messages take time and get lost, agents start again from what they wrote down, the managing server hears late of
//! what hosts did and sometimes moves one. Checked at every step: only who is listed is called, a change has a number above
//! all before, no host goes to and fro; and when all is calm, every host is where it should be.

use std::collections::BTreeSet;

use packhorse_domain::calling::{Call, Calling, Paces};
use packhorse_domain::ids::HostId;
use packhorse_domain::place::{Above, HostRole, Place};
use packhorse_domain::time::Time;

use crate::rng::Rng;
use crate::sites::host_id;

/// A day of virtual time with faults, and as long without, in seconds.
const ROUGH_SECS: i64 = 20_000;
const CALM_SECS: i64 = 12_000;
const STEP_SECS: i64 = 5;
/// Relays, by number; the one after them is the managing server.
const SYSTEMS: usize = 4;
/// Hosts of a run.
const HOSTS: usize = 12;

/// A fault built in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A restart forgets whom the host called.
    ForgetCall,
    /// The managing server's word counts though it had not heard of the host's last change.
    BelieveOldPlaces,
    /// It returns at the first answer.
    ReturnAtOnce,
}

/// What happened in a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Switches {
    /// Hosts went to a system further down.
    pub driven_away: u64,
    /// Hosts returned.
    pub returned: u64,
    /// An administrator moved one.
    pub moved: u64,
    /// Agents started again.
    pub restarts: u64,
    /// Places that were signed before the managing server heard of the host's last change.
    pub late_places: u64,
}

struct Host {
    machine: Calling,
    place: Place,
    /// What outlives its agent.
    kept: Call,
    numbers: BTreeSet<u64>,
    look: Option<(HostId, i64)>,
    switches: Vec<i64>,
}

struct Run {
    rng: Rng,
    paces: Paces,
    fault: Option<Fault>,
    /// Until when each system is away.
    away: [i64; SYSTEMS],
    hosts: Vec<Host>,
    /// What the managing server heard: by host, the number, whom, and when it hears.
    words: Vec<(usize, Call, i64)>,
    stats: Switches,
}

fn system(n: usize) -> HostId {
    host_id(100 + n)
}

fn number(id: HostId) -> usize {
    (0..SYSTEMS).find(|n| system(*n) == id).unwrap_or(0)
}

fn at(secs: i64) -> Time {
    Time(1_800_000_000_000_000).plus_secs(secs)
}

/// Runs one seed.
///
/// # Errors
/// What did not hold, and when.
pub fn run(seed: u64, fault: Option<Fault>) -> Result<Switches, String> {
    let mut rng = Rng::new(seed);
    let mut paces = Paces::USUAL;
    if fault == Some(Fault::ReturnAtOnce) {
        paces = Paces { steady_millis: 0, spread_millis: 0, stay_millis: (0, 0), ..paces };
    }
    let hosts = (0..HOSTS).map(|n| host(&mut rng, n, paces)).collect();
    let mut run =
        Run { rng, paces, fault, away: [0; SYSTEMS], hosts, words: Vec::new(), stats: Switches::default() };
    for secs in (0..ROUGH_SECS + CALM_SECS).step_by(STEP_SECS as usize) {
        if secs < ROUGH_SECS {
            run.trouble(secs)?;
        }
        run.hear(secs)?;
        for n in 0..HOSTS {
            run.step(n, secs).map_err(|why| format!("host {n} at {secs} s: {why}"))?;
        }
    }
    run.calm()?;
    Ok(run.stats)
}

fn host(rng: &mut Rng, n: usize, paces: Paces) -> Host {
    let mut systems: Vec<usize> = (0..SYSTEMS).collect();
    let count = rng.between(2, 3) as usize;
    let list: Vec<usize> = (0..count)
        .map(|_| {
            let at = rng.below(systems.len() as u64) as usize;
            systems.remove(at)
        })
        .collect();
    let place = place(n, &list, list[0], 0);
    let kept = Call { to: system(list[0]), number: 0, since: Time(0), relapses: 0 };
    let machine = Calling::new(host_id(n), paces, &place, kept, at(0));
    Host { machine, place, kept, numbers: BTreeSet::new(), look: None, switches: Vec::new() }
}

fn place(n: usize, list: &[usize], on: usize, called: u64) -> Place {
    let relay = |n: usize| n + 1 < SYSTEMS;
    let above = |n: &usize| Above { id: system(*n), relay: relay(*n), name: String::new(), urls: Vec::new() };
    Place {
        route: Some(system(on)).filter(|_| relay(on)).into_iter().collect(),
        above: list.iter().map(above).collect(),
        called,
        ..Place::new(host_id(n), "pc", HostRole::Client)
    }
}

impl Run {
    /// Systems go away and come back; agents are started again.
    fn trouble(&mut self, secs: i64) -> Result<(), String> {
        for n in 0..SYSTEMS {
            if self.away[n] <= secs && self.rng.per_mille(3) {
                // Most are soon back.
                let most = if self.rng.per_mille(700) { 90 } else { 3000 };
                self.away[n] = secs + self.rng.between(5, most);
            }
        }
        let n = self.rng.below(HOSTS as u64) as usize;
        if self.rng.per_mille(20) {
            self.restart(n, secs)?;
        } else if self.rng.per_mille(4) {
            self.move_host(n, secs)?;
        }
        Ok(())
    }

    fn restart(&mut self, n: usize, secs: i64) -> Result<(), String> {
        self.stats.restarts += 1;
        let host = &mut self.hosts[n];
        let before = host.machine.call();
        if self.fault == Some(Fault::ForgetCall) {
            let to = host.place.calls().map_or(host.kept.to, |above| above.id);
            host.kept = Call { to, number: 0, since: Time(0), relapses: 0 };
        }
        host.machine = Calling::new(host_id(n), self.paces, &host.place, host.kept, at(secs));
        host.look = None;
        match host.machine.call() == before {
            true => Ok(()),
            false => Err(format!("host {n} at {secs} s: a restart changed whom it calls")),
        }
    }

    /// An administrator lets a host call the others of its list first, in another order.
    fn move_host(&mut self, n: usize, secs: i64) -> Result<(), String> {
        self.stats.moved += 1;
        let mut list: Vec<usize> = self.hosts[n].place.above.iter().map(|above| number(above.id)).collect();
        list.rotate_left(1);
        let known = self.hosts[n].place.called;
        let moved = place(n, &list, list[0], known);
        self.placed(n, moved, known, secs)
    }

    /// The managing server hears of what hosts did, and moves them.
    fn hear(&mut self, secs: i64) -> Result<(), String> {
        let (due, later) =
            std::mem::take(&mut self.words).into_iter().partition(|(_, _, when)| *when <= secs);
        self.words = later;
        let due: Vec<(usize, Call, i64)> = due;
        for (n, call, _) in due {
            let host = &self.hosts[n];
            // One that is older than what it heard before says nothing any more.
            if call.number <= host.place.called {
                continue;
            }
            let list: Vec<usize> = host.place.above.iter().map(|above| number(above.id)).collect();
            self.stats.late_places += u64::from(call.number < host.kept.number);
            let mut signed = place(n, &list, number(call.to), call.number);
            if self.fault == Some(Fault::BelieveOldPlaces) {
                signed.called = host.kept.number;
            }
            self.placed(n, signed, call.number, secs)?;
        }
        Ok(())
    }

    /// A place comes that was signed when the managing server had heard up to `heard`.
    fn placed(&mut self, n: usize, place: Place, heard: u64, secs: i64) -> Result<(), String> {
        let host = &mut self.hosts[n];
        let before = host.kept;
        if host.machine.placed(&place, at(secs)) {
            host.kept = host.machine.call();
            if heard < before.number && place.above.iter().any(|above| above.id == before.to) {
                return Err(format!("host {n} at {secs} s: moved by a place from before it was heard of"));
            }
        }
        host.look = None;
        host.place = place;
        Ok(())
    }

    fn is_up(&mut self, id: HostId, secs: i64) -> bool {
        // A request is lost now and then, though the system is there.
        let lost = secs < ROUGH_SECS && self.rng.per_mille(30);
        self.away[number(id)] <= secs && !lost
    }

    fn step(&mut self, n: usize, secs: i64) -> Result<(), String> {
        let up = self.is_up(self.hosts[n].machine.call().to, secs);
        let answer = match self.hosts[n].look {
            Some((to, when)) if when <= secs => Some((to, self.is_up(to, secs))),
            _ => None,
        };
        let delay = self.rng.between(0, 10);
        let host = &mut self.hosts[n];
        if up {
            host.machine.answered(at(secs))
        } else {
            host.machine.unreached(at(secs))
        }
        if let Some((to, up)) = answer {
            host.look = None;
            let (before, driven) = (host.machine.call(), host.machine.out_since().is_some());
            let takes = up && to != before.to;
            if host.machine.looked(to, takes, at(secs)) {
                self.switched(n, before, driven, secs)?;
            }
        }
        let host = &mut self.hosts[n];
        if host.look.is_none() {
            host.look = host.machine.look(at(secs)).map(|to| (to, secs + delay));
        }
        let sleeps = host.machine.wakes_at(at(secs));
        let longest = self.paces.look_millis.1 / 1000 + 1;
        if sleeps.is_some_and(|then| then > at(secs + longest)) {
            return Err(format!("it sleeps until {sleeps:?}"));
        }
        Ok(())
    }

    fn switched(&mut self, n: usize, before: Call, driven: bool, secs: i64) -> Result<(), String> {
        let host = &mut self.hosts[n];
        let call = host.machine.call();
        host.kept = call;
        let position = |id: HostId| host.place.above.iter().position(|above| above.id == id);
        let (Some(from), Some(to)) = (position(before.to), position(call.to)) else {
            return Err(format!("it calls {}, which its place does not list", call.to));
        };
        if to > from {
            self.stats.driven_away += 1
        } else {
            self.stats.returned += 1
        }
        if !host.numbers.insert(call.number) || host.numbers.last() != Some(&call.number) {
            return Err(format!("{} is no new number", call.number));
        }
        host.switches.push(secs);
        let lately = host.switches.iter().filter(|then| secs - **then < 1800).count();
        if lately > 14 {
            return Err(format!("it went {lately} times in half an hour"));
        }
        // Since the calls of this run's beginning are of the year 1970, they are long ago.
        if !driven && at(secs).secs_since(before.since) < Paces::USUAL.stay_millis.0 / 1000 {
            return Err("it left a system that answers soon after it came".to_owned());
        }
        // Heard soon, or when a line is back.
        let late = if self.rng.per_mille(300) { 900 } else { 20 };
        let when = secs + self.rng.between(0, late);
        self.words.push((n, call, when));
        Ok(())
    }

    /// Everybody is back at the first of its list, and the managing server knows.
    fn calm(&self) -> Result<(), String> {
        for (n, host) in self.hosts.iter().enumerate() {
            let first = host.place.above.first().map(|above| above.id);
            if Some(host.machine.call().to) != first || host.machine.out_since().is_some() {
                return Err(format!("host {n} calls {:?}, not {first:?}", host.machine.call()));
            }
            if host.machine.is_untold() {
                return Err(format!("of host {n} the managing server does not know"));
            }
        }
        Ok(())
    }
}
