//! The client's journal: what is durable of each line. Its outbox is a view of it.

use super::{Choice, LineId};
use crate::reason::Reason;
use crate::report::{LineEvent, Outcome};
use crate::time::Time;

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It waits, for this reason. A report.
    Waits(Reason),
    /// The offer is shown to its user; or a choice was taken back. A report.
    Offered,
    /// It was chosen. A report.
    Chosen(Choice),
    /// It was put off. Why it waits follows as an entry of its own.
    Postponed {
        /// By whom.
        by: String,
        /// To when.
        until: Time,
    },
    /// The package is there, whole and verified. A report.
    Delivered {
        /// Which start of the machine that was in; `None` in journals of an earlier version.
        boot: Option<String>,
    },
    /// The installer is about to be started. A report.
    Intent,
    /// The installer was not started after all; nothing was changed.
    NotStarted,
    /// The installer ended.
    Exited {
        /// Whether well.
        ok: bool,
        /// Its exit code.
        code: Option<i32>,
    },
    /// Evidence that the start before has ended, though nobody saw how.
    Interrupted,
    /// The attempt ended. A report.
    Ended(Outcome),
}

impl Kind {
    /// What is reported of it, if it is a report.
    pub fn event(&self) -> Option<LineEvent> {
        match self {
            Kind::Waits(reason) => Some(LineEvent::Waits(reason.clone())),
            Kind::Offered => Some(LineEvent::Offered),
            Kind::Chosen(choice) => Some(LineEvent::Chosen { by: choice.by.clone(), at: choice.at }),
            Kind::Delivered { .. } => Some(LineEvent::Delivered),
            Kind::Intent => Some(LineEvent::Begun),
            Kind::Ended(outcome) => Some(LineEvent::Ended(outcome.clone())),
            Kind::Postponed { .. } | Kind::NotStarted | Kind::Exited { .. } | Kind::Interrupted => None,
        }
    }
}

/// An entry of the append-only journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number among the reports, if it is one.
    pub report: Option<u64>,
    /// When.
    pub at: Time,
    /// Which line.
    pub line: LineId,
    /// Which attempt.
    pub attempt: u32,
    /// What.
    pub kind: Kind,
}
