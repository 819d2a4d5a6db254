//! Rule 4: nothing is installed from an offer without the user's choice, or its announced date.

use packhorse_domain::agent::{Entry, Kind, LineId, REQUIRED};
use packhorse_domain::job::JobType;
use packhorse_domain::time::Time;

use super::{Checked, Ledger, Life, Rule, require};

impl Ledger {
    /// A user chose, in truth.
    pub fn chose(&mut self, who: Life, line: &LineId) {
        self.chosen.insert((who, line.clone()));
    }

    /// Judges an installer that starts, by the durable journal of its host.
    ///
    /// # Errors
    /// It is of an offer that the user did not choose, or took back, and that is not required by now.
    pub fn no_choice_no_install(
        &self,
        who: Life,
        line: &LineId,
        attempt: u32,
        journal: &[Entry],
        now: Time,
    ) -> Checked {
        let mut revisions = self.signed.range((line.job.clone(), 0)..=(line.job.clone(), u64::MAX));
        let Some(job) =
            revisions.next_back().map(|(_, job)| job).filter(|job| job.job_type == JobType::Offer)
        else {
            return Ok(());
        };
        let of_line = journal.iter().rev().filter(|entry| entry.line == *line && entry.attempt == attempt);
        let last = of_line.into_iter().find_map(|entry| match &entry.kind {
            Kind::Offered => Some(None),
            Kind::Chosen(choice) => Some(Some(choice)),
            _ => None,
        });
        let choice = last.flatten();
        require(Rule::NoChoiceNoInstall, choice.is_some(), || {
            format!("{line:?} starts, and nobody chose it")
        })?;
        let required = choice.is_some_and(|choice| choice.by == REQUIRED);
        let due = job.terms.required_from.is_some_and(|from| from <= now);
        require(Rule::NoChoiceNoInstall, !required || due, || format!("{line:?} is not required yet"))?;
        let chosen = required || self.chosen.contains(&(who, line.clone()));
        require(Rule::NoChoiceNoInstall, chosen, || {
            format!("{line:?} starts, and its user chose something else")
        })
    }
}
