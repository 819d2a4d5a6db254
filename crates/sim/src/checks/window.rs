//! Rule 10: nothing starts outside its window: not before its job's time or the time it was chosen or put off for, not after its
//! end, not while its job is suspended as far as its host knows. A job in the time of hosts goes by each host's zone, and a package
//! may say when it is to be installed.

use packhorse_domain::agent::{Entry, Kind};
use packhorse_domain::job::{Intent, JobType};
use packhorse_domain::time::Time;

use super::{Checked, Ledger, Life, Rule, require};

/// What is so in truth of a host and a package.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    /// How far the host's clock is ahead.
    pub ahead_secs: i64,
    /// When the package may be installed.
    pub install_at: Option<Time>,
}

impl Ledger {
    /// Judges the first INTENT of an attempt, as it becomes durable.
    ///
    /// # Errors
    /// It is outside of its window.
    pub fn in_its_window(
        &self,
        who: Life,
        truth: &Truth,
        entry: &Entry,
        journal: &[Entry],
        now: Time,
    ) -> Checked {
        if entry.kind != Kind::Intent {
            return Ok(());
        }
        let before = |other: &&Entry| other.line == entry.line && other.attempt == entry.attempt;
        let of_line: Vec<&Entry> = journal.iter().filter(before).collect();
        let begun = of_line.iter().map(|entry| match entry.kind {
            Kind::Intent => 1,
            Kind::NotStarted => -1,
            _ => 0,
        });
        if begun.sum::<i64>() > 1 {
            return Ok(());
        }
        let Some(known) = self.known.get(&(who, entry.line.job.clone())) else { return Ok(()) };
        let Some(job) = self.signed.get(&(entry.line.job.clone(), known.job.revision)) else { return Ok(()) };
        let inside = |holds: bool, what: &str| {
            require(Rule::InItsWindow, holds, || format!("{:?} begins at {now:?}: {what}", entry.line))
        };
        inside(job.starts_at_host(truth.ahead_secs) <= now, "its job's time has not come there")?;
        let held = truth.install_at.filter(|_| job.job_type != JobType::Offer);
        inside(held.is_none_or(|at| at <= now), "its package is to be installed later")?;
        // The end is judged by the host's word: what it made durable in time may become so a moment later.
        inside(entry.at < job.until, "its job has ended")?;
        inside(job.intent != Intent::Suspended, "its job is suspended")?;
        // The newest decision counts; one for now holds nothing.
        let newest = of_line.iter().rev().find_map(|entry| match &entry.kind {
            Kind::Chosen(choice) => Some(choice.at),
            Kind::Postponed { until, .. } => Some(Some(*until)),
            _ => None,
        });
        let held = newest.flatten();
        inside(held.is_none_or(|until| until <= now), "it was chosen or put off for later")
    }
}
