//! One line at its host.

use super::{Entry, Kind};
use crate::ids::{JobKey, PackageId};
use crate::reason::Reason;
use crate::report::Outcome;
use crate::time::Time;

/// Which line: a package of a job. Sorted as they are worked on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    /// The job.
    pub job: JobKey,
    /// The package's place in the job, from 0.
    pub place: u32,
    /// The package.
    pub package: PackageId,
}

/// Where a line stands at its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// For its time, its turn or another try.
    Waiting,
    /// It is being looked at what is installed.
    Probing,
    /// The package is being taken in.
    Obtaining,
    /// INTENT is durable.
    Installing,
    /// The installer ended; what it did is being checked.
    Checking,
    /// It ended.
    Ended(Outcome),
}

impl Stage {
    /// Whether the attempt is over.
    pub fn is_end(&self) -> bool {
        matches!(self, Stage::Ended(_))
    }

    /// Whether INTENT is durable and the end is not.
    pub fn has_begun(&self) -> bool {
        matches!(self, Stage::Installing | Stage::Checking)
    }

    /// Whether it is being worked on.
    pub fn is_active(&self) -> bool {
        !matches!(self, Stage::Waiting | Stage::Ended(_))
    }
}

/// A line at its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentLine {
    /// Which.
    pub id: LineId,
    /// The attempt it is in.
    pub attempt: u32,
    /// Where it stands.
    pub stage: Stage,
    /// Whether the package was reported as delivered in this attempt.
    pub delivered: bool,
    /// Starts of the installer in this attempt.
    pub starts: u32,
    /// Starts that nobody saw end.
    pub interrupted: u32,
    /// Troubles in a row.
    pub failures: u32,
    /// Not before.
    pub next_try: Time,
    /// Why it waits, once something held it up.
    pub reason: Option<Reason>,
    /// Exit code of the installer.
    pub exit_code: Option<i32>,
    /// The end of the installer's output.
    pub tail: String,
}

impl AgentLine {
    /// A line that has just been ordered.
    pub fn new(id: LineId, attempt: u32, now: Time) -> AgentLine {
        AgentLine {
            id,
            attempt,
            stage: Stage::Waiting,
            delivered: false,
            starts: 0,
            interrupted: 0,
            failures: 0,
            next_try: now,
            reason: None,
            exit_code: None,
            tail: String::new(),
        }
    }

    /// Whether it is open and INTENT is not durable in this attempt, so that cancel and limits still win.
    pub fn is_unbegun(&self) -> bool {
        !self.stage.is_end() && !self.stage.has_begun() && self.starts == 0
    }

    /// A later attempt: taken up at once if this one is over or has not begun, else when it is over.
    pub fn offer_attempt(&mut self, attempt: u32, now: Time) {
        if attempt > self.attempt && (self.stage.is_end() || self.is_unbegun()) {
            *self = AgentLine::new(self.id.clone(), attempt, now);
        }
    }

    /// Takes in an entry of the journal at a restart.
    pub fn replay(&mut self, entry: &Entry) {
        if entry.attempt < self.attempt && !self.fresh() {
            return;
        }
        if entry.attempt != self.attempt || self.stage.is_end() {
            *self = AgentLine::new(self.id.clone(), entry.attempt, entry.at);
        }
        match &entry.kind {
            Kind::Waits(reason) => {
                self.stage = Stage::Waiting;
                self.reason = Some(reason.clone());
            }
            Kind::Delivered => self.delivered = true,
            Kind::Intent => {
                self.stage = Stage::Installing;
                self.starts += 1;
                self.reason = None;
            }
            Kind::NotStarted => {
                self.stage = Stage::Waiting;
                self.starts = self.starts.saturating_sub(1);
            }
            Kind::Exited { ok, code } => {
                self.exit_code = *code;
                // A failure that was followed by nothing is tried again if the package allows: see `Waits` and `Ended`.
                self.stage = if *ok { Stage::Checking } else { Stage::Waiting };
            }
            Kind::Interrupted => {
                self.interrupted += 1;
                self.stage = Stage::Waiting;
            }
            Kind::Ended(outcome) => self.stage = Stage::Ended(outcome.clone()),
        }
    }

    fn fresh(&self) -> bool {
        self.starts == 0 && !self.delivered && self.stage == Stage::Waiting
    }
}
