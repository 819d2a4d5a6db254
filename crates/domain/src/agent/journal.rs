//! The client's journal: what is durable of each line. Its outbox is a view of it.

use super::LineId;
use crate::reason::Reason;
use crate::report::{LineEvent, Outcome};
use crate::time::Time;

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It waits, for this reason. A report.
    Waits(Reason),
    /// The package is there, whole and verified. A report.
    Delivered,
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
            Kind::Delivered => Some(LineEvent::Delivered),
            Kind::Intent => Some(LineEvent::Begun),
            Kind::Ended(outcome) => Some(LineEvent::Ended(outcome.clone())),
            Kind::NotStarted | Kind::Exited { .. } | Kind::Interrupted => None,
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
