//! The common end of every step: what is over is ended and forgotten, and the next line is begun.

use super::hold::starts;
use super::{
    Agent, AgentLine, Effect, Entry, Kind, LineId, PAUSE_SECS, PAUSE_SECS_MAX, Stage, Step, Trouble, Write,
    forgotten_at,
};
use crate::ids::{JobKey, PackageId};
use crate::instruction::State;
use crate::job::JobType;
use crate::reason::{NextTry, Reason, clear_of};
use crate::report::{FailClass, Outcome};
use crate::time::{Time, pause_micros};

impl Agent {
    pub(super) fn finish(&mut self, now: Time) -> Step {
        self.cancel(now);
        self.supersede(now);
        self.miss(now);
        self.require(now);
        self.forget(now);
        self.hold(now);
        self.start_next(now);
        self.now = now;
        if self.step.writes.iter().any(|write| matches!(write, Write::Journal(Entry { report: Some(_), .. })))
        {
            self.step.effects.push(Effect::Send);
        }
        std::mem::take(&mut self.step)
    }

    pub(super) fn miss(&mut self, now: Time) {
        let late = |line: &AgentLine| {
            line.is_unbegun() && self.jobs.get(&line.id.job).is_some_and(|known| known.job.until <= now)
        };
        for id in self.ids(late) {
            let last = self
                .lines
                .get(&id)
                .and_then(|line| line.reason.as_ref())
                .map(|reason| reason.detail().to_owned());
            let offer = self.jobs.get(&id.job).is_some_and(|known| known.job.job_type == JobType::Offer);
            let unchosen = self.lines.get(&id).is_some_and(|line| line.choice.is_none());
            if offer && unchosen {
                let text = "nobody chose it before it ended";
                self.end(&id, Outcome::with(State::OfferEnded, "", text), now);
                continue;
            }
            let text = last.unwrap_or_else(|| "its end came before it began".to_owned());
            self.end(&id, Outcome::with(State::Missed, "", &text), now);
        }
    }

    /// Ended jobs are remembered until nothing of them can come by any more.
    pub(super) fn forget(&mut self, now: Time) {
        let mut over: Vec<JobKey> = self
            .jobs
            .values()
            .filter(|known| forgotten_at(&known.job) <= now)
            .map(|known| known.job.key.clone())
            .collect();
        if over.is_empty() {
            return;
        }
        let open = self.jobs_with_open_lines();
        over.retain(|key| !open.contains(key));
        for key in over {
            self.jobs.remove(&key);
            self.lines.retain(|id, _| id.job != key);
            self.step.writes.push(Write::Forget(key));
        }
    }

    pub(super) fn start_next(&mut self, now: Time) {
        if self.lines.values().any(|line| line.stage.is_active()) {
            return;
        }
        let mut ready: Vec<(Time, LineId)> = Vec::new();
        for line in self.lines.values().filter(|line| line.stage == Stage::Waiting && line.next_try <= now) {
            if let Some(known) = self.jobs.get(&line.id.job)
                && starts(known) <= now
                && (self.may_work(line, now) || !line.is_unbegun())
            {
                ready.push((starts(known), line.id.clone()));
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
    pub(super) fn before(&self, id: &LineId) -> Before {
        let mut verdict = Before::Clear;
        // Offers are chosen one by one.
        if self.jobs.get(&id.job).is_some_and(|known| known.job.job_type == JobType::Offer) {
            return verdict;
        }
        // Lines are sorted by job and place.
        let first = LineId { job: id.job.clone(), place: 0, package: PackageId([0; 32]) };
        let last = LineId { package: PackageId([0; 32]), ..id.clone() };
        for line in self.lines.range(first..last).map(|(_, line)| line) {
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

    pub(super) fn wait(&mut self, id: &LineId, trouble: Trouble, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        // Whoever stops the system does not wait for what has trouble: it is held for the next stop.
        line.released = false;
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

    pub(super) fn end(&mut self, id: &LineId, outcome: Outcome, now: Time) {
        let Some(line) = self.lines.get_mut(id) else {
            return;
        };
        if matches!(line.stage, Stage::Probing | Stage::Obtaining) || line.delivered {
            self.step.effects.push(Effect::Drop(id.clone()));
        }
        line.reason = None;
        let by = outcome.by.or_else(|| line.choice.take().map(|choice| choice.by));
        let outcome = Outcome { by, ..outcome };
        line.stage = Stage::Ended(outcome.clone());
        self.journal(id, Kind::Ended(outcome), now);
        let waiting = self.jobs.get(&id.job).and_then(|known| known.attempt);
        if let (Some(attempt), Some(line)) = (waiting, self.lines.get_mut(id)) {
            line.offer_attempt(attempt, now);
        }
    }
}

/// What the packages before a line in its job say.
pub(super) enum Before {
    Clear,
    Open,
    Failed(String),
}
