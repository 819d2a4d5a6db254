//! One line at its host.

use super::{Choice, Entry, Kind, Ready};
use crate::ids::{JobKey, PackageId};
use crate::reason::{Code, Reason};
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
    /// It is offered to the user, who has not chosen.
    Offered,
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
        !matches!(self, Stage::Waiting | Stage::Offered | Stage::Ended(_))
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
    /// Whether the user was shown it in this attempt.
    pub offered: bool,
    /// The user's choice.
    pub choice: Option<Choice>,
    /// How often the user put it off.
    pub postponed: u32,
    /// To when.
    pub postponed_until: Option<Time>,
    /// Whether the package was reported as delivered in this attempt.
    pub delivered: bool,
    /// In which start of the machine that was.
    pub delivered_in: Option<String>,
    /// When the package says it is to be installed.
    pub ready: Ready,
    /// The system stops: what is held for that begins.
    pub released: bool,
    /// Starts of the installer in this attempt.
    pub starts: u32,
    /// Starts that nobody saw end.
    pub interrupted: u32,
    /// Troubles in a row.
    pub failures: u32,
    /// Not before.
    pub next_try: Time,
    /// Whoever was told why it waits has heard of something else since: it is said again.
    pub unsaid: bool,
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
            offered: false,
            choice: None,
            postponed: 0,
            postponed_until: None,
            delivered: false,
            delivered_in: None,
            ready: Ready::default(),
            released: false,
            starts: 0,
            interrupted: 0,
            failures: 0,
            next_try: now,
            unsaid: false,
            reason: None,
            exit_code: None,
            tail: String::new(),
        }
    }

    /// Whether it is open and INTENT is not durable in this attempt, so that cancel and limits still win.
    pub fn is_unbegun(&self) -> bool {
        !self.stage.is_end() && !self.stage.has_begun() && self.starts == 0
    }

    /// Whether a user may still choose it: offered, or rejected. (Before that it is judged whether it fits the host.)
    pub fn may_be_chosen(&self) -> bool {
        match &self.stage {
            Stage::Offered => true,
            Stage::Ended(outcome) => outcome.end.may_come_back(),
            _ => false,
        }
    }

    /// Whether what was said last of why it waits has this code.
    pub fn waits_with(&self, code: Code) -> bool {
        self.reason.as_ref().is_some_and(|reason| reason.code() == code)
    }

    /// A later attempt: taken up at once if this one is over or has not begun, else when it is over. The same one again, if the
    /// job did not name the host before and does now.
    pub fn offer_attempt(&mut self, attempt: u32, now: Time) {
        let later = attempt > self.attempt && (self.stage.is_end() || self.is_unbegun());
        let named_now = matches!(&self.stage, Stage::Ended(outcome) if outcome.is_unfit());
        if later || (named_now && attempt == self.attempt) {
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
                if self.stage != Stage::Offered {
                    self.stage = Stage::Waiting;
                }
                self.reason = Some(reason.clone());
            }
            Kind::Offered => {
                (self.stage, self.choice, self.reason) = (Stage::Offered, None, None);
                (self.offered, self.delivered) = (true, false);
            }
            Kind::Chosen(choice) => {
                (self.stage, self.offered, self.reason) = (Stage::Waiting, true, None);
                self.next_try = choice.at.unwrap_or(entry.at);
                self.choice = Some(choice.clone());
            }
            Kind::Postponed { until, .. } => {
                self.postponed += 1;
                self.postponed_until = Some(*until);
            }
            Kind::Delivered { boot } => {
                self.delivered = true;
                self.delivered_in.clone_from(boot);
            }
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
        self.starts == 0 && !self.delivered && !self.offered && self.stage == Stage::Waiting
    }
}
