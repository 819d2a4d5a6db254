//! From the probe to the result: what each answer of the executor leads to.

use super::{
    Agent, AgentLine, Effect, Evidence, Exit, Found, INTERRUPTED_STARTS_MAX, Kind, LineId, REQUIRED, Ready,
    Stage, Trouble, Write,
};
use crate::instruction::State;
use crate::job::JobType;
use crate::reason::Code;
use crate::report::{FailClass, Outcome, Receipt};
use crate::time::Time;

impl Agent {
    pub(super) fn probed(&mut self, id: &LineId, found: Result<Found, Trouble>, now: Time, chance: u64) {
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
            Ok(Found::Other | Found::Newer(_)) => self.fits(id, now),
        }
    }

    /// It can be installed here. An offer that nobody has chosen is shown, and that is all (rule 4).
    fn fits(&mut self, id: &LineId, now: Time) {
        let Some(known) = self.jobs.get(&id.job) else { return };
        let offer = known.job.job_type == JobType::Offer;
        let required = known.job.terms.required_from.is_some_and(|from| from <= now);
        if offer && required && self.lines.get(id).is_some_and(|line| line.choice.is_none()) {
            if let Some(line) = self.lines.get_mut(id) {
                line.stage = Stage::Waiting;
            }
            // It is looked at once more before it begins, as after every choice.
            return self.choose(id, REQUIRED, None, now);
        }
        let Some(line) = self.lines.get_mut(id) else { return };
        if offer && line.choice.is_none() {
            (line.stage, line.offered, line.reason) = (Stage::Offered, true, None);
            return self.journal(id, Kind::Offered, now);
        }
        line.stage = Stage::Obtaining;
        self.step.effects.push(Effect::Obtain(id.clone()));
    }

    pub(super) fn obtained(&mut self, id: &LineId, result: Result<Ready, Trouble>, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id).filter(|line| line.stage == Stage::Obtaining) else {
            return;
        };
        match result {
            Err(trouble) => return self.wait(id, trouble, now, chance),
            Ok(ready) => line.ready = ready,
        }
        line.failures = 0;
        if !line.delivered {
            line.delivered = true;
            (line.delivered_in, line.unsaid) = (Some(self.boot.clone()), true);
            let boot = line.delivered_in.clone();
            self.journal(id, Kind::Delivered { boot }, now);
        }
        // What was begun before and is tried again is held by nothing any more.
        if self.lines.get(id).is_some_and(AgentLine::is_unbegun) && self.held(id, now) {
            return;
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

    pub(super) fn not_started(&mut self, id: &LineId, trouble: Trouble, now: Time, chance: u64) {
        let Some(line) = self.lines.get_mut(id).filter(|line| line.stage == Stage::Installing) else {
            return;
        };
        line.starts = line.starts.saturating_sub(1);
        self.journal(id, Kind::NotStarted, now);
        self.wait(id, trouble, now, chance);
    }

    pub(super) fn exited(&mut self, id: &LineId, exit: Exit, now: Time, chance: u64) {
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

    pub(super) fn checked(&mut self, id: &LineId, result: Result<(), String>, now: Time) {
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

    pub(super) fn recovered(&mut self, id: &LineId, evidence: Evidence, now: Time, chance: u64) {
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

    pub(super) fn cleared(&mut self, code: Code, now: Time) {
        let waits = |line: &AgentLine| line.reason.as_ref().is_some_and(|reason| reason.code() == code);
        for line in self.lines.values_mut().filter(|line| line.stage == Stage::Waiting && waits(line)) {
            line.next_try = line.next_try.min(now);
        }
    }

    pub(super) fn receipt(&mut self, receipt: Receipt) {
        let mine = receipt.origin == self.me && receipt.incarnation == self.incarnation;
        if mine && receipt.upto > self.base && receipt.upto <= self.reported {
            self.base = receipt.upto;
            self.step.writes.push(Write::Base(receipt.upto));
        }
    }
}
