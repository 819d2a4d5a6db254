//! The client: from an order to a result, through every restart.
//!
//! A machine without IO. The executor hands it one [`Input`] at a time, makes what [`Step::writes`] says durable in one
//! transaction, and only then does what [`Step::effects`] says: so INTENT is durable before an installer starts (rule 2),
//! and a result is durable before anybody hears of it (rule 3). After a restart [`Agent::restore`] reads the journal back and
//! [`Agent::resume`] says how to go on; an installer whose end nobody saw is first looked for ([`Effect::Recover`]).
//!
//! One line at a time is worked on, in the order of (start, job, place in the job); one that has to wait for the network or
//! a lock lets the next go first.

mod choice;
mod finish;
mod hold;
mod journal;
mod line;
mod orders;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_choice;
#[cfg(test)]
mod tests_hold;
#[cfg(test)]
mod tests_rights;
mod work;

use std::collections::{BTreeMap, BTreeSet};

pub use choice::{Choice, Denied, LAST_CALL_SECS, POSTPONE_SECS, REQUIRED, Wish};
pub use hold::{Ready, Timing};
pub use journal::{Entry, Kind};
pub use line::{AgentLine, LineId, Stage};

use crate::delegated::Rights;
use crate::ids::{HostId, Incarnation, JobKey, PackageId};
use crate::job::{Intent, Job, Place};
use crate::reason::Code;
use crate::report::{Body, FailClass, LineReport, Receipt, Report};
use crate::time::Time;

/// An installer that was cut off (its agent or machine died) is started again at most this often, each time with evidence
/// that the start before has ended.
pub const INTERRUPTED_STARTS_MAX: u32 = 3;
/// First pause after trouble with network, disk, lock or content, in seconds; doubled each time.
pub const PAUSE_SECS: i64 = 2;
/// Longest such pause in seconds.
pub const PAUSE_SECS_MAX: i64 = 900;

/// What the probe found at the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This very package is installed and its check holds.
    Same,
    /// Not this package, and nothing newer.
    Other,
    /// A newer version of it.
    Newer(String),
    /// A condition of the package does not hold: which, and what was found.
    Unfit(String),
    /// This agent cannot install it: why, and what to do.
    Impossible(String),
}

/// Trouble that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Network, disk, content, not trusted, lock.
    pub code: Code,
    /// The system where it arose.
    pub system: String,
    /// What exactly.
    pub text: String,
}

/// How the installer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Whether it ended well.
    pub ok: bool,
    /// Its exit code, if it had one.
    pub code: Option<i32>,
    /// For a failure: timeout, disk or installer.
    pub class: FailClass,
    /// One sentence.
    pub text: String,
    /// The end of its output.
    pub tail: String,
    /// How often the package lets it be tried again.
    pub retries: u32,
}

/// What is known of an installer that the journal says was started and nobody saw end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// It runs still; its end will come as [`Input::Exited`].
    Running,
    /// It left its exit behind.
    Exited(Exit),
    /// It is gone and left nothing behind, or was never started: what it was to do is looked at by a probe.
    Gone,
}

/// What happens to the agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A verified job that names this host in `attempt` (`None`: it does not, or not any more).
    Order {
        /// The job.
        job: Job,
        /// The attempt.
        attempt: Option<u32>,
        /// How far this host's clocks are ahead of UTC at the job's time, in seconds.
        ahead_secs: i64,
    },
    /// What a user of the host decided.
    Wish {
        /// Which line.
        line: LineId,
        /// The user's name.
        by: String,
        /// What. One that [`Agent::may`] denies changes nothing.
        wish: Wish,
    },
    /// The system is about to stop.
    Stopping,
    /// A verified job that was handed to this host by what it said of itself before, and whose conditions do not hold here.
    Unfit {
        /// The job.
        job: Job,
        /// The attempt it was handed over for.
        attempt: u32,
        /// What was found.
        why: String,
    },
    /// Time went by.
    Tick,
    /// The probe is done.
    Probed(LineId, Result<Found, Trouble>),
    /// The package is there, whole and verified, and says when it is to be installed; or not.
    Obtained(LineId, Result<Ready, Trouble>),
    /// The installer could not be started for now (a lock, a full disk): nothing was changed.
    NotStarted(LineId, Trouble),
    /// The installer ended.
    Exited(LineId, Exit),
    /// The check after installing.
    Checked(LineId, Result<(), String>),
    /// What became of an installer that nobody saw end.
    Recovered(LineId, Evidence),
    /// What lines wait for with this reason may have come: the higher system answers again, another key is trusted. They
    /// are tried at once.
    Cleared(Code),
    /// The managing server has everything up to there.
    Receipt(Receipt),
    /// What is delegated to relays, as far as this host knows, and where the host stands: from then on the jobs of relays
    /// count as far as that goes. After a restart it is told again.
    Rights {
        /// What is delegated.
        rights: Rights,
        /// Where the host stands.
        place: Place,
    },
    /// All that the higher system has for this host was read, to the end: what was not told by now there is not. Only then a
    /// delegation whose end has come is known not to have been renewed.
    Read,
}

/// What the executor does after the writes are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Look whether it is installed already and whether its conditions hold; answer with [`Input::Probed`].
    Probe(LineId),
    /// Take the package in; answer with [`Input::Obtained`].
    Obtain(LineId),
    /// Stop working on it; what was staged stays.
    Stop(LineId),
    /// Stop taking it in, and forget what was staged.
    Drop(LineId),
    /// Start the installer, which may run once for this effect; answer with [`Input::Exited`] or [`Input::NotStarted`].
    Install(LineId),
    /// Check what was installed; answer with [`Input::Checked`].
    Check(LineId),
    /// Find out what became of it; answer with [`Input::Recovered`].
    Recover(LineId),
    /// There are new reports to send.
    Send,
}

/// What is made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The newest revision of this job, with the attempt this host is in.
    Job(JobKey, Option<u32>),
    /// Its validity has ended: it may be forgotten.
    Forget(JobKey),
    /// Append to the journal.
    Journal(Entry),
    /// Reports up to this number need not be kept.
    Base(u64),
}

/// An answer of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// First this, in one transaction.
    pub writes: Vec<Write>,
    /// Then this.
    pub effects: Vec<Effect>,
}

/// A job this host knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownJob {
    /// Its newest revision.
    pub job: Job,
    /// The attempt this host is in.
    pub attempt: Option<u32>,
    /// How far this host's clocks are ahead of UTC at the job's time, in seconds. Not durable: found anew at each start.
    pub ahead_secs: i64,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Agent {
    me: HostId,
    name: String,
    incarnation: Incarnation,
    jobs: BTreeMap<JobKey, KnownJob>,
    lines: BTreeMap<LineId, AgentLine>,
    /// What is delegated to relays, and where this host stands; until it is told, jobs are those of the managing server.
    rights: Option<(Rights, Place)>,
    /// When all that the higher system has was last read, in this run.
    read: Time,
    reported: u64,
    base: u64,
    /// Which start of the machine this is.
    boot: String,
    /// When the last step was.
    now: Time,
    step: Step,
}

impl Agent {
    /// An agent that knows nothing yet.
    pub fn new(me: HostId, name: &str, incarnation: Incarnation) -> Agent {
        Agent {
            me,
            name: name.to_owned(),
            incarnation,
            jobs: BTreeMap::new(),
            lines: BTreeMap::new(),
            rights: None,
            read: Time(0),
            reported: 0,
            base: 0,
            boot: String::new(),
            now: Time(0),
            step: Step::default(),
        }
    }

    /// The agent as it was, from its durable state: jobs, the receipt, and the journal in order. Follow with
    /// [`Agent::resume`]. Numbers taken by [`Agent::number`] are told by [`Agent::numbered`].
    pub fn restore(
        me: HostId,
        name: &str,
        incarnation: Incarnation,
        jobs: Vec<KnownJob>,
        base: u64,
        entries: &[Entry],
    ) -> Agent {
        let mut agent = Agent::new(me, name, incarnation);
        agent.base = base;
        agent.reported = base;
        for known in jobs {
            agent.open_lines(&known, Time(0));
            agent.jobs.insert(known.job.key.clone(), known);
        }
        for entry in entries {
            agent.reported = agent.reported.max(entry.report.unwrap_or(0));
            if let Some(line) = agent.lines.get_mut(&entry.line) {
                line.replay(entry);
            }
        }
        let attempts: Vec<(JobKey, Option<u32>)> =
            agent.jobs.values().map(|known| (known.job.key.clone(), known.attempt)).collect();
        for (key, attempt) in attempts {
            let first = LineId { job: key.clone(), place: 0, package: PackageId([0; 32]) };
            for (_, line) in agent.lines.range_mut(first..).take_while(|(id, _)| id.job == key) {
                line.offer_attempt(attempt.unwrap_or(0), line.next_try);
            }
        }
        agent
    }

    /// Tells the machine which start of the host this is: what is to be installed at a system start waits for another one
    /// than that in which it was delivered. Before [`Agent::resume`].
    pub fn booted(&mut self, boot: &str) {
        boot.clone_into(&mut self.boot);
    }

    /// The first step after a start.
    pub fn resume(&mut self, now: Time) -> Step {
        let begun: Vec<LineId> = self.ids(|line| matches!(line.stage, Stage::Installing));
        for id in begun {
            self.step.effects.push(Effect::Recover(id));
        }
        let unchecked: Vec<LineId> = self.ids(|line| matches!(line.stage, Stage::Checking));
        for id in unchecked {
            self.step.effects.push(Effect::Check(id));
        }
        self.finish(now)
    }

    /// Takes in what happened. `chance` is any number, for pauses.
    pub fn step(&mut self, input: Input, now: Time, chance: u64) -> Step {
        match input {
            Input::Order { job, attempt, ahead_secs } => self.order(job, attempt, ahead_secs, now),
            Input::Wish { line, by, wish } => self.wish(&line, &by, wish, now),
            Input::Stopping => self.stopping(now),
            Input::Unfit { job, attempt, why } => self.unfit(job, attempt, &why, now),
            Input::Tick => {}
            Input::Probed(id, found) => self.probed(&id, found, now, chance),
            Input::Obtained(id, result) => self.obtained(&id, result, now, chance),
            Input::NotStarted(id, trouble) => self.not_started(&id, trouble, now, chance),
            Input::Exited(id, exit) => self.exited(&id, exit, now, chance),
            Input::Checked(id, result) => self.checked(&id, result, now),
            Input::Recovered(id, evidence) => self.recovered(&id, evidence, now, chance),
            Input::Cleared(code) => self.cleared(code, now),
            Input::Receipt(receipt) => self.receipt(receipt),
            Input::Rights { rights, place } => self.rights = Some((rights, place)),
            Input::Read => self.read = self.read.max(now),
        }
        self.finish(now)
    }

    /// When [`Input::Tick`] is next of use: after a step this is never in the past, or whoever sleeps until then would not
    /// sleep at all.
    pub fn wakes_at(&self) -> Option<Time> {
        let busy = self.lines.values().any(|line| line.stage.is_active());
        let times = self.lines.values().flat_map(|line| {
            let known = self.jobs.get(&line.id.job);
            let stopped = |known: &KnownJob| {
                known.job.intent == Intent::Suspended || self.has_ended(&known.job, self.now)
            };
            let held = known.is_none_or(stopped) && line.is_unbegun();
            let turn = !busy
                && !held
                && line.stage == Stage::Waiting
                && line.next_try < Time::MAX
                && !matches!(self.before(&line.id), finish::Before::Open);
            let start = known.filter(|_| turn).map(|known| line.next_try.max(hold::starts(known)));
            let end = known.filter(|_| line.is_unbegun()).map(|known| known.job.until);
            let waits = known.filter(|_| line.may_be_chosen() && line.offered);
            let required = waits.and_then(|known| known.job.terms.required_from);
            let lapses = known.filter(|_| line.is_unbegun()).and_then(|known| self.lapses(&known.job));
            let lapses = lapses.filter(|at| *at > self.now);
            [start, end, lapses, required.filter(|from| *from > self.now)].into_iter().flatten()
        });
        let open = self.jobs_with_open_lines();
        let known = self.jobs.values().filter(|known| !open.contains(&known.job.key));
        times.chain(known.map(|known| forgotten_at(&known.job))).min()
    }

    /// The jobs of which lines have not ended.
    fn jobs_with_open_lines(&self) -> BTreeSet<&JobKey> {
        let open = self.lines.values().filter(|line| !line.stage.is_end());
        open.map(|line| &line.id.job).collect()
    }

    /// The newest revision known of a job: older ones are refused, and known ones need no second look.
    pub fn revision(&self, key: &JobKey) -> Option<u64> {
        self.jobs.get(key).map(|known| known.job.revision)
    }

    /// The jobs known.
    pub fn jobs(&self) -> impl Iterator<Item = &KnownJob> {
        self.jobs.values()
    }

    /// A job known.
    pub fn job(&self, key: &JobKey) -> Option<&KnownJob> {
        self.jobs.get(key)
    }

    /// The lines.
    pub fn lines(&self) -> impl Iterator<Item = &AgentLine> {
        self.lines.values()
    }

    /// Everything up to this number is durable at the managing server.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The newest report's number.
    pub fn reported(&self) -> u64 {
        self.reported
    }

    /// Tells a restored agent that `newest` was taken by [`Agent::number`].
    pub fn numbered(&mut self, newest: u64) {
        self.reported = self.reported.max(newest);
    }

    /// A number for a report that is not about a line (an alarm), out of the same row; whoever takes it makes that report
    /// durable under it before anything else is reported.
    pub fn number(&mut self) -> u64 {
        self.reported += 1;
        self.reported
    }

    /// Which life of its state this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The report an entry of the journal stands for, if it is one.
    pub fn report_of(&self, entry: &Entry) -> Option<Report> {
        let (no, event) = (entry.report?, entry.kind.event()?);
        let said = LineReport {
            job: entry.line.job.clone(),
            package: entry.line.package,
            attempt: entry.attempt,
            event,
        };
        Some(Report {
            origin: self.me,
            incarnation: self.incarnation,
            no,
            base: self.base,
            at: entry.at,
            body: Body::Line(said),
        })
    }

    fn ids(&self, want: impl Fn(&AgentLine) -> bool) -> Vec<LineId> {
        self.lines.values().filter(|line| want(line)).map(|line| line.id.clone()).collect()
    }

    fn journal(&mut self, id: &LineId, kind: Kind, now: Time) {
        let Some(line) = self.lines.get(id) else { return };
        let report = kind.event().map(|_| {
            self.reported += 1;
            self.reported
        });
        let entry = Entry { report, at: now, line: id.clone(), attempt: line.attempt, kind };
        self.step.writes.push(Write::Journal(entry));
    }

    /// The event a report was made of, for tests of what was said.
    #[cfg(test)]
    fn events(step: &Step) -> Vec<crate::report::LineEvent> {
        step.writes
            .iter()
            .filter_map(|write| match write {
                Write::Journal(entry) => entry.kind.event(),
                _ => None,
            })
            .collect()
    }
}

/// A job is remembered for as long again as a revision of it may be on its way: its validity and 90 days.
fn forgotten_at(job: &Job) -> Time {
    job.until.plus_days(crate::job::VALID_DAYS)
}
