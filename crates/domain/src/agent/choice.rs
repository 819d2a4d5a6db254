//! What a user decides: choosing from an offer, rejecting it, taking a choice back, putting an install off.
//!
//! A wish is judged and made durable before it is acted on (rule 4). A choice is for the attempt it was made in; choosing what
//! was rejected reopens the same attempt, and nothing else does (`docs/decisions/0008-choices.md`).

use super::{Agent, AgentLine, Effect, Kind, LineId, Stage};
use crate::instruction::State;
use crate::job::{Intent, Job, JobType};
use crate::reason::{Code, NextTry};
use crate::report::Outcome;
use crate::time::Time;

/// Who chose when nobody did: the time came from which the offer is required.
pub const REQUIRED: &str = "required";
/// How long an install is put off if the user does not say, in seconds.
pub const POSTPONE_SECS: i64 = 4 * 3600;
/// An install is put off to this long before its job's end at the latest, in seconds: so that it still begins.
pub const LAST_CALL_SECS: i64 = 15 * 60;

/// What a user wants of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is to be installed: now, or at that time. Changes the time of a choice that has not begun.
    Choose {
        /// For when; `None`: now.
        at: Option<Time>,
    },
    /// It is not wanted.
    Reject,
    /// A choice that has not begun is taken back.
    Withdraw,
    /// Not now.
    Postpone {
        /// To then; `None`: [`POSTPONE_SECS`] from now.
        until: Option<Time>,
    },
}

/// A choice, durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Who chose; [`REQUIRED`] if nobody did.
    pub by: String,
    /// For when; `None`: at once.
    pub at: Option<Time>,
}

/// Why a wish is not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is no such line.
    Unknown,
    /// It is an install: everybody gets it.
    NotOffered,
    /// Whether it fits this machine has not been judged yet.
    NotJudged,
    /// It has ended, in this state.
    Ended(State),
    /// The installer was started.
    Begun,
    /// The offer has ended.
    Over(Time),
    /// The job was cancelled.
    Cancelled,
    /// It is required since then.
    Required(Time),
    /// It would be later than the time from which it is required.
    AfterRequired(Time),
    /// It is put off to a time that has passed.
    Past(Time),
    /// It would be later than the end.
    AfterEnd(Time),
    /// Nobody has chosen it.
    NotChosen,
    /// The job does not let it be put off.
    NotToPostpone,
    /// It was put off as often as the job allows.
    NoneLeft(u32),
    /// The job's end is too near.
    LastCall(Time),
}

impl Denied {
    /// A sentence; `show` writes a time.
    pub fn text(self, show: impl Fn(Time) -> String) -> String {
        match self {
            Denied::Unknown => "there is no such offer".to_owned(),
            Denied::NotOffered => "it is not an offer: it is installed on every machine it is for".to_owned(),
            Denied::NotJudged => "whether it fits this machine is still being looked at".to_owned(),
            Denied::Ended(state) => format!("it has ended: {}", state.as_str().replace('_', " ")),
            Denied::Begun => "it is being installed".to_owned(),
            Denied::Over(at) => format!("the offer ended at {}", show(at)),
            Denied::Cancelled => "its job was cancelled".to_owned(),
            Denied::Required(at) => format!("it is required since {}", show(at)),
            Denied::AfterRequired(at) => {
                format!("it is required from {} on; it can be chosen for an earlier time", show(at))
            }
            Denied::Past(at) => format!("{} has passed", show(at)),
            Denied::AfterEnd(at) => format!("it ends at {}, which is not after that time", show(at)),
            Denied::NotChosen => "nobody has chosen it".to_owned(),
            Denied::NotToPostpone => "its job does not let it be put off".to_owned(),
            Denied::NoneLeft(times) => format!("it was put off {times} times, which is all its job allows"),
            Denied::LastCall(at) => format!("it cannot be put off any more: its job ends at {}", show(at)),
        }
    }
}

impl Agent {
    /// Whether a wish would be granted.
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, id: &LineId, wish: Wish, now: Time) -> Result<(), Denied> {
        let line = self.lines.get(id).ok_or(Denied::Unknown)?;
        let job = &self.jobs.get(&id.job).ok_or(Denied::Unknown)?.job;
        if job.intent == Intent::Cancelled {
            return Err(Denied::Cancelled);
        }
        if job.until <= now {
            return Err(Denied::Over(job.until));
        }
        match wish {
            Wish::Postpone { until } => may_postpone(line, job, until, now),
            _ if job.job_type != JobType::Offer => Err(Denied::NotOffered),
            Wish::Choose { at } => may_choose(line, job, at, now),
            Wish::Reject | Wish::Withdraw => may_refuse(line, job, wish, now),
        }
    }

    pub(super) fn wish(&mut self, id: &LineId, by: &str, wish: Wish, now: Time) {
        if self.may(id, wish, now).is_err() {
            return;
        }
        match wish {
            Wish::Choose { at } => self.choose(id, by, at.filter(|at| *at > now), now),
            Wish::Reject => {
                let chosen = self.lines.get(id).is_some_and(|line| line.choice.is_some());
                if chosen {
                    self.step.effects.push(Effect::Drop(id.clone()));
                }
                self.end(id, Outcome { by: Some(by.to_owned()), ..Outcome::plain(State::Rejected) }, now);
            }
            Wish::Withdraw => {
                // What was staged stays: the user may change his mind once more.
                self.stop_work(id);
                if let Some(line) = self.lines.get_mut(id) {
                    (line.stage, line.choice, line.reason) = (Stage::Offered, None, None);
                    line.delivered = false;
                }
                self.journal(id, Kind::Offered, now);
            }
            Wish::Postpone { until } => self.postpone(id, by, until, now),
        }
    }

    /// The line is to be installed, by this choice; also of one that was rejected.
    pub(super) fn choose(&mut self, id: &LineId, by: &str, at: Option<Time>, now: Time) {
        let Some(line) = self.lines.get_mut(id) else { return };
        let choice = Choice { by: by.to_owned(), at };
        // What is under way for a choice made before is on the way for this one too, if this is for now.
        let goes_on = line.stage.is_active() && at.is_none();
        line.offered = true;
        line.choice = Some(choice.clone());
        line.reason = None;
        if !goes_on {
            self.stop_work(id);
            if let Some(line) = self.lines.get_mut(id) {
                line.stage = Stage::Waiting;
                (line.next_try, line.failures) = (at.unwrap_or(now), 0);
            }
        }
        self.journal(id, Kind::Chosen(choice), now);
    }

    /// Offers that nobody has chosen when the time has come from which they are required; also those that were rejected:
    /// required means everybody, and the date was there to be seen from the start.
    pub(super) fn require(&mut self, now: Time) {
        let due = |line: &AgentLine| {
            let job = self.jobs.get(&line.id.job).map(|known| &known.job);
            line.may_be_chosen()
                && line.offered
                && job.is_some_and(|job| {
                    let from = job.terms.required_from;
                    job.intent == Intent::Open && job.until > now && from.is_some_and(|from| from <= now)
                })
        };
        for id in self.ids(due) {
            self.choose(&id, REQUIRED, None, now);
        }
    }

    fn postpone(&mut self, id: &LineId, by: &str, until: Option<Time>, now: Time) {
        let Some(job) = self.jobs.get(&id.job).map(|known| &known.job) else { return };
        let (allowed, latest) = (job.terms.postpone, latest(job));
        let until = until.unwrap_or_else(|| now.plus_secs(POSTPONE_SECS)).min(latest);
        let Some(line) = self.lines.get_mut(id) else { return };
        line.postponed += 1;
        line.postponed_until = Some(until);
        let times = line.postponed;
        let held = line.stage == Stage::Waiting && line.delivered;
        self.journal(id, Kind::Postponed { by: by.to_owned(), until }, now);
        let text = format!("put off by {by}, {times} of {allowed} times");
        self.say(id, Code::Postponed, NextTry::At(until), &text, now);
        if held && let Some(line) = self.lines.get_mut(id) {
            line.next_try = until;
        }
    }

    /// Gives up what is being done for a line that has not begun; what was staged stays.
    pub(super) fn stop_work(&mut self, id: &LineId) {
        if let Some(line) = self.lines.get_mut(id).filter(|line| line.stage.is_active() && line.is_unbegun())
        {
            line.stage = Stage::Waiting;
            line.released = false;
            self.step.effects.push(Effect::Stop(id.clone()));
        }
    }
}

/// To when an install may be put off at the latest.
fn latest(job: &Job) -> Time {
    job.until.plus_secs(-LAST_CALL_SECS)
}

fn may_choose(line: &AgentLine, job: &Job, at: Option<Time>, now: Time) -> Result<(), Denied> {
    match &line.stage {
        Stage::Ended(outcome) if outcome.end.may_come_back() => {}
        Stage::Ended(outcome) => return Err(Denied::Ended(outcome.end)),
        _ if !line.is_unbegun() => return Err(Denied::Begun),
        _ if !line.offered => return Err(Denied::NotJudged),
        _ => {}
    }
    let Some(at) = at else { return Ok(()) };
    match job.terms.required_from {
        Some(from) if from <= now => Err(Denied::Required(from)),
        Some(from) if at > from => Err(Denied::AfterRequired(from)),
        _ if at >= job.until => Err(Denied::AfterEnd(job.until)),
        _ => Ok(()),
    }
}

fn may_refuse(line: &AgentLine, job: &Job, wish: Wish, now: Time) -> Result<(), Denied> {
    match &line.stage {
        Stage::Ended(outcome) => return Err(Denied::Ended(outcome.end)),
        _ if !line.is_unbegun() => return Err(Denied::Begun),
        _ if !line.offered => return Err(Denied::NotJudged),
        _ => {}
    }
    match job.terms.required_from {
        Some(from) if from <= now => Err(Denied::Required(from)),
        _ if wish == Wish::Withdraw && line.choice.is_none() => Err(Denied::NotChosen),
        _ => Ok(()),
    }
}

fn may_postpone(line: &AgentLine, job: &Job, until: Option<Time>, now: Time) -> Result<(), Denied> {
    if job.job_type != JobType::Install || job.terms.postpone == 0 {
        return Err(Denied::NotToPostpone);
    }
    match &line.stage {
        Stage::Ended(outcome) => return Err(Denied::Ended(outcome.end)),
        _ if !line.is_unbegun() => return Err(Denied::Begun),
        _ => {}
    }
    if line.postponed >= job.terms.postpone {
        return Err(Denied::NoneLeft(line.postponed));
    }
    match until {
        Some(at) if at <= now => Err(Denied::Past(at)),
        Some(at) if at > latest(job) && latest(job) > now => Err(Denied::AfterEnd(job.until)),
        _ if latest(job) <= now => Err(Denied::LastCall(job.until)),
        _ => Ok(()),
    }
}
