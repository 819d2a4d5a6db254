//! The client: from an order to a result, through every restart.
//!
//! A machine without IO. The executor hands it one [`Input`] at a time, makes what [`Step::writes`] says durable in one
//! transaction, and only then does what [`Step::effects`] says: so INTENT is durable before an installer starts (rule 2),
//! and a result is durable before anybody hears of it (rule 3). After a restart [`Agent::restore`] reads the journal back and
//! [`Agent::resume`] says how to go on; an installer whose end nobody saw is first looked for ([`Effect::Recover`]).
//!
//! One line at a time is worked on, in the order of (start, job, place in the job); one that has to wait for the network or
//! a lock lets the next go first.

mod journal;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use journal::{Entry, Kind};
pub use line::{AgentLine, LineId, Stage};

use crate::ids::{HostId, Incarnation, JobKey};
use crate::instruction::State;
use crate::job::{Gate, Intent, Job, gate};
use crate::reason::{Code, NextTry, Reason};
use crate::report::{Body, FailClass, LineReport, Outcome, Receipt, Report};
use crate::time::{Time, pause_micros};

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
    },
    /// Time went by.
    Tick,
    /// The probe is done.
    Probed(LineId, Result<Found, Trouble>),
    /// The package is there, whole and verified; or not.
    Obtained(LineId, Result<(), Trouble>),
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
}

/// What the executor does after the writes are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Look whether it is installed already and whether its conditions hold; answer with [`Input::Probed`].
    Probe(LineId),
    /// Take the package in; answer with [`Input::Obtained`].
    Obtain(LineId),
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
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Agent {
    me: HostId,
    name: String,
    incarnation: Incarnation,
    jobs: BTreeMap<JobKey, KnownJob>,
    lines: BTreeMap<LineId, AgentLine>,
    reported: u64,
    base: u64,
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
            reported: 0,
            base: 0,
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
            for line in agent.lines.values_mut().filter(|line| line.id.job == key) {
                line.offer_attempt(attempt.unwrap_or(0), line.next_try);
            }
        }
        agent
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
            Input::Order { job, attempt } => self.order(job, attempt, now),
            Input::Tick => {}
            Input::Probed(id, found) => self.probed(&id, found, now, chance),
            Input::Obtained(id, result) => self.obtained(&id, result, now, chance),
            Input::NotStarted(id, trouble) => self.not_started(&id, trouble, now, chance),
            Input::Exited(id, exit) => self.exited(&id, exit, now, chance),
            Input::Checked(id, result) => self.checked(&id, result, now),
            Input::Recovered(id, evidence) => self.recovered(&id, evidence, now, chance),
            Input::Cleared(code) => self.cleared(code, now),
            Input::Receipt(receipt) => self.receipt(receipt),
        }
        self.finish(now)
    }

    /// When [`Input::Tick`] is next of use: after a step this is never in the past, or whoever sleeps until then would not
    /// sleep at all.
    pub fn wakes_at(&self) -> Option<Time> {
        let busy = self.lines.values().any(|line| line.stage.is_active());
        let times = self.lines.values().flat_map(|line| {
            let job = self.jobs.get(&line.id.job).map(|known| &known.job);
            let turn =
                !busy && line.stage == Stage::Waiting && !matches!(self.before(&line.id), Before::Open);
            let start = job.filter(|_| turn).map(|job| line.next_try.max(job.starts()));
            let end = job.filter(|_| line.is_unbegun()).map(|job| job.until);
            [start, end].into_iter().flatten()
        });
        let over = |key: &JobKey| self.lines.values().all(|line| line.id.job != *key || line.stage.is_end());
        let known = self.jobs.values().filter(|known| over(&known.job.key));
        times.chain(known.map(|known| forgotten_at(&known.job))).min()
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

    // ---- orders -------------------------------------------------------------------------------------------------

    fn order(&mut self, job: Job, attempt: Option<u32>, now: Time) {
        let revision = self.revision(&job.key);
        // A host that a revision does not name (any more) keeps the attempt it is in; a number never falls.
        let before = self.jobs.get(&job.key).and_then(|known| known.attempt);
        let news = match gate(revision, job.revision) {
            Gate::Take => true,
            // The same revision again, with a proof that was not there before: the host was moved, or came late.
            Gate::Known => attempt > before,
            Gate::Older => false,
        };
        if !news || forgotten_at(&job) <= now {
            return;
        }
        let known = KnownJob { attempt: attempt.max(before), job };
        let key = known.job.key.clone();
        self.step.writes.push(Write::Job(key.clone(), known.attempt));
        self.open_lines(&known, now);
        self.jobs.insert(key, known);
    }

    fn open_lines(&mut self, known: &KnownJob, now: Time) {
        let Some(attempt) = known.attempt else { return };
        for (place, package) in (0u32..).zip(&known.job.packages) {
            let id = LineId { job: known.job.key.clone(), place, package: package.id };
            let line = self.lines.entry(id.clone()).or_insert_with(|| AgentLine::new(id, attempt, now));
            line.offer_attempt(attempt, now);
        }
    }

    /// Ends lines of cancelled jobs that have not begun. After every step, not only when the cancel comes: a line may be
    /// unbegun again later, when its installer could not be started or a later attempt takes its turn.
    fn cancel(&mut self, now: Time) {
        let cancelled = |line: &AgentLine| {
            let known = self.jobs.get(&line.id.job);
            line.is_unbegun() && known.is_some_and(|known| known.job.intent == Intent::Cancelled)
        };
        for id in self.ids(cancelled) {
            self.end(&id, Outcome::with(State::Cancelled, "", "the job was cancelled"), now);
        }
    }

    /// Ends lines that have not begun and for whose package (same cabinet and name) a later order is known.
    fn supersede(&mut self, now: Time) {
        for id in self.ids(AgentLine::is_unbegun) {
            if let Some(newer) = self.superseded_by(&id) {
                let text = format!("job {newer} is newer and brings the same package");
                self.end(&id, Outcome::with(State::Superseded, "", &text), now);
            }
        }
    }

    fn superseded_by(&self, id: &LineId) -> Option<JobKey> {
        let (ordered, label) = self.ordered(id)?;
        self.lines.keys().filter(|other| other.job != id.job && other.job.issuer == id.job.issuer).find_map(
            |other| {
                let (later, theirs) = self.ordered(other)?;
                let job = &self.jobs.get(&other.job)?.job;
                let same = theirs.cabinet == label.cabinet && theirs.name == label.name;
                let newer = (later, other.job.number) > (ordered, id.job.number);
                (same && newer && job.intent == Intent::Open).then(|| other.job.clone())
            },
        )
    }

    fn ordered(&self, id: &LineId) -> Option<(Time, &crate::ids::PackageLabel)> {
        let known = self.jobs.get(&id.job)?;
        let attempt = self.lines.get(id)?.attempt;
        let round = known.job.rounds.iter().find(|round| round.attempt == attempt)?;
        let package = known.job.packages.get(id.place as usize)?;
        Some((round.ordered, &package.label))
    }

    // ---- from the probe to the result -----------------------------------------------------------------------------

    fn probed(&mut self, id: &LineId, found: Result<Found, Trouble>, now: Time, chance: u64) {
        let downgrade = self.jobs.get(&id.job).is_some_and(|known| known.job.allow_downgrade);
        let Some(line) = self.lines.get_mut(id).filter(|line| line.stage == Stage::Probing) else {
            return;
        };
        let recovering = line.interrupted > 0;
        match found {
            Err(trouble) => self.wait(id, trouble, now, chance),
            Ok(Found::Same) if recovering => {
                // The start that nobody saw end did its work: this attempt is done, and its check has just been made.
                self.end(
                    id,
                    Outcome::with(State::Done, "probe", "installed; its end was found after a restart"),
                    now,
                );
            }
            Ok(Found::Same) => {
                self.end(
                    id,
                    Outcome::with(State::AlreadyInstalled, "probe", "this package is installed"),
                    now,
                );
            }
            Ok(Found::Impossible(why)) => {
                self.end(id, Outcome::failed(FailClass::Condition, "probe", &why), now);
            }
            Ok(Found::Unfit(what)) => self.end(id, Outcome::with(State::NotApplicable, "probe", &what), now),
            Ok(Found::Newer(version)) if !downgrade => {
                let text = format!(
                    "version {version} is installed, which is newer; --allow-downgrade would lower it"
                );
                self.end(id, Outcome::with(State::NotApplicable, "probe", &text), now);
            }
            Ok(Found::Other | Found::Newer(_)) => {
                line.stage = Stage::Obtaining;
                self.step.effects.push(Effect::Obtain(id.clone()));
            }
        }
    }

    fn obtained(&mut self, id: &LineId, result: Result<(), Trouble>, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id).filter(|line| line.stage == Stage::Obtaining) else {
            return;
        };
        if let Err(trouble) = result {
            return self.wait(id, trouble, now, chance);
        }
        line.failures = 0;
        if !line.delivered {
            line.delivered = true;
            self.journal(id, Kind::Delivered, now);
        }
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        line.stage = Stage::Installing;
        line.starts += 1;
        // What it waited for is over: should it wait for the same again, that is news to whoever was told that it began.
        line.reason = None;
        self.journal(id, Kind::Intent, now);
        self.step.effects.push(Effect::Install(id.clone()));
    }

    fn not_started(&mut self, id: &LineId, trouble: Trouble, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id).filter(|line| line.stage == Stage::Installing) else {
            return;
        };
        line.starts = line.starts.saturating_sub(1);
        self.journal(id, Kind::NotStarted, now);
        self.wait(id, trouble, now, chance);
    }

    fn exited(&mut self, id: &LineId, exit: Exit, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id).filter(|line| line.stage == Stage::Installing) else {
            return;
        };
        line.stage = Stage::Checking;
        line.exit_code = exit.code;
        line.tail.clone_from(&exit.tail);
        let starts = line.starts;
        self.journal(id, Kind::Exited { ok: exit.ok, code: exit.code }, now);
        if exit.ok {
            self.step.effects.push(Effect::Check(id.clone()));
            return;
        }
        if starts <= exit.retries {
            let text = format!("{} (try {starts} of {})", exit.text, exit.retries + 1);
            let trouble = Trouble { code: Code::InstallerRetry, system: self.name.clone(), text };
            return self.wait(id, trouble, now, chance);
        }
        let outcome = Outcome {
            exit_code: exit.code,
            tail: exit.tail,
            ..Outcome::failed(exit.class, "install", &exit.text)
        };
        self.end(id, outcome, now);
    }

    fn checked(&mut self, id: &LineId, result: Result<(), String>, now: Time) {
        let Some(line) = self.lines.get(id).filter(|line| line.stage == Stage::Checking) else {
            return;
        };
        let (exit_code, tail) = (line.exit_code, line.tail.clone());
        let outcome = match result {
            Ok(()) => Outcome::with(State::Done, "check", ""),
            Err(text) => Outcome::failed(FailClass::Installer, "check", &text),
        };
        self.end(id, Outcome { exit_code, tail, ..outcome }, now);
    }

    fn recovered(&mut self, id: &LineId, evidence: Evidence, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id).filter(|line| line.stage == Stage::Installing) else {
            return;
        };
        match evidence {
            Evidence::Running => {}
            Evidence::Exited(exit) => self.exited(id, exit, now, chance),
            Evidence::Gone if line.interrupted + 1 >= INTERRUPTED_STARTS_MAX => {
                let text = format!(
                    "the installer was cut off {INTERRUPTED_STARTS_MAX} times; what it left is unknown"
                );
                self.end(id, Outcome::failed(FailClass::Installer, "install", &text), now);
            }
            Evidence::Gone => {
                line.interrupted += 1;
                line.stage = Stage::Probing;
                self.journal(id, Kind::Interrupted, now);
                self.step.effects.push(Effect::Probe(id.clone()));
            }
        }
    }

    fn cleared(&mut self, code: Code, now: Time) {
        let waits = |line: &AgentLine| line.reason.as_ref().is_some_and(|reason| reason.code() == code);
        for line in self.lines.values_mut().filter(|line| line.stage == Stage::Waiting && waits(line)) {
            line.next_try = line.next_try.min(now);
        }
    }

    fn receipt(&mut self, receipt: Receipt) {
        let mine = receipt.origin == self.me && receipt.incarnation == self.incarnation;
        if mine && receipt.upto > self.base && receipt.upto <= self.reported {
            self.base = receipt.upto;
            self.step.writes.push(Write::Base(receipt.upto));
        }
    }

    // ---- common ends of every step ----------------------------------------------------------------------------------

    fn finish(&mut self, now: Time) -> Step {
        self.cancel(now);
        self.supersede(now);
        self.miss(now);
        self.forget(now);
        self.start_next(now);
        if self.step.writes.iter().any(|write| matches!(write, Write::Journal(Entry { report: Some(_), .. })))
        {
            self.step.effects.push(Effect::Send);
        }
        std::mem::take(&mut self.step)
    }

    fn miss(&mut self, now: Time) {
        let late = |line: &AgentLine| {
            line.is_unbegun() && self.jobs.get(&line.id.job).is_some_and(|known| known.job.until <= now)
        };
        for id in self.ids(late) {
            let last = self
                .lines
                .get(&id)
                .and_then(|line| line.reason.as_ref())
                .map(|reason| reason.detail().to_owned());
            let text = last.unwrap_or_else(|| "its end came before it began".to_owned());
            self.end(&id, Outcome::with(State::Missed, "", &text), now);
        }
    }

    /// Ended jobs are remembered until nothing of them can come by any more.
    fn forget(&mut self, now: Time) {
        let over: Vec<JobKey> = self
            .jobs
            .values()
            .filter(|known| forgotten_at(&known.job) <= now)
            .map(|known| known.job.key.clone())
            .filter(|key| self.lines.values().all(|line| line.id.job != *key || line.stage.is_end()))
            .collect();
        for key in over {
            self.jobs.remove(&key);
            self.lines.retain(|id, _| id.job != key);
            self.step.writes.push(Write::Forget(key));
        }
    }

    fn start_next(&mut self, now: Time) {
        if self.lines.values().any(|line| line.stage.is_active()) {
            return;
        }
        let mut ready: Vec<(Time, LineId)> = Vec::new();
        for line in self.lines.values().filter(|line| line.stage == Stage::Waiting && line.next_try <= now) {
            if let Some(known) = self.jobs.get(&line.id.job)
                && known.job.starts() <= now
            {
                ready.push((known.job.starts(), line.id.clone()));
            }
        }
        ready.sort();
        for (_, id) in ready {
            match self.before(&id) {
                Before::Open => continue,
                Before::Failed(text) => {
                    self.end(&id, Outcome::failed(FailClass::Condition, "probe", &text), now);
                }
                Before::Clear => {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.stage = Stage::Probing;
                        self.step.effects.push(Effect::Probe(id));
                    }
                    return;
                }
            }
        }
    }

    /// What the packages before it in its job say: they come in order, and one that did not install holds the rest up.
    fn before(&self, id: &LineId) -> Before {
        let mut verdict = Before::Clear;
        for line in self.lines.values().filter(|line| line.id.job == id.job && line.id.place < id.place) {
            match &line.stage {
                Stage::Ended(outcome) if outcome.end.ended_well() => {}
                Stage::Ended(outcome) => {
                    return Before::Failed(format!(
                        "package {} of the job ended as {}",
                        line.id.place + 1,
                        outcome.end
                    ));
                }
                _ => verdict = Before::Open,
            }
        }
        verdict
    }

    fn wait(&mut self, id: &LineId, trouble: Trouble, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        let pause = pause_micros(line.failures, PAUSE_SECS, PAUSE_SECS_MAX, chance);
        line.failures += 1;
        line.stage = Stage::Waiting;
        line.next_try = Time(now.0.saturating_add(pause));
        let clear = clear_of(trouble.code);
        let next = NextTry::At(line.next_try);
        let since = line.reason.as_ref().filter(|old| old.code() == trouble.code).map_or(now, Reason::since);
        let reason = Reason::new(trouble.code, &trouble.system, since, next, clear, &trouble.text);
        let news = !line.reason.as_ref().is_some_and(|old| old.same_as(&reason));
        line.reason = Some(reason.clone());
        if news {
            self.journal(id, Kind::Waits(reason), now);
        }
    }

    fn end(&mut self, id: &LineId, outcome: Outcome, now: Time) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        if matches!(line.stage, Stage::Probing | Stage::Obtaining) || line.delivered {
            self.step.effects.push(Effect::Drop(id.clone()));
        }
        line.reason = None;
        line.stage = Stage::Ended(outcome.clone());
        self.journal(id, Kind::Ended(outcome), now);
        let waiting = self.jobs.get(&id.job).and_then(|known| known.attempt);
        if let (Some(attempt), Some(line)) = (waiting, self.lines.get_mut(id)) {
            line.offer_attempt(attempt, now);
        }
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

enum Before {
    Clear,
    Open,
    Failed(String),
}

/// A job is remembered for as long again as a revision of it may be on its way: its validity and 90 days.
fn forgotten_at(job: &Job) -> Time {
    job.until.plus_days(crate::job::VALID_DAYS)
}

fn clear_of(code: Code) -> &'static str {
    match code {
        Code::Network => "the line to the higher system, or the higher system itself",
        Code::Disk => "free space on the host's disk, or let the agent write there",
        Code::Content => "nothing to do if it passes; else look at the higher system's store",
        Code::NotTrusted => "packhorse cabinet trust CABINET --key KEY, if the key is to be trusted",
        Code::Lock => "nothing to do: the other installer ends",
        Code::InstallerRetry => "nothing to do: it is tried again",
        _ => "nothing to do: it goes on by itself",
    }
}
