//! Jobs, each with its progress by hop: from system to system down to the machines.

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use packhorse_domain::instruction::State;

use super::bar::Bar;
use super::busy::{Busy, below};
use super::look::{JobLook, Look};
use super::tree::part_of;
use crate::admin::around::Around;
use crate::admin::format::{clock, count, size};
use crate::admin::{explain, jobs as shown};
use crate::db::hosts::{HostRecord, HostRow};
use crate::db::jobs::JobRow;
use crate::db::page::Spread;
use crate::db::views::{Counts, JobPackageRecord};
use crate::system::System;

/// Hops drawn of one package of a job.
const HOPS_SHOWN: usize = 16;
/// Packages of a job whose hops are drawn.
const PACKAGES_SHOWN: usize = 3;

/// The jobs.
#[derive(Template)]
#[template(path = "page_jobs.html")]
pub struct Jobs {
    jobs: Vec<Card>,
    open_more: u64,
}

struct Card {
    number: String,
    job_type: String,
    packages: String,
    to: String,
    state: String,
    dot: &'static str,
    when: String,
    words: Vec<Words>,
    bar: Bar,
    routes: Vec<Route>,
}

/// How many lines are in a state.
struct Words {
    class: &'static str,
    text: String,
}

/// One package's way.
struct Route {
    /// Its name, if the job has several.
    package: Option<String>,
    hops: Vec<Hop>,
    more: u64,
}

/// A line between two systems, and what has come out of it.
struct Hop {
    from: String,
    to: String,
    /// The packages' way into the lower system; `None`: to machines.
    dot: &'static str,
    words: String,
    bar: Bar,
    /// The machines that call the lower system.
    machines: Option<Machines>,
}

struct Machines {
    words: String,
    bar: Bar,
    /// Some of them take it in or install it.
    moving: bool,
    /// All of them have ended.
    ended: bool,
}

/// Lines by what people want to know of them.
#[derive(Default, Clone, Copy)]
struct Tally {
    well: u64,
    going: u64,
    waiting: u64,
    bad: u64,
    /// Lines whose hosts were not heard for very long, or were retired: in none of the others.
    uncounted: u64,
    /// Hundredths of lines that wait: what their machines have taken in so far.
    taken: u64,
}

impl Tally {
    fn add(&mut self, spread: &Spread) {
        *match class(&spread.state) {
            _ if spread.retired => &mut self.uncounted,
            "ok" => &mut self.well,
            "go" => &mut self.going,
            "bad" => &mut self.bad,
            _ => &mut self.waiting,
        } += spread.lines;
    }

    /// Leaves out lines of hosts that are silent.
    fn leave_out(&mut self, silent: Silent) {
        let (waiting, going) = (silent.waiting.min(self.waiting), silent.going.min(self.going));
        self.waiting -= waiting;
        self.going -= going;
        self.uncounted += waiting + going;
    }

    fn all(&self) -> u64 {
        self.well + self.going + self.waiting + self.bad
    }

    fn bar(&self, label: String) -> Bar {
        let taken = self.taken.min(self.waiting * 100);
        let shares = [
            ("ok", self.well * 100),
            ("go", self.going * 100 + taken),
            ("bad", self.bad * 100),
            ("wait", self.waiting * 100 - taken),
        ];
        Bar::of(&shares, self.all() * 100, label)
    }
}

fn class(word: &str) -> &'static str {
    match State::parse(word) {
        Some(state) if state.is_end() && state.ended_well() => "ok",
        Some(state) if state.is_end() => "bad",
        Some(State::Delivered | State::Installing | State::Restarting) => "go",
        _ => "wait",
    }
}

/// Open lines of hosts that are silent, as they are counted.
#[derive(Default, Clone, Copy)]
struct Silent {
    waiting: u64,
    going: u64,
}

/// The same by job, package and relay.
type SilentAt = HashMap<(JobRow, u32, Option<HostRow>), Silent>;

fn silent<'a>(around: &Around<'a>, busy: &[Busy<'a>], own: Option<HostRow>) -> SilentAt {
    let mut found = SilentAt::new();
    for line in busy {
        let Some(host) = line.host.filter(|host| around.is_silent(host)) else { continue };
        let at = found.entry((line.job.job.row, line.place, below(host, own))).or_default();
        match class(line.state.as_str()) {
            "go" => at.going += 1,
            _ => at.waiting += 1,
        }
    }
    found
}

/// Machines that take a package in now, by job, package and relay: how many, and their percents together.
type Taking = HashMap<(JobRow, u32, Option<HostRow>), (u64, u64)>;

/// Draws the jobs.
pub fn jobs<'a>(system: &System, around: &Around<'a>, look: &'a Look, busy: &[Busy<'a>]) -> Jobs {
    let own = look.scene.fleet.own().map(|own| own.row);
    let mut taking = Taking::new();
    for line in busy {
        let (Some(host), Some(percent)) = (line.host, line.percent) else { continue };
        let at = taking.entry((line.job.job.row, line.place, below(host, own))).or_default();
        *at = (at.0 + 1, at.1 + u64::from(percent));
    }
    let silent = silent(around, busy, own);
    let ways = Ways { system, around, look, taking, silent, own };
    let cards: Vec<Card> = look.jobs.iter().map(|job| ways.card(job)).collect();
    let open = cards.iter().filter(|card| card.dot == "go").count() as u64;
    Jobs { open_more: look.open_jobs.saturating_sub(open), jobs: cards }
}

struct Ways<'a, 'b> {
    system: &'b System,
    around: &'b Around<'a>,
    look: &'a Look,
    taking: Taking,
    silent: SilentAt,
    own: Option<HostRow>,
}

impl<'a> Ways<'a, '_> {
    fn card(&self, job: &JobLook) -> Card {
        let mut counts = Counts::new();
        let mut tally = Tally::default();
        for spread in &job.spread {
            *counts.entry(spread.state.clone()).or_default() += spread.lines;
            tally.add(spread);
        }
        for (_, silent) in self.silent.iter().filter(|((row, _, _), _)| *row == job.job.row) {
            tally.leave_out(*silent);
        }
        let taken = self.taking.iter().filter(|((row, _, _), _)| *row == job.job.row);
        tally.taken = taken.map(|(_, (_, percents))| percents).sum();
        let packages: Vec<JobPackageRecord> =
            job.packages.iter().map(|(package, _)| package.clone()).collect();
        let summary = shown::summary(&job.job, &packages, &counts, self.around.now);
        let open = summary.state != "ended";
        Card {
            number: explain::written(self.system, &job.job, self.around.now).number,
            job_type: summary.job_type,
            packages: summary.packages.join(" "),
            to: summary.to.join(" "),
            dot: match (open, tally.bad) {
                (true, _) => "go",
                (false, 0) => "ok",
                (false, _) => "bad",
            },
            when: self.when(job, open),
            words: words(&counts, tally.uncounted),
            bar: tally.bar(format!("{} of {} ended well", tally.well, tally.all())),
            routes: if open { self.routes(job) } else { Vec::new() },
            state: summary.state,
        }
    }

    fn when(&self, job: &JobLook, open: bool) -> String {
        let (record, now) = (&job.job, self.around.now);
        match (record.starts > now, open) {
            (true, _) => format!("starts {}", clock(record.starts, now)),
            (false, true) => {
                format!("since {}, until {}", clock(record.starts, now), clock(record.until, now))
            }
            (false, false) => format!("made {}", clock(record.created, now)),
        }
    }

    fn routes(&self, job: &JobLook) -> Vec<Route> {
        let several = job.packages.len() > 1;
        let places = (0u32..).zip(&job.packages).take(PACKAGES_SHOWN);
        places
            .map(|(place, (package, bytes))| {
                let mut hops = self.hops(job, place, package, *bytes);
                let more = hops.len().saturating_sub(HOPS_SHOWN) as u64;
                if more > 0 {
                    // What is still going on comes first; the order of the tree stays among them.
                    hops.sort_by_key(|(ended, _)| *ended);
                    hops.truncate(HOPS_SHOWN);
                }
                let package = several.then(|| package.label.to_string());
                Route { package, hops: hops.into_iter().map(|(_, hop)| hop).collect(), more }
            })
            .collect()
    }

    /// Each with whether everything behind it has ended.
    fn hops(&self, job: &JobLook, place: u32, package: &JobPackageRecord, bytes: u64) -> Vec<(bool, Hop)> {
        let mut tallies: HashMap<Option<HostRow>, Tally> = HashMap::new();
        let mut relays: BTreeMap<Vec<&str>, &HostRecord> = BTreeMap::new();
        for spread in job.spread.iter().filter(|spread| spread.place == place) {
            let relay = spread.relay.filter(|relay| Some(*relay) != self.own);
            tallies.entry(relay).or_default().add(spread);
            let Some(relay) = relay.and_then(|row| self.around.host(row)) else { continue };
            let route = self.around.relays(relay);
            let route: Vec<&HostRecord> =
                route.into_iter().filter(|relay| Some(relay.row) != self.own).collect();
            for depth in 1..=route.len() {
                let path = route[..depth].iter().map(|relay| relay.name.as_str()).collect();
                relays.insert(path, route[depth - 1]);
            }
        }
        for (relay, tally) in &mut tallies {
            if let Some(silent) = self.silent.get(&(job.job.row, place, *relay)) {
                tally.leave_out(*silent);
            }
        }
        let mut hops = Vec::new();
        let direct = tallies.remove(&None);
        if let Some(own) = self.look.scene.fleet.own() {
            let machines = direct.map(|tally| self.machines(job, place, None, &own.name, tally));
            hops.push((direct.is_some_and(ended), self.way_in(own, package, bytes, machines)));
        } else if let Some(tally) = direct {
            let machines = self.machines(job, place, None, self.around.asked(), tally);
            hops.push((ended(tally), self.way_out(tally, machines)));
        }
        for relay in relays.into_values() {
            let tally = tallies.get(&Some(relay.row)).copied();
            let machines = tally.map(|tally| self.machines(job, place, Some(relay.row), &relay.name, tally));
            hops.push((tally.is_none_or(ended), self.way_in(relay, package, bytes, machines)));
        }
        hops
    }

    fn way_in(
        &self,
        relay: &HostRecord,
        package: &JobPackageRecord,
        bytes: u64,
        machines: Option<Machines>,
    ) -> Hop {
        let here = self.own == Some(relay.row);
        let online = here || self.around.present(relay).online;
        let (dot, words, percent) = match self.around.percent(relay, &package.id) {
            _ if self.around.keeps(relay.row, &package.id) => ("ok", format!("keeps {}", size(bytes)), 100),
            Some(percent) => ("go", part_of(percent, bytes), percent),
            None if !online => ("off", "relay is off".to_owned(), 0),
            // What a relay has no room for goes through it to those who wait.
            None if machines.as_ref().is_some_and(|machines| machines.moving) => {
                ("go", "passes through, not kept".to_owned(), 0)
            }
            None if machines.as_ref().is_some_and(|machines| machines.ended) => {
                ("wait", "not kept".to_owned(), 0)
            }
            None => ("wait", format!("0 of {}", size(bytes)), 0),
        };
        let above =
            self.system.upper.as_ref().filter(|_| here).map(|upper| upper.identity().higher.name.clone());
        let from = above.unwrap_or_else(|| self.around.higher(relay).to_owned());
        let bar = Bar::percent(dot, percent, format!("{from} to {}: {words}", relay.name));
        Hop { from, to: relay.name.clone(), dot, words, bar, machines }
    }

    /// Machines that call the managing server itself.
    fn way_out(&self, tally: Tally, machines: Machines) -> Hop {
        let from = self.around.asked().to_owned();
        let to = count(tally.all(), "machine");
        let dot = if ended(tally) { "ok" } else { "go" };
        Hop { from, to, dot, words: machines.words, bar: machines.bar, machines: None }
    }

    fn machines(
        &self,
        job: &JobLook,
        place: u32,
        relay: Option<HostRow>,
        name: &str,
        mut tally: Tally,
    ) -> Machines {
        let mut words = format!("{} of {}", tally.well, tally.all());
        if tally.bad > 0 {
            words += &format!(" · {} not well", tally.bad);
        }
        if tally.uncounted > 0 {
            words += &format!(" · {} silent or retired, not counted", tally.uncounted);
        }
        if let Some((taking, percents)) = self.taking.get(&(job.job.row, place, relay)) {
            words += &format!(" · {taking} taking in, {} %", percents / (*taking).max(1));
            tally.taken = *percents;
        }
        let label = format!("{name} to {}: {words}", count(tally.all(), "machine"));
        Machines { bar: tally.bar(label), words, moving: tally.going + tally.taken > 0, ended: ended(tally) }
    }
}

fn ended(tally: Tally) -> bool {
    tally.going + tally.waiting == 0
}

fn words(counts: &Counts, uncounted: u64) -> Vec<Words> {
    let mut words: Vec<(State, u64)> =
        counts.iter().filter_map(|(word, n)| Some((State::parse(word)?, *n))).collect();
    words.sort_by_key(|(state, _)| *state);
    let one = |(state, n): (State, u64)| Words {
        class: class(state.as_str()),
        text: format!("{n} {}", state.as_str().replace('_', " ")),
    };
    let left_out =
        Words { class: "wait", text: format!("{uncounted} of these silent or retired, not counted") };
    words.into_iter().rev().map(one).chain((uncounted > 0).then_some(left_out)).collect()
}
